//! What accepted events must be to each other: causes before effects, and pupils where they are said to be.

use crate::judge::{Row, int, text, time};
use std::collections::{BTreeMap, BTreeSet};

/// What has been accepted so far, as far as later events depend on it.
#[derive(Default)]
pub(crate) struct History {
    /// The newest versions of each assignment's key and rubric.
    versions: BTreeMap<String, (i64, i64)>,
    submissions: BTreeSet<String>,
    photos: BTreeSet<(String, i64, String)>,
    /// Whether it is resolved, by submission, item and reader.
    reviews: BTreeMap<(String, String, String), bool>,
    pairs: BTreeSet<String>,
    without_consent: BTreeSet<String>,
    moves: BTreeMap<String, Move>,
    pub(crate) erased: BTreeSet<String>,
    /// Photos that came before their submission.
    pub(crate) early_photos: u64,
    /// Submissions of a class that their pupil had left.
    pub(crate) from_class_before: u64,
}

struct Move {
    class_id: String,
    at_ms: i64,
}

impl History {
    /// `clocks_are_right` says whether `occurred_at` can be relied upon.
    pub(crate) fn check(&mut self, row: &Row, clocks_are_right: bool) {
        match text(row, "event_type") {
            "assignment_published" => {
                assert_eq!((int(row, "key_version"), int(row, "rubric_version")), (1, 1));
                assert_eq!(self.versions.insert(text(row, "assignment_id").to_owned(), (1, 1)), None);
            }
            "answer_key_revised" => self.revise(row, |(key, rubric)| (key + 1, rubric)),
            "rubric_revised" => self.revise(row, |(key, rubric)| (key, rubric + 1)),
            "submission_received" => self.submit(row, clocks_are_right),
            "photo_stored" | "photo_rejected" => {
                let early = !self.submissions.contains(text(row, "submission_id"));
                assert!(!early || text(row, "event_type") == "photo_stored");
                self.early_photos += u64::from(early);
                if text(row, "event_type") == "photo_stored" {
                    assert!(self.photos.insert(photo(row)), "a page is stored twice: {row:?}");
                }
            }
            "sheet_read" => {
                assert!(self.photos.contains(&photo(row)), "read before it is stored: {row:?}");
                self.check_submission(row, "submission_id");
            }
            "review_queued" => {
                self.check_submission(row, "submission_id");
                assert!(int(row, "confidence") < 800);
                assert_eq!(self.reviews.insert(review(row), false), None);
            }
            "review_resolved" => {
                assert_eq!(self.reviews.insert(review(row), true), Some(false), "queued and not yet resolved");
            }
            "copy_suspected" => {
                self.check_submission(row, "submission_a");
                self.check_submission(row, "submission_b");
                assert_ne!(text(row, "student_a"), text(row, "student_b"));
                assert!(self.pairs.insert(text(row, "pair_id").to_owned()));
            }
            "copy_dismissed" => assert!(self.pairs.remove(text(row, "pair_id"))),
            "class_enrolment_changed" => self.enrol(row),
            "consent_withdrawn" => assert!(self.without_consent.insert(text(row, "student_id").to_owned())),
            "consent_given" => assert!(self.without_consent.remove(text(row, "student_id"))),
            "student_erased" => assert!(self.erased.insert(text(row, "student_id").to_owned())),
            _ => self.check_submission(row, "submission_id"),
        }
    }

    fn check_submission(&self, row: &Row, field: &str) {
        assert!(self.submissions.contains(text(row, field)), "it comes after what is done to it: {row:?}");
    }

    fn revise(&mut self, row: &Row, next: impl Fn((i64, i64)) -> (i64, i64)) {
        let versions = self.versions.get_mut(text(row, "assignment_id")).expect("a published assignment");
        *versions = next(*versions);
        assert_eq!((int(row, "key_version"), int(row, "rubric_version")), *versions);
    }

    fn submit(&mut self, row: &Row, clocks_are_right: bool) {
        assert!(self.submissions.insert(text(row, "submission_id").to_owned()));
        let Some(moved) = self.moves.get(text(row, "student_id")) else { return };
        if text(row, "class_id") != moved.class_id {
            self.from_class_before += 1;
            let done_ms = time(row, "occurred_at").expect("a time");
            assert!(!clocks_are_right || done_ms < moved.at_ms, "done for the class before: {row:?}");
        }
    }

    fn enrol(&mut self, row: &Row) {
        let (class_before, class_id) = (text(row, "class_before"), text(row, "class_id"));
        assert_ne!(class_before, class_id);
        let moved = Move { class_id: class_id.to_owned(), at_ms: time(row, "received_at").expect("a time") };
        assert!(self.moves.insert(text(row, "student_id").to_owned(), moved).is_none(), "again: {row:?}");
    }
}

fn photo(row: &Row) -> (String, i64, String) {
    (text(row, "submission_id").to_owned(), int(row, "page"), text(row, "sha256").to_owned())
}

fn review(row: &Row) -> (String, String, String) {
    (text(row, "submission_id").to_owned(), text(row, "item").to_owned(), text(row, "reader").to_owned())
}
