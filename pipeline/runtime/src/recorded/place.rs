//! Where a stage goes on: its last marker, and what was recorded ahead of it.

use super::layout::{Layout, MARKERS, RESULTS};
use crate::error::RuntimeError;
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use chalk_catalog::TopicDef;
use chalk_event::{CommitSeq, EventTime, Offset, Watermark};
use chalk_log::EventLog;
use std::collections::HashMap;

/// The id of an input row: its partition and offset.
pub(super) type RowId = (i64, i64);

/// So much is read at once.
const READ_BYTES: usize = 1 << 20;

/// Where a stage goes on.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// All rows up to this commit are recorded.
    pub(super) upto: CommitSeq,
    /// The watermark of the input as of then.
    pub(super) watermark: Watermark,
    /// Rows of later commits that are recorded, with the offsets of their results.
    pub(super) recorded: HashMap<RowId, u64>,
    /// The next offset of results.
    pub(super) next: u64,
}

/// A marker as it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marker {
    pub(super) upto: CommitSeq,
    pub(super) watermark: Option<EventTime>,
    pub(super) results_from: Offset,
}

impl Place {
    /// Of a stage with this topic.
    pub(super) fn find(log: &dyn EventLog, topic: &TopicDef) -> Result<Self, RuntimeError> {
        let next = log.tail(topic.id, RESULTS);
        let mut place = Self { next: next.0, ..Self::default() };
        let mut from = log.first(topic.id, RESULTS)?;
        if let Some(marker) = last_marker(log, topic)? {
            place.upto = marker.upto;
            if let Some(time) = marker.watermark {
                place.watermark.advance(time);
            }
            from = from.max(marker.results_from);
        }
        while from < next {
            let frames = log.read_partition(topic.id, RESULTS, from, READ_BYTES)?;
            let Some((_, last)) = frames.last() else { break };
            let end = Offset(last.base_offset.0 + last.rows.num_rows() as u64);
            for (_, frame) in &frames {
                let ids = Layout::ids(&frame.rows)?;
                for (row, (id, commit)) in ids.into_iter().enumerate() {
                    if commit > place.upto {
                        // The first counts.
                        place.recorded.entry(id).or_insert(frame.base_offset.0 + row as u64);
                    }
                }
            }
            from = end;
        }
        Ok(place)
    }
}

/// Markers in a frame of them.
pub(super) fn markers(rows: &arrow::array::RecordBatch) -> Vec<Marker> {
    let column = |name: &str| rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
    let (Some(commits), Some(offsets)) = (column(Layout::COMMIT), column(Layout::OFFSET)) else { return Vec::new() };
    let watermarks = column(Layout::WATERMARK);
    let marker = |row: usize| Marker {
        upto: CommitSeq(commits.value(row).cast_unsigned()),
        watermark: watermarks.filter(|times| times.is_valid(row)).map(|times| EventTime(times.value(row))),
        results_from: Offset(offsets.value(row).cast_unsigned()),
    };
    (0..rows.num_rows()).map(marker).collect()
}

fn last_marker(log: &dyn EventLog, topic: &TopicDef) -> Result<Option<Marker>, RuntimeError> {
    let Some(last) = log.tail(topic.id, MARKERS).0.checked_sub(1) else { return Ok(None) };
    let frames = log.read_partition(topic.id, MARKERS, Offset(last), 1)?;
    Ok(frames.last().and_then(|(_, frame)| markers(&frame.rows).last().copied()))
}
