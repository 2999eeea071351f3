//! Results that were recorded for an earlier query of a stage: they are copied where the function would be given the same again.

use super::generation::Generation;
use super::layout::{Layout, MARKERS, RESULTS, number_column, returns_of};
use super::place::{RowId, markers};
use super::queue::{Done, Outcome};
use crate::error::RuntimeError;
use arrow::array::Array;
use arrow::datatypes::DataType;
use chalk_catalog::TopicId;
use chalk_event::{CommitSeq, Offset};
use chalk_graph::Stage;
use chalk_log::EventLog;
use std::collections::HashMap;
use std::sync::Arc;

/// So much is read at once.
const READ_BYTES: usize = 1 << 20;

/// The results of an earlier topic, read in step with the rows.
pub(super) struct Earlier {
    log: Arc<dyn EventLog>,
    topic: TopicId,
    returns: DataType,
    /// Where to go on reading, and where to stop.
    from: Offset,
    end: Offset,
    markers_from: Offset,
    /// Results that were read: the commit of their row, the hash of arguments.
    results: HashMap<RowId, (CommitSeq, i64, Done)>,
}

impl Earlier {
    /// Of the topic before a stage's; `None` when there is none that is of use.
    pub(super) fn open(
        log: &Arc<dyn EventLog>,
        stage: &Stage,
        generations: &[Generation],
    ) -> Result<Option<Self>, RuntimeError> {
        let [.., before, now] = generations else { return Ok(None) };
        let is_of_use = now.avsc["adopts"] == true && before.avsc["function"] == stage.function.as_str();
        if !is_of_use || returns_of(&before.avsc).as_ref() != Some(&stage.returns) {
            return Ok(None);
        }
        let topics = log.topics();
        let Some(topic) = topics.by_name(&before.name).map(|topic| topic.id) else { return Ok(None) };
        Ok(Some(Self {
            log: Arc::clone(log),
            topic,
            returns: stage.returns.clone(),
            from: log.first(topic, RESULTS)?,
            end: log.tail(topic, RESULTS),
            markers_from: log.first(topic, MARKERS)?,
            results: HashMap::new(),
        }))
    }

    /// Reads the results of all rows of commits up to this one.
    pub(super) fn read(&mut self, upto: CommitSeq) -> Result<(), RuntimeError> {
        let recorded_by = self.marked(upto)?;
        while self.from < self.end {
            let frames = self.log.read_partition(self.topic, RESULTS, self.from, READ_BYTES)?;
            if frames.is_empty() {
                self.from = self.end;
            }
            for (commit, frame) in &frames {
                if recorded_by.is_some_and(|last| *commit > last) {
                    return Ok(());
                }
                self.from = Offset(frame.base_offset.0 + frame.rows.num_rows() as u64);
                let values = Layout::values(&frame.rows, &self.returns)?;
                let verdicts = Layout::texts(&frame.rows, Layout::VERDICT)?;
                let functions = Layout::texts(&frame.rows, Stage::FUNCTION)?;
                let arguments = number_column(&frame.rows, Layout::ARGUMENTS)?;
                for (row, (id, commit)) in Layout::ids(&frame.rows)?.into_iter().enumerate() {
                    let outcome = match verdicts.is_valid(row) {
                        true => Outcome::Failed(verdicts.value(row).to_owned()),
                        false => Outcome::Value(Arc::clone(&values), row),
                    };
                    let done = Done { outcome, function: functions.value(row).into(), is_new: false };
                    self.results.entry(id).or_insert((commit, arguments.value(row), done));
                }
            }
        }
        Ok(())
    }

    /// The commit of the log by which all rows up to `upto` were recorded; `None` when they were not.
    fn marked(&mut self, upto: CommitSeq) -> Result<Option<CommitSeq>, RuntimeError> {
        loop {
            let frames = self.log.read_partition(self.topic, MARKERS, self.markers_from, READ_BYTES)?;
            for (commit, frame) in &frames {
                if markers(&frame.rows).iter().any(|marker| marker.upto >= upto) {
                    return Ok(Some(*commit));
                }
                self.markers_from = Offset(frame.base_offset.0 + frame.rows.num_rows() as u64);
            }
            if frames.is_empty() {
                return Ok(None);
            }
        }
    }

    /// The result of a row, if the function was given the same.
    pub(super) fn take(&mut self, id: RowId, arguments: i64) -> Option<Done> {
        self.results.remove(&id).filter(|(_, before, _)| *before == arguments).map(|(_, _, done)| done)
    }

    /// Rows up to this commit will not be asked for any more.
    pub(super) fn forget(&mut self, upto: CommitSeq) {
        self.results.retain(|_, (commit, ..)| *commit > upto);
    }

    /// Whether there is nothing left.
    pub(super) fn is_over(&self) -> bool {
        self.from >= self.end && self.results.is_empty()
    }
}
