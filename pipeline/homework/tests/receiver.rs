//! A second opinion: a receiver written from the schemas alone judges every line, and must come to the verdict that
//! the school announced.

#![allow(clippy::unwrap_used, reason = "what is unwrapped is judged by the test")]

use chalk_homework::{Expect, Rates, Reject, School, SchoolConfig, Sent, Tally, Value};
use chrono::DateTime;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

const HOUR_NS: i64 = 3_600_000_000_000;
const DAY_NS: i64 = 24 * HOUR_NS;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Int,
    Time,
    Nested,
}

/// Name, type and, where there is one, the default.
type Field = (&'static str, Type, Option<Json>);

/// A record's own fields and its idempotency key.
fn record(event_type: &str) -> Option<(Vec<Field>, &'static [&'static str])> {
    use Type::{Int, Nested, Text, Time};
    let must = |name, kind| (name, kind, None);
    Some(match event_type {
        "assignment_published" => (
            vec![
                must("assignment_id", Text),
                must("class_id", Text),
                must("subject", Text),
                must("due_at", Time),
                must("pupils", Int),
                ("key_version", Int, Some(json!(1))),
                ("rubric_version", Int, Some(json!(1))),
                must("key", Nested),
            ],
            &["assignment_id", "key_version"],
        ),
        "submission_received" => (
            vec![
                must("student_id", Text),
                must("submission_id", Text),
                must("class_id", Text),
                must("assignment_id", Text),
                must("attempt", Int),
                must("answers", Nested),
                ("pages", Int, Some(json!(0))),
            ],
            &["student_id", "assignment_id", "attempt"],
        ),
        "submission_withdrawn" => {
            (vec![must("student_id", Text), must("submission_id", Text), must("command_id", Text)], &["command_id"])
        }
        "teacher_overrode" => (
            vec![
                must("student_id", Text),
                must("submission_id", Text),
                must("command_id", Text),
                must("points", Int),
                must("teacher_id", Text),
            ],
            &["command_id"],
        ),
        "override_cleared" => (
            vec![
                must("student_id", Text),
                must("submission_id", Text),
                must("command_id", Text),
                must("teacher_id", Text),
            ],
            &["command_id"],
        ),
        _ => return None,
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Accepted(Map<String, Json>),
    Duplicate,
    Rejected(Reject),
}

#[derive(Default)]
struct Receiver {
    seen: BTreeMap<String, Map<String, Json>>,
    assignments: BTreeSet<String>,
    submissions: BTreeSet<String>,
}

impl Receiver {
    /// Looks for *all* faults, and insists that there is at most one.
    fn judge(&mut self, line: &str) -> Verdict {
        if line.len() > 1 << 20 {
            // Anything else wrong with it would be a second fault.
            assert!(matches!(self.judge_content(line), Verdict::Accepted(_)));
            return Verdict::Rejected(Reject::TooLarge);
        }
        match self.judge_content(line) {
            Verdict::Accepted(row) => {
                self.note(&row);
                Verdict::Accepted(row)
            }
            other => other,
        }
    }

    fn judge_content(&self, line: &str) -> Verdict {
        let Ok(Json::Object(sent)) = serde_json::from_str::<Json>(line) else {
            return Verdict::Rejected(Reject::MalformedJson);
        };
        let event_type = sent["event_type"].as_str().expect("event_type is never spoilt but for another name");
        let Some((own, key)) = record(event_type) else {
            return Verdict::Rejected(Reject::UnknownEventType);
        };
        let mut fields = vec![
            ("event_type", Type::Text, None),
            ("tenant", Type::Text, None),
            ("occurred_at", Type::Time, None),
            ("received_at", Type::Time, None),
            ("causes", Type::Nested, Some(Json::Null)),
            ("schema_version", Type::Int, Some(json!(1))),
        ];
        fields.extend(own);

        let mut faults = Vec::new();
        let mut row = Map::new();
        for (name, kind, default) in &fields {
            match (sent.get(*name), default) {
                (Some(value), default) if is_a(value, *kind) || default.as_ref() == Some(value) => {
                    row.insert((*name).to_owned(), value.clone());
                }
                (Some(_), _) => faults.push(Reject::WrongType),
                (None, Some(default)) => {
                    row.insert((*name).to_owned(), default.clone());
                }
                (None, None) => faults.push(Reject::MissingField),
            }
        }
        let strays: Vec<&String> =
            sent.keys().filter(|name| *name != "event_id" && !fields.iter().any(|(field, ..)| field == name)).collect();
        assert!(strays.is_empty(), "unknown fields {strays:?}");
        if let (Some(occurred), Some(received)) = (time(&row, "occurred_at"), time(&row, "received_at"))
            && (occurred < 946_684_800_000 || occurred > received + 7 * 24 * 3_600_000)
        {
            faults.push(Reject::AbsurdTimestamp);
        }
        if event_type == "submission_received"
            && let Some(Json::String(assignment)) = row.get("assignment_id")
            && !self.assignments.contains(assignment)
        {
            faults.push(Reject::UnknownReference);
        }
        if let Some(Json::String(submission)) = row.get("submission_id")
            && event_type != "submission_received"
        {
            assert!(self.submissions.contains(submission), "{submission} comes after what is done to it");
        }
        assert!(faults.len() <= 1, "{faults:?} in {line}");
        if let Some(fault) = faults.first() {
            return Verdict::Rejected(*fault);
        }

        let id = event_id(&row, key);
        if let Some(given) = sent.get("event_id") {
            assert_eq!(given, &json!(id));
        }
        match self.seen.get(&id) {
            None => Verdict::Accepted(row),
            Some(first) if content(first) == content(&row) => Verdict::Duplicate,
            Some(_) => Verdict::Rejected(Reject::IdConflict),
        }
    }

    fn note(&mut self, row: &Map<String, Json>) {
        let event_type = row["event_type"].as_str().unwrap();
        let (_, key) = record(event_type).unwrap();
        self.seen.insert(event_id(row, key), row.clone());
        match event_type {
            "assignment_published" => self.assignments.insert(row["assignment_id"].as_str().unwrap().to_owned()),
            "submission_received" => self.submissions.insert(row["submission_id"].as_str().unwrap().to_owned()),
            _ => true,
        };
    }
}

fn is_a(value: &Json, kind: Type) -> bool {
    match kind {
        Type::Text => value.is_string(),
        Type::Int => value.is_i64(),
        Type::Time => value.as_str().is_some_and(|text| DateTime::parse_from_rfc3339(text).is_ok()),
        Type::Nested => value.is_object() || value.is_array(),
    }
}

fn time(row: &Map<String, Json>, name: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(row.get(name)?.as_str()?).ok().map(|time| time.timestamp_millis())
}

fn event_id(row: &Map<String, Json>, key: &[&str]) -> String {
    let mut name = format!("chalkstream:{}:{}", row["event_type"].as_str().unwrap(), row["tenant"].as_str().unwrap());
    for field in key {
        name.push(':');
        match &row[*field] {
            Json::String(text) => name.push_str(text),
            number => name.push_str(&number.to_string()),
        }
    }
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
}

fn content(row: &Map<String, Json>) -> Map<String, Json> {
    let mut row = row.clone();
    row.remove("received_at");
    row
}

fn school(seed: u64, events: u64) -> School {
    School::new(SchoolConfig { seed, events, ..SchoolConfig::default() })
}

fn check_verdicts(config: SchoolConfig) -> Tally {
    let (mut receiver, mut tally) = (Receiver::default(), Tally::default());
    let mut clock = i64::MIN;
    for sent in School::new(config) {
        tally.add(&sent);
        assert!(sent.received_at >= clock, "received before the line before it");
        clock = sent.received_at;
        assert!(!sent.line.contains('\n'));
        let start = &sent.line[..sent.line.floor_char_boundary(2_000)];
        match (receiver.judge(&sent.line), &sent.expect) {
            (Verdict::Accepted(row), Expect::Accepted(event)) => {
                for column in chalk_homework::Event::columns(event.topic()) {
                    check_column(column, &row, &event.field(column), &sent.line);
                }
                assert_eq!(event.envelope.received_at, sent.received_at);
            }
            (Verdict::Duplicate, Expect::Duplicate) => {}
            (Verdict::Rejected(found), Expect::Rejected(announced)) if found == *announced => {}
            (verdict, expect) => panic!("{verdict:?} instead of {expect:?} for {start}"),
        }
        if !matches!(sent.expect, Expect::Rejected(Reject::MalformedJson)) {
            let received = format!("\"received_at\":\"{}\"", rfc3339(sent.received_at));
            assert!(sent.line.contains(&received), "{received} in {start}");
        }
    }
    tally
}

fn check_column(column: &str, row: &Map<String, Json>, value: &Value, line: &str) {
    match (row.get(column), value) {
        (_, Value::Text(id)) if column == "event_id" => {
            let (_, key) = record(row["event_type"].as_str().unwrap()).unwrap();
            assert_eq!(id, &event_id(row, key));
        }
        (None | Some(Json::Null), Value::Null) => {}
        (Some(Json::String(sent)), Value::Text(text)) => assert_eq!(sent, text, "{column}"),
        (Some(Json::String(sent)), Value::Time(ns)) => assert_eq!(sent, &rfc3339(*ns), "{column}"),
        (Some(Json::Number(sent)), Value::Int(int)) => {
            assert_eq!(sent.as_i64(), Some(*int), "{column}");
        }
        (Some(Json::Object(_) | Json::Array(_)), Value::Text(text)) => {
            assert!(line.contains(&format!("\"{column}\":{text}")), "{column} is {text} in {line}");
        }
        (sent, value) => panic!("{column} is {value:?} for {sent:?}"),
    }
}

fn rfc3339(ns: i64) -> String {
    DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[test]
fn a_receiver_agrees_about_every_line() {
    for (seed, events) in [(1, 20_000), (2, 20_000), (3, 3_000), (4, 100), (5, 1)] {
        let tally = check_verdicts(SchoolConfig { seed, events, ..SchoolConfig::default() });
        assert_eq!(tally.lines(), events);
    }
}

#[test]
fn a_receiver_agrees_about_a_worse_school() {
    let rates = Rates {
        resubmitted_per_10k: 3_000,
        overridden_per_10k: 1_000,
        withdrawn_per_10k: 1_000,
        offline_per_10k: 3_000,
        wrong_clock_per_10k: 3_000,
        duplicate_per_10k: 2_000,
        corrupt_per_10k: 1_000,
        ..Rates::default()
    };
    let tenant = "Nº 7 \"east\"".to_owned();
    let config = SchoolConfig { seed: 6, events: 8_000, weeks: 2, items: 40, tenant, rates, ..SchoolConfig::default() };
    let tally = check_verdicts(config);
    assert!(Reject::ALL.iter().all(|reason| tally.rejected.contains_key(reason)), "{tally:?}");
}

#[test]
fn a_faultless_school_sends_only_what_is_accepted() {
    let config = SchoolConfig { events: 5_000, rates: Rates::faultless(), ..SchoolConfig::default() };
    let tally = check_verdicts(config);
    assert_eq!(tally.accepted_total(), 5_000);
}

#[test]
fn twenty_thousand_lines_have_every_kind_of_fault() {
    for seed in 0..20 {
        let mut tally = Tally::default();
        school(seed, 20_000).for_each(|sent| tally.add(&sent));
        assert!(Reject::ALL.iter().all(|reason| tally.rejected.contains_key(reason)), "{tally:?}");
        assert!(tally.rejected[&Reject::TooLarge] * 20 <= tally.rejected_total());
        assert_eq!(tally.accepted.len(), 5);
    }
}

#[test]
fn a_school_can_move_to_another_thread() {
    let lines = std::thread::spawn(|| school(1, 10).count()).join();
    assert_eq!(lines.ok(), Some(10));
}

#[test]
fn a_seed_decides_everything() {
    let lines: Vec<Sent> = school(7, 4_000).collect();
    assert!(school(7, 4_000).eq(lines.iter().cloned()));
    let others: Vec<Sent> = school(8, 4_000).collect();
    let same = lines.iter().zip(&others).filter(|(a, b)| a.line == b.line).count();
    assert_eq!(same, 0);
}

/// Checks that `count` is between `low` and `high` permille of `total`.
#[track_caller]
fn check_share(what: &str, count: u64, total: u64, low: f64, high: f64) {
    let permille = count as f64 * 1_000.0 / total as f64;
    assert!((low..=high).contains(&permille), "{what}: {permille} ‰");
}

#[test]
fn a_term_is_what_it_was_said_to_be() {
    let term = School::new(SchoolConfig::default());
    assert_eq!((term.classes(), term.pupils_per_class()), (24, 45));
    let mut tally = Tally::default();
    let (mut late, mut wrong_clock, mut second, mut blank, mut answers) = (0, 0, 0, 0, 0);
    let (mut given_id, mut weeks) = (0, BTreeSet::new());
    for sent in term {
        tally.add(&sent);
        let Expect::Accepted(event) = &sent.expect else {
            continue;
        };
        given_id += u64::from(sent.line.contains("\"event_id\""));
        let lag = event.envelope.received_at - event.envelope.occurred_at;
        assert!((-12 * HOUR_NS..=7 * DAY_NS + 12 * HOUR_NS).contains(&lag));
        late += u64::from(lag > 13 * HOUR_NS);
        wrong_clock += u64::from(lag < 0);
        if let chalk_homework::Record::AssignmentPublished(it) = &event.record {
            weeks.insert(it.assignment_id[6..9].to_owned());
            assert!((6..=10).contains(&it.key.items.len()));
        }
        if let chalk_homework::Record::SubmissionReceived(it) = &event.record {
            second += u64::from(it.attempt == 2);
            answers += 1;
            blank += u64::from(it.answers().iter().any(|answer| answer.answer.is_none()));
        }
    }
    assert_eq!(tally.lines(), 200_000);
    assert_eq!(weeks.iter().next_back().map(String::as_str), Some("w12"));
    assert_eq!(tally.accepted["assignment_published"], 24 * 15 * 12);
    let submissions = tally.accepted["submission_received"];
    check_share("handed in", submissions - second, 24 * 15 * 12 * 45, 910.0, 935.0);
    check_share("resubmitted", second, submissions - second, 58.0, 72.0);
    check_share("duplicates", tally.duplicates, 200_000, 4.0, 6.0);
    check_share("corrupt", tally.rejected_total(), 200_000, 1.8, 2.2);
    check_share("overridden", tally.accepted["teacher_overrode"], submissions, 8.0, 12.5);
    check_share("cleared", tally.accepted["override_cleared"], submissions, 1.5, 3.5);
    check_share("withdrawn", tally.accepted["submission_withdrawn"], submissions, 4.0, 6.0);
    // About a quarter of the late ones are late by less than what a wrong clock could explain.
    check_share("late", late, submissions, 17.0, 31.0);
    check_share("clock fast", wrong_clock, submissions, 3.5, 6.5);
    check_share("with a blank", blank, answers, 100.0, 400.0);
    check_share("event_id given", given_id, tally.accepted_total(), 115.0, 135.0);
}
