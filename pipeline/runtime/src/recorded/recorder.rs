//! Appends what a stage has, one append at a time: what is done meanwhile goes into the next.

use super::bell::Bell;
use crate::error::RuntimeError;
use chalk_log::{Append, EventLog, LogError};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

#[derive(Debug, Default)]
struct State {
    busy: bool,
    failed: Option<LogError>,
}

/// The thread that appends. It ends when this is dropped.
pub(super) struct Recorder {
    jobs: Option<SyncSender<Append>>,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    pub(super) fn start(log: &Arc<dyn EventLog>, bell: &Arc<Bell>) -> Result<Self, RuntimeError> {
        let (jobs, received) = sync_channel(1);
        let state = Arc::new(Mutex::new(State::default()));
        let (log, bell, told) = (Arc::clone(log), Arc::clone(bell), Arc::clone(&state));
        let thread = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || work(&*log, &received, &told, &bell))
            .map_err(|error| RuntimeError::Threads(error.to_string()))?;
        Ok(Self { jobs: Some(jobs), state, thread: Some(thread) })
    }

    /// Whether the last append is durable.
    ///
    /// # Errors
    /// When an append failed.
    pub(super) fn is_idle(&self) -> Result<bool, RuntimeError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.failed {
            Some(error) => Err(error.clone().into()),
            None => Ok(!state.busy),
        }
    }

    /// Appends; only while it is idle.
    pub(super) fn append(&self, append: Append) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).busy = true;
        if let Some(jobs) = &self.jobs {
            // It ends after a failure alone, which is told by the state.
            let _ = jobs.send(append);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

fn work(log: &dyn EventLog, jobs: &Receiver<Append>, state: &Mutex<State>, bell: &Bell) {
    while let Ok(append) = jobs.recv() {
        let appended = log.append(append).and_then(chalk_log::Pending::wait);
        let failed = appended.err();
        let is_over = failed.is_some();
        *state.lock().unwrap_or_else(PoisonError::into_inner) = State { busy: false, failed };
        bell.ring();
        if is_over {
            return;
        }
    }
}
