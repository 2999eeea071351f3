//! `connector = 'nexmark'`: people, auctions and bids, as the Nexmark benchmark makes them.
//!
//! Of 50 events one is a person, three are auctions and 46 are bids. Half of the bids go to one auction in a hundred, three quarters come
//! from one bidder in a hundred, and three quarters of the auctions are one seller's in a hundred; those are the newest, so that what is
//! hot moves on. Others are among the newest 100 auctions or 1000 people. Prices are spread evenly over the orders of magnitude from 10² to
//! 10⁸. These are the proportions of the benchmark's reference generator; the texts are ours.
//!
//! Each event depends on the seed and its number alone: a source goes on wherever it was left.

mod chance;
mod event;
#[cfg(test)]
mod tests;

use crate::{ConnectError, LineChunk, LineSource, Pace};
use event::Generator;
use std::ops::Range;

/// What there is to be had.
#[derive(Clone, Debug)]
pub struct NexmarkSettings {
    /// Events per second, of event time too.
    pub event_rate: f64,
    /// How many there are; without it there is no last one.
    pub count: Option<u64>,
    /// Other events for another number.
    pub seed: u64,
}

/// A source of `{"person": {…}}`, `{"auction": {…}}` and `{"bid": {…}}`, each with its `_timestamp`.
///
/// A chunk's position is the time of event 0, in nanoseconds since 1970; how many events there were are its lines.
#[derive(Debug)]
pub struct Nexmark {
    generator: Generator,
    count: u64,
    next: u64,
    pace: Pace,
}

impl Nexmark {
    /// Begins `now`, in nanoseconds since 1970; or goes on where `before`, a position and so many lines, has ended.
    #[must_use]
    pub fn new(settings: &NexmarkSettings, before: Option<(u64, u64)>, now: u64) -> Self {
        let (began, next) = before.unwrap_or((now, 0));
        let generator = Generator::new(settings.seed, began, settings.event_rate);
        let count = settings.count.unwrap_or(u64::MAX);
        Self { generator, count, next, pace: Pace::new(settings.event_rate) }
    }

    /// The events of these numbers, each with its newline.
    #[must_use]
    pub fn lines(&self, numbers: Range<u64>) -> String {
        let mut text = String::new();
        for number in numbers {
            self.generator.write(number, &mut text);
            text.push('\n');
        }
        text
    }
}

impl LineSource for Nexmark {
    fn next(&mut self) -> Result<Option<LineChunk>, ConnectError> {
        let left = self.count.saturating_sub(self.next);
        if left == 0 {
            return Ok(None);
        }
        let lines = self.pace.due().min(left);
        let text = self.lines(self.next..self.next + lines);
        self.next += lines;
        Ok(Some(LineChunk { bytes: text.into_bytes(), position: self.generator.began(), lines }))
    }
}
