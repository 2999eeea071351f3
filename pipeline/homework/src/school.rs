//! The school at work: everything that is going to happen stands in one agenda by the time the server receives it.
//!
//! ```text
//!  school day ─▶ publish ─▶ submit ─┬─▶ (sent) ─┬─▶ override ─┬─▶ override again …
//!                (one per           │           │             └─▶ clear ─▶ override …
//!                 class, subject)   │           └─▶ withdraw
//!                                   └─▶ every accepted event may be sent again; every few hundred lines one is corrupt
//! ```
//!
//! A school day is put into the agenda when all before it has been sent, and each thing puts what follows from it into
//! the agenda when it is sent itself. So the agenda holds about two days of homework, however long the term, and a cause
//! is always sent before its effects.

use crate::agenda::{Agenda, Assignment, Command, CommandKind, Due, Planned};
use crate::calendar::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, SchoolDay, nanos};
use crate::chance::{Chance, mix};
use crate::config::{
    CLEARED_PER_10K, OVERRIDDEN_AGAIN_PER_10K, Rates, SET_AGAIN_PER_10K, SUBJECTS, SchoolConfig, Size,
};
use crate::event::{
    AssignmentPublished, Envelope, Event, OverrideCleared, Record, SubmissionReceived, SubmissionWithdrawn,
    TeacherOverrode,
};
use crate::fault::{nth_fault, spoil};
use crate::key::AnswerKey;
use crate::line::{Spelling, write_line};
use crate::paper::Paper;
use crate::population::{Pupil, class_id, teacher_id};
use crate::sent::{Expect, Reject, Sent};
use std::sync::Arc;

/// An offline device connects again within a week.
const OFFLINE_MS_MAX: i64 = 7 * DAY_MS;
/// Duplicates come up to six days after the first.
const DUPLICATE_MS_MAX: i64 = 6 * DAY_MS;
/// One accepted submission of so many is remembered, to make corrupt lines of.
const REMEMBERED_EVERY: u64 = 16;
/// As many accepted submissions are remembered.
const REMEMBERED_MAX: usize = 256;

/// A school in virtual time: an iterator of exactly [`SchoolConfig::events`] lines in the order in which the server
/// receives them.
///
/// Memory is bounded by what happens in a few days: about 50 bytes for each pupil and assignment of two school days,
/// and the few duplicates, late submissions and teachers' commands of a week.
#[derive(Debug)]
pub struct School {
    // configuration
    seed: u64,
    rates: Rates,
    items: u32,
    tenant: Arc<str>,
    size: Size,

    // state
    chance: Chance,
    agenda: Agenda,
    days_planned: u32,
    commands: u64,
    lines_left: u64,
    submissions: u64,
    remembered: Vec<Event>,
    corrupt_lines: u64,
    lines_to_corrupt: u64,
}

impl School {
    /// A school before its first day. Nothing is generated until the first line is asked for.
    pub fn new(config: SchoolConfig) -> Self {
        let size = Size::of(&config);
        let mut school = Self {
            seed: mix(config.seed),
            rates: config.rates,
            items: config.items,
            tenant: config.tenant.into(),
            size,
            chance: Chance::new(config.seed),
            agenda: Agenda::default(),
            days_planned: 0,
            commands: 0,
            lines_left: config.events,
            submissions: 0,
            remembered: Vec::new(),
            corrupt_lines: 0,
            lines_to_corrupt: 0,
        };
        school.lines_to_corrupt = school.lines_between_corrupt();
        school
    }

    /// How many classes there are.
    pub fn classes(&self) -> u32 {
        self.size.classes
    }

    /// How many pupils there are in each class.
    pub fn pupils_per_class(&self) -> u32 {
        self.size.pupils_per_class
    }

    /// The next thing to happen, after putting in all school days that could begin before it.
    fn next_due(&mut self) -> Due {
        loop {
            let day = SchoolDay::nth(self.days_planned);
            if let Some(due) = self.agenda.next_before(day.midnight_ms) {
                return due;
            }
            self.days_planned += 1;
            self.plan_day(day);
        }
    }

    fn plan_day(&mut self, day: SchoolDay) {
        for class in 0..self.size.classes {
            for subject in SUBJECTS {
                let received_ms = day.midnight_ms + self.chance.between(7 * HOUR_MS, 8 * HOUR_MS + 30 * MINUTE_MS);
                self.agenda.plan(received_ms, Planned::Publish { class, subject, day });
            }
        }
    }

