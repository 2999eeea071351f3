//! The graph with its operators: stage by stage, each stage sharded over cores by key.

use crate::checkpoint::{CheckpointError, Inputs, is_reread};
use crate::cold::{ColdGroups, Held, Scratch, bring_back};
use crate::error::RuntimeError;
use crate::refused::Refused;
use crate::schedule::{Schedule, StepInput};
use arrow::datatypes::SchemaRef;
use chalk_event::{ChangeBatch, IngestTime, hash_key, shard_of};
use chalk_graph::{Graph, Node, NodeId, NodeKind};
use chalk_operators::{
    GroupState, LateRow, Operator, OperatorError, SavedState, StepTime, exchange, key_columns, operator, state_ports,
};
use chalk_store::runs::Run;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A graph with its operators' state.
pub(crate) struct Dataflow {
    // configuration
    graph: Graph,
    schedule: Schedule,
    /// The ports whose input a save has to have, by node.
    saved_ports: Vec<Vec<usize>>,
    // state
    stages: Vec<Stage>,
    /// Whether every node has had its first step, which some answer without having been asked anything.
    begun: bool,
    /// Inputs of joins and ranks since the last save, when somebody saves.
    unsaved: Option<Unsaved>,
    /// The next node whose groups a save that was begun has to have.
    saving: Option<usize>,
    /// Groups that have left memory, when there is a limit.
    cold: Option<Mutex<ColdGroups>>,
}

/// Changes that came in since the last save.
#[derive(Default)]
struct Unsaved {
    inputs: Inputs,
    bytes: usize,
    batches: usize,
}

/// What a node has to work with.
pub(crate) enum Stage {
    /// Rows come from outside, or leave.
    Outside,
    /// Any split of the rows is fine.
    Stateless(Vec<Box<dyn Operator>>),
    /// Rows go to the shard that owns their key: key columns by input port.
    Sharded { keys: Vec<Vec<usize>>, shards: Vec<Box<dyn Operator>> },
}

/// A late row, with the batch that it is in.
pub(crate) struct Late {
    /// The node that gave it.
    pub(crate) from: NodeId,
    pub(crate) row: LateRow,
    pub(crate) batch: ChangeBatch,
}

/// What a step gives.
#[derive(Default)]
pub(crate) struct StepOutput {
    /// Changes by sink node.
    pub(crate) sinks: Vec<(NodeId, ChangeBatch)>,
    pub(crate) late: Vec<Late>,
    pub(crate) refused: Vec<Refused>,
}

impl Dataflow {
    pub(crate) fn new(graph: Graph, shards: usize) -> Result<Self, RuntimeError> {
        let schedule = Schedule::new(&graph)?;
        let mut stages = Vec::new();
        for (_, node) in graph.iter() {
            let inputs: Vec<_> = node.inputs.iter().map(|&input| graph.node(input).schema.clone()).collect();
            let build = |count: usize| (0..count).map(|_| operator(node, &inputs)).collect::<Result<Vec<_>, _>>();
            stages.push(match (&node.kind, key_columns(node)) {
                (NodeKind::Source(_) | NodeKind::Sink(_), _) => Stage::Outside,
                // Work that is split has to be put together again, which copies.
                (kind, None) => Stage::Stateless(build(if kind.is_selection() { 1 } else { shards })?),
                (_, Some(keys)) => {
                    // Without key columns there is one group, which one shard owns.
                    let shards = if keys.iter().all(Vec::is_empty) { 1 } else { shards };
                    Stage::Sharded { keys, shards: build(shards)? }
                }
            });
        }
        let saved_ports = |(id, node): (NodeId, &Node)| {
            state_ports(node).filter(|&port| !is_reread(&graph, id, port)).collect::<Vec<_>>()
        };
        let saved_ports = graph.iter().map(saved_ports).collect();
        let (unsaved, saving, cold) = (None, None, None);
        Ok(Self { graph, schedule, saved_ports, stages, begun: false, unsaved, saving, cold })
    }

    /// Lets groups leave memory, from here on; before there are any.
    pub(crate) fn spill_to(&mut self, scratch: &Arc<Scratch>) {
        self.cold = Some(Mutex::new(ColdGroups::new(scratch)));
    }

