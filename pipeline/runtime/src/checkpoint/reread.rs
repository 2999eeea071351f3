//! Inputs that a checkpoint leaves to the log.
//!
//! A join or a rank whose input is a table's wide rows, only chosen and projected, keeps again what the log has already. Such rows
//! are not written into checkpoints: a start reads the topic and takes the same way to the node.
//!
//! ```text
//! topic ─▶ source ─▶ filter ─▶ project ─▶ join          read again
//! topic ─▶ source ─▶ aggregate ─▶ project ─▶ join       kept in the checkpoint
//! ```

use super::CheckpointError;
use crate::dataflow::Dataflow;
use crate::source::SourceTable;
use arrow::datatypes::{DataType, SchemaRef};
use chalk_event::{ChangeBatch, CommitSeq};
use chalk_graph::{Graph, Node, NodeId, NodeKind};
use chalk_log::EventLog;
use chalk_operators::{Operator, StepTime, operator, state_ports};
use chalk_udf_host::Timeline;
use std::collections::{BTreeMap, BTreeSet};

/// Whether the rows that come in at a node's port are read from the log again after a restart.
pub(crate) fn is_reread(graph: &Graph, node: NodeId, port: usize) -> bool {
    let Some(&input) = graph.node(node).inputs.get(port) else { return false };
    state_ports(graph.node(node)).contains(&port) && is_wide(&graph.node(input).schema) && way(graph, input).is_some()
}

/// The topics that a start reads from their beginning, whatever the checkpoint: they can let go of nothing.
#[must_use]
pub fn topics_read_again(graph: &Graph) -> BTreeSet<String> {
    let ports = graph.iter().flat_map(|(id, node)| (0..node.inputs.len()).map(move |port| (id, port)));
    let read_again = ports.filter(|&(id, port)| is_reread(graph, id, port));
    let ways = read_again.filter_map(|(id, port)| way(graph, *graph.node(id).inputs.get(port)?));
    ways.flatten()
        .filter_map(|id| match &graph.node(id).kind {
            NodeKind::Source(source) => Some(source.topic.clone()),
            _ => None,
        })
        .collect()
}

/// Texts of unknown length, such as nested JSON, are views.
fn is_wide(schema: &SchemaRef) -> bool {
    schema.fields().iter().any(|field| *field.data_type() == DataType::Utf8View)
}

/// The nodes from a source to `node`, which do nothing but choose rows and compute columns; `None` if there are others.
fn way(graph: &Graph, node: NodeId) -> Option<Vec<NodeId>> {
    let mut way = vec![node];
    loop {
        let last = graph.node(way[way.len() - 1]);
        match (&last.kind, last.inputs.as_slice()) {
            (NodeKind::Source(_), _) => {
                way.reverse();
                return Some(way);
            }
            (NodeKind::Project(_) | NodeKind::Filter(_), &[input]) => way.push(input),
            _ => return None,
        }
    }
}

/// Gives nodes the rows that checkpoints leave out: those of all commits up to `upto`. `sources` are as new, and are not to be used
/// afterwards.
pub(crate) fn reread(
    log: &dyn EventLog,
    upto: CommitSeq,
    bytes_max: usize,
    mut sources: Vec<SourceTable>,
    dataflow: &mut Dataflow,
    timeline: &Timeline,
) -> Result<(), CheckpointError> {
    let graph = dataflow.graph().clone();
    let failed = |error: &dyn std::fmt::Display| CheckpointError::Reread(error.to_string());
    let mut ports: BTreeMap<NodeId, Vec<(NodeId, usize)>> = BTreeMap::new();
    let mut steps: BTreeSet<NodeId> = BTreeSet::new();
    for (id, node) in graph.iter() {
        for (port, &input) in node.inputs.iter().enumerate().filter(|(port, _)| is_reread(&graph, id, *port)) {
            ports.entry(input).or_default().push((id, port));
            steps.extend(way(&graph, input).into_iter().flatten());
        }
    }
    sources.retain(|source| steps.contains(&source.node));
    let topics: Vec<_> = sources.iter().map(|source| source.topic).collect();
    let mut operators: Vec<(NodeId, &Node, Box<dyn Operator>)> = Vec::new();
    for &id in steps.iter().filter(|id| !matches!(graph.node(**id).kind, NodeKind::Source(_))) {
        let node = graph.node(id);
        let inputs: Vec<SchemaRef> = node.inputs.iter().map(|&input| graph.node(input).schema.clone()).collect();
        operators.push((id, node, operator(node, &inputs)?));
    }
    let time = StepTime::default();
    let mut position = CommitSeq(0);
    while position < upto && !topics.is_empty() {
        let (mut commits, read) = log.read(position, &topics, bytes_max).map_err(|error| failed(&error))?;
        let end = timeline.next_end(position).map_or(upto, |end| end.min(upto));
        commits.retain(|commit| commit.seq <= end);
        timeline.stand_at(position);
        position = read.min(end);
        let mut rows: BTreeMap<NodeId, ChangeBatch> = BTreeMap::new();
        for source in &mut sources {
            let table = source.read(&commits).map_err(|error| failed(&error))?;
            rows.insert(source.node, ChangeBatch::inserts(table.rows));
        }
        for (id, node, operator) in &mut operators {
            let inputs: Vec<ChangeBatch> = node.inputs.iter().map(|input| rows[input].clone()).collect();
            let step = operator.step(&inputs, time)?;
            rows.insert(*id, step.changes);
        }
        for (input, ports) in &ports {
            for &(node, port) in ports.iter().filter(|_| !rows[input].is_empty()) {
                dataflow.restore_input(node, port, &rows[input])?;
            }
        }
    }
    Ok(())
}
