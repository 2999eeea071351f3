//! What teachers and pupils say about submissions.

use super::School;
use crate::agenda::{Command, CommandKind, Handed, Planned};
use crate::calendar::{DAY_MS, MINUTE_MS, SECOND_MS};
use crate::event::{
    Event, LateExcused, OverrideCleared, Record, RegradeRequested, SubmissionWithdrawn, TeacherOverrode,
};
use crate::population::teacher_id;
use crate::rates::{CLEARED_PER_10K, OVERRIDDEN_AGAIN_PER_10K, SET_AGAIN_PER_10K};

const PUPILS_REASONS: [&str; 5] = [
    "the third answer is right, I think",
    "老师,第2题我写的是对的",
    "my sheet says \"B\", not \"D\"",
    "please read it again",
    "I used the other method",
];

impl School {
    /// The first command on a submission that is just being sent.
    pub(super) fn plan_command(&mut self, kind: CommandKind, submission: &Event, handed: &Handed, at_ms: i64) {
        let cause = self.chance.per_10k(3_000).then(|| submission.event_id().to_string());
        self.plan_command_at(Command { kind, handed: handed.clone(), cause, occurred_ms: at_ms }, at_ms);
    }

    /// `at_ms` is the true time; the event will say what the device's clock says.
    fn plan_command_at(&mut self, mut command: Command, at_ms: i64) {
        command.occurred_ms = self.by_device_clock(at_ms);
        let received_ms = at_ms + self.chance.between(50, 4 * SECOND_MS);
        self.agenda.plan(received_ms, Planned::Command(Box::new(command)));
    }

    pub(super) fn obey(&mut self, received_ms: i64, command: Command) -> Option<Event> {
        if self.roster.is_erased(command.handed.pupil) {
            return None;
        }
        self.plan_second_thoughts(received_ms, &command);
        let command_id = self.command_id();
        let (student_id, submission_id) = self.ids(&command.handed);
        let assignment = &command.handed.assignment;
        let teacher_id = teacher_id(assignment.class, assignment.subject);
        let record = match command.kind {
            CommandKind::Withdraw => {
                Record::SubmissionWithdrawn(SubmissionWithdrawn { student_id, submission_id, command_id })
            }
            CommandKind::Override => {
                let half_points = assignment.points_max / 500;
                let points = self.chance.between(0, half_points + 1) * 500;
                Record::TeacherOverrode(TeacherOverrode { student_id, submission_id, command_id, points, teacher_id })
            }
            CommandKind::Clear => {
                Record::OverrideCleared(OverrideCleared { student_id, submission_id, command_id, teacher_id })
            }
            CommandKind::Excuse => {
                Record::LateExcused(LateExcused { student_id, submission_id, command_id, teacher_id })
            }
            CommandKind::RequestRegrade => {
                let reason = self.chance.word(&PUPILS_REASONS);
                Record::RegradeRequested(RegradeRequested { student_id, submission_id, command_id, reason })
            }
        };
        let causes = command.cause.map(|id| format!("[\"{id}\"]"));
        Some(self.event(command.occurred_ms, received_ms, causes, record))
    }

    fn plan_second_thoughts(&mut self, received_ms: i64, command: &Command) {
        let roll = self.chance.below(10_000) as u32;
        let next = match command.kind {
            CommandKind::Override if roll < OVERRIDDEN_AGAIN_PER_10K => CommandKind::Override,
            CommandKind::Override if roll < OVERRIDDEN_AGAIN_PER_10K + CLEARED_PER_10K => CommandKind::Clear,
            CommandKind::Clear if roll < SET_AGAIN_PER_10K => CommandKind::Override,
            _ => return,
        };
        let after_ms = self.chance.between(MINUTE_MS, 2 * DAY_MS);
        self.plan_command_at(Command { kind: next, ..command.clone() }, received_ms + after_ms);
    }
}
