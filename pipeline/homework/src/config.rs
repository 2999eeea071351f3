//! What kind of school to generate, and how large it has to be for the number of events asked for.

/// A school, before it is opened. Equal configurations give equal lines, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchoolConfig {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Exactly how many lines to send, extra lines (duplicates and corrupt ones) included.
    pub events: u64,
    /// At most this many pupils in a class; fewer where `events` does not fill the classes.
    pub pupils_per_class: u32,
    /// School weeks in the term. Enough classes are opened for the term to hold `events` lines; should chance leave it
    /// short, school goes on for another week.
    pub weeks: u32,
    /// Items on an assignment, give or take two.
    pub items: u32,
    /// The tenant named in every event.
    pub tenant: String,
    /// How often things happen and go wrong.
    pub rates: Rates,
}

impl Default for SchoolConfig {
    /// 200,000 events: 24 classes of 45 pupils, 12 weeks.
    fn default() -> Self {
        Self {
            seed: 1,
            events: 200_000,
            pupils_per_class: 45,
            weeks: 12,
            items: 8,
            tenant: "demo-school".to_owned(),
            rates: Rates::default(),
        }
    }
}

/// How often things happen, each in cases out of 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Of a pupil's assignments: handed in at all.
    pub handed_in_per_10k: u32,
    /// Of first attempts: followed by a second.
    pub resubmitted_per_10k: u32,
    /// Of submissions: a teacher overrides the mark. Some overrides are followed by another or are cleared, so there
    /// are about 1.5 `teacher_overrode` for each of these.
    pub overridden_per_10k: u32,
    /// Of submissions: withdrawn.
    pub withdrawn_per_10k: u32,
    /// Of submissions: sent by a device that was offline, an hour to seven days late.
    pub offline_per_10k: u32,
    /// Of what pupils and teachers send: the device's clock was wrong, by half an hour to twelve hours either way.
    pub wrong_clock_per_10k: u32,
    /// Of accepted events: sent again.
    pub duplicate_per_10k: u32,
    /// Of all lines: corrupt extra lines.
    pub corrupt_per_10k: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            handed_in_per_10k: 9_270,
            resubmitted_per_10k: 650,
            overridden_per_10k: 65,
            withdrawn_per_10k: 50,
            offline_per_10k: 310,
            wrong_clock_per_10k: 100,
            duplicate_per_10k: 50,
            corrupt_per_10k: 20,
        }
    }
}

impl Rates {
    /// The default school on a day when nothing goes wrong: no duplicates, no corrupt lines, nobody offline, every
    /// clock right.
    pub fn faultless() -> Self {
        Self { offline_per_10k: 0, wrong_clock_per_10k: 0, duplicate_per_10k: 0, corrupt_per_10k: 0, ..Self::default() }
    }
}

/// Of overrides: the teacher thinks again and overrides once more.
pub(crate) const OVERRIDDEN_AGAIN_PER_10K: u32 = 2_500;
/// Of overrides: cleared later.
pub(crate) const CLEARED_PER_10K: u32 = 2_500;
/// Of cleared overrides: set again.
pub(crate) const SET_AGAIN_PER_10K: u32 = 4_000;

/// Subjects, each with one assignment for a class on every school day.
pub(crate) const SUBJECTS: [&str; 3] = ["math", "chinese", "english"];

/// How many classes and pupils it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) classes: u32,
    pub(crate) pupils_per_class: u32,
}

impl Size {
    /// The fewest classes, and then the fewest pupils in each, for a term to hold `config.events` lines.
    pub(crate) fn of(config: &SchoolConfig) -> Self {
        let assignments = f64::from(config.weeks.max(1)) * 5.0 * SUBJECTS.len() as f64;
        let pupils_max = f64::from(config.pupils_per_class.max(1));
        let (per_pupil, extra) = (lines_per_pupil(&config.rates), extra_lines(&config.rates));
        let events = config.events as f64;

        let lines_per_class = assignments * (1.0 + pupils_max * per_pupil) * extra;
        let classes = (events / lines_per_class).ceil().max(1.0);
        let pupils = if per_pupil > 0.0 {
            ((events / (classes * assignments * extra) - 1.0) / per_pupil).ceil().clamp(1.0, pupils_max)
        } else {
            pupils_max
        };
        Self { classes: classes as u32, pupils_per_class: pupils as u32 }
    }
}

/// Expected lines that one assignment brings from one pupil, the teacher's included.
fn lines_per_pupil(rates: &Rates) -> f64 {
    let submissions = share(rates.handed_in_per_10k) * (1.0 + share(rates.resubmitted_per_10k));
    let cleared = share(CLEARED_PER_10K);
    let set_anew = share(OVERRIDDEN_AGAIN_PER_10K) + cleared * share(SET_AGAIN_PER_10K);
    let commands_per_override = (1.0 + cleared) / (1.0 - set_anew);
    submissions * (1.0 + share(rates.overridden_per_10k) * commands_per_override + share(rates.withdrawn_per_10k))
}

/// Lines sent for each event that is accepted.
fn extra_lines(rates: &Rates) -> f64 {
    (1.0 + share(rates.duplicate_per_10k)) / (1.0 - share(rates.corrupt_per_10k).min(0.9))
}

fn share(per_10k: u32) -> f64 {
    f64::from(per_10k) / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(events: u64, classes: u32, pupils_per_class: u32) {
        let config = SchoolConfig { events, ..SchoolConfig::default() };
        assert_eq!(Size::of(&config), Size { classes, pupils_per_class }, "for {events} events");
    }

    #[test]
    fn size_follows_events() {
        check(0, 1, 1);
        check(100, 1, 1);
        check(1_000, 1, 5);
        check(20_000, 3, 36);
        check(200_000, 24, 45);
        check(1_000_000, 120, 45);
    }
}
