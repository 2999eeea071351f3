//! [`Door`]: decisions are made under one lock, in the order in which appends take their places in the log.

use crate::accept::{Draft, Outbox};
use crate::identity::{Envelope, plain, text};
use chalk_catalog::{Reference, TopicDef, TopicId, Topics};
use chalk_codec::{BadInput, Cell, Reason};
use chalk_event::{CommitSeq, NANOS_PER_SECOND};
use chalk_log::{Append, Appended, EventLog, LogError, Pending};
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// One event may have this many bytes.
pub(crate) const EVENT_BYTES_MAX: usize = 1 << 20;
/// One submit may have this many bytes; a client sends more in several.
pub(crate) const SUBMIT_BYTES_MAX: usize = 32 << 20;
/// Times before 2000-01-01 are no device's, but a dead battery's.
const OCCURRED_MIN: i64 = 946_684_800 * NANOS_PER_SECOND;
/// A device clock may be this much ahead of the server's.
const AHEAD_MAX: i64 = 7 * 86_400 * NANOS_PER_SECOND;
/// Other times may lie between 1970 and 2200.
const TIME_MAX: i64 = 7_258_118_400 * NANOS_PER_SECOND;
/// A given `received_at` may be this much ahead of the door's clock.
const RECEIVED_AHEAD_MAX: i64 = 300 * NANOS_PER_SECOND;

/// The door cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Arrow refused rows that the door had checked.
    #[error("cannot store rows of topic '{topic}': {message}")]
    Rows {
        /// The topic.
        topic: String,
        /// What Arrow said.
        message: String,
    },
    /// Too much at once.
    #[error("{bytes} bytes at once are more than the {limit} that one append takes: send less at once")]
    TooMuch {
        /// How many were sent.
        bytes: usize,
        /// How many may be.
        limit: usize,
    },
    /// A derived row was not an insert.
    #[error(
        "topic '{topic}' holds events, which cannot be retracted, but the query that fills it retracts rows\n  \
         hint: make the query a materialised view, or aggregate over a window"
    )]
    Retraction {
        /// The topic.
        topic: String,
    },
    /// The query that fills a topic does not give what an event needs.
    #[error("topic '{topic}': {message}")]
    Shape {
        /// The topic.
        topic: String,
        /// What is missing.
        message: String,
    },
}

/// One refused event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its line in what was submitted, counted from 1.
    pub line: u64,
    /// Why.
    pub bad: BadInput,
}

/// What became of the events of one submit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// How many were accepted, by event type.
    pub accepted: BTreeMap<String, u64>,
    /// How many had been accepted before, with the same content.
    pub duplicates: u64,
    /// Those refused; they are in `dead_letters`.
    pub refused: Vec<Refused>,
    /// The commit that made the events durable, once it did.
    pub commit: CommitSeq,
}

impl Receipt {
    /// How many were accepted.
    #[must_use]
    pub fn accepted_total(&self) -> u64 {
        self.accepted.values().sum()
    }
}

/// Decided, and in its place in the log's order; await it for durability.
#[derive(Debug)]
pub struct Submitted {
    receipt: Option<Receipt>,
    pending: Pending,
}

impl Submitted {
    /// Waits on the calling thread, which must not be one that runs async tasks.
    ///
    /// # Errors
    /// When the events did not become durable.
    pub fn wait(self) -> Result<Receipt, LogError> {
        let appended = self.pending.wait()?;
        Ok(Receipt { commit: appended.commit_seq, ..self.receipt.unwrap_or_default() })
    }
}

impl Future for Submitted {
    type Output = Result<Receipt, LogError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.pending).poll(context).map(|answer: Result<Appended, LogError>| {
            let appended = answer?;
            Ok(Receipt { commit: appended.commit_seq, ..self.receipt.take().unwrap_or_default() })
        })
    }
}

/// Reads the time, in nanoseconds since the Unix epoch.
type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The one way into a log.
pub struct Door {
    log: Arc<dyn EventLog>,
    clock: Clock,
    memory: Mutex<Memory>,
}

