//! Sessions, ranks, and functions over ordered rows.

use super::{Planned, Query, place_of, unaliased};
use crate::error::Mistake;
use crate::windows::{SESSION_WINDOW, nanoseconds, window_field, window_of};
use arrow::datatypes::{Field, Schema};
use chalk_graph::{self as graph, CloseSessions, NodeKind, RankFunction, SortColumn, WindowKind};
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Window};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_planner::create_window_expr;
use std::sync::Arc;

impl Query<'_> {
    /// Gives rows the session that each is in.
    pub(super) fn session(&mut self, window: &Window, function: &WindowFunction) -> Planned {
        let input = self.plan(&window.input)?;
        let over = window.input.schema();
        let width = self.schema(input).fields().len();
        let (time, gap) = match function.params.args.as_slice() {
            [time, Expr::Literal(gap, _)] => (time, nanoseconds(gap)),
            _ => return Err(Mistake::new("session(gap) takes a constant")),
        };
        let gap =
            gap.ok_or_else(|| Mistake::new("session: the gap is a constant, positive INTERVAL of days or less"))?;
        let wanted: Vec<&Expr> = function.params.partition_by.iter().chain([time]).collect();
        let projected = self.with_columns(input, &wanted, over)?;
        let Some((&time, keys)) = projected.places.split_last() else { return Ok(input) };
        let close = match &self.closing {
            Some(closing) if self.append_only(input) => {
                Some(CloseSessions { lateness: closing.lateness, query: closing.query.clone() })
            }
            _ => None,
        };
        let append_only = close.is_some();
        let from = self.schema(projected.node);
        let mut fields: Vec<Arc<Field>> = from.fields().iter().cloned().collect();
        let window_column = window.schema.field(width).as_ref().clone();
        fields.push(Arc::new(window_field(window_column, WindowKind::Session { gap })));
        let full = Arc::new(Schema::new(fields));
        let session = graph::Session { keys: keys.to_vec(), time, gap, close };
        let node = self.add(NodeKind::Session(session), vec![projected.node], Arc::clone(&full), append_only);
        if from.fields().len() == width {
            return Ok(node);
        }
        let kept = (0..width).chain([from.fields().len()]);
        let expressions = kept.map(|index| Arc::new(Column::new(full.field(index).name(), index)) as _).collect();
        Ok(self.add(NodeKind::Project(expressions), vec![node], Arc::clone(window.schema.inner()), append_only))
    }

    pub(super) fn window(&mut self, window: &Window) -> Planned {
        if let [expr] = window.window_expr.as_slice()
            && let Expr::WindowFunction(function) = unaliased(expr)
            && function.fun.name() == SESSION_WINDOW
        {
            self.most = None;
            return self.session(window, function);
        }
        let most = self.most.take();
        let mut input = self.plan(&window.input)?;
        let most = most.filter(|_| self.append_only(input));
        let over = window.input.schema();
        let width = self.schema(input).fields().len();
        let mut functions = Some(Vec::new());
        let mut shared: Option<&WindowFunction> = None;
        for expr in &window.window_expr {
            let Expr::WindowFunction(function) = unaliased(expr) else {
                return Err(Mistake::new(format!("{expr} is not a window function")));
            };
            functions = functions.zip(rank_function(function)).map(|(all, rank)| [all, vec![rank]].concat());
            if shared.is_some_and(|shared| {
                shared.params.partition_by != function.params.partition_by
                    || shared.params.order_by != function.params.order_by
            }) {
                return Err(Mistake::new("functions over different partitions or orders stand in separate subqueries"));
            }
            shared = Some(function);
        }
        let Some(shared) = shared else { return Ok(input) };
        let order: Vec<&Expr> = shared.params.order_by.iter().map(|sort| &sort.expr).collect();
        let partition: Vec<&Expr> = shared.params.partition_by.iter().collect();
        let wanted: Vec<&Expr> = partition.iter().chain(&order).copied().collect();
        let projected = self.with_columns(input, &wanted, over)?;
        input = projected.node;
        let (partition, order) = projected.places.split_at(partition.len());
        let order = order
            .iter()
            .zip(&shared.params.order_by)
            .map(|(&column, sort)| SortColumn { column, descending: !sort.asc, nulls_first: sort.nulls_first })
            .collect::<Vec<_>>();
        let from = self.schema(input);
        let ranks = window.schema.inner().fields().iter().skip(width).cloned();
        let full: Vec<Arc<Field>> = from.fields().iter().cloned().chain(ranks).collect();
        let full = Arc::new(Schema::new(full));
        let by_window = partition.iter().any(|&column| window_of(from.field(column)).is_some());
        let whole = by_window && self.translator.whole.contains(&input);
        let partition = partition.to_vec();
        let input = if whole { input } else { self.forgetting(input) };
        let most = most.filter(|_| self.append_only(input));
        let kind = match functions {
            Some(functions) => NodeKind::Rank(graph::Rank { partition, order, functions, whole, most }),
            None => {
                let functions = window.window_expr.iter().map(|expr| self.window_function(expr, over));
                let functions = functions.collect::<Result<_, _>>()?;
                NodeKind::Over(graph::Over { partition, order, functions, whole })
            }
        };
        let node = self.add(kind, vec![input], Arc::clone(&full), whole);
        if from.fields().len() == width {
            return Ok(node);
        }
        let kept = (0..width).chain(from.fields().len()..full.fields().len());
        let expressions = kept.map(|index| Arc::new(Column::new(full.field(index).name(), index)) as _).collect();
        Ok(self.add(NodeKind::Project(expressions), vec![node], Arc::clone(window.schema.inner()), whole))
    }

    pub(super) fn window_function(&self, expr: &Expr, over: &DFSchema) -> Result<Arc<dyn WindowExpr>, Mistake> {
        let (properties, context) = (self.state.execution_props(), PhysicalPlanningContext::default());
        create_window_expr(expr, over, properties, &context).map_err(|error| Mistake::from(error).at(place_of(expr)))
    }
}

/// A function that only needs to know how many rows come before.
pub(super) fn rank_function(function: &WindowFunction) -> Option<RankFunction> {
    match function.fun.name() {
        "row_number" => Some(RankFunction::RowNumber),
        "rank" => Some(RankFunction::Rank),
        "dense_rank" => Some(RankFunction::DenseRank),
        _ => None,
    }
}
