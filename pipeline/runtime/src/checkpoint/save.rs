//! Writing checkpoints, on a thread of their own.

use super::kept::Kept;
use super::{CheckpointError, EngineState, Manifest, SavedGroups, input_schema, prefix, row_converter};
use crate::committer::CheckpointParts;
use crate::stats::Stats;
use arrow::datatypes::SchemaRef;
use arrow::row::Rows;
use chalk_event::ChangeBatch;
use chalk_graph::{Graph, NodeId};
use chalk_operators::{GroupState, StateKind, state_kind};
use chalk_store::Storage;
use chalk_store::fail::{Point, pass};
use chalk_store::runs::{Change, OwnedValue, Run, RunSet, RunWriter};
use chalk_view::ViewRows;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// A view as of a checkpoint and as of the one before; or as of when rows left memory last, with what had changed until then.
#[derive(Debug)]
pub(crate) struct ViewChange {
    /// Changes that came before, as runs of rows and weights.
    pub(crate) left: Vec<Run>,
    pub(crate) before: ViewRows,
    pub(crate) now: ViewRows,
}

/// How the checkpoint thread is doing.
///
/// ```text
/// idle ──begin──▶ busy ──done──▶ idle
///                  └───failed──▶ failed: for good, since what it did not write is missing from all later ones
/// ```
#[derive(Debug, Default)]
pub(crate) struct Saving {
    busy: AtomicBool,
    failed: AtomicBool,
    stopping: AtomicBool,
    /// Another one is waiting for it.
    late: AtomicBool,
}

/// On a full disk a checkpoint is tried again so often.
const ROOM_AGAIN: Duration = Duration::from_millis(200);

impl Saving {
    /// A checkpoint is on its way: another must wait.
    pub(crate) fn begin(&self) {
        if self.busy.swap(true, Ordering::AcqRel) {
            self.late.store(true, Ordering::Release);
        }
    }

