//! Corrupt lines: each an event that would have been accepted, but for exactly one fault.
//!
//! All but one kind are made of an event with a *further* key that nobody ever sent, so that the fault is the only reason
//! to reject the line; a conflict is made of the accepted event itself.

use crate::calendar::{HOUR_MS, SECOND_MS, nanos};
use crate::chance::Chance;
use crate::event::fact::{Cell, Field, Rule};
use crate::event::{Event, Record, SubmissionReceived};
use crate::json::{Spoilt, write_string};
use crate::line::{Spelling, write_line};
use crate::new_key::{give_new_key, refer_to_nothing};
use crate::paper::answer_json;
use crate::sent::Reject;

/// The longest line that a receiver takes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// The kinds that take turns. Oversized lines cost a megabyte each and have a turn of their own.
const IN_TURN: [Reject; 7] = [
    Reject::MalformedJson,
    Reject::UnknownEventType,
    Reject::MissingField,
    Reject::WrongType,
    Reject::AbsurdTimestamp,
    Reject::UnknownReference,
    Reject::IdConflict,
];

/// Among so many corrupt lines, the last is oversized.
const OVERSIZED_EVERY: u64 = 20;

const UNKNOWN_TYPES: [&str; 3] = ["\"submission_recieved\"", "\"homework_eaten\"", "\"quiz_started\""];

const ABSURD_TIMES: [&str; 3] =
    ["\"1970-01-01T00:00:00.000Z\"", "\"1970-01-01T08:00:07.412Z\"", "\"2999-12-31T23:59:59.000Z\""];

