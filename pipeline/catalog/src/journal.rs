//! How far pipelines and bounded sources are: what the journal's events come to.

use crate::control::ControlEvent;
use chalk_event::{CommitSeq, Epoch};
use std::collections::BTreeMap;

/// An epoch whose output is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedEpoch {
    /// Which.
    pub epoch: Epoch,
    /// Its last input commit.
    pub upto: CommitSeq,
}

/// How far a bounded source is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePosition {
    /// In bytes.
    pub position: u64,
    /// In lines.
    pub lines: u64,
}

/// How far a sink outside the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedSink {
    /// The last epoch whose rows it has.
    pub epoch: Epoch,
    /// That epoch's last input commit.
    pub upto: CommitSeq,
    /// What the sink said of itself then.
    pub state: String,
}

/// The last word on each pipeline, each sink outside the log and each bounded source. It does not grow with the number of epochs.
///
/// ```
/// use chalk_catalog::{ControlEvent, Journal, SourcePosition};
/// let read = |position, lines| ControlEvent::SourceRead { table: "t".to_owned(), position, lines };
/// let mut journal = Journal::default();
/// journal.apply(&read(100, 3));
/// journal.apply(&read(250, 7));
/// assert_eq!(journal.sources["t"], SourcePosition { position: 250, lines: 7 });
/// assert_eq!(journal.events(), [read(250, 7)]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// The last committed epoch, by pipeline.
    pub pipelines: BTreeMap<String, CommittedEpoch>,
    /// Where to go on reading, by table.
    pub sources: BTreeMap<String, SourcePosition>,
    /// What each sink has, by pipeline and sink.
    pub sinks: BTreeMap<(String, String), CommittedSink>,
}

impl Journal {
    /// Applies an event that concerns progress; others are ignored.
    pub fn apply(&mut self, event: &ControlEvent) {
        match event {
            ControlEvent::EpochCommitted { pipeline, epoch, upto } => {
                self.pipelines.insert(pipeline.clone(), CommittedEpoch { epoch: *epoch, upto: *upto });
            }
            ControlEvent::SourceRead { table, position, lines } => {
                self.sources.insert(table.clone(), SourcePosition { position: *position, lines: *lines });
            }
            ControlEvent::SinkCommitted { pipeline, sink, epoch, upto, state } => {
                let committed = CommittedSink { epoch: *epoch, upto: *upto, state: state.clone() };
                self.sinks.insert((pipeline.clone(), sink.clone()), committed);
            }
            ControlEvent::TopicCreated { .. } | ControlEvent::SchemaChanged { .. } => {}
        }
    }

    /// The fewest events that lead here.
    #[must_use]
    pub fn events(&self) -> Vec<ControlEvent> {
        let pipelines = self.pipelines.iter().map(|(pipeline, &CommittedEpoch { epoch, upto })| {
            ControlEvent::EpochCommitted { pipeline: pipeline.clone(), epoch, upto }
        });
        let sources = self.sources.iter().map(|(table, &SourcePosition { position, lines })| {
            ControlEvent::SourceRead { table: table.clone(), position, lines }
        });
        let sinks = self.sinks.iter().map(|((pipeline, sink), committed)| {
            let CommittedSink { epoch, upto, state } = committed.clone();
            ControlEvent::SinkCommitted { pipeline: pipeline.clone(), sink: sink.clone(), epoch, upto, state }
        });
        pipelines.chain(sources).chain(sinks).collect()
    }
}
