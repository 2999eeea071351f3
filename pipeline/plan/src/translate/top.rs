//! The first rows of an order: `ORDER BY … LIMIT`, and filters on ranks.
//!
//! Both are a ranking and a filter on it. Rows that come after the last one that can pass need not be kept, as long as no row is ever retracted.

use super::{Planned, Query, unaliased};
use crate::error::Mistake;
use arrow::datatypes::{DataType, Field, Schema};
use chalk_graph::{self as graph, NodeKind, RankFunction, SortColumn};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, FetchType, Limit, LogicalPlan, Operator, SkipType, Sort, Window};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr as Comparison, Column, lit};
use std::sync::Arc;

/// The column with a row's place.
const PLACE: &str = "_place";

impl Query<'_> {
    /// `ORDER BY … LIMIT … OFFSET …`.
    pub(super) fn limit(&mut self, limit: &Limit) -> Planned {
        let (SkipType::Literal(skip), FetchType::Literal(Some(fetch))) =
            (limit.get_skip_type()?, limit.get_fetch_type()?)
        else {
            return Err(Mistake::new(
                "OFFSET without LIMIT, or one that is no constant, is not supported in a pipeline",
            ));
        };
        match limit.input.as_ref() {
            LogicalPlan::Sort(sort) => self.first_rows(sort, skip, fetch),
            LogicalPlan::EmptyRelation(_) => self.plan(&limit.input),
            _ => Err(any_rows()),
        }
    }

    /// `ORDER BY …`, to which the optimiser has added its LIMIT.
    pub(super) fn sorted(&mut self, sort: &Sort) -> Planned {
        let Some(fetch) = sort.fetch else {
            return Err(Mistake::new("ORDER BY has no meaning in a pipeline: its rows never end")
                .hint("put it into the query over the view; for the first n rows add LIMIT, for those of a group use ROW_NUMBER() OVER (…)"));
        };
        self.first_rows(sort, 0, fetch)
    }

    /// The rows of an order from `skip` on, so many of them.
    fn first_rows(&mut self, sort: &Sort, skip: usize, fetch: usize) -> Planned {
        let input = self.plan(&sort.input)?;
        let from = self.schema(input);
        let wanted: Vec<&Expr> = sort.expr.iter().map(|by| &by.expr).collect();
        let projected = self.with_columns(input, &wanted, sort.input.schema())?;
        let order = projected.places.iter().zip(&sort.expr);
        let order = order
            .map(|(&column, by)| SortColumn { column, descending: !by.asc, nulls_first: by.nulls_first })
            .collect();
        let last = (skip as u64).saturating_add(fetch as u64);
        let ranked_input = self.forgetting(projected.node);
        let most = self.append_only(ranked_input).then_some(graph::Most { function: 0, rank: last });
        let rank =
            graph::Rank { partition: Vec::new(), order, functions: vec![RankFunction::RowNumber], whole: false, most };
        let all = self.schema(projected.node);
        let mut fields: Vec<Arc<Field>> = all.fields().iter().cloned().collect();
        let place = fields.len();
        fields.push(Arc::new(Field::new(PLACE, DataType::UInt64, false)));
        let ranked = Arc::new(Schema::new(fields));
        let node = self.add(NodeKind::Rank(rank), vec![ranked_input], Arc::clone(&ranked), false);
        let compared = |operator, bound: u64| {
            let place = Arc::new(Column::new(PLACE, place)) as Arc<dyn PhysicalExpr>;
            Arc::new(Comparison::new(place, operator, lit(ScalarValue::UInt64(Some(bound))))) as Arc<dyn PhysicalExpr>
        };
        let is_before_end = compared(Operator::LtEq, last);
        let passes = match skip {
            0 => is_before_end,
            skip => Arc::new(Comparison::new(compared(Operator::Gt, skip as u64), Operator::And, is_before_end)),
        };
        let node = self.add(NodeKind::Filter(passes), vec![node], ranked, false);
        Ok(self.add(NodeKind::Project(super::columns(&from)), vec![node], from, false))
    }
}

/// LIMIT without ORDER BY.
pub(super) fn any_rows() -> Mistake {
    Mistake::new("LIMIT without ORDER BY means any rows: which ones would change with every run")
        .hint("say which: ORDER BY … LIMIT …")
}

/// What a filter says of a rank that its input computes, if rows with greater ones cannot pass: the window, and its function.
pub(super) fn most<'p>(predicate: &Expr, input: &'p LogicalPlan) -> Option<(&'p Window, graph::Most)> {
    let bounds = split_conjunction(predicate).into_iter().filter_map(|part| {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = part else { return None };
        let (column, bound, inclusive) = match (unaliased(left), op, unaliased(right)) {
            (Expr::Column(column), Operator::LtEq | Operator::Eq, Expr::Literal(bound, _)) => (column, bound, true),
            (Expr::Column(column), Operator::Lt, Expr::Literal(bound, _)) => (column, bound, false),
            (Expr::Literal(bound, _), Operator::GtEq | Operator::Eq, Expr::Column(column)) => (column, bound, true),
            (Expr::Literal(bound, _), Operator::Gt, Expr::Column(column)) => (column, bound, false),
            _ => return None,
        };
        let ScalarValue::UInt64(Some(bound)) = bound else { return None };
        let rank = if inclusive { *bound } else { bound.saturating_sub(1) };
        let place = input.schema().index_of_column(column).ok()?;
        let (window, function) = ranked(input, place)?;
        Some((window, graph::Most { function, rank }))
    });
    bounds.min_by_key(|(_, most)| most.rank)
}

/// The window and its function that make a column of a plan, through what only renames and leaves out.
fn ranked(plan: &LogicalPlan, column: usize) -> Option<(&Window, usize)> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => ranked(&alias.input, column),
        LogicalPlan::Projection(projection) => {
            let Expr::Column(inner) = unaliased(projection.expr.get(column)?) else { return None };
            ranked(&projection.input, projection.input.schema().index_of_column(inner).ok()?)
        }
        LogicalPlan::Window(window) => {
            let function = column.checked_sub(DFSchema::fields(window.input.schema()).len())?;
            Some((window, function))
        }
        _ => None,
    }
}
