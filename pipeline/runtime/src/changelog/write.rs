//! Writing changelogs: what an epoch's append has for them, and snapshots.

use super::CHANGES;
use super::layout::Layout;
use super::snapshots::{Job, Snapshots, write};
use crate::error::RuntimeError;
use crate::journal::NextRecord;
use arrow::array::{Array, RecordBatch};
use chalk_catalog::{ChangelogPlace, CommittedEpoch, ControlEvent, SystemTopic, TopicDef, TopicSchema};
use chalk_event::{ChangeBatch, Epoch, Offset, PartitionId, consolidate};
use chalk_log::{Append, EventLog, FrameToAppend};
use chalk_view::ViewRows;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

/// The changes of an epoch, by view.
pub(crate) type EpochChanges = BTreeMap<String, Vec<ChangeBatch>>;

/// A snapshot is due when there are so many changes for each row of the view, and a given number at least.
pub(super) const SNAPSHOT_EVERY: u64 = 4;
/// Changes of an epoch that take more memory than this are not worth their commit: a snapshot says the same.
const CHANGES_BYTES_MAX: usize = 32 << 20;

/// The changelogs of a pipeline's views.
pub(crate) struct Changelogs {
    // configuration
    changes_min: u64,
    log: Arc<dyn EventLog>,
    snapshots: Snapshots,
    // state
    by_view: BTreeMap<String, Changelog>,
    /// Whether each epoch since the last record was seen, so that its changes are all that has happened.
    following: bool,
}

struct Changelog {
    topic: TopicDef,
    layout: Layout,
    /// What makes up the view as of the last record; `None` when that is not in the topic.
    place: Option<ChangelogPlace>,
    /// A snapshot on its way.
    coming: Option<Coming>,
}

/// A snapshot on its way.
struct Coming {
    snapshot: Receiver<Result<Range<Offset>, RuntimeError>>,
    /// It has the changes before these.
    changes: Offset,
}

impl Changelogs {
    /// Makes the topics of views that have none, and goes on where `last` says.
    pub(crate) fn open<'a>(
        log: &Arc<dyn EventLog>,
        views: impl Iterator<Item = &'a ViewRows>,
        last: Option<&CommittedEpoch>,
        changes_min: u64,
    ) -> Result<Self, RuntimeError> {
        let recorded = last.and_then(|last| last.views.as_ref());
        let mut by_view = BTreeMap::new();
        for view in views {
            // A type that cannot be named cannot be kept either.
            let Some(layout) = Layout::of(view.schema()) else { continue };
            let topic = topic_of(&**log, view.name(), &layout.avsc)?;
            let place = recorded.and_then(|recorded| recorded.get(view.name())?.changelog.clone());
            let is_last =
                |place: &ChangelogPlace| place.topic == topic.id && place.changes.end == log.tail(topic.id, CHANGES);
            let place = place.filter(is_last);
            by_view.insert(view.name().to_owned(), Changelog { topic, layout, place, coming: None });
        }
        let snapshots = Snapshots::start(log)?;
        Ok(Self { changes_min, log: Arc::clone(log), snapshots, by_view, following: false })
    }

    /// Puts into a record where views can be read as of its epoch; gives the frames that have to stand in the same commit.
    pub(crate) fn record(
        &mut self,
        epoch: Epoch,
        record: &mut NextRecord,
        views: &BTreeMap<String, ViewRows>,
        changes: &EpochChanges,
    ) -> Result<Vec<FrameToAppend>, RuntimeError> {
        let (mut frames, mut bytes) = (Vec::new(), 0);
        for (name, view_record) in &mut record.views.views {
            let (Some(changelog), Some(view)) = (self.by_view.get_mut(name), views.get(name)) else { continue };
            if record.differ.contains(name) || changelog.place.is_none() {
                let changes = if self.following { changes.get(name).map(Vec::as_slice) } else { None };
                let rows = changelog.rows_of(epoch, changes.unwrap_or_default())?;
                match rows.filter(|rows| changelog.place.is_some() && bytes + bytes_of(rows) <= CHANGES_BYTES_MAX) {
                    Some(rows) => {
                        bytes += bytes_of(&rows);
                        frames.push(changelog.go_on(&self.snapshots, epoch, view, rows, self.changes_min)?);
                    }
                    None => changelog.begin(&*self.log, epoch, view)?,
                }
            }
            view_record.changelog.clone_from(&changelog.place);
        }
        Ok(frames)
    }

    /// The views as of this epoch are those that the journal tells of, so that from here on changes say everything.
    pub(crate) fn follow(&mut self) {
        self.following = true;
    }

    /// From here on views are not the journal's.
    pub(crate) fn lose(&mut self) {
        self.following = false;
        for changelog in self.by_view.values_mut() {
            changelog.place = None;
        }
    }
}