/// What the door remembers of accepted events.
#[derive(Default)]
pub(crate) struct Memory {
    /// Content hash by event id.
    pub(crate) seen: HashMap<[u8; 16], u64>,
    /// Values that references may point at, as `tenant NUL value`.
    pub(crate) known: HashMap<Reference, HashSet<Box<str>>>,
}

impl Memory {
    pub(crate) fn track(&mut self, topics: &Topics) {
        let records = topics.user().flat_map(|topic| &topic.schema.records);
        for reference in records.flat_map(|record| &record.fields).filter_map(|field| field.references.as_ref()) {
            self.known.entry_ref(reference).or_default();
        }
    }

    /// Remembers an accepted event.
    pub(crate) fn accept(&mut self, topic: &TopicDef, envelope: Envelope, cells: &[Cell<'_>]) {
        for (reference, values) in &mut self.known {
            if reference.topic == topic.name()
                && let Some(column) = topic.schema.column_index(&reference.column)
            {
                values.insert(reference_key(text(cells, envelope.tenant), &plain(&cells[column])));
            }
        }
    }
}

pub(crate) fn reference_key(tenant: &str, value: &str) -> Box<str> {
    format!("{tenant}\0{value}").into()
}

impl Door {
    /// Opens the door of a log: rebuilds from it what was accepted.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn open(log: Arc<dyn EventLog>, clock: Arc<dyn Fn() -> i64 + Send + Sync>) -> Result<Self, DoorError> {
        let memory = crate::rebuild::memory_of(&*log)?;
        Ok(Self { log, clock, memory: Mutex::new(memory) })
    }

    /// The log behind the door.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.log
    }

    pub(crate) fn now(&self) -> i64 {
        (self.clock)()
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes events as JSON, one object a line; empty lines are skipped. `source` says in dead letters who brought them.
    ///
    /// All of it is appended at once. Blocks while the log's queue is full: never call it on an async task's thread.
    ///
    /// # Errors
    /// When it is too much at once, or the log does not take it. Bad events are no error: they are in the receipt.
    pub fn submit(&self, source: &str, text: &[u8]) -> Result<Submitted, DoorError> {
        self.submit_with(source, text, None, Append::default())
    }

    /// As [`Door::submit`], for the lines of a table without envelope: every line is an event of `topic`, numbered from
    /// `first_line`; `with` is appended in the same commit.
    ///
    /// # Errors
    /// As for [`Door::submit`].
    pub fn submit_rows(
        &self,
        source: &str,
        text: &[u8],
        topic: TopicId,
        first_line: u64,
        with: Append,
    ) -> Result<Submitted, DoorError> {
        self.submit_with(source, text, Some((topic, first_line)), with)
    }

    fn submit_with(
        &self,
        source: &str,
        text: &[u8],
        table: Option<(TopicId, u64)>,
        with: Append,
    ) -> Result<Submitted, DoorError> {
        if text.len() > SUBMIT_BYTES_MAX {
            return Err(DoorError::TooMuch { bytes: text.len(), limit: SUBMIT_BYTES_MAX });
        }
        let (topics, now) = (self.log.topics(), self.now());
        let first_line = table.map_or(1, |(_, first_line)| first_line);
        // Decoding needs no lock: it is most of the work.
        let drafts: Vec<Draft<'_>> = (first_line..)
            .zip(text.split(|&byte| byte == b'\n'))
            .filter(|(_, line)| !line.trim_ascii().is_empty())
            .map(|(number, line)| Draft::read(number, line, &topics, table.map(|(topic, _)| topic), now))
            .collect();
        let mut outbox = Outbox::new(&topics, source, now);
        let mut memory = self.memory();
        for draft in drafts {
            outbox.decide(draft, &mut memory);
        }
        let (receipt, mut append) = outbox.finish()?;
        append.frames.extend(with.frames);
        // Still under the lock: decisions and places are in one order, and whoever is told "duplicate" waits for the first.
        let pending = self.log.append(append)?;
        drop(memory);
        Ok(Submitted { receipt: Some(receipt), pending })
    }
}

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
