//! What connectors say when they fail.

use chalk_store::StorageError;
use std::ops::Range;

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
    /// `source.regex-pattern` is none.
    #[error("option source.regex-pattern: {0}")]
    Pattern(String),
    /// Rows could not be written in a file's format.
    #[error("rows cannot be written in the file's format: {0}")]
    Encode(String),
    /// A sink's file could not be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
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
    /// What a sink finds is not what it left.
    #[error(
        "{what}: somebody else has changed it\n  hint: restore it, or remove all that the sink has written to have it written anew"
    )]
    Changed {
        /// What is not as it was.
        what: String,
    },
    /// A file was written by a newer build.
    #[error("{file} has format {found}; this build knows {known}\n  hint: use the build that wrote it, or a newer one")]
    NewerFormat {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest format that this build knows.
        known: u32,
    },
    /// A cluster cannot be used.
    #[error("Fluvio at {cluster}: {what}\n  hint: {hint}")]
    Fluvio {
        /// Where it is.
        cluster: String,
        /// What happened.
        what: String,
        /// What to do.
        hint: String,
    },
    /// A cluster does not have a topic.
    #[error("Fluvio at {cluster}: it has no topic '{topic}'\n  hint: fluvio topic create {topic}")]
    NoTopic {
        /// Where it is.
        cluster: String,
        /// The topic.
        topic: String,
    },
    /// Records that were to be read are gone.
    #[error(
        "partition {partition} of topic '{topic}' no longer has its records from offset {} up to {}: retention has overtaken this \
         source, or the cluster has lost them\n  hint: with lost_records = 'skip' the table goes on without them, and counts them",
        missing.start, missing.end
    )]
    Lost {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: u32,
        /// The offsets that are gone.
        missing: Range<u64>,
    },
    /// A topic is not the one that was read.
    #[error(
        "partition {partition} of topic '{topic}' ends at offset {has}, but was read up to {read}: the topic was deleted and made anew, \
         or this is another cluster\n  hint: give the table another name, and it is read from where source.offset says"
    )]
    OtherTopic {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: u32,
        /// The offset after the last that was read.
        read: u64,
        /// The offset after the last that is there.
        has: u64,
    },
    /// What was asked for holds no whole batch.
    #[error(
        "partition {partition} of topic '{topic}' has a batch of {records} records at offset {offset} that is larger than \
         source.max_bytes = {limit}\n  hint: set source.max_bytes higher"
    )]
    BatchTooLarge {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: u32,
        /// The batch's first offset.
        offset: u64,
        /// How many records it has.
        records: usize,
        /// So many bytes are asked for.
        limit: i32,
    },
    /// A row is too large for a topic.
    #[error(
        "a row for topic '{topic}' takes {bytes} bytes: a batch with more than {limit} cannot be read by every client"
    )]
    RecordTooLarge {
        /// The topic.
        topic: String,
        /// The batch's bytes.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// What the journal says of a sink is not what this sink said: a mistake of ours.
    #[error("the journal's record of the sink cannot be read, which is a mistake in Chalkstream: {0}")]
    State(String),
    /// Lines could not be written.
    #[error("cannot write to {target}: {source}")]
    Write {
        /// Where to.
        target: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl ConnectError {
    /// Whether there was no room, and nothing else is in doubt: the same can be tried again. After a failed sync something is.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Storage(failed) if failed.is_full() && !failed.operation.starts_with("sync"))
    }
}
