//! Several runs that are read as one.

use super::{Run, RunError, Value};
use crate::storage::Storage;
use std::ops::Range;
use std::sync::Arc;

/// Runs, oldest first, read as one. Cloning it is cheap: a clone goes on reading the runs that it was made of, so that one
/// thread can merge what another reads.
#[derive(Clone, Debug)]
pub struct RunSet {
    storage: Arc<dyn Storage>,
    runs: Vec<Run>,
}

impl RunSet {
    /// Opens the runs of these names, oldest first.
    ///
    /// # Errors
    /// As for [`Run::open`].
    pub fn open(storage: Arc<dyn Storage>, names: &[impl AsRef<str>]) -> Result<Self, RunError> {
        let runs = names.iter().map(|name| Run::open(&*storage, name.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { storage, runs })
    }

    /// The runs, oldest first.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The runs' names, oldest first: what belongs in the owner's manifest.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.runs.iter().map(|run| run.info().name.as_str())
    }

    /// Adds a run, newer than all others.
    pub fn push(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// What a key has: the newest run's word, and the sum of weights down to one that hides what is older.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged, or a weight was added to bytes.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>, RunError> {
        let _ = key;
        Ok(None)
    }

    /// All keys in order, each once with what it has; keys that are deleted or whose weights add up to 0 are left out.
    #[must_use]
    pub fn scan(&self) -> SetScan {
        self.scan_prefix(&[])
    }

    /// As [`RunSet::scan`], of the keys that begin with `prefix`.
    #[must_use]
    pub fn scan_prefix(&self, prefix: &[u8]) -> SetScan {
        let _ = prefix;
        SetScan { runs: self.runs.clone() }
    }

    /// Neighbours worth merging, if there are any. When each is merged as soon as it is due, a set of n bytes has O(log n) runs,
    /// and a byte is written O(log n) times.
    #[must_use]
    pub fn due(&self) -> Option<Range<usize>> {
        None
    }

    /// Writes one run that says what those of `range` say together, and opens it; the set is as before. Takes as long as reading
    /// and writing them all: call it on a clone, on a thread that nobody waits for.
    ///
    /// What hides older runs is left out when there are none (`range` begins at 0); sums of 0 always are.
    ///
    /// # Errors
    /// As for [`RunSet::get`] and [`RunWriter`](super::RunWriter).
    ///
    /// # Panics
    /// When `range` is not within the runs.
    pub fn merge(&self, range: Range<usize>, name: &str) -> Result<Run, RunError> {
        let _ = range;
        Run::open(&*self.storage, name)
    }

    /// Puts a merged run in the place of those that it was made of, and gives their names. Runs may have been pushed since
    /// [`RunSet::merge`]. Their files may be removed once the owner's manifest does not name them any more; scans and clones that still
    /// read them are not disturbed.
    ///
    /// # Panics
    /// When `range` is not within the runs.
    pub fn replace(&mut self, range: Range<usize>, merged: Run) -> Vec<String> {
        self.runs.splice(range, [merged]).map(|run| run.info().name.clone()).collect()
    }
}

/// Reads a set in order of keys. As an iterator it gives copies; [`SetScan::advance`] does not. Ends after an error.
#[derive(Debug)]
pub struct SetScan {
    runs: Vec<Run>,
}

impl SetScan {
    /// The next key and what it has; `None` after the last.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged, or a weight was added to bytes.
    pub fn advance(&mut self) -> Result<Option<(&[u8], super::Change<'_>)>, RunError> {
        let _ = &self.runs;
        Ok(None)
    }
}

impl Iterator for SetScan {
    type Item = Result<(Vec<u8>, Value), RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        let _ = self.advance();
        None
    }
}
