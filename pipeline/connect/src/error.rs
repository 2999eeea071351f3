//! What connectors say when they fail.

use chalk_store::StorageError;

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
