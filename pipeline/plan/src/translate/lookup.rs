//! Joins with what a table has at a row's commit.

use super::{Planned, Query};
use crate::error::Mistake;
use crate::lookups::LookedUp;
use crate::relation::is_commit_seq;
use chalk_graph::{JoinKind, JoinMode};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Join, LogicalPlan};
use sqlparser::ast::Expr;
use std::collections::HashMap;
use std::sync::Arc;

/// Tables that are looked up, by the names that they have in plans.
pub(crate) type Lookups = HashMap<String, LookedUp>;

/// The table that a side of a join looks up, chosen from and renamed at most.
fn looked_up<'l>(side: &LogicalPlan, lookups: &'l Lookups) -> Option<&'l LookedUp> {
    match side {
        LogicalPlan::SubqueryAlias(alias) => looked_up(&alias.input, lookups),
        LogicalPlan::Projection(projection) => looked_up(&projection.input, lookups),
        LogicalPlan::Filter(filter) => looked_up(&filter.input, lookups),
        LogicalPlan::TableScan(scan) => lookups.get(scan.table_name.table()),
        _ => None,
    }
}

fn misplaced(looked_up: &LookedUp) -> Mistake {
    let message = format!("'{}' is looked up: it stands at the right of JOIN or LEFT JOIN", looked_up.of);
    Mistake::new(message).hint("… FROM rows JOIN table ON rows.key = table.key").at(looked_up.location)
}

/// Checks where tables are looked up, and as of what, before anything is optimised away.
pub(crate) fn check(plan: &LogicalPlan, lookups: &[(String, LookedUp)]) -> Result<(), Mistake> {
    let all: Lookups = lookups.iter().cloned().collect();
    let mut wrong: Option<Mistake> = None;
    let mut found = 0;
    plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::Join(join) = plan
            && let Some(looked_up) = looked_up(&join.right, &all)
        {
            found += 1;
            if let Some(at) = &looked_up.at
                && let Err(mistake) = check_time(at, join.left.schema())
            {
                wrong.get_or_insert(mistake.at(looked_up.location));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    match (wrong, lookups.first()) {
        (Some(mistake), _) => Err(mistake),
        (None, Some((_, first))) if found < lookups.len() => Err(misplaced(first)),
        _ => Ok(()),
    }
}

/// Rows are looked up in the order of commits: a query can say so, and nothing else.
fn check_time(at: &Expr, left: &DFSchema) -> Result<(), Mistake> {
    let column = match at {
        Expr::Identifier(column) => Some(Column::from_name(&column.value)),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [table, column] => Some(Column::new(Some(table.value.clone()), &column.value)),
            _ => None,
        },
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("proctime") => return Ok(()),
        _ => None,
    };
    let field = column.map(|column| left.index_of_column(&column)).transpose()?.map(|index| left.field(index));
    if field.is_some_and(|field| is_commit_seq(field)) {
        return Ok(());
    }
    Err(Mistake::new(format!(
        "FOR SYSTEM_TIME AS OF {at}: a row meets what there is at its commit, and {at} is not that"
    ))
    .hint("name a column of the left side that is METADATA FROM 'commit_seq', or PROCTIME()"))
}

impl Query<'_> {
    /// A join whose right side is looked up, if it is one.
    pub(super) fn lookup(&mut self, join: &Join) -> Option<Planned> {
        let looked_up = looked_up(&join.right, &self.translator.lookups)?.clone();
        Some(self.lookup_join(join, &looked_up).map_err(|mistake| mistake.at(looked_up.location)))
    }

    fn lookup_join(&mut self, join: &Join, looked_up: &LookedUp) -> Planned {
        use datafusion::common::JoinType::{Inner, Left};
        let kind = match join.join_type {
            Inner => JoinKind::Inner,
            Left => JoinKind::Left,
            _ => return Err(misplaced(looked_up)),
        };
        if join.on.is_empty() {
            return Err(Mistake::new(format!("'{}' is looked up by a key: the join needs an equality", looked_up.of))
                .hint("… JOIN … ON a.key = b.key"));
        }
        if join.filter.is_some() && kind == JoinKind::Left {
            return Err(Mistake::new(format!("'{}' is looked up by equalities alone in a LEFT JOIN", looked_up.of))
                .hint("choose from it in a view, and look that up"));
        }
        let left = self.plan(&join.left)?;
        if !self.append_only(left) {
            return Err(Mistake::new(format!(
                "'{}' is looked up once for each row, but the rows at the left can be retracted",
                looked_up.of
            ))
            .hint("join it without looking it up: then results are corrected"));
        }
        self.may_look_up = true;
        let right = self.plan(&join.right);
        self.may_look_up = false;
        let join = &super::special_joins::with_nulls_equal(join);
        let pairs = self.equi_join(join, kind, left, right?, Arc::clone(join.schema.inner()), JoinMode::Lookup)?;
        match &join.filter {
            Some(filter) => self.filter(pairs, filter, &join.schema),
            None => Ok(pairs),
        }
    }
}

/// A table that is looked up where it cannot be.
pub(super) fn refuse(looked_up: &LookedUp) -> Mistake {
    misplaced(looked_up)
}
