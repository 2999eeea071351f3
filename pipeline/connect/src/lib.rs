//! Sources and sinks outside the log: positions, clients, delivery.
//!
//! A [`Source`] gives bytes and the position after them; a [`Sink`] takes lines, each exactly once. What the bytes mean is `codec`'s
//! business: this crate must not know formats or SQL.

mod directory;
mod error;
mod file_sink;
mod file_source;
mod lines;
mod sink;

pub use directory::DirectorySink;
pub use error::ConnectError;
pub use file_sink::FileSink;
pub use file_source::FileSource;
pub use lines::Lines;
pub use sink::{Recovered, STATE_BYTES_MAX, Sink};

/// Bytes and the position after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Whole lines.
    pub bytes: Vec<u8>,
    /// Where the next chunk begins, in bytes.
    pub position: u64,
    /// How many lines these are.
    pub lines: u64,
}

/// Where rows come from.
///
/// # Contract
///
/// - `next` gives whole lines in order, and `None` at the end of a bounded source.
/// - A source that is opened at a chunk's position goes on with the chunk that follows it: nothing is skipped, nothing is given
///   twice.
pub trait Source: Send {
    /// The next lines.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn next(&mut self) -> Result<Option<Chunk>, ConnectError>;
}
