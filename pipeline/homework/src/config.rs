//! What kind of school to generate.

use crate::rates::Rates;

/// A school, before it is opened. Equal configurations give equal lines, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchoolConfig {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Exactly how many lines to send, extra lines (duplicates and corrupt ones) included.
    pub events: u64,
    /// At most this many pupils in a class; fewer where `events` does not fill the classes. Pupils who change classes
    /// may make it a few more.
    pub pupils_per_class: u32,
    /// School weeks in the term. Enough classes are opened for the term to hold `events` lines; should chance leave it
    /// short, school goes on for another week.
    pub weeks: u32,
    /// Items on an assignment, give or take two. With 40, a submission is about 1 KB.
    pub items: u32,
    /// The tenant named in every event.
    pub tenant: String,
    /// How often things happen and go wrong.
    pub rates: Rates,
}

impl Default for SchoolConfig {
    /// 200,000 events: 17 classes of 44 pupils, 12 weeks.
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

/// Subjects, each with one assignment for a class on every school day.
pub(crate) const SUBJECTS: [&str; 3] = ["math", "chinese", "english"];
