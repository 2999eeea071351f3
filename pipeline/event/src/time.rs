//! Event time, ingest time and watermarks: all in nanoseconds since 1970-01-01T00:00:00Z.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Nanoseconds in a second.
pub const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// When something happened, as its producer says. Nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

/// When the log accepted something. Nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IngestTime(pub i64);

/// A promise that earlier event times are complete. It never goes back; `None` promises nothing yet.
///
/// ```
/// use chalk_event::{EventTime, Watermark};
/// let mut watermark = Watermark::default();
/// assert!(!watermark.is_behind(EventTime(5)));
/// watermark.advance(EventTime(10));
/// watermark.advance(EventTime(7)); // an older row does not pull it back
/// assert_eq!(watermark, Watermark::at(EventTime(10)));
/// assert!(watermark.is_behind(EventTime(9)), "9 would be late");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Watermark(Option<EventTime>);

impl Watermark {
    /// A watermark that has reached `time`.
    #[must_use]
    pub fn at(time: EventTime) -> Self {
        Self(Some(time))
    }

    /// Moves forward to `time` unless it is there already.
    pub fn advance(&mut self, time: EventTime) {
        self.0 = self.0.max(Some(time));
    }

    /// The time promised, if any.
    #[must_use]
    pub fn time(self) -> Option<EventTime> {
        self.0
    }

    /// Whether a row of `time` would be late.
    #[must_use]
    pub fn is_behind(self, time: EventTime) -> bool {
        self.0.is_some_and(|mark| time < mark)
    }

    /// What is promised by both. `None` (nothing promised) wins.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => f.write_str(&format_rfc3339(time.0)),
            None => f.write_str("none yet"),
        }
    }
}

/// `2025-09-01T08:30:00.250Z`: whole seconds without a fraction, others with as many digits as needed.
#[must_use]
pub fn format_rfc3339(nanos: i64) -> String {
    let (days, rest) = (nanos.div_euclid(86_400 * NANOS_PER_SECOND), nanos.rem_euclid(86_400 * NANOS_PER_SECOND));
    let (year, month, day) = civil_from_days(days);
    let (second, fraction) = (rest / NANOS_PER_SECOND, rest % NANOS_PER_SECOND);
    let mut text =
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    if fraction != 0 {
        let digits = format!("{fraction:09}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Days since 1970-01-01 to a proleptic Gregorian date (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_written_as_rfc_3339() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (1_756_684_800 * NANOS_PER_SECOND, "2025-09-01T00:00:00Z"),
            (951_782_400 * NANOS_PER_SECOND + 250_000_000, "2000-02-29T00:00:00.25Z"),
        ] {
            assert_eq!(format_rfc3339(nanos), text);
        }
    }

    #[test]
    fn two_watermarks_promise_the_lesser() {
        let none = Watermark::default();
        let early = Watermark::at(EventTime(1));
        let later = Watermark::at(EventTime(2));
        assert_eq!(early.and(later), early);
        assert_eq!(none.and(later), none);
    }
}
