//! Writing changelogs: what an epoch's append has for them, and snapshots.

use super::layout::Layout;
use super::{CHANGES, SNAPSHOTS};
use crate::error::RuntimeError;
use crate::journal::NextRecord;
use arrow::array::{Array, RecordBatch};
use chalk_catalog::{ChangelogPlace, CommittedEpoch, ControlEvent, SystemTopic, TopicDef, TopicSchema};
use chalk_event::{ChangeBatch, Epoch, Offset, PartitionId, consolidate};
use chalk_log::{Append, EventLog, FrameToAppend};
use chalk_view::ViewRows;
use std::collections::BTreeMap;

/// The changes of an epoch, by view.
pub(crate) type EpochChanges = BTreeMap<String, Vec<ChangeBatch>>;

/// A snapshot is due when there are so many changes for each row of the view, and a given number at least.
pub(super) const SNAPSHOT_EVERY: u64 = 4;
/// Rows of a snapshot that are appended at once.
const SNAPSHOT_ROWS: usize = 8192;
/// Changes of an epoch that take more memory than this are not worth their commit: a snapshot says the same.
const CHANGES_BYTES_MAX: usize = 32 << 20;
/// What is appended at once.
const APPEND_BYTES_MAX: usize = 16 << 20;

/// The changelogs of a pipeline's views.
pub(crate) struct Changelogs {
    // configuration
    changes_min: u64,
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
}

impl Changelogs {
    /// Makes the topics of views that have none, and goes on where `last` says.
    pub(crate) fn open<'a>(
        log: &dyn EventLog,
        views: impl Iterator<Item = &'a ViewRows>,
        last: Option<&CommittedEpoch>,
        changes_min: u64,
    ) -> Result<Self, RuntimeError> {
        let recorded = last.and_then(|last| last.views.as_ref());
        let mut by_view = BTreeMap::new();
        for view in views {
            // A type that cannot be named cannot be kept either.
            let Some(layout) = Layout::of(view.schema()) else { continue };
            let topic = topic_of(log, view.name(), &layout.avsc)?;
            let place = recorded.and_then(|recorded| recorded.get(view.name())?.changelog.clone());
            let is_last =
                |place: &ChangelogPlace| place.topic == topic.id && place.changes.end == log.tail(topic.id, CHANGES);
            let place = place.filter(is_last);
            by_view.insert(view.name().to_owned(), Changelog { topic, layout, place });
        }
        Ok(Self { changes_min, by_view, following: false })
    }

    /// Puts into a record where views can be read as of its epoch; gives the frames that have to stand in the same commit. Snapshots
    /// that are due are durable when this returns.
    pub(crate) fn record(
        &mut self,
        log: &dyn EventLog,
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
                        frames.push(changelog.go_on(log, epoch, view, rows, self.changes_min)?);
                    }
                    None => changelog.begin(log, epoch, view)?,
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
    /// Takes an epoch's changes, whose frame it gives, and a snapshot when it is due.
    fn go_on(
        &mut self,
        log: &dyn EventLog,
        epoch: Epoch,
        view: &ViewRows,
        rows: RecordBatch,
        changes_min: u64,
    ) -> Result<FrameToAppend, RuntimeError> {
        let added = rows.num_rows() as u64;
        let changes = self.place.as_ref().map_or(0, |place| place.changes.end.0 - place.changes.start.0);
        let is_due = changes + added > changes_min.max(SNAPSHOT_EVERY * view.len() as u64);
        let snapshot = if is_due { Some(self.snapshot(log, epoch, view)?) } else { None };
        if let Some(place) = &mut self.place {
            place.changes.end.0 += added;
            if let Some(snapshot) = snapshot {
                place.changes.start = place.changes.end;
                place.snapshot = snapshot;
            }
        }
        Ok(frame(&self.topic, CHANGES, rows))
    }

    /// Begins a generation with a snapshot.
    fn begin(&mut self, log: &dyn EventLog, epoch: Epoch, view: &ViewRows) -> Result<(), RuntimeError> {
        let (topic, tail) = (self.topic.id, log.tail(self.topic.id, CHANGES));
        let snapshot = self.snapshot(log, epoch, view)?;
        self.place = Some(ChangelogPlace { topic, since: epoch, snapshot, changes: tail..tail });
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

    /// Appends all rows of a view, and waits for it; gives their places.
    fn snapshot(
        &self,
        log: &dyn EventLog,
        epoch: Epoch,
        view: &ViewRows,
    ) -> Result<std::ops::Range<Offset>, RuntimeError> {
        let start = log.tail(self.topic.id, SNAPSHOTS);
        let (mut end, mut pending) = (start, Vec::new());
        let mut cursor = view.cursor(&[])?;
        while let Some(rows) = view.read(&mut cursor, SNAPSHOT_ROWS)? {
            let rows = self.layout.store(&ChangeBatch::inserts(rows), epoch, self.topic.schema.arrow())?;
            for rows in in_parts(rows) {
                end.0 += rows.num_rows() as u64;
                pending.push(log.append(Append { frames: vec![frame(&self.topic, SNAPSHOTS, rows)] })?);
            }
        }
        for pending in pending {
            pending.wait()?;
        }
        Ok(start..end)
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

fn frame(topic: &TopicDef, partition: PartitionId, rows: RecordBatch) -> FrameToAppend {
    FrameToAppend { topic: topic.id, partition, schema: topic.schema_id, event_times: None, rows }
}

fn bytes_of(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

/// Rows in parts that one append takes, as far as a single row does.
fn in_parts(rows: RecordBatch) -> Vec<RecordBatch> {
    let count = rows.num_rows();
    if count < 2 || bytes_of(&rows) <= APPEND_BYTES_MAX {
        return vec![rows];
    }
    let halves = [rows.slice(0, count / 2), rows.slice(count / 2, count - count / 2)];
    halves.into_iter().flat_map(in_parts).collect()
}
