//! How far pipelines and sources are: what the journal's events come to.

use crate::control::ControlEvent;
use crate::topic::TopicId;
use chalk_event::{CommitSeq, Epoch, Offset};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// What a view came to as of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewRecord {
    /// The hash of its rows, 32 hexadecimal digits: equal for equal rows, whatever their order.
    pub hash: String,
    /// How many rows it had.
    pub rows: u64,
    /// Where its rows can be read; `None` when no changelog has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changelog: Option<ChangelogPlace>,
}

impl ViewRecord {
    /// Of a view with these rows, of which nothing else is known.
    #[must_use]
    pub fn of(hash: String, rows: u64) -> Self {
        Self { hash, rows, changelog: None }
    }

    /// Whether the rows are the same, wherever they can be read.
    #[must_use]
    pub fn same_rows(&self, other: &Self) -> bool {
        (&self.hash, self.rows) == (&other.hash, other.rows)
    }
}

/// What of a changelog makes up a view: a snapshot, and the changes after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangelogPlace {
    /// The changelog's topic.
    pub topic: TopicId,
    /// The epoch since which the topic has all changes of the view.
    pub since: Epoch,
    /// Offsets of the snapshot, in partition 1.
    pub snapshot: Range<Offset>,
    /// Offsets of the changes after it, in partition 0.
    pub changes: Range<Offset>,
}

/// What an epoch's record says about views: those that differ from the record before, or now and then all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochViews {
    /// Whether these are all views, so that nobody has to look at earlier records.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub complete: bool,
    /// By view.
    pub views: BTreeMap<String, ViewRecord>,
}

impl EpochViews {
    /// All views after this record, given all before it; `None` when that cannot be told.
    #[must_use]
    pub fn after(self, before: Option<BTreeMap<String, ViewRecord>>) -> Option<BTreeMap<String, ViewRecord>> {
        if self.complete {
            return Some(self.views);
        }
        let mut all = before?;
        all.extend(self.views);
        Some(all)
    }
}

/// An epoch whose output is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedEpoch {
    /// Which.
    pub epoch: Epoch,
    /// Its last input commit.
    pub upto: CommitSeq,
    /// All views as of this epoch, if they are known.
    pub views: Option<BTreeMap<String, ViewRecord>>,
}

/// How far a source, or a partition of one, is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePosition {
    /// In bytes of a file, or the next offset.
    pub position: u64,
    /// In lines, or records.
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

/// Which builds of a function a pipeline calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionHistory {
    /// How often all commits were computed again with another build.
    pub generation: u32,
    /// The content hash of the first build since then.
    pub first: String,
    /// The content hashes of later ones, each with the last commit before it.
    pub switches: Vec<(CommitSeq, String)>,
}

impl FunctionHistory {
    /// The content hash of the last build.
    #[must_use]
    pub fn last(&self) -> &str {
        self.switches.last().map_or(&self.first, |(_, hash)| hash)
    }
}

/// The last word on each pipeline, each sink outside the log and each source, and which functions were switched. It does not grow with the number
/// of epochs.
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
    /// Where to go on reading, by table, or by `table/partition`.
    pub sources: BTreeMap<String, SourcePosition>,
    /// What each sink has, by pipeline and sink.
    pub sinks: BTreeMap<(String, String), CommittedSink>,
    /// Functions of which another build was called at some time, by pipeline and name.
    pub functions: BTreeMap<(String, String), FunctionHistory>,
}

impl Journal {
    /// Applies an event that concerns progress; others are ignored.
    pub fn apply(&mut self, event: &ControlEvent) {
        match event {
            ControlEvent::EpochCommitted { pipeline, epoch, upto, views } => {
                let before = self.pipelines.remove(pipeline).and_then(|before| before.views);
                let views = views.clone().and_then(|views| views.after(before));
                self.pipelines.insert(pipeline.clone(), CommittedEpoch { epoch: *epoch, upto: *upto, views });
            }
            ControlEvent::SourceRead { table, position, lines } => {
                self.sources.insert(table.clone(), SourcePosition { position: *position, lines: *lines });
            }
            ControlEvent::SinkCommitted { pipeline, sink, epoch, upto, state } => {
                let committed = CommittedSink { epoch: *epoch, upto: *upto, state: state.clone() };
                self.sinks.insert((pipeline.clone(), sink.clone()), committed);
            }
            ControlEvent::FunctionSwitched { pipeline, function, from, to, after, generation } => {
                let begins = |generation, first: &String| FunctionHistory {
                    generation,
                    first: first.clone(),
                    switches: Vec::new(),
                };
                let key = (pipeline.clone(), function.clone());
                let history = self.functions.entry(key).or_insert_with(|| begins(0, from));
                if *generation > history.generation {
                    *history = begins(*generation, to);
                } else {
                    history.switches.push((*after, to.clone()));
                }
            }
            ControlEvent::TopicCreated { .. } | ControlEvent::SchemaChanged { .. } => {}
        }
    }

