//! `INTERSECT ALL` and `EXCEPT ALL`: how often a row is there depends on how often it is on either side.
//!
//! The planner before makes them a semi or anti join without `DISTINCT`, which gives all copies of a row or none. Here they become
//!
//! ```text
//! select columns
//!   unnest copies
//!     project columns, range(0, least(left, right)) as copies          EXCEPT ALL: range(0, left - right)
//!       aggregate sum(left) as left, sum(right) as right by columns
//!         left side, 1 as left, 0 as right  union all  right side, 0, 1
//! ```

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, JoinType, NullEquality, Result, UnnestOptions, plan_err};
use datafusion::functions::core::expr_fn::least;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::functions_nested::range::range;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, cast, ident, lit};

const LEFT: &str = "_left";
const RIGHT: &str = "_right";
const COPIES: &str = "_copies";

/// The plan with such operations counted. It is one that nobody has optimised: only there a join that takes NULL for NULL is one of them.
pub(crate) fn counted(plan: LogicalPlan) -> Result<LogicalPlan> {
    let counted = plan.transform_up_with_subqueries(|plan| match &plan {
        LogicalPlan::Join(join) if counts(join) => Ok(Transformed::yes(with_copies(join)?)),
        _ => Ok(Transformed::no(plan)),
    })?;
    Ok(counted.data)
}

/// Of rows that are distinct on the left side there is one copy at most, which the join gives.
fn counts(join: &Join) -> bool {
    let is_of_sets = matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none();
    is_of_sets && !matches!(join.left.as_ref(), LogicalPlan::Distinct(_))
}

fn with_copies(join: &Join) -> Result<LogicalPlan> {
    let (left, right) = (join.left.schema(), join.right.schema());
    let mut sides = [Vec::new(), Vec::new()];
    let mut keys = Vec::new();
    let mut shown = Vec::new();
    for (index, (l, r)) in left.columns().into_iter().zip(right.columns()).enumerate() {
        let (of_left, of_right) = (left.field(index).data_type(), right.field(index).data_type());
        let Some(common) = comparison_coercion(of_left, of_right) else {
            return plan_err!("column {} of both sides: {of_left} and {of_right} are not alike", index + 1);
        };
        let key = format!("_{index}");
        let as_common = |column: &Column, given| match &common == given {
            true => Expr::Column(column.clone()),
            false => cast(Expr::Column(column.clone()), common.clone()),
        };
        sides[0].push(as_common(&l, of_left).alias(&key));
        sides[1].push(as_common(&r, of_right).alias(&key));
        let value = if &common == of_left { ident(&key) } else { cast(ident(&key), of_left.clone()) };
        shown.push(value.alias_qualified(l.relation.clone(), &l.name));
        keys.push(ident(&key));
    }
    let inputs =
        [(&join.left, 1_i64), (&join.right, 0)].into_iter().zip(sides).map(|((side, is_left), mut columns)| {
            columns.extend([lit(is_left).alias(LEFT), lit(1 - is_left).alias(RIGHT)]);
            LogicalPlanBuilder::from(side.as_ref().clone()).project(columns)?.build()
        });
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let [left, right] = <[LogicalPlan; 2]>::try_from(inputs).or_else(|_| plan_err!("a set operation has two sides"))?;
    let copies = match join.join_type {
        JoinType::LeftSemi => least(vec![ident(LEFT), ident(RIGHT)]),
        _ => ident(LEFT) - ident(RIGHT),
    };
    let copies = range(lit(0_i64), copies, lit(1_i64)).alias(COPIES);
    LogicalPlanBuilder::from(left)
        .union(right)?
        .aggregate(keys.clone(), vec![sum(ident(LEFT)).alias(LEFT), sum(ident(RIGHT)).alias(RIGHT)])?
        .project(keys.into_iter().chain([copies]).collect::<Vec<_>>())?
        .unnest_column_with_options(COPIES, UnnestOptions::new().with_preserve_nulls(false))?
        .project(shown)?
        .build()
}