    /// Lets others work, unless somebody waits.
    pub(crate) fn rest(&self, time: Duration) {
        if !self.late.load(Ordering::Acquire) && !self.stopping.load(Ordering::Acquire) {
            std::thread::sleep(time);
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// The pipeline stops: nobody waits for room on the disk any longer.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Waits for room; says whether to try again.
    fn wait(&self) -> bool {
        std::thread::park_timeout(ROOM_AGAIN);
        !self.stopping.load(Ordering::Acquire)
    }

    /// The checkpoint that was begun is written, or never will be.
    pub(crate) fn done(&self, good: bool) {
        self.failed.store(!good, Ordering::Release);
        self.late.store(false, Ordering::Release);
        self.busy.store(false, Ordering::Release);
    }
}

/// Writes checkpoints into a folder.
pub(crate) struct Saver {
    // configuration
    graph: Graph,
    storage: Arc<dyn Storage>,
    // state
    manifest: Manifest,
    kept: Kept,
    runs: RunSet,
}

/// All that changed under one prefix.
enum Part {
    Rows {
        schema: SchemaRef,
        batches: Vec<ChangeBatch>,
    },
    /// With those that have left memory, which are older.
    Groups {
        left: Vec<Run>,
        groups: Vec<GroupState>,
    },
    View(Box<ViewChange>),
}

impl Saver {
    /// Goes on after the checkpoint of `manifest`, or begins with an empty one.
    pub(crate) fn new(graph: Graph, storage: Arc<dyn Storage>, manifest: Manifest) -> Result<Self, CheckpointError> {
        let runs = RunSet::open(Arc::clone(&storage), &manifest.runs)?;
        let mut kept = Kept::read(&*storage, &manifest)?;
        kept.thin(&*storage, &manifest)?;
        Ok(Self { graph, storage, manifest, kept, runs })
    }

    /// Makes checkpoints until there are no more, or one fails. The pipeline goes on without: only a restart takes longer.
    pub(crate) fn run(mut self, parts: &Receiver<CheckpointParts>, saving: &Saving, stats: &Stats) {
        while let Ok(parts) = parts.recv() {
            let (epoch, upto) = (parts.engine.epoch, parts.engine.upto);
            let again = |error: &CheckpointError| {
                stats.checkpoint_waits(Some(error));
                saving.wait()
            };
            let CheckpointParts { engine, views, held } = parts;
            let save = AssertUnwindSafe(|| self.save(engine, views, &again));
            // What a panic leaves of `self` is not used again.
            let saved = catch_unwind(save).unwrap_or(Err(CheckpointError::Panic));
            drop(held);
            saving.done(saved.is_ok());
            match saved {
                Ok(()) => stats.checkpoint(epoch, upto),
                Err(error) => return stats.checkpoint_failed(&error),
            }
            stats.checkpoint_waits(None);
        }
    }

    /// Makes a checkpoint of what the one before said and what has changed since. When the disk is full, `again` says whether to try
    /// once more.
    pub(crate) fn save(
        &mut self,
        state: EngineState,
        views: BTreeMap<NodeId, ViewChange>,
        again: &dyn Fn(&CheckpointError) -> bool,
    ) -> Result<(), CheckpointError> {
        let EngineState { epoch, upto, time, inputs, groups, left, held: _held } = state;
        let mut parts: BTreeMap<(NodeId, u8), Part> = BTreeMap::new();
        for ((node, port), batches) in inputs {
            let unknown = || CheckpointError::Unknown(format!("input {port} of node {}", node.0));
            let schema = input_schema(&self.graph, node, port).ok_or_else(unknown)?;
            parts.insert((node, port), Part::Rows { schema, batches });
        }
        let mut groups = collected(&groups)?;
        if !left.is_empty() {
            for (id, _) in self.graph.iter().filter(|(_, node)| state_kind(node) == StateKind::Groups) {
                groups.entry(id).or_default();
            }
        }
        for (node, mut groups) in groups {
            groups.sort_unstable_by(|left, right| left.key.cmp(&right.key));
            parts.insert((node, 0), Part::Groups { left: left.clone(), groups });
        }
        parts.extend(views.into_iter().map(|(node, change)| ((node, 0), Part::View(Box::new(change)))));
        if !parts.is_empty() {
            pass(Point::CheckpointBeforeRun);
            let run = until_room(again, || self.write_run(&parts))?;
            self.runs.push(run);
        }
        if !self.manifest.is_beginning() && self.manifest.upto < upto.0 {
            until_room(again, || self.kept.keep(&*self.storage, &self.manifest))?;
        }
        self.manifest.epoch = epoch.0;
        self.manifest.upto = upto.0;
        self.manifest.time = time;
        until_room(again, || self.publish())?;
        while let Some(range) = self.runs.due() {
            let name = self.manifest.next_name();
            match self.runs.merge(range.clone(), &name).map_err(CheckpointError::from) {
                Ok(merged) => drop(self.runs.replace(range, merged)),
                // It is as due the next time.
                Err(error) if error.is_full() => {
                    self.storage.remove(&name)?;
                    break;
                }
                Err(error) => return Err(error),
            }
            until_room(again, || self.publish())?;
        }
        Ok(())
    }

    fn publish(&mut self) -> Result<(), CheckpointError> {
        self.manifest.runs = self.runs.names().map(str::to_owned).collect();
        pass(Point::CheckpointBeforeManifest);
        self.manifest.write(&*self.storage)?;
        pass(Point::CheckpointAfterManifest);
        self.kept.thin(&*self.storage, &self.manifest)
    }

    /// Writes a run of its own name; leaves nothing when that fails.
    fn write_run(&mut self, parts: &BTreeMap<(NodeId, u8), Part>) -> Result<Run, CheckpointError> {
        let name = self.manifest.next_name();
        let written = self.write_run_as(&name, parts);
        if written.is_err() {
            self.storage.remove(&name)?;
        }
        written
    }

    fn write_run_as(&self, name: &str, parts: &BTreeMap<(NodeId, u8), Part>) -> Result<Run, CheckpointError> {
        let mut writer = RunWriter::create(&*self.storage, name)?;
        let mut key = Vec::new();
        let mut push = |prefix: [u8; 3], rest: &[u8], change: Change<'_>| {
            key.clear();
            key.extend_from_slice(&prefix);
            key.extend_from_slice(rest);
            writer.push(&key, change)
        };
        for (&(node, port), part) in parts {
            let prefix = prefix(node, port);
            match part {
                Part::Groups { left, groups } => {
                    let left = RunSet::of(Arc::clone(&self.storage), left.clone());
                    let mut left = left.scan_prefix(&prefix);
                    let mut next_left = || -> Result<_, CheckpointError> {
                        Ok(left.advance()?.map(|(key, value)| (key[prefix.len()..].to_vec(), value.to_owned())))
                    };
                    let mut leaving = next_left()?;
                    for group in groups {
                        while let Some((key, state)) = leaving.take_if(|(key, _)| **key <= *group.key) {
                            if *key < *group.key {
                                push(prefix, &key, put(&state, node)?)?;
                            }
                            leaving = next_left()?;
                        }
                        push(prefix, &group.key, group.state.as_deref().map_or(Change::Delete, Change::Put))?;
                    }
                    while let Some((key, state)) = leaving {
                        push(prefix, &key, put(&state, node)?)?;
                        leaving = next_left()?;
                    }
                }
                Part::View(change) => {
                    let ViewChange { left, before, now } = &**change;
                    let left = RunSet::of(Arc::clone(&self.storage), left.clone());
                    let mut left = left.scan();
                    let mut next_left = || -> Result<_, CheckpointError> {
                        Ok(left.advance()?.map(|(row, value)| (row.to_vec(), value.to_owned())))
                    };
                    let mut leaving = next_left()?;
                    for (row, mut weight) in now.encoded_changes_since(before) {
                        while let Some((left, value)) = leaving.take_if(|(left, _)| **left <= *row) {
                            let added = weight_of(&value, node)?;
                            if *left == *row {
                                weight += added;
                            } else {
                                push(prefix, &left, Change::Add(added))?;
                            }
                            leaving = next_left()?;
                        }
                        if weight != 0 {
                            push(prefix, row, Change::Add(weight))?;
                        }
                    }
                    while let Some((left, value)) = leaving {
                        push(prefix, &left, Change::Add(weight_of(&value, node)?))?;
                        leaving = next_left()?;
                    }
                }
                Part::Rows { schema, batches } => {
                    if schema.fields().is_empty() {
                        return Err(CheckpointError::Unknown(format!("rows without columns at node {}", node.0)));
                    }
                    let converter = row_converter(schema)?;
                    let encoded: Vec<Rows> = batches
                        .iter()
                        .map(|batch| converter.convert_columns(batch.rows().columns()))
                        .collect::<Result<_, _>>()?;
                    let rows = batches.iter().zip(&encoded).flat_map(|(batch, encoded)| {
                        (0..batch.len()).map(|row| (encoded.row(row).data(), batch.weight(row)))
                    });
                    for (row, weight) in sums(rows) {
                        push(prefix, row, Change::Add(weight))?;
                    }
                }
            }
        }
        writer.finish()?;
        Ok(Run::open(&*self.storage, name)?)
    }
}

/// All groups of a save, by node.
fn collected(groups: &Receiver<SavedGroups>) -> Result<BTreeMap<NodeId, Vec<GroupState>>, CheckpointError> {
    let mut collected: BTreeMap<NodeId, Vec<GroupState>> = BTreeMap::new();
    for saved in groups {
        match saved {
            SavedGroups::Some(node, groups) => collected.entry(node).or_default().extend(groups),
            SavedGroups::Complete => return Ok(collected),
        }
    }
    Err(CheckpointError::Incomplete)
}

/// The weight of a view's row that has left memory.
fn weight_of(value: &OwnedValue, node: NodeId) -> Result<i64, CheckpointError> {
    match value {
        OwnedValue::Weight(weight) => Ok(*weight),
        OwnedValue::Bytes(_) => Err(CheckpointError::Unknown(format!("node {} has rows, not groups", node.0))),
    }
}

/// The state of a group that has left memory.
fn put(state: &OwnedValue, node: NodeId) -> Result<Change<'_>, CheckpointError> {
    match state {
        OwnedValue::Bytes(state) => Ok(Change::Put(state)),
        OwnedValue::Weight(_) => Err(CheckpointError::Unknown(format!("node {} has groups, not rows", node.0))),
    }
}

