//! Two multisets of rows, compared.

use super::{Mismatch, with_schema};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use chalk_codec::write_json_row;
use chalk_event::{Offset, PartitionId};
use chalk_log::EventLog;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// So many rows of each kind are shown.
const SHOWN_MAX: usize = 3;

/// Compares rows; gives how many there are.
pub(super) fn compare(
    what: &str,
    expected: &[RecordBatch],
    found: &[RecordBatch],
    schema: &SchemaRef,
) -> Result<usize, Mismatch> {
    let (expected, found) = (with_schema(expected, schema)?, with_schema(found, schema)?);
    let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let mut difference: HashMap<Box<[u8]>, (i64, String)> = HashMap::new();
    let mut counts = [0, 0];
    for (side, batches) in [(0, &expected), (1, &found)] {
        for batch in batches {
            counts[side] += batch.num_rows();
            let rows = converter.convert_columns(batch.columns())?;
            for (index, row) in rows.iter().enumerate() {
                let weight = if side == 0 { 1 } else { -1 };
                let entry = difference.entry(row.data().into()).or_default();
                entry.0 += weight;
                if entry.0 == weight {
                    entry.1.clear();
                    write_json_row(&mut entry.1, batch, index, &|_| false)?;
                }
            }
        }
    }
    difference.retain(|_, (weight, _)| *weight != 0);
    if difference.is_empty() {
        return Ok(counts[0]);
    }
    let mut rows: Vec<(i64, String)> = difference.into_values().collect();
    rows.sort_by(|a, b| a.1.cmp(&b.1));
    let shown = |sign: i64| {
        let of_sign: Vec<&(i64, String)> = rows.iter().filter(|(weight, _)| weight.signum() == sign).collect();
        let mut text: String = of_sign.iter().take(SHOWN_MAX).map(|(_, row)| format!("\n    {row}")).collect();
        if of_sign.len() > SHOWN_MAX {
            text.push_str(&format!("\n    … and {} more", of_sign.len() - SHOWN_MAX));
        }
        if text.is_empty() { " none".to_owned() } else { text }
    };
    Err(Mismatch(format!(
        "{what} has {} rows, the batch answer {}\n  only in the batch answer:{}\n  only in {what}:{}",
        counts[1],
        counts[0],
        shown(1),
        shown(-1)
    )))
}

/// Each row once: what a query derives again with the same content is a duplicate at the door.
pub(super) fn distinct(batches: &[RecordBatch]) -> Result<Vec<RecordBatch>, Mismatch> {
    let mut seen: HashSet<Box<[u8]>> = HashSet::new();
    let mut kept = Vec::new();
    for batch in batches {
        let fields = batch.schema_ref().fields().iter().map(|field| SortField::new(field.data_type().clone()));
        let rows = RowConverter::new(fields.collect())?.convert_columns(batch.columns())?;
        let new: BooleanArray = rows.iter().map(|row| Some(seen.insert(row.data().into()))).collect();
        kept.push(filter_record_batch(batch, &new)?);
    }
    Ok(kept)
}

/// The rows of a topic's frames, in the columns of `schema`.
pub(super) fn topic_rows(topic: &str, frames: &[Stored], schema: &SchemaRef) -> Result<Vec<RecordBatch>, Mismatch> {
    let mut batches = Vec::new();
    for Stored { rows, .. } in frames {
        let columns: Result<Vec<ArrayRef>, Mismatch> = schema
            .fields()
            .iter()
            .map(|field| {
                let column = rows.column_by_name(field.name());
                let column =
                    column.ok_or_else(|| Mismatch(format!("topic '{topic}' has no column '{}'", field.name())))?;
                Ok(cast(column, field.data_type())?)
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        batches.push(RecordBatch::try_new_with_options(Arc::clone(schema), columns?, &options)?);
    }
    Ok(batches)
}

/// A frame of a topic as it stands in the log.
pub(super) struct Stored {
    pub(super) commit: u64,
    pub(super) partition: PartitionId,
    pub(super) base_offset: Offset,
    pub(super) rows: RecordBatch,
}

/// All frames of a topic.
pub(super) fn frames(log: &dyn EventLog, topic: &str) -> Result<Vec<Stored>, Mismatch> {
    let topics = log.topics();
    let definition = topics.by_name(topic).ok_or_else(|| Mismatch(format!("there is no topic '{topic}'")))?;
    let mut all = Vec::new();
    for partition in (0..definition.partitions).map(PartitionId) {
        let mut from = Offset(0);
        loop {
            let frames = log.read_partition(definition.id, partition, from, 16 << 20)?;
            let Some((_, last)) = frames.last() else { break };
            from = Offset(last.base_offset.0 + last.rows.num_rows() as u64);
            all.extend(frames.into_iter().map(|(commit, frame)| Stored {
                commit: commit.0,
                partition,
                base_offset: frame.base_offset,
                rows: frame.rows,
            }));
        }
    }
    Ok(all)
}
