//! An event as a line of JSON: a flat object, in one of many spellings that all mean the same.

use crate::chance::Chance;
use crate::event::fact::{Cell, Field, Rule};
use crate::event::{Envelope, Event, Record};
use crate::json::{Object, Spoilt};

/// How a line is spelt: what is left to its default and in which order the two halves come. A receiver must not care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spelling {
    bits: u16,
}

impl Spelling {
    // Bits that decide about one default each: written although it could be left out.
    const SCHEMA_VERSION: u16 = 1 << 0;
    const CAUSES: u16 = 1 << 1;
    pub(crate) const PAGES: u16 = 1 << 2;
    pub(crate) const KEY_VERSION: u16 = 1 << 3;
    pub(crate) const RUBRIC_VERSION: u16 = 1 << 4;
    pub(crate) const ATTEMPTS: u16 = 1 << 5;
    const EVENT_ID: u16 = 0b111 << 6;
    const ENVELOPE_LAST: u16 = 0b111 << 9;

    pub(crate) fn any(chance: &mut Chance) -> Self {
        Self { bits: chance.bits() as u16 }
    }

    /// As another, but without `event_id`.
    pub(crate) fn without_event_id(self) -> Self {
        Self { bits: self.bits | Self::EVENT_ID }
    }

    fn spells_out(self, default: u16) -> bool {
        self.bits & default != 0
    }

    /// In one line of eight the producer computed the id itself.
    fn has_event_id(self) -> bool {
        self.bits & Self::EVENT_ID == 0
    }

    fn has_envelope_last(self) -> bool {
        self.bits & Self::ENVELOPE_LAST == 0
    }
}

/// `event` as one line without a line break, one member of it spoilt if asked for.
pub(crate) fn write_line(event: &Event, spelling: Spelling, spoilt: Option<Spoilt<'_>>) -> String {
    let body_bytes = match &event.record {
        Record::AssignmentPublished(it) => it.key_json.len(),
        Record::SubmissionReceived(it) => it.answers_json.len(),
        Record::SheetRead(it) => it.answers_json.len() + 200,
        _ => 200,
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
        None if spelling.spells_out(Spelling::CAUSES) => object.json("causes", "null"),
        None => {}
    }
    if *schema_version != 1 || spelling.spells_out(Spelling::SCHEMA_VERSION) {
        object.int("schema_version", *schema_version);
    }
}

fn write_record(object: &mut Object<'_>, record: &Record, spelling: Spelling) {
    record.fact().show(&mut |Field { name, cell, rule }| {
        if let Rule::Default { value, spelt_out } = rule
            && cell == value
            && !spelling.spells_out(spelt_out)
            && !object.is_spoilt(name)
        {
            return;
        }
        match cell {
            Cell::Text(text) => object.string(name, text),
            Cell::Word(word) => object.string(name, word),
            Cell::Int(value) => object.int(name, value),
            Cell::Time(time) => object.time(name, time),
            Cell::Json(text) => object.json(name, text),
        }
    });
}
