//! Runs of state that has left memory.

use super::StateMemory;
use chalk_store::runs::{Run, RunError, RunSet, RunWriter};
use chalk_store::{Storage, StorageError};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// A folder whose files are of no use to anybody else.
#[derive(Debug)]
pub(crate) struct Scratch {
    storage: Arc<dyn Storage>,
    memory: Arc<StateMemory>,
    next: AtomicU64,
}

impl Scratch {
    /// The folder, without what an earlier run left.
    pub(crate) fn begin(storage: Arc<dyn Storage>, memory: Arc<StateMemory>) -> Result<Arc<Self>, StorageError> {
        for name in storage.list()? {
            storage.remove(&name)?;
        }
        Ok(Arc::new(Self { storage, memory, next: AtomicU64::new(0) }))
    }

    pub(crate) fn memory(&self) -> &Arc<StateMemory> {
        &self.memory
    }

    fn name(&self) -> String {
        format!("{:010}.run", self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes a run; leaves nothing when that fails.
    pub(crate) fn write(
        &self,
        keys: usize,
        fill: impl FnOnce(&mut RunWriter<'_>) -> Result<(), RunError>,
    ) -> Result<Run, RunError> {
        let name = self.name();
        let written = RunWriter::create_for(&*self.storage, &name, keys as u64).and_then(|mut writer| {
            fill(&mut writer)?;
            writer.finish()?;
            Run::open(&*self.storage, &name)
        });
        if written.is_err() {
            self.storage.remove(&name)?;
        }
        written
    }

    /// A run is not needed any more.
    pub(crate) fn remove(&self, run: &Run) -> Result<(), StorageError> {
        self.storage.remove(&run.info().name)
    }
}

/// Runs of one owner, merged in the background. Their files go with it.
#[derive(Debug)]
pub(crate) struct ColdRuns {
    scratch: Arc<Scratch>,
    runs: RunSet,
    merging: Option<Merging>,
    /// The disk was full: nothing is merged before the next run.
    rests: bool,
}

/// A merge on its way; given up when this is dropped, unless it is done.
#[derive(Debug)]
struct Merging {
    range: Range<usize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Option<Run>, RunError>>>,
}

impl Merging {
    /// What came of it, once it is done; a panic of the thread has been reported where it happened.
    fn join(&mut self) -> Option<Result<Option<Run>, RunError>> {
        self.thread.take()?.join().ok()
    }
}

impl Drop for Merging {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.join();
    }
}

impl ColdRuns {
    pub(crate) fn new(scratch: &Arc<Scratch>) -> Self {
        let runs = RunSet::of(Arc::clone(&scratch.storage), Vec::new());
        Self { scratch: Arc::clone(scratch), runs, merging: None, rests: false }
    }

    pub(crate) fn runs(&self) -> &RunSet {
        &self.runs
    }

    /// Of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.runs.runs().iter().map(|run| run.info().bytes).sum()
    }

    pub(crate) fn push(&mut self, run: Run) {
        self.runs.push(run);
        self.rests = false;
    }

    /// Takes what was merged, and begins to merge what is due. Says whether other runs are to be read from here on.
    pub(crate) fn tend(&mut self) -> Result<bool, RunError> {
        let is_done = |merging: &Merging| merging.thread.as_ref().is_some_and(JoinHandle::is_finished);
        let mut changed = false;
        if self.merging.as_ref().is_some_and(is_done)
            && let Some(mut merging) = self.merging.take()
            && let Some(merged) = merging.join()
        {
            match merged {
                Ok(Some(merged)) => {
                    for name in self.runs.replace(merging.range.clone(), merged) {
                        self.scratch.storage.remove(&name)?;
                    }
                    changed = true;
                }
                Ok(None) => {}
                Err(RunError::Storage(error)) if error.is_full() => self.rests = true,
                Err(error) => return Err(error),
            }
        }
        if self.merging.is_none()
            && !self.rests
            && let Some(range) = self.runs.due()
        {
            let (stop, runs, name) = (Arc::new(AtomicBool::new(false)), self.runs.clone(), self.scratch.name());
            let (asked, of) = (Arc::clone(&stop), range.clone());
            let merge = move || runs.merge_while(of, &name, &|| !asked.load(Ordering::Relaxed));
            // Without a thread there are more runs to read, and the next time there may be one.
            let thread = std::thread::Builder::new().name("cold-merge".to_owned()).spawn(merge).ok();
            self.merging = thread.map(|thread| Merging { range, stop, thread: Some(thread) });
        }
        Ok(changed)
    }
}

impl Drop for ColdRuns {
    fn drop(&mut self) {
        let merged = self.merging.take().and_then(|mut merging| {
            merging.stop.store(true, Ordering::Relaxed);
            merging.join()?.ok()?
        });
        for run in self.runs.runs().iter().chain(&merged) {
            // The next start removes what is left.
            let _ = self.scratch.remove(run);
        }
    }
}
