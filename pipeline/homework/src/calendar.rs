//! The school's calendar: virtual time in milliseconds since 1970 (UTC), laid out by the days of Asia/Shanghai.
//!
//! Shanghai has no daylight saving time, so that its days start at 16:00 UTC the whole year.

use chrono::{DateTime, Datelike, Timelike};

pub(crate) const SECOND_MS: i64 = 1_000;
pub(crate) const MINUTE_MS: i64 = 60 * SECOND_MS;
pub(crate) const HOUR_MS: i64 = 60 * MINUTE_MS;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// Monday 2025-09-01 00:00 in Shanghai.
const TERM_START_MS: i64 = 1_756_656_000_000;

/// When the second half of a term of twelve weeks begins.
pub(crate) const MID_TERM_MS: i64 = TERM_START_MS + 6 * 7 * DAY_MS;

/// A day on which assignments are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SchoolDay {
    /// From 1.
    pub(crate) week: u32,
    /// 1 is Monday, 5 is Friday.
    pub(crate) weekday: u32,
    /// When the day begins in Shanghai.
    pub(crate) midnight_ms: i64,
}

impl SchoolDay {
    /// The `n`th school day of the term, from 0. There is always a next one.
    pub(crate) fn nth(n: u32) -> Self {
        let (week, weekday) = (n / 5, n % 5);
        Self {
            week: week + 1,
            weekday: weekday + 1,
            midnight_ms: TERM_START_MS + (i64::from(week) * 7 + i64::from(weekday)) * DAY_MS,
        }
    }
}

/// Milliseconds as the nanoseconds of the public interface.
pub(crate) fn nanos(ms: i64) -> i64 {
    ms * 1_000_000
}

/// Writes nanoseconds since 1970 as RFC 3339 in UTC with milliseconds: `2025-09-01T00:30:00.000Z`.
pub(crate) fn write_rfc3339(out: &mut String, ns: i64) {
    let time = DateTime::from_timestamp_nanos(ns);
    let year = time.year().clamp(0, 9_999) as u32;
    digits(out, year, 4);
    out.push('-');
    digits(out, time.month(), 2);
    out.push('-');
    digits(out, time.day(), 2);
    out.push('T');
    digits(out, time.hour(), 2);
    out.push(':');
    digits(out, time.minute(), 2);
    out.push(':');
    digits(out, time.second(), 2);
    out.push('.');
    digits(out, time.nanosecond() / 1_000_000, 3);
    out.push('Z');
}

fn digits(out: &mut String, number: u32, width: u32) {
    for power in (0..width).rev() {
        out.push(char::from(b'0' + (number / 10_u32.pow(power) % 10) as u8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(ms: i64) -> String {
        let mut out = String::new();
        write_rfc3339(&mut out, nanos(ms));
        out
    }

    #[test]
    fn term_starts_on_a_monday_in_shanghai() {
        assert_eq!(written(SchoolDay::nth(0).midnight_ms), "2025-08-31T16:00:00.000Z");
        assert_eq!(written(SchoolDay::nth(0).midnight_ms + 8 * HOUR_MS + 7), "2025-09-01T00:00:00.007Z");
    }

    #[test]
    fn weekends_are_left_out() {
        let (friday, monday) = (SchoolDay::nth(4), SchoolDay::nth(5));
        assert_eq!((friday.week, friday.weekday), (1, 5));
        assert_eq!((monday.week, monday.weekday), (2, 1));
        assert_eq!(monday.midnight_ms - friday.midnight_ms, 3 * DAY_MS);
    }
}