    fn cold(&mut self) -> Option<&mut ColdGroups> {
        self.cold.as_mut().map(|cold| cold.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    /// From here on keeps what [`Dataflow::save`] needs.
    pub(crate) fn begin_saving(&mut self) {
        self.unsaved.get_or_insert_default();
        if let Some(cold) = self.cold() {
            cold.keep_unsaved(true);
        }
    }

    /// Nobody saves any longer.
    pub(crate) fn end_saving(&mut self) {
        self.unsaved = None;
        if let Some(cold) = self.cold() {
            cold.keep_unsaved(false);
        }
    }

    /// How much has been kept since the last save: bytes, and batches of input. Groups are counted when there is a limit to state.
    pub(crate) fn unsaved(&mut self) -> (usize, usize) {
        let Some(unsaved) = &self.unsaved else { return (0, 0) };
        let (bytes, batches) = (unsaved.bytes, unsaved.batches);
        (bytes + self.cold().map_or(0, |cold| cold.unsaved_bytes()), batches)
    }

    /// Begins a save of what has changed since the one before, or since the state was restored; gives the inputs among it. The groups
    /// of the one before must have been given.
    pub(crate) fn begin_save(&mut self) -> Inputs {
        for stage in &mut self.stages {
            if let Stage::Sharded { shards, .. } = stage {
                shards.iter_mut().for_each(|shard| shard.begin_save());
            }
        }
        self.saving = Some(0);
        self.unsaved.as_mut().map(std::mem::take).unwrap_or_default().inputs
    }

    /// Groups that left memory with changes since the last save, oldest first; and what counts the groups of the next one, which is
    /// about to begin.
    pub(crate) fn save_left(&mut self) -> (Vec<Run>, Option<Held>) {
        self.cold().map(|cold| (cold.save(), Some(cold.held()))).unwrap_or_default()
    }

    /// The next groups of the save that was begun, about so many or all of a node's; `None` once all are given.
    pub(crate) fn save_groups(&mut self, about: usize) -> Option<(NodeId, Vec<GroupState>)> {
        while let Some(node) = self.saving {
            let Some(stage) = self.stages.get_mut(node) else {
                self.saving = None;
                break;
            };
            if let Stage::Sharded { shards, .. } = stage {
                let groups: Vec<GroupState> = shards.iter_mut().flat_map(|shard| shard.save(about)).collect();
                if !groups.is_empty() {
                    return Some((NodeId(node), groups));
                }
            }
            self.saving = Some(node + 1);
        }
        None
    }

    /// Lets `restore` give each node with state what it had; nodes are restored in parallel.
    pub(crate) fn restore_each<E: Send>(
        &mut self,
        restore: impl Fn(NodeId, &mut Restoring<'_>) -> Result<(), E> + Sync,
    ) -> Result<(), E> {
        let Self { graph, schedule, stages, cold, .. } = self;
        let cold = cold.as_ref();
        schedule.pool().install(|| {
            stages.par_iter_mut().enumerate().try_for_each(|(index, stage)| match stage {
                Stage::Sharded { keys, shards } => {
                    let node = graph.node(NodeId(index));
                    let inputs = node.inputs.iter().map(|&input| graph.node(input).schema.clone()).collect();
                    restore(
                        NodeId(index),
                        &mut Restoring { id: NodeId(index), node: &node.name, inputs, keys, shards, cold },
                    )
                }
                Stage::Outside | Stage::Stateless(_) => Ok(()),
            })
        })
    }

    /// Gives one node what came in at a port.
    pub(crate) fn restore_input(
        &mut self,
        node: NodeId,
        port: usize,
        batch: &ChangeBatch,
    ) -> Result<(), CheckpointError> {
        let Self { graph, stages, cold, .. } = self;
        let Stage::Sharded { keys, shards } = &mut stages[node.0] else { return Ok(()) };
        let (keys, shards) = (keys.as_slice(), shards.as_mut_slice());
        let inputs = graph.node(node).inputs.iter().map(|&input| graph.node(input).schema.clone()).collect();
        let cold = cold.as_ref();
        Restoring { id: node, node: &graph.node(node).name, inputs, keys, shards, cold }.inputs(port, batch)
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Runs one step: `rows` by source node, `times` by node that acts by event time; its commits were made about when `committed` says.
    pub(crate) fn step(
        &mut self,
        rows: &BTreeMap<NodeId, ChangeBatch>,
        times: &BTreeMap<NodeId, StepTime>,
        committed: Option<IngestTime>,
    ) -> Result<StepOutput, RuntimeError> {
        let time = |(id, node): (NodeId, &Node)| {
            let forgets = match &node.kind {
                NodeKind::Aggregate(aggregate) => aggregate.ttl.is_some(),
                kind => matches!(kind, NodeKind::Forget(_)),
            };
            StepTime { committed: committed.filter(|_| forgets), ..times.get(&id).copied().unwrap_or_default() }
        };
        let times: Vec<StepTime> = self.graph.iter().map(time).collect();
        let Self { graph, schedule, stages, cold, .. } = self;
        let mut cold = cold.as_mut().map(|cold| cold.get_mut().unwrap_or_else(PoisonError::into_inner));
        let runs = cold.as_ref().map(|cold| cold.runs());
        let given = schedule.step(graph, stages, &StepInput { rows, times: &times, all: !self.begun, cold: runs })?;
        self.begun = true;
        if let Some(cold) = &mut cold {
            let sharded = stages.iter_mut().enumerate().filter_map(|(node, stage)| match stage {
                Stage::Sharded { shards, .. } => Some((NodeId(node), shards.as_mut_slice())),
                Stage::Outside | Stage::Stateless(_) => None,
            });
            cold.shrink(&mut sharded.collect::<Vec<_>>())?;
        }
        if let Some(unsaved) = &mut self.unsaved {
            for (id, node) in self.graph.iter() {
                for &port in &self.saved_ports[id.0] {
                    unsaved.keep(id, port, &given[node.inputs[port].0].changes);
                }
            }
        }
        let mut output = StepOutput::default();
        for (id, node) in self.graph.iter() {
            if let (NodeKind::Sink(_), &[input]) = (&node.kind, node.inputs.as_slice()) {
                let changes = &given[input.0].changes;
                if !changes.is_empty() {
                    output.sinks.push((id, changes.clone()));
                }
            }
        }
        for given in given {
            output.late.extend(given.late);
            output.refused.extend(given.refused);
        }
        Ok(output)
    }
}

impl Unsaved {
    fn keep(&mut self, node: NodeId, port: usize, batch: &ChangeBatch) {
        if !batch.is_empty() {
            let port = u8::try_from(port).unwrap_or(u8::MAX);
            self.inputs.entry((node, port)).or_default().push(batch.clone());
            self.bytes += batch.rows().get_array_memory_size();
            self.batches += 1;
        }
    }
}

/// A node whose operators get their state back.
pub(crate) struct Restoring<'a> {
    id: NodeId,
    node: &'a str,
    inputs: Vec<SchemaRef>,
    keys: &'a [Vec<usize>],
    shards: &'a mut [Box<dyn Operator>],
    cold: Option<&'a Mutex<ColdGroups>>,
}

impl Restoring<'_> {
    /// Gives groups to the shards that own them. Those that are too many for memory leave it again.
    pub(crate) fn groups(&mut self, groups: Vec<GroupState>) -> Result<(), CheckpointError> {
        let count = self.shards.len();
        let mut parts: Vec<Vec<GroupState>> = vec![Vec::new(); count];
        for group in groups {
            let shard = if count == 1 { 0 } else { shard_of(hash_key(&group.key), count) };
            parts[shard].push(group);
        }
        let mut pairs = self.shards.iter_mut().zip(&parts);
        pairs.try_for_each(|(shard, groups)| shard.restore(SavedState::Groups(groups)))?;
        self.shrink()
    }

    /// Gives changes that came in at a port to the shards that own their keys. Those that are too many for memory leave it again.
    pub(crate) fn inputs(&mut self, port: usize, batch: &ChangeBatch) -> Result<(), CheckpointError> {
        let node = self.node.to_owned();
        let parts = exchange::split(batch, &self.keys[port], self.shards.len())
            .map_err(|source| OperatorError::Arrow { node, source })?;
        let lock = |cold: &'_ Mutex<ColdGroups>| cold.lock().unwrap_or_else(PoisonError::into_inner).runs().clone();
        let runs = self.cold.map(lock).filter(|runs| !runs.runs().is_empty());
        for (shard, part) in self.shards.iter_mut().zip(parts) {
            let mut inputs: Vec<ChangeBatch> = self.inputs.iter().cloned().map(ChangeBatch::empty).collect();
            inputs[port] = part;
            if let Some(runs) = &runs {
                bring_back::<CheckpointError>(runs, self.id, &mut **shard, &inputs)?;
            }
            shard.restore(SavedState::Inputs(&inputs))?;
        }
        self.shrink()
    }

    fn shrink(&mut self) -> Result<(), CheckpointError> {
        if let Some(cold) = self.cold {
            cold.lock().unwrap_or_else(PoisonError::into_inner).shrink(&mut [(self.id, &mut *self.shards)])?;
        }
        Ok(())
    }
}
