//! Topic `copies`: two submissions that look alike.

use super::fact::{Fact, Kind, See, int, text};
use std::sync::Arc;

pub(super) const OWN_COLUMNS: &[&str] = &[
    "pair_id",
    "assignment_id",
    "class_id",
    "submission_a",
    "submission_b",
    "student_a",
    "student_b",
    "hash_version",
    "distance",
    "teacher_id",
];

const KEY: &[&str] = &["pair_id", "hash_version"];

/// Of topic `copies`; told apart by pair and hash version. Both submissions came before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySuspected {
    /// `pair-` and sixteen hexadecimal digits.
    pub pair_id: String,
    /// What both handed in.
    pub assignment_id: Arc<str>,
    /// The class that it was set for.
    pub class_id: Arc<str>,
    /// The one that was received first.
    pub submission_a: String,
    /// The other.
    pub submission_b: String,
    /// Whose the first is.
    pub student_a: String,
    /// Whose the other is; never the same pupil.
    pub student_b: String,
    /// Of the hash that the two are compared by.
    pub hash_version: i64,
    /// Bits that differ, in thousandths.
    pub distance: i64,
}

/// Of topic `copies`; told apart by pair and hash version. A teacher sees nothing in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyDismissed {
    /// A pair that was suspected.
    pub pair_id: String,
    /// As it was suspected.
    pub hash_version: i64,
    /// `t0001-math`.
    pub teacher_id: String,
}

impl Fact for CopySuspected {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "copies", event_type: "copy_suspected", key: KEY }
    }

    fn show(&self, see: See<'_>) {
        see(text("pair_id", &self.pair_id));
        see(text("assignment_id", &self.assignment_id));
        see(text("class_id", &self.class_id));
        see(text("submission_a", &self.submission_a));
        see(text("submission_b", &self.submission_b));
        see(text("student_a", &self.student_a));
        see(text("student_b", &self.student_b));
        see(int("hash_version", self.hash_version));
        see(int("distance", self.distance));
    }
}

impl Fact for CopyDismissed {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "copies", event_type: "copy_dismissed", key: KEY }
    }

    fn show(&self, see: See<'_>) {
        see(text("pair_id", &self.pair_id));
        see(int("hash_version", self.hash_version));
        see(text("teacher_id", &self.teacher_id));
    }
}
