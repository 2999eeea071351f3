//! Topic `sheets`: what a reader saw in a photo.

use super::fact::{Fact, Kind, See, int, json, text};

pub(super) const OWN_COLUMNS: &[&str] = &[
    "student_id",
    "submission_id",
    "page",
    "sha256",
    "layout_version",
    "reader",
    "answers",
    "confidence",
    "completion",
    "ink_hash",
];

/// Of topic `sheets`; told apart by photo, layout version and reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SheetRead {
    /// Whose page it is.
    pub student_id: String,
    /// What it is a page of.
    pub submission_id: String,
    /// From 1.
    pub page: i64,
    /// Of the photo, 64 hexadecimal digits.
    pub sha256: String,
    /// Of the printed sheet.
    pub layout_version: i64,
    /// `read_sheet@` and sixteen hexadecimal digits.
    pub reader: &'static str,
    /// The items of this page as compact JSON text: as in a submission, and `confidence` in thousandths.
    pub answers_json: String,
    /// The least of the items, in thousandths.
    pub confidence: i64,
    /// Items of this page that have an answer, in thousandths.
    pub completion: i64,
    /// 64 hexadecimal digits: of any two pages of one pupil, few of the 256 bits differ.
    pub ink_hash: String,
}

impl Fact for SheetRead {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "sheets", event_type: "sheet_read", key: &["sha256", "layout_version", "reader"] }
    }

    fn show(&self, see: See<'_>) {
        see(text("student_id", &self.student_id));
        see(text("submission_id", &self.submission_id));
        see(int("page", self.page));
        see(text("sha256", &self.sha256));
        see(int("layout_version", self.layout_version));
        see(text("reader", self.reader));
        see(json("answers", &self.answers_json));
        see(int("confidence", self.confidence));
        see(int("completion", self.completion));
        see(text("ink_hash", &self.ink_hash));
    }
}
