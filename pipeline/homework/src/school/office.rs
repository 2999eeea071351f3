//! The school's office: pupils change classes, consent is withdrawn and given, pupils are erased.

use super::School;
use crate::agenda::{OfficeAct, Planned};
use crate::calendar::{DAY_MS, HOUR_MS, SECOND_MS, SchoolDay};
use crate::chance::Chance;
use crate::event::{ClassEnrolmentChanged, ConsentGiven, ConsentWithdrawn, Event, History, Record, StudentErased};
use crate::population::{class_id, guardian_id};
use crate::rates::{CONSENT_GIVEN_AGAIN_PER_10K, Rates};
use crate::size::Size;
use std::collections::BTreeSet;

/// Pupils of a school in which at least one is erased: more than these.
const PUPILS_OF_SMALL_SCHOOL: u32 = 500;
/// A pupil is looked for so often to whom something can happen.
const TRIES_MAX: u32 = 16;

/// What the office keeps.
#[derive(Debug)]
pub(super) struct Office {
    supplies: [Supply; 3],
    without_consent: BTreeSet<u32>,
    /// The next change of class takes the pupil's history along: every other does.
    history_moves: bool,
}

/// A rate per pupil and term as a steady supply: so many school days apart, and not as chance would have it.
#[derive(Debug, Clone, Copy)]
struct Supply {
    act: OfficeAct,
    /// Added each day, …
    per_day: u64,
    /// … until it is this much: then it happens.
    due_at: u64,
    owed: u64,
}

impl Office {
    pub(super) fn new(rates: &Rates, size: Size, chance: &mut Chance) -> Self {
        let due_at = 10_000 * u64::from(size.school_days);
        let mut supply = |act, per_10k: u32| {
            let per_day = u64::from(per_10k) * u64::from(size.pupils());
            Supply { act, per_day, due_at, owed: chance.below(due_at) }
        };
        let mut supplies = [
            supply(OfficeAct::ChangeClass, rates.class_changed_per_10k),
            supply(OfficeAct::WithdrawConsent, rates.consent_withdrawn_per_10k),
            supply(OfficeAct::Erase, rates.erased_per_10k),
        ];
        if size.pupils() > PUPILS_OF_SMALL_SCHOOL && rates.erased_per_10k > 0 {
            // Within the first half of the term, whatever the rate.
            let erased = &mut supplies[2];
            erased.owed = erased.owed.max(due_at - (erased.per_day * u64::from(size.school_days) / 2).min(due_at));
        }
        Self { supplies, without_consent: BTreeSet::new(), history_moves: true }
    }

    /// What happens on the next school day.
    fn next_day(&mut self) -> Vec<OfficeAct> {
        let mut acts = Vec::new();
        for supply in &mut self.supplies {
            supply.owed += supply.per_day;
            while supply.owed >= supply.due_at {
                supply.owed -= supply.due_at;
                acts.push(supply.act);
            }
        }
        acts
    }
}

impl School {
    pub(super) fn plan_office_hours(&mut self, day: SchoolDay) {
        for act in self.office.next_day() {
            let at_ms = day.midnight_ms + self.chance.between(9 * HOUR_MS, 17 * HOUR_MS);
            self.agenda.plan(at_ms, Planned::Office(act));
        }
    }

    pub(super) fn act(&mut self, received_ms: i64, act: OfficeAct) -> Option<Event> {
        let record = match act {
            OfficeAct::ChangeClass => self.change_class(received_ms)?,
            OfficeAct::WithdrawConsent => self.withdraw_consent(received_ms)?,
            OfficeAct::GiveConsent { pupil } => self.give_consent(pupil)?,
            OfficeAct::Erase => self.erase()?,
        };
        let made_ms = received_ms - self.chance.between(50, 4 * SECOND_MS);
        let occurred_ms = self.by_device_clock(made_ms);
        Some(self.event(occurred_ms, received_ms, None, record))
    }

