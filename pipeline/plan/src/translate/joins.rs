//! Joins: of what is known to end, of what changes.

use super::{Planned, Query, columns, special_joins};
use crate::error::Mistake;
use crate::project::ClosingWindows;
use arrow::datatypes::{Field, Schema, SchemaRef};
use chalk_graph::{self as graph, CloseJoin, JoinBound, JoinKind, JoinMode, NodeId, NodeKind, WindowKind};
use datafusion::common::{Column as ColumnName, DFSchema, JoinType, ScalarValue};
use datafusion::functions::core::expr_fn::r#struct;
use datafusion::logical_expr::builder::build_join_schema;
use datafusion::logical_expr::{Expr, Join};
use datafusion::physical_expr::expressions::{Column, lit};
use std::sync::Arc;

impl Query<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Planned {
        if let Some(looked_up) = self.lookup(join) {
            return looked_up;
        }
        let kind = match join.join_type {
            JoinType::Inner => JoinKind::Inner,
            JoinType::Left => JoinKind::Left,
            JoinType::Right => JoinKind::Right,
            JoinType::Full => JoinKind::Full,
            JoinType::LeftSemi => JoinKind::LeftSemi,
            JoinType::LeftAnti if join.null_aware => return self.not_in(join),
            JoinType::LeftAnti => JoinKind::LeftAnti,
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                let on = join.on.iter().map(|(left, right)| (right.clone(), left.clone())).collect();
                let (left, right) = (Arc::clone(&join.right), Arc::clone(&join.left));
                return self.join(&Join { left, right, on, join_type: join.join_type.swap(), ..join.clone() });
            }
            JoinType::LeftMark => return self.mark_join(join),
        };
        let left = self.plan(&join.left)?;
        let right = self.plan(&join.right)?;
        self.join_of(join, kind, left, right, Arc::clone(join.schema.inner()))
    }

    /// A join of nodes that its sides have become, of this kind.
    pub(super) fn join_of(
        &mut self,
        join: &Join,
        kind: JoinKind,
        left: NodeId,
        right: NodeId,
        schema: SchemaRef,
    ) -> Planned {
        if join.on.is_empty() && !special_joins::is_bounded(join) {
            return Err(Mistake::new("a join needs an equality between its sides: cross joins never forget a row")
                .hint("… JOIN … ON a.key = b.key"));
        }
        let join = &special_joins::with_nulls_equal(join);
        if let Some((close, rest)) = self.closing_join(join, left, right)? {
            return self.join_once(join, kind, left, right, schema, (close, rest));
        }
        let (left, right, mode) = self.forgetting_join(kind, left, right);
        match &join.filter {
            Some(filter) if kind != JoinKind::Inner => self.join_with_more(join, kind, filter, left, right, schema),
            Some(filter) => {
                let pairs = self.equi_join(join, kind, left, right, schema, mode)?;
                self.filter(pairs, filter, &join.schema)
            }
            None => self.equi_join(join, kind, left, right, schema, mode),
        }
    }

    /// A join whose rows are given once and let go of, and what else it asks of its pairs.
    pub(super) fn join_once(
        &mut self,
        join: &Join,
        kind: JoinKind,
        left: NodeId,
        right: NodeId,
        schema: SchemaRef,
        (close, rest): (CloseJoin, Option<Expr>),
    ) -> Planned {
        if rest.is_some() && kind != JoinKind::Inner {
            return Err(Mistake::new(
                "a join whose rows are given once, other than an inner one, has equalities and bounds of time alone",
            )
            .hint("choose rows in a subquery before the join, or make it a MATERIALIZED VIEW"));
        }
        let (tables, window) = match close.bound {
            JoinBound::Window { kind, .. } => (self.tables_of(&[left, right]), kind),
            JoinBound::Interval { .. } => (self.tables_of(&[left, right]), WindowKind::Session { gap: 0 }),
        };
        self.closes(&close.query, tables, window, close.lateness);
        let pairs = self.equi_join(join, kind, left, right, schema, JoinMode::Closing(close))?;
        match rest {
            Some(rest) => self.filter(pairs, &rest, &join.schema),
            None => Ok(pairs),
        }
    }

    /// The tables that nodes' rows come from; a join of a table with itself has it twice.
    pub(super) fn tables_of(&self, nodes: &[NodeId]) -> Vec<String> {
        let graph = &self.translator.graph;
        nodes.iter().flat_map(|&node| graph.tables_of(node)).map(str::to_owned).collect()
    }

    /// Notes what closes the windows of a query. A later node of it has all tables of an earlier one.
    pub(super) fn closes(&mut self, query: &str, tables: Vec<String>, kind: WindowKind, lateness: i64) {
        let closed = ClosingWindows { tables, kind, lateness };
        match self.translator.closed.get_mut(query) {
            Some(earlier) if earlier.tables.len() > closed.tables.len() => {}
            Some(earlier) => *earlier = closed,
            None => drop(self.translator.closed.insert(query.to_owned(), closed)),
        }
    }

    /// A join on equalities alone.
    pub(super) fn equi_join(
        &mut self,
        join: &Join,
        kind: JoinKind,
        left: NodeId,
        right: NodeId,
        schema: SchemaRef,
        mode: JoinMode,
    ) -> Planned {
        let (left_keys, right_keys): (Vec<&Expr>, Vec<&Expr>) =
            join.on.iter().map(|(left, right)| (left, right)).unzip();
        let left_width = self.schema(left).fields().len();
        let right_width = self.schema(right).fields().len();
        let left = self.with_columns(left, &left_keys, join.left.schema())?;
        let right = self.with_columns(right, &right_keys, join.right.schema())?;
        let both_append_only = self.append_only(left.node) && self.append_only(right.node);
        let append_only = match mode {
            JoinMode::Live => both_append_only && matches!(kind, JoinKind::Inner | JoinKind::LeftSemi),
            JoinMode::Forgetting | JoinMode::Closing(_) | JoinMode::Lookup => true,
        };
        let one_sided = matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti);
        let (left_all, right_all) = (self.schema(left.node), self.schema(right.node));
        let mut fields: Vec<Field> = left_all.fields().iter().map(|field| optional(field, kind, true)).collect();
        let mut kept: Vec<usize> = (0..left_width).collect();
        if !one_sided {
            kept.extend((0..right_width).map(|index| fields.len() + index));
            fields.extend(right_all.fields().iter().map(|field| optional(field, kind, false)));
        }
        let full = Arc::new(Schema::new(fields));
        let joined = graph::Join { kind, left_keys: left.places, right_keys: right.places, mode };
        let node = self.add(NodeKind::Join(joined), vec![left.node, right.node], Arc::clone(&full), append_only);
        let expressions =
            kept.iter().map(|&index| Arc::new(Column::new(full.field(index).name(), index)) as _).collect();
        Ok(self.add(NodeKind::Project(expressions), vec![node], schema, append_only))
    }

    /// A join other than an inner one on equalities and more: the pairs of the inner join, and the rows that are in no pair.
    ///
    /// ```text
    /// left, right ─▶ inner join ─▶ filter ─┬──────────────────────────────────▶ union
    ///                                      └▶ left rows ─▶ left rows not in ────▲
    /// ```
    pub(super) fn join_with_more(
        &mut self,
        join: &Join,
        kind: JoinKind,
        filter: &Expr,
        left: NodeId,
        right: NodeId,
        schema: SchemaRef,
    ) -> Planned {
        let both = build_join_schema(join.left.schema(), join.right.schema(), &JoinType::Inner)?;
        let pairs = self.equi_join(join, JoinKind::Inner, left, right, Arc::clone(both.inner()), JoinMode::Live)?;
        let pairs = self.filter(pairs, filter, &both)?;
        let (of_left, of_right) = (join.left.schema(), join.right.schema());
        match kind {
            JoinKind::LeftSemi | JoinKind::LeftAnti => return self.rows_by_pairs(kind, left, of_left, pairs, &both),
            JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full => {}
        }
        let mut parts =
            vec![self.add(NodeKind::Project(columns(both.inner())), vec![pairs], Arc::clone(&schema), false)];
        for (wanted, side, over, is_left) in [
            (matches!(kind, JoinKind::Left | JoinKind::Full), left, of_left, true),
            (matches!(kind, JoinKind::Right | JoinKind::Full), right, of_right, false),
        ] {
            if wanted {
                let alone = self.rows_by_pairs(JoinKind::LeftAnti, side, over, pairs, &both)?;
                let own = columns(&self.schema(alone));
                let other = if is_left { of_right } else { of_left };
                let absent = other.fields().iter().map(|field| Ok(lit(ScalarValue::try_from(field.data_type())?)));
                let absent = absent.collect::<Result<Vec<_>, Mistake>>()?;
                let all = if is_left { [own, absent].concat() } else { [absent, own].concat() };
                parts.push(self.add(NodeKind::Project(all), vec![alone], Arc::clone(&schema), false));
            }
        }
        Ok(self.add(NodeKind::Union, parts, schema, false))
    }

    /// The rows of a side that are in some pair, or in none: found by all their columns, as one key that is never NULL.
    pub(super) fn rows_by_pairs(
        &mut self,
        kind: JoinKind,
        side: NodeId,
        over: &DFSchema,
        pairs: NodeId,
        both: &DFSchema,
    ) -> Planned {
        let row = over.iter().map(|(qualifier, field)| Expr::Column(ColumnName::new(qualifier.cloned(), field.name())));
        let row = r#struct(row.collect());
        let width = self.schema(side).fields().len();
        let keyed = self.with_columns(side, &[&row], over)?;
        let in_pairs = self.just_columns(pairs, &[&row], both)?;
        let append_only = self.append_only(keyed.node) && self.append_only(in_pairs) && kind == JoinKind::LeftSemi;
        let joined = graph::Join { kind, left_keys: keyed.places, right_keys: vec![0], mode: JoinMode::Live };
        let full = self.schema(keyed.node);
        let node = self.add(NodeKind::Join(joined), vec![keyed.node, in_pairs], Arc::clone(&full), append_only);
        let expressions = (0..width).map(|index| Arc::new(Column::new(full.field(index).name(), index)) as _).collect();
        let schema = self.schema(side);
        Ok(self.add(NodeKind::Project(expressions), vec![node], schema, append_only))
    }
}

/// A join's column: optional where its side can be without a partner; and no longer event time where it can be NULL.
pub(super) fn optional(field: &Field, kind: JoinKind, left: bool) -> Field {
    let nullable = match kind {
        JoinKind::Left => !left,
        JoinKind::Right => left,
        JoinKind::Full => true,
        JoinKind::Inner | JoinKind::LeftSemi | JoinKind::LeftAnti => false,
    };
    let field = field.clone();
    if nullable { field.with_nullable(true) } else { field }
}
