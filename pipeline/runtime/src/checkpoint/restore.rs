//! Reading a checkpoint back into a dataflow and its views.

use super::{CheckpointError, Manifest, input_schema, is_reread, prefix, row_converter};
use crate::cold::ColdViews;
use crate::dataflow::Dataflow;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chalk_event::ChangeBatch;
use chalk_graph::{NodeId, NodeKind, SinkTarget};
use chalk_operators::{GroupState, StateKind, state_kind};
use chalk_store::Storage;
use chalk_store::runs::{RunSet, Value};
use chalk_view::ViewRows;
use std::collections::BTreeMap;
use std::sync::Arc;

/// So many rows or groups are given back at once.
const ROWS: usize = 8192;

/// Fills a new dataflow and its empty views with what a checkpoint says. What it leaves to the log is not among that. Rows that are too
/// many for memory leave it, when there is a limit.
pub(crate) fn restore(
    manifest: &Manifest,
    storage: &Arc<dyn Storage>,
    dataflow: &mut Dataflow,
    views: &mut BTreeMap<String, ViewRows>,
    mut cold: Option<&mut ColdViews>,
) -> Result<(), CheckpointError> {
    let runs = RunSet::open(Arc::clone(storage), &manifest.runs)?;
    let graph = dataflow.graph().clone();
    dataflow.restore_each(|node, give| match state_kind(graph.node(node)) {
        StateKind::Stateless => Ok(()),
        StateKind::Groups => groups(&runs, node, |groups| give.groups(groups)),
        StateKind::Inputs => {
            (0..graph.node(node).inputs.len()).filter(|&port| !is_reread(&graph, node, port)).try_for_each(|port| {
                let port = u8::try_from(port).unwrap_or(u8::MAX);
                let unknown = || CheckpointError::Unknown(format!("input {port} of node {}", node.0));
                let schema = input_schema(&graph, node, port).ok_or_else(unknown)?;
                rows(&runs, node, port, &schema, |batch| give.inputs(usize::from(port), &batch))
            })
        }
    })?;
    for (id, node) in graph.iter() {
        if let NodeKind::Sink(sink) = &node.kind
            && let SinkTarget::View(name) = &sink.target
            && let Some(view) = views.get_mut(name)
        {
            rows(&runs, id, 0, &node.schema, |batch| {
                view.apply(&batch)?;
                Ok(cold.as_mut().map_or(Ok(()), |cold| cold.shrink(view, None))?)
            })?;
        }
    }
    Ok(())
}

fn groups(
    runs: &RunSet,
    node: NodeId,
    mut give: impl FnMut(Vec<GroupState>) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    let prefix = prefix(node, 0);
    let mut scan = runs.scan_prefix(&prefix);
    let mut groups = Vec::new();
    while let Some((key, value)) = scan.advance()? {
        let Value::Bytes(state) = value else {
            return Err(CheckpointError::Unknown(format!("node {} has groups, not rows", node.0)));
        };
        groups.push(GroupState { key: key[prefix.len()..].into(), state: Some(state.to_vec()) });
        if groups.len() == ROWS {
            give(std::mem::take(&mut groups))?;
        }
    }
    if groups.is_empty() { Ok(()) } else { give(groups) }
}

fn rows(
    runs: &RunSet,
    node: NodeId,
    port: u8,
    schema: &SchemaRef,
    mut give: impl FnMut(ChangeBatch) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    if schema.fields().is_empty() {
        return Ok(());
    }
    let prefix = prefix(node, port);
    let converter = row_converter(schema)?;
    let parser = converter.parser();
    let mut scan = runs.scan_prefix(&prefix);
    let (mut rows, mut weights): (Vec<Box<[u8]>>, Vec<i64>) = (Vec::new(), Vec::new());
    loop {
        let next = scan.advance()?;
        let ended = next.is_none();
        if let Some((key, value)) = next {
            let Value::Weight(weight) = value else {
                return Err(CheckpointError::Unknown(format!("node {} has rows, not groups", node.0)));
            };
            rows.push(key[prefix.len()..].into());
            weights.push(weight);
        }
        if rows.len() == ROWS || (ended && !rows.is_empty()) {
            let columns = converter.convert_rows(rows.iter().map(|row| parser.parse(row)))?;
            let batch = RecordBatch::try_new(Arc::clone(schema), columns)?;
            rows.clear();
            give(ChangeBatch::weighted(batch, std::mem::take(&mut weights)))?;
        }
        if ended {
            return Ok(());
        }
    }
}
