//! What can be wrong with one event.

use std::fmt;

/// Why an event was refused. The code is stored with the dead letter and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It is not a JSON object.
    MalformedJson,
    /// No schema has this event type.
    UnknownEventType,
    /// A required field is absent or null.
    MissingField,
    /// A field's value is not of its type.
    WrongType,
    /// The event is larger than one may be.
    TooLarge,
    /// Its time cannot be true.
    AbsurdTimestamp,
    /// A field refers to something that no earlier event made known.
    UnknownReference,
    /// The same id was accepted with other content.
    IdConflict,
    /// The given id is not the one that the idempotency key makes.
    EventIdMismatch,
    /// A query's expression or function failed for it.
    NotComputed,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 10] = [
        Self::MalformedJson,
        Self::UnknownEventType,
        Self::MissingField,
        Self::WrongType,
        Self::TooLarge,
        Self::AbsurdTimestamp,
        Self::UnknownReference,
        Self::IdConflict,
        Self::EventIdMismatch,
        Self::NotComputed,
    ];

    /// The word that stands for it in dead letters.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::UnknownEventType => "unknown_event_type",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::TooLarge => "too_large",
            Self::AbsurdTimestamp => "absurd_timestamp",
            Self::UnknownReference => "unknown_reference",
            Self::IdConflict => "id_conflict",
            Self::EventIdMismatch => "event_id_mismatch",
            Self::NotComputed => "not_computed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// One refused event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadInput {
    /// Why, in one word.
    pub reason: Reason,
    /// Why, and what to do about it.
    pub message: String,
    /// The field at fault, if it is one.
    pub field: Option<String>,
    /// The byte of the event's text at which it was noticed, counted from 1.
    pub position: Option<usize>,
}

impl BadInput {
    /// A refusal that concerns the whole event.
    #[must_use]
    pub fn whole(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), field: None, position: None }
    }

    /// A refusal that concerns one field.
    #[must_use]
    pub fn field(reason: Reason, field: &str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), field: Some(field.to_owned()), position: None }
    }

    /// The same, noticed at a byte counted from 1.
    #[must_use]
    pub fn at(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }
}

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}
