//! How many rows of a made-up source are due.

use std::time::{Duration, Instant};

/// Nobody waits longer than this before it is seen whether to go on.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// So many rows make a chunk.
const LINES_MAX: u64 = 5000;

/// Rows at a rate, counted from when this is made.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: f64,
    began: Option<Instant>,
    given: u64,
}

impl Pace {
    /// So many rows a second.
    pub(crate) fn new(rate: f64) -> Self {
        Self { rate, began: None, given: 0 }
    }

    /// How many rows are due, up to a chunk's; waits a little when none is.
    pub(crate) fn due(&mut self) -> u64 {
        let began = *self.began.get_or_insert_with(Instant::now);
        let behind = |given: u64| ((began.elapsed().as_secs_f64() * self.rate) as u64 + 1).saturating_sub(given);
        let mut due = behind(self.given);
        if due == 0 {
            std::thread::sleep(WAIT_MAX.min(Duration::from_secs_f64(1.0 / self.rate)));
            due = behind(self.given);
        }
        let due = due.min(LINES_MAX);
        self.given += due;
        due
    }
}
