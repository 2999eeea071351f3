//! What was sent, and what a receiver must make of it.

use crate::event::Event;

/// One line on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// JSON, or what was meant to be JSON; no line break.
    pub line: String,
    /// What a receiver must make of it, given all lines before it.
    pub expect: Expect,
    /// By the server's clock, in nanoseconds since 1970; never less than that of the line before.
    pub received_at: i64,
}

/// The verdict on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// A new event.
    Accepted(Event),
    /// An accepted event once more: the same content, whatever its `received_at`, its `event_id` and the defaults it
    /// leaves out. Acknowledged, but not recorded again.
    Duplicate,
    /// A dead letter. It does not count as seen: nothing later is a duplicate of it or in conflict with it.
    Rejected(Reject),
}

/// Why a line becomes a dead letter. A line has just one of these faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reject {
    /// Not JSON: cut off, a comma too many, or a brace too many.
    MalformedJson,
    /// No record of that `event_type`.
    UnknownEventType,
    /// A field without default is left out.
    MissingField,
    /// A field has a value of another type.
    WrongType,
    /// Longer than 1 MiB.
    TooLarge,
    /// `occurred_at` before 2000, or more than seven days after `received_at`.
    AbsurdTimestamp,
    /// The assignment was never published.
    UnknownReference,
    /// The idempotency key of an accepted event with other content.
    IdConflict,
}

impl Reject {
    /// All eight.
    pub const ALL: [Self; 8] = [
        Self::MalformedJson,
        Self::UnknownEventType,
        Self::MissingField,
        Self::WrongType,
        Self::TooLarge,
        Self::AbsurdTimestamp,
        Self::UnknownReference,
        Self::IdConflict,
    ];

    /// The reason as it stands in the dead-letter table.
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
        }
    }
}
