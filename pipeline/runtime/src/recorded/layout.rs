//! The rows of a stage's topic: see [`super`].

use super::place::{RowId, markers};
use crate::error::RuntimeError;
use crate::stored::{loaded_column, stored_column, stored_field};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt64Array, new_null_array};
use arrow::compute::{filter_record_batch, is_null};
use arrow::datatypes::{DataType, Field, Int64Type};
use arrow::error::ArrowError;
use chalk_catalog::TopicDef;
use chalk_event::{CommitSeq, EventTime, PartitionId};
use chalk_graph::{Source, Stage};
use chalk_log::{Frame, FrameToAppend};
use serde_json::{Value, json};
use std::sync::Arc;

/// The partition of results.
pub(super) const RESULTS: PartitionId = PartitionId(0);
/// The partition of markers.
pub(super) const MARKERS: PartitionId = PartitionId(1);

/// How a stage's rows are stored.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    topic: TopicDef,
    /// How many columns are kept.
    kept: usize,
}

/// Results to be stored: columns of one length.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) kept: Vec<ArrayRef>,
    pub(super) values: ArrayRef,
    pub(super) functions: Vec<Arc<str>>,
    pub(super) verdicts: Vec<Option<String>>,
    /// Partition, offset and commit.
    pub(super) places: Vec<ArrayRef>,
    pub(super) arguments: Vec<i64>,
}

impl Layout {
    pub(super) const VERDICT: &'static str = "_verdict";
    pub(super) const PARTITION: &'static str = Stage::PLACE[0];
    pub(super) const OFFSET: &'static str = Stage::PLACE[1];
    pub(super) const COMMIT: &'static str = Stage::PLACE[2];
    pub(super) const ARGUMENTS: &'static str = "_arguments";
    pub(super) const WATERMARK: &'static str = "_watermark";

    pub(super) fn new(topic: TopicDef, stage: &Stage) -> Self {
        Self { topic, kept: stage.kept.fields().len() }
    }

    /// The topic's `.avsc`, with what else is to be known of it; an error for the name of a column that cannot be kept.
    pub(super) fn avsc(stage: &Stage, query: &str, adopts: bool) -> Result<String, String> {
        let mut fields: Vec<Value> = Vec::new();
        for field in Stage::columns(&stage.kept, &stage.returns).fields() {
            // Markers have none of them.
            fields.push(stored_field(field, true).ok_or_else(|| field.name().clone())?);
        }
        fields.push(json!({ "name": Self::VERDICT, "type": ["null", "string"] }));
        for name in [Self::PARTITION, Self::OFFSET, Self::COMMIT, Self::ARGUMENTS, Self::WATERMARK] {
            fields.push(json!({ "name": name, "type": ["null", "long"] }));
        }
        let (name, function) = (&stage.name, &stage.function);
        let avsc = json!({
            "type": "record", "event_type": "recorded", "partitions": 2, "fields": fields,
            "stage": name, "function": function, "query": query, "adopts": adopts,
        });
        Ok(avsc.to_string())
    }

    /// The frame of results.
    pub(super) fn results(&self, results: Results) -> Result<FrameToAppend, ArrowError> {
        let rows = results.values.len();
        let mut columns = results.kept.iter().map(stored_column).collect::<Result<Vec<_>, _>>()?;
        columns.push(stored_column(&results.values)?);
        columns.push(Arc::new(StringArray::from_iter_values(results.functions.iter())));
        columns.push(Arc::new(StringArray::from(results.verdicts)));
        columns.extend(results.places);
        columns.push(Arc::new(Int64Array::from(results.arguments)));
        columns.push(new_null_array(&DataType::Int64, rows));
        self.frame(RESULTS, columns, rows)
    }

