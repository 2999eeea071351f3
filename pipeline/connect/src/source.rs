//! The protocol of sources.

use crate::ConnectError;
use std::time::Duration;

/// A chunk is about this large: enough to make one append worth its sync.
pub(crate) const CHUNK_BYTES: usize = 4 << 20;

/// A place outside the log that rows come from.
///
/// ```text
/// partition 0   a b c │ d e f            chunk: partition 0, "d\ne\nf\n", first 3, 3 records, position 6
///                     └ place: position 3, 3 records before it
/// partition 1   k l m n │                nothing yet: a poll waits, and then says so
/// ```
///
/// Whoever polls appends each chunk to a topic of the log, with the chunk's position in the same commit, and opens the next source at the
/// positions that the log has. So every record is in the log once, whatever ends in between; and what has been read is replayed
/// from there, in the order in which it came, whatever has become of the place since.
///
/// # Contract
///
/// - Records of a partition come in its order, each once, none left out. When that cannot be kept (a record is gone, the place
///   is another one), `poll` fails and says whose doing it is; it never goes on behind a gap.
/// - A source that is opened at the positions of chunks goes on with the records that follow them. A partition without a position is
///   read from where the source's options say when none has one, and from its beginning when others have: it is new.
/// - Nothing is read ahead without bound: a source that is not polled stops asking its place for more.
/// - `poll` waits for about `wait` at most. A place that cannot be reached for a while is nothing that happened; it is tried again.
/// - After `drain`, what the place holds by then is given, and then [`Polled::End`]. A bounded source ends by itself.
/// - After an error the source is not used again.
/// - What a record means is none of the source's business: bytes that cannot be decoded are given like all others.
pub trait Source: Send {
    /// What comes next.
    ///
    /// # Errors
    /// When records cannot be read and trying again would not help.
    fn poll(&mut self, wait: Duration) -> Result<Polled, ConnectError>;

    /// From here on the source is bounded: it ends with what there is now.
    ///
    /// # Errors
    /// When its place cannot say what that is.
    fn drain(&mut self) -> Result<(), ConnectError>;

    /// How it is doing.
    fn health(&self) -> SourceHealth;
}

/// What a poll came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Records.
    Chunk(Chunk),
    /// Nothing came in time.
    Nothing,
    /// Nothing will come.
    End,
}

/// Records that follow each other in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Which; 0 when the place has no partitions.
    pub partition: u32,
    /// The records, one a line.
    pub bytes: Vec<u8>,
    /// What the first is called in dead letters: its line, counted from 1, or its offset.
    pub first: u64,
    /// How many they are; none when a position is to be kept before there are any.
    pub records: u64,
    /// Where the partition's next chunk begins.
    pub position: u64,
}

/// Where to go on reading a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// What a chunk's `position` said: bytes of a file, an offset.
    pub position: u64,
    /// How many records were read before.
    pub records: u64,
}

/// How a source is doing since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceHealth {
    /// Records that it gave.
    pub records: u64,
    /// How often records were missing from what the place sent, and were asked for again.
    pub gaps: u64,
    /// Records that its place no longer had, and that its options say to go on without.
    pub lost: u64,
    /// How often the place was connected to again.
    pub reconnects: u64,
    /// Why nothing comes at present. It is tried again.
    pub waits: Option<String>,
}
