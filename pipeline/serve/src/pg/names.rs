//! What PostgreSQL calls the columns that have no name: `count` for `count(*)`, `?column?` for `1`.

use datafusion::sql::sqlparser::ast::{CastKind, Expr, SelectItem, SetExpr, Statement};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

/// For each column of a statement the name that it has there if it is not the one that it has here; none when there are
/// columns that the statement does not list.
pub(super) fn names(sql: &str) -> Option<Vec<Option<String>>> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).ok()?;
    let Some(Statement::Query(query)) = statements.pop() else { return None };
    let mut body = *query.body;
    while let SetExpr::SetOperation { left, .. } = body {
        body = *left;
    }
    let SetExpr::Select(select) = body else { return None };
    let item = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) => Some(name_of(expr)),
        SelectItem::ExprWithAlias { .. } => Some(None),
        _ => None,
    };
    select.projection.iter().map(item).collect()
}

fn name_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => None,
        Expr::Function(function) => function.name.0.last()?.as_ident().map(|name| name.value.to_lowercase()),
        Expr::Nested(inner) => name_of(inner),
        Expr::Cast { expr, data_type, kind: CastKind::Cast | CastKind::DoubleColon, .. } => match expr.as_ref() {
            Expr::Value(_) | Expr::UnaryOp { .. } => {
                Some(data_type.to_string().to_lowercase().rsplit('.').next().unwrap_or_default().to_owned())
            }
            inner => name_of(inner),
        },
        Expr::Case { .. } => Some("case".to_owned()),
        Expr::Exists { .. } => Some("exists".to_owned()),
        Expr::Extract { .. } => Some("extract".to_owned()),
        Expr::Substring { .. } => Some("substring".to_owned()),
        Expr::Trim { .. } => Some("btrim".to_owned()),
        Expr::Array(_) => Some("array".to_owned()),
        _ => Some("?column?".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn columns_without_a_name_get_postgresqls() {
        let check = |sql: &str, expected: Option<&[Option<&str>]>| {
            let found = names(sql);
            let found: Option<Vec<Option<&str>>> =
                found.as_ref().map(|names| names.iter().map(|name| name.as_deref()).collect());
            assert_eq!(found.as_deref(), expected, "{sql}");
        };
        check(
            "SELECT count(*), sum(x) AS s, x, t.y, 1, x + 1, x::text, '5'::int, (max(x)) FROM t",
            Some(&[
                Some("count"),
                None,
                None,
                None,
                Some("?column?"),
                Some("?column?"),
                None,
                Some("int"),
                Some("max"),
            ]),
        );
        check("SELECT * FROM t", None);
        check("SELECT 1 UNION SELECT 2", Some(&[Some("?column?")]));
        check("not SQL", None);
    }
}
