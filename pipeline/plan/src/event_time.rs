//! Windows get the column that they are over, the one that is marked as event time in their input; and what is no function of one row's time becomes
//! a plan of its own.
//!
//! ```text
//! aggregate by hop(slide, width), k          aggregate by window, k
//!   scan t                            ──▶      unnest window
//!                                                project *, hop_windows(slide, width, at) as window
//!                                                  scan t
//!
//! aggregate by session(gap), k               aggregate by window, k
//!   scan t                            ──▶      window session_window(at, gap) over (partition by k order by at)
//!                                                scan t
//! ```
//!
//! Where the input has no such column but windows, they are times, too: a row that is of a window happened when that ended, a nanosecond before, so
//! that it is in those windows alone that the other's end does not go beyond.

use crate::relation::is_event_time;
use crate::scalar::ROW_TIME;
use crate::windows::{HOP, SESSION, TUMBLE, hop_windows, is_window, session_window};
use arrow::datatypes::{Field, IntervalMonthDayNano};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue, UnnestOptions, plan_err};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::expr::{ScalarFunction, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition, lit,
};
use std::sync::Arc;

/// The column with the windows of `hop`.
const WINDOW: &str = "_window";

/// Resolves every window of a plan.
pub(crate) fn resolve(plan: LogicalPlan) -> Result<LogicalPlan> {
    let resolved = plan.transform_up_with_subqueries(|plan| {
        let inputs: Vec<DFSchema> = plan.inputs().iter().map(|input| input.schema().as_ref().clone()).collect();
        let changed = plan.map_expressions(|expr| add_event_time(expr, &inputs))?;
        if !changed.transformed {
            return Ok(changed);
        }
        let plan = expanded(changed.data)?.recompute_schema()?;
        Ok(Transformed::yes(plan))
    })?;
    Ok(resolved.data)
}

/// How many arguments a function of the event time has before it is resolved.
fn durations(function: &str) -> Option<usize> {
    match function {
        TUMBLE | SESSION => Some(1),
        HOP => Some(2),
        ROW_TIME => Some(0),
        _ => None,
    }
}

fn add_event_time(expr: Expr, inputs: &[DFSchema]) -> Result<Transformed<Expr>> {
    if let Expr::GroupingSet(_) = expr {
        return expr.map_children(|key| add_event_time(key, inputs));
    }
    let top_name = expr.schema_name().to_string();
    let changed = expr.transform_up(|expr| match expr {
        Expr::ScalarFunction(function) if durations(function.name()) == Some(function.args.len()) => {
            let time = event_time_of(function.name(), inputs)?;
            let mut args = function.args;
            args.push(time);
            Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func: function.func, args })))
        }
        other => Ok(Transformed::no(other)),
    })?;
    // Parents refer to it by the name that it had.
    Ok(changed.update_data(|expr| if expr.schema_name().to_string() == top_name { expr } else { expr.alias(top_name) }))
}

/// The event time of a row: a column that is marked as that, or else the end of its window.
fn event_time_of(function: &str, inputs: &[DFSchema]) -> Result<Expr> {
    let columns = |is_meant: fn(&Field) -> bool| -> Vec<Column> {
        let fields = inputs.iter().flat_map(|schema| schema.iter()).filter(|(_, field)| is_meant(field));
        fields.map(|(qualifier, field)| Column::new(qualifier.cloned(), field.name())).collect()
    };
    let (times, windows) = (columns(is_event_time), columns(is_window));
    match (times.as_slice(), windows.as_slice()) {
        ([time], _) => Ok(Expr::Column(time.clone())),
        ([], [window]) => {
            let end = get_field(Expr::Column(window.clone()), "end");
            Ok(end - lit(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, 1)))))
        }
        ([], []) => plan_err!(
            "{function}: no column here is event time; the table needs WATERMARK FOR, and a subquery or view must select that column, or the window that it is grouped by"
        ),
        ([], several) | (several, _) => {
            let names: Vec<String> = several.iter().map(Column::flat_name).collect();
            plan_err!(
                "{function}: which event time is meant? {} are; select just one of them in a subquery",
                names.join(" and ")
            )
        }
    }
}

