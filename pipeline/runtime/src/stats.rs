//! Counters of a running pipeline, and what they come to.

use crate::cold::{StateMemory, StateStatus};
use chalk_connect::SourceHealth;
use chalk_event::{CommitSeq, Epoch, Watermark};
use chalk_ingest::Receipt;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Counters of a running pipeline.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) epochs: AtomicU64,
    pub(crate) rows_in: AtomicU64,
    pub(crate) rows_out: AtomicU64,
    pub(crate) late: AtomicU64,
    late_of: Mutex<BTreeMap<String, u64>>,
    pub(crate) refused: AtomicU64,
    pub(crate) dropped: AtomicU64,
    derived: Mutex<(BTreeMap<String, u64>, u64)>,
    tables: Mutex<BTreeMap<String, TableStatus>>,
    checkpoint: Mutex<CheckpointStatus>,
    sources: Mutex<BTreeMap<String, SourceStatus>>,
    sinks: Mutex<BTreeMap<String, SinkStatus>>,
    stages: Mutex<BTreeMap<String, StageStatus>>,
    state: OnceLock<Arc<StateMemory>>,
}

/// How far event time has come in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStatus {
    /// Its watermark.
    pub watermark: Watermark,
    /// It has had no rows for so long that windows over several tables do not wait for it.
    pub is_idle: bool,
    /// Rows since the start whose watermark was more than a day ahead of their commit: they did not move the table's.
    pub ahead: u64,
}

/// How a source outside the log is doing, since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceStatus {
    /// Records that it gave.
    pub records: u64,
    /// How often records were missing from what its place sent, and were asked for again.
    pub gaps: u64,
    /// Records that its place no longer had, and that its options say to go on without.
    pub lost: u64,
    /// How often its place was connected to again.
    pub reconnects: u64,
    /// Why nothing comes at present.
    pub waits: Option<String>,
}

/// How a stage that calls an async function is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageStatus {
    /// Who is called: `name@hash`.
    pub function: String,
    /// Calls without an answer.
    pub in_flight: usize,
    /// How many there may be, as things are now.
    pub limit: usize,
    /// Rows that were read and are not called yet; what is beyond waits in the log.
    pub waiting: usize,
    /// It has read the log up to this commit.
    pub read: CommitSeq,
    /// Results that were given to the log since the start, failures among them.
    pub recorded: u64,
    /// Rows that the function failed for since the start: they are in `dead_letters`.
    pub failed: u64,
}

/// How a sink outside the log is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkStatus {
    /// It has all rows up to this commit; `None` when it has not been given any.
    pub upto: Option<CommitSeq>,
    /// Why it waits: the disk is full.
    pub waits: Option<String>,
    /// Why it gets no more rows before the next start.
    pub failed: Option<String>,
}

/// How checkpoints are doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointStatus {
    /// What the last one knows: its epoch and last commit.
    pub last: Option<(Epoch, CommitSeq)>,
    /// The commit after which this run began to read the log; 0 without a checkpoint.
    pub started_after: CommitSeq,
    /// Why an earlier run's was of no use.
    pub discarded: Option<String>,
    /// Why the one at hand waits: the disk is full.
    pub waits: Option<String>,
    /// Why no more are made.
    pub failed: Option<String>,
    /// Their copies; `None` when none are made.
    pub copies: Option<CopiesStatus>,
}

