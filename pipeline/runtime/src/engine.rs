//! The engine thread: reads commits, computes epochs.

use crate::checkpoint::{EngineState, SavedGroups, SavedTime, Saving};
use crate::clocks::Clocks;
use crate::cold::StateMemory;
use crate::dataflow::{Dataflow, Late, StepOutput};
use crate::error::RuntimeError;
use crate::refused::Refused;
use crate::source::SourceTable;
use crate::stats::{Stats, TableStatus};
use crate::steps::{Closer, closers, cut};
use crate::switch::{Asked, Made, Switched};
use chalk_catalog::TopicId;
use chalk_event::{ChangeBatch, CommitSeq, Epoch, IngestTime};
use chalk_graph::NodeId;
use chalk_log::{Commit, EventLog};
use chalk_udf_host::{Timeline, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, SyncSender, channel};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// What an epoch gives.
pub(crate) struct EpochOutput {
    pub(crate) epoch: Epoch,
    /// Its last commit.
    pub(crate) upto: CommitSeq,
    /// When the last commit with rows was made, of all up to here; `None` when this run has read none.
    pub(crate) time: Option<IngestTime>,
    /// Whether another run gives the same: not what the end of bounded sources has closed.
    pub(crate) lasting: bool,
    /// Changes by sink node, in step order.
    pub(crate) sinks: Vec<(NodeId, ChangeBatch)>,
    pub(crate) late: Vec<Late>,
    pub(crate) refused: Vec<Refused>,
    /// What was given up on, and is not recorded yet.
    pub(crate) verdicts: Vec<Verdict>,
}

/// What the engine gives to the committer.
pub(crate) enum Computed {
    /// An epoch.
    Epoch(EpochOutput),
    /// State as of the epoch before; its groups come later.
    State(Box<EngineState>),
    /// From the next epoch on something is otherwise.
    Switch(Box<Made>),
}

/// When checkpoints are begun.
pub(crate) struct CheckpointTimes {
    pub(crate) interval: Duration,
    pub(crate) saving: Arc<Saving>,
    /// When the last one was begun.
    pub(crate) last: Instant,
    /// The last commit that it knew.
    pub(crate) upto: CommitSeq,
    /// Where its groups go, until all are given.
    pub(crate) groups: Option<Sender<SavedGroups>>,
}

/// Between two epochs about so many groups are given to a checkpoint: a millisecond or two.
const SAVED_GROUPS: usize = 2_000;
/// Kept changes of so many bytes are worth a checkpoint at once.
const UNSAVED_BYTES: usize = 256 << 20;
/// From here on epochs wait for a disk that does not keep up.
const UNSAVED_BYTES_MAX: usize = 4 * UNSAVED_BYTES;
/// With nothing else to do, so many bytes are worth a checkpoint.
const IDLE_UNSAVED_BYTES: usize = 1 << 20;
/// Small batches are kept one by one, and cost more than their bytes.
const UNSAVED_BATCHES: usize = 20_000;

/// With a limit to state, this part of it waits for a checkpoint before one is begun; three times that when the last is late.
const STATE_PART: usize = 8;

pub(crate) struct Engine {
    // configuration
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) topics: Vec<TopicId>,
    pub(crate) closers: Vec<Closer>,
    pub(crate) epoch_bytes_max: usize,
    /// Output up to here was committed by an earlier run, for one sink or another: epochs end exactly there.
    pub(crate) committed: BTreeSet<CommitSeq>,
    /// Where functions are called; epochs end where something about them changes.
    pub(crate) timeline: Timeline,
    pub(crate) out: SyncSender<Computed>,
    pub(crate) stop: watch::Receiver<Stop>,
    pub(crate) switches: mpsc::Receiver<Asked>,
    /// The epoch that closed the windows of bounded sources, once it is on its way.
    pub(crate) drained: watch::Sender<Option<Epoch>>,
    /// `None` when no checkpoints are made.
    pub(crate) checkpoints: Option<CheckpointTimes>,
    /// How much memory state takes, when there is a limit.
    pub(crate) memory: Option<Arc<StateMemory>>,
    // state
    pub(crate) dataflow: Dataflow,
    pub(crate) sources: Vec<SourceTable>,
    pub(crate) clocks: Clocks,
    pub(crate) epoch: Epoch,
    pub(crate) position: CommitSeq,
    /// When the last commit with rows that was read was made.
    pub(crate) time: Option<IngestTime>,
    /// A switch that is to be made as soon as it can be.
    pub(crate) asked: Option<Asked>,
    // metrics
    pub(crate) stats: Arc<Stats>,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Go on.
    #[default]
    No,
    /// Bounded sources have ended: take what is there, close their windows, go on.
    Drain,
    /// Leave.
    Now,
}

