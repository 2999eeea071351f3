//! Sinks that fail, and sinks that take their time.

use super::*;
use chalk_connect::Recovered;
use chalk_log::{CommitLog, LogOptions};
use chalk_store::StorageError;
use chalk_store::memory::{EIO, ENOSPC, MemoryFiles};
use std::sync::mpsc::{Receiver, Sender, channel};

/// A sink that does only what it is let do.
struct Held {
    /// An errno for each `prepare`, 0 for none; when there is none left it waits.
    outcomes: Receiver<i32>,
    committed: Arc<Mutex<Vec<String>>>,
    prepared: String,
}

impl Sink for Held {
    fn recover(&mut self, _: Option<&str>) -> Result<Recovered, ConnectError> {
        Ok(Recovered::GoesOn)
    }

    fn prepare(&mut self, epoch: Epoch, lines: &str) -> Result<String, ConnectError> {
        match self.outcomes.recv().unwrap_or(EIO) {
            0 => {
                self.prepared = lines.to_owned();
                Ok(epoch.to_string())
            }
            errno => {
                let source = std::io::Error::from_raw_os_error(errno);
                Err(StorageError { operation: "write", path: "rows".into(), source }.into())
            }
        }
    }

    fn commit(&mut self, _: Epoch) -> Result<(), ConnectError> {
        self.committed.lock().expect("a test").push(std::mem::take(&mut self.prepared));
        Ok(())
    }
}

struct Fixture {
    delivery: Delivery,
    log: Arc<dyn EventLog>,
    outcomes: Sender<i32>,
    committed: Arc<Mutex<Vec<String>>>,
    stats: Arc<Stats>,
}

fn fixture(rolling: RollingPolicy, committed_before: Option<u64>) -> Fixture {
    let files = Arc::new(MemoryFiles::new());
    let log = CommitLog::open_in(files, LogOptions::new(Arc::new(|| 0))).expect("a log");
    let log: Arc<dyn EventLog> = Arc::new(log);
    let ((outcomes, received), committed, stats) = (channel(), Arc::default(), Arc::new(Stats::default()));
    let sink = Held { outcomes: received, committed: Arc::clone(&committed), prepared: String::new() };
    let (pipeline, name, sink) = ("project".to_owned(), "rows".to_owned(), Box::new(sink));
    let courier = Courier { pipeline, name, sink, log: Arc::clone(&log), again: None };
    let mut delivery = Delivery::new(courier, rolling, committed_before.map(CommitSeq), &stats);
    delivery.stall_max = Duration::from_millis(200);
    delivery.start().expect("a thread");
    Fixture { delivery, log, outcomes, committed, stats }
}

/// An epoch that ends with a commit of the same number, made so many seconds after the epoch began.
fn epoch(number: u64, seconds: i64) -> EpochOutput {
    EpochOutput {
        epoch: Epoch(number),
        upto: CommitSeq(number),
        time: Some(IngestTime(seconds * 1_000_000_000)),
        lasting: true,
        sinks: Vec::new(),
        late: Vec::new(),
        refused: Vec::new(),
        verdicts: Vec::new(),
    }
}

/// Nothing is committed before it is complete, or somebody waits for it.
fn gathering() -> RollingPolicy {
    let (interval, inactivity) = (Some(Duration::from_secs(10)), Duration::from_secs(3600));
    RollingPolicy { file_bytes: 12, interval, inactivity }
}

impl Fixture {
    fn committed(&self) -> Vec<String> {
        self.committed.lock().expect("a test").clone()
    }

    fn journalled(&self) -> Option<(u64, String)> {
        let journal = self.log.journal();
        journal.sinks.values().next().map(|sink| (sink.upto.0, sink.state.clone()))
    }
}

