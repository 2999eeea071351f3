//! The suite of sinks.

use chalk_connect::{Recovered, STATE_BYTES_MAX, Sink};
use chalk_event::Epoch;

/// A place that a sink writes to.
pub trait SinkPeer {
    /// Opens a sink of it.
    fn open(&self) -> Box<dyn Sink>;
    /// The rows that its readers see, in order, each as it was given. Of a sink that can take nothing back, readers leave out what they
    /// have had, by the ids that it gives.
    fn seen(&self) -> Vec<String>;
}

/// What is left at the end: where a run is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crash {
    /// Rows are prepared, but the journal does not say so.
    BeforeRecord,
    /// The journal has the record, but nobody has told the sink.
    BeforeCommit,
    AfterCommit,
}

/// Rows of an epoch.
fn rows(epoch: u64) -> Vec<String> {
    (0..epoch * 7 % 5 + 1).map(|row| format!(r#"{{"epoch":{epoch},"row":{row},"text":"a \"b\" \\ ü"}}"#)).collect()
}

fn lines(rows: &[String]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// What any sink must do.
///
/// # Panics
/// When it does not.
pub fn check_sink<P: SinkPeer>(make: impl Fn() -> P) {
    rows_are_seen_in_order(&make());
    for crash in [Crash::BeforeRecord, Crash::BeforeCommit, Crash::AfterCommit] {
        every_row_is_seen_once(&make(), crash);
    }
    the_last_runs_end_is_given_again(&make());
}

fn rows_are_seen_in_order<P: SinkPeer>(peer: &P) {
    let mut sink = peer.open();
    assert!(matches!(sink.recover(None).expect("a place"), Recovered::Anew(_)));
    let mut all = Vec::new();
    for epoch in 1..20 {
        let state = sink.prepare(Epoch(epoch), &lines(&rows(epoch))).expect("room");
        assert!(state.len() <= STATE_BYTES_MAX);
        sink.commit(Epoch(epoch)).expect("room");
        all.extend(rows(epoch));
        assert_eq!(peer.seen(), all);
    }
}

/// One run ends somewhere, the next goes on by what the journal says.
fn every_row_is_seen_once<P: SinkPeer>(peer: &P, crash: Crash) {
    let mut record: Option<(u64, String)> = None;
    let mut all = Vec::new();
    for last in [3, 4, 9, 12] {
        let mut sink = peer.open();
        let recovered = sink.recover(record.as_ref().map(|(_, state)| state.as_str())).expect("a place");
        match (recovered, &record) {
            (Recovered::GoesOn, Some(_)) => {}
            (Recovered::Anew(state), None) => record = Some((0, state)),
            (recovered, record) => panic!("{recovered:?}, but the journal says {record:?}"),
        }
        let done = record.as_ref().map_or(0, |(epoch, _)| *epoch);
        for epoch in done + 1..=last {
            let state = sink.prepare(Epoch(epoch), &lines(&rows(epoch))).expect("room");
            if epoch == last && crash == Crash::BeforeRecord {
                break;
            }
            record = Some((epoch, state));
            all.extend(rows(epoch));
            if epoch < last || crash == Crash::AfterCommit {
                sink.commit(Epoch(epoch)).expect("room");
            }
        }
    }
    let mut sink = peer.open();
    let state = record.map(|(_, state)| state);
    assert_eq!(sink.recover(state.as_deref()).expect("a place"), Recovered::GoesOn);
    if crash == Crash::BeforeRecord {
        sink.prepare(Epoch(12), &lines(&rows(12))).expect("room");
        sink.commit(Epoch(12)).expect("room");
        all.extend(rows(12));
    }
    assert_eq!(peer.seen(), all, "{crash:?}");
}

/// Rows that are committed without a record, by a run that ends, are the next run's to give.
fn the_last_runs_end_is_given_again<P: SinkPeer>(peer: &P) {
    let mut sink = peer.open();
    sink.recover(None).expect("a place");
    let state = sink.prepare(Epoch(1), &lines(&rows(1))).expect("room");
    sink.commit(Epoch(1)).expect("room");
    for _ in 0..2 {
        sink.prepare(Epoch(2), &lines(&rows(2))).expect("room");
        sink.commit(Epoch(2)).expect("room");
        sink = peer.open();
        assert_eq!(sink.recover(Some(&state)).expect("a place"), Recovered::GoesOn);
    }
    sink.prepare(Epoch(2), &lines(&rows(2))).expect("room");
    sink.commit(Epoch(2)).expect("room");
    assert_eq!(peer.seen(), [rows(1), rows(2)].concat());
}