/// Values that no lenient reader can take for the field's own type.
fn wrong_types(cell: Cell<'_>) -> &'static [&'static str] {
    match cell {
        Cell::Text(_) => &["17", "[\"a\",\"b\"]", "{\"id\":\"c0001\"}"],
        Cell::Word(_) => &["\"whichever\"", "0"],
        Cell::Int(_) => &["\"second\"", "[1,2]", "true"],
        Cell::Time(_) => &["true", "\"next Tuesday\""],
        Cell::Json(_) => &["\"none\"", "12.5"],
    }
}

/// The fault of the `n`th corrupt line, from 1.
pub(crate) fn nth_fault(n: u64) -> Reject {
    if n.is_multiple_of(OVERSIZED_EVERY) {
        Reject::TooLarge
    } else {
        let oversized_before = n / OVERSIZED_EVERY;
        IN_TURN[((n - 1 - oversized_before) % IN_TURN.len() as u64) as usize]
    }
}

/// Whether such an event can have such a fault.
pub(crate) fn can_have(fault: Reject, event: &Event) -> bool {
    fault != Reject::UnknownReference || fields(event, |field| field.rule == Rule::Reference) > 0
}

/// A line with that fault, received at `received_ms`, made of an accepted event that [can have](can_have) it.
pub(crate) fn spoil(fault: Reject, accepted: &Event, received_ms: i64, chance: &mut Chance) -> String {
    let spelling = Spelling::any(chance);
    if fault == Reject::IdConflict {
        return conflict(accepted, received_ms, spelling, chance);
    }
    let mut event = accepted.clone();
    event.envelope.received_at = nanos(received_ms);
    event.envelope.occurred_at = nanos(received_ms - chance.between(SECOND_MS, HOUR_MS));
    give_new_key(&mut event.record, chance);
    if fault == Reject::UnknownReference {
        refer_to_nothing(&mut event.record);
    }
    let write = |spelling, member, instead| write_line(&event, spelling, Some(Spoilt { member, instead }));
    match fault {
        Reject::MalformedJson => malform(write_line(&event, spelling, None), chance),
        // The id would have to be that of the unknown type.
        Reject::UnknownEventType => {
            write(spelling.without_event_id(), "event_type", Some(*chance.pick(&UNKNOWN_TYPES)))
        }
        Reject::MissingField => write(spelling, required_member(&event, chance), None),
        Reject::WrongType => {
            let (member, instead) = wrong_type(&event, chance);
            write(spelling, member, Some(instead))
        }
        Reject::TooLarge => {
            let (member, instead) = padded(&event);
            write(spelling, member, Some(&instead))
        }
        Reject::AbsurdTimestamp => write(spelling, "occurred_at", Some(*chance.pick(&ABSURD_TIMES))),
        Reject::UnknownReference | Reject::IdConflict => write_line(&event, spelling, None),
    }
}

/// How many of an event's own fields are like that.
fn fields(event: &Event, like: impl Fn(Field<'_>) -> bool) -> u64 {
    let mut count = 0;
    event.record.fact().show(&mut |field| count += u64::from(like(field)));
    count
}

/// What `then` makes of the `n`th of those of an event's own fields that are like that, from 0; `None` beyond the last.
fn nth_field<T>(event: &Event, n: u64, like: impl Fn(Field<'_>) -> bool, then: impl Fn(Field<'_>) -> T) -> Option<T> {
    let (mut left, mut made) = (n + 1, None);
    event.record.fact().show(&mut |field| {
        if left > 0 && like(field) {
            left -= 1;
            made = (left == 0).then(|| then(field));
        }
    });
    made
}

/// Whether a field could hold another value without making the event another or wrong.
fn is_free(event: &Event, field: Field<'_>) -> bool {
    field.rule != Rule::Reference && !event.record.fact().kind().key.contains(&field.name)
}

/// A field without a default. `tenant` and `event_type` are not among them: without these it is not clear whose fault a
/// line is.
fn required_member(event: &Event, chance: &mut Chance) -> &'static str {
    let required = |field: Field<'_>| !matches!(field.rule, Rule::Default { .. });
    let n = chance.below(fields(event, required) + 1);
    nth_field(event, n, required, |field| field.name).unwrap_or("occurred_at")
}

fn wrong_type(event: &Event, chance: &mut Chance) -> (&'static str, &'static str) {
    let n = chance.below(fields(event, |_| true) + 1);
    let (member, choices) = nth_field(event, n, |_| true, |field| (field.name, wrong_types(field.cell)))
        .unwrap_or(("occurred_at", wrong_types(Cell::Time(0))));
    (member, *chance.pick(choices))
}

/// A member with a value that is longer than a line may be, and that its type allows.
fn padded(event: &Event) -> (&'static str, String) {
    let padded = "x".repeat(LINE_BYTES_MAX + 1);
    if matches!(event.record, Record::SubmissionReceived(_)) {
        return ("answers", format!("[{}]", answer_json("1", Some(&padded))));
    }
    let free_text = |field: Field<'_>| is_free(event, field) && matches!(field.cell, Cell::Text(_));
    let last = fields(event, free_text).saturating_sub(1);
    (nth_field(event, last, free_text, |field| field.name).unwrap_or("tenant"), format!("\"{padded}\""))
}

/// An accepted event with other content.
fn conflict(accepted: &Event, received_ms: i64, spelling: Spelling, chance: &mut Chance) -> String {
    let mut event = accepted.clone();
    event.envelope.received_at = nanos(received_ms);
    let (member, instead) = match &event.record {
        Record::SubmissionReceived(submission) => ("answers", other_answers(submission)),
        _ => {
            let free = |field: Field<'_>| is_free(&event, field) && matches!(field.cell, Cell::Text(_) | Cell::Int(_));
            let n = chance.below(fields(&event, free));
            nth_field(&event, n, free, |field| (field.name, other(field.cell)))
                .unwrap_or_else(|| ("schema_version", "2".to_owned()))
        }
    };
    write_line(&event, spelling, Some(Spoilt { member, instead: Some(&instead) }))
}

/// Another value of the same type, as JSON text.
fn other(cell: Cell<'_>) -> String {
    match cell {
        Cell::Text(text) | Cell::Word(text) | Cell::Json(text) => {
            let mut out = String::new();
            write_string(&mut out, &format!("{text}-b"));
            out
        }
        Cell::Int(value) | Cell::Time(value) => (value + 1).to_string(),
    }
}

/// The same sheet with another answer to the first item.
fn other_answers(submission: &SubmissionReceived) -> String {
    let answers: Vec<String> = submission
        .answers()
        .iter()
        .enumerate()
        .map(|(n, it)| match (n, it.answer.as_deref()) {
            (0, Some("E")) => answer_json(&it.item, Some("F")),
            (0, _) => answer_json(&it.item, Some("E")),
            (_, answer) => answer_json(&it.item, answer),
        })
        .collect();
    format!("[{}]", answers.join(","))
}

fn malform(mut line: String, chance: &mut Chance) -> String {
    match chance.below(3) {
        0 => {
            // Without its last brace at least, the object is never closed.
            let mut end = chance.between(line.len() as i64 / 4, line.len() as i64) as usize;
            while !line.is_char_boundary(end) {
                end -= 1;
            }
            line.truncate(end);
        }
        1 => line.insert(1, ','),
        _ => line.push('}'),
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_turn_and_oversized_is_rare() {
        let faults: Vec<Reject> = (1..=400).map(nth_fault).collect();
        assert_eq!(faults[..7], IN_TURN);
        assert!(Reject::ALL.iter().all(|kind| faults[..20].contains(kind)));
        let oversized = faults.iter().filter(|kind| **kind == Reject::TooLarge).count();
        assert_eq!(oversized, 400 / 20);
        let in_turn: Vec<Reject> = faults.iter().copied().filter(|kind| *kind != Reject::TooLarge).collect();
        assert!(in_turn.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
