//! Groups that leave memory, and come back when a step needs them: those of aggregates, keys of joins, partitions of ranks and of
//! functions over ordered rows.

use super::{ColdRuns, Held, Scratch, StateMemory, is_time};
use crate::checkpoint::prefix;
use chalk_event::ChangeBatch;
use chalk_graph::NodeId;
use chalk_operators::{GroupState, Leaving, Operator, OperatorError, Spill};
use chalk_store::runs::{Change, OwnedValue, Run, RunError, RunSet, RunWriter};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// With each eviction this part of all groups leaves beside what is too much: a few large runs are better than many small ones.
const PART: usize = 8;
/// What a group takes while it waits for a checkpoint, about.
const SAVED_GROUP_BYTES: usize = 160;

/// The groups of a dataflow that are not in memory.
#[derive(Debug)]
pub(crate) struct ColdGroups {
    scratch: Arc<Scratch>,
    runs: ColdRuns,
    /// Groups that left with changes since the last checkpoint, oldest first; while somebody makes any.
    unsaved: Option<Vec<Run>>,
    /// By node, what it takes in memory; and how many groups the next checkpoint gets from there.
    in_memory: BTreeMap<NodeId, (usize, usize)>,
    /// When the last attempt found the disk full.
    full_since: Option<Instant>,
}

/// A node's operators.
pub(crate) type Shards<'a> = (NodeId, &'a mut [Box<dyn Operator>]);

/// Gives an operator the groups that its next step needs.
pub(crate) fn bring_back<E: From<RunError> + From<OperatorError>>(
    runs: &RunSet,
    node: NodeId,
    operator: &mut dyn Operator,
    inputs: &[ChangeBatch],
) -> Result<(), E> {
    let Some(operator) = operator.spill() else { return Ok(()) };
    let prefix = prefix(node, 0);
    let keys: Vec<Vec<u8>> = operator.missing(inputs)?.iter().map(|key| [&prefix[..], key].concat()).collect();
    let mut groups = Vec::new();
    runs.get_each(keys.iter().map(Vec::as_slice), |key, value| {
        if let OwnedValue::Bytes(state) = value {
            groups.push(GroupState { key: key[prefix.len()..].into(), state: Some(state) });
        }
    })?;
    Ok(operator.bring_back(&groups)?)
}

impl ColdGroups {
    pub(crate) fn new(scratch: &Arc<Scratch>) -> Self {
        let (scratch, runs) = (Arc::clone(scratch), ColdRuns::new(scratch));
        Self { scratch, runs, unsaved: None, in_memory: BTreeMap::new(), full_since: None }
    }

    pub(crate) fn memory(&self) -> &Arc<StateMemory> {
        self.scratch.memory()
    }

    pub(crate) fn runs(&self) -> &RunSet {
        self.runs.runs()
    }

    /// From here on keeps what [`ColdGroups::save`] gives, or does not any longer.
    pub(crate) fn keep_unsaved(&mut self, keep: bool) {
        self.unsaved = keep.then(Vec::new);
    }

