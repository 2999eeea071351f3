//! How many calls are good to have in flight: as many as raise throughput, and no more.
//!
//! ```text
//! rows/s │        ┌────────  a service's own limit
//!        │      ╱
//!        │    ╱             one more in flight is one more answered
//!        │  ╱
//!        └──────────────────
//!               in flight
//! ```
//!
//! It is looked at in windows of some answers. While a window was full, more are tried: twice as many at first, a tenth more later. When that raises throughput,
//! they stay; when it does not, fewer are tried, as long as that costs no throughput. When calls take twice as long as at their best, or a tenth of
//! them fails, there are too many. After each change the answers of calls that began before it are waited for. It is a function of what it is told: there is no clock
//! in it.

use std::time::Duration;

/// It begins with so many.
const FIRST: f64 = 64.0;
/// A window has so many answers, or as many as there may be in flight.
const WINDOW_ANSWERS: u64 = 32;
/// More in flight are worth it when they raise throughput by so much; fewer when they leave so much of it.
const WORTH_IT: f64 = 1.02;
const LEFT_MIN: f64 = 0.97;
/// Calls may take so many times as long as at their best.
const SLOWER_MAX: f64 = 2.0;
/// Below this differences in latency say nothing, in seconds.
const LATENCY_FLOOR: f64 = 0.005;
/// So large a part of the calls may fail.
const FAILED_MAX: f64 = 0.1;
/// The best latency that was seen is forgotten by so much in each window: services change.
const FORGOTTEN: f64 = 0.99;
/// After so many windows without a change more are tried again.
const TRIED_AGAIN: u32 = 30;
/// So many fewer are tried.
const FEWER: f64 = 0.8;

/// A limit of calls in flight.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    // configuration
    max: f64,
    // state
    now: f64,
    trial: Trial,
    /// Whether more was always better so far.
    begins: bool,
    /// The least mean latency of a window, in seconds.
    best_latency: Option<f64>,
    /// Windows since the last change.
    unchanged: u32,
    window: Window,
}

/// What is being tried, with what was before: the limit and the throughput.
#[derive(Clone, Copy, Debug)]
enum Trial {
    None,
    More(f64, f64),
    Fewer(f64, f64),
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// Answers before this do not count.
    from: Duration,
    answers: u64,
    failed: u64,
    latencies: f64,
    is_full: bool,
}

impl Limit {
    /// At most `max`, at least one.
    pub(crate) fn new(max: u32) -> Self {
        let max = f64::from(max.max(1));
        Self {
            max,
            now: max.min(FIRST),
            trial: Trial::None,
            begins: true,
            best_latency: None,
            unchanged: 0,
            window: Window::default(),
        }
    }

    /// How many there may be.
    pub(crate) fn now(&self) -> usize {
        // It is positive and at most a u32.
        self.now as usize
    }

    /// `answers` calls were answered at a time, in so many seconds each on average; `failed` of them failed. `in_flight` were in flight before.
    pub(crate) fn answered(&mut self, at: Duration, answers: u64, latency: f64, failed: u64, in_flight: usize) {
        if at < self.window.from {
            return;
        }
        let window = &mut self.window;
        window.answers += answers;
        window.failed += failed;
        window.latencies += latency * answers as f64;
        window.is_full |= in_flight as f64 >= 0.9 * self.now;
        if window.answers >= WINDOW_ANSWERS.max(self.now as u64) {
            self.close(at);
        }
    }