/// The calls of `hop` and `session` in an expression.
fn calls(expr: &Expr, found: &mut Vec<ScalarFunction>) -> Result<()> {
    expr.apply(|part| {
        if let Expr::ScalarFunction(function) = part
            && matches!(function.name(), HOP | SESSION)
            && !found.contains(function)
        {
            found.push(function.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map(drop)
}

/// A plan whose expressions name windows that depend on more than a row's time, over a plan that makes these windows.
fn expanded(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut found = Vec::new();
    plan.apply_expressions(|expr| calls(expr, &mut found).map(|()| TreeNodeRecursion::Continue))?;
    let call = match found.as_slice() {
        [] => return Ok(plan),
        [call] => call,
        [first, second, ..] => {
            return plan_err!("{} and {}: one window at a time; put one into a subquery", first.name(), second.name());
        }
    };
    let (input, column) = match (&plan, call.name()) {
        (LogicalPlan::Aggregate(aggregate), SESSION) => sessions(aggregate, call)?,
        (_, SESSION) => {
            return plan_err!("session(gap) stands in GROUP BY: what belongs to one session depends on its other keys");
        }
        (LogicalPlan::Aggregate(aggregate), _) if is_key(aggregate, call)? => hops(&aggregate.input, call)?,
        (LogicalPlan::Projection(projection), _) => hops(&projection.input, call)?,
        _ => return plan_err!("hop(slide, width) stands in the select list and in GROUP BY"),
    };
    let column = Expr::Column(column);
    let call = Expr::ScalarFunction(call.clone());
    let replaced = |expr: Expr| {
        let name = expr.schema_name().to_string();
        let changed = expr.transform_up(|part| {
            Ok(if part == call { Transformed::yes(column.clone()) } else { Transformed::no(part) })
        })?;
        Ok(changed.update_data(|expr| if expr.schema_name().to_string() == name { expr } else { expr.alias(name) }))
    };
    let each = |expr: Expr| match expr {
        Expr::GroupingSet(_) => expr.map_children(replaced),
        expr => replaced(expr),
    };
    let expressions = plan.expressions().into_iter().map(|expr| Ok(each(expr)?.data)).collect::<Result<Vec<_>>>()?;
    plan.with_new_exprs(expressions, vec![input])
}

/// Whether rows are grouped by a call.
fn is_key(aggregate: &Aggregate, call: &ScalarFunction) -> Result<bool> {
    let mut found = Vec::new();
    aggregate.group_expr.iter().try_for_each(|expr| calls(expr, &mut found))?;
    Ok(found.contains(call))
}

/// The input with a row for each window that a row is in, and the column of these.
fn hops(input: &LogicalPlan, call: &ScalarFunction) -> Result<(LogicalPlan, Column)> {
    let columns =
        input.schema().iter().map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())));
    let windows = ScalarFunction { func: Arc::new(hop_windows()), args: call.args.clone() };
    let columns = columns.chain([Expr::ScalarFunction(windows).alias(WINDOW)]);
    let column = Column::from_name(WINDOW);
    let unnested = LogicalPlanBuilder::from(input.clone())
        .project(columns.collect::<Vec<_>>())?
        .unnest_column_with_options(column.clone(), UnnestOptions::new().with_preserve_nulls(false))?;
    Ok((unnested.build()?, column))
}

/// The input with the session of each row, and the column of these.
fn sessions(aggregate: &Aggregate, call: &ScalarFunction) -> Result<(LogicalPlan, Column)> {
    let (mut keys, mut is_key) = (Vec::new(), false);
    for expr in &aggregate.group_expr {
        let mut found = Vec::new();
        calls(expr, &mut found)?;
        match expr.clone().unalias() {
            Expr::ScalarFunction(function) if function == *call => is_key = true,
            _ if !found.is_empty() => return plan_err!("session(gap) is a key of its own in GROUP BY"),
            key => keys.push(key),
        }
    }
    let ([gap, time], true) = (call.args.as_slice(), is_key) else {
        return plan_err!("session(gap) stands in GROUP BY");
    };
    let function = WindowFunctionDefinition::WindowUDF(Arc::new(session_window()));
    let function = Expr::from(WindowFunction::new(function, vec![time.clone(), gap.clone()]));
    let function = function.partition_by(keys).order_by(vec![time.clone().sort(true, false)]).build()?;
    let column = Column::from_name(function.schema_name().to_string());
    let input = LogicalPlanBuilder::from(aggregate.input.as_ref().clone()).window(vec![function])?.build()?;
    Ok((input, column))
}
