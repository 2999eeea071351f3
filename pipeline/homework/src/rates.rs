//! How often things happen.

/// How often things happen, each in cases out of 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Of a pupil's assignments: handed in at all.
    pub handed_in_per_10k: u32,
    /// Of first attempts: followed by a second.
    pub resubmitted_per_10k: u32,
    /// Of assignments: a pupil's last attempt counts, and not the best.
    pub last_attempt_counts_per_10k: u32,
    /// Of assignments: a pupil's first attempt counts, and not the best.
    pub first_attempt_counts_per_10k: u32,
    /// Of assignments: the answers of the key are revised, one to three days after the assignment is due.
    pub key_revised_per_10k: u32,
    /// Of assignments: the points of the key are revised, one to three days after the assignment is due. Some revisions
    /// of either kind are followed by another.
    pub rubric_revised_per_10k: u32,
    /// Of submissions: a teacher overrides the mark. Some overrides are followed by another or are cleared, so there
    /// are about 1.5 `teacher_overrode` for each of these.
    pub overridden_per_10k: u32,
    /// Of submissions: withdrawn.
    pub withdrawn_per_10k: u32,
    /// Of submissions that are received after they were due: excused by a teacher.
    pub late_excused_per_10k: u32,
    /// Of submissions: the pupil asks for a regrade.
    pub regrade_requested_per_10k: u32,
    /// Of submissions: photographed, one to three pages. The others are typed in.
    pub photographed_per_10k: u32,
    /// Of photographed pages: the photo arrives before the submission.
    pub photo_early_per_10k: u32,
    /// Of photos: rejected, so that the page is photographed again.
    pub photo_rejected_per_10k: u32,
    /// Of items on photographed pages: read with less than 800 thousandths of confidence, and so queued for review.
    pub read_in_doubt_per_10k: u32,
    /// Of submissions: suspected to be a copy of the one before it.
    pub copy_suspected_per_10k: u32,
    /// Of pupils, in a term: to another class. Nobody changes classes twice.
    pub class_changed_per_10k: u32,
    /// Of pupils, in a term: consent is withdrawn. For half of them it is given again.
    pub consent_withdrawn_per_10k: u32,
    /// Of pupils, in a term: erased. In a school of more than 500 pupils, at least one is, unless this is 0.
    pub erased_per_10k: u32,
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
            last_attempt_counts_per_10k: 2_000,
            first_attempt_counts_per_10k: 1_000,
            key_revised_per_10k: 200,
            rubric_revised_per_10k: 100,
            overridden_per_10k: 65,
            withdrawn_per_10k: 50,
            late_excused_per_10k: 2_000,
            regrade_requested_per_10k: 30,
            photographed_per_10k: 1_000,
            photo_early_per_10k: 1_000,
            photo_rejected_per_10k: 800,
            read_in_doubt_per_10k: 300,
            copy_suspected_per_10k: 10,
            class_changed_per_10k: 100,
            consent_withdrawn_per_10k: 100,
            erased_per_10k: 20,
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
/// Of revisions: followed by another.
pub(crate) const REVISED_AGAIN_PER_10K: u32 = 1_500;
/// Of queued reviews: resolved.
pub(crate) const REVIEWED_PER_10K: u32 = 9_000;
/// Of suspected copies: dismissed.
pub(crate) const COPY_DISMISSED_PER_10K: u32 = 5_000;
/// Of withdrawn consents: given again.
pub(crate) const CONSENT_GIVEN_AGAIN_PER_10K: u32 = 5_000;
/// A page is photographed at most this often: the last photo is always good.
pub(crate) const PHOTOS_PER_PAGE_MAX: u8 = 3;
/// A submission has at most so many pages.
pub(crate) const PAGES_MAX: u8 = 3;
