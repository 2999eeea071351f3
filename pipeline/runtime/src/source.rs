//! Frames of a topic to rows of a table, with the watermark as it stood before each commit.

use crate::error::RuntimeError;
use crate::recorded::{is_marker, last_watermark, without_failed};
use crate::stored::loaded_column;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::{concat_batches, max};
use arrow::datatypes::{Int64Type, SchemaRef, TimestampNanosecondType};
use chalk_catalog::TopicId;
use chalk_codec::typed_column;
use chalk_event::{ChangeBatch, EventTime, IngestTime, Provenance, Watermark};
use chalk_graph::{Node, NodeId, Source};
use chalk_log::{Commit, Frame};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// Watermarks further ahead of their commit than this are not believed: a fast clock cannot run event time away. They are counted.
const AHEAD_MAX: i64 = 86_400 * chalk_event::NANOS_PER_SECOND;

/// A source node at work.
#[derive(Clone)]
pub(crate) struct SourceTable {
    // configuration
    pub(crate) node: NodeId,
    pub(crate) topic: TopicId,
    name: String,
    source: Source,
    schema: SchemaRef,
    /// No rows of the table.
    nothing: RecordBatch,
    // state
    time: SourceTime,
    // metrics
    /// Rows too far ahead of their commit, since the start.
    ahead: u64,
}

/// How far a source's event time has come, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceTime {
    pub(crate) watermark: Watermark,
    /// When the last commit with rows of it was made.
    pub(crate) rows_at: Option<IngestTime>,
}

/// The rows of one table in a run of commits.
pub(crate) struct TableRows {
    pub(crate) rows: RecordBatch,
    /// One per row, where rows can be deletes.
    pub(crate) weights: Option<Vec<i64>>,
    /// Per commit of the run: its rows, and the source's time after it.
    pub(crate) commits: Vec<(Range<usize>, SourceTime)>,
}

impl TableRows {
    /// The rows of some commits of the run.
    pub(crate) fn of_commits(&self, commits: &Range<usize>) -> ChangeBatch {
        let (first, last) = (&self.commits[commits.start].0, &self.commits[commits.end - 1].0);
        let rows = self.rows.slice(first.start, last.end - first.start);
        match &self.weights {
            None => ChangeBatch::inserts(rows),
            Some(weights) => ChangeBatch::weighted(rows, weights[first.start..last.end].to_vec()),
        }
    }

    /// Whether there are any in some commits of the run.
    pub(crate) fn has_rows(&self, commits: &Range<usize>) -> bool {
        self.commits[commits.clone()].iter().any(|(rows, _)| !rows.is_empty())
    }

    /// The source's time after a commit of the run.
    pub(crate) fn time_after(&self, commit: usize) -> SourceTime {
        self.commits[commit].1
    }
}

impl SourceTable {
    pub(crate) fn new(id: NodeId, node: &Node, source: &Source, topic: TopicId) -> Self {
        Self {
            node: id,
            topic,
            name: node.name.clone(),
            source: source.clone(),
            schema: Arc::clone(&node.schema),
            nothing: RecordBatch::new_empty(Arc::clone(&node.schema)),
            time: SourceTime::default(),
            ahead: 0,
        }
    }

    fn failed(&self, error: impl std::fmt::Display) -> RuntimeError {
        RuntimeError::Source { source_name: self.name.clone(), message: error.to_string() }
    }

    /// The table's rows of a run of commits; moves the watermark on.
    pub(crate) fn read(&mut self, commits: &[Commit]) -> Result<TableRows, RuntimeError> {
        let mut batches = Vec::new();
        let mut weights = self.source.columns.weight.as_ref().map(|_| Vec::new());
        let mut ranges = Vec::with_capacity(commits.len());
        let mut count = 0;
        for commit in commits {
            let start = count;
            let frames =
                commit.frames.iter().filter(|frame| frame.topic == self.topic && !is_marker(&self.source, frame));
            for frame in frames {
                let rows = self.columns_of(commit, frame)?;
                if let (Some(weights), Some(name)) = (&mut weights, &self.source.columns.weight) {
                    weights.extend(self.stored(frame, name)?.as_primitive::<Int64Type>().values());
                }
                count += rows.num_rows();
                batches.push(rows);
            }
            ranges.push(start..count);
        }
        if self.source.recorded.is_some() {
            return self.read_recorded(commits, ranges, &batches);
        }
        if batches.is_empty() {
            // As for most tables in most small epochs.
            let commits = commits.iter().map(|_| (0..0, self.time)).collect();
            return Ok(TableRows { rows: self.nothing.clone(), weights, commits });
        }
        let rows = concat_batches(&self.source.columns.schema, &batches).map_err(|error| self.failed(error))?;
        let rows = self.evaluate(&rows)?;
        let marks = self.watermarks(&rows)?;
        let mut timeline = Vec::with_capacity(commits.len());
        for (range, commit) in ranges.into_iter().zip(commits) {
            if let Some(marks) = &marks {
                self.advance(&marks.slice(range.start, range.len()), commit.time);
            }
            if !range.is_empty() {
                self.time.rows_at = Some(commit.time);
            }
            timeline.push((range, self.time));
        }
        Ok(TableRows { rows, weights, commits: timeline })
    }

