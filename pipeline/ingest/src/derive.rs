//! Events that a pipeline derives: rows of a query that become events of a topic.

use crate::accept::{Decoded, Draft};
use crate::door::Door;
use crate::error::DoorError;
use crate::identity::{Envelope, Scratch};
use crate::receipt::Receipt;
use crate::rules::TopicRules;
use crate::times::check_times;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, TimestampNanosecondType};
use chalk_catalog::{ColumnType, RecordSchema, TopicDef, TopicSchema};
use chalk_codec::{BadInput, Cell, Reason, check_json, json_texts};
use chalk_event::ChangeBatch;
use chalk_log::{Append, Pending};
use std::borrow::Cow;
use std::sync::Arc;

impl Door {
    /// Appends derived rows as events of their topics, with `frames` in the same commit. Columns are matched by name;
    /// `event_id` is computed, `received_at` is `occurred_at` unless the query gives it, and `event_type` may be left out
    /// where the topic has just one. Rows that are no good events become dead letters with `source`.
    ///
    /// Blocks while the log's queue is full: never call it on an async task's thread.
    ///
    /// # Errors
    /// When a row is a retraction, the query lacks a column that every event needs, or the log does not take it.
    #[expect(clippy::needless_pass_by_value, reason = "what is appended is given away")]
    pub fn derive(
        &self,
        source: &str,
        outputs: &[(TopicDef, ChangeBatch)],
        frames: Append,
    ) -> Result<(Receipt, Pending), DoorError> {
        let mut columns = Vec::with_capacity(outputs.len());
        for (topic, changes) in outputs {
            if (0..changes.len()).any(|row| changes.weight(row) < 1) {
                return Err(DoorError::Retraction { topic: topic.name().to_owned() });
            }
            columns.push(cast_columns(topic, changes.rows())?);
        }
        let scratch = &mut Scratch::default();
        loop {
            let (rules, now) = (self.rules(), self.now());
            let mut drafts = Vec::new();
            for ((topic, changes), columns) in outputs.iter().zip(&columns) {
                let shape =
                    |message: &str| DoorError::Shape { topic: topic.name().to_owned(), message: message.to_owned() };
                let topic = rules.topic(topic.id).ok_or_else(|| shape("there is no such topic"))?;
                drafts.extend((0..changes.len()).map(|row| draft(topic, columns, row, now, scratch)));
            }
            if let Some(done) = self.append_decided(source, &rules, now, drafts, &frames)? {
                return Ok(done);
            }
        }
    }
}

/// The query's columns in the order and types of the topic's; `None` where it does not give one.
fn cast_columns(topic: &TopicDef, rows: &RecordBatch) -> Result<Vec<Option<ArrayRef>>, DoorError> {
    let shape = |message: String| DoorError::Shape { topic: topic.name().to_owned(), message };
    for field in rows.schema_ref().fields() {
        if topic.schema.column_index(field.name()).is_none() {
            return Err(shape(format!(
                "the query gives column '{}', which the topic's schema does not have",
                field.name()
            )));
        }
    }
    let columns = topic.schema.columns.iter().map(|column| {
        let Some(given) = rows.column_by_name(&column.name) else { return Ok(None) };
        let data_type: DataType = column.column_type.arrow();
        if let ColumnType::Json(_) = column.column_type
            && !given.data_type().is_string()
        {
            let texts = json_texts(given).map_err(|error| shape(format!("column '{}': {error}", column.name)))?;
            return Ok(Some(Arc::new(texts) as ArrayRef));
        }
        let cast = arrow::compute::cast(given, &data_type);
        cast.map(Some).map_err(|error| shape(format!("column '{}': {error}", column.name)))
    });
    columns.collect()
}

