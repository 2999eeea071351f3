//! `SELECT DISTINCT ON (key) … ORDER BY key, order`: the first row of each key, as a ranking and a filter on it.
//!
//! The optimiser would take the first value of each column by itself; where the order does not tell rows apart, these can be of several rows.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, WindowFrame, lit,
};
use std::sync::Arc;

/// Ranks instead, wherever it stands in a plan.
pub(crate) fn ranked(plan: LogicalPlan) -> Result<LogicalPlan> {
    let ranked = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Distinct(Distinct::On(on)) => first_of_each(on).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(ranked.data)
}

fn first_of_each(on: DistinctOn) -> Result<LogicalPlan> {
    let order = on.sort_expr.unwrap_or_default();
    let frame = WindowFrame::new((!order.is_empty()).then_some(false));
    let place = row_number().partition_by(on.on_expr).order_by(order).window_frame(frame).build()?;
    let first = Expr::Column(Column::from_name(place.schema_name().to_string())).eq(lit(1_u64));
    LogicalPlanBuilder::from(Arc::unwrap_or_clone(on.input))
        .window(vec![place])?
        .filter(first)?
        .project(on.select_expr)?
        .build()
}
