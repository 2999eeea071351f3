//! Joins that are made of others: where NULL equals NULL, of rows marked by whether they have a partner, of `NOT IN`, of any row with any.

use super::{Planned, Query};
use crate::error::Mistake;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chalk_graph::{self as graph, AggregateCall, AggregateFunction, JoinKind, JoinMode, NodeId, NodeKind};
use datafusion::common::{JoinType, NullEquality};
use datafusion::functions::core::expr_fn::r#struct;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, is_not_null, lit};
use std::sync::Arc;

/// The same join over other expressions of its sides.
fn with_on(join: &Join, on: Vec<(Expr, Expr)>) -> Join {
    Join { on, null_equality: NullEquality::NullEqualsNothing, null_aware: false, ..join.clone() }
}

/// A join in which NULL equals NULL: each side's keys as one that is never NULL.
pub(super) fn with_nulls_equal(join: &Join) -> Join {
    if join.null_equality == NullEquality::NullEqualsNothing || join.on.is_empty() {
        return join.clone();
    }
    let (left, right) = join.on.iter().cloned().unzip();
    with_on(join, vec![(r#struct(left), r#struct(right))])
}

/// Whether rows of a join without equalities stay few: the rows of one side are counted beforehand, or only whether there are any matters.
pub(super) fn is_bounded(join: &Join) -> bool {
    let counted = |side: &LogicalPlan| side.max_rows().is_some();
    let asks = matches!(
        join.join_type,
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::RightSemi | JoinType::RightAnti | JoinType::LeftMark
    );
    counted(&join.left) || counted(&join.right) || asks && join.filter.is_none()
}

impl Query<'_> {
    /// All left rows, with whether they have a partner.
    pub(super) fn mark_join(&mut self, join: &Join) -> Planned {
        let left = self.plan(&join.left)?;
        let right = self.plan(&join.right)?;
        let schema = Arc::clone(join.schema.inner());
        let mut parts = Vec::new();
        for (kind, mark) in [(JoinKind::LeftSemi, true), (JoinKind::LeftAnti, false)] {
            let rows = self.join_of(join, kind, left, right, self.schema(left))?;
            let mut columns = super::columns(&self.schema(rows));
            columns.push(lit(mark));
            let append_only = self.append_only(rows);
            parts.push(self.add(NodeKind::Project(columns), vec![rows], Arc::clone(&schema), append_only));
        }
        Ok(self.add(NodeKind::Union, parts, schema, false))
    }

    /// `x NOT IN (SELECT y …)`: rows without a partner, if there is no `y` at all, or neither `x` nor any `y` is NULL.
    pub(super) fn not_in(&mut self, join: &Join) -> Planned {
        let ([(x, y)], None) = (join.on.as_slice(), &join.filter) else {
            return Err(Mistake::new(
                "NOT IN (SELECT …) with a condition on the outer query is not supported in a pipeline",
            )
            .hint("use NOT EXISTS"));
        };
        let left = self.plan(&join.left)?;
        let right = self.plan(&join.right)?;
        let schema = self.schema(left);
        let join = with_on(join, join.on.clone());
        let without = self.join_of(&join, JoinKind::LeftAnti, left, right, Arc::clone(&schema))?;
        let counts = self.counts(right, y, &join)?;
        let keyed = self.with_columns(without, &[x], join.left.schema())?;
        let x = keyed.places[0];
        let (pairs, wide) = self.with_one_row(keyed.node, counts);
        let count = self.schema(keyed.node).fields().len();
        let column = |place: usize| Arc::new(Column::new(wide.field(place).name(), place)) as Arc<dyn PhysicalExpr>;
        let binary = |left, operator, right| Arc::new(BinaryExpr::new(left, operator, right)) as Arc<dyn PhysicalExpr>;
        let is_empty = binary(column(count), Operator::Eq, lit(0_i64));
        let all_known =
            binary(is_not_null(column(x))?, Operator::And, binary(column(count), Operator::Eq, column(count + 1)));
        let passes = binary(is_empty, Operator::Or, all_known);
        let passed = self.add(NodeKind::Filter(passes), vec![pairs], wide, false);
        Ok(self.add(NodeKind::Project(super::columns(&schema)), vec![passed], schema, false))
    }

    /// One row: how many rows there are, and for how many the expression is not NULL.
    fn counts(&mut self, rows: NodeId, expr: &Expr, join: &Join) -> Planned {
        let append_only_input = self.append_only(rows);
        let values = self.just_columns(rows, &[expr], join.right.schema())?;
        let call = |args: Vec<usize>, display: &str| AggregateCall {
            function: AggregateFunction::Count,
            args,
            filter: None,
            display: display.to_owned(),
        };
        let calls = vec![call(Vec::new(), "count(*)"), call(vec![0], "count(value)")];
        let field = |name: &str| Field::new(name, DataType::Int64, false);
        let schema = Arc::new(Schema::new(vec![field("_count"), field("_values")]));
        let kind = graph::Aggregate { keys: Vec::new(), calls, close: None, append_only_input, ttl: None };
        Ok(self.add(NodeKind::Aggregate(kind), vec![values], schema, false))
    }

    /// Every row with the one that another node has.
    fn with_one_row(&mut self, rows: NodeId, one: NodeId) -> (NodeId, SchemaRef) {
        let fields = [self.schema(rows), self.schema(one)].map(|schema| schema.fields().to_vec()).concat();
        let schema = Arc::new(Schema::new(fields));
        let mode = JoinMode::Live;
        let join = graph::Join { kind: JoinKind::Inner, left_keys: Vec::new(), right_keys: Vec::new(), mode };
        (self.add(NodeKind::Join(join), vec![rows, one], Arc::clone(&schema), false), schema)
    }
}
