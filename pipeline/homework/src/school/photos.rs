//! Pages are photographed and read, and what could not be read for certain is reviewed.

use super::School;
use crate::agenda::{Handed, Page, Photos, Planned, Review, Shot};
use crate::calendar::{HOUR_MS, MID_TERM_MS, MINUTE_MS, SECOND_MS};
use crate::chance::mix;
use crate::event::{Event, PhotoFault, PhotoRejected, PhotoStored, Record, ReviewQueued, ReviewResolved, SheetRead};
use crate::json::write_hex;
use crate::paper::CONFIDENCE_SURE;
use crate::rates::{PAGES_MAX, PHOTOS_PER_PAGE_MAX, REVIEWED_PER_10K};

/// The reader of the first half of the term, and the one that is promoted then.
const READERS: [&str; 2] = ["read_sheet@5f0c2a9be1d47368", "read_sheet@b3e8914d07fa652c"];

/// What made a reader doubt.
const DOUBTS: [&str; 4] = ["faint", "crossed out", "two answers", "outside the box"];

/// Of the printed sheets.
const LAYOUT_VERSION: i64 = 3;

/// Bits of a pupil's ink hash that may differ from page to page.
const INK_BITS: u64 = 0x0101_0410_4000_8022;

impl School {
    /// Decides about the photos of a submission, and puts those into the agenda that arrive before it.
    pub(super) fn plan_early_photos(&mut self, handed: &Handed, done_ms: i64, received_ms: i64) -> Photos {
        let items = handed.assignment.paper.key.items.len();
        let pages = (self.chance.between(1, i64::from(PAGES_MAX) + 1) as u8).min(items.min(255) as u8);
        let mut photos = Photos { pages, early: 0 };
        for page in 1..=pages {
            if self.chance.per_10k(self.rates.photo_early_per_10k) {
                photos.early |= 1 << (page - 1);
                let at_ms = received_ms - self.chance.between(SECOND_MS, 10 * MINUTE_MS);
                let page = Page { handed: handed.clone(), page, pages, take: 1 };
                let taken_ms = done_ms.min(at_ms) - self.chance.between(SECOND_MS, MINUTE_MS);
                self.agenda.plan(at_ms, Planned::Photograph(Box::new(Shot { page, taken_ms, early: true })));
            }
        }
        photos
    }

    /// Puts what follows from a submission's photos into the agenda, now that it is received itself.
    pub(super) fn plan_photos(&mut self, handed: &Handed, photos: Photos, received_ms: i64, done_ms: i64) {
        for page in 1..=photos.pages {
            let page = Page { handed: handed.clone(), page, pages: photos.pages, take: 1 };
            if photos.early & 1 << (page.page - 1) == 0 {
                let after_ms = self.chance.between(200, MINUTE_MS);
                let shot = Shot { page, taken_ms: done_ms, early: false };
                self.agenda.plan(received_ms + after_ms, Planned::Photograph(Box::new(shot)));
            } else {
                self.plan_reading(page, received_ms);
            }
        }
    }

    fn plan_reading(&mut self, page: Page, stored_ms: i64) {
        let after_ms = self.chance.between(SECOND_MS, 30 * SECOND_MS);
        self.agenda.plan(stored_ms + after_ms, Planned::Read(Box::new(page)));
    }

    pub(super) fn photograph(&mut self, received_ms: i64, shot: &Shot) -> Option<Event> {
        let Shot { page, taken_ms, early } = shot;
        let handed = &page.handed;
        if self.roster.is_erased(handed.pupil)
            || *early && !self.roster.hands_in(handed.pupil, handed.assignment.class, *taken_ms)
        {
            return None;
        }
        let good =
            *early || page.take == PHOTOS_PER_PAGE_MAX || !self.chance.per_10k(self.rates.photo_rejected_per_10k);
        let record = if good { self.store(page) } else { self.reject(page) };
        if !good {
            let again_ms = received_ms + self.chance.between(MINUTE_MS, 20 * MINUTE_MS);
            let page = Page { take: page.take + 1, ..page.clone() };
            let shot = Shot { page, taken_ms: again_ms - 2 * SECOND_MS, early: false };
            self.agenda.plan(again_ms, Planned::Photograph(Box::new(shot)));
        } else if !early {
            self.plan_reading(page.clone(), received_ms);
        }
        let occurred_ms = self.by_device_clock(*taken_ms);
        Some(self.event(occurred_ms, received_ms, None, record))
    }

    fn store(&mut self, page: &Page) -> Record {
        let (student_id, submission_id) = self.ids(&page.handed);
        let sha256 = sha256(page);
        Record::PhotoStored(PhotoStored {
            student_id,
            submission_id,
            page: i64::from(page.page),
            uri: format!("s3://homework-photos/{}/{sha256}.jpg", &sha256[..2]),
            sha256,
            bytes: self.chance.between(150_000, 3_500_000),
        })
    }

    fn reject(&mut self, page: &Page) -> Record {
        let (student_id, submission_id) = self.ids(&page.handed);
        Record::PhotoRejected(PhotoRejected {
            student_id,
            submission_id,
            page: i64::from(page.page),
            sha256: sha256(page),
            reason: *self.chance.pick(&PhotoFault::ALL),
        })
    }