    fn publish(&mut self, received_ms: i64, class: u32, subject: &'static str, day: SchoolDay) -> Event {
        let paper = Paper::set(self.items, subject, &mut self.chance);
        let key: &AnswerKey = &paper.key;
        let (key, points_max) = (Arc::new(key.clone()), key.points_max());
        // One class spells out every absent value, another leaves most out.
        let spelt_out_per_10k = *self.chance.pick(&[0, 2_000, 10_000]);
        let key_json: Arc<str> = key.to_json(|| self.chance.per_10k(spelt_out_per_10k)).into();
        let class_id: Arc<str> = class_id(class).into();
        let SchoolDay { week, weekday, midnight_ms } = day;
        let assignment = Arc::new(Assignment {
            assignment_id: format!("{class_id}-w{week:02}-{subject}-{weekday}").into(),
            class_id,
            class,
            subject,
            week,
            points_max,
            paper,
        });
        let due_ms = midnight_ms + DAY_MS + 20 * HOUR_MS;
        for pupil in 0..self.size.pupils_per_class {
            self.plan_submissions(&assignment, pupil, midnight_ms, due_ms);
        }
        let occurred_ms = received_ms - self.chance.between(50, 2_000);
        let record = Record::AssignmentPublished(AssignmentPublished {
            assignment_id: assignment.assignment_id.clone(),
            class_id: assignment.class_id.clone(),
            subject,
            due_at: nanos(due_ms),
            pupils: i64::from(self.size.pupils_per_class),
            key_version: 1,
            rubric_version: 1,
            key,
            key_json,
        });
        self.event(occurred_ms, received_ms, None, record)
    }

