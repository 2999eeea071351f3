//! Submissions that look alike.

use super::School;
use crate::agenda::{Handed, Pair, Planned};
use crate::calendar::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};
use crate::chance::mix;
use crate::config::SUBJECTS;
use crate::event::{CopyDismissed, CopySuspected, Event, Record};
use crate::population::teacher_id;
use crate::rates::COPY_DISMISSED_PER_10K;
use std::sync::Arc;

/// Of the hash that submissions are compared by.
const HASH_VERSION: i64 = 1;

impl School {
    /// Some submissions look like the one before them.
    pub(super) fn compare_with_last(&mut self, second: Handed, received_ms: i64) {
        let assignment = &second.assignment;
        let subject = SUBJECTS.iter().position(|it| *it == assignment.subject).unwrap_or(0);
        let last = &mut self.handed_last[assignment.class as usize * SUBJECTS.len() + subject];
        let Some(first) = last.replace(second.clone()) else {
            return;
        };
        let comparable = Arc::ptr_eq(&first.assignment, &second.assignment) && first.pupil != second.pupil;
        if comparable && self.chance.per_10k(self.rates.copy_suspected_per_10k) {
            let after_ms = self.chance.between(10 * MINUTE_MS, 6 * HOUR_MS);
            self.agenda.plan(received_ms + after_ms, Planned::SuspectCopy(Box::new(Pair { first, second })));
        }
    }

    pub(super) fn suspect_copy(&mut self, received_ms: i64, pair: Box<Pair>) -> Option<Event> {
        let Pair { first, second } = &*pair;
        if self.roster.is_erased(first.pupil) || self.roster.is_erased(second.pupil) {
            return None;
        }
        let ((student_a, submission_a), (student_b, submission_b)) = (self.ids(first), self.ids(second));
        let record = Record::CopySuspected(Box::new(CopySuspected {
            pair_id: pair_id(&pair),
            assignment_id: second.assignment.assignment_id.clone(),
            class_id: second.assignment.class_id.clone(),
            submission_a,
            submission_b,
            student_a,
            student_b,
            hash_version: HASH_VERSION,
            distance: self.chance.between(0, 80),
        }));
        if self.chance.per_10k(COPY_DISMISSED_PER_10K) {
            let after_ms = self.chance.between(HOUR_MS, 3 * DAY_MS);
            self.agenda.plan(received_ms + after_ms, Planned::DismissCopy(pair));
        }
        Some(self.machine_event(received_ms, record))
    }

    pub(super) fn dismiss_copy(&mut self, received_ms: i64, pair: &Pair) -> Option<Event> {
        if self.roster.is_erased(pair.first.pupil) || self.roster.is_erased(pair.second.pupil) {
            return None;
        }
        let assignment = &pair.second.assignment;
        let record = Record::CopyDismissed(CopyDismissed {
            pair_id: pair_id(pair),
            hash_version: HASH_VERSION,
            teacher_id: teacher_id(assignment.class, assignment.subject),
        });
        let made_ms = received_ms - self.chance.between(50, 4 * SECOND_MS);
        let occurred_ms = self.by_device_clock(made_ms);
        Some(self.event(occurred_ms, received_ms, None, record))
    }
}

fn pair_id(pair: &Pair) -> String {
    format!("pair-{:016x}", mix(pair.first.seed()) ^ pair.second.seed())
}
