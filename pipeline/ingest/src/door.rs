//! [`Door`]: decisions are made under one lock, in the order in which appends take their places in the log.

use crate::accept::{Draft, Outbox};
use crate::error::DoorError;
use crate::memory::Memory;
use crate::receipt::Receipt;
use chalk_catalog::TopicId;
use chalk_log::{Append, Appended, EventLog, LogError, Pending};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// One submit may have this many bytes; a client sends more in several.
pub(crate) const SUBMIT_BYTES_MAX: usize = 32 << 20;
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
