//! A receiver that keeps everything, and looks for *all* faults of a line.

use crate::schema::{Record, Schemas, is_a};
use chalk_homework::Reject;
use chrono::DateTime;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) type Row = Map<String, Json>;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted(Row),
    Duplicate,
    Rejected(Reject),
}

pub(crate) struct Receiver {
    pub(crate) schemas: Schemas,
    seen: BTreeMap<String, Row>,
    assignments: BTreeSet<String>,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self { schemas: Schemas::read(), seen: BTreeMap::new(), assignments: BTreeSet::new() }
    }

    /// Insists that a line has at most one fault.
    pub(crate) fn judge(&mut self, line: &str) -> Verdict {
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
        let Some(record) = self.schemas.record(event_type) else {
            return Verdict::Rejected(Reject::UnknownEventType);
        };
        let (row, mut faults) = self.read(&sent, record);
        if let (Some(occurred), Some(received)) = (time(&row, "occurred_at"), time(&row, "received_at"))
            && (occurred < 946_684_800_000 || occurred > received + 7 * 24 * 3_600_000)
        {
            faults.push(Reject::AbsurdTimestamp);
        }
        assert!(faults.len() <= 1, "{faults:?} in {line}");
        if let Some(fault) = faults.first() {
            return Verdict::Rejected(*fault);
        }
        let id = event_id(&row, record);
        if let Some(given) = sent.get("event_id") {
            assert_eq!(given, &json!(id));
        }
        match self.seen.get(&id) {
            None => Verdict::Accepted(row),
            Some(first) if content(first) == content(&row) => Verdict::Duplicate,
            Some(_) => Verdict::Rejected(Reject::IdConflict),
        }
    }

    /// The line as a row with all defaults, and what is wrong with its fields.
    fn read(&self, sent: &Row, record: &Record) -> (Row, Vec<Reject>) {
        let (mut row, mut faults) = (Row::new(), Vec::new());
        for field in record.fields.iter().filter(|field| field.name != "event_id") {
            match (sent.get(&field.name), &field.default) {
                (Some(value), _) if is_a(value, &field.avro) => {
                    if field.refers && !self.assignments.contains(value.as_str().expect("an id")) {
                        faults.push(Reject::UnknownReference);
                    }
                    row.insert(field.name.clone(), value.clone());
                }
                (Some(_), _) => faults.push(Reject::WrongType),
                (None, Some(default)) => {
                    row.insert(field.name.clone(), default.clone());
                }
                (None, None) => faults.push(Reject::MissingField),
            }
        }
        let strays: Vec<&String> =
            sent.keys().filter(|name| !record.fields.iter().any(|field| field.name == **name)).collect();
        assert!(strays.is_empty(), "unknown fields {strays:?}");
        (row, faults)
    }

    fn note(&mut self, row: &Row) {
        let event_type = text(row, "event_type");
        let record = self.schemas.record(event_type).expect("an accepted event's");
        self.seen.insert(event_id(row, record), row.clone());
        if event_type == "assignment_published" {
            self.assignments.insert(text(row, "assignment_id").to_owned());
        }
    }
}

/// A field that has to be text.
pub(crate) fn text<'a>(row: &'a Row, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_else(|| panic!("{name} of {row:?}"))
}

/// A field that has to be a whole number.
pub(crate) fn int(row: &Row, name: &str) -> i64 {
    row[name].as_i64().unwrap_or_else(|| panic!("{name} of {row:?}"))
}

/// A time in milliseconds since 1970.
pub(crate) fn time(row: &Row, name: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(row.get(name)?.as_str()?).ok().map(|time| time.timestamp_millis())
}

pub(crate) fn event_id(row: &Row, record: &Record) -> String {
    let mut name = format!("chalkstream:{}:{}", text(row, "event_type"), text(row, "tenant"));
    for field in &record.idempotency_key {
        name.push(':');
        match &row[field] {
            Json::String(text) => name.push_str(text),
            number => name.push_str(&number.to_string()),
        }
    }
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
}

fn content(row: &Row) -> Row {
    let mut row = row.clone();
    row.remove("received_at");
    row
}
