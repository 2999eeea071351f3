//! Deciding about one event after the other, and collecting what is to be appended.

use crate::error::DoorError;
use crate::identity::{Envelope, content_hash, id_of, plain, text};
use crate::memory::{Memory, reference_key};
use crate::receipt::{Receipt, Refused};
use crate::times::check_times;
use arrow::array::{Array, RecordBatch, TimestampNanosecondArray};
use chalk_catalog::{RecordSchema, SystemTopic, TopicDef, TopicId, Topics};
use chalk_codec::{BadInput, Cell, Reason, RowsBuilder, decode_event, split_event};
use chalk_event::{EventTime, PartitionId, hash_key};
use chalk_log::{Append, FrameToAppend};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One event may have this many bytes.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// An event as far as it can be judged alone.
pub(crate) struct Draft<'a> {
    pub(crate) line: u64,
    pub(crate) raw: Cow<'a, str>,
    pub(crate) event_type: Option<String>,
    pub(crate) decoded: Result<Decoded<'a>, BadInput>,
}

/// An event whose fields are good.
pub(crate) struct Decoded<'a> {
    pub(crate) topic: TopicId,
    pub(crate) record: usize,
    pub(crate) cells: Vec<Cell<'a>>,
    pub(crate) rest: Option<String>,
}

impl<'a> Draft<'a> {
    /// Reads a line; of `table` when it is a row of a table without envelope.
    pub(crate) fn read(line: u64, bytes: &'a [u8], topics: &Topics, table: Option<TopicId>, now: i64) -> Self {
        let raw = String::from_utf8_lossy(bytes);
        let mut draft = Draft { line, raw: Cow::Borrowed(""), event_type: None, decoded: Err(not_utf8()) };
        if bytes.len() > EVENT_BYTES_MAX {
            let message = format!("an event of {} bytes is larger than {EVENT_BYTES_MAX}: send less", bytes.len());
            draft.decoded = Err(BadInput::whole(Reason::TooLarge, message));
        } else if let Ok(text) = str::from_utf8(bytes) {
            draft.decode(text, topics, table, now);
        }
        draft.raw = raw;
        draft
    }

    fn decode(&mut self, line: &'a str, topics: &Topics, table: Option<TopicId>, now: i64) {
        self.decoded = split_event(line).and_then(|event| {
            let (topic, record) = match table.and_then(|table| topics.by_id(table)) {
                Some(topic) => (topic, 0),
                None => {
                    let event_type = event.string("event_type");
                    self.event_type = event_type.as_deref().map(str::to_owned);
                    find_record(topics, event_type.as_deref())?
                }
            };
            let envelope = Envelope::of(&topic.schema);
            let schema = &topic.schema;
            let (mut cells, rest) = decode_event(&event, schema, &schema.records[record], &envelope.computed())?;
            check_times(topic, envelope, &mut cells, now)?;
            Ok(Decoded { topic: topic.id, record, cells, rest })
        });
    }
}

fn not_utf8() -> BadInput {
    BadInput::whole(Reason::MalformedJson, "not UTF-8: send JSON as UTF-8")
}

fn find_record<'t>(topics: &'t Topics, event_type: Option<&str>) -> Result<(&'t TopicDef, usize), BadInput> {
    let Some(event_type) = event_type else {
        let message = "field 'event_type' is missing: it says what the event is";
        return Err(BadInput::field(Reason::MissingField, "event_type", message));
    };
    let place = |topic: &'t TopicDef| {
        topic.schema.column_index("event_type")?;
        let number = topic.schema.records.iter().position(|record| record.event_type == event_type)?;
        Some((topic, number))
    };
    topics.user().find_map(place).ok_or_else(|| {
        let known: Vec<&str> = topics
            .user()
            .filter(|topic| topic.schema.column_index("event_type").is_some())
            .flat_map(|topic| &topic.schema.records)
            .map(|record| record.event_type.as_str())
            .collect();
        let message = format!("no schema has event type '{event_type}': known are {}", known.join(", "));
        BadInput::field(Reason::UnknownEventType, "event_type", message)
    })
}

/// Where a decided event goes.
enum Verdict {
    Accepted,
    Duplicate,
}

/// What is to be appended.
pub(crate) struct Outbox<'t> {
    topics: &'t Topics,
    source: &'t str,
    now: i64,
    rows: BTreeMap<(TopicId, PartitionId), RowsBuilder>,
    dead: RowsBuilder,
    receipt: Receipt,
}

impl<'t> Outbox<'t> {
    pub(crate) fn new(topics: &'t Topics, source: &'t str, now: i64) -> Self {
        let dead = RowsBuilder::new(SystemTopic::DeadLetters.definition().schema);
        Self { topics, source, now, rows: BTreeMap::new(), dead, receipt: Receipt::default() }
    }