impl Engine {
    pub(crate) fn new_closers(dataflow: &Dataflow) -> Vec<Closer> {
        closers(dataflow.graph())
    }

    /// Runs until it is told to stop or the committer is gone.
    pub(crate) fn run(&mut self) -> Result<(), RuntimeError> {
        self.timeline.stand_at(self.position);
        let first = self.dataflow.step(&BTreeMap::new(), &BTreeMap::new(), None)?;
        if !self.send(first, true) {
            return Ok(());
        }
        let mut durable = self.log.durable();
        loop {
            let stop = *self.stop.borrow_and_update();
            if stop == Stop::Now {
                if !self.is_drained() {
                    self.checkpoint();
                }
                while self.give_groups() {}
                return Ok(());
            }
            self.asked = self.asked.take().or_else(|| self.switches.try_recv().ok());
            if let Some(asked) = self.asked.take_if(|_| self.committed.last().is_none_or(|end| *end <= self.position)) {
                if !self.switch(asked) {
                    return Ok(());
                }
                continue;
            }
            let behind = self.position < *durable.borrow_and_update();
            if behind {
                let Some(output) = self.epoch()? else { return Ok(()) };
                if !self.send(output, !self.is_drained()) {
                    return Ok(());
                }
                self.give_groups();
                if !self.is_drained() && self.is_due(UNSAVED_BYTES) {
                    self.checkpoint();
                }
            } else if self.give_groups() {
                // Until there are no more.
            } else if stop == Stop::Drain && !self.is_drained() {
                // What closes windows now is not in the log: later state is this run's alone.
                self.checkpoint();
                let output = self.end_bounded_sources()?;
                if !self.send(output, false) {
                    return Ok(());
                }
                self.drained.send_replace(Some(self.epoch));
            } else {
                if !self.is_drained() && self.is_due(IDLE_UNSAVED_BYTES) {
                    self.checkpoint();
                }
                futures::executor::block_on(async {
                    tokio::select! {
                        _ = durable.changed() => {}
                        _ = self.stop.changed() => {}
                        Some(asked) = self.switches.recv() => self.asked = Some(asked),
                    }
                });
                if durable.has_changed().is_err() {
                    return Ok(()); // the log is closed
                }
            }
        }
    }

    /// From here on something is otherwise. What an earlier run has committed is behind.
    fn switch(&mut self, Asked { switch, answer }: Asked) -> bool {
        let switched = Switched { epoch: self.epoch, after: self.position };
        (switch.apply)(self.position);
        self.timeline.stand_at(self.position);
        let record = (switch.record)(self.position);
        self.out.send(Computed::Switch(Box::new(Made { record, switched, answer }))).is_ok()
    }

    fn is_drained(&self) -> bool {
        self.drained.borrow().is_some()
    }

    fn send(&mut self, output: StepOutput, lasting: bool) -> bool {
        let StepOutput { sinks, late, refused } = output;
        for late in &late {
            self.stats.late_of(&self.dataflow.graph().tables_of(late.from));
        }
        self.epoch = self.epoch.next();
        let (epoch, upto, time, verdicts) = (self.epoch, self.position, self.time, self.timeline.take_found());
        let output = EpochOutput { epoch, upto, time, lasting, sinks, late, refused, verdicts };
        self.out.send(Computed::Epoch(output)).is_ok()
    }

    /// Whether to begin a checkpoint: it is time, or so many bytes are waiting for it, and the last one is written. One that
    /// is begun before that holds up the committer, and so the epochs.
    fn is_due(&mut self, bytes_max: usize) -> bool {
        let Some(times) = &self.checkpoints else { return false };
        let (mut bytes, batches) = self.dataflow.unsaved();
        let (mut bytes_max, mut late_bytes_max) = (bytes_max, UNSAVED_BYTES_MAX);
        if let Some(memory) = &self.memory {
            bytes += memory.unsaved_views();
            bytes_max = bytes_max.min(memory.max() / STATE_PART);
            late_bytes_max = late_bytes_max.min(memory.max() / STATE_PART * 3);
        }
        let due = times.last.elapsed() >= times.interval || bytes >= bytes_max || batches >= UNSAVED_BATCHES;
        due && self.position > times.upto && (!times.saving.is_busy() || bytes >= late_bytes_max)
    }

