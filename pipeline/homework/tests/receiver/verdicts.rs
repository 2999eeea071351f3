//! A receiver's verdict on every line is the one that the school announced.

use crate::history::History;
use crate::judge::{Receiver, Row, Verdict, event_id, text};
use chalk_homework::{Event, Expect, Rates, Reject, School, SchoolConfig, TOPICS, Tally, Value};
use chrono::DateTime;
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// What came of a school.
struct Judged {
    tally: Tally,
    history: History,
    /// Topics of lines that are duplicates, and of lines that are corrupt and still say what they are about.
    duplicates: BTreeSet<&'static str>,
    corrupt: BTreeSet<&'static str>,
}

fn check_verdicts(config: SchoolConfig) -> Judged {
    let clocks_are_right = config.rates.wrong_clock_per_10k == 0;
    let mut receiver = Receiver::new();
    let mut judged = Judged {
        tally: Tally::default(),
        history: History::default(),
        duplicates: BTreeSet::new(),
        corrupt: BTreeSet::new(),
    };
    let mut clock = i64::MIN;
    for sent in School::new(config) {
        judged.tally.add(&sent);
        assert!(sent.received_at >= clock, "received before the line before it");
        clock = sent.received_at;
        assert!(!sent.line.contains('\n'));
        let start = &sent.line[..sent.line.floor_char_boundary(2_000)];
        for student in &judged.history.erased {
            assert!(!sent.line.contains(student.as_str()), "about an erased pupil: {start}");
        }
        match (receiver.judge(&sent.line), &sent.expect) {
            (Verdict::Accepted(row), Expect::Accepted(event)) => {
                check_event(event, &row, &receiver, &sent.line);
                assert_eq!(event.envelope.received_at, sent.received_at);
                judged.history.check(&row, clocks_are_right);
            }
            (Verdict::Duplicate, Expect::Duplicate) => judged.duplicates.extend(topic_of(&sent.line, &receiver)),
            (Verdict::Rejected(found), Expect::Rejected(announced)) if found == *announced => {
                judged.corrupt.extend(topic_of(&sent.line, &receiver));
            }
            (verdict, expect) => panic!("{verdict:?} instead of {expect:?} for {start}"),
        }
        if !matches!(sent.expect, Expect::Rejected(Reject::MalformedJson)) {
            let received = format!("\"received_at\":\"{}\"", rfc3339(sent.received_at));
            assert!(sent.line.contains(&received), "{received} in {start}");
        }
    }
    judged
}

fn topic_of(line: &str, receiver: &Receiver) -> Option<&'static str> {
    let row: Json = serde_json::from_str(line).ok()?;
    Some(receiver.schemas.record(row["event_type"].as_str()?)?.topic)
}

fn check_event(event: &Event, row: &Row, receiver: &Receiver, line: &str) {
    assert_eq!(event.event_type(), text(row, "event_type"));
    let record = receiver.schemas.record(event.event_type()).expect("a known event type");
    assert_eq!(event.topic(), record.topic);
    assert_eq!(event.field("event_id"), Value::Text(event_id(row, record)));
    for column in Event::columns(event.topic()).filter(|column| *column != "event_id") {
        check_column(column, row, &event.field(column), line);
    }
}

fn check_column(column: &str, row: &Row, value: &Value, line: &str) {
    match (row.get(column), value) {
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

/// A school in which far more happens, and goes wrong, than in others.
fn worse() -> Rates {
    Rates {
        resubmitted_per_10k: 3_000,
        last_attempt_counts_per_10k: 4_000,
        first_attempt_counts_per_10k: 3_000,
        key_revised_per_10k: 5_000,
        rubric_revised_per_10k: 5_000,
        overridden_per_10k: 1_000,
        withdrawn_per_10k: 1_000,
        late_excused_per_10k: 8_000,
        regrade_requested_per_10k: 1_000,
        photographed_per_10k: 4_000,
        photo_early_per_10k: 5_000,
        photo_rejected_per_10k: 5_000,
        read_in_doubt_per_10k: 2_000,
        copy_suspected_per_10k: 2_000,
        class_changed_per_10k: 10_000,
        consent_withdrawn_per_10k: 10_000,
        erased_per_10k: 3_000,
        offline_per_10k: 3_000,
        wrong_clock_per_10k: 3_000,
        duplicate_per_10k: 2_000,
        corrupt_per_10k: 1_000,
        ..Rates::default()
    }
}

#[test]
fn a_receiver_agrees_about_every_line() {
    for (seed, events) in [(1, 20_000), (2, 20_000), (3, 3_000), (4, 100), (5, 1)] {
        let judged = check_verdicts(SchoolConfig { seed, events, ..SchoolConfig::default() });
        assert_eq!(judged.tally.lines(), events);
    }
}

#[test]
fn a_receiver_agrees_about_a_worse_school() {
    let tenant = "Nº 7 \"east\"".to_owned();
    let config =
        SchoolConfig { seed: 6, events: 30_000, weeks: 4, pupils_per_class: 20, items: 40, tenant, rates: worse() };
    let judged = check_verdicts(config);
    let rejected = &judged.tally.rejected;
    assert!(Reject::ALL.iter().all(|reason| rejected.contains_key(reason)), "{rejected:?}");
    assert_eq!(judged.tally.accepted.len(), Receiver::new().schemas.event_types().count(), "{:?}", judged.tally);
    // Of any kind of event there are lines that say nothing new.
    assert_eq!(judged.duplicates, BTreeSet::from(TOPICS));
    assert_eq!(judged.corrupt, BTreeSet::from(TOPICS));
}

#[test]
fn a_change_of_class_is_kept_when_clocks_are_right() {
    let rates = Rates { wrong_clock_per_10k: 0, ..worse() };
    let config = SchoolConfig { events: 20_000, weeks: 4, pupils_per_class: 20, rates, ..SchoolConfig::default() };
    let judged = check_verdicts(config);
    assert!(judged.tally.accepted["class_enrolment_changed"] > 20);
    assert!(judged.history.from_class_before > 0, "what an offline device sends after its pupil has moved");
    assert!(judged.history.early_photos > 100);
}

#[test]
fn a_faultless_school_sends_only_what_is_accepted() {
    let config = SchoolConfig { events: 5_000, rates: Rates::faultless(), ..SchoolConfig::default() };
    assert_eq!(check_verdicts(config).tally.accepted_total(), 5_000);
}

#[test]
fn columns_are_those_of_the_schemas() {
    let schemas = Receiver::new().schemas;
    for topic in TOPICS {
        assert_eq!(Event::columns(topic).collect::<Vec<_>>(), schemas.columns(topic), "{topic}");
    }
    assert_eq!(Event::columns("graded").count(), 0);
}
