//! Giving rows to the sinks outside the log, each on a thread of its own: whatever a sink does, views and other sinks go on.
//!
//! ```text
//! committer ──give──▶ gathered ──▶ [waiting, at most 4] ──▶ thread: prepare ─▶ journal record ─▶ commit
//! ```
//!
//! Rows of epochs that follow each other are gathered into one batch, which is committed as if it were one epoch. What a batch is, is
//! decided by the rows, and by the times of the commits that they came with; but a batch that nothing is added to is not kept back.
//! When four wait, the committer does, and so do the views, up to [`STALL_MAX`]; then the sink is given up for this run. From then on no
//! checkpoint is made, so that the next start reads what the sink has not got from the log.

use crate::engine::EpochOutput;
use crate::error::RuntimeError;
use crate::stats::Stats;
use chalk_catalog::ControlEvent;
use chalk_connect::{ConnectError, STATE_BYTES_MAX, Sink};
use chalk_event::{CommitSeq, Epoch, IngestTime};
use chalk_graph::options::RollingPolicy;
use chalk_log::{Append, EventLog};
use chalk_store::fail::{Point, pass};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// So many batches can wait for a sink.
const WAITING_MAX: usize = 4;
/// Nobody waits longer than this for a sink.
const STALL_MAX: Duration = Duration::from_secs(10);
/// On a full disk what could not be written is tried again so often.
const ROOM_AGAIN: Duration = Duration::from_millis(200);

/// Rows that are committed at once.
#[derive(Debug)]
struct Batch {
    lines: String,
    /// The last epoch that they are of.
    epoch: Epoch,
    upto: CommitSeq,
    /// When the commit was made that the first of them came with.
    time: Option<IngestTime>,
    /// Whether the journal is told.
    lasting: bool,
}

#[derive(Debug)]
struct State {
    gathered: Option<Batch>,
    /// When it was added to last.
    given: Instant,
    waiting: VecDeque<Batch>,
    /// The thread has one in its hands.
    at_work: bool,
    /// Somebody waits until all is committed.
    hurry: bool,
    closing: bool,
    /// For good.
    failed: Option<String>,
}

impl State {
    fn is_empty(&self) -> bool {
        self.gathered.is_none() && self.waiting.is_empty() && !self.at_work
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>, time: Duration) -> MutexGuard<'s, State> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits for something of the sink's; when that takes too long, the sink is given up. Says whether it came.
    fn within<'s>(
        &self,
        mut state: MutexGuard<'s, State>,
        stall_max: Duration,
        is_so: impl Fn(&State) -> bool,
    ) -> (MutexGuard<'s, State>, bool) {
        let began = Instant::now();
        while !is_so(&state) && state.failed.is_none() {
            let Some(left) = stall_max.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) else {
                state.failed = Some(format!("it was waited for {} s", stall_max.as_secs_f32()));
                break;
            };
            state = self.wait(state, left);
        }
        let came = state.failed.is_none();
        (state, came)
    }
}

/// A sink outside the log, as the committer sees it.
pub(crate) struct Delivery {
    name: String,
    rolling: RollingPolicy,
    /// An earlier run has given it all rows up to here.
    committed: Option<CommitSeq>,
    stall_max: Duration,
    shared: Arc<Shared>,
    /// Until it is started.
    courier: Option<Courier>,
    thread: Option<JoinHandle<()>>,
    stats: Arc<Stats>,
}

/// What the thread works with.
pub(crate) struct Courier {
    pub(crate) pipeline: String,
    /// The query that gives the rows.
    pub(crate) name: String,
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) log: Arc<dyn EventLog>,
    /// The journal says nothing of it, or speaks of what is not there any more; what it is to say first.
    pub(crate) again: Option<String>,
}