    /// The fewest events that lead here.
    #[must_use]
    pub fn events(&self) -> Vec<ControlEvent> {
        let pipelines = self.pipelines.iter().map(|(pipeline, CommittedEpoch { epoch, upto, views })| {
            let views = views.clone().map(|views| EpochViews { complete: true, views });
            ControlEvent::EpochCommitted { pipeline: pipeline.clone(), epoch: *epoch, upto: *upto, views }
        });
        let sources = self.sources.iter().map(|(table, &SourcePosition { position, lines })| {
            ControlEvent::SourceRead { table: table.clone(), position, lines }
        });
        let sinks = self.sinks.iter().map(|((pipeline, sink), committed)| {
            let CommittedSink { epoch, upto, state } = committed.clone();
            ControlEvent::SinkCommitted { pipeline: pipeline.clone(), sink: sink.clone(), epoch, upto, state }
        });
        let functions = self.functions.iter().flat_map(|((pipeline, function), history)| {
            let FunctionHistory { generation, first, switches } = history;
            let event = |from: &str, to: &str, after| ControlEvent::FunctionSwitched {
                pipeline: pipeline.clone(),
                function: function.clone(),
                from: from.to_owned(),
                to: to.to_owned(),
                after,
                generation: *generation,
            };
            let mut events = Vec::new();
            if *generation > 0 {
                events.push(event(first, first, CommitSeq(0)));
            }
            let mut before = first;
            for (after, hash) in switches {
                events.push(event(before, hash, *after));
                before = hash;
            }
            events
        });
        pipelines.chain(sources).chain(sinks).chain(functions).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: u64, complete: bool, views: &[(&str, u64)]) -> ControlEvent {
        let of = |&(name, rows): &(&str, u64)| (name.to_owned(), ViewRecord::of(format!("{rows:032x}"), rows));
        let views = Some(EpochViews { complete, views: views.iter().map(of).collect() });
        ControlEvent::EpochCommitted { pipeline: "p".to_owned(), epoch: Epoch(epoch), upto: CommitSeq(epoch), views }
    }

    fn known(journal: &Journal) -> Option<Vec<(&str, u64)>> {
        let views = journal.pipelines["p"].views.as_ref()?;
        Some(views.iter().map(|(name, view)| (name.as_str(), view.rows)).collect())
    }

    #[test]
    fn records_tell_what_all_views_were() {
        let mut journal = Journal::default();
        journal.apply(&record(1, false, &[("a", 1)]));
        assert_eq!(known(&journal), None, "nobody has said what there is beside it");
        journal.apply(&record(2, true, &[("a", 1), ("b", 2)]));
        journal.apply(&record(3, false, &[("b", 3)]));
        assert_eq!(known(&journal), Some(vec![("a", 1), ("b", 3)]));
        let mut again = Journal::default();
        journal.events().iter().for_each(|event| again.apply(event));
        assert_eq!(again, journal);
        journal.apply(&record(4, true, &[("b", 3)]));
        assert_eq!(known(&journal), Some(vec![("b", 3)]));
    }

    #[test]
    fn builds_of_functions_are_known_in_order() {
        let switched = |from: &str, to: &str, after, generation| ControlEvent::FunctionSwitched {
            pipeline: "p".to_owned(),
            function: "f".to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            after: CommitSeq(after),
            generation,
        };
        let mut journal = Journal::default();
        let check = |journal: &Journal, generation, first: &str, switches: &[(u64, &str)]| {
            let switches = switches.iter().map(|&(after, hash)| (CommitSeq(after), hash.to_owned())).collect();
            let expected = FunctionHistory { generation, first: first.to_owned(), switches };
            assert_eq!(journal.functions[&("p".to_owned(), "f".to_owned())], expected);
            let mut again = Journal::default();
            journal.events().iter().for_each(|event| again.apply(event));
            assert_eq!(&again, journal);
        };
        journal.apply(&switched("a", "b", 10, 0));
        journal.apply(&switched("b", "c", 20, 0));
        check(&journal, 0, "a", &[(10, "b"), (20, "c")]);
        journal.apply(&switched("c", "a", 0, 1));
        check(&journal, 1, "a", &[]);
        journal.apply(&switched("a", "b", 30, 1));
        check(&journal, 1, "a", &[(30, "b")]);
    }

    #[test]
    fn a_record_of_an_earlier_build_leaves_views_unknown() {
        let text = r#"{"kind":"epoch_committed","pipeline":"p","epoch":4,"upto":9}"#;
        let event: ControlEvent = serde_json::from_str(text).expect("a record");
        assert_eq!(serde_json::to_string(&event).expect("JSON"), text);
        let mut journal = Journal::default();
        journal.apply(&record(3, true, &[("a", 1)]));
        journal.apply(&event);
        journal.apply(&record(5, false, &[("b", 3)]));
        assert_eq!(known(&journal), None);
        let text = serde_json::to_string(&record(6, false, &[("b", 3)])).expect("JSON");
        assert_eq!(serde_json::from_str::<ControlEvent>(&text).expect("a record"), record(6, false, &[("b", 3)]));
    }
}