    /// What left with changes since it was last called, oldest first.
    pub(crate) fn save(&mut self) -> Vec<Run> {
        self.unsaved.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// About so many bytes the next checkpoint takes in memory, of groups that have not left.
    pub(crate) fn unsaved_bytes(&self) -> usize {
        self.in_memory.values().map(|(_, unsaved)| unsaved * SAVED_GROUP_BYTES).sum()
    }

    /// Counts the groups of a checkpoint that begins now.
    pub(crate) fn held(&self) -> Held {
        let mut held = Held::new(self.memory());
        held.add(self.unsaved_bytes());
        held
    }

    /// Looks how much memory these nodes' groups take, and lets the coldest leave when all state takes too much. When there is no room on
    /// the disk, they stay.
    pub(crate) fn shrink(&mut self, nodes: &mut [Shards<'_>]) -> Result<(), RunError> {
        self.runs.tend()?;
        let here = self.measure(nodes);
        let all = self.in_memory.values().map(|(bytes, _)| bytes).sum();
        let over = self.memory().groups(all);
        if over > 0 && here > 0 && is_time(self.full_since) {
            match self.evict(nodes, here, over + all / PART) {
                Ok(()) => {
                    self.full_since = None;
                    self.memory().waits(None);
                }
                Err(RunError::Storage(error)) if error.is_full() => {
                    self.full_since = Some(Instant::now());
                    self.memory().waits(Some(error.to_string()));
                }
                Err(error) => return Err(error),
            }
            self.measure(nodes);
            self.memory().groups(self.in_memory.values().map(|(bytes, _)| bytes).sum());
        }
        self.memory().groups_on_disk(self.runs.bytes());
        Ok(())
    }

    /// Gives how much these nodes take.
    fn measure(&mut self, nodes: &mut [Shards<'_>]) -> usize {
        let mut here = 0;
        for (node, shards) in nodes {
            let memory = shards.iter_mut().filter_map(|shard| shard.spill()).map(|spill| spill.memory());
            let sum = memory.fold((0, 0), |sum, memory| (sum.0 + memory.bytes, sum.1 + memory.unsaved));
            here += sum.0;
            self.in_memory.insert(*node, sum);
        }
        here
    }

    /// Lets groups of about so many bytes leave, of `here` that there are.
    fn evict(&mut self, nodes: &mut [Shards<'_>], here: usize, bytes: usize) -> Result<(), RunError> {
        let part = bytes as f64 / here as f64;
        let mut leaving: Vec<(NodeId, Vec<Leaving>)> = Vec::new();
        let mut expected = 0;
        for spill in nodes.iter_mut().flat_map(|(_, shards)| shards.iter_mut()).filter_map(|shard| shard.spill()) {
            expected += (spill.memory().groups as f64 * part).ceil() as usize;
        }
        // One node after the other, so that what was taken out of one is written and gone before the next.
        let saved = self.write(expected.max(1), |writer| {
            for (node, shards) in nodes.iter_mut() {
                let coldest = |spill: &mut dyn Spill| spill.coldest((spill.memory().bytes as f64 * part) as usize);
                let mut of_node: Vec<Leaving> =
                    shards.iter_mut().filter_map(|shard| shard.spill()).map(coldest).collect();
                write_groups(writer, *node, of_node.iter().flat_map(|leaving| &leaving.saved))?;
                for group in of_node.iter_mut().flat_map(|leaving| &mut leaving.saved) {
                    group.state = group.state.take().map(|_| Vec::new());
                }
                leaving.push((*node, of_node));
            }
            Ok(())
        })?;
        let expected = leaving.iter().flat_map(|(_, leaving)| leaving).map(|leaving| leaving.unsaved.len()).sum();
        let unsaved = self.write(expected, |writer| {
            leaving.iter().try_for_each(|(node, leaving)| {
                write_groups(writer, *node, leaving.iter().flat_map(|leaving| &leaving.unsaved))
            })
        });
        let unsaved = match unsaved {
            Ok(unsaved) => unsaved,
            Err(error) => {
                saved.iter().try_for_each(|run| self.scratch.remove(run))?;
                return Err(error);
            }
        };
        if let (Some(run), Some(all)) = (&unsaved, &mut self.unsaved) {
            all.push(run.clone());
        }
        saved.into_iter().chain(unsaved).for_each(|run| self.runs.push(run));
        for ((_, shards), (_, leaving)) in nodes.iter_mut().zip(leaving) {
            for (spill, leaving) in shards.iter_mut().filter_map(|shard| shard.spill()).zip(&leaving) {
                spill.forget(leaving);
            }
        }
        Ok(())
    }

    /// Writes a run of about so many groups; `None` when there are none.
    fn write(
        &self,
        expected: usize,
        fill: impl FnOnce(&mut RunWriter<'_>) -> Result<(), RunError>,
    ) -> Result<Option<Run>, RunError> {
        if expected == 0 {
            return Ok(None);
        }
        let run = self.scratch.write(expected, fill)?;
        if run.info().entries == 0 {
            self.scratch.remove(&run)?;
            return Ok(None);
        }
        Ok(Some(run))
    }
}

fn write_groups<'a>(
    writer: &mut RunWriter<'_>,
    node: NodeId,
    groups: impl Iterator<Item = &'a GroupState>,
) -> Result<(), RunError> {
    let mut groups: Vec<&GroupState> = groups.collect();
    groups.sort_unstable_by(|left, right| left.key.cmp(&right.key));
    let mut run_key = Vec::new();
    for GroupState { key, state } in groups {
        run_key.clear();
        run_key.extend_from_slice(&prefix(node, 0));
        run_key.extend_from_slice(key);
        writer.push(&run_key, state.as_deref().map_or(Change::Delete, Change::Put))?;
    }
    Ok(())
}
