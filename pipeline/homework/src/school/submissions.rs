//! Pupils hand in.

use super::School;
use crate::agenda::{Assignment, CommandKind, Handed, Photos, Planned};
use crate::calendar::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};
use crate::event::{Event, Record, SubmissionReceived};
use std::sync::Arc;

/// An offline device connects again within a week.
const OFFLINE_MS_MAX: i64 = 7 * DAY_MS;

impl School {
    pub(super) fn plan_submissions(&mut self, assignment: &Arc<Assignment>, pupil: u32, midnight_ms: i64) {
        if !self.chance.per_10k(self.pupil(pupil).hands_in_per_10k) {
            return;
        }
        let done_ms = match self.chance.below(100) {
            0..60 => {
                // Most sit down to it in the middle of the evening.
                let mut evening = || self.chance.between(15 * HOUR_MS + 30 * MINUTE_MS, 22 * HOUR_MS);
                midnight_ms + (evening() + evening()) / 2
            }
            60..93 => assignment.due_ms - self.chance.between(MINUTE_MS, 8 * HOUR_MS),
            _ => assignment.due_ms + self.chance.between(MINUTE_MS, 14 * HOUR_MS),
        };
        self.plan_submission(assignment, pupil, 1, done_ms);
        if self.chance.per_10k(self.rates.resubmitted_per_10k) {
            let again_ms = done_ms + self.chance.between(20 * MINUTE_MS, 18 * HOUR_MS);
            self.plan_submission(assignment, pupil, 2, again_ms);
        }
    }

    fn plan_submission(&mut self, assignment: &Arc<Assignment>, pupil: u32, attempt: u8, done_ms: i64) {
        let delay_ms = if self.chance.per_10k(self.rates.offline_per_10k) {
            let offline_max = *self.chance.pick(&[DAY_MS, OFFLINE_MS_MAX]);
            self.chance.between(HOUR_MS, offline_max)
        } else {
            let slow = self.chance.per_10k(1_000);
            if slow {
                self.chance.between(3 * SECOND_MS, 90 * SECOND_MS)
            } else {
                self.chance.between(100, 3 * SECOND_MS)
            }
        };
        let handed = Handed { assignment: Arc::clone(assignment), pupil, attempt };
        let photos = if self.chance.per_10k(self.rates.photographed_per_10k) {
            self.plan_early_photos(&handed, done_ms, done_ms + delay_ms)
        } else {
            Photos::default()
        };
        self.agenda.plan(done_ms + delay_ms, Planned::Submit { handed, photos, done_ms });
    }

    pub(super) fn submit(&mut self, received_ms: i64, handed: Handed, photos: Photos, done_ms: i64) -> Option<Event> {
        let assignment = &handed.assignment;
        if !self.roster.hands_in(handed.pupil, assignment.class, done_ms) {
            return None;
        }
        let (student_id, submission_id) = self.ids(&handed);
        let record = Record::SubmissionReceived(SubmissionReceived {
            student_id,
            submission_id,
            class_id: assignment.class_id.clone(),
            assignment_id: assignment.assignment_id.clone(),
            attempt: i64::from(handed.attempt),
            answers_json: assignment.paper.sheet(&self.pupil(handed.pupil), assignment.week, &mut handed.hand()),
            pages: i64::from(photos.pages),
        });
        let occurred_ms = self.by_device_clock(done_ms);
        let event = self.event(occurred_ms, received_ms, None, record);
        self.plan_photos(&handed, photos, received_ms, done_ms);
        self.plan_commands(&event, &handed, received_ms);
        self.compare_with_last(handed, received_ms);
        Some(event)
    }

    fn plan_commands(&mut self, event: &Event, handed: &Handed, received_ms: i64) {
        if self.chance.per_10k(self.rates.overridden_per_10k) {
            let after_ms = self.chance.between(HOUR_MS, 3 * DAY_MS);
            self.plan_command(CommandKind::Override, event, handed, received_ms + after_ms);
        }
        if self.chance.per_10k(self.rates.withdrawn_per_10k) {
            let after_ms = self.chance.between(5 * MINUTE_MS, 2 * DAY_MS);
            self.plan_command(CommandKind::Withdraw, event, handed, received_ms + after_ms);
        }
        if self.chance.per_10k(self.rates.regrade_requested_per_10k) {
            let after_ms = self.chance.between(2 * HOUR_MS, 4 * DAY_MS);
            self.plan_command(CommandKind::RequestRegrade, event, handed, received_ms + after_ms);
        }
        if received_ms > handed.assignment.due_ms && self.chance.per_10k(self.rates.late_excused_per_10k) {
            let after_ms = self.chance.between(HOUR_MS, 2 * DAY_MS);
            self.plan_command(CommandKind::Excuse, event, handed, received_ms + after_ms);
        }
    }
}
