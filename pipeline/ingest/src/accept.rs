//! Deciding about one event after the other, and collecting what is to be appended.

use crate::error::DoorError;
use crate::identity::{Scratch, content_hash, id_of, partition_of, push_plain, text};
use crate::memory::Memory;
use crate::receipt::{Receipt, Refused};
use crate::rules::{Rules, TopicRules};
use crate::times::check_times;
use arrow::array::{Array, RecordBatch, TimestampNanosecondArray};
use chalk_catalog::{SystemTopic, TopicDef, TopicId};
use chalk_codec::{BadInput, Cell, Reason, RowsBuilder, decode_event, split_event};
use chalk_event::{EventTime, PartitionId, hash_key};
use chalk_log::{Append, FrameToAppend};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// One event may have this many bytes.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// An event as far as it can be judged alone.
pub(crate) struct Draft<'a> {
    pub(crate) line: u64,
    pub(crate) raw: Cow<'a, str>,
    pub(crate) event_type: Option<Cow<'a, str>>,
    pub(crate) decoded: Result<Decoded<'a>, BadInput>,
}

/// An event whose fields are good.
pub(crate) struct Decoded<'a> {
    rules: &'a TopicRules,
    record: usize,
    cells: Vec<Cell<'a>>,
    rest: Option<String>,
    /// The id that its key makes, if it has a key.
    id: Option<Uuid>,
    content: u64,
    partition: PartitionId,
}

impl<'a> Decoded<'a> {
    /// Works out all that needs no memory of other events.
    pub(crate) fn of(
        rules: &'a TopicRules,
        record: usize,
        cells: Vec<Cell<'a>>,
        rest: Option<String>,
        scratch: &mut Scratch,
    ) -> Self {
        let (topic, envelope) = (&rules.topic, rules.envelope);
        let schema = &topic.schema.records[record];
        let id = envelope.event_id.and_then(|_| id_of(schema, envelope, &cells, scratch));
        let content = content_hash(envelope, &cells, rest.as_deref(), scratch);
        let partition = partition_of(topic, schema, &cells, scratch);
        Self { rules, record, cells, rest, id, content, partition }
    }

    pub(crate) fn event_type(&self) -> &'a str {
        &self.rules.topic.schema.records[self.record].event_type
    }

    /// Whose event it is, if its schema says so.
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.rules.envelope.tenant.map(|_| text(&self.cells, self.rules.envelope.tenant))
    }
}

impl<'a> Draft<'a> {
    /// Reads a line; of `table` when it is a row of a table without envelope.
    pub(crate) fn read(
        line: u64,
        bytes: &'a [u8],
        rules: &'a Rules,
        table: Option<TopicId>,
        now: i64,
        scratch: &mut Scratch,
    ) -> Self {
        let mut event_type = None;
        let (raw, decoded) = match str::from_utf8(bytes) {
            _ if bytes.len() > EVENT_BYTES_MAX => {
                let message = format!("an event of {} bytes is larger than {EVENT_BYTES_MAX}: send less", bytes.len());
                (String::from_utf8_lossy(bytes), Err(BadInput::whole(Reason::TooLarge, message)))
            }
            Ok(text) => (Cow::Borrowed(text), Self::decode(text, &mut event_type, rules, table, now, scratch)),
            Err(_) => {
                let message = "not UTF-8: send JSON as UTF-8";
                (String::from_utf8_lossy(bytes), Err(BadInput::whole(Reason::MalformedJson, message)))
            }
        };
        Draft { line, raw, event_type, decoded }
    }

    /// Those of a line that was something else than an event. When one is bad all are, as the line says them together.
    pub(crate) fn of_line(
        line: u64,
        bytes: &'a [u8],
        events: &'a [String],
        rules: &'a Rules,
        table: Option<TopicId>,
        now: i64,
        scratch: &mut Scratch,
    ) -> Vec<Self> {
        let mut read = |event: &'a String| Self::read(line, event.as_bytes(), rules, table, now, scratch);
        let drafts: Vec<Self> = events.iter().map(&mut read).collect();
        // Where in the event it is says nothing about where in the line.
        match drafts.iter().find_map(|draft| draft.decoded.as_ref().err().cloned()) {
            Some(bad) => vec![Self::bad(line, bytes, BadInput { position: None, ..bad })],
            None => drafts,
        }
    }

    /// A line that cannot be read.
    pub(crate) fn bad(line: u64, bytes: &'a [u8], bad: BadInput) -> Self {
        Self { line, raw: String::from_utf8_lossy(bytes), event_type: None, decoded: Err(bad) }
    }

