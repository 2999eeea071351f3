//! Lines that say nothing new: the same once more, or spoilt.

use super::School;
use crate::agenda::Planned;
use crate::calendar::{DAY_MS, MINUTE_MS, SECOND_MS, nanos};
use crate::chance::Chance;
use crate::event::fact::Cell;
use crate::event::{Event, Record};
use crate::fault::{can_have, nth_fault, spoil};
use crate::line::{Spelling, write_line};
use crate::sent::{Expect, Sent};

/// Duplicates come up to six days after the first.
const DUPLICATE_MS_MAX: i64 = 6 * DAY_MS;
/// One accepted event of so many of a common kind is remembered, to make corrupt lines of. Rare kinds are remembered all.
const REMEMBERED_EVERY: u64 = 16;
/// As many accepted events are remembered.
const REMEMBERED_MAX: usize = 256;

/// What corrupt lines are made of, and when the next is due.
#[derive(Debug)]
pub(super) struct Remembered {
    // configuration
    corrupt_per_10k: u32,

    // state
    events: Vec<Event>,
    common: u64,
    corrupt_lines: u64,
    lines_to_corrupt: u64,
    /// Pupils of whom nothing may be sent any more.
    forgotten: Vec<String>,
}

impl Remembered {
    pub(super) fn new(corrupt_per_10k: u32, chance: &mut Chance) -> Self {
        let mut remembered = Self {
            corrupt_per_10k,
            events: Vec::new(),
            common: 0,
            corrupt_lines: 0,
            lines_to_corrupt: 0,
            forgotten: Vec::new(),
        };
        remembered.lines_to_corrupt = remembered.lines_between_corrupt(chance);
        remembered
    }

    /// An event was accepted.
    pub(super) fn note(&mut self, event: &Event, chance: &mut Chance) {
        match event.record {
            Record::SubmissionReceived(_) | Record::PhotoStored(_) | Record::SheetRead(_) => {
                self.common += 1;
                if self.common % REMEMBERED_EVERY != 1 {
                    return;
                }
            }
            // Before the first submission there is nothing to spoil; and of the erased nothing is sent.
            Record::StudentErased(_) => return,
            _ if self.common == 0 => return,
            _ => {}
        }
        if self.events.len() < REMEMBERED_MAX {
            self.events.push(event.clone());
        } else {
            self.events[chance.below(REMEMBERED_MAX as u64) as usize] = event.clone();
        }
    }

    /// Of this pupil nothing is sent any more.
    pub(super) fn forget(&mut self, student_id: &str) {
        self.events.retain(|event| !is_about(event, |student| student == student_id));
        self.forgotten.push(student_id.to_owned());
    }

    fn is_forgotten(&self, event: &Event) -> bool {
        !self.forgotten.is_empty() && is_about(event, |student| self.forgotten.iter().any(|it| it == student))
    }

    /// Corrupt lines come in steady supply, so that a short run has its share of each kind too.
    fn lines_between_corrupt(&self, chance: &mut Chance) -> u64 {
        match u64::from(self.corrupt_per_10k) {
            0 => u64::MAX,
            rate => {
                let mean = (10_000 / rate).max(1);
                mean - mean / 2 + chance.below(mean / 2 * 2 + 1)
            }
        }
    }
}

/// Whether an event names a pupil of whom `is` is true.
fn is_about(event: &Event, is: impl Fn(&str) -> bool) -> bool {
    let mut found = false;
    event.record.fact().show(&mut |field| {
        if let (Cell::Text(student), "student_id" | "student_a" | "student_b") = (field.cell, field.name) {
            found |= is(student);
        }
    });
    found
}

impl School {
    pub(super) fn plan_duplicate(&mut self, received_ms: i64, event: &Event, spelling: Spelling) {
        let mut again = Box::new(event.clone());
        let (after_ms, spelling) = match self.chance.below(10) {
            // The same bytes twice: a retry behind the server that stamped them.
            0..3 => (0, spelling),
            // A retry at once, after minutes, or after days.
            3..6 => (self.chance.between(1, MINUTE_MS), spelling),
            6..8 => (self.chance.between(MINUTE_MS, DUPLICATE_MS_MAX), spelling),
            // Another producer of the same event, with other habits.
            _ => (self.chance.between(1, DUPLICATE_MS_MAX), Spelling::any(&mut self.chance)),
        };
        again.envelope.received_at = nanos(received_ms + after_ms);
        self.agenda.plan(received_ms + after_ms, Planned::SendAgain(again, spelling));
    }

    pub(super) fn send_again(&self, received_ms: i64, event: &Event, spelling: Spelling) -> Option<Sent> {
        if self.remembered.is_forgotten(event) {
            return None;
        }
        let line = write_line(event, spelling, None);
        Some(Sent { line, expect: Expect::Duplicate, received_at: nanos(received_ms) })
    }

    pub(super) fn count_down_to_corrupt(&mut self, received_ms: i64) {
        let remembered = &mut self.remembered;
        remembered.lines_to_corrupt = remembered.lines_to_corrupt.saturating_sub(1);
        // Before the first submission there is nothing to spoil.
        if remembered.lines_to_corrupt == 0 && !remembered.events.is_empty() {
            remembered.lines_to_corrupt = remembered.lines_between_corrupt(&mut self.chance);
            let after_ms = self.chance.between(1, 5 * SECOND_MS);
            self.agenda.plan(received_ms + after_ms, Planned::SendCorrupt);
        }
    }

    pub(super) fn send_corrupt(&mut self, received_ms: i64) -> Option<Sent> {
        let Remembered { events, corrupt_lines, .. } = &mut self.remembered;
        let fault = nth_fault(*corrupt_lines + 1);
        let first = self.chance.below(events.len() as u64) as usize;
        let mut candidates = events[first..].iter().chain(&events[..first]);
        let accepted = candidates.find(|event| can_have(fault, event))?;
        *corrupt_lines += 1;
        let line = spoil(fault, accepted, received_ms, &mut self.chance);
        Some(Sent { line, expect: Expect::Rejected(fault), received_at: nanos(received_ms) })
    }
}
