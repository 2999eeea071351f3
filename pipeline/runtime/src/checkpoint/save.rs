//! Writing checkpoints, on a thread of their own.

use super::{CheckpointError, EngineState, Manifest, input_schema, prefix, row_converter};
use crate::committer::CheckpointParts;
use crate::stats::Stats;
use arrow::datatypes::SchemaRef;
use arrow::row::Rows;
use chalk_event::ChangeBatch;
use chalk_graph::{Graph, NodeId};
use chalk_operators::GroupState;
use chalk_store::Storage;
use chalk_store::runs::{Change, Run, RunSet, RunWriter};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

/// What has changed in a view since the checkpoint before.
pub(crate) type View = Vec<ChangeBatch>;

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
}

impl Saving {
    /// A checkpoint is on its way: another must wait.
    pub(crate) fn begin(&self) {
        self.busy.store(true, Ordering::Release);
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn done(&self, good: bool) {
        self.failed.store(!good, Ordering::Release);
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
    runs: RunSet,
}

/// All that changed under one prefix.
enum Part {
    Rows { schema: SchemaRef, batches: Vec<ChangeBatch> },
    Groups(Vec<GroupState>),
}

impl Saver {
    /// Goes on after the checkpoint of `manifest`, or begins with an empty one.
    pub(crate) fn new(graph: Graph, storage: Arc<dyn Storage>, manifest: Manifest) -> Result<Self, CheckpointError> {
        let runs = RunSet::open(Arc::clone(&storage), &manifest.runs)?;
        manifest.remove_strangers(&*storage)?;
        Ok(Self { graph, storage, manifest, runs })
    }

    /// Makes checkpoints until there are no more, or one fails. The pipeline goes on without: only a restart takes longer.
    pub(crate) fn run(mut self, parts: &Receiver<CheckpointParts>, saving: &Saving, stats: &Stats) {
        while let Ok(parts) = parts.recv() {
            let (epoch, upto) = (parts.engine.epoch, parts.engine.upto);
            let save = AssertUnwindSafe(|| self.save(parts.engine, parts.views, parts.files));
            // What a panic leaves of `self` is not used again.
            let saved = catch_unwind(save).unwrap_or(Err(CheckpointError::Panic));
            saving.done(saved.is_ok());
            match saved {
                Ok(()) => stats.checkpoint(epoch, upto),
                Err(error) => return stats.checkpoint_failed(&error),
            }
        }
    }

    /// Makes a checkpoint of what the one before said and what has changed since.
    pub(crate) fn save(
        &mut self,
        state: EngineState,
        views: BTreeMap<NodeId, View>,
        files: BTreeMap<usize, u64>,
    ) -> Result<(), CheckpointError> {
        let EngineState { epoch, upto, watermarks, changed } = state;
        let mut parts: BTreeMap<(NodeId, u8), Part> = BTreeMap::new();
        for ((node, port), batches) in changed.inputs {
            let unknown = || CheckpointError::Unknown(format!("input {port} of node {}", node.0));
            let schema = input_schema(&self.graph, node, port).ok_or_else(unknown)?;
            parts.insert((node, port), Part::Rows { schema, batches });
        }
        for (node, groups) in changed.groups {
            parts.insert((node, 0), Part::Groups(groups));
        }
        for (node, batches) in views {
            let schema = Arc::clone(&self.graph.node(node).schema);
            parts.insert((node, 0), Part::Rows { schema, batches });
        }
        if let Some(run) = self.write_run(parts)? {
            self.runs.push(run);
        }
        self.manifest.epoch = epoch.0;
        self.manifest.upto = upto.0;
        self.manifest.watermarks =
            watermarks.into_iter().filter_map(|(node, mark)| Some((node.0, mark.time()?.0))).collect();
        self.manifest.files = files;
        self.publish()?;
        while let Some(range) = self.runs.due() {
            let name = self.next_name();
            let merged = self.runs.merge(range.clone(), &name)?;
            self.runs.replace(range, merged);
            self.publish()?;
        }
        Ok(())
    }

    fn next_name(&mut self) -> String {
        let number = self.manifest.next_run;
        self.manifest.next_run += 1;
        format!("{number:010}.run")
    }

    fn publish(&mut self) -> Result<(), CheckpointError> {
        self.manifest.runs = self.runs.names().map(str::to_owned).collect();
        self.manifest.write(&*self.storage)?;
        self.manifest.remove_strangers(&*self.storage)
    }

    fn write_run(&mut self, parts: BTreeMap<(NodeId, u8), Part>) -> Result<Option<Run>, CheckpointError> {
        if parts.is_empty() {
            return Ok(None);
        }
        let name = self.next_name();
        let mut writer = RunWriter::create(&*self.storage, &name)?;
        let mut key = Vec::new();
        let mut push = |prefix: [u8; 3], rest: &[u8], change: Change<'_>| {
            key.clear();
            key.extend_from_slice(&prefix);
            key.extend_from_slice(rest);
            writer.push(&key, change)
        };
        for ((node, port), part) in parts {
            let prefix = prefix(node, port);
            match part {
                Part::Groups(mut groups) => {
                    groups.sort_unstable_by(|left, right| left.key.cmp(&right.key));
                    for group in &groups {
                        push(prefix, &group.key, group.state.as_deref().map_or(Change::Delete, Change::Put))?;
                    }
                }
                Part::Rows { schema, batches } => {
                    if schema.fields().is_empty() {
                        return Err(CheckpointError::Unknown(format!("rows without columns at node {}", node.0)));
                    }
                    let converter = row_converter(&schema)?;
                    let encoded: Vec<Rows> = batches
                        .iter()
                        .map(|batch| converter.convert_columns(batch.rows().columns()))
                        .collect::<Result<_, _>>()?;
                    let mut rows: Vec<(&[u8], i64)> = Vec::new();
                    for (batch, encoded) in batches.iter().zip(&encoded) {
                        rows.extend((0..batch.len()).map(|row| (encoded.row(row).data(), batch.weight(row))));
                    }
                    rows.sort_unstable_by_key(|(row, _)| *row);
                    for same in rows.chunk_by(|(left, _), (right, _)| left == right) {
                        let weight: i64 = same.iter().map(|(_, weight)| weight).sum();
                        if weight != 0 {
                            push(prefix, same[0].0, Change::Add(weight))?;
                        }
                    }
                }
            }
        }
        writer.finish()?;
        Ok(Some(Run::open(&*self.storage, &name)?))
    }
}
