//! How much a late submission keeps.

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;

/// What a submission keeps, as (seconds after the due time, the last one included; permille of its points).
/// Later than the last line: nothing.
///
/// | received after due | keeps |
/// |---|---|
/// | up to 10 minutes (grace for slow uploads) | 1000 ‰ |
/// | up to 1 day | 900 ‰ |
/// | up to 3 days | 700 ‰ |
/// | up to 7 days | 500 ‰ |
/// | later | 0 ‰ |
pub const LATENESS: &[(i64, i64)] = &[(10 * MINUTE, 1000), (DAY, 900), (3 * DAY, 700), (7 * DAY, 500)];

/// Permille of the points that a submission received at `received_s` keeps when it was due at `due_s` (both in
/// seconds since the same epoch, by the server's clock). See [`LATENESS`].
#[must_use]
pub fn late_factor(received_s: i64, due_s: i64) -> i64 {
    let late_s = received_s.saturating_sub(due_s);
    LATENESS.iter().find(|(until_s, _)| late_s <= *until_s).map_or(0, |(_, permille)| *permille)
}
