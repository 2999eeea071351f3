//! `connector = 'impulse'`: rows that count.

use crate::{ConnectError, LineChunk, LineSource, Pace};
use chrono::{DateTime, SecondsFormat};
use std::fmt::Write;
use std::time::Duration;

/// What there is to be counted.
#[derive(Clone, Debug)]
pub struct ImpulseSettings {
    /// Rows per second.
    pub event_rate: f64,
    /// How far the event times of two rows are apart; the rate's distance when it is not said.
    pub interval: Option<Duration>,
    /// How many rows there are; without it there is no last one.
    pub count: Option<u64>,
}

/// A source of `{"counter": 0, "subtask_index": 0, "_timestamp": "…"}`, `1`, `2` and so on.
///
/// A chunk's position is the time of row 0, in nanoseconds since 1970; how far it has counted are its lines.
#[derive(Debug)]
pub struct Impulse {
    // configuration
    interval: Duration,
    count: u64,
    /// The event time of row 0, in nanoseconds since 1970.
    began: u64,
    // state
    next: u64,
    pace: Pace,
}

impl Impulse {
    /// Begins `now`, in nanoseconds since 1970; or goes on where `before`, a position and so many lines, has ended.
    #[must_use]
    pub fn new(settings: &ImpulseSettings, before: Option<(u64, u64)>, now: u64) -> Self {
        let (began, next) = before.unwrap_or((now, 0));
        let interval = settings.interval.unwrap_or(Duration::from_secs_f64(1.0 / settings.event_rate));
        let count = settings.count.unwrap_or(u64::MAX);
        Self { interval, count, began, next, pace: Pace::new(settings.event_rate) }
    }

    fn time(&self, number: u64) -> i64 {
        let nanos = self.interval.as_nanos().saturating_mul(number.into()).saturating_add(self.began.into());
        i64::try_from(nanos).unwrap_or(i64::MAX)
    }
}

impl LineSource for Impulse {
    fn next(&mut self) -> Result<Option<LineChunk>, ConnectError> {
        let left = self.count.saturating_sub(self.next);
        if left == 0 {
            return Ok(None);
        }
        let lines = self.pace.due().min(left);
        let mut text = String::new();
        for number in self.next..self.next + lines {
            let time = DateTime::from_timestamp_nanos(self.time(number)).to_rfc3339_opts(SecondsFormat::AutoSi, true);
            // Writing into a String cannot fail.
            let _ = writeln!(text, r#"{{"counter":{number},"subtask_index":0,"_timestamp":"{time}"}}"#);
        }
        self.next += lines;
        Ok(Some(LineChunk { bytes: text.into_bytes(), position: self.began, lines }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(source: &mut Impulse) -> String {
        let mut all = String::new();
        while let Some(chunk) = source.next().expect("made up") {
            all.push_str(str::from_utf8(&chunk.bytes).expect("text"));
        }
        all
    }

    #[test]
    fn it_goes_on_where_it_was() {
        let interval = Some(Duration::from_millis(1500));
        let options = ImpulseSettings { event_rate: 1e9, interval, count: Some(3) };
        let all = lines(&mut Impulse::new(&options, None, 1_000_000_000));
        let expected = [("0", "01"), ("1", "02.500"), ("2", "04")].map(|(number, seconds)| {
            format!("{{\"counter\":{number},\"subtask_index\":0,\"_timestamp\":\"1970-01-01T00:00:{seconds}Z\"}}\n")
        });
        assert_eq!(all, expected.concat());
        assert_eq!(lines(&mut Impulse::new(&options, Some((1_000_000_000, 2)), 9)), expected[2]);
        assert_eq!(lines(&mut Impulse::new(&options, Some((1_000_000_000, 3)), 9)), "");
    }
}
