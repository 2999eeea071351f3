//! How large a school has to be for the number of events asked for.

use crate::config::{SUBJECTS, SchoolConfig};
use crate::rates::{
    CLEARED_PER_10K, COPY_DISMISSED_PER_10K, OVERRIDDEN_AGAIN_PER_10K, PAGES_MAX, REVIEWED_PER_10K,
    REVISED_AGAIN_PER_10K, Rates, SET_AGAIN_PER_10K,
};

/// Of submissions, about so many are received after they were due.
const OVERDUE_SHARE: f64 = 0.1;

/// How many classes and pupils it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) classes: u32,
    pub(crate) pupils_per_class: u32,
    pub(crate) school_days: u32,
}

impl Size {
    /// The fewest classes, and then the fewest pupils in each, for a term to hold `config.events` lines.
    pub(crate) fn of(config: &SchoolConfig) -> Self {
        let school_days = config.weeks.max(1).saturating_mul(5);
        let assignments = f64::from(school_days) * SUBJECTS.len() as f64;
        let pupils_max = f64::from(config.pupils_per_class.max(1));
        let (per_pupil, extra) = (lines_per_pupil(config), extra_lines(&config.rates));
        let (per_assignment, events) = (lines_per_assignment(&config.rates), config.events as f64);

        let lines_per_class = assignments * (per_assignment + pupils_max * per_pupil) * extra;
        let classes = (events / lines_per_class).ceil().max(1.0);
        let pupils = if per_pupil > 0.0 {
            let lines = events / (classes * assignments * extra) - per_assignment;
            (lines / per_pupil).ceil().clamp(1.0, pupils_max)
        } else {
            pupils_max
        };
        Self { classes: classes as u32, pupils_per_class: pupils as u32, school_days }
    }

    pub(crate) fn pupils(&self) -> u32 {
        self.classes.saturating_mul(self.pupils_per_class)
    }
}

/// Expected lines about an assignment itself.
fn lines_per_assignment(rates: &Rates) -> f64 {
    let revised = share(rates.key_revised_per_10k) + share(rates.rubric_revised_per_10k);
    1.0 + revised / (1.0 - share(REVISED_AGAIN_PER_10K))
}

/// Expected lines that one assignment brings from one pupil, those of teachers and machines included. Lines about pupils
/// themselves are too few to count.
fn lines_per_pupil(config: &SchoolConfig) -> f64 {
    let rates = &config.rates;
    let submissions = share(rates.handed_in_per_10k) * (1.0 + share(rates.resubmitted_per_10k));
    let commands = share(rates.overridden_per_10k) * commands_per_override()
        + share(rates.withdrawn_per_10k)
        + share(rates.regrade_requested_per_10k)
        + OVERDUE_SHARE * share(rates.late_excused_per_10k);
    let photos = share(rates.photographed_per_10k) * lines_per_photographed(config);
    let copies = share(rates.copy_suspected_per_10k) * (1.0 + share(COPY_DISMISSED_PER_10K));
    submissions * (1.0 + commands + photos + copies)
}

fn commands_per_override() -> f64 {
    let cleared = share(CLEARED_PER_10K);
    let set_anew = share(OVERRIDDEN_AGAIN_PER_10K) + cleared * share(SET_AGAIN_PER_10K);
    (1.0 + cleared) / (1.0 - set_anew)
}

/// Expected photos, readings and reviews of a photographed submission.
fn lines_per_photographed(config: &SchoolConfig) -> f64 {
    let (rates, items) = (&config.rates, f64::from(config.items.max(1)));
    let pages = ((1.0 + f64::from(PAGES_MAX)) / 2.0).min(items);
    let rejected = share(rates.photo_rejected_per_10k);
    let late = 1.0 - share(rates.photo_early_per_10k);
    let per_page = 2.0 + late * (rejected + rejected * rejected);
    pages * per_page + items * share(rates.read_in_doubt_per_10k) * (1.0 + share(REVIEWED_PER_10K))
}

/// Lines sent for each event that is accepted.
fn extra_lines(rates: &Rates) -> f64 {
    (1.0 + share(rates.duplicate_per_10k)) / (1.0 - share(rates.corrupt_per_10k).min(0.9))
}

fn share(per_10k: u32) -> f64 {
    f64::from(per_10k.min(10_000)) / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(events: u64, classes: u32, pupils_per_class: u32) {
        let config = SchoolConfig { events, ..SchoolConfig::default() };
        let expected = Size { classes, pupils_per_class, school_days: 60 };
        assert_eq!(Size::of(&config), expected, "for {events} events");
    }

    #[test]
    fn size_follows_events() {
        check(0, 1, 1);
        check(100, 1, 1);
        check(1_000, 1, 4);
        check(20_000, 2, 37);
        check(200_000, 17, 44);
        check(1_000_000, 82, 45);
    }
}
