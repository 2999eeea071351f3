//! Rows of views that leave memory.

use super::{ColdRuns, Scratch, StateMemory, is_time};
use chalk_store::runs::{Change, Run, RunError, RunWriter};
use chalk_view::ViewRows;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// The rows of a pipeline's views that are not in memory.
#[derive(Debug)]
pub(crate) struct ColdViews {
    scratch: Arc<Scratch>,
    by_view: BTreeMap<String, ColdView>,
    /// When the last attempt found the disk full.
    full_since: Option<Instant>,
}

#[derive(Debug)]
struct ColdView {
    runs: ColdRuns,
    /// What had changed, since the last checkpoint, when rows left memory; oldest first.
    unsaved: Vec<Run>,
    memory_bytes: usize,
}

impl ColdViews {
    pub(crate) fn new(scratch: &Arc<Scratch>) -> Self {
        Self { scratch: Arc::clone(scratch), by_view: BTreeMap::new(), full_since: None }
    }

    pub(crate) fn memory(&self) -> &Arc<StateMemory> {
        self.scratch.memory()
    }

    /// What has changed in a view since the last checkpoint, but for what is in memory: oldest first.
    pub(crate) fn save(&mut self, view: &str) -> Vec<Run> {
        self.by_view.get_mut(view).map(|cold| std::mem::take(&mut cold.unsaved)).unwrap_or_default()
    }

    /// Looks how much memory a view takes that has changed, and lets its rows leave when all state takes too much. When there is no room on
    /// the disk, they stay. `saved` is the view as of the last checkpoint, if there are any; when rows leave, it becomes the view as it is
    /// now, and what had changed is kept for [`ColdViews::save`].
    pub(crate) fn shrink(&mut self, view: &mut ViewRows, mut saved: Option<&mut ViewRows>) -> Result<(), RunError> {
        let scratch = Arc::clone(&self.scratch);
        let cold = self.by_view.entry(view.name().to_owned());
        let cold =
            cold.or_insert_with(|| ColdView { runs: ColdRuns::new(&scratch), unsaved: Vec::new(), memory_bytes: 0 });
        if cold.runs.tend()? {
            let runs = Arc::new(cold.runs.runs().clone());
            view.merged(Arc::clone(&runs));
            if let Some(saved) = &mut saved {
                saved.merged(runs);
            }
        }
        let here = view.memory_bytes();
        cold.memory_bytes = here;
        let all: usize = self.by_view.values().map(|cold| cold.memory_bytes).sum();
        // Small views are left alone as long as others are larger.
        let is_large = 2 * here * self.by_view.len() >= all;
        if scratch.memory().views(all) && is_large && is_time(self.full_since) {
            match leave(&scratch, view, saved.as_deref()) {
                Ok((run, changed)) => {
                    if let Some(cold) = self.by_view.get_mut(view.name()) {
                        cold.runs.push(run);
                        cold.unsaved.extend(changed);
                        view.leave_memory(Arc::new(cold.runs.runs().clone()));
                        cold.memory_bytes = 0;
                    }
                    if let Some(saved) = saved {
                        *saved = view.clone();
                    }
                    self.full_since = None;
                    scratch.memory().waits(None);
                    scratch.memory().views(all - here);
                }
                Err(RunError::Storage(error)) if error.is_full() => {
                    self.full_since = Some(Instant::now());
                    scratch.memory().waits(Some(error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        scratch.memory().views_on_disk(self.by_view.values().map(|cold| cold.runs.bytes()).sum());
        Ok(())
    }
}

/// Writes what a view has in memory, and what has changed in it since a checkpoint; leaves nothing when that fails.
fn leave(scratch: &Scratch, view: &ViewRows, saved: Option<&ViewRows>) -> Result<(Run, Option<Run>), RunError> {
    let run = scratch.write(view.rows_in_memory(), |run| view.write_to(run))?;
    let Some(saved) = saved else { return Ok((run, None)) };
    let changes = |writer: &mut RunWriter<'_>| {
        view.encoded_changes_since(saved).try_for_each(|(row, weight)| writer.push(row, Change::Add(weight)))
    };
    match scratch.write(view.rows_in_memory(), changes) {
        Ok(changed) => {
            // It stays readable for as long as it is open.
            scratch.remove(&changed)?;
            Ok((run, Some(changed)))
        }
        Err(error) => {
            scratch.remove(&run)?;
            Err(error)
        }
    }
}
