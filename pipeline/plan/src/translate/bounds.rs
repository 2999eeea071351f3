//! Joins of append-only inputs that can let go of rows: what their conditions say of windows and times.

use super::{Query, unaliased};
use crate::error::Mistake;
use crate::relation::is_event_time;
use crate::windows::{signed_nanoseconds, window_of};
use arrow::datatypes::Schema;
use chalk_graph::{CloseJoin, Graph, JoinBound, JoinMode, NodeId, NodeKind};
use datafusion::common::DFSchema;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Join, Operator};

/// A side of a join: the schema of its plan, and that of the node that the plan has become, with its marks.
struct Side<'a> {
    names: &'a DFSchema,
    marked: &'a Schema,
}

impl Side<'_> {
    fn column(&self, expr: &Expr) -> Option<usize> {
        let Expr::Column(column) = unaliased(expr) else { return None };
        self.names.maybe_index_of_column(column)
    }

    fn event_time(&self, expr: &Expr) -> Option<usize> {
        self.column(expr).filter(|&column| is_event_time(self.marked.field(column)))
    }
}

/// A time and what is added to it, in nanoseconds.
struct Shifted {
    is_left: bool,
    column: usize,
    by: i64,
}

fn shifted(expr: &Expr, left: &Side<'_>, right: &Side<'_>) -> Option<Shifted> {
    if let Some(column) = left.event_time(expr) {
        return Some(Shifted { is_left: true, column, by: 0 });
    }
    if let Some(column) = right.event_time(expr) {
        return Some(Shifted { is_left: false, column, by: 0 });
    }
    let Expr::BinaryExpr(BinaryExpr { left: time, op, right: interval }) = unaliased(expr) else { return None };
    let Expr::Literal(interval, _) = unaliased(interval) else { return None };
    let by = signed_nanoseconds(interval)?;
    let inner = shifted(time, left, right)?;
    match op {
        Operator::Plus => Some(Shifted { by: inner.by.checked_add(by)?, ..inner }),
        Operator::Minus => Some(Shifted { by: inner.by.checked_sub(by)?, ..inner }),
        _ => None,
    }
}

/// What a condition says of `left time - right time`: the columns, and the least or the greatest difference.
fn bound(condition: &Expr, left: &Side<'_>, right: &Side<'_>) -> Option<(usize, usize, Result<i64, i64>)> {
    let Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) = condition else { return None };
    let (a, b) = (shifted(a, left, right)?, shifted(b, left, right)?);
    let (of_left, of_right, op) = match (a.is_left, b.is_left) {
        (true, false) => (a, b, *op),
        (false, true) => (b, a, op.swap()?),
        _ => return None,
    };
    let by = of_right.by.checked_sub(of_left.by)?;
    let bound = match op {
        Operator::LtEq => Err(by),
        Operator::Lt => Err(by.checked_sub(1)?),
        Operator::GtEq => Ok(by),
        Operator::Gt => Ok(by.checked_add(1)?),
        _ => return None,
    };
    Some((of_left.column, of_right.column, bound))
}

/// The times that a condition bounds on both sides, and the rest of it.
fn interval(filter: &Expr, left: &Side<'_>, right: &Side<'_>) -> Option<(JoinBound, Option<Expr>)> {
    let (mut columns, mut least, mut most, mut rest) = (None, None, None, Vec::new());
    for condition in split_conjunction(filter) {
        match bound(condition, left, right) {
            Some((l, r, bound)) if columns.is_none_or(|columns| columns == (l, r)) => {
                columns = Some((l, r));
                match bound {
                    Ok(bound) => least = Some(least.map_or(bound, |least: i64| least.max(bound))),
                    Err(bound) => most = Some(most.map_or(bound, |most: i64| most.min(bound))),
                }
            }
            _ => rest.push(condition.clone()),
        }
    }
    let (left, right) = columns?;
    Some((JoinBound::Interval { left, right, least: least?, most: most? }, conjunction(rest)))
}

impl Query<'_> {
    /// How a join of these nodes lets go of rows, and what else it asks, if each of its rows is to be given once and both sides only ever
    /// add rows; otherwise nothing.
    pub(super) fn closing_join(
        &self,
        join: &Join,
        left: NodeId,
        right: NodeId,
    ) -> Result<Option<(CloseJoin, Option<Expr>)>, Mistake> {
        let Some(closing) = &self.closing else { return Ok(None) };
        let graph = &self.translator.graph;
        if !(self.append_only(left) && self.append_only(right) && has_time(graph, left) && has_time(graph, right)) {
            return Ok(None);
        }
        let (left_schema, right_schema) = (self.schema(left), self.schema(right));
        let left = Side { names: join.left.schema(), marked: &left_schema };
        let right = Side { names: join.right.schema(), marked: &right_schema };
        let close = |bound| CloseJoin { bound, lateness: closing.lateness, query: closing.query.clone() };
        let columns = |(l, r): &(Expr, Expr)| Some((left.column(l)?, right.column(r)?));
        for (l, r) in join.on.iter().filter_map(columns) {
            let windows = (window_of(left_schema.field(l)), window_of(right_schema.field(r)));
            if let (Some(kind), Some(other)) = windows {
                if kind != other {
                    return Err(Mistake::new(
                        "the windows of a join's two sides are not the same: no row would meet another",
                    )
                    .hint("give both sides the same tumble, hop or session"));
                }
                let bound = JoinBound::Window { left: l, right: r, kind };
                return Ok(Some((close(bound), join.filter.clone())));
            }
        }
        let times = |(l, r): &(Expr, Expr)| Some((left.event_time(l)?, right.event_time(r)?));
        if let Some((left, right)) = join.on.iter().find_map(times) {
            let bound = JoinBound::Interval { left, right, least: 0, most: 0 };
            return Ok(Some((close(bound), join.filter.clone())));
        }
        let interval = join.filter.as_ref().and_then(|filter| interval(filter, &left, &right));
        Ok(interval.map(|(bound, rest)| (close(bound), rest)))
    }
}

/// Whether all tables that a node's time goes by have a WATERMARK.
pub(super) fn has_time(graph: &Graph, node: NodeId) -> bool {
    let sources = graph.sources_of(node);
    !sources.is_empty()
        && sources
            .into_iter()
            .all(|source| matches!(&graph.node(source).kind, NodeKind::Source(source) if source.has_watermark()))
}

/// Whether no row ever comes: of a condition that nothing meets.
pub(super) fn is_empty(graph: &Graph, node: NodeId) -> bool {
    let node = graph.node(node);
    match &node.kind {
        NodeKind::Source(_) => false,
        // Without keys there is one group, which is always there.
        NodeKind::Aggregate(aggregate) if aggregate.keys.is_empty() => false,
        _ => node.inputs.iter().all(|&input| is_empty(graph, input)),
    }
}

/// Whether rows of a node can be behind its watermark although they were not when they came: a join has kept them.
pub(super) fn keeps_for_later(graph: &Graph, node: NodeId) -> bool {
    let node = graph.node(node);
    let inputs = match &node.kind {
        NodeKind::Join(join) => match &join.mode {
            JoinMode::Live
            | JoinMode::Forgetting
            | JoinMode::Closing(CloseJoin { bound: JoinBound::Interval { .. }, .. }) => return true,
            JoinMode::Closing(CloseJoin { bound: JoinBound::Window { .. }, .. }) => &node.inputs[..],
            JoinMode::Lookup => &node.inputs[..1],
        },
        _ => &node.inputs[..],
    };
    inputs.iter().any(|&input| keeps_for_later(graph, input))
}