fn draft<'a>(
    rules: &'a TopicRules,
    columns: &'a [Option<ArrayRef>],
    row: usize,
    now: i64,
    scratch: &mut Scratch,
) -> Draft<'a> {
    let (schema, envelope) = (&rules.topic.schema, rules.envelope);
    let mut cells: Vec<Cell<'a>> = schema
        .columns
        .iter()
        .zip(columns)
        .map(|(column, values)| values.as_ref().map_or(Cell::Null, |values| cell(&column.column_type, values, row)))
        .collect();
    let record = record_of(schema, envelope, &mut cells);
    let event_type = record.as_ref().ok().map(|&record| Cow::Borrowed(schema.records[record].event_type.as_str()));
    let decoded = record.and_then(|record| {
        fill_in(schema, &schema.records[record], envelope, &mut cells);
        check_fields(rules, record, &cells)?;
        check_times(&rules.topic, envelope, &mut cells, now)?;
        Ok(Decoded::of(rules, record, cells.clone(), None, scratch))
    });
    let raw = if decoded.is_err() { Cow::Owned(format!("{cells:?}")) } else { Cow::Borrowed("") };
    Draft { line: row as u64 + 1, raw, event_type, decoded }
}

fn record_of(schema: &TopicSchema, envelope: Envelope, cells: &mut [Cell<'_>]) -> Result<usize, BadInput> {
    let Some(column) = envelope.event_type else { return Ok(0) };
    let found = match (&cells[column], schema.records.as_slice()) {
        (Cell::Text(given), records) => records.iter().position(|record| record.event_type == *given),
        (_, [_]) => Some(0),
        _ => None,
    };
    let Some(record) = found else {
        let message = "the query does not say which of the topic's events the row is: give it an event_type column";
        return Err(BadInput::field(Reason::UnknownEventType, "event_type", message));
    };
    cells[column] = Cell::Text(Cow::Owned(schema.records[record].event_type.clone()));
    Ok(record)
}

/// Defaults, and the time of receipt.
fn fill_in(schema: &TopicSchema, record: &RecordSchema, envelope: Envelope, cells: &mut [Cell<'_>]) {
    for field in &record.fields {
        if let (Cell::Null, Some(default)) = (&cells[field.column], &field.default) {
            let integer = default.as_i64().filter(|_| schema.columns[field.column].column_type.arrow().is_integer());
            cells[field.column] = integer.map_or(Cell::Null, Cell::Integer);
        }
    }
    if let (Some(received), Some(occurred)) = (envelope.received_at, envelope.occurred_at)
        && cells[received] == Cell::Null
    {
        cells[received] = cells[occurred].clone();
    }
}

fn check_fields(rules: &TopicRules, record: usize, cells: &[Cell<'_>]) -> Result<(), BadInput> {
    let schema = &rules.topic.schema;
    let record = &schema.records[record];
    for field in &record.fields {
        let column = &schema.columns[field.column];
        match (&cells[field.column], &column.column_type) {
            (Cell::Null, _) if !field.nullable && !rules.computed.contains(&field.column) => {
                let message = format!("field '{}' is NULL, but {} needs it", column.name, record.event_type);
                return Err(BadInput::field(Reason::MissingField, &column.name, message));
            }
            (Cell::Text(json), ColumnType::Json(avro)) => check_json(avro, json).map_err(|(_, message)| {
                BadInput::field(Reason::WrongType, &column.name, format!("field '{}'{message}", column.name))
            })?,
            (Cell::Text(word), ColumnType::Word(words)) if !words.iter().any(|known| known == word) => {
                let message = format!("field '{}': '{word}' is not one of {}", column.name, words.join(", "));
                return Err(BadInput::field(Reason::WrongType, &column.name, message));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The cell of a row of a topic's column.
pub(crate) fn cell<'a>(column_type: &ColumnType, values: &'a ArrayRef, row: usize) -> Cell<'a> {
    if values.is_null(row) {
        return Cell::Null;
    }
    match column_type {
        ColumnType::Boolean => Cell::Boolean(values.as_boolean().value(row)),
        ColumnType::Int => Cell::Integer(values.as_primitive::<Int32Type>().value(row).into()),
        ColumnType::Long => Cell::Integer(values.as_primitive::<Int64Type>().value(row)),
        ColumnType::Float => Cell::Float(values.as_primitive::<Float32Type>().value(row).into()),
        ColumnType::Double => Cell::Float(values.as_primitive::<Float64Type>().value(row)),
        ColumnType::Timestamp | ColumnType::EpochTime(_) => {
            Cell::Time(values.as_primitive::<TimestampNanosecondType>().value(row))
        }
        ColumnType::Text | ColumnType::Uuid | ColumnType::Word(_) | ColumnType::Json(_) => {
            Cell::Text(Cow::Borrowed(values.as_string::<i32>().value(row)))
        }
    }
}
