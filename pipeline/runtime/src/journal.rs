//! The journal: what an epoch's record says about views, and reading records in order.
//!
//! A view keeps the hash of its rows up to date with each change, so that a record costs a comparison of hashes, not a scan.
//! A record names the views whose hash differs from the record before; a run's first one and each [`COMPLETE_EVERY`]th name
//! all, so that whoever wants to know about one epoch looks at so many records at most.

use crate::error::RuntimeError;
use arrow::array::StringArray;
use chalk_catalog::{CommittedEpoch, ControlEvent, EpochViews, Journal, SystemTopic, ViewRecord};
use chalk_event::{CommitSeq, Epoch, Offset, PartitionId};
use chalk_log::{EventLog, LogError};
use chalk_view::ViewRows;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Of so many records one names all views.
const COMPLETE_EVERY: u32 = 64;
/// About so many bytes of records are read at once.
const READ_BYTES: usize = 1 << 20;

/// What the journal says of a pipeline's views, kept by who writes it.
#[derive(Debug)]
pub(crate) struct ViewJournal {
    /// All views as of the last record; `None` when nobody knows.
    recorded: Option<BTreeMap<String, ViewRecord>>,
    /// Records since one that named all views; `None` when this run has written none of those.
    since_complete: Option<u32>,
}

impl ViewJournal {
    /// Goes on after a pipeline's last record, if there is one.
    pub(crate) fn new(last: Option<&CommittedEpoch>) -> Self {
        // Before the first record all views are without rows.
        let recorded = last.map_or(Some(BTreeMap::new()), |last| last.views.clone());
        Self { recorded, since_complete: None }
    }

    /// What the next record has to say.
    pub(crate) fn next(&self, views: &BTreeMap<String, ViewRows>) -> NextRecord {
        let mut differ: BTreeMap<String, ViewRecord> = BTreeMap::new();
        for (name, view) in views {
            let record = record_of(view);
            let known = self.recorded.as_ref().and_then(|recorded| recorded.get(name));
            if known.map_or(self.recorded.is_none() || !view.is_empty(), |known| !known.same_rows(&record)) {
                differ.insert(name.clone(), record);
            }
        }
        let gone = self.recorded.iter().flatten().any(|(name, _)| !views.contains_key(name));
        let worth_it = gone || !differ.is_empty();
        let names = differ.keys().cloned().collect();
        let complete = gone || self.since_complete.is_none_or(|since| since + 1 >= COMPLETE_EVERY);
        let all = || views.iter().map(|(name, view)| (name.clone(), record_of(view))).collect();
        NextRecord {
            views: EpochViews { complete, views: if complete { all() } else { differ } },
            differ: names,
            worth_it,
        }
    }

    /// The record is durable.
    pub(crate) fn recorded(&mut self, record: Option<EpochViews>) {
        let Some(record) = record else {
            (self.recorded, self.since_complete) = (None, None);
            return;
        };
        self.since_complete = if record.complete { Some(0) } else { self.since_complete.map(|since| since + 1) };
        self.recorded = record.after(self.recorded.take());
    }
}

/// What a view comes to, as the journal says it.
pub(crate) fn record_of(view: &ViewRows) -> ViewRecord {
    ViewRecord::of(view.hash().to_string(), view.len() as u64)
}

/// What a record is about to say.
pub(crate) struct NextRecord {
    pub(crate) views: EpochViews,
    /// The views that are not as they were recorded last.
    pub(crate) differ: BTreeSet<String>,
    /// Whether that is reason enough for a record.
    pub(crate) worth_it: bool,
}

/// A pipeline's records, in order.
pub(crate) struct Records<'a> {
    log: &'a dyn EventLog,
    pipeline: &'a str,
    from: Offset,
    read: VecDeque<ControlEvent>,
    journal: Journal,
}

impl<'a> Records<'a> {
    /// From the first one on that is kept.
    pub(crate) fn new(log: &'a dyn EventLog, pipeline: &'a str) -> Result<Self, RuntimeError> {
        let from = log.first(SystemTopic::Journal.id(), PartitionId(0))?;
        Ok(Self { log, pipeline, from, read: VecDeque::new(), journal: Journal::default() })
    }