/// The sum of the weights of each row, where it is not 0, by the rows' bytes. Many rows come and go again between two
/// checkpoints: they are not sorted.
fn sums<'a>(rows: impl Iterator<Item = (&'a [u8], i64)>) -> Vec<(&'a [u8], i64)> {
    let mut sums: HashMap<&[u8], i64> = HashMap::new();
    for (row, weight) in rows {
        *sums.entry(row).or_insert(0) += weight;
    }
    let mut sums: Vec<(&[u8], i64)> = sums.into_iter().filter(|(_, weight)| *weight != 0).collect();
    sums.sort_unstable_by_key(|(row, _)| *row);
    sums
}

/// Does something that takes room on the disk; while there is none, again and again as long as `again` says so.
fn until_room<T>(
    again: &dyn Fn(&CheckpointError) -> bool,
    mut attempt: impl FnMut() -> Result<T, CheckpointError>,
) -> Result<T, CheckpointError> {
    loop {
        match attempt() {
            Err(error) if error.is_full() && again(&error) => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::SavedTime;
    use chalk_event::{CommitSeq, Epoch};
    use chalk_store::memory::{EIO, ENOSPC, Fault, MemoryFiles};
    use std::cell::Cell;
    use std::sync::mpsc::{Sender, channel};

    fn state(upto: u64) -> EngineState {
        let (state, groups) = unfinished(upto);
        groups.send(SavedGroups::Complete).expect("it is received later");
        state
    }

    fn unfinished(upto: u64) -> (EngineState, Sender<SavedGroups>) {
        let group = GroupState { key: Box::new([upto as u8]), state: Some(vec![7; 500]) };
        let (sender, groups) = channel();
        sender.send(SavedGroups::Some(NodeId(0), vec![group])).expect("it is received later");
        let (epoch, upto, time, inputs) = (Epoch(upto), CommitSeq(upto), SavedTime::default(), BTreeMap::new());
        (EngineState { epoch, upto, time, inputs, groups, left: Vec::new(), held: None }, sender)
    }

    fn save(saver: &mut Saver, upto: u64, again: &dyn Fn(&CheckpointError) -> bool) -> Result<(), CheckpointError> {
        saver.save(state(upto), BTreeMap::new(), again)
    }

    fn saver(files: &MemoryFiles) -> Saver {
        let manifest = Manifest::read(files).expect("memory").unwrap_or_else(|| Manifest::new("graph".to_owned()));
        Saver::new(Graph::default(), Arc::new(files.clone()), manifest).expect("a saver")
    }

    /// The manifest's last commit; everything beside it is what it and those before it name.
    fn upto(files: &MemoryFiles) -> u64 {
        let manifest = Manifest::read(files).expect("memory").expect("a manifest");
        let kept = Kept::read(files, &manifest).expect("memory");
        let mut beside = files.list().expect("memory");
        beside.retain(|name| name.ends_with(".run"));
        let mut named: Vec<String> = kept.manifests().chain([&manifest]).flat_map(|each| each.runs.clone()).collect();
        named.sort_unstable();
        named.dedup();
        assert_eq!(beside, named);
        for each in kept.manifests().chain([&manifest]) {
            RunSet::open(Arc::new(files.clone()), &each.runs).expect("whole runs");
        }
        manifest.upto
    }

    #[test]
    fn a_checkpoint_whose_groups_did_not_all_come_is_not_written() {
        let files = MemoryFiles::new();
        save(&mut saver(&files), 1, &|_| false).expect("room");
        let (state, sender) = unfinished(2);
        drop(sender);
        let saved = saver(&files).save(state, BTreeMap::new(), &|_| false);
        assert!(matches!(saved, Err(CheckpointError::Incomplete)), "{saved:?}");
        assert_eq!(upto(&files), 1);
    }

    #[test]
    fn a_checkpoint_waits_for_room() {
        let files = MemoryFiles::new();
        let mut saver = saver(&files);
        save(&mut saver, 1, &|_| false).expect("room");
        let mut waited = 0;
        for from in 0..12 {
            let times = Cell::new(0);
            files.set_fault(Some(Fault { from: files.operations() + from, count: 2, errno: ENOSPC, half: true }));
            save(&mut saver, 2 + from as u64, &|_| times.replace(times.get() + 1) < 5).expect("room again");
            assert_eq!(upto(&files), 2 + from as u64);
            waited += times.get();
        }
        assert!(waited > 5, "{waited}");
    }

    #[test]
    fn a_checkpoint_that_cannot_be_written_leaves_the_one_before() {
        for (errno, half) in [(ENOSPC, true), (EIO, true), (EIO, false)] {
            for from in 0..5 {
                let files = MemoryFiles::new();
                save(&mut saver(&files), 1, &|_| false).expect("room");
                files.set_fault(Some(Fault { from: files.operations() + from, count: 1, errno, half }));
                let saved = save(&mut saver(&files), 2, &|_| false);
                files.set_fault(None);
                drop(saver(&files)); // a start removes what no manifest names
                assert_eq!(upto(&files), if saved.is_ok() { 2 } else { 1 }, "operation {from}");
            }
        }
    }
}
