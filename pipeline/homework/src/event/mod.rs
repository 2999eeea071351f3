//! What happened, typed: the generator's own account of each event, against which a receiver can be held.

mod assignments;
mod copies;
pub(crate) mod fact;
mod photos;
mod record;
mod reviews;
mod sheets;
mod students;
mod submissions;

pub use assignments::{AnswerKeyRevised, AssignmentPublished, Attempts, Revision, RubricRevised};
pub use copies::{CopyDismissed, CopySuspected};
pub use photos::{PhotoFault, PhotoRejected, PhotoStored};
pub use record::Record;
pub use reviews::{ReviewQueued, ReviewResolved};
pub use sheets::SheetRead;
pub use students::{ClassEnrolmentChanged, ConsentGiven, ConsentWithdrawn, History, StudentErased};
pub use submissions::{
    Answer, LateExcused, OverrideCleared, RegradeRequested, SubmissionReceived, SubmissionWithdrawn, TeacherOverrode,
};

use crate::json::write_int;
use fact::Cell;
use std::sync::Arc;
use uuid::Uuid;

/// The topics that a school writes.
pub const TOPICS: [&str; 7] = ["assignments", "submissions", "photos", "sheets", "reviews", "copies", "students"];

/// One event, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What every event carries.
    pub envelope: Envelope,
    /// What this kind of event carries.
    pub record: Record,
}

/// The fields of every event, but for `event_type` ([`Event::event_type`]) and `event_id` ([`Event::event_id`]), which
/// follow from the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Whose event this is.
    pub tenant: Arc<str>,
    /// By the device's clock, in nanoseconds since 1970; whole milliseconds.
    pub occurred_at: i64,
    /// By the server's clock, in nanoseconds since 1970; whole milliseconds.
    pub received_at: i64,
    /// The JSON text of the ids that this event was derived from.
    pub causes: Option<String>,
    /// Always 1 so far.
    pub schema_version: i64,
}

/// The value of one column of one event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Absent: a nullable field, or one that belongs to another record of the topic.
    Null,
    /// A number.
    Int(i64),
    /// A string; for `key`, `answers` and `causes` the compact JSON text.
    Text(String),
    /// Nanoseconds since 1970.
    Time(i64),
}

const ENVELOPE_COLUMNS: [&str; 7] =
    ["event_id", "event_type", "tenant", "occurred_at", "received_at", "causes", "schema_version"];

impl Event {
    /// One of [`TOPICS`].
    pub fn topic(&self) -> &'static str {
        self.record.fact().kind().topic
    }

    /// `assignment_published`, `submission_received`, …
    pub fn event_type(&self) -> &'static str {
        self.record.fact().kind().event_type
    }

    /// The values that tell this event from others of its type and tenant, joined by colons.
    pub fn idempotency_key(&self) -> String {
        let mut key = String::with_capacity(96);
        self.write_idempotency_key(&mut key);
        key
    }

    fn write_idempotency_key(&self, out: &mut String) {
        let fact = self.record.fact();
        for (n, name) in fact.kind().key.iter().enumerate() {
            if n > 0 {
                out.push(':');
            }
            fact.show(&mut |field| {
                if field.name == *name {
                    match field.cell {
                        Cell::Text(text) | Cell::Word(text) | Cell::Json(text) => out.push_str(text),
                        Cell::Int(value) | Cell::Time(value) => write_int(out, value),
                    }
                }
            });
        }
    }

    /// UUIDv5 (URL namespace) of `chalkstream:<event type>:<tenant>:<idempotency key>`.
    pub fn event_id(&self) -> Uuid {
        let mut name = String::with_capacity(192);
        for part in ["chalkstream:", self.event_type(), ":", &self.envelope.tenant, ":"] {
            name.push_str(part);
        }
        self.write_idempotency_key(&mut name);
        Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
    }

    /// The columns of a topic: the envelope's, then those of its records. None for a topic that this school does not
    /// write.
    pub fn columns(topic: &str) -> impl Iterator<Item = &'static str> {
        let own = match topic {
            "assignments" => assignments::OWN_COLUMNS,
            "submissions" => submissions::OWN_COLUMNS,
            "photos" => photos::OWN_COLUMNS,
            "sheets" => sheets::OWN_COLUMNS,
            "reviews" => reviews::OWN_COLUMNS,
            "copies" => copies::OWN_COLUMNS,
            "students" => students::OWN_COLUMNS,
            _ => &[],
        };
        let envelope: &[&str] = if own.is_empty() { &[] } else { &ENVELOPE_COLUMNS };
        envelope.iter().chain(own).copied()
    }

    /// What stands in column `name` of the event's topic, defaults filled in and `event_id` computed, whether or not
    /// the line spelt them out. [`Value::Null`] for a field of another record, and for a name that no record has.
    pub fn field(&self, name: &str) -> Value {
        let envelope = &self.envelope;
        let text = |text: &str| Value::Text(text.to_owned());
        match name {
            "event_id" => Value::Text(self.event_id().to_string()),
            "event_type" => text(self.event_type()),
            "tenant" => text(&envelope.tenant),
            "occurred_at" => Value::Time(envelope.occurred_at),
            "received_at" => Value::Time(envelope.received_at),
            "causes" => envelope.causes.as_deref().map_or(Value::Null, text),
            "schema_version" => Value::Int(envelope.schema_version),
            _ => {
                let mut found = Value::Null;
                self.record.fact().show(&mut |field| {
                    if field.name == name {
                        found = field.cell.into();
                    }
                });
                found
            }
        }
    }
}
