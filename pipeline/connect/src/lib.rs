//! Sources and sinks outside the log: positions, clients, delivery.
//!
//! A [`Source`] gives bytes and the position after them; a [`Sink`] takes lines. What the bytes mean is `codec`'s business:
//! this crate must not know formats or SQL.

mod file;
mod lines;

pub use file::{FileSink, FileSource};
pub use lines::LineSink;

/// A connector failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file could not be used.
    #[error("cannot {operation} {path}: {source}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what it was when it was last read.
    #[error(
        "{path} is {len} bytes long, but {position} were read before: it was cut or replaced\n  hint: use another data directory to read it anew"
    )]
    Shrunk {
        /// The file.
        path: String,
        /// Its length now.
        len: u64,
        /// How far it was read.
        position: u64,
    },
    /// Lines could not be written.
    #[error("cannot write to {target}: {source}")]
    Write {
        /// Where to.
        target: String,
        /// What the system said.
        source: std::io::Error,
    },
}

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

/// Where rows go.
///
/// # Contract
///
/// - `write` gets the lines of one epoch, and may be called once for each.
/// - `finish` makes them durable, as far as the place knows that word.
pub trait Sink: Send {
    /// Takes lines, each with its newline.
    ///
    /// # Errors
    /// When the place does not take them.
    fn write(&mut self, lines: &str) -> Result<(), ConnectError>;

    /// No more lines come.
    ///
    /// # Errors
    /// When what was written could not be made durable.
    fn finish(&mut self) -> Result<(), ConnectError>;

    /// Makes what was written durable and says how far that is, in bytes: where a later run can go on. `None` for a place
    /// that cannot take back what came after.
    ///
    /// # Errors
    /// As for [`Sink::finish`].
    fn position(&mut self) -> Result<Option<u64>, ConnectError>;
}
