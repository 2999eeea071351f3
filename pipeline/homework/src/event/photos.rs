//! Topic `photos`: pages as pupils photograph them.

use super::fact::{Fact, Kind, See, int, text, word};

pub(super) const OWN_COLUMNS: &[&str] = &["student_id", "submission_id", "page", "uri", "sha256", "bytes", "reason"];

const KEY: &[&str] = &["submission_id", "page", "sha256"];

/// Of topic `photos`; told apart by submission, page and photo. May come before its submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhotoStored {
    /// Whose page it is.
    pub student_id: String,
    /// What it is a page of.
    pub submission_id: String,
    /// From 1.
    pub page: i64,
    /// Where the photo lies.
    pub uri: String,
    /// Of the photo, 64 hexadecimal digits.
    pub sha256: String,
    /// The photo's size.
    pub bytes: i64,
}

/// Of topic `photos`; told apart by submission, page and photo. Another photo of the page follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhotoRejected {
    /// Whose page it is.
    pub student_id: String,
    /// What it is a page of.
    pub submission_id: String,
    /// From 1.
    pub page: i64,
    /// Of the photo, 64 hexadecimal digits.
    pub sha256: String,
    /// What is wrong with the photo.
    pub reason: PhotoFault,
}

/// What is wrong with a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PhotoFault {
    /// Too blurred to be read.
    RetakeBlur,
    /// The corners of the sheet are not in it.
    NoMarkers,
    /// Not an image.
    Corrupt,
}

impl PhotoFault {
    /// All three.
    pub const ALL: [Self; 3] = [Self::RetakeBlur, Self::NoMarkers, Self::Corrupt];

    /// The name in the schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::RetakeBlur => "retake_blur",
            Self::NoMarkers => "no_markers",
            Self::Corrupt => "corrupt",
        }
    }
}

impl Fact for PhotoStored {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "photos", event_type: "photo_stored", key: KEY }
    }

    fn show(&self, see: See<'_>) {
        see(text("student_id", &self.student_id));
        see(text("submission_id", &self.submission_id));
        see(int("page", self.page));
        see(text("uri", &self.uri));
        see(text("sha256", &self.sha256));
        see(int("bytes", self.bytes));
    }
}

impl Fact for PhotoRejected {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "photos", event_type: "photo_rejected", key: KEY }
    }

    fn show(&self, see: See<'_>) {
        see(text("student_id", &self.student_id));
        see(text("submission_id", &self.submission_id));
        see(int("page", self.page));
        see(text("sha256", &self.sha256));
        see(word("reason", self.reason.name()));
    }
}