    /// A pupil who is not erased, and of whom `can` is true.
    fn any_pupil(&mut self, can: impl Fn(&Self, u32) -> bool) -> Option<u32> {
        (0..TRIES_MAX).find_map(|_| {
            let pupil = self.chance.below(u64::from(self.size.pupils())) as u32;
            (!self.roster.is_erased(pupil) && can(self, pupil)).then_some(pupil)
        })
    }

    fn change_class(&mut self, received_ms: i64) -> Option<Record> {
        let others = self.size.classes - 1;
        if others == 0 {
            return None;
        }
        let pupil = self.any_pupil(|school, pupil| !school.roster.has_moved(pupil))?;
        let before = self.roster.class_of(pupil);
        let class = (before + 1 + self.chance.below(u64::from(others)) as u32) % self.size.classes;
        self.roster.change_class(pupil, class, received_ms);
        let history = if self.office.history_moves { History::Moves } else { History::Stays };
        self.office.history_moves = !self.office.history_moves;
        Some(Record::ClassEnrolmentChanged(ClassEnrolmentChanged {
            student_id: self.student_id(pupil),
            class_id: class_id(class).into(),
            class_before: class_id(before).into(),
            history,
            command_id: self.command_id(),
        }))
    }

    fn withdraw_consent(&mut self, received_ms: i64) -> Option<Record> {
        let pupil = self.any_pupil(|school, pupil| !school.office.without_consent.contains(&pupil))?;
        self.office.without_consent.insert(pupil);
        if self.chance.per_10k(CONSENT_GIVEN_AGAIN_PER_10K) {
            let after_ms = self.chance.between(DAY_MS, 14 * DAY_MS);
            self.agenda.plan(received_ms + after_ms, Planned::Office(OfficeAct::GiveConsent { pupil }));
        }
        Some(Record::ConsentWithdrawn(ConsentWithdrawn {
            student_id: self.student_id(pupil),
            command_id: self.command_id(),
            guardian_id: guardian_id(self.seed, pupil),
        }))
    }

    fn give_consent(&mut self, pupil: u32) -> Option<Record> {
        if self.roster.is_erased(pupil) {
            return None;
        }
        self.office.without_consent.remove(&pupil);
        Some(Record::ConsentGiven(ConsentGiven {
            student_id: self.student_id(pupil),
            command_id: self.command_id(),
            guardian_id: guardian_id(self.seed, pupil),
        }))
    }

    fn erase(&mut self) -> Option<Record> {
        let pupil = self.any_pupil(|_, _| true)?;
        self.roster.erase(pupil);
        let student_id = self.student_id(pupil);
        self.remembered.forget(&student_id);
        Some(Record::StudentErased(StudentErased { student_id, command_id: self.command_id() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn erased_in_a_term(classes: u32, pupils_per_class: u32, erased_per_10k: u32, seed: u64) -> usize {
        let size = Size { classes, pupils_per_class, school_days: 60 };
        let rates = Rates { erased_per_10k, ..Rates::default() };
        let mut office = Office::new(&rates, size, &mut Chance::new(seed));
        let acts = (0..60).flat_map(|_| office.next_day());
        acts.filter(|act| *act == OfficeAct::Erase).count()
    }

    #[test]
    fn a_rate_is_kept_and_in_a_large_school_somebody_is_erased() {
        for seed in 0..50 {
            assert!((2..=3).contains(&erased_in_a_term(24, 45, 20, seed)));
            assert!((1..=2).contains(&erased_in_a_term(12, 45, 20, seed)));
            assert_eq!(erased_in_a_term(12, 45, 1, seed), 1);
            assert_eq!(erased_in_a_term(24, 45, 0, seed), 0);
        }
        let small: usize = (0..50).map(|seed| erased_in_a_term(2, 45, 20, seed)).sum();
        assert!((3..=16).contains(&small), "{small} of 50 schools of 90 pupils");
    }
}