    /// The last input commit of the epoch that comes next.
    pub(crate) fn peek(&mut self) -> Result<Option<CommitSeq>, RuntimeError> {
        loop {
            match self.read.front() {
                Some(ControlEvent::EpochCommitted { pipeline, upto, .. }) if pipeline == self.pipeline => {
                    return Ok(Some(*upto));
                }
                Some(_) => drop(self.read.pop_front()),
                None => {
                    let (events, next) = records_from(self.log, self.from, READ_BYTES)?;
                    if events.is_empty() {
                        return Ok(None);
                    }
                    self.from = next;
                    self.read.extend(events);
                }
            }
        }
    }

    /// Takes the next epochs, as long as they end at `upto` or before; gives the last of them whose views are known.
    pub(crate) fn take_known(&mut self, upto: CommitSeq) -> Result<Option<CommittedEpoch>, RuntimeError> {
        let mut known = None;
        while self.peek()?.is_some_and(|next| next <= upto) {
            let Some(event) = self.read.pop_front() else { break };
            self.journal.apply(&event);
            known = self.journal.pipelines.get(self.pipeline).filter(|last| last.views.is_some()).cloned().or(known);
        }
        Ok(known)
    }
}

/// The last epoch of a pipeline whose views are known among those for which `holds`, which it does for the first ones and then for none.
/// It takes some reads for each doubling of the journal.
pub(crate) fn last_record(
    log: &dyn EventLog,
    pipeline: &str,
    holds: impl Fn(Epoch, CommitSeq) -> bool,
) -> Result<Option<CommittedEpoch>, RuntimeError> {
    let is_mine = |event: &ControlEvent| match event {
        ControlEvent::EpochCommitted { pipeline: of, epoch, upto, .. } if of == pipeline => Some((*epoch, *upto)),
        _ => None,
    };
    let first = log.first(SystemTopic::Journal.id(), PartitionId(0))?.0;
    let (mut low, mut high) = (first, log.tail(SystemTopic::Journal.id(), PartitionId(0)).0);
    while low < high {
        let middle = low + (high - low) / 2;
        let (mut at, mut found) = (middle, None);
        while at < high && found.is_none() {
            let (events, next) = records_from(log, Offset(at), 1)?;
            let mine = events.iter().zip(at..high).find_map(|(event, offset)| Some((offset, is_mine(event)?)));
            (at, found) = (if events.is_empty() { high } else { next.0 }, mine);
        }
        match found {
            Some((offset, (epoch, upto))) if holds(epoch, upto) => low = offset + 1,
            _ => high = middle,
        }
    }
    // Back to a record that names all views.
    let (mut from, mut events) = (low, VecDeque::new());
    let mut is_complete = false;
    while from > first && !is_complete {
        let begin = from.saturating_sub(u64::from(COMPLETE_EVERY)).max(first);
        let mut page = Vec::new();
        while begin + (page.len() as u64) < from {
            let (more, _) = records_from(log, Offset(begin + page.len() as u64), 1)?;
            if more.is_empty() {
                break;
            }
            page.extend(more);
        }
        page.truncate(usize::try_from(from - begin).unwrap_or(usize::MAX));
        for event in page.into_iter().rev() {
            let tells_all =
                matches!(&event, ControlEvent::EpochCommitted { views: Some(EpochViews { complete: true, .. }), .. });
            is_complete |= tells_all && is_mine(&event).is_some();
            events.push_front(event);
        }
        from = begin;
    }
    let (mut journal, mut known) = (Journal::default(), None);
    for event in &events {
        journal.apply(event);
        known = journal.pipelines.get(pipeline).filter(|last| last.views.is_some()).cloned().or(known);
    }
    Ok(known)
}