    fn decode(
        line: &'a str,
        event_type: &mut Option<Cow<'a, str>>,
        rules: &'a Rules,
        table: Option<TopicId>,
        now: i64,
        scratch: &mut Scratch,
    ) -> Result<Decoded<'a>, BadInput> {
        split_event(line).and_then(|event| {
            let (rules, record) = match table.and_then(|table| rules.topic(table)) {
                Some(rules) => (rules, 0),
                None => {
                    *event_type = event.string("event_type");
                    find_record(rules, event_type.as_deref())?
                }
            };
            let schema = &rules.topic.schema;
            let (mut cells, rest) = decode_event(&event, schema, &schema.records[record], &rules.computed)?;
            check_times(&rules.topic, rules.envelope, &mut cells, now)?;
            Ok(Decoded::of(rules, record, cells, rest, scratch))
        })
    }
}

fn find_record<'r>(rules: &'r Rules, event_type: Option<&str>) -> Result<(&'r TopicRules, usize), BadInput> {
    let Some(event_type) = event_type else {
        let message = "field 'event_type' is missing: it says what the event is";
        return Err(BadInput::field(Reason::MissingField, "event_type", message));
    };
    rules.record(event_type).ok_or_else(|| {
        let known: Vec<&str> = rules.event_types().collect();
        let message = format!("no schema has event type '{event_type}': known are {}", known.join(", "));
        BadInput::field(Reason::UnknownEventType, "event_type", message)
    })
}

/// What is to be appended.
pub(crate) struct Outbox<'t> {
    source: &'t str,
    now: i64,
    rows: BTreeMap<(TopicId, PartitionId), (&'t TopicRules, RowsBuilder)>,
    dead: RowsBuilder,
    receipt: Receipt,
}

impl<'t> Outbox<'t> {
    pub(crate) fn new(source: &'t str, now: i64) -> Self {
        let dead = RowsBuilder::new(SystemTopic::DeadLetters.definition().schema);
        Self { source, now, rows: BTreeMap::new(), dead, receipt: Receipt::default() }
    }

    /// Decides about an event; `memory` is the door's as of the events before it.
    ///
    /// # Errors
    /// When the memory cannot be asked. A bad event is no error: it becomes a dead letter.
    pub(crate) fn decide(&mut self, draft: Draft<'t>, memory: &mut Memory) -> Result<(), DoorError> {
        let Draft { line, raw, event_type, decoded } = draft;
        let verdict = match decoded {
            Ok(event) => judge(event, memory)?,
            Err(bad) => Verdict::Refused(bad),
        };
        match verdict {
            Verdict::Accepted(event) => self.accept(event),
            Verdict::Duplicate => self.receipt.duplicates += 1,
            Verdict::Refused(bad) => self.refuse(line, &raw, event_type.as_deref(), bad),
        }
        Ok(())
    }

    fn accept(&mut self, decoded: Decoded<'t>) {
        let Decoded { rules, record, mut cells, rest, id, content, partition } = decoded;
        if let (Some(id), Some(column)) = (id, rules.envelope.event_id) {
            let mut text = Uuid::encode_buffer();
            cells[column] = Cell::Text(Cow::Owned(id.hyphenated().encode_lower(&mut text).to_owned()));
        }
        let (_, rows) = self
            .rows
            .entry((rules.topic.id, partition))
            .or_insert_with(|| (rules, RowsBuilder::new(Arc::clone(&rules.topic.schema))));
        rows.append(&cells, rest.as_deref(), content);
        let event_type = &rules.topic.schema.records[record].event_type;
        match self.receipt.accepted.get_mut(event_type) {
            Some(count) => *count += 1,
            None => {
                self.receipt.accepted.insert(event_type.clone(), 1);
            }
        }
    }

    pub(crate) fn refuse(&mut self, line: u64, raw: &str, event_type: Option<&str>, mut bad: BadInput) {
        if let (None, Some(field)) = (bad.position, &bad.field) {
            bad.position = split_event(raw).ok().and_then(|event| event.position_of(field));
        }
        fn text(value: Option<&str>) -> Cell<'_> {
            value.map_or(Cell::Null, |value| Cell::Text(Cow::Borrowed(value)))
        }
        let position = bad.position.and_then(|position| i64::try_from(position).ok());
        let cells = [
            Cell::Time(self.now),
            text(Some(bad.reason.code())),
            text(Some(&bad.message)),
            text(Some(self.source)),
            Cell::Integer(i64::try_from(line).unwrap_or(i64::MAX)),
            position.map_or(Cell::Null, Cell::Integer),
            text(bad.field.as_deref()),
            text(event_type),
            Cell::Null,
            text(Some(raw)),
        ];
        self.dead.append(&cells, None, hash_key(raw.as_bytes()));
        self.receipt.refused.push(Refused { line, bad });
    }

    /// What became of the events, and the frames to append.
    pub(crate) fn finish(mut self) -> Result<(Receipt, Append), DoorError> {
        let mut frames = Vec::new();
        for (&(_, partition), (rules, rows)) in &mut self.rows {
            frames.push(frame(&rules.topic, partition, rows)?);
        }
        if !self.dead.is_empty() {
            frames.push(frame(&SystemTopic::DeadLetters.definition(), PartitionId(0), &mut self.dead)?);
        }
        Ok((self.receipt, Append { frames }))
    }
}