    fn close(&mut self, at: Duration) {
        let Window { from, answers, failed, latencies, is_full } = self.window;
        let seconds = (at - from).as_secs_f64().max(1e-6);
        let (throughput, latency) = (answers as f64 / seconds, latencies / answers as f64);
        let best = self.best_latency.map_or(latency, |best| best / FORGOTTEN).min(latency);
        self.best_latency = Some(best);
        let fails = failed as f64 > FAILED_MAX * answers as f64;
        let is_slow = latency > SLOWER_MAX * best.max(LATENCY_FLOOR);
        let before = self.now;
        self.unchanged += 1;
        match self.trial {
            Trial::More(limit, base) if is_slow || fails || (is_full && throughput <= WORTH_IT * base) => {
                self.begins = false;
                self.fewer_than(limit, throughput.max(base));
            }
            _ if is_slow || fails => {
                self.begins = false;
                self.trial = Trial::None;
                self.now *= FEWER;
            }
            // It says nothing of the limit.
            _ if !is_full => {}
            Trial::More(..) => self.more(throughput),
            Trial::Fewer(limit, base) if throughput < LEFT_MIN * base => {
                self.trial = Trial::None;
                self.now = limit;
            }
            Trial::Fewer(_, base) => self.fewer_than(self.now, base),
            Trial::None if self.begins || self.unchanged > TRIED_AGAIN => self.more(throughput),
            Trial::None => {}
        }
        self.now = self.now.clamp(1.0, self.max).round();
        let mut next = at;
        if self.now != before {
            self.unchanged = 0;
            next += Duration::from_secs_f64(latency);
        } else if !matches!(self.trial, Trial::None) && is_full {
            // At either end there is nothing to try.
            self.trial = Trial::None;
        }
        self.window = Window { from: next, ..Window::default() };
    }

    fn more(&mut self, throughput: f64) {
        self.trial = Trial::More(self.now, throughput);
        self.now = (self.now * if self.begins { 2.0 } else { 1.1 }).max(self.now + 1.0);
    }

    fn fewer_than(&mut self, limit: f64, throughput: f64) {
        self.trial = Trial::Fewer(limit, throughput);
        self.now = (limit * FEWER).floor();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service that takes 50 ms as long as it has at most `knee` calls; with more, each waits its turn.
    fn settled(max: u32, knee: f64, failed_part: f64) -> f64 {
        let (mut limit, mut at, mut last) = (Limit::new(max), 0.0, Vec::new());
        for round in 0..600 {
            let now = limit.now() as f64;
            let latency = 0.05 * (now / knee).max(1.0);
            // One round of calls, in ten lots.
            for _ in 0..10 {
                at += latency / 10.0;
                let answers = (now / 10.0).max(1.0);
                let failed = (answers * failed_part).round() as u64;
                limit.answered(Duration::from_secs_f64(at), answers as u64, latency, failed, limit.now());
            }
            if round > 300 {
                last.push(limit.now() as f64);
            }
        }
        last.iter().sum::<f64>() / last.len() as f64
    }

    #[test]
    fn a_service_without_a_limit_gets_all_that_is_allowed() {
        assert_eq!(settled(1000, f64::INFINITY, 0.0), 1000.0);
        assert_eq!(settled(1, f64::INFINITY, 0.0), 1.0);
    }

    #[test]
    fn a_service_with_a_limit_gets_about_that() {
        for knee in [20.0, 100.0, 300.0] {
            let limit = settled(1000, knee, 0.0);
            assert!((0.7 * knee..2.2 * knee).contains(&limit), "{limit} for {knee}");
        }
    }

    #[test]
    fn a_service_that_fails_gets_less() {
        assert!(settled(1000, f64::INFINITY, 0.5) < 5.0);
    }

    #[test]
    fn a_load_that_is_not_full_changes_nothing() {
        let mut limit = Limit::new(1000);
        for round in 0..100_u64 {
            limit.answered(Duration::from_millis(50 * round), 10, 0.05, 0, 10);
        }
        assert_eq!(limit.now(), 64);
    }

    #[test]
    fn it_is_raised_within_a_second() {
        let mut limit = Limit::new(1000);
        for step in 1..200_u64 {
            let in_flight = limit.now();
            limit.answered(Duration::from_millis(5 * step), in_flight as u64 / 10, 0.05, 0, in_flight);
        }
        assert_eq!(limit.now(), 1000);
    }
}
