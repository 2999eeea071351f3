//! The operator of a node.

use crate::aggregate::AggregateOperator;
use crate::filter::FilterOperator;
use crate::forget::ForgetOperator;
use crate::join::{ClosingJoinOperator, JoinOperator, LookupOperator};
use crate::output::Output;
use crate::over::OverOperator;
use crate::project::ProjectOperator;
use crate::rank::RankOperator;
use crate::session::SessionOperator;
use crate::union::UnionOperator;
use crate::unnest::UnnestOperator;
use crate::{Operator, OperatorError};
use arrow::datatypes::SchemaRef;
use chalk_graph::{Join, JoinMode, Node, NodeKind};

/// A new operator for a node, with no state; `input_schemas` has one schema per input port.
///
/// Every shard of a stateful node needs one of its own.
///
/// # Errors
/// [`OperatorError::Misuse`] for sources and sinks, which are the runtime's, and for a node that its planner got wrong;
/// [`OperatorError::Arrow`] when a type cannot be kept as state.
pub fn operator(node: &Node, input_schemas: &[SchemaRef]) -> Result<Box<dyn Operator>, OperatorError> {
    let output = Output::of(node);
    let input = |port: usize| {
        input_schemas.get(port).ok_or_else(|| output.misuse(format!("the schema of input {port} is missing")))
    };
    Ok(match &node.kind {
        NodeKind::Project(expressions) => {
            Box::new(ProjectOperator { expressions: expressions.clone(), output: output.clone() })
        }
        NodeKind::Filter(predicate) => {
            Box::new(FilterOperator { predicate: predicate.clone(), output: output.clone() })
        }
        NodeKind::Unnest(unnest) => Box::new(UnnestOperator { unnest: unnest.clone(), output: output.clone() }),
        NodeKind::Union => Box::new(UnionOperator { output: output.clone() }),
        NodeKind::Session(session) => Box::new(SessionOperator::new(session, input(0)?, output.clone())?),
        NodeKind::Aggregate(aggregate) => Box::new(AggregateOperator::new(aggregate, input(0)?, output.clone())?),
        NodeKind::Join(join) => join_operator(join, input(0)?, input(1)?, &output)?,
        NodeKind::Forget(forget) => Box::new(ForgetOperator::new(forget, input(0)?, output.clone())?),
        NodeKind::Rank(rank) => Box::new(RankOperator::new(rank, input(0)?, output.clone())?),
        NodeKind::Over(over) => Box::new(OverOperator::new(over, input(0)?, output.clone())?),
        NodeKind::Source(_) | NodeKind::Sink(_) => {
            return Err(output.misuse("sources and sinks are not operators, the runtime runs them itself".to_owned()));
        }
    })
}

fn join_operator(
    join: &Join,
    left: &SchemaRef,
    right: &SchemaRef,
    output: &Output,
) -> Result<Box<dyn Operator>, OperatorError> {
    let output = output.clone();
    Ok(match &join.mode {
        JoinMode::Live | JoinMode::Forgetting => Box::new(JoinOperator::new(join, left, right, output)?),
        JoinMode::Closing(close) => Box::new(ClosingJoinOperator::new(join, close, left, right, output)?),
        JoinMode::Lookup => Box::new(LookupOperator::new(join, left, right, output)?),
    })
}

/// The columns that each input port's rows are sharded by.
///
/// - `None`: the operator has no state; any split of its rows over any number of operators is fine. So it is for sources and
///   sinks.
/// - `Some(keys)`: one list of columns per input port. Rows of equal keys must go to the same shard, see
///   [`exchange::split`](crate::exchange::split).
/// - `Some` of empty lists: everything is one key, and *only one* operator may be built for the node. That matters beyond the
///   rows: an aggregate without keys gives its row (count 0, sum NULL) in its first step even when there is no input, so a
///   second shard would give a second row. It must therefore be stepped from the first epoch on.
#[must_use]
pub fn key_columns(node: &Node) -> Option<Vec<Vec<usize>>> {
    match &node.kind {
        NodeKind::Session(session) => Some(vec![session.keys.clone()]),
        NodeKind::Aggregate(aggregate) => Some(vec![aggregate.keys.clone()]),
        NodeKind::Join(join) => Some(vec![join.left_keys.clone(), join.right_keys.clone()]),
        NodeKind::Forget(_) => Some(vec![(0..node.schema.fields().len()).collect()]),
        NodeKind::Rank(rank) => Some(vec![rank.partition.clone()]),
        NodeKind::Over(over) => Some(vec![over.partition.clone()]),
        NodeKind::Project(_)
        | NodeKind::Filter(_)
        | NodeKind::Unnest(_)
        | NodeKind::Union
        | NodeKind::Source(_)
        | NodeKind::Sink(_) => None,
    }
}
