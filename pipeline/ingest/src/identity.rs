//! Who an event is: its id and the hash of its content.

use chalk_catalog::{RecordSchema, TopicSchema};
use chalk_codec::Cell;
use std::fmt::Write;
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

/// UUIDv5 (RFC 9562) in the URL namespace of `chalkstream:type:tenant:key…`: the same wherever it is computed.
///
/// ```
/// let id = chalk_ingest::event_id("order_placed", "shop", ["order-1"].into_iter());
/// assert_eq!(id.to_string(), chalk_ingest::event_id("order_placed", "shop", ["order-1"].into_iter()).to_string());
/// ```
pub fn event_id<'a>(event_type: &str, tenant: &str, key: impl Iterator<Item = &'a str>) -> Uuid {
    let mut name = format!("chalkstream:{event_type}:{tenant}");
    for value in key {
        name.push(':');
        name.push_str(value);
    }
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
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

/// The id that an event's idempotency key makes; `None` when its record has no such key.
pub(crate) fn id_of(record: &RecordSchema, envelope: Envelope, cells: &[Cell<'_>]) -> Option<Uuid> {
    if record.idempotency_key.is_empty() {
        return None;
    }
    let values: Vec<String> = record.idempotency_key.iter().map(|&column| plain(&cells[column])).collect();
    let tenant = text(cells, envelope.tenant);
    Some(event_id(&record.event_type, tenant, values.iter().map(String::as_str)))
}

/// A cell as plain text, for keys.
pub(crate) fn plain(cell: &Cell<'_>) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = match cell {
        Cell::Null => Ok(()),
        Cell::Boolean(value) => write!(text, "{value}"),
        Cell::Integer(value) | Cell::Time(value) => write!(text, "{value}"),
        Cell::Float(value) => write!(text, "{value}"),
        Cell::Text(value) => text.write_str(value),
    };
    text
}

/// A hash of everything that the producer said: all but the id and the time of receipt, which differ when it sends again.
pub(crate) fn content_hash(envelope: Envelope, cells: &[Cell<'_>], rest: Option<&str>) -> u64 {
    let mut hash = Xxh3::new();
    let mut part = |kind: u8, bytes: &[u8]| {
        hash.update(&[kind]);
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for (column, cell) in cells.iter().enumerate() {
        if Some(column) == envelope.event_id || Some(column) == envelope.received_at {
            continue;
        }
        match cell {
            Cell::Null => {} // so that a column added later does not change the hash
            Cell::Boolean(value) => part(1, &[(column as u8), u8::from(*value)]),
            Cell::Integer(value) => part(2, &tagged(column, &value.to_le_bytes())),
            Cell::Float(value) => part(3, &tagged(column, &value.to_bits().to_le_bytes())),
            Cell::Text(value) => part(4, &tagged(column, value.as_bytes())),
            Cell::Time(value) => part(5, &tagged(column, &value.to_le_bytes())),
        }
    }
    if let Some(rest) = rest {
        part(6, rest.as_bytes());
    }
    hash.digest()
}

fn tagged(column: usize, bytes: &[u8]) -> Vec<u8> {
    let mut tagged = (column as u16).to_le_bytes().to_vec();
    tagged.extend(bytes);
    tagged
}
