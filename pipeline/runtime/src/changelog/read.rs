//! Reading views as they were, and what changed in them.

use super::layout::Layout;
use super::{CHANGES, SNAPSHOTS};
use crate::error::RuntimeError;
use crate::journal::last_record;
use arrow::array::RecordBatch;
use chalk_catalog::{ChangelogPlace, CommittedEpoch, ControlEvent, SystemTopic, TopicId, ViewRecord};
use chalk_event::{ChangeBatch, CommitSeq, Epoch, Offset, PartitionId, consolidate};
use chalk_log::EventLog;
use chalk_view::{Snapshot, ViewRows};
use std::collections::BTreeMap;
use std::ops::Range;

/// About so many bytes of a changelog are read at once.
const READ_BYTES: usize = 4 << 20;

/// A point in a pipeline's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The last epoch that is not later.
    Epoch(Epoch),
    /// The last epoch whose input ends with this commit or before.
    Commit(CommitSeq),
}

/// Views as they were.
#[derive(Debug)]
pub struct Past {
    /// The epoch, its last commit and its views.
    pub snapshot: Snapshot,
    /// Views that there were but that no changelog has: columns of theirs have types that cannot be kept.
    pub unkept: Vec<String>,
}

/// A pipeline's views as of a point, from the journal and the views' changelogs alone. `None` when the journal tells of no such epoch.
///
/// It takes about as long as reading the views' rows a few times, however long the history is.
///
/// # Errors
/// When bytes cannot be read or are damaged, and when a view that was read has not the hash that the journal has.
pub fn as_of(log: &dyn EventLog, pipeline: &str, at: At) -> Result<Option<Past>, RuntimeError> {
    let Some(CommittedEpoch { epoch, upto, views: Some(records) }) = find(log, pipeline, at)? else { return Ok(None) };
    let layouts = layouts(log)?;
    let (mut views, mut unkept) = (BTreeMap::new(), Vec::new());
    for (name, record) in &records {
        match &record.changelog {
            Some(place) => drop(views.insert(name.clone(), view(log, &layouts, name, record, place)?)),
            None => unkept.push(name.clone()),
        }
    }
    Ok(Some(Past { snapshot: Snapshot { epoch, upto, settled: upto, views }, unkept }))
}

/// The consolidated changes of a view from one point to a later one; `None` when it was not there at either.
///
/// Within a generation of the changelog these are the changes in between; else the difference of the two states.
///
/// # Errors
/// As for [`as_of`]; and when the view had other columns at the other point.
pub fn changes_between(
    log: &dyn EventLog,
    pipeline: &str,
    name: &str,
    after: At,
    upto: At,
) -> Result<Option<ChangeBatch>, RuntimeError> {
    let record = |at| Ok::<_, RuntimeError>(find(log, pipeline, at)?.and_then(|epoch| epoch.views?.remove(name)));
    let (Some(before), Some(now)) = (record(after)?, record(upto)?) else { return Ok(None) };
    let (Some(from), Some(to)) = (&before.changelog, &now.changelog) else { return Ok(None) };
    let layouts = layouts(log)?;
    if (from.topic, from.since) == (to.topic, to.since) && from.changes.end <= to.changes.end {
        let layout = layout(&layouts, name, to)?;
        let mut batches = Vec::new();
        each(log, to.topic, CHANGES, &(from.changes.end..to.changes.end), |rows| {
            batches.push(layout.load(&rows)?);
            Ok(())
        })?;
        return Ok(Some(consolidate(&ChangeBatch::concat(layout.view(), &batches)?)?));
    }
    let (old, new) = (view(log, &layouts, name, &before, from)?, view(log, &layouts, name, &now, to)?);
    if old.schema() != new.schema() {
        return Err(unreadable(name, "it had other columns then: its rows cannot be compared"));
    }
    Ok(new.changes_since(&old, &[], usize::MAX)?)
}

fn find(log: &dyn EventLog, pipeline: &str, at: At) -> Result<Option<CommittedEpoch>, RuntimeError> {
    last_record(log, pipeline, |epoch, upto| match at {
        At::Epoch(wanted) => epoch <= wanted,
        At::Commit(wanted) => upto <= wanted,
    })
}

/// How the rows of changelogs are stored, by topic.
fn layouts(log: &dyn EventLog) -> Result<BTreeMap<TopicId, Layout>, RuntimeError> {
    let layout = |event: &ControlEvent| match event {
        ControlEvent::TopicCreated { topic, name, avsc, .. } if chalk_catalog::TopicDef::names_changelog(name) => {
            Some((*topic, Layout::read(avsc)?))
        }
        _ => None,
    };
    Ok(log.control_events(SystemTopic::Catalog.id())?.iter().filter_map(layout).collect())
}

fn layout<'a>(
    layouts: &'a BTreeMap<TopicId, Layout>,
    name: &str,
    place: &ChangelogPlace,
) -> Result<&'a Layout, RuntimeError> {
    layouts.get(&place.topic).ok_or_else(|| unreadable(name, "the topic of its changelog is not there"))
}

fn view(
    log: &dyn EventLog,
    layouts: &BTreeMap<TopicId, Layout>,
    name: &str,
    record: &ViewRecord,
    place: &ChangelogPlace,
) -> Result<ViewRows, RuntimeError> {
    let layout = layout(layouts, name, place)?;
    let mut view = ViewRows::new(name, layout.view().clone())?;
    for (partition, range) in [(SNAPSHOTS, &place.snapshot), (CHANGES, &place.changes)] {
        each(log, place.topic, partition, range, |rows| {
            view.apply(&layout.load(&rows)?)?;
            Ok(())
        })?;
    }
    if view.hash().to_string() != record.hash {
        return Err(unreadable(name, "what its changelog comes to is not what the journal says that it was"));
    }
    Ok(view)
}

fn unreadable(view: &str, why: &str) -> RuntimeError {
    RuntimeError::Changelog { view: view.to_owned(), why: why.to_owned() }
}

/// Gives the rows at these offsets, in order.
fn each(
    log: &dyn EventLog,
    topic: TopicId,
    partition: PartitionId,
    range: &Range<Offset>,
    mut give: impl FnMut(RecordBatch) -> Result<(), RuntimeError>,
) -> Result<(), RuntimeError> {
    let mut next = range.start;
    while next < range.end {
        let before = next;
        for (_, frame) in log.read_partition(topic, partition, next, READ_BYTES)? {
            let rows = frame.rows.num_rows() as u64;
            let from = next.0.saturating_sub(frame.base_offset.0).min(rows);
            let until = range.end.0.saturating_sub(frame.base_offset.0).min(rows);
            if from < until {
                give(frame.rows.slice(from as usize, (until - from) as usize))?;
                next = Offset(frame.base_offset.0 + until);
            }
        }
        if next == before {
            return Ok(()); // it is not all there, which the hash tells
        }
    }
    Ok(())
}