    /// Begins to hand over what has changed since the last checkpoint, as of the epoch that was sent last.
    fn checkpoint(&mut self) {
        while self.give_groups() {}
        let Some(times) = &mut self.checkpoints else { return };
        if times.saving.has_failed() {
            self.dataflow.end_saving();
            self.checkpoints = None;
            return;
        }
        if self.position <= times.upto {
            return;
        }
        (times.last, times.upto) = (Instant::now(), self.position);
        times.saving.begin();
        let (left, held) = self.dataflow.save_left();
        let (sender, groups) = channel();
        times.groups = Some(sender);
        let state = EngineState {
            epoch: self.epoch,
            upto: self.position,
            time: SavedTime::of(&self.sources, &self.clocks),
            inputs: self.dataflow.begin_save(),
            groups,
            left,
            held,
        };
        // The receiver is gone only when the pipeline has failed, which is told elsewhere.
        let _ = self.out.send(Computed::State(Box::new(state)));
    }

    /// Gives some groups to the checkpoint that was begun; says whether there may be more.
    fn give_groups(&mut self) -> bool {
        let Some(CheckpointTimes { groups, .. }) = &mut self.checkpoints else { return false };
        let Some(sender) = groups else { return false };
        let next = self.dataflow.save_groups(SAVED_GROUPS);
        let is_last = next.is_none();
        // As above.
        let _ = sender.send(next.map_or(SavedGroups::Complete, |(node, next)| SavedGroups::Some(node, next)));
        if is_last {
            *groups = None;
        }
        !is_last
    }

    /// Computes the next epoch: whatever the log has, up to a bound.
    fn epoch(&mut self) -> Result<Option<StepOutput>, RuntimeError> {
        let (mut commits, mut upto) = self.log.read(self.position, &self.topics, self.epoch_bytes_max)?;
        let committed = self.committed.range((Bound::Excluded(self.position), Bound::Unbounded)).next().copied();
        for end in committed.into_iter().chain(self.timeline.next_end(self.position)) {
            commits.retain(|commit| commit.seq <= end);
            upto = upto.min(end);
        }
        self.timeline.stand_at(self.position);
        let output = self.compute(&commits)?;
        self.position = upto;
        self.time = commits.last().map(|commit| commit.time).or(self.time);
        let idle = self.clocks.idle(&self.sources);
        self.stats.tables(self.sources.iter().map(|source| {
            let (watermark, is_idle) = (source.time().watermark, idle.contains(&source.node));
            (source.table(), TableStatus { watermark, is_idle, ahead: source.ahead() })
        }));
        Ok(Some(output))
    }

    fn compute(&mut self, commits: &[Commit]) -> Result<StepOutput, RuntimeError> {
        let (output, rows_in) =
            compute(&mut self.dataflow, &mut self.sources, &mut self.clocks, &self.closers, commits)?;
        self.stats.rows_in.fetch_add(rows_in, Ordering::Relaxed);
        Ok(output)
    }

    /// Closes what only bounded sources could have kept open.
    fn end_bounded_sources(&mut self) -> Result<StepOutput, RuntimeError> {
        self.sources.iter_mut().filter(|source| source.is_bounded()).for_each(SourceTable::end);
        self.dataflow.step(&BTreeMap::new(), &self.clocks.end(&self.sources), None)
    }
}

/// Takes a run of commits through the graph, step by step; gives also how many rows the sources gave.
pub(crate) fn compute(
    dataflow: &mut Dataflow,
    sources: &mut [SourceTable],
    clocks: &mut Clocks,
    closers: &[Closer],
    commits: &[Commit],
) -> Result<(StepOutput, u64), RuntimeError> {
    let mut tables = BTreeMap::new();
    let mut rows_in = 0;
    for source in sources {
        let rows = source.read(commits)?;
        rows_in += rows.rows.num_rows() as u64;
        tables.insert(source.node, rows);
    }
    let mut output = StepOutput::default();
    let made: Vec<IngestTime> = commits.iter().map(|commit| commit.time).collect();
    let timeline = clocks.read(&made, &tables);
    for commits in cut(&made, &tables, &timeline, closers) {
        let rows = tables.iter().map(|(&node, table)| (node, table.of_commits(&commits))).collect();
        let step = dataflow.step(&rows, &timeline.around(&commits), Some(made[commits.start]))?;
        output.sinks.extend(step.sinks);
        output.late.extend(step.late);
        output.refused.extend(step.refused);
    }
    Ok((output, rows_in))
}
