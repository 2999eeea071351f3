//! Corrupt lines: each a submission that would have been accepted, but for exactly one fault.
//!
//! All but one kind are made of a *further* attempt that nobody ever sent, so that the fault is the only reason to
//! reject the line; a conflict is made of the accepted attempt itself.

use crate::calendar::{HOUR_MS, SECOND_MS, nanos};
use crate::chance::Chance;
use crate::event::{Event, Record, SubmissionReceived};
use crate::json::Spoilt;
use crate::line::{Spelling, write_line};
use crate::paper::answer_json;
use crate::sent::Reject;

/// The longest line that a receiver takes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Attempts that pupils really make are below this.
const ATTEMPT_NEVER_MADE: i64 = 3;

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

/// Fields without a default. `tenant` and `event_type` are not among them: without these it is not clear whose fault
/// a line is.
const REQUIRED: [&str; 7] =
    ["occurred_at", "student_id", "submission_id", "class_id", "assignment_id", "attempt", "answers"];

/// Values that no lenient reader can take for the field's own type.
const WRONG_TYPES: [(&str, &str); 8] = [
    ("occurred_at", "true"),
    ("student_id", "17"),
    ("submission_id", "[\"a\",\"b\"]"),
    ("class_id", "{\"id\":\"c0001\"}"),
    ("attempt", "\"second\""),
    ("answers", "\"none\""),
    ("answers", "12.5"),
    ("pages", "[1,2]"),
];

const UNKNOWN_TYPES: [&str; 3] = ["\"submission_recieved\"", "\"homework_eaten\"", "\"quiz_started\""];

const ABSURD_TIMES: [&str; 3] =
    ["\"1970-01-01T00:00:00.000Z\"", "\"1970-01-01T08:00:07.412Z\"", "\"2999-12-31T23:59:59.000Z\""];

/// The fault of the `n`th corrupt line, from 1.
pub(crate) fn nth_fault(n: u64) -> Reject {
    if n.is_multiple_of(OVERSIZED_EVERY) {
        Reject::TooLarge
    } else {
        let oversized_before = n / OVERSIZED_EVERY;
        IN_TURN[((n - 1 - oversized_before) % IN_TURN.len() as u64) as usize]
    }
}

/// A line with that fault, received at `received_ms`, made of an accepted submission.
pub(crate) fn spoil(
    fault: Reject,
    accepted: &Event,
    submission: &SubmissionReceived,
    received_ms: i64,
    chance: &mut Chance,
) -> String {
    let spelling = Spelling::any(chance);
    let mut fresh = |change: &dyn Fn(&mut SubmissionReceived)| {
        let attempt = ATTEMPT_NEVER_MADE + chance.between(0, 6);
        let mut submission = submission.clone();
        submission.attempt = attempt;
        change(&mut submission);
        submission.submission_id =
            SubmissionReceived::id_of(&submission.assignment_id, &submission.student_id, attempt);
        let mut event = accepted.clone();
        event.record = Record::SubmissionReceived(submission);
        event.envelope.occurred_at = nanos(received_ms - chance.between(SECOND_MS, HOUR_MS));
        event.envelope.received_at = nanos(received_ms);
        event
    };
    let untouched: &dyn Fn(&mut SubmissionReceived) = &|_| {};

    match fault {
        Reject::MalformedJson => {
            let line = write_line(&fresh(untouched), spelling, None);
            malform(line, chance)
        }
        Reject::UnknownEventType => {
            let event = fresh(untouched);
            let instead = Some(*chance.pick(&UNKNOWN_TYPES));
            // The id would have to be that of the unknown type.
            write_line(&event, spelling.without_event_id(), Some(Spoilt { member: "event_type", instead }))
        }
        Reject::MissingField => {
            let event = fresh(untouched);
            let member = *chance.pick(&REQUIRED);
            write_line(&event, spelling, Some(Spoilt { member, instead: None }))
        }
        Reject::WrongType => {
            // A page more than none, so that the field is written and can be spoilt.
            let event = fresh(&|submission| submission.pages = 1);
            let (member, instead) = *chance.pick(&WRONG_TYPES);
            write_line(&event, spelling, Some(Spoilt { member, instead: Some(instead) }))
        }
        Reject::TooLarge => {
            let event = fresh(&|submission| {
                let padded = "x".repeat(LINE_BYTES_MAX + 1);
                submission.answers_json = format!("[{}]", answer_json("1", Some(&padded)));
            });
            write_line(&event, spelling, None)
        }
        Reject::AbsurdTimestamp => {
            let event = fresh(untouched);
            let instead = Some(*chance.pick(&ABSURD_TIMES));
            write_line(&event, spelling, Some(Spoilt { member: "occurred_at", instead }))
        }
        Reject::UnknownReference => {
            // There is no ninth day in a week.
            let event = fresh(&|submission| {
                let day = submission.assignment_id.rfind('-').map_or(0, |dash| dash + 1);
                submission.assignment_id = format!("{}9", &submission.assignment_id[..day]).into();
            });
            write_line(&event, spelling, None)
        }
        Reject::IdConflict => {
            let mut event = accepted.clone();
            event.envelope.received_at = nanos(received_ms);
            event.record = Record::SubmissionReceived(SubmissionReceived {
                answers_json: other_answers(submission),
                ..submission.clone()
            });
            write_line(&event, spelling, None)
        }
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
