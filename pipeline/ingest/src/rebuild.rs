//! What was accepted before, read back from the log.

use crate::error::DoorError;
use crate::identity::Envelope;
use crate::memory::Memory;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use chalk_catalog::{TopicDef, TopicSchema};
use chalk_codec::Cell;
use chalk_event::{Offset, PartitionId};
use chalk_log::EventLog;
use std::borrow::Cow;

const READ_BYTES: usize = 16 << 20;

pub(crate) fn memory_of(log: &dyn EventLog) -> Result<Memory, DoorError> {
    let topics = log.topics();
    let mut memory = Memory::default();
    memory.track(&topics);
    for topic in topics.user() {
        for partition in (0..topic.partitions).map(PartitionId) {
            let mut from = Offset(0);
            loop {
                let frames = log.read_partition(topic.id, partition, from, READ_BYTES)?;
                let Some((_, last)) = frames.last() else { break };
                from = Offset(last.base_offset.0 + last.rows.num_rows() as u64);
                for (_, frame) in &frames {
                    remember(&mut memory, topic, &frame.rows);
                }
            }
        }
    }
    Ok(memory)
}

fn remember(memory: &mut Memory, topic: &TopicDef, rows: &RecordBatch) {
    let envelope = Envelope::of(&topic.schema);
    let ids = envelope.event_id.map(|column| rows.column(column).as_string::<i32>());
    let contents = rows.column_by_name(TopicSchema::CONTENT).and_then(|c| c.as_primitive_opt::<UInt64Type>());
    if let (Some(ids), Some(contents)) = (ids, contents) {
        for (id, content) in ids.iter().zip(contents.values()) {
            if let Some(id) = id.and_then(|id| uuid::Uuid::parse_str(id).ok()) {
                memory.seen.insert(*id.as_bytes(), *content);
            }
        }
    }
    if !memory.known.keys().any(|reference| reference.topic == topic.name()) {
        return;
    }
    for row in 0..rows.num_rows() {
        let cells: Vec<Cell<'_>> = rows.columns()[..topic.schema.columns.len()]
            .iter()
            .map(|column| match column.as_string_opt::<i32>() {
                Some(column) if column.is_valid(row) => Cell::Text(Cow::Borrowed(column.value(row))),
                _ => Cell::Null,
            })
            .collect();
        memory.accept(topic, envelope, &cells);
    }
}
