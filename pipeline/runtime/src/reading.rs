//! Reading sources outside the log: each on a thread of its own, which appends what it polls and where that ends.
//!
//! ```text
//! poll ─chunk─▶ door ─▶ rows of the table's topic, dead letters, "read up to here": one commit
//! ```
//!
//! While one chunk becomes durable the next is polled. How far a source is stands in the journal under its table's name; of a source
//! with partitions, under `table/partition` for each.

use crate::error::RuntimeError;
use crate::reached::Reached;
use crate::stats::Stats;
use chalk_catalog::{ControlEvent, Journal};
use chalk_connect::{Chunk, Place, Polled, Source};
use chalk_ingest::{Door, Rows, Submitted};
use chalk_log::Append;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// So long a poll waits, and so long a reader takes to notice that it is to stop.
const POLL: Duration = Duration::from_millis(100);
/// While a chunk becomes durable, the next is worth so much of a wait, and no more: somebody may wait to hear of the first.
const POLL_MEANWHILE: Duration = Duration::from_millis(1);

const DRAIN: u8 = 1;
const STOP: u8 = 2;

/// What readers are to do: go on, at first. Once they are to stop, nothing else counts.
#[derive(Debug, Default)]
pub(crate) struct Wish(AtomicU8);

impl Wish {
    /// Read what there is now, and end.
    pub(crate) fn drain(&self) {
        self.0.fetch_max(DRAIN, Ordering::Relaxed);
    }

    /// End after the chunk at hand.
    pub(crate) fn stop(&self) {
        self.0.fetch_max(STOP, Ordering::Relaxed);
    }

    fn now(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How far a source without partitions is.
pub(crate) fn place(journal: &Journal, table: &str) -> Place {
    let read = journal.sources.get(table);
    read.map_or(Place::default(), |read| Place { position: read.position, records: read.lines })
}

/// How far a source with partitions is, by partition.
pub(crate) fn places(journal: &Journal, table: &str) -> BTreeMap<u32, Place> {
    let of_table = journal.sources.iter().filter_map(|(name, read)| {
        let partition = name.strip_prefix(table)?.strip_prefix('/')?.parse().ok()?;
        Some((partition, Place { position: read.position, records: read.lines }))
    });
    of_table.collect()
}

/// What a source's lines are.
pub(crate) enum Lines {
    /// Rows of its table.
    Rows(Rows),
    /// Events, that say themselves of which topic they are; whoever has brought them there waits until they are here.
    Events(Arc<Reached>),
}

/// Reads a source into its table's topic.
pub(crate) struct Reader {
    pub(crate) source: Box<dyn Source>,
    pub(crate) table: String,
    /// How far the source's partitions are; `None` when it has none.
    pub(crate) partitions: Option<BTreeMap<u32, Place>>,
    pub(crate) lines: Lines,
    pub(crate) door: Arc<Door>,
    pub(crate) stats: Arc<Stats>,
}

impl Reader {
    /// Until the source ends, or is to.
    ///
    /// # Errors
    /// When the source or the log fails. What was appended stays.
    pub(crate) fn run(mut self, wish: &Wish) -> Result<(), RuntimeError> {
        let mut pending: Option<OnItsWay> = None;
        let mut draining = false;
        loop {
            match wish.now() {
                STOP => break,
                DRAIN if !draining => {
                    self.source.drain()?;
                    draining = true;
                }
                _ => {}
            }
            let polled = self.source.poll(if pending.is_some() { POLL_MEANWHILE } else { POLL })?;
            self.stats.source(&self.table, self.source.health());
            let submitted = match polled {
                Polled::Chunk(chunk) => {
                    let submitted = self.append(&chunk)?;
                    Some(OnItsWay { submitted, partition: chunk.partition, position: chunk.position })
                }
                Polled::Nothing => None,
                Polled::End => break,
            };
            if let Some(before) = std::mem::replace(&mut pending, submitted) {
                self.settle(before)?;
            }
        }
        if let Some(last) = pending {
            self.settle(last)?;
        }
        Ok(())
    }

    /// A chunk, and in the same commit where it ends.
    fn append(&mut self, chunk: &Chunk) -> Result<Submitted, RuntimeError> {
        let (table, lines) = match &mut self.partitions {
            None => (self.table.clone(), chunk.first - 1 + chunk.records),
            Some(partitions) => {
                let place = partitions.entry(chunk.partition).or_default();
                place.records += chunk.records;
                (format!("{}/{}", self.table, chunk.partition), place.records)
            }
        };
        let read = ControlEvent::SourceRead { table: table.clone(), position: chunk.position, lines };
        let with = Append { frames: vec![self.door.log().control_frame(&read)?] };
        Ok(match &self.lines {
            Lines::Rows(rows) => {
                let rows = Rows { first_line: chunk.first, ..rows.clone() };
                self.door.submit_rows(&table, &chunk.bytes, &rows, with)?
            }
            Lines::Events(_) => self.door.submit_from(&table, chunk.first, &chunk.bytes, &with)?,
        })
    }

    /// Waits until a chunk is durable.
    fn settle(&self, chunk: OnItsWay) -> Result<(), RuntimeError> {
        let receipt = chunk.submitted.wait()?;
        self.stats.dropped.fetch_add(receipt.dropped, Ordering::Relaxed);
        if let Lines::Events(reached) = &self.lines {
            reached.set(chunk.partition, chunk.position);
        }
        Ok(())
    }
}

/// A chunk that is being made durable.
struct OnItsWay {
    submitted: Submitted,
    partition: u32,
    position: u64,
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Lines::Events(reached) = &self.lines {
            reached.end();
        }
    }
}

#[cfg(test)]
mod tests;
