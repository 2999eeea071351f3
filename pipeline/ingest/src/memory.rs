//! What the door remembers of accepted events.

use crate::identity::{Envelope, plain, text};
use chalk_catalog::{Reference, TopicDef, Topics};
use chalk_codec::Cell;
use hashbrown::{HashMap, HashSet};

/// What the door remembers of accepted events.
#[derive(Default)]
pub(crate) struct Memory {
    /// Content hash by event id.
    pub(crate) seen: HashMap<[u8; 16], u64>,
    /// Values that references may point at, as `tenant NUL value`.
    pub(crate) known: HashMap<Reference, HashSet<Box<str>>>,
}

impl Memory {
    pub(crate) fn track(&mut self, topics: &Topics) {
        let records = topics.user().flat_map(|topic| &topic.schema.records);
        for reference in records.flat_map(|record| &record.fields).filter_map(|field| field.references.as_ref()) {
            self.known.entry_ref(reference).or_default();
        }
    }

    /// Remembers an accepted event.
    pub(crate) fn accept(&mut self, topic: &TopicDef, envelope: Envelope, cells: &[Cell<'_>]) {
        for (reference, values) in &mut self.known {
            if reference.topic == topic.name()
                && let Some(column) = topic.schema.column_index(&reference.column)
            {
                values.insert(reference_key(text(cells, envelope.tenant), &plain(&cells[column])));
            }
        }
    }
}

pub(crate) fn reference_key(tenant: &str, value: &str) -> Box<str> {
    format!("{tenant}\0{value}").into()
}
