//! An event as a line of JSON: a flat object, in one of many spellings that all mean the same.

use crate::chance::Chance;
use crate::event::{Envelope, Event, Record};
use crate::json::{Object, Spoilt};

/// How a line is spelt: what is left to its default and in which order the two halves come. A receiver must not care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spelling {
    bits: u16,
}

/// The bits that decide about each default.
const SCHEMA_VERSION: u16 = 1 << 0;
const CAUSES: u16 = 1 << 1;
const PAGES: u16 = 1 << 2;
const KEY_VERSION: u16 = 1 << 3;
const RUBRIC_VERSION: u16 = 1 << 4;
const EVENT_ID: u16 = 0b111 << 5;
const ENVELOPE_LAST: u16 = 0b111 << 8;

impl Spelling {
    pub(crate) fn any(chance: &mut Chance) -> Self {
        Self { bits: chance.bits() as u16 }
    }

    /// As another, but without `event_id`.
    pub(crate) fn without_event_id(self) -> Self {
        Self { bits: self.bits | EVENT_ID }
    }

    fn spells_out(self, default: u16) -> bool {
        self.bits & default != 0
    }

    /// In one line of eight the producer computed the id itself.
    fn has_event_id(self) -> bool {
        self.bits & EVENT_ID == 0
    }

    fn has_envelope_last(self) -> bool {
        self.bits & ENVELOPE_LAST == 0
    }
}

/// `event` as one line without a line break, one member of it spoilt if asked for.
pub(crate) fn write_line(event: &Event, spelling: Spelling, spoilt: Option<Spoilt<'_>>) -> String {
    let body_bytes = match &event.record {
        Record::AssignmentPublished(it) => it.key_json.len(),
        Record::SubmissionReceived(it) => it.answers_json.len(),
        _ => 0,
    };
    let mut object = Object::new(body_bytes + 480, spoilt);
    if spelling.has_envelope_last() {
        write_record(&mut object, &event.record, spelling);
        write_envelope(&mut object, event, spelling);
    } else {
        write_envelope(&mut object, event, spelling);
        write_record(&mut object, &event.record, spelling);
    }
    object.close()
}

fn write_envelope(object: &mut Object<'_>, event: &Event, spelling: Spelling) {
    let Envelope { tenant, occurred_at, received_at, causes, schema_version } = &event.envelope;
    if spelling.has_event_id() {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        object.string("event_id", event.event_id().hyphenated().encode_lower(&mut text));
    }
    object.string("event_type", event.event_type());
    object.string("tenant", tenant);
    object.time("occurred_at", *occurred_at);
    object.time("received_at", *received_at);
    match causes {
        Some(causes) => object.json("causes", causes),
        None if spelling.spells_out(CAUSES) => object.json("causes", "null"),
        None => {}
    }
    int_or_default(object, "schema_version", *schema_version, 1, spelling.spells_out(SCHEMA_VERSION));
}

fn write_record(object: &mut Object<'_>, record: &Record, spelling: Spelling) {
    match record {
        Record::AssignmentPublished(it) => {
            object.string("assignment_id", &it.assignment_id);
            object.string("class_id", &it.class_id);
            object.string("subject", it.subject);
            object.time("due_at", it.due_at);
            object.int("pupils", it.pupils);
            int_or_default(object, "key_version", it.key_version, 1, spelling.spells_out(KEY_VERSION));
            int_or_default(object, "rubric_version", it.rubric_version, 1, spelling.spells_out(RUBRIC_VERSION));
            object.json("key", &it.key_json);
        }
        Record::SubmissionReceived(it) => {
            object.string("student_id", &it.student_id);
            object.string("submission_id", &it.submission_id);
            object.string("class_id", &it.class_id);
            object.string("assignment_id", &it.assignment_id);
            object.int("attempt", it.attempt);
            object.json("answers", &it.answers_json);
            int_or_default(object, "pages", it.pages, 0, spelling.spells_out(PAGES));
        }
        Record::SubmissionWithdrawn(it) => {
            object.string("student_id", &it.student_id);
            object.string("submission_id", &it.submission_id);
            object.string("command_id", &it.command_id);
        }
        Record::TeacherOverrode(it) => {
            object.string("student_id", &it.student_id);
            object.string("submission_id", &it.submission_id);
            object.string("command_id", &it.command_id);
            object.int("points", it.points);
            object.string("teacher_id", &it.teacher_id);
        }
        Record::OverrideCleared(it) => {
            object.string("student_id", &it.student_id);
            object.string("submission_id", &it.submission_id);
            object.string("command_id", &it.command_id);
            object.string("teacher_id", &it.teacher_id);
        }
    }
}

fn int_or_default(object: &mut Object<'_>, name: &str, value: i64, default: i64, spell_out: bool) {
    if value != default || spell_out {
        object.int(name, value);
    }
}