impl Delivery {
    /// For a sink that has recovered; nothing is given to it before [`Delivery::start`].
    pub(crate) fn new(
        courier: Courier,
        rolling: RollingPolicy,
        committed: Option<CommitSeq>,
        stats: &Arc<Stats>,
    ) -> Self {
        let state = State {
            gathered: None,
            given: Instant::now(),
            waiting: VecDeque::new(),
            at_work: false,
            hurry: false,
            closing: false,
            failed: None,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let (name, stats) = (courier.name.clone(), Arc::clone(stats));
        let (stall_max, courier) = (STALL_MAX, Some(courier));
        stats.sink(&name, |status| status.upto = committed);
        Self { name, rolling, committed, stall_max, shared, courier, thread: None, stats }
    }

    /// Up to where an earlier run has given it all rows.
    pub(crate) fn committed(&self) -> Option<CommitSeq> {
        self.committed
    }

    /// Starts its thread.
    pub(crate) fn start(&mut self) -> Result<(), RuntimeError> {
        let Some(courier) = self.courier.take() else { return Ok(()) };
        let (shared, stats, idle) = (Arc::clone(&self.shared), Arc::clone(&self.stats), self.rolling.inactivity);
        let work = move || courier.run(&shared, idle, &stats);
        let thread = std::thread::Builder::new().name(format!("sink-{}", self.name)).spawn(work);
        self.thread = Some(thread.map_err(|error| RuntimeError::Threads(error.to_string()))?);
        Ok(())
    }

    /// Whether it is to have an epoch's rows.
    pub(crate) fn wants(&self, output: &EpochOutput) -> bool {
        let given_before = output.lasting && self.committed.is_some_and(|committed| output.upto <= committed);
        !given_before && self.shared.state().failed.is_none()
    }

    /// Gives it rows of an epoch.
    pub(crate) fn give(&self, output: &EpochOutput, lines: &str) {
        if lines.is_empty() {
            return;
        }
        let mut state = self.shared.state();
        if state.gathered.as_ref().is_some_and(|batch| self.is_complete(batch, output, lines)) {
            let came;
            (state, came) = self.shared.within(state, self.stall_max, |state| state.waiting.len() < WAITING_MAX);
            if !came {
                return self.given_up(&state);
            }
            // The thread may have taken it meanwhile.
            let batch = state.gathered.take();
            state.waiting.extend(batch);
        }
        let (epoch, upto, time, lasting) = (output.epoch, output.upto, output.time, output.lasting);
        let begin = || Batch { lines: String::new(), epoch, upto, time, lasting };
        let batch = state.gathered.get_or_insert_with(begin);
        batch.lines.push_str(lines);
        (batch.epoch, batch.upto) = (epoch, upto);
        state.given = Instant::now();
        self.shared.changed.notify_all();
    }

    fn is_complete(&self, batch: &Batch, next: &EpochOutput, lines: &str) -> bool {
        let is_old = match (self.rolling.interval, batch.time, next.time) {
            (Some(interval), Some(first), Some(time)) => {
                time.0.saturating_sub(first.0) >= i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX)
            }
            _ => false,
        };
        is_old || batch.lasting != next.lasting || batch.lines.len() + lines.len() > self.rolling.file_bytes
    }

    fn given_up(&self, state: &State) {
        self.stats.sink(&self.name, |status| status.failed.clone_from(&state.failed));
    }

    /// Waits until it has all that it was given.
    ///
    /// # Errors
    /// When it has not got all, and will not before the next start.
    pub(crate) fn flush(&self) -> Result<(), RuntimeError> {
        let mut state = self.shared.state();
        state.hurry = true;
        self.shared.changed.notify_all();
        let (mut state, came) = self.shared.within(state, self.stall_max, State::is_empty);
        state.hurry = false;
        if !came {
            self.given_up(&state);
        }
        self.outcome(&state)
    }

    fn outcome(&self, state: &State) -> Result<(), RuntimeError> {
        match state.failed.clone() {
            None => Ok(()),
            Some(why) => Err(RuntimeError::SinkStopped { sink: self.name.clone(), why }),
        }
    }

    /// Commits what it was given and ends its thread.
    ///
    /// # Errors
    /// When it has not got all.
    pub(crate) fn close(&mut self) -> Result<(), RuntimeError> {
        self.end();
        self.outcome(&self.shared.state())
    }