/// How copies of checkpoints are doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopiesStatus {
    /// Where they are.
    pub place: String,
    /// What the last one knows, as far as one has looked: its epoch and last commit.
    pub last: Option<(Epoch, CommitSeq)>,
    /// Whether this run began with one.
    pub started: bool,
    /// Why none is made at present. It is tried again.
    pub failed: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stats {
    pub(crate) fn derived(&self, receipt: &Receipt) {
        let mut derived = lock(&self.derived);
        for (event_type, count) in &receipt.accepted {
            *derived.0.entry(event_type.clone()).or_default() += count;
        }
        derived.1 += receipt.refused.len() as u64;
    }

    pub(crate) fn tables<'a>(&self, sources: impl Iterator<Item = (&'a str, TableStatus)>) {
        let mut tables = lock(&self.tables);
        for (table, status) in sources {
            match tables.get_mut(table) {
                Some(known) => *known = status,
                None => drop(tables.insert(table.to_owned(), status)),
            }
        }
    }

    /// A row of these tables came too late.
    pub(crate) fn late_of(&self, tables: &[&str]) {
        *lock(&self.late_of).entry(tables.join(", ")).or_default() += 1;
    }

    /// A run begins with a checkpoint, or without; and what was of no use.
    pub(crate) fn started(&self, from: Option<(Epoch, CommitSeq)>, discarded: Option<String>) {
        let mut checkpoint = lock(&self.checkpoint);
        checkpoint.last = from;
        checkpoint.started_after = from.map_or(CommitSeq(0), |(_, upto)| upto);
        checkpoint.discarded = discarded;
    }

    /// Checkpoints are copied to this place; whether the run began with a copy.
    pub(crate) fn copies_are_in(&self, place: String, started: bool) {
        lock(&self.checkpoint).copies = Some(CopiesStatus { place, started, ..CopiesStatus::default() });
    }

    /// What the last copy knows, or why it could not be made.
    pub(crate) fn copied(&self, last: Result<Option<(Epoch, CommitSeq)>, String>) {
        if let Some(copies) = &mut lock(&self.checkpoint).copies {
            match last {
                Ok(last) => (copies.last, copies.failed) = (last, None),
                Err(why) => copies.failed = Some(why),
            }
        }
    }

    pub(crate) fn checkpoint(&self, epoch: Epoch, upto: CommitSeq) {
        lock(&self.checkpoint).last = Some((epoch, upto));
    }

    pub(crate) fn checkpoint_waits(&self, error: Option<&dyn std::error::Error>) {
        lock(&self.checkpoint).waits = error.map(ToString::to_string);
    }

    pub(crate) fn checkpoint_failed(&self, error: &dyn std::error::Error) {
        lock(&self.checkpoint).failed = Some(error.to_string());
    }

    /// State has a limit, and this says how it is kept.
    pub(crate) fn state(&self, memory: &Arc<StateMemory>) {
        self.state.get_or_init(|| Arc::clone(memory));
    }

    /// What a source says of itself.
    pub(crate) fn source(&self, table: &str, health: SourceHealth) {
        let SourceHealth { records, gaps, lost, reconnects, waits } = health;
        let status = SourceStatus { records, gaps, lost, reconnects, waits };
        let mut sources = lock(&self.sources);
        match sources.get_mut(table) {
            Some(known) => *known = status,
            None => drop(sources.insert(table.to_owned(), status)),
        }
    }

    /// Changes what is known of a sink.
    pub(crate) fn sink(&self, name: &str, change: impl FnOnce(&mut SinkStatus)) {
        change(lock(&self.sinks).entry(name.to_owned()).or_default());
    }

    /// How a stage is doing.
    pub(crate) fn stage(&self, name: &str, status: StageStatus) {
        let mut stages = lock(&self.stages);
        match stages.get_mut(name) {
            Some(known) => *known = status,
            None => drop(stages.insert(name.to_owned(), status)),
        }
    }

    /// What the counters come to now.
    pub(crate) fn status(&self) -> Status {
        let derived = lock(&self.derived);
        Status {
            epochs: self.epochs.load(Ordering::Relaxed),
            rows_in: self.rows_in.load(Ordering::Relaxed),
            rows_out: self.rows_out.load(Ordering::Relaxed),
            late: self.late.load(Ordering::Relaxed),
            late_of: lock(&self.late_of).clone(),
            refused: self.refused.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            derived: derived.0.clone(),
            derived_refused: derived.1,
            tables: lock(&self.tables).clone(),
            checkpoint: lock(&self.checkpoint).clone(),
            sources: lock(&self.sources).clone(),
            sinks: lock(&self.sinks).clone(),
            stages: lock(&self.stages).clone(),
            state: self.state.get().map(|memory| memory.status()),
        }
    }
}

/// How a pipeline is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Epochs since it was started.
    pub epochs: u64,
    /// Rows that sources gave.
    pub rows_in: u64,
    /// Changes that reached sinks.
    pub rows_out: u64,
    /// Rows that arrived after their window had closed.
    pub late: u64,
    /// The same by source table; rows that can be of one or another by the names of all of these.
    pub late_of: BTreeMap<String, u64>,
    /// Rows that an expression or function failed for: they are in `dead_letters`.
    pub refused: u64,
    /// Rows that could not be read and were dropped, as their tables have it.
    pub dropped: u64,
    /// Events that queries derived since it was started, by type.
    pub derived: BTreeMap<String, u64>,
    /// Derived rows that were no good events: they are in `dead_letters`.
    pub derived_refused: u64,
    /// Event time by source table.
    pub tables: BTreeMap<String, TableStatus>,
    /// Checkpoints.
    pub checkpoint: CheckpointStatus,
    /// Sources outside the log, by table.
    pub sources: BTreeMap<String, SourceStatus>,
    /// Sinks outside the log, by the query that gives their rows.
    pub sinks: BTreeMap<String, SinkStatus>,
    /// Stages that call async functions, by name.
    pub stages: BTreeMap<String, StageStatus>,
    /// State in memory and on disk, when there is a limit to it.
    pub state: Option<StateStatus>,
}
