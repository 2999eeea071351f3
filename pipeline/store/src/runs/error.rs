//! Why a run cannot be written or read.

use crate::StorageError;

/// A run cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Bytes on disk are not what was written.
    #[error("damaged run: {file}, at byte {position}: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// The byte at which it was noticed.
        position: u64,
        /// What does not fit.
        what: &'static str,
    },
    /// The file was written by a newer build.
    #[error("{file} has format {found}, this build reads up to {known}: use a newer chalk")]
    NewerFormat {
        /// The file.
        file: String,
        /// Its format.
        found: u16,
        /// The newest one that this build reads.
        known: u16,
    },
    /// Keys were not pushed in ascending order: the caller's mistake.
    #[error("{file}: key {key} does not come after the one before it")]
    Order {
        /// The file.
        file: String,
        /// The key, readable.
        key: String,
    },
    /// A key or a value is too large.
    #[error("{file}: a {what} of {bytes} bytes is larger than the {limit} that one can have")]
    TooLarge {
        /// The file.
        file: String,
        /// `key` or `value`.
        what: &'static str,
        /// How many bytes it has.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// Changes of one key do not go together: a weight added to bytes, or weights whose sum leaves 64 bits.
    #[error("{file}: {what} at key {key}")]
    Mixed {
        /// The file in which it was noticed.
        file: String,
        /// The key, readable.
        key: String,
        /// What does not go together.
        what: &'static str,
    },
}