    fn end(&mut self) {
        self.shared.state().closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // What it panics with is caught and told.
            let _ = thread.join();
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.end();
    }
}

impl Courier {
    fn run(mut self, shared: &Shared, idle: Duration, stats: &Stats) {
        let work = AssertUnwindSafe(|| self.deliver_all(shared, idle, stats));
        let done = catch_unwind(work).unwrap_or_else(|_| Err(RuntimeError::Panic(format!("sink-{}", self.name))));
        let mut state = shared.state();
        if let Err(error) = done {
            state.failed.get_or_insert(error.to_string());
            stats.sink(&self.name, |status| status.failed.clone_from(&state.failed));
        }
        // Nobody waits for what will not come.
        (state.gathered, state.at_work) = (None, false);
        state.waiting.clear();
        shared.changed.notify_all();
    }

    fn deliver_all(&mut self, shared: &Shared, idle: Duration, stats: &Stats) -> Result<(), RuntimeError> {
        if let Some(state) = self.again.take() {
            self.journal(Epoch(0), CommitSeq(0), state)?;
        }
        while let Some(batch) = next(shared, idle) {
            self.deliver(&batch, shared, stats)?;
            shared.state().at_work = false;
            shared.changed.notify_all();
        }
        Ok(())
    }

    fn deliver(&mut self, batch: &Batch, shared: &Shared, stats: &Stats) -> Result<(), RuntimeError> {
        let name = self.name.clone();
        let state = until_room(shared, stats, &name, || self.sink.prepare(batch.epoch, &batch.lines))?;
        pass(Point::SinkAfterPrepare);
        if batch.lasting {
            self.journal(batch.epoch, batch.upto, state)?;
        }
        pass(Point::SinkAfterJournal);
        until_room(shared, stats, &name, || self.sink.commit(batch.epoch))?;
        pass(Point::SinkAfterCommit);
        stats.sink(&name, |status| status.upto = Some(batch.upto));
        Ok(())
    }

    /// From here on the rows up to a commit are the sink's.
    fn journal(&self, epoch: Epoch, upto: CommitSeq, state: String) -> Result<(), RuntimeError> {
        if state.len() > STATE_BYTES_MAX {
            let what = format!("it has {} bytes, {STATE_BYTES_MAX} are allowed", state.len());
            return Err(ConnectError::State(what).into());
        }
        let (pipeline, sink) = (self.pipeline.clone(), self.name.clone());
        let record = ControlEvent::SinkCommitted { pipeline, sink, epoch, upto, state };
        let frames = vec![self.log.control_frame(&record)?];
        self.log.append(Append { frames })?.wait()?;
        Ok(())
    }
}

/// The next batch; `None` when there is none and none will come.
fn next(shared: &Shared, idle: Duration) -> Option<Batch> {
    let mut state = shared.state();
    loop {
        if state.failed.is_some() {
            return None; // it was given up
        }
        let kept = idle.saturating_sub(state.given.elapsed());
        let batch = match state.waiting.pop_front() {
            Some(batch) => Some(batch),
            None if kept.is_zero() || state.hurry || state.closing => state.gathered.take(),
            None => None,
        };
        if batch.is_some() {
            state.at_work = true;
            shared.changed.notify_all();
            return batch;
        }
        if state.closing {
            return None;
        }
        state = match &state.gathered {
            Some(_) => shared.wait(state, kept),
            None => shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

/// Does something that takes room on the disk; while there is none, again and again, until the pipeline stops or the sink is given up.
fn until_room<T>(
    shared: &Shared,
    stats: &Stats,
    name: &str,
    mut attempt: impl FnMut() -> Result<T, ConnectError>,
) -> Result<T, RuntimeError> {
    loop {
        let done = attempt();
        let waits = done.as_ref().err().filter(|error| error.is_full()).map(ToString::to_string);
        stats.sink(name, |status| status.waits.clone_from(&waits));
        let state = shared.state();
        if waits.is_none() || state.closing || state.failed.is_some() {
            return Ok(done?);
        }
        drop(shared.wait(state, ROOM_AGAIN));
    }
}

#[cfg(test)]
mod tests;
