//! One step through the graph: each node once all its inputs are there, nodes that do not wait for each other at once.
//!
//! ```text
//! orders ─▶ price ─▶ topic            these two lines run side by side,
//! prices ─▶ rank ─┬▶ join ─▶ view     and so do the branches of one
//!                 └▶ aggregate ─▶ view
//! ```
//!
//! What a node gives depends on its inputs alone, so that the order in which nodes run is nobody's business.

use crate::cold::bring_back;
use crate::dataflow::{Late, Stage};
use crate::error::RuntimeError;
use crate::refused::Refused;
use chalk_event::ChangeBatch;
use chalk_graph::{Graph, NodeId, NodeKind};
use chalk_operators::{LateRow, Operator, StepTime, exchange};
use chalk_store::runs::RunSet;
use rayon::iter::{
    IndexedParallelIterator, IntoParallelIterator, IntoParallelRefIterator, IntoParallelRefMutIterator,
    ParallelIterator,
};
use rayon::{Scope, ThreadPool};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Batches smaller than this are not worth taking apart for more than one thread.
const SPLIT_ROWS_MIN: usize = 512;
/// From so many rows on a step is worth waking other threads.
const PARALLEL_ROWS_MIN: usize = 32;

/// What the steps of a graph have in common.
pub(crate) struct Schedule {
    pool: ThreadPool,
    /// What a node gives that has nothing to say, by node.
    nothing: Vec<ChangeBatch>,
    /// Who waits for a node, by node; twice for whom it is both inputs.
    consumers: Vec<Vec<usize>>,
}

/// What a node gave in a step.
pub(crate) struct Given {
    pub(crate) changes: ChangeBatch,
    pub(crate) late: Vec<Late>,
    pub(crate) refused: Vec<Refused>,
}

impl Given {
    /// Changes and nothing else.
    fn changes(changes: ChangeBatch) -> Self {
        Self { changes, late: Vec::new(), refused: Vec::new() }
    }
}

/// What a step is about.
pub(crate) struct StepInput<'a> {
    /// By source node.
    pub(crate) rows: &'a BTreeMap<NodeId, ChangeBatch>,
    /// By node; sources move those that act on time.
    pub(crate) times: &'a [StepTime],
    /// Nodes run even without input.
    pub(crate) all: bool,
    /// Groups that are not in memory.
    pub(crate) cold: Option<&'a RunSet>,
}

impl Schedule {
    pub(crate) fn new(graph: &Graph) -> Result<Self, RuntimeError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .thread_name(|number| format!("worker-{number}"))
            .build()
            .map_err(|error| RuntimeError::Threads(error.to_string()))?;
        let nothing = graph.nodes.iter().map(|node| ChangeBatch::empty(node.schema.clone())).collect();
        let mut consumers = vec![Vec::new(); graph.nodes.len()];
        for (id, node) in graph.iter() {
            for input in &node.inputs {
                consumers[input.0].push(id.0);
            }
        }
        Ok(Self { pool, nothing, consumers })
    }

    pub(crate) fn pool(&self) -> &ThreadPool {
        &self.pool
    }

    /// Runs every node that has something to do; gives what each gave, in the graph's order.
    pub(crate) fn step(
        &self,
        graph: &Graph,
        stages: &mut [Stage],
        input: &StepInput<'_>,
    ) -> Result<Vec<Given>, RuntimeError> {
        let waits = graph.nodes.iter().map(|node| AtomicUsize::new(node.inputs.len())).collect();
        let given = graph.nodes.iter().map(|_| OnceLock::new()).collect();
        let stages = stages.iter_mut().map(Mutex::new).collect();
        let running = Running {
            schedule: self,
            graph,
            input,
            stages,
            waits,
            given,
            stopped: AtomicBool::new(false),
            error: Mutex::new(None),
        };
        if input.rows.values().map(ChangeBatch::len).sum::<usize>() < PARALLEL_ROWS_MIN {
            (0..graph.nodes.len()).for_each(|node| running.compute(node));
        } else {
            let sources = (0..graph.nodes.len()).filter(|&node| graph.nodes[node].inputs.is_empty());
            self.pool.scope(|scope| sources.for_each(|source| running.follow(scope, source)));
        }
        let Running { given, error, .. } = running;
        match error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(given.into_iter().filter_map(OnceLock::into_inner).collect()),
        }
    }
}

/// A step on its way.
struct Running<'a> {
    schedule: &'a Schedule,
    graph: &'a Graph,
    input: &'a StepInput<'a>,
    /// By node; nobody else ever holds one.
    stages: Vec<Mutex<&'a mut Stage>>,
    /// How many inputs a node still waits for.
    waits: Vec<AtomicUsize>,
    given: Vec<OnceLock<Given>>,
    stopped: AtomicBool,
    error: Mutex<Option<RuntimeError>>,
}