    /// Decides about an event; `memory` is the door's as of the events before it.
    pub(crate) fn decide(&mut self, draft: Draft<'_>, memory: &mut Memory) {
        let Draft { line, raw, event_type, decoded } = draft;
        let decided = decoded.and_then(|mut decoded| self.place(&mut decoded, memory));
        match decided {
            Ok(Verdict::Accepted) => {}
            Ok(Verdict::Duplicate) => self.receipt.duplicates += 1,
            Err(bad) => self.refuse(line, &raw, event_type.as_deref(), bad),
        }
    }

    fn place(&mut self, decoded: &mut Decoded<'_>, memory: &mut Memory) -> Result<Verdict, BadInput> {
        let Some(topic) = self.topics.by_id(decoded.topic) else {
            return Err(BadInput::whole(Reason::UnknownEventType, "its topic is gone"));
        };
        let record = &topic.schema.records[decoded.record];
        let envelope = Envelope::of(&topic.schema);
        check_references(topic, record, envelope, &decoded.cells, memory)?;
        let content = content_hash(envelope, &decoded.cells, decoded.rest.as_deref());
        if let (Some(id), Some(column)) = (id_of(record, envelope, &decoded.cells), envelope.event_id) {
            check_given_id(&decoded.cells[column], id)?;
            match memory.seen.get(id.as_bytes()) {
                Some(&before) if before == content => return Ok(Verdict::Duplicate),
                Some(_) => {
                    let message = format!(
                        "event {id} was accepted before with other content: \
                         to say something else, use another idempotency key"
                    );
                    return Err(BadInput::whole(Reason::IdConflict, message));
                }
                None => memory.seen.insert(*id.as_bytes(), content),
            };
            decoded.cells[column] = Cell::Text(Cow::Owned(id.to_string()));
        }
        memory.accept(topic, envelope, &decoded.cells);
        let partition = partition_of(topic, record, &decoded.cells);
        self.rows.entry((topic.id, partition)).or_insert_with(|| RowsBuilder::new(Arc::clone(&topic.schema))).append(
            &decoded.cells,
            decoded.rest.as_deref(),
            content,
        );
        match self.receipt.accepted.get_mut(&record.event_type) {
            Some(count) => *count += 1,
            None => {
                self.receipt.accepted.insert(record.event_type.clone(), 1);
            }
        }
        Ok(Verdict::Accepted)
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
        for ((topic, partition), mut rows) in self.rows {
            if let Some(topic) = self.topics.by_id(topic) {
                frames.push(frame(topic, partition, &mut rows)?);
            }
        }
        if !self.dead.is_empty() {
            frames.push(frame(&SystemTopic::DeadLetters.definition(), PartitionId(0), &mut self.dead)?);
        }
        Ok((self.receipt, Append { frames }))
    }
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

/// The partition of an event's key; events without one go to the first.
fn partition_of(topic: &TopicDef, record: &RecordSchema, cells: &[Cell<'_>]) -> PartitionId {
    if record.key.is_empty() || topic.partitions == 1 {
        return PartitionId(0);
    }
    let key: Vec<String> = record.key.iter().map(|&column| plain(&cells[column])).collect();
    let hash = hash_key(key.join("\0").as_bytes());
    PartitionId((hash % u64::from(topic.partitions)) as u16)
}

fn check_given_id(given: &Cell<'_>, computed: uuid::Uuid) -> Result<(), BadInput> {
    match given {
        Cell::Text(given) if uuid::Uuid::parse_str(given).ok() != Some(computed) => {
            let message = format!(
                "event_id {given} is not the one that the idempotency key makes, {computed}: leave it out and it is computed"
            );
            Err(BadInput::field(Reason::EventIdMismatch, "event_id", message))
        }
        _ => Ok(()),
    }
}

fn check_references(
    topic: &TopicDef,
    record: &RecordSchema,
    envelope: Envelope,
    cells: &[Cell<'_>],
    memory: &Memory,
) -> Result<(), BadInput> {
    for field in &record.fields {
        let Some(reference) = &field.references else { continue };
        if cells[field.column] == Cell::Null {
            continue;
        }
        let value = plain(&cells[field.column]);
        let known = memory.known.get(reference);
        if !known.is_some_and(|known| known.contains(&reference_key(text(cells, envelope.tenant), &value))) {
            let name = &topic.schema.columns[field.column].name;
            let message = format!(
                "field '{name}': no event of topic '{}' has {} '{value}': append that first, then send this again",
                reference.topic, reference.column
            );
            return Err(BadInput::field(Reason::UnknownReference, name, message));
        }
    }
    Ok(())
}
