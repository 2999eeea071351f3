//! What the parser reads and the planner after it would leave out in silence: refused by name.

use crate::error::{Mistake, sql_location};
use sqlparser::ast::{
    BinaryOperator, Expr, Query, Select, SelectItem, SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor,
    UnaryOperator, Visit, Visitor,
};
use std::ops::ControlFlow;

/// Looks for what has no meaning here.
pub(crate) fn check(query: &Query) -> Result<(), Mistake> {
    match query.visit(&mut Refusing) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(mistake) => Err(*mistake),
    }
}

struct Refusing;

type Verdict = ControlFlow<Box<Mistake>>;

fn refuse(what: &str, at: &impl Spanned) -> Verdict {
    let mistake = Mistake::new(format!("{what} is not supported in a pipeline"));
    ControlFlow::Break(Box::new(mistake.at(sql_location(at.span()))))
}

/// The same, with what to write instead.
fn refuse_for(what: &str, instead: &str, at: &impl Spanned) -> Verdict {
    let mistake = Mistake::new(format!("{what} is not supported in a pipeline")).hint(instead);
    ControlFlow::Break(Box::new(mistake.at(sql_location(at.span()))))
}

/// The first of these that is there.
fn first(found: &[(bool, &str)], at: &impl Spanned) -> Verdict {
    match found.iter().find(|(is_there, _)| *is_there) {
        Some((_, what)) => refuse(what, at),
        None => ControlFlow::Continue(()),
    }
}

impl Visitor for Refusing {
    type Break = Box<Mistake>;

    fn pre_visit_query(&mut self, query: &Query) -> Verdict {
        let recursive = query.with.as_ref().is_some_and(|with| with.recursive);
        if recursive {
            let mistake = Mistake::new("WITH RECURSIVE is not supported in a pipeline")
                .hint("join the table with itself as often as its rows are deep");
            return ControlFlow::Break(Box::new(mistake.at(sql_location(query.span()))));
        }
        set_operations(&query.body)?;
        let found = [
            (query.fetch.is_some(), "FETCH"),
            (!query.locks.is_empty(), "FOR UPDATE"),
            (query.for_clause.is_some(), "FOR XML or FOR JSON"),
            (query.settings.is_some(), "SETTINGS"),
            (query.format_clause.is_some(), "FORMAT"),
        ];
        first(&found, query)
    }

    fn pre_visit_select(&mut self, select: &Select) -> Verdict {
        let found = [
            (select.top.is_some(), "TOP"),
            (select.into.is_some(), "SELECT INTO"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (select.value_table_mode.is_some(), "SELECT AS STRUCT or AS VALUE"),
        ];
        first(&found, select)?;
        for item in &select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                no_membership(expr)?;
            }
        }
        [&select.selection, &select.having, &select.qualify].into_iter().flatten().try_for_each(conditions)
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Verdict {
        match expr {
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } if matches!(**right, Expr::Subquery(_)) => {
                let instead = "write IN (SELECT …), EXISTS (SELECT …), or compare with (SELECT min(…) …)";
                refuse_for("ANY, SOME or ALL of a subquery", instead, expr)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Verdict {
        match factor {
            TableFactor::Table {
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
                ..
            } => {
                let found = [
                    (version.is_some(), "a table as of a time, here"),
                    (!with_hints.is_empty() || !index_hints.is_empty(), "a hint for a table"),
                    (*with_ordinality, "WITH ORDINALITY"),
                    (!partitions.is_empty(), "PARTITION after a table"),
                    (json_path.is_some(), "a path after a table"),
                    (sample.is_some(), "TABLESAMPLE"),
                ];
                first(&found, factor)
            }
            TableFactor::Derived { sample: Some(_), .. } => refuse("TABLESAMPLE", factor),
            TableFactor::UNNEST { with_offset, with_ordinality, .. } => {
                first(&[(*with_offset, "WITH OFFSET"), (*with_ordinality, "WITH ORDINALITY")], factor)
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// `IN (SELECT …)` becomes a join. Alone, or with others that all have to hold, it is one that knows of NULL.
fn conditions(expr: &Expr) -> Verdict {
    match expr {
        Expr::Nested(inner) => conditions(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conditions(left)?;
            conditions(right)
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr } if matches!(**expr, Expr::InSubquery { .. }) => {
            ControlFlow::Continue(())
        }
        Expr::InSubquery { .. } => ControlFlow::Continue(()),
        other => alternatives(other),
    }
}

/// Otherwise it is a mark that says yes or no, and no where NULL is meant: that makes no difference to a condition as long as nothing turns it
/// into its opposite, or looks for NULL.
fn alternatives(expr: &Expr) -> Verdict {
    match expr {
        Expr::Nested(inner) => alternatives(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            alternatives(left)?;
            alternatives(right)
        }
        Expr::InSubquery { negated: false, .. } => ControlFlow::Continue(()),
        Expr::InSubquery { .. } => refuse_for(
            "NOT IN (SELECT …) beside OR",
            "write NOT EXISTS (SELECT … WHERE …), and what NULL is to mean",
            expr,
        ),
        other => no_membership(other),
    }
}

/// A value is none.
fn no_membership(expr: &Expr) -> Verdict {
    match expr.visit(&mut Membership { depth: 0 }) {
        ControlFlow::Continue(()) => ControlFlow::Continue(()),
        ControlFlow::Break(()) => {
            refuse_for("IN (SELECT …) as a value", "write it as a condition of WHERE, or as a LEFT JOIN", expr)
        }
    }
}

/// Looks for such conditions, not in subqueries.
struct Membership {
    depth: usize,
}

impl Visitor for Membership {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::InSubquery { .. } if self.depth == 0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Columns of both sides are matched by their order.
fn set_operations(body: &SetExpr) -> Verdict {
    let SetExpr::SetOperation { left, op, set_quantifier, right } = body else { return ControlFlow::Continue(()) };
    let by_name =
        matches!(set_quantifier, SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName);
    if by_name && *op != SetOperator::Union {
        return refuse(&format!("{op} BY NAME"), body);
    }
    set_operations(left)?;
    set_operations(right)
}