/// What becomes of an event.
pub(crate) enum Verdict<'a> {
    Accepted(Decoded<'a>),
    Duplicate,
    Refused(BadInput),
}

/// Decides about a good event, and remembers it when it is accepted.
pub(crate) fn judge<'a>(event: Decoded<'a>, memory: &mut Memory) -> Result<Verdict<'a>, DoorError> {
    if let Some(unknown) = unknown_reference(&event, memory)? {
        return Ok(Verdict::Refused(unknown));
    }
    if let Some(bad) = missing_id(&event) {
        return Ok(Verdict::Refused(bad));
    }
    if let (Some(id), Some(column)) = (event.id, event.rules.envelope.event_id) {
        if let Err(bad) = check_given_id(&event.cells[column], id) {
            return Ok(Verdict::Refused(bad));
        }
        match memory.content_of(id.as_bytes())? {
            Some(before) if before == event.content => return Ok(Verdict::Duplicate),
            Some(_) => {
                let message = format!(
                    "event {id} was accepted before with other content: \
                     to say something else, use another idempotency key"
                );
                return Ok(Verdict::Refused(BadInput::whole(Reason::IdConflict, message)));
            }
            None => memory.remember_id(*id.as_bytes(), event.content),
        }
    }
    for pointed_at in &event.rules.pointed_at {
        let tenant = text(&event.cells, event.rules.envelope.tenant);
        memory.remember_value(&pointed_at.kept_under, tenant, &event.cells[pointed_at.column]);
    }
    Ok(Verdict::Accepted(event))
}

fn frame(topic: &TopicDef, partition: PartitionId, rows: &mut RowsBuilder) -> Result<FrameToAppend, DoorError> {
    let rows = rows
        .finish()
        .map_err(|error| DoorError::Rows { topic: topic.name().to_owned(), message: error.to_string() })?;
    let event_times = event_times(&rows);
    Ok(FrameToAppend { topic: topic.id, partition, schema: topic.schema_id, event_times, rows })
}

/// The least and greatest `occurred_at`.
fn event_times(rows: &RecordBatch) -> Option<(EventTime, EventTime)> {
    let column = rows.column_by_name("occurred_at")?.as_any().downcast_ref::<TimestampNanosecondArray>()?;
    let values = || (0..column.len()).filter(|&row| column.is_valid(row)).map(|row| column.value(row));
    Some((EventTime(values().min()?), EventTime(values().max()?)))
}

/// An id that nothing makes has to be given, where the schema wants one.
fn missing_id(event: &Decoded<'_>) -> Option<BadInput> {
    let column = event.rules.envelope.event_id?;
    let is_missing = event.id.is_none() && event.cells[column] == Cell::Null;
    if !is_missing || event.rules.topic.schema.columns[column].nullable {
        return None;
    }
    let message = "field 'event_id' is missing: nothing else says which event this is";
    Some(BadInput::field(Reason::MissingField, "event_id", message))
}

fn check_given_id(given: &Cell<'_>, computed: Uuid) -> Result<(), BadInput> {
    match given {
        Cell::Text(given) if Uuid::parse_str(given).ok() != Some(computed) => {
            let message = format!(
                "event_id {given} is not the one that the idempotency key makes, {computed}: leave it out and it is computed"
            );
            Err(BadInput::field(Reason::EventIdMismatch, "event_id", message))
        }
        _ => Ok(()),
    }
}

/// What is wrong with the first field whose value is not known where it must be.
fn unknown_reference(event: &Decoded<'_>, memory: &mut Memory) -> Result<Option<BadInput>, DoorError> {
    let rules = event.rules;
    for field in &rules.references[event.record] {
        let cell = &event.cells[field.column];
        let known = match &field.kept_under {
            _ if *cell == Cell::Null => true,
            Some(kept_under) => memory.knows_value(kept_under, text(&event.cells, rules.envelope.tenant), cell)?,
            None => false,
        };
        if !known {
            let mut value = String::new();
            push_plain(&mut value, cell);
            let (name, reference) = (&rules.topic.schema.columns[field.column].name, &field.reference);
            let message = format!(
                "field '{name}': no event of topic '{}' has {} '{value}': append that first, then send this again",
                reference.topic, reference.column
            );
            return Ok(Some(BadInput::field(Reason::UnknownReference, name, message)));
        }
    }
    Ok(None)
}
