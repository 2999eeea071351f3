//! Calls whose arguments differ by a cast have different names.
//!
//! The planner names a call without the casts in it, and refuses two columns of one name: `sum(n), sum(CAST(n AS DOUBLE))` could not be
//! planned. Here an argument with a cast is given its whole text as a name, which the call's then has in it.

use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr, RawWindowExpr};

/// Names arguments that have casts.
#[derive(Debug)]
pub(crate) struct CastNames;

impl ExprPlanner for CastNames {
    fn plan_aggregate(&self, mut call: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        call.args = named(call.args)?;
        Ok(PlannerResult::Original(call))
    }

    fn plan_window(&self, mut call: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        call.args = named(call.args)?;
        Ok(PlannerResult::Original(call))
    }
}

fn named(arguments: Vec<Expr>) -> Result<Vec<Expr>> {
    let named = |argument: Expr| {
        let has_cast = argument.exists(|part| Ok(matches!(part, Expr::Cast(_) | Expr::TryCast(_))))?;
        if !has_cast {
            return Ok(argument);
        }
        let name = argument.to_string();
        Ok(argument.alias(name))
    };
    arguments.into_iter().map(named).collect()
}