/// Events of the journal from an offset on, about `bytes_max` of them, and the offset after them.
fn records_from(
    log: &dyn EventLog,
    from: Offset,
    bytes_max: usize,
) -> Result<(Vec<ControlEvent>, Offset), RuntimeError> {
    let frames = log.read_partition(SystemTopic::Journal.id(), PartitionId(0), from, bytes_max)?;
    let (mut events, mut next) = (Vec::new(), from);
    for (_, frame) in &frames {
        let texts = frame.rows.columns().first().and_then(|column| column.as_any().downcast_ref::<StringArray>());
        let skipped = next.0.saturating_sub(frame.base_offset.0);
        for text in texts.into_iter().flatten().flatten().skip(usize::try_from(skipped).unwrap_or(usize::MAX)) {
            let event = serde_json::from_str(text)
                .map_err(|error| LogError::Schema(format!("a control event of a newer build? {error}: {text}")))?;
            events.push(event);
        }
        next = Offset(frame.base_offset.0 + frame.rows.num_rows() as u64);
    }
    Ok((events, next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::datatypes::SchemaRef;
    use chalk_event::ChangeBatch;
    use std::sync::Arc;

    fn rows(values: &[i64]) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        RecordBatch::try_from_iter([("x", column)]).expect("one column")
    }

    fn views(views: &[(&str, &[i64])]) -> BTreeMap<String, ViewRows> {
        let view = |&(name, values): &(&str, &[i64])| {
            let schema: SchemaRef = rows(&[]).schema();
            let mut view = ViewRows::new(name, schema).expect("integers encode");
            view.apply(&ChangeBatch::inserts(rows(values))).expect("inserts");
            (name.to_owned(), view)
        };
        views.iter().map(view).collect()
    }

    /// What the next record says, as `all` or not, and the views that it names; `None` when there is no reason for one.
    fn next(journal: &mut ViewJournal, now: &[(&str, &[i64])]) -> Option<(bool, Vec<String>)> {
        let NextRecord { views, worth_it, .. } = journal.next(&views(now));
        worth_it.then(|| {
            let told = (views.complete, views.views.keys().cloned().collect());
            journal.recorded(Some(views));
            told
        })
    }

    fn named(complete: bool, views: &[&str]) -> Option<(bool, Vec<String>)> {
        Some((complete, views.iter().map(|&view| view.to_owned()).collect()))
    }

    #[test]
    fn a_record_names_the_views_that_differ_and_at_times_all() {
        let mut journal = ViewJournal::new(None);
        assert_eq!(next(&mut journal, &[("a", &[]), ("b", &[])]), None, "nothing has happened");
        assert_eq!(next(&mut journal, &[("a", &[1]), ("b", &[])]), named(true, &["a", "b"]));
        assert_eq!(next(&mut journal, &[("a", &[1]), ("b", &[])]), None);
        for x in 2..i64::from(COMPLETE_EVERY) + 1 {
            assert_eq!(next(&mut journal, &[("a", &[x]), ("b", &[])]), named(false, &["a"]), "{x}");
        }
        assert_eq!(next(&mut journal, &[("a", &[0]), ("b", &[])]), named(true, &["a", "b"]));
        assert_eq!(next(&mut journal, &[("a", &[0]), ("b", &[7])]), named(false, &["b"]));
        assert_eq!(next(&mut journal, &[("b", &[7])]), named(true, &["b"]), "a is gone");
    }

    #[test]
    fn a_run_goes_on_where_the_journal_ends() {
        let record = ViewJournal::new(None).next(&views(&[("a", &[1])])).views;
        let last = |views| CommittedEpoch { epoch: Epoch(1), upto: CommitSeq(1), views };
        let mut same = ViewJournal::new(Some(&last(Some(record.views))));
        assert_eq!(next(&mut same, &[("a", &[1])]), None);
        assert_eq!(next(&mut same, &[("a", &[2])]), named(true, &["a"]), "a run's first");
        let mut unknown = ViewJournal::new(Some(&last(None)));
        assert_eq!(next(&mut unknown, &[("a", &[])]), named(true, &["a"]));
        unknown.recorded(None);
        assert_eq!(next(&mut unknown, &[("a", &[])]), named(true, &["a"]));
    }
}
