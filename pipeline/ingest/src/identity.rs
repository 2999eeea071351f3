//! Who an event is: its id and the hash of its content.

use chalk_catalog::{RecordSchema, TopicDef, TopicSchema};
use chalk_codec::Cell;
use chalk_event::{PartitionId, hash_key};
use std::fmt::Write;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// UUIDv5 (RFC 9562) in the URL namespace of `chalkstream:type:tenant:key…`: the same wherever it is computed.
///
/// ```
/// let id = chalk_ingest::event_id("order_placed", "shop", ["order-1"].into_iter());
/// assert_eq!(id.to_string(), chalk_ingest::event_id("order_placed", "shop", ["order-1"].into_iter()).to_string());
/// ```
pub fn event_id<'a>(event_type: &str, tenant: &str, key: impl Iterator<Item = &'a str>) -> Uuid {
    let mut name = String::new();
    begin_name(&mut name, event_type, tenant);
    for value in key {
        name.push(':');
        name.push_str(value);
    }
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
}

fn begin_name(name: &mut String, event_type: &str, tenant: &str) {
    name.push_str("chalkstream:");
    name.push_str(event_type);
    name.push(':');
    name.push_str(tenant);
}

/// The columns with a meaning for the door, where a topic has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) event_id: Option<usize>,
    pub(crate) event_type: Option<usize>,
    pub(crate) tenant: Option<usize>,
    pub(crate) occurred_at: Option<usize>,
    pub(crate) received_at: Option<usize>,
}

impl Envelope {
    pub(crate) fn of(schema: &TopicSchema) -> Self {
        Self {
            event_id: schema.column_index("event_id"),
            event_type: schema.column_index("event_type"),
            tenant: schema.column_index("tenant"),
            occurred_at: schema.column_index("occurred_at"),
            received_at: schema.column_index("received_at"),
        }
    }

    /// The columns that the door fills in when they are absent.
    pub(crate) fn computed(&self) -> Vec<usize> {
        [self.event_id, self.received_at].into_iter().flatten().collect()
    }
}

pub(crate) fn text<'c>(cells: &'c [Cell<'_>], column: Option<usize>) -> &'c str {
    match column.map(|column| &cells[column]) {
        Some(Cell::Text(text)) => text,
        _ => "",
    }
}

/// Memory that is used again from event to event.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    text: String,
    bytes: Vec<u8>,
}

/// The id that an event's idempotency key makes; `None` when its record has no such key. Where the key is the id itself, it is the one that
/// is given, if it is one.
pub(crate) fn id_of(
    record: &RecordSchema,
    envelope: Envelope,
    cells: &[Cell<'_>],
    scratch: &mut Scratch,
) -> Option<Uuid> {
    if record.idempotency_key.is_empty() {
        return None;
    }
    if let ([column], Some(id)) = (&record.idempotency_key[..], envelope.event_id)
        && *column == id
    {
        return Uuid::parse_str(text(cells, Some(id))).ok();
    }
    let name = &mut scratch.text;
    name.clear();
    begin_name(name, &record.event_type, text(cells, envelope.tenant));
    for &column in &record.idempotency_key {
        name.push(':');
        push_plain(name, &cells[column]);
    }
    Some(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()))
}

/// The partition of an event's key; events without one go to the first.
pub(crate) fn partition_of(
    topic: &TopicDef,
    record: &RecordSchema,
    cells: &[Cell<'_>],
    scratch: &mut Scratch,
) -> PartitionId {
    if record.key.is_empty() || topic.partitions == 1 {
        return PartitionId(0);
    }
    let key = &mut scratch.text;
    key.clear();
    for (number, &column) in record.key.iter().enumerate() {
        if number > 0 {
            key.push('\0');
        }
        push_plain(key, &cells[column]);
    }
    PartitionId((hash_key(key.as_bytes()) % u64::from(topic.partitions)) as u16)
}

/// Adds a cell as plain text, for keys.
pub(crate) fn push_plain(text: &mut String, cell: &Cell<'_>) {
    // Writing into a String cannot fail.
    let _ = match cell {
        Cell::Null => Ok(()),
        Cell::Boolean(value) => write!(text, "{value}"),
        Cell::Integer(value) | Cell::Time(value) => write!(text, "{value}"),
        Cell::Float(value) => write!(text, "{value}"),
        Cell::Text(value) => text.write_str(value),
    };
}

/// A hash of everything that the producer said: all but the id and the time of receipt, which differ when it sends again.
pub(crate) fn content_hash(envelope: Envelope, cells: &[Cell<'_>], rest: Option<&str>, scratch: &mut Scratch) -> u64 {
    let said = &mut scratch.bytes;
    said.clear();
    for (column, cell) in cells.iter().enumerate() {
        if Some(column) == envelope.event_id || Some(column) == envelope.received_at {
            continue;
        }
        match cell {
            Cell::Null => {} // so that a column added later does not change the hash
            Cell::Boolean(value) => push_part(said, 1, &[column as u8], &[u8::from(*value)]),
            Cell::Integer(value) => push_part(said, 2, &(column as u16).to_le_bytes(), &value.to_le_bytes()),
            Cell::Float(value) => push_part(said, 3, &(column as u16).to_le_bytes(), &value.to_bits().to_le_bytes()),
            Cell::Text(value) => push_part(said, 4, &(column as u16).to_le_bytes(), value.as_bytes()),
            Cell::Time(value) => push_part(said, 5, &(column as u16).to_le_bytes(), &value.to_le_bytes()),
        }
    }
    if let Some(rest) = rest {
        push_part(said, 6, &[], rest.as_bytes());
    }
    xxh3_64(said)
}

fn push_part(said: &mut Vec<u8>, kind: u8, column: &[u8], value: &[u8]) {
    said.push(kind);
    said.extend(((column.len() + value.len()) as u64).to_le_bytes());
    said.extend(column);
    said.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    /// Hashes and ids stand in logs: they must come out the same for ever.
    #[test]
    fn what_is_stored_does_not_change() {
        let envelope =
            Envelope { event_id: Some(0), event_type: None, tenant: Some(1), occurred_at: None, received_at: Some(2) };
        let cells = [
            Cell::Text(Cow::Borrowed("not hashed")),
            Cell::Text(Cow::Borrowed("north")),
            Cell::Time(5),
            Cell::Boolean(true),
            Cell::Integer(-7),
            Cell::Float(0.5),
            Cell::Null,
            Cell::Time(9),
        ];
        let scratch = &mut Scratch::default();
        assert_eq!(content_hash(envelope, &cells, Some(r#"{"x":1}"#), scratch), 0xaa0d_9fca_000a_db75);
        assert_eq!(content_hash(envelope, &cells, None, scratch), 0xc1a3_b091_6c88_ea92);
        let record = RecordSchema {
            event_type: "order_placed".to_owned(),
            fields: Vec::new(),
            key: Vec::new(),
            idempotency_key: vec![4, 3, 6, 5],
        };
        let id = id_of(&record, envelope, &cells, scratch).expect("a key");
        assert_eq!(id, event_id("order_placed", "north", ["-7", "true", "", "0.5"].into_iter()));
        assert_eq!(id.to_string(), "3051b215-8e51-5f02-9869-d0d595161ec9");
    }
}
