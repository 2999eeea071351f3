//! What was accepted before, read back from the log.

use crate::derive::cell;
use crate::error::DoorError;
use crate::memory::Memory;
use crate::rules::{KeptUnder, Rules, TopicRules};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use chalk_catalog::{TopicId, TopicSchema};
use chalk_event::CommitSeq;
use chalk_log::{Commit, EventLog};
use uuid::Uuid;

/// So much is read from the log at once.
const READ_BYTES: usize = 4 << 20;

/// Reads the durable commits after `after` that hold events, and hands them over together with the last commit looked at.
pub(crate) fn replay(
    log: &dyn EventLog,
    rules: &Rules,
    after: CommitSeq,
    mut take: impl FnMut(&[Commit], CommitSeq) -> Result<(), DoorError>,
) -> Result<(), DoorError> {
    let topics: Vec<TopicId> = rules.topics().map(|rules| rules.topic.id).collect();
    let durable = *log.durable().borrow();
    let mut looked_at = after;
    while looked_at < durable {
        let (commits, upto) = log.read(looked_at, &topics, READ_BYTES)?;
        if upto == looked_at {
            break;
        }
        take(&commits, upto)?;
        looked_at = upto;
    }
    Ok(())
}

/// Remembers the events of a commit.
pub(crate) fn remember(memory: &mut Memory, rules: &Rules, commit: &Commit) {
    for frame in &commit.frames {
        if let Some(rules) = rules.topic(frame.topic) {
            remember_ids(memory, rules, &frame.rows);
            remember_values(memory, rules, &frame.rows, |_| true);
        }
    }
    memory.settle();
}

fn remember_ids(memory: &mut Memory, rules: &TopicRules, rows: &RecordBatch) {
    let ids = rules.envelope.event_id.map(|column| rows.column(column).as_string::<i32>());
    let contents = rows.column_by_name(TopicSchema::CONTENT).and_then(|c| c.as_primitive_opt::<UInt64Type>());
    if let (Some(ids), Some(contents)) = (ids, contents) {
        for (id, content) in ids.iter().zip(contents.values()) {
            if let Some(id) = id.and_then(|id| Uuid::parse_str(id).ok()) {
                memory.remember_id(*id.as_bytes(), *content);
            }
        }
    }
}

/// Remembers the values of those columns that others point at and that are asked for.
pub(crate) fn remember_values(
    memory: &mut Memory,
    rules: &TopicRules,
    rows: &RecordBatch,
    is_asked_for: impl Fn(&KeptUnder) -> bool,
) {
    let tenants = rules.envelope.tenant.map(|column| rows.column(column).as_string::<i32>());
    for pointed_at in rules.pointed_at.iter().filter(|pointed_at| is_asked_for(&pointed_at.kept_under)) {
        let column_type = &rules.topic.schema.columns[pointed_at.column].column_type;
        let values = rows.column(pointed_at.column);
        for row in 0..rows.num_rows() {
            let tenant = tenants.filter(|tenants| tenants.is_valid(row)).map_or("", |tenants| tenants.value(row));
            memory.remember_value(&pointed_at.kept_under, tenant, &cell(column_type, values, row));
        }
    }
}
