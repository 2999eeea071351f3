//! How many of each: what a receiver's own counters must come to.

use crate::sent::{Expect, Reject, Sent};
use std::collections::BTreeMap;

/// Counts of lines by verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accepted events by event type.
    pub accepted: BTreeMap<&'static str, u64>,
    /// Lines that repeat an accepted event.
    pub duplicates: u64,
    /// Dead letters by reason.
    pub rejected: BTreeMap<Reject, u64>,
}

impl Tally {
    /// Counts one line.
    pub fn add(&mut self, sent: &Sent) {
        match &sent.expect {
            Expect::Accepted(event) => *self.accepted.entry(event.event_type()).or_default() += 1,
            Expect::Duplicate => self.duplicates += 1,
            Expect::Rejected(reason) => *self.rejected.entry(*reason).or_default() += 1,
        }
    }

    /// All accepted events.
    pub fn accepted_total(&self) -> u64 {
        self.accepted.values().sum()
    }

    /// All dead letters.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// All lines.
    pub fn lines(&self) -> u64 {
        self.accepted_total() + self.duplicates + self.rejected_total()
    }
}

impl<'a> Extend<&'a Sent> for Tally {
    fn extend<I: IntoIterator<Item = &'a Sent>>(&mut self, lines: I) {
        for sent in lines {
            self.add(sent);
        }
    }
}
