//! Where a running pipeline becomes another: between two epochs, in one place.
//!
//! ```text
//! epochs    … 41   42   │   43   44 …
//! commits   … 900  907  │  908 …
//!                       └ record: another build since commit 907
//! ```
//!
//! Everything up to the switch is computed as before, everything after it as is said by it. The record stands in the log behind what the epochs before
//! led to, and before what any later one leads to: a kill leaves both or neither, and whoever computes these commits again, a start or a replay,
//! switches at the same commit. Whatever changes a pipeline while it runs is a [`Switch`].

use chalk_catalog::ControlEvent;
use chalk_event::{CommitSeq, Epoch};
use chalk_graph::{AggregateFunction, Graph, Node, NodeKind};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// What changes between two epochs.
pub struct Switch {
    /// What the log is to say of it, given the last commit before it.
    pub record: Box<dyn FnOnce(CommitSeq) -> ControlEvent + Send>,
    /// Makes it so for all that is computed afterwards, given the same.
    pub apply: Box<dyn FnOnce(CommitSeq) + Send>,
}

/// When a switch was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switched {
    /// The last epoch before it.
    pub epoch: Epoch,
    /// The last commit before it.
    pub after: CommitSeq,
}

/// A switch that somebody waits for.
pub(crate) struct Asked {
    pub(crate) switch: Switch,
    pub(crate) answer: Sender<Switched>,
}

/// A switch that was made, and is to be recorded.
pub(crate) struct Made {
    pub(crate) record: ControlEvent,
    pub(crate) switched: Switched,
    pub(crate) answer: Sender<Switched>,
}

/// Whether another build of a function can be called from one epoch to the next; the node where it cannot. What a build gave can only be taken back
/// by the same one: so it can where rows are never taken back, and groups given once.
///
/// # Errors
/// The name of the query that takes back what it gives.
pub fn can_switch(graph: &Graph, function: &str) -> Result<(), String> {
    let is_append_only = |node: &Node| match &node.kind {
        NodeKind::Source(_) => node.append_only,
        NodeKind::Aggregate(aggregate) => aggregate.close.is_some(),
        NodeKind::Over(_) => false,
        _ => node.inputs.iter().all(|&input| graph.node(input).append_only),
    };
    match graph.nodes.iter().find(|node| calls(node, function) && !is_append_only(node)) {
        None => Ok(()),
        Some(node) => Err(node.name.split('/').next().unwrap_or(&node.name).to_owned()),
    }
}

/// Whether a node calls a function.
fn calls(node: &Node, function: &str) -> bool {
    let in_any = |expressions: &[Arc<dyn PhysicalExpr>]| expressions.iter().any(|each| called_in(each, function));
    match &node.kind {
        NodeKind::Source(source) => {
            in_any(&source.expressions) || source.watermark.iter().any(|each| called_in(each, function))
        }
        NodeKind::Project(expressions) => in_any(expressions),
        NodeKind::Filter(predicate) => called_in(predicate, function),
        NodeKind::Aggregate(aggregate) => aggregate.calls.iter().any(|call| match &call.function {
            AggregateFunction::Recompute(of) => of.fun().name() == function,
            _ => false,
        }),
        // Their names have those of the functions in them.
        NodeKind::Over(over) => over.functions.iter().any(|of| of.name().contains(function)),
        _ => false,
    }
}

fn called_in(expression: &Arc<dyn PhysicalExpr>, function: &str) -> bool {
    let mut found = false;
    // Looking at an expression does not fail.
    let _ = expression.apply(|part| {
        found |= part.downcast_ref::<ScalarFunctionExpr>().is_some_and(|call| call.name() == function);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}
