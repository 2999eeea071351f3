//! Topic `reviews`: what a reader was not sure of, and what a person said.

use super::fact::{Fact, Kind, See, int, text};

pub(super) const OWN_COLUMNS: &[&str] =
    &["student_id", "submission_id", "item", "reader", "confidence", "reason", "points", "reviewer_id"];

const KEY: &[&str] = &["submission_id", "item", "reader"];

/// Of topic `reviews`; told apart by submission, item and reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewQueued {
    /// Whose submission it is.
    pub student_id: String,
    /// Which submission.
    pub submission_id: String,
    /// The item in doubt.
    pub item: String,
    /// Whose reading is in doubt.
    pub reader: String,
    /// Below 800 thousandths.
    pub confidence: i64,
    /// What made the reader doubt.
    pub reason: &'static str,
}

/// Of topic `reviews`; told apart by submission, item and reader. Comes after its [`ReviewQueued`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewResolved {
    /// Whose submission it is.
    pub student_id: String,
    /// Which submission.
    pub submission_id: String,
    /// The item that was in doubt.
    pub item: String,
    /// Whose reading was in doubt.
    pub reader: String,
    /// The reviewer's mark for the item, in thousandths.
    pub points: i64,
    /// `r0001`.
    pub reviewer_id: String,
}

impl Fact for ReviewQueued {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "reviews", event_type: "review_queued", key: KEY }
    }

    fn show(&self, see: See<'_>) {
        see(text("student_id", &self.student_id));
        see(text("submission_id", &self.submission_id));
        see(text("item", &self.item));
        see(text("reader", &self.reader));
        see(int("confidence", self.confidence));
        see(text("reason", self.reason));
    }
}

impl Fact for ReviewResolved {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "reviews", event_type: "review_resolved", key: KEY }
    }

    fn show(&self, see: See<'_>) {
        see(text("student_id", &self.student_id));
        see(text("submission_id", &self.submission_id));
        see(text("item", &self.item));
        see(text("reader", &self.reader));
        see(int("points", self.points));
        see(text("reviewer_id", &self.reviewer_id));
    }
}
