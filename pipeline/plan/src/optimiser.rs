//! DataFusion's rules, with two of them kept from what they do wrong.

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// A session whose optimiser is to be trusted.
pub(crate) fn trusted(state: SessionState) -> SessionState {
    let rules = state.optimizers().iter().map(|rule| match rule.name() {
        "eliminate_duplicated_expr" => Arc::new(Kept { rule: Arc::clone(rule), from: From::Sorts }) as _,
        "eliminate_group_by_constant" => Arc::new(Kept { rule: Arc::clone(rule), from: From::Failing }) as _,
        _ => Arc::clone(rule),
    });
    let rules = rules.collect();
    SessionStateBuilder::new_from_existing(state).with_optimizer_rules(rules).build()
}

/// A rule that is kept from something.
#[derive(Debug)]
struct Kept {
    rule: Arc<dyn OptimizerRule + Send + Sync>,
    from: From,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// It believes that the columns of groups determine those that unnest makes many rows of, and lets go of what they are to be sorted by.
    Sorts,
    /// It fails where a group has a column and a cast of it, which it gives one name.
    Failing,
}

impl OptimizerRule for Kept {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match (self.from, &plan) {
            (From::Sorts, LogicalPlan::Sort(_)) => Ok(Transformed::no(plan)),
            (From::Failing, LogicalPlan::Aggregate(_)) => {
                let rewritten = self.rule.rewrite(plan.clone(), config);
                Ok(rewritten.unwrap_or_else(|_| Transformed::no(plan)))
            }
            _ => self.rule.rewrite(plan, config),
        }
    }
}
