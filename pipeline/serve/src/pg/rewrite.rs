//! Clients' questions about the catalogue that DataFusion cannot plan as they are, after `datafusion-pg-catalog` has
//! rewritten what it knows.
//!
//! | they write | planned is | since |
//! |---|---|---|
//! | `array(SELECT …)` | an empty array | it is asked of roles, members and constraints: there are none |
//! | `array_to_string(c.relacl, …)` | NULL | nobody has rights of their own |
//! | `_pg_expandarray(i.indkey)`, and its fields | NULL | it is asked of keys: there are none |
//! | `i.indoption[n]` | NULL | likewise |
//! | `'pg_catalog.array_in'::regproc` | `'array_in'` | columns of functions hold their names |
//! | `unnest(c.conkey)`, `generate_subscripts(c.conkey, 1)` | NULL | likewise |
//! | `(SELECT … FROM pg_attrdef …)`, `(WITH …)` | NULL | there are no defaults, collations, comments, domains … |
//! | `x LIKE 'a/_b' ESCAPE '/'` | `x LIKE replace('a/_b', '/', '\')` | no other escape is known |
//! | `SELECT 1, 1` | `SELECT 1 AS …, 1 AS …` | names must differ; clients are told others |
//! | `WHERE (SELECT x FROM … WHERE …)` | `(SELECT first_value(x) …)` | a subquery that depends on its row must aggregate |

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, SelectItem, SetExpr, Statement, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
};
use std::ops::ControlFlow;

/// Rewrites a statement.
pub(crate) fn rewrite(mut statement: Statement) -> Statement {
    let _ = statement.visit(&mut Rewriting);
    if let Statement::Query(query) = &mut statement
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        for (index, item) in select.projection.iter_mut().enumerate() {
            if let SelectItem::UnnamedExpr(expr) = item
                && !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
            {
                *item = SelectItem::ExprWithAlias {
                    expr: expr.clone(),
                    alias: Ident::with_quote('"', format!("?column? {index}")),
                };
            }
        }
    }
    statement
}

struct Rewriting;

impl VisitorMut for Rewriting {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundFieldAccess { root, .. } if is_of_a_key(root) => *expr = null("INT"),
            Expr::CompoundFieldAccess { .. } if expr.to_string().to_ascii_lowercase().contains("indoption[") => {
                *expr = null("INT");
            }
            Expr::Function(function) => {
                let name = name_of(function);
                if name == "array" && matches!(function.args, FunctionArguments::Subquery(_)) {
                    *expr = call("make_array", Vec::new());
                } else if name == "array_to_string" && first_column(function).is_some_and(|column| is_empty(&column)) {
                    *expr = null("TEXT");
                } else if name == "_pg_expandarray"
                    || name == "generate_subscripts"
                    || name == "unnest" && first_column(function).is_some_and(|column| is_of_keys(&column))
                {
                    *expr = null("INT");
                }
            }
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                if let Some(escape) =
                    escape_char.take_if(|escape| escape.value != Value::SingleQuotedString("\\".to_owned()))
                {
                    let backslash = Expr::Value(Value::SingleQuotedString("\\".to_owned()).with_empty_span());
                    let args = vec![pattern.as_ref().clone(), Expr::Value(escape), backslash];
                    **pattern = call("replace", args);
                }
            }
            Expr::Subquery(query) => {
                if let Some(name) = procedure(&query.to_string()) {
                    *expr = Expr::Value(Value::SingleQuotedString(name).with_empty_span());
                } else if query.with.is_some() {
                    *expr = Expr::Value(Value::Null.with_empty_span());
                } else if let SetExpr::Select(select) = query.body.as_mut()
                    && let [SelectItem::UnnamedExpr(only) | SelectItem::ExprWithAlias { expr: only, .. }] =
                        select.projection.as_mut_slice()
                    && !aggregates(only)
                {
                    if select.from.iter().any(reads_nothing) {
                        *expr = Expr::Value(Value::Null.with_empty_span());
                    } else if query.order_by.is_none() {
                        *only = call("first_value", vec![only.clone()]);
                        query.limit_clause = None;
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The name of a function whose number is asked for, as a column of such numbers has it.
fn procedure(query: &str) -> Option<String> {
    let name = query.strip_prefix("SELECT oid FROM pg_catalog.pg_proc WHERE proname = '")?.strip_suffix('\'')?;
    Some(name.rsplit('.').next().unwrap_or(name).to_owned())
}

/// NULL, of a type.
fn null(of: &str) -> Expr {
    let data_type = if of == "INT" { DataType::Int(None) } else { DataType::Text };
    let expr = Box::new(Expr::Value(Value::Null.with_empty_span()));
    Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None }
}

/// `(…)` of something that has become NULL, or of a column of such.
fn is_of_a_key(root: &Expr) -> bool {
    match root {
        Expr::Nested(inner) => match inner.as_ref() {
            Expr::Cast { expr, .. } => matches!(expr.as_ref(), Expr::Value(value) if value.value == Value::Null),
            Expr::CompoundIdentifier(names) => names.last().is_some_and(|name| name.value.eq_ignore_ascii_case("keys")),
            _ => false,
        },
        _ => false,
    }
}

fn name_of(function: &Function) -> String {
    let last = function.name.0.last().and_then(|part| part.as_ident());
    last.map(|name| name.value.to_ascii_lowercase()).unwrap_or_default()
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The column that is a function's first argument.
fn first_column(function: &Function) -> Option<String> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(first)) = list.args.first()? else { return None };
    match first {
        Expr::Identifier(name) => Some(name.value.to_ascii_lowercase()),
        Expr::CompoundIdentifier(names) => names.last().map(|name| name.value.to_ascii_lowercase()),
        _ => None,
    }
}

/// Columns of rights and options, which nothing here has.
fn is_empty(column: &str) -> bool {
    ["acl", "options", "config"].iter().any(|end| column.ends_with(end))
}

/// Whether a table of a join has nothing about what is here.
fn reads_nothing(from: &TableWithJoins) -> bool {
    const NOTHING: [&str; 12] = [
        "pg_attrdef",
        "pg_auth_members",
        "pg_collation",
        "pg_constraint",
        "pg_depend",
        "pg_description",
        "pg_index",
        "pg_inherits",
        "pg_policy",
        "pg_sequence",
        "pg_shdescription",
        "pg_trigger",
    ];
    let tables = std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation));
    let names = tables.filter_map(|table| match table {
        TableFactor::Table { name, .. } => name.0.last().and_then(|part| part.as_ident()),
        _ => None,
    });
    names.into_iter().any(|name| NOTHING.iter().any(|nothing| name.value.eq_ignore_ascii_case(nothing)))
}

