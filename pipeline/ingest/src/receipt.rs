//! What became of submitted events.

use chalk_codec::BadInput;
use chalk_event::CommitSeq;
use std::collections::BTreeMap;

/// One refused event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its line in what was submitted, counted from 1.
    pub line: u64,
    /// Why.
    pub bad: BadInput,
}

/// What became of the events of one submit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// How many were accepted, by event type.
    pub accepted: BTreeMap<String, u64>,
    /// How many had been accepted before, with the same content.
    pub duplicates: u64,
    /// Those refused; they are in `dead_letters`.
    pub refused: Vec<Refused>,
    /// How many could not be read and were dropped, as their table has it.
    pub dropped: u64,
    /// The commit that made the events durable, once it did.
    pub commit: CommitSeq,
}

impl Receipt {
    /// How many were accepted.
    #[must_use]
    pub fn accepted_total(&self) -> u64 {
        self.accepted.values().sum()
    }
}
