//! `tumble(width)` gets the column that it is over: the one that is marked as event time in its input.

use crate::functions::{TUMBLE, width_of};
use crate::relation::is_event_time;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Adds the event time to every `tumble` of a plan.
pub(crate) fn resolve(plan: LogicalPlan) -> Result<LogicalPlan> {
    let resolved = plan.transform_up_with_subqueries(|plan| {
        let inputs: Vec<DFSchema> = plan.inputs().iter().map(|input| input.schema().as_ref().clone()).collect();
        let changed = plan.map_expressions(|expr| add_event_time(expr, &inputs))?;
        if changed.transformed { Ok(Transformed::yes(changed.data.recompute_schema()?)) } else { Ok(changed) }
    })?;
    Ok(resolved.data)
}

fn add_event_time(expr: Expr, inputs: &[DFSchema]) -> Result<Transformed<Expr>> {
    let top_name = expr.schema_name().to_string();
    let changed = expr.transform_up(|expr| match expr {
        Expr::ScalarFunction(function) if function.name() == TUMBLE && function.args.len() == 1 => {
            let column = event_time_of(inputs)?;
            let mut args = function.args;
            args.push(Expr::Column(column));
            Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func: function.func, args })))
        }
        other => Ok(Transformed::no(other)),
    })?;
    // Parents refer to it by the name that it had.
    Ok(changed.update_data(|expr| if expr.schema_name().to_string() == top_name { expr } else { expr.alias(top_name) }))
}

fn event_time_of(inputs: &[DFSchema]) -> Result<Column> {
    let marked: Vec<Column> = inputs
        .iter()
        .flat_map(|schema| schema.iter())
        .filter(|(_, field)| is_event_time(field))
        .map(|(qualifier, field)| Column::new(qualifier.cloned(), field.name()))
        .collect();
    match marked.as_slice() {
        [column] => Ok(column.clone()),
        [] => plan_err!(
            "tumble: no column here is event time; the table needs WATERMARK FOR, and a subquery or view must select that column"
        ),
        several => {
            let names: Vec<String> = several.iter().map(Column::flat_name).collect();
            plan_err!(
                "tumble: which event time is meant? {} are; select just one of them in a subquery",
                names.join(" and ")
            )
        }
    }
}

/// The width and time column of a resolved `tumble`, whatever it is called.
pub(crate) fn tumble_of(expr: &Expr) -> Option<(i64, &Expr)> {
    match expr {
        Expr::Alias(alias) => tumble_of(&alias.expr),
        Expr::ScalarFunction(function) if function.name() == TUMBLE => match function.args.as_slice() {
            [Expr::Literal(width, _), time] => Some((width_of(width)?, time)),
            _ => None,
        },
        _ => None,
    }
}
