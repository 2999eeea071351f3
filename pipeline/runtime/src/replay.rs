//! Views rebuilt from the log alone, into memory: nothing is appended, written or shown.
//!
//! It is the engine's computation without the engine: the same sources, steps and operators over the same commits. Derived
//! events are read from the log as they were recorded, so what a replay derives again goes nowhere.

use crate::dataflow::Dataflow;
use crate::engine::{Engine, compute};
use crate::error::RuntimeError;
use crate::pipeline::sources;
use chalk_catalog::TopicId;
use chalk_event::{CommitSeq, Epoch, consolidate};
use chalk_graph::{Graph, NodeKind, SinkTarget};
use chalk_log::EventLog;
use chalk_view::{Snapshot, ViewRows};
use std::collections::BTreeMap;

/// How a replay runs, and how far.
#[derive(Clone, Copy, Debug)]
pub struct ReplayOptions {
    /// The last commit that it sees.
    pub until: CommitSeq,
    /// How many shards state and work are split into; the result does not depend on it.
    pub shards: usize,
    /// So many bytes of frames are computed at once; the result does not depend on it.
    pub epoch_bytes_max: usize,
}

/// What a replay gives.
#[derive(Debug)]
pub struct Replayed {
    /// The views as of the last commit. Its epoch is 0: a replay has its own.
    pub snapshot: Snapshot,
    /// Rows that sources gave.
    pub rows_in: u64,
    /// Rows that arrived after their window had closed.
    pub late: u64,
}

/// Computes the views of a graph from the first commit of a log up to another.
///
/// # Errors
/// When a topic of the graph is not in the log, reading fails, or an operator fails.
pub fn replay(graph: &Graph, log: &dyn EventLog, options: ReplayOptions) -> Result<Replayed, RuntimeError> {
    let mut dataflow = Dataflow::new(graph.clone(), options.shards)?;
    let mut sources = sources(graph, log)?;
    let (mut views, mut names) = (BTreeMap::new(), BTreeMap::new());
    for (id, node) in graph.iter() {
        if let NodeKind::Sink(sink) = &node.kind
            && let SinkTarget::View(name) = &sink.target
        {
            views.insert(name.clone(), ViewRows::new(name, node.schema.clone())?);
            names.insert(id, name);
        }
    }
    let closers = Engine::new_closers(&dataflow);
    let topics: Vec<TopicId> = sources.iter().map(|source| source.topic).collect();
    let (mut position, mut rows_in, mut late) = (CommitSeq(0), 0, 0);
    // What there is without any row, as when a pipeline starts.
    let mut output = dataflow.step(&BTreeMap::new(), &BTreeMap::new())?;
    loop {
        late += output.late.len() as u64;
        for (node, changes) in output.sinks {
            if let Some(view) = names.get(&node).and_then(|name| views.get_mut(*name)) {
                view.apply(&consolidate(&changes)?)?;
            }
        }
        if position >= options.until {
            break;
        }
        let (mut commits, read_upto) = log.read(position, &topics, options.epoch_bytes_max)?;
        if read_upto <= position {
            break;
        }
        commits.retain(|commit| commit.seq <= options.until);
        position = read_upto.min(options.until);
        let computed = compute(&mut dataflow, &mut sources, &closers, &commits)?;
        rows_in += computed.1;
        output = computed.0;
    }
    Ok(Replayed { snapshot: Snapshot { epoch: Epoch(0), upto: position, settled: position, views }, rows_in, late })
}
