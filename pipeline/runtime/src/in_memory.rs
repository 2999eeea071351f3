//! A graph over rows in memory: what its operators do and cost, without log, checkpoints and views.

use crate::clocks::timed_nodes;
use crate::dataflow::Dataflow;
use crate::error::RuntimeError;
use chalk_event::{ChangeBatch, EventTime, Watermark};
use chalk_graph::{Graph, NodeId, NodeKind};
use chalk_operators::StepTime;
use std::collections::BTreeMap;

/// A graph that is given rows step by step.
pub struct InMemory {
    dataflow: Dataflow,
    /// Its sources, by table.
    sources: Vec<(NodeId, String)>,
    /// The nodes that act by event time.
    timed: Vec<NodeId>,
    watermark: Watermark,
}

impl InMemory {
    /// A graph without state.
    ///
    /// # Errors
    /// When an operator cannot be made.
    pub fn new(graph: &Graph, shards: usize) -> Result<Self, RuntimeError> {
        let source = |(id, node): (NodeId, &chalk_graph::Node)| match &node.kind {
            NodeKind::Source(source) => Some((id, source.table.clone())),
            _ => None,
        };
        let sources = graph.iter().filter_map(source).collect();
        let (timed, dataflow) = (timed_nodes(graph).collect(), Dataflow::new(graph.clone(), shards)?);
        Ok(Self { dataflow, sources, timed, watermark: Watermark::default() })
    }

    /// Gives each table rows in its columns, of an event time up to `watermark` in nanoseconds; gives the changes that reached sinks.
    ///
    /// # Errors
    /// When an operator fails.
    pub fn step(
        &mut self,
        rows: &BTreeMap<String, ChangeBatch>,
        watermark: i64,
    ) -> Result<Vec<ChangeBatch>, RuntimeError> {
        let before = self.watermark;
        self.watermark.advance(EventTime(watermark));
        let mut inputs = BTreeMap::new();
        for (node, table) in &self.sources {
            if let Some(rows) = rows.get(table) {
                inputs.insert(*node, rows.clone());
            }
        }
        let time = StepTime { before, after: self.watermark, committed: None };
        let times = self.timed.iter().map(|&node| (node, time)).collect();
        let output = self.dataflow.step(&inputs, &times, None)?;
        Ok(output.sinks.into_iter().map(|(_, changes)| changes).collect())
    }
}
