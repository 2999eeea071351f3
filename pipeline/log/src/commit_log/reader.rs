//! Frames read from a segment's file: checked, decoded, in the schema that their topic has now.

use super::body;
use super::index::FrameToRead;
use super::segment::SegmentFile;
use crate::contract::{Frame, LogError};
use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::FieldRef;
use chalk_catalog::{SchemaId, TopicId, Topics};
use std::sync::Arc;

/// Bodies that stand no further apart than this are read at once.
const GAP_BYTES_MAX: u64 = 16 << 10;
/// So many bytes are read at once at most, but for a single body that is larger.
const RUN_BYTES_MAX: u64 = 2 << 20;

/// Reads frames, which must be in the order of their positions.
pub(super) fn read_frames(
    segment: &SegmentFile,
    frames: &[FrameToRead],
    topics: &Topics,
) -> Result<Vec<Frame>, LogError> {
    read_each(segment, frames, |frame, body| {
        let rows = in_present_schema(decode(segment, frame, body, topics)?, frame.topic, frame.schema, topics)?;
        Ok(Frame { topic: frame.topic, partition: frame.partition, base_offset: frame.base_offset, rows })
    })
}

/// Reads the rows of frames, which must be in the order of their positions, in the schemas that they were written in.
pub(super) fn read_stored(
    segment: &SegmentFile,
    frames: &[FrameToRead],
    topics: &Topics,
) -> Result<Vec<RecordBatch>, LogError> {
    read_each(segment, frames, |frame, body| decode(segment, frame, body, topics))
}

fn read_each<T>(
    segment: &SegmentFile,
    frames: &[FrameToRead],
    mut each: impl FnMut(&FrameToRead, &[u8]) -> Result<T, LogError>,
) -> Result<Vec<T>, LogError> {
    let mut read = Vec::with_capacity(frames.len());
    let mut bytes = Vec::new();
    for run in runs(frames) {
        let start = run[0].position;
        let end = run.last().map_or(start, end_of);
        bytes.resize((end - start) as usize, 0);
        segment.file.read_exact_at(&mut bytes, start)?;
        for frame in run {
            let body = &bytes[(frame.position - start) as usize..][..frame.body_bytes as usize];
            read.push(each(frame, body)?);
        }
    }
    Ok(read)
}

fn end_of(frame: &FrameToRead) -> u64 {
    frame.position + u64::from(frame.body_bytes)
}

/// Frames that are read at once.
fn runs(frames: &[FrameToRead]) -> impl Iterator<Item = &[FrameToRead]> {
    let mut start = frames.first().map_or(0, |frame| frame.position);
    frames.chunk_by(move |one, next| {
        let together = next.position - end_of(one) <= GAP_BYTES_MAX && end_of(next) - start <= RUN_BYTES_MAX;
        if !together {
            start = next.position;
        }
        together
    })
}

/// The rows of a body in the schema that they were written in, checked.
fn decode(segment: &SegmentFile, frame: &FrameToRead, body: &[u8], topics: &Topics) -> Result<RecordBatch, LogError> {
    let damaged = |what: String| segment.damaged(frame.commit, frame.position, what);
    if crc32c::crc32c(body) != frame.body_crc {
        return Err(damaged("a frame's checksum does not match".to_owned()));
    }
    let written = topics.schema(frame.schema);
    let written = written.ok_or_else(|| damaged(format!("schema {} is not known", frame.schema.0)))?;
    body::decode(body, written.arrow())
}

/// Rows in the columns that their topic has now, by Avro's rules for reading what another schema wrote: matched by name, promoted to
/// wider types, and with defaults, or NULL, where there was no such column.
pub(super) fn in_present_schema(
    rows: RecordBatch,
    topic: TopicId,
    written: SchemaId,
    topics: &Topics,
) -> Result<RecordBatch, LogError> {
    let Some(topic) = topics.by_id(topic).filter(|topic| topic.schema_id != written) else {
        return Ok(rows);
    };
    let column = |field: &FieldRef| match rows.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
        Some(column) => cast(column, field.data_type()),
        None => {
            let index = topic.schema.column_index(field.name());
            let defaults = index.and_then(|index| topic.schema.defaults(index, rows.num_rows()));
            Ok(defaults.unwrap_or_else(|| new_null_array(field.data_type(), rows.num_rows())))
        }
    };
    let schema = topic.schema.arrow();
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<ArrayRef>, _>>();
    columns
        .and_then(|columns| RecordBatch::try_new(Arc::clone(schema), columns))
        .map_err(|error| LogError::Batch { operation: "decode", message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chalk_event::{CommitSeq, IngestTime, Offset, PartitionId};

    #[test]
    fn bodies_that_stand_close_are_read_at_once() {
        let frame = |&(position, body_bytes): &(u64, u32)| FrameToRead {
            commit: CommitSeq(1),
            time: IngestTime(0),
            number: 0,
            topic: TopicId(16),
            partition: PartitionId(0),
            base_offset: Offset(0),
            rows: 1,
            schema: SchemaId(16),
            position,
            body_bytes,
            body_crc: 0,
        };
        let check = |places: &[(u64, u32)], expected: &[usize]| {
            let frames: Vec<FrameToRead> = places.iter().map(frame).collect();
            assert_eq!(runs(&frames).map(<[_]>::len).collect::<Vec<_>>(), expected, "{places:?}");
        };
        let (gap, run) = (GAP_BYTES_MAX, RUN_BYTES_MAX as u32);
        check(&[], &[]);
        check(&[(40, 10), (50, 10), (60 + gap, 10), (71 + gap + gap, 10)], &[3, 1]);
        check(&[(40, run - 1), (39 + u64::from(run), 1), (40 + u64::from(run), 1)], &[2, 1]);
        check(&[(40, 5 * run), (40 + 5 * u64::from(run), 1), (41 + 5 * u64::from(run), 1)], &[1, 2]);
    }
}
