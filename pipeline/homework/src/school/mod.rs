//! The school at work: everything that is going to happen stands in one agenda by the time the server receives it.
//!
//! ```text
//!  school day ─┬─▶ publish ─┬─▶ submit ─┬─▶ override ─┬─▶ override again …
//!              │            │           │             └─▶ clear ─▶ override …
//!              │            │           ├─▶ withdraw, excuse, ask for a regrade
//!              │            │           ├─▶ suspect a copy ─▶ dismiss
//!              │            │           └─▶ photo ─┬─▶ read ─▶ queue a review ─▶ resolve it
//!              │            │                      └─▶ reject ─▶ photo …
//!              │            ├─▶ photo (one in ten comes before its submission, which then has it read)
//!              │            └─▶ revise the answers, the points ─▶ revise again …
//!              └─▶ office: change a class, withdraw consent ─▶ give it again, erase
//!
//!  every accepted event may be sent again; every few hundred lines one is corrupt
//! ```
//!
//! A school day is put into the agenda when all before it has been sent, and each thing puts what follows from it into
//! the agenda when it is sent itself. So the agenda holds about two days of homework, however long the term, and a cause
//! is always sent before its effects.

mod assignments;
mod commands;
mod copies;
mod office;
mod photos;
mod resending;
mod submissions;

use crate::agenda::{Agenda, Due, Handed, Planned};
use crate::calendar::{HOUR_MS, MINUTE_MS, SchoolDay, nanos};
use crate::chance::{Chance, mix};
use crate::config::{SUBJECTS, SchoolConfig};
use crate::event::{Envelope, Event, Record, SubmissionReceived};
use crate::line::{Spelling, write_line};
use crate::population::{Pupil, student_id};
use crate::rates::Rates;
use crate::roster::Roster;
use crate::sent::{Expect, Sent};
use crate::size::Size;
use office::Office;
use resending::Remembered;
use std::sync::Arc;

/// A school in virtual time: an iterator of exactly [`SchoolConfig::events`] lines in the order in which the server
/// receives them.
///
/// Memory is bounded by what happens in a few days: about 70 bytes for each pupil and assignment of two school days,
/// the few duplicates, late submissions and teachers' commands of a week, and the pupils who changed classes.
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
    roster: Roster,
    office: Office,
    /// The last submission of each class and subject.
    handed_last: Vec<Option<Handed>>,
    remembered: Remembered,
}

impl School {
    /// A school before its first day. Nothing is generated until the first line is asked for.
    pub fn new(config: SchoolConfig) -> Self {
        let size = Size::of(&config);
        let mut chance = Chance::new(config.seed);
        Self {
            seed: mix(config.seed),
            rates: config.rates,
            items: config.items,
            tenant: config.tenant.into(),
            size,
            agenda: Agenda::default(),
            days_planned: 0,
            commands: 0,
            lines_left: config.events,
            roster: Roster::new(size.pupils_per_class),
            office: Office::new(&config.rates, size, &mut chance),
            handed_last: vec![None; size.classes as usize * SUBJECTS.len()],
            remembered: Remembered::new(config.rates.corrupt_per_10k, &mut chance),
            chance,
        }
    }

    /// How many classes there are.
    pub fn classes(&self) -> u32 {
        self.size.classes
    }

    /// How many pupils there are in each class on the first day.
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
        self.plan_office_hours(day);
    }

    fn send(&mut self, due: Due) -> Option<Sent> {
        let Due { received_ms, planned, .. } = due;
        let sent = match planned {
            Planned::SendAgain(event, spelling) => self.send_again(received_ms, &event, spelling)?,
            Planned::SendCorrupt => self.send_corrupt(received_ms)?,
            planned => {
                let event = self.happen(received_ms, planned)?;
                self.accept(received_ms, event)
            }
        };
        self.count_down_to_corrupt(received_ms);
        Some(sent)
    }

    /// What was planned happens, unless its pupil has left since.
    fn happen(&mut self, received_ms: i64, planned: Planned) -> Option<Event> {
        match planned {
            Planned::Publish { class, subject, day } => Some(self.publish(received_ms, class, subject, day)),
            Planned::Revise(plan) => Some(self.revise(received_ms, *plan)),
            Planned::Submit { handed, photos, done_ms } => self.submit(received_ms, handed, photos, done_ms),
            Planned::Photograph(shot) => self.photograph(received_ms, &shot),
            Planned::Read(page) => self.read(received_ms, &page),
            Planned::QueueReview(review) => self.queue_review(received_ms, review),
            Planned::ResolveReview(review) => self.resolve_review(received_ms, &review),
            Planned::Command(command) => self.obey(received_ms, *command),
            Planned::SuspectCopy(pair) => self.suspect_copy(received_ms, pair),
            Planned::DismissCopy(pair) => self.dismiss_copy(received_ms, &pair),
            Planned::Office(act) => self.act(received_ms, act),
            Planned::SendAgain(..) | Planned::SendCorrupt => None,
        }
    }

    /// A new event goes out, and may be followed by itself and by something corrupt.
    fn accept(&mut self, received_ms: i64, event: Event) -> Sent {
        let spelling = Spelling::any(&mut self.chance);
        let line = write_line(&event, spelling, None);
        if self.chance.per_10k(self.rates.duplicate_per_10k) {
            self.plan_duplicate(received_ms, &event, spelling);
        }
        self.remembered.note(&event, &mut self.chance);
        Sent { line, expect: Expect::Accepted(event), received_at: nanos(received_ms) }
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

    /// Something that a machine of the school's own says, whose clock is right.
    fn machine_event(&mut self, received_ms: i64, record: Record) -> Event {
        let occurred_ms = received_ms - self.chance.between(5, 400);
        self.event(occurred_ms, received_ms, None, record)
    }

    fn pupil(&self, pupil: u32) -> Pupil {
        Pupil::of(self.seed, pupil, &self.rates)
    }

    fn student_id(&self, pupil: u32) -> String {
        student_id(self.seed, pupil)
    }

    /// Of the pupil and of the submission.
    fn ids(&self, handed: &Handed) -> (String, String) {
        let student_id = self.student_id(handed.pupil);
        let submission_id =
            SubmissionReceived::id_of(&handed.assignment.assignment_id, &student_id, i64::from(handed.attempt));
        (student_id, submission_id)
    }

    /// Unique, and without order: nobody may rely on it.
    fn command_id(&mut self) -> String {
        self.commands += 1;
        format!("cmd-{:016x}", mix(self.seed ^ self.commands))
    }

    fn by_device_clock(&mut self, true_ms: i64) -> i64 {
        if !self.chance.per_10k(self.rates.wrong_clock_per_10k) {
            return true_ms;
        }
        let off_ms = self.chance.between(30 * MINUTE_MS, 12 * HOUR_MS);
        if self.chance.per_10k(5_000) { true_ms + off_ms } else { true_ms - off_ms }
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
        let pupils = school.size.pupils() as usize;
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
