//! Sources of one partition whose rows can be had at any time.

use crate::{Chunk, ConnectError, Place, Polled, Source, SourceHealth};
use std::time::Duration;

/// Lines and the position after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineChunk {
    /// Whole lines; none when there is none yet.
    pub bytes: Vec<u8>,
    /// Where the next chunk begins, in bytes; or what else the source goes by.
    pub position: u64,
    /// How many lines these are.
    pub lines: u64,
}

/// Lines in order: what a [`Source`] without partitions can be made of ([`InOrder`]).
///
/// # Contract
///
/// - `next` gives whole lines in order, and `None` at the end. A chunk without lines says that there is none yet; `next` waits a little for
///   one, not long.
/// - What is opened at a chunk's position, told how many lines came before, goes on with the chunk that follows it: nothing is skipped,
///   nothing is given twice.
pub trait LineSource: Send {
    /// The next lines.
    ///
    /// # Errors
    /// When they cannot be read.
    fn next(&mut self) -> Result<Option<LineChunk>, ConnectError>;
}

/// A source of lines in order.
#[derive(Debug)]
pub struct InOrder<S> {
    lines: S,
    records: u64,
    health: SourceHealth,
}

impl<S: LineSource> InOrder<S> {
    /// Goes on where a chunk ended.
    pub fn new(lines: S, place: Place) -> Self {
        Self { lines, records: place.records, health: SourceHealth::default() }
    }
}

impl<S: LineSource> Source for InOrder<S> {
    fn poll(&mut self, _: Duration) -> Result<Polled, ConnectError> {
        let Some(LineChunk { bytes, position, lines }) = self.lines.next()? else { return Ok(Polled::End) };
        if lines == 0 {
            return Ok(Polled::Nothing);
        }
        let first = self.records + 1;
        self.records += lines;
        self.health.records += lines;
        Ok(Polled::Chunk(Chunk { partition: 0, bytes, first, records: lines, position }))
    }

    fn drain(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }

    fn health(&self) -> SourceHealth {
        self.health.clone()
    }
}