    pub(super) fn read(&mut self, received_ms: i64, page: &Page) -> Option<Event> {
        let handed = &page.handed;
        if self.roster.is_erased(handed.pupil) {
            return None;
        }
        let (paper, skill) = (&handed.assignment.paper, self.pupil(handed.pupil).skill(handed.assignment.week));
        let doubted_per_10k = self.rates.read_in_doubt_per_10k;
        let items = items_of(page.page, page.pages, paper.key.items.len());
        let reading = paper.read(items, (skill, &mut handed.hand()), || {
            let (low, high) =
                if self.chance.per_10k(doubted_per_10k) { (300, CONFIDENCE_SURE) } else { (CONFIDENCE_SURE, 1_001) };
            // The better of two, so that most are sure.
            self.chance.between(low, high).max(self.chance.between(low, high))
        });
        let reader = READERS[usize::from(received_ms >= MID_TERM_MS)];
        for doubt in reading.doubts {
            let after_ms = self.chance.between(20, 400);
            let review = Review { handed: handed.clone(), item: doubt.item, reader, confidence: doubt.confidence };
            self.agenda.plan(received_ms + after_ms, Planned::QueueReview(Box::new(review)));
        }
        let (student_id, submission_id) = self.ids(handed);
        let record = Record::SheetRead(Box::new(SheetRead {
            student_id,
            submission_id,
            page: i64::from(page.page),
            sha256: sha256(page),
            layout_version: LAYOUT_VERSION,
            reader,
            answers_json: reading.answers_json,
            confidence: reading.confidence,
            completion: reading.completion,
            ink_hash: self.ink_hash(handed.pupil),
        }));
        Some(self.machine_event(received_ms, record))
    }

    /// The pupil's own hand, but for the few bits that change from page to page.
    fn ink_hash(&mut self, pupil: u32) -> String {
        let own = mix(self.seed ^ mix(u64::from(pupil) << 1 | 1));
        hex_256(|n| mix(own ^ n) ^ (self.chance.bits() & INK_BITS))
    }

    pub(super) fn queue_review(&mut self, received_ms: i64, review: Box<Review>) -> Option<Event> {
        if self.roster.is_erased(review.handed.pupil) {
            return None;
        }
        let (student_id, submission_id) = self.ids(&review.handed);
        let record = Record::ReviewQueued(ReviewQueued {
            student_id,
            submission_id,
            item: review.item_name(),
            reader: review.reader.to_owned(),
            confidence: review.confidence,
            reason: self.chance.word(&DOUBTS),
        });
        if self.chance.per_10k(REVIEWED_PER_10K) {
            let after_ms = self.chance.between(HOUR_MS, 10 * HOUR_MS);
            self.agenda.plan(received_ms + after_ms, Planned::ResolveReview(review));
        }
        Some(self.machine_event(received_ms, record))
    }

    pub(super) fn resolve_review(&mut self, received_ms: i64, review: &Review) -> Option<Event> {
        if self.roster.is_erased(review.handed.pupil) {
            return None;
        }
        let (student_id, submission_id) = self.ids(&review.handed);
        let worth = review.handed.assignment.paper.key.items[review.item].points;
        let record = Record::ReviewResolved(ReviewResolved {
            student_id,
            submission_id,
            item: review.item_name(),
            reader: review.reader.to_owned(),
            points: *self.chance.pick(&[0, worth, worth, worth / 1_000 * 500]),
            reviewer_id: format!("r{:04}", self.chance.between(1, 20)),
        });
        let made_ms = received_ms - self.chance.between(50, 4 * SECOND_MS);
        let occurred_ms = self.by_device_clock(made_ms);
        Some(self.event(occurred_ms, received_ms, None, record))
    }
}

impl Review {
    fn item_name(&self) -> String {
        self.handed.assignment.paper.key.items[self.item].item.clone()
    }
}

/// The items of a page: the first, and the one after the last.
fn items_of(page: u8, pages: u8, items: usize) -> (usize, usize) {
    let (page, pages) = (usize::from(page), usize::from(pages));
    (items * (page - 1) / pages, items * page / pages)
}

/// As good as a hash of the photo: other for each photo, and the same whoever asks.
fn sha256(page: &Page) -> String {
    let photo = mix(page.handed.seed() ^ (u64::from(page.page) << 8 | u64::from(page.take)));
    hex_256(|n| mix(photo.wrapping_add(n)))
}

/// 64 hexadecimal digits: the 64 bits of 1, 2, 3 and 4.
fn hex_256(mut bits: impl FnMut(u64) -> u64) -> String {
    let mut out = String::with_capacity(64);
    for n in 1..=4 {
        write_hex(&mut out, bits(n));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_on_one_page() {
        for items in 1..50 {
            for pages in 1..=PAGES_MAX.min(items as u8) {
                let mut end_before = 0;
                for page in 1..=pages {
                    let (first, end) = items_of(page, pages, items);
                    assert_eq!(first, end_before);
                    assert!(end > first, "page {page} of {pages} is empty, of {items} items");
                    end_before = end;
                }
                assert_eq!(end_before, items);
            }
        }
    }
}
