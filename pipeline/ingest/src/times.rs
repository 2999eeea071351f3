//! Times that can be true.

use crate::identity::Envelope;
use chalk_catalog::TopicDef;
use chalk_codec::{BadInput, Cell, Reason};
use chalk_event::NANOS_PER_SECOND;

/// Times before 2000-01-01 are no device's, but a dead battery's.
const OCCURRED_MIN: i64 = 946_684_800 * NANOS_PER_SECOND;
/// A device clock may be this much ahead of the server's.
const AHEAD_MAX: i64 = 7 * 86_400 * NANOS_PER_SECOND;
/// Other times may lie between 1970 and 2200.
const TIME_MAX: i64 = 7_258_118_400 * NANOS_PER_SECOND;
/// A given `received_at` may be this much ahead of the door's clock.
const RECEIVED_AHEAD_MAX: i64 = 300 * NANOS_PER_SECOND;

/// Checks the times of an event, and sets `received_at` when it is absent.
pub(crate) fn check_times(
    topic: &TopicDef,
    envelope: Envelope,
    cells: &mut [Cell<'_>],
    now: i64,
) -> Result<(), BadInput> {
    let name = |column: usize| topic.schema.columns[column].name.as_str();
    let absurd = |column: usize, what: &str, hint: &str| {
        Err(BadInput::field(Reason::AbsurdTimestamp, name(column), format!("field '{}' {what}: {hint}", name(column))))
    };
    let received_at = match envelope.received_at.map(|column| (column, &cells[column])) {
        Some((column, &Cell::Time(time))) if time > now.saturating_add(RECEIVED_AHEAD_MAX) => {
            return absurd(column, "is in the future", "leave it out and the server's clock is taken");
        }
        Some((_, &Cell::Time(time))) => time,
        Some((column, _)) => {
            cells[column] = Cell::Time(now);
            now
        }
        None => now,
    };
    for (column, cell) in cells.iter().enumerate() {
        let Cell::Time(time) = *cell else { continue };
        if Some(column) == envelope.occurred_at {
            if time < OCCURRED_MIN {
                return absurd(column, "is before 2000", "see to the device's clock");
            }
            if time > received_at.saturating_add(AHEAD_MAX) {
                return absurd(column, "is more than 7 days after it was received", "see to the device's clock");
            }
        } else if !(0..TIME_MAX).contains(&time) {
            return absurd(column, "is not between 1970 and 2200", "see to where it comes from");
        }
    }
    Ok(())
}