#[test]
fn batches_end_by_rows_and_commit_times() {
    let fixture = fixture(gathering(), None);
    (0..9).for_each(|_| fixture.outcomes.send(0).expect("a sink"));
    for (number, seconds, lines) in [
        (1, 0, "a\n"),
        (2, 9, "b\n"),
        (3, 10, "c\n"),
        (4, 11, ""),
        (5, 30, "d\n"),
        (6, 31, "eight..\n"),
        (7, 32, "too much\n"),
    ] {
        fixture.delivery.give(&epoch(number, seconds), lines);
    }
    fixture.delivery.flush().expect("a sink that takes all");
    assert_eq!(fixture.committed(), ["a\nb\n", "c\n", "d\neight..\n", "too much\n"]);
    assert_eq!(fixture.journalled(), Some((7, "7".to_owned())));
    assert_eq!(fixture.stats.status().sinks["rows"].upto, Some(CommitSeq(7)));
}

#[test]
fn what_will_be_given_again_is_not_journalled_nor_mixed_with_what_will_not() {
    let mut fixture = fixture(gathering(), Some(3));
    (0..9).for_each(|_| fixture.outcomes.send(0).expect("a sink"));
    let last = |number| EpochOutput { lasting: false, ..epoch(number, 0) };
    assert!(!fixture.delivery.wants(&epoch(3, 0)) && fixture.delivery.wants(&epoch(4, 0)));
    assert!(fixture.delivery.wants(&last(3)));
    fixture.delivery.give(&epoch(4, 0), "a\n");
    fixture.delivery.give(&last(4), "b\n");
    fixture.delivery.close().expect("a sink that takes all");
    assert_eq!(fixture.committed(), ["a\n", "b\n"]);
    assert_eq!(fixture.journalled(), Some((4, "4".to_owned())));
}

#[test]
fn a_sink_that_fails_gets_no_more_and_says_why() {
    let fixture = fixture(RollingPolicy::at_once(), None);
    fixture.outcomes.send(0).expect("a sink");
    fixture.delivery.give(&epoch(1, 0), "a\n");
    fixture.delivery.flush().expect("a sink that takes the first");
    fixture.outcomes.send(EIO).expect("a sink");
    fixture.delivery.give(&epoch(2, 0), "b\n");
    let error = fixture.delivery.flush().expect_err("a sink that fails").to_string();
    assert!(error.contains("sink 'rows' has stopped: cannot write rows: Input/output error"), "{error}");
    assert!(!fixture.delivery.wants(&epoch(3, 0)));
    assert_eq!((fixture.committed(), fixture.journalled()), (vec!["a\n".to_owned()], Some((1, "1".to_owned()))));
    assert!(fixture.stats.status().sinks["rows"].failed.is_some());
}

#[test]
fn a_full_disk_is_waited_for() {
    let mut fixture = fixture(RollingPolicy::at_once(), None);
    fixture.delivery.stall_max = Duration::from_secs(60);
    [ENOSPC, 0].into_iter().for_each(|errno| fixture.outcomes.send(errno).expect("a sink"));
    fixture.delivery.give(&epoch(1, 0), "a\n");
    fixture.delivery.flush().expect("room again");
    assert_eq!((fixture.committed(), fixture.journalled()), (vec!["a\n".to_owned()], Some((1, "1".to_owned()))));
}

#[test]
fn a_sink_that_takes_nothing_is_given_up() {
    let Fixture { delivery, outcomes, committed, .. } = fixture(RollingPolicy { file_bytes: 1, ..gathering() }, None);
    let began = Instant::now();
    // One in its hands, four that wait, one that is gathered; and one too many.
    (1..=7).for_each(|number| delivery.give(&epoch(number, 0), "row\n"));
    assert!(began.elapsed() >= Duration::from_millis(200), "it is waited for");
    assert!(!delivery.wants(&epoch(8, 0)));
    let error = delivery.flush().expect_err("it has not got all").to_string();
    assert!(error.contains("it was waited for 0.2 s"), "{error}");
    // The thread ends when the sink lets it.
    drop(outcomes);
    drop(delivery);
    assert!(committed.lock().expect("a test").is_empty());
}