impl Running<'_> {
    /// Computes a node whose inputs are there and then those that it was the last input of: one after the other here, what else
    /// has work on any thread.
    fn follow<'s>(&'s self, scope: &Scope<'s>, node: usize) {
        let mut next = vec![node];
        while let Some(node) = next.pop() {
            self.compute(node);
            let mut goes_on = false;
            for &consumer in &self.schedule.consumers[node] {
                if self.waits[consumer].fetch_sub(1, Ordering::AcqRel) > 1 {
                    continue;
                }
                if self.is_idle(consumer) || !std::mem::replace(&mut goes_on, true) {
                    next.push(consumer);
                } else {
                    scope.spawn(move |scope| self.follow(scope, consumer));
                }
            }
        }
    }

    fn changes(&self, node: NodeId) -> &ChangeBatch {
        self.given[node.0].get().map_or(&self.schedule.nothing[node.0], |given| &given.changes)
    }

    /// Most nodes have nothing to do in most small steps.
    fn is_idle(&self, node: usize) -> bool {
        let time = self.input.times[node];
        let inputs = &self.graph.nodes[node].inputs;
        let is_timeless = time.before == time.after && time.committed.is_none();
        !self.input.all && is_timeless && inputs.iter().all(|&input| self.changes(input).is_empty())
    }

    fn compute(&self, node: usize) {
        let given = match self.graph.nodes[node].kind {
            _ if self.stopped.load(Ordering::Acquire) => Ok(None),
            NodeKind::Source(_) => {
                let rows = self.input.rows.get(&NodeId(node));
                Ok(rows.cloned().map(Given::changes))
            }
            NodeKind::Sink(_) => Ok(None),
            _ if self.is_idle(node) => Ok(None),
            _ => self.operate(node).map(Some),
        };
        let given = given.unwrap_or_else(|error| {
            self.stopped.store(true, Ordering::Release);
            self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            None
        });
        let nothing = || Given::changes(self.schedule.nothing[node].clone());
        self.given[node].get_or_init(|| given.unwrap_or_else(nothing));
    }

    fn operate(&self, index: usize) -> Result<Given, RuntimeError> {
        let node = &self.graph.nodes[index];
        let inputs: Vec<ChangeBatch> = node.inputs.iter().map(|&input| self.changes(input).clone()).collect();
        let (pool, time) = (&self.schedule.pool, self.input.times[index]);
        let from = |port: usize| node.inputs.get(port).copied().unwrap_or(NodeId(index));
        let mut stage = self.stages[index].lock().unwrap_or_else(PoisonError::into_inner);
        let parts = match &mut **stage {
            Stage::Outside => Vec::new(),
            Stage::Stateless(operators) => run_slices(pool, operators, &inputs, time, &from)?,
            Stage::Sharded { keys, shards } => {
                let parts = split(keys, shards.len(), &inputs)?;
                if let Some(cold) = self.input.cold.filter(|cold| !cold.runs().is_empty()) {
                    let pairs = shards.par_iter_mut().zip(parts.par_iter());
                    let back = |(shard, inputs): (&mut Box<dyn Operator>, &Inputs)| {
                        bring_back::<RuntimeError>(cold, NodeId(index), &mut **shard, inputs)
                    };
                    pool.install(|| pairs.try_for_each(back))?;
                }
                run(pool, shards, parts, time, &from)?
            }
        };
        let (mut changes, mut late, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            changes.push(part.changes);
            late.extend(part.late);
            refused.extend(part.refused.into_iter().map(|row| Refused { node: node.name.clone(), ..row }));
        }
        Ok(Given { changes: ChangeBatch::concat(&node.schema, &changes)?, late, refused })
    }
}

type Inputs = Vec<ChangeBatch>;

/// Runs one operator per part of the input, in parallel when there is enough to do; `from` says which node gives what comes in at a port.
fn run(
    pool: &ThreadPool,
    operators: &mut [Box<dyn Operator>],
    parts: Vec<Inputs>,
    time: StepTime,
    from: &(dyn Fn(usize) -> NodeId + Sync),
) -> Result<Vec<Given>, RuntimeError> {
    let rows: usize = parts.iter().flatten().map(ChangeBatch::len).sum();
    let step = |(operator, inputs): (&mut Box<dyn Operator>, Inputs)| {
        let step = operator.step(&inputs, time)?;
        let batch = |port: usize| inputs.get(port).cloned().unwrap_or_else(|| step.changes.clone());
        let late = |row: &LateRow| Late { from: from(row.port), row: row.clone(), batch: batch(row.port) };
        let late = step.late.iter().map(late).collect();
        let rows = step.refused.iter().filter_map(|row| Refused::of(row, inputs.first()?));
        let refused = rows.chain(step.refused_groups.iter().map(Refused::of_group)).collect::<Result<_, _>>()?;
        Ok(Given { changes: step.changes, late, refused })
    };
    if rows < SPLIT_ROWS_MIN || parts.len() == 1 {
        operators.iter_mut().zip(parts).map(step).collect()
    } else {
        pool.install(|| operators.par_iter_mut().zip(parts.into_par_iter()).map(step).collect())
    }
}

fn run_slices(
    pool: &ThreadPool,
    operators: &mut [Box<dyn Operator>],
    inputs: &[ChangeBatch],
    time: StepTime,
    from: &(dyn Fn(usize) -> NodeId + Sync),
) -> Result<Vec<Given>, RuntimeError> {
    let rows: usize = inputs.iter().map(ChangeBatch::len).sum();
    let count = if rows < SPLIT_ROWS_MIN { 1 } else { operators.len() };
    let slice = |batch: &ChangeBatch, part: usize| {
        let (from, to) = (batch.len() * part / count, batch.len() * (part + 1) / count);
        batch.slice(from, to - from)
    };
    let parts = (0..count).map(|part| inputs.iter().map(|batch| slice(batch, part)).collect()).collect();
    run(pool, &mut operators[..count], parts, time, from)
}

/// The part of each shard.
fn split(keys: &[Vec<usize>], shards: usize, inputs: &[ChangeBatch]) -> Result<Vec<Inputs>, RuntimeError> {
    let mut parts: Vec<Inputs> = vec![Vec::with_capacity(inputs.len()); shards];
    for (batch, keys) in inputs.iter().zip(keys) {
        for (part, rows) in parts.iter_mut().zip(exchange::split(batch, keys, shards)?) {
            part.push(rows);
        }
    }
    Ok(parts)
}