    /// Rows that a stage has recorded: its markers say how far event time has come.
    fn read_recorded(
        &mut self,
        commits: &[Commit],
        ranges: Vec<Range<usize>>,
        batches: &[RecordBatch],
    ) -> Result<TableRows, RuntimeError> {
        let rows = concat_batches(&self.source.columns.schema, batches).map_err(|error| self.failed(error))?;
        let rows = self.evaluate(&rows)?;
        let mut timeline = Vec::with_capacity(commits.len());
        for (range, commit) in ranges.into_iter().zip(commits) {
            for frame in commit.frames.iter().filter(|frame| frame.topic == self.topic) {
                if is_marker(&self.source, frame)
                    && let Some(mark) = last_watermark(&frame.rows)
                {
                    self.time.watermark.advance(mark);
                }
            }
            if !range.is_empty() {
                self.time.rows_at = Some(commit.time);
            }
            timeline.push((range, self.time));
        }
        Ok(TableRows { rows, weights: None, commits: timeline })
    }

    /// Stored columns by name, then provenance.
    fn columns_of(&self, commit: &Commit, frame: &Frame) -> Result<RecordBatch, RuntimeError> {
        let count = frame.rows.num_rows();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (name, field) in self.source.columns.stored.iter().zip(self.source.columns.schema.fields()) {
            let column = self.stored(frame, name)?;
            columns.push(if self.source.recorded.is_some() {
                loaded_column(field.data_type(), column).map_err(|error| self.failed(error))?
            } else if column.data_type() == field.data_type() {
                Arc::clone(column)
            } else {
                typed_column(column, field.data_type()).map_err(|error| self.failed(error))?
            });
        }
        for kind in &self.source.columns.provenance {
            columns.push(match kind {
                Provenance::Topic => Arc::new(StringArray::from_iter_values((0..count).map(|_| &self.source.topic))),
                Provenance::Partition => Arc::new(Int64Array::from(vec![i64::from(frame.partition.0); count])),
                Provenance::Offset => Arc::new(Int64Array::from_iter_values(
                    (0..count as u64).map(|row| (frame.base_offset.0 + row) as i64),
                )),
                Provenance::CommitSeq => Arc::new(Int64Array::from(vec![commit.seq.0 as i64; count])),
            });
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(count));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.source.columns.schema), columns, &options);
        let rows =
            rows.and_then(|rows| if self.source.recorded.is_some() { without_failed(&rows, frame) } else { Ok(rows) });
        rows.map_err(|error| self.failed(error))
    }

    fn stored<'f>(&self, frame: &'f Frame, name: &str) -> Result<&'f ArrayRef, RuntimeError> {
        let missing = || self.failed(format!("topic '{}' has no column '{name}'", self.source.topic));
        frame.rows.column_by_name(name).ok_or_else(missing)
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<RecordBatch, RuntimeError> {
        let columns: Result<Vec<ArrayRef>, _> = self
            .source
            .expressions
            .iter()
            .map(|expression| expression.evaluate(rows).and_then(|value| value.into_array(rows.num_rows())))
            .collect();
        let columns = columns.map_err(|error| self.failed(error))?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| self.failed(error))
    }

    fn watermarks(&self, rows: &RecordBatch) -> Result<Option<ArrayRef>, RuntimeError> {
        let Some(watermark) = &self.source.watermark else { return Ok(None) };
        let marks = watermark.evaluate(rows).and_then(|value| value.into_array(rows.num_rows()));
        marks.map(Some).map_err(|error| self.failed(error))
    }

    fn advance(&mut self, marks: &ArrayRef, commit_time: IngestTime) {
        let bound = commit_time.0.saturating_add(AHEAD_MAX);
        let marks = marks.as_primitive::<TimestampNanosecondType>();
        let greatest = match max(marks) {
            Some(greatest) if greatest > bound => {
                self.ahead += marks.iter().flatten().filter(|&mark| mark > bound).count() as u64;
                marks.iter().flatten().filter(|&mark| mark <= bound).max()
            }
            greatest => greatest,
        };
        if let Some(greatest) = greatest {
            self.time.watermark.advance(EventTime(greatest));
        }
    }

    /// Goes on from where an earlier run was.
    pub(crate) fn restore(&mut self, time: SourceTime) {
        self.time = time;
    }

    /// Goes on from the watermark of an earlier run.
    pub(crate) fn restore_watermark(&mut self, watermark: Watermark) {
        self.time.watermark = watermark;
    }

    /// A bounded source has ended: everything is complete.
    pub(crate) fn end(&mut self) {
        self.time.watermark.advance(EventTime(i64::MAX));
    }

    pub(crate) fn is_bounded(&self) -> bool {
        self.source.is_bounded()
    }

    pub(crate) fn time(&self) -> SourceTime {
        self.time
    }

    /// Rows too far ahead of their commit to be believed, since the start.
    pub(crate) fn ahead(&self) -> u64 {
        self.ahead
    }

    pub(crate) fn table(&self) -> &str {
        &self.source.table
    }
}