impl Changelog {
    /// Takes an epoch's changes, whose frame it gives, and lets a snapshot be written when it is due.
    fn go_on(
        &mut self,
        snapshots: &Snapshots,
        epoch: Epoch,
        view: &ViewRows,
        rows: RecordBatch,
        changes_min: u64,
    ) -> Result<FrameToAppend, RuntimeError> {
        let Self { topic, layout, place, coming } = self;
        if let Some(place) = place {
            if let Some(Coming { snapshot, changes }) = coming {
                match snapshot.try_recv() {
                    Ok(snapshot) => {
                        (place.snapshot, place.changes.start) = (snapshot?, *changes);
                        *coming = None;
                    }
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => *coming = None,
                }
            }
            place.changes.end.0 += rows.num_rows() as u64;
            let changes = place.changes.end.0 - place.changes.start.0;
            if coming.is_none() && changes > changes_min.max(SNAPSHOT_EVERY * view.len() as u64) {
                let job = Job { topic: topic.clone(), layout: layout.clone(), epoch, view: view.clone() };
                *coming = Some(Coming { snapshot: snapshots.write(job), changes: place.changes.end });
            }
        }
        Ok(frame(topic, CHANGES, rows))
    }

    /// Begins a generation with a snapshot, which is durable when this returns.
    fn begin(&mut self, log: &dyn EventLog, epoch: Epoch, view: &ViewRows) -> Result<(), RuntimeError> {
        if let Some(coming) = self.coming.take() {
            // Two at once would stand in each other's rows. What becomes of this one is nobody's business any more.
            let _ = coming.snapshot.recv();
        }
        let snapshot = write(log, &self.topic, &self.layout, epoch, view, || true)?;
        // Changes of earlier epochs may be on their way still.
        log.append(Append { frames: Vec::new() })?.wait()?;
        let tail = log.tail(self.topic.id, CHANGES);
        self.place = Some(ChangelogPlace { topic: self.topic.id, since: epoch, snapshot, changes: tail..tail });
        Ok(())
    }

    /// An epoch's changes as rows of the topic; `None` when there are none.
    fn rows_of(&self, epoch: Epoch, changes: &[ChangeBatch]) -> Result<Option<RecordBatch>, RuntimeError> {
        let changes = match changes {
            [] => return Ok(None),
            [one] => one.clone(),
            several => consolidate(&ChangeBatch::concat(self.layout.view(), several)?)?,
        };
        Ok(Some(self.layout.store(&changes, epoch, self.topic.schema.arrow())?))
    }
}

/// The topic of a view with these columns: the first of its names that is free or has them.
fn topic_of(log: &dyn EventLog, view: &str, avsc: &str) -> Result<TopicDef, RuntimeError> {
    let catalog = log.control_events(SystemTopic::Catalog.id())?;
    let mut name = TopicDef::changelog_name(view, 1);
    for number in 2.. {
        let known = catalog.iter().find_map(|event| match event {
            ControlEvent::TopicCreated { name: known, avsc, .. } if *known == name => Some(avsc),
            _ => None,
        });
        if known.is_none_or(|known| known == avsc) {
            break;
        }
        name = TopicDef::changelog_name(view, number);
    }
    Ok(log.ensure_topic(&name, avsc, TopicSchema::NO_ENVELOPE)?)
}

pub(super) fn frame(topic: &TopicDef, partition: PartitionId, rows: RecordBatch) -> FrameToAppend {
    FrameToAppend { topic: topic.id, partition, schema: topic.schema_id, event_times: None, rows }
}

pub(super) fn bytes_of(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}