/// Columns of the arrays of an index or a constraint.
fn is_of_keys(column: &str) -> bool {
    ["key", "option", "class", "collation"].iter().any(|end| column.ends_with(end))
}

fn aggregates(expr: &Expr) -> bool {
    const AGGREGATES: [&str; 10] =
        ["array_agg", "avg", "bool_and", "bool_or", "count", "first_value", "max", "min", "string_agg", "sum"];
    match expr {
        Expr::Function(function) => {
            let inner = |args: &FunctionArguments| match args {
                FunctionArguments::List(list) => list
                    .args
                    .iter()
                    .any(|arg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if aggregates(expr))),
                _ => false,
            };
            AGGREGATES.contains(&name_of(function).as_str()) || inner(&function.args)
        }
        Expr::Cast { expr, .. } | Expr::Nested(expr) | Expr::UnaryOp { expr, .. } => aggregates(expr),
        Expr::BinaryOp { left, right, .. } => aggregates(left) || aggregates(right),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::rewrite;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn questions_become_such_as_can_be_planned() {
        for (sql, expected) in [
            ("SELECT ARRAY(SELECT x FROM t) AS a", "SELECT make_array() AS a"),
            ("SELECT x, 1, 1", "SELECT x, 1 AS \"?column? 1\", 1 AS \"?column? 2\""),
            ("SELECT array_to_string(c.relacl, ',') AS a", "SELECT CAST(NULL AS TEXT) AS a"),
            ("SELECT (information_schema._pg_expandarray(i.k)).n AS a", "SELECT CAST(NULL AS INT) AS a"),
            ("SELECT tmp.I_INDOPTION[n - 1] AS a", "SELECT CAST(NULL AS INT) AS a"),
            ("SELECT a WHERE a LIKE 'x/_' ESCAPE '/'", "SELECT a WHERE a LIKE replace('x/_', '/', '\\')"),
            ("SELECT a WHERE a = (result.KEYS).x", "SELECT a WHERE a = CAST(NULL AS INT)"),
            ("SELECT array_to_string(c.names, ',') AS a", "SELECT array_to_string(c.names, ',') AS a"),
            ("SELECT a WHERE (SELECT x FROM t)", "SELECT a WHERE (SELECT first_value(x) FROM t)"),
            ("SELECT a WHERE (SELECT max(x) FROM t)", "SELECT a WHERE (SELECT max(x) FROM t)"),
            ("SELECT a WHERE (SELECT x FROM t LIMIT 1)", "SELECT a WHERE (SELECT first_value(x) FROM t)"),
            ("SELECT a WHERE (SELECT x FROM pg_catalog.pg_attrdef d)", "SELECT a WHERE NULL"),
            ("SELECT a WHERE (SELECT count(*) FROM pg_index)", "SELECT a WHERE (SELECT count(*) FROM pg_index)"),
            (
                "SELECT a = (SELECT oid FROM pg_catalog.pg_proc WHERE proname = 'pg_catalog.f') AS b",
                "SELECT a = 'f' AS b",
            ),
            ("SELECT a WHERE (WITH b AS (SELECT 1) SELECT * FROM b)", "SELECT a WHERE NULL"),
        ] {
            let statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).expect("SQL").remove(0);
            assert_eq!(rewrite(statement).to_string(), expected);
        }
    }
}