    /// The frame of a marker.
    pub(super) fn marker(
        &self,
        upto: CommitSeq,
        watermark: Option<EventTime>,
        results_from: u64,
    ) -> Result<FrameToAppend, ArrowError> {
        let number = |number: u64| Some(i64::try_from(number).unwrap_or(i64::MAX));
        let own = [None, number(results_from), number(upto.0), None, watermark.map(|time| time.0)];
        let fields = self.topic.schema.arrow().fields();
        let mut columns: Vec<ArrayRef> =
            fields[..self.kept + 3].iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        columns.extend(own.map(|value| Arc::new(Int64Array::from(vec![value])) as ArrayRef));
        self.frame(MARKERS, columns, 1)
    }

    fn frame(
        &self,
        partition: PartitionId,
        mut columns: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<FrameToAppend, ArrowError> {
        // What events have beside their columns.
        columns.push(new_null_array(&DataType::Utf8, rows));
        columns.push(Arc::new(UInt64Array::from(vec![0; rows])));
        let rows = RecordBatch::try_new(Arc::clone(self.topic.schema.arrow()), columns)?;
        let (topic, schema) = (self.topic.id, self.topic.schema_id);
        Ok(FrameToAppend { topic, partition, schema, event_times: None, rows })
    }

    /// The ids of a frame's rows, and the commits of their inputs.
    pub(super) fn ids(rows: &RecordBatch) -> Result<Vec<(RowId, CommitSeq)>, RuntimeError> {
        let column = |name| number_column(rows, name);
        let (partitions, offsets, commits) = (column(Self::PARTITION)?, column(Self::OFFSET)?, column(Self::COMMIT)?);
        let id =
            |row: usize| ((partitions.value(row), offsets.value(row)), CommitSeq(commits.value(row).cast_unsigned()));
        Ok((0..rows.num_rows()).map(id).collect())
    }

    /// A frame's results, as they were given.
    pub(super) fn values(rows: &RecordBatch, returns: &DataType) -> Result<ArrayRef, RuntimeError> {
        let stored = rows.column_by_name(Stage::RESULT).ok_or_else(|| no_column(Stage::RESULT))?;
        Ok(loaded_column(returns, stored)?)
    }

    pub(super) fn texts<'r>(rows: &'r RecordBatch, name: &str) -> Result<&'r StringArray, RuntimeError> {
        rows.column_by_name(name).and_then(|column| column.as_string_opt()).ok_or_else(|| no_column(name).into())
    }
}

pub(super) fn number_column<'r>(rows: &'r RecordBatch, name: &str) -> Result<&'r Int64Array, RuntimeError> {
    let column = rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
    column.ok_or_else(|| no_column(name).into())
}

fn no_column(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("a stage's results have no column '{name}'"))
}

/// Whether a frame of a source has markers.
pub(crate) fn is_marker(source: &Source, frame: &Frame) -> bool {
    source.recorded.is_some() && frame.partition == MARKERS
}

/// How far event time has come by a frame of markers.
pub(crate) fn last_watermark(rows: &RecordBatch) -> Option<EventTime> {
    markers(rows).into_iter().filter_map(|marker| marker.watermark).max()
}

/// The rows of a frame that have a result; `rows` are its rows as others see them.
pub(crate) fn without_failed(rows: &RecordBatch, frame: &Frame) -> Result<RecordBatch, ArrowError> {
    match frame.rows.column_by_name(Layout::VERDICT) {
        Some(verdicts) if verdicts.null_count() < verdicts.len() => filter_record_batch(rows, &is_null(verdicts)?),
        _ => Ok(rows.clone()),
    }
}

/// The type of a topic's results; `None` for a topic that is no stage's.
pub(super) fn returns_of(avsc: &Value) -> Option<DataType> {
    let fields = avsc["fields"].as_array()?;
    let result = fields.iter().find(|field| field["name"] == Stage::RESULT)?;
    result["arrow"].as_str()?.parse().ok()
}

/// A field for tests and dead letters: the input row as JSON has these names.
pub(super) fn argument_field(number: usize, data_type: &DataType) -> Field {
    Field::new(format!("argument_{}", number + 1), data_type.clone(), true)
}