    fn plan_submissions(&mut self, assignment: &Arc<Assignment>, number: u32, midnight_ms: i64, due_ms: i64) {
        if !self.chance.per_10k(self.pupil(assignment.class, number).hands_in_per_10k) {
            return;
        }
        let done_ms = match self.chance.below(100) {
            0..60 => {
                // Most sit down to it in the middle of the evening.
                let mut evening = || self.chance.between(15 * HOUR_MS + 30 * MINUTE_MS, 22 * HOUR_MS);
                midnight_ms + (evening() + evening()) / 2
            }
            60..93 => due_ms - self.chance.between(MINUTE_MS, 8 * HOUR_MS),
            _ => due_ms + self.chance.between(MINUTE_MS, 14 * HOUR_MS),
        };
        self.plan_submission(assignment, number, 1, done_ms);
        if self.chance.per_10k(self.rates.resubmitted_per_10k) {
            let again_ms = done_ms + self.chance.between(20 * MINUTE_MS, 18 * HOUR_MS);
            self.plan_submission(assignment, number, 2, again_ms);
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
        let occurred_ms = self.by_device_clock(done_ms);
        let assignment = Arc::clone(assignment);
        self.agenda.plan(done_ms + delay_ms, Planned::Submit { assignment, pupil, attempt, occurred_ms });
    }

    fn submit(
        &mut self,
        received_ms: i64,
        assignment: &Arc<Assignment>,
        number: u32,
        attempt: u8,
        occurred_ms: i64,
    ) -> Event {
        let pupil = self.pupil(assignment.class, number);
        let student_id = pupil.student_id();
        let attempt = i64::from(attempt);
        let record = Record::SubmissionReceived(SubmissionReceived {
            submission_id: SubmissionReceived::id_of(&assignment.assignment_id, &student_id, attempt),
            student_id,
            class_id: assignment.class_id.clone(),
            assignment_id: assignment.assignment_id.clone(),
            attempt,
            answers_json: assignment.paper.sheet(&pupil, assignment.week, &mut self.chance),
            pages: *self.chance.pick(&[0, 0, 0, 0, 0, 0, 0, 1, 2, 3]),
        });
        let event = self.event(occurred_ms, received_ms, None, record);
        if self.chance.per_10k(self.rates.overridden_per_10k) {
            let after_ms = self.chance.between(HOUR_MS, 3 * DAY_MS);
            self.plan_command(CommandKind::Override, &event, assignment, received_ms + after_ms);
        }
        if self.chance.per_10k(self.rates.withdrawn_per_10k) {
            let after_ms = self.chance.between(5 * MINUTE_MS, 2 * DAY_MS);
            self.plan_command(CommandKind::Withdraw, &event, assignment, received_ms + after_ms);
        }
        event
    }

    /// The first command on a submission that is just being sent.
    fn plan_command(&mut self, kind: CommandKind, submission: &Event, assignment: &Assignment, at_ms: i64) {
        let Record::SubmissionReceived(received) = &submission.record else {
            return;
        };
        let cause = self.chance.per_10k(3_000).then(|| submission.event_id().to_string());
        let command = Command {
            kind,
            student_id: received.student_id.clone(),
            submission_id: received.submission_id.clone(),
            cause,
            teacher_id: teacher_id(assignment.class, assignment.subject),
            points_max: assignment.points_max,
            occurred_ms: at_ms,
        };
        self.plan_command_at(command, at_ms);
    }

    /// `at_ms` is the true time; the event will say what the device's clock says.
    fn plan_command_at(&mut self, mut command: Command, at_ms: i64) {
        command.occurred_ms = self.by_device_clock(at_ms);
        let received_ms = at_ms + self.chance.between(50, 4 * SECOND_MS);
        self.agenda.plan(received_ms, Planned::Command(Box::new(command)));
    }

    fn obey(&mut self, received_ms: i64, command: Command) -> Event {
        self.plan_second_thoughts(received_ms, &command);
        let command_id = self.command_id();
        let Command { kind, student_id, submission_id, cause, teacher_id, points_max, occurred_ms } = command;
        let record = match kind {
            CommandKind::Withdraw => {
                Record::SubmissionWithdrawn(SubmissionWithdrawn { student_id, submission_id, command_id })
            }
            CommandKind::Override => {
                let half_points = points_max / 500;
                let points = self.chance.between(0, half_points + 1) * 500;
                Record::TeacherOverrode(TeacherOverrode { student_id, submission_id, command_id, points, teacher_id })
            }
            CommandKind::Clear => {
                Record::OverrideCleared(OverrideCleared { student_id, submission_id, command_id, teacher_id })
            }
        };
        let causes = cause.map(|id| format!("[\"{id}\"]"));
        self.event(occurred_ms, received_ms, causes, record)
    }

    fn plan_second_thoughts(&mut self, received_ms: i64, command: &Command) {
        let roll = self.chance.below(10_000) as u32;
        let next = match command.kind {
            CommandKind::Override if roll < OVERRIDDEN_AGAIN_PER_10K => CommandKind::Override,
            CommandKind::Override if roll < OVERRIDDEN_AGAIN_PER_10K + CLEARED_PER_10K => CommandKind::Clear,
            CommandKind::Clear if roll < SET_AGAIN_PER_10K => CommandKind::Override,
            CommandKind::Override | CommandKind::Clear | CommandKind::Withdraw => return,
        };
        let after_ms = self.chance.between(MINUTE_MS, 2 * DAY_MS);
        self.plan_command_at(Command { kind: next, ..command.clone() }, received_ms + after_ms);
    }

    /// Unique, and without order: nobody may rely on it.
    fn command_id(&mut self) -> String {
        self.commands += 1;
        format!("cmd-{:016x}", mix(self.seed ^ self.commands))
    }

    fn event(&self, occurred_ms: i64, received_ms: i64, causes: Option<String>, record: Record) -> Event {
        let envelope = Envelope {
            tenant: self.tenant.clone(),
            occurred_at: nanos(occurred_ms),
            received_at: nanos(received_ms),
            causes,
            schema_version: 1,
        };
        Event { envelope, record }
    }

    fn pupil(&self, class: u32, number: u32) -> Pupil {
        Pupil::of(self.seed, class, number, self.size.pupils_per_class, &self.rates)
    }

    fn by_device_clock(&mut self, true_ms: i64) -> i64 {
        if !self.chance.per_10k(self.rates.wrong_clock_per_10k) {
            return true_ms;
        }
        let off_ms = self.chance.between(30 * MINUTE_MS, 12 * HOUR_MS);
        if self.chance.per_10k(5_000) { true_ms + off_ms } else { true_ms - off_ms }
    }

    /// A new event goes out, and may be followed by itself and by something corrupt.
    fn accept(&mut self, received_ms: i64, event: Event) -> Sent {
        let spelling = Spelling::any(&mut self.chance);
        let line = write_line(&event, spelling, None);
        if self.chance.per_10k(self.rates.duplicate_per_10k) {
            self.plan_duplicate(received_ms, &event, spelling);
        }
        if matches!(event.record, Record::SubmissionReceived(_)) {
            if self.submissions.is_multiple_of(REMEMBERED_EVERY) {
                self.remember(&event);
            }
            self.submissions += 1;
        }
        Sent { line, expect: Expect::Accepted(event), received_at: nanos(received_ms) }
    }

    fn plan_duplicate(&mut self, received_ms: i64, event: &Event, spelling: Spelling) {
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

    fn remember(&mut self, event: &Event) {
        if self.remembered.len() < REMEMBERED_MAX {
            self.remembered.push(event.clone());
        } else {
            let place = self.chance.below(REMEMBERED_MAX as u64) as usize;
            self.remembered[place] = event.clone();
        }
    }

    /// Corrupt lines come in steady supply, so that a short run has its share of each kind too.
    fn lines_between_corrupt(&mut self) -> u64 {
        match u64::from(self.rates.corrupt_per_10k) {
            0 => u64::MAX,
            rate => {
                let mean = (10_000 / rate).max(1);
                mean - mean / 2 + self.chance.below(mean / 2 * 2 + 1)
            }
        }
    }

    fn count_down_to_corrupt(&mut self, received_ms: i64) {
        self.lines_to_corrupt = self.lines_to_corrupt.saturating_sub(1);
        // Before the first submission there is nothing to spoil.
        if self.lines_to_corrupt == 0 && !self.remembered.is_empty() {
            self.lines_to_corrupt = self.lines_between_corrupt();
            let after_ms = self.chance.between(1, 5 * SECOND_MS);
            self.agenda.plan(received_ms + after_ms, Planned::SendCorrupt);
        }
    }

    fn send_corrupt(&mut self, received_ms: i64) -> Option<(String, Reject)> {
        let chosen = self.chance.below(self.remembered.len() as u64) as usize;
        let accepted = self.remembered.get(chosen)?;
        let Record::SubmissionReceived(submission) = &accepted.record else {
            return None;
        };
        self.corrupt_lines += 1;
        let fault = nth_fault(self.corrupt_lines);
        Some((spoil(fault, accepted, submission, received_ms, &mut self.chance), fault))
    }

    fn send(&mut self, due: Due) -> Option<Sent> {
        let Due { received_ms, planned, .. } = due;
        let received_at = nanos(received_ms);
        let sent = match planned {
            Planned::Publish { class, subject, day } => {
                let event = self.publish(received_ms, class, subject, day);
                self.accept(received_ms, event)
            }
            Planned::Submit { assignment, pupil, attempt, occurred_ms } => {
                let event = self.submit(received_ms, &assignment, pupil, attempt, occurred_ms);
                self.accept(received_ms, event)
            }
            Planned::Command(command) => {
                let event = self.obey(received_ms, *command);
                self.accept(received_ms, event)
            }
            Planned::SendAgain(event, spelling) => {
                Sent { line: write_line(&event, spelling, None), expect: Expect::Duplicate, received_at }
            }
            Planned::SendCorrupt => {
                let (line, fault) = self.send_corrupt(received_ms)?;
                Sent { line, expect: Expect::Rejected(fault), received_at }
            }
        };
        self.count_down_to_corrupt(received_ms);
        Some(sent)
    }
}

impl Iterator for School {
    type Item = Sent;

    fn next(&mut self) -> Option<Sent> {
        self.lines_left = self.lines_left.checked_sub(1)?;
        loop {
            let due = self.next_due();
            if let Some(sent) = self.send(due) {
                return Some(sent);
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match usize::try_from(self.lines_left) {
            Ok(lines) => (lines, Some(lines)),
            Err(_) => (usize::MAX, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agenda_holds_days_and_not_the_term() {
        let mut school = School::new(SchoolConfig::default());
        let pupils = (school.classes() * school.pupils_per_class()) as usize;
        let mut longest = 0;
        while school.next().is_some() {
            longest = longest.max(school.agenda.len());
        }
        assert!(longest < pupils * SUBJECTS.len() * 2, "{longest} things planned for {pupils} pupils");
    }

    #[test]
    fn a_term_that_falls_short_goes_on() {
        // Nobody hands in anything, so a class cannot be filled by its pupils.
        let rates = Rates { handed_in_per_10k: 0, ..Rates::default() };
        let school = School::new(SchoolConfig { events: 1_000, weeks: 1, rates, ..SchoolConfig::default() });
        assert_eq!(school.count(), 1_000);
    }
}
