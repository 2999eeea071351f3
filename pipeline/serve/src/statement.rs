//! What a statement may be, decided before anything is planned: read-only, one, and of bounded shape.
//!
//! DataFusion walks plans and expressions recursively, and drops them so: a long chain of operators is a deep tree. So the
//! shape is bounded on the tokens, which are flat, before they become a tree.

use crate::error::{About, Limit, QueryError, syntax};
use crate::pg::rewrite::rewrite;
use crate::queries::QueryLimits;
use crate::tables;
use chalk_plan::Location;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{ObjectName, Query, Select, SetExpr, Statement as Ast, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use std::ops::ControlFlow;

/// Tokens in a statement, spaces and comments not counted.
const TOKENS_MAX: usize = 10_000;
/// Operators in one expression, each of which makes its tree deeper.
const OPERATORS_MAX: usize = 500;
/// UNION, EXCEPT and INTERSECT in a statement.
const SET_OPERATIONS_MAX: usize = 100;
/// Tables that a statement reads, each `WITH` query counted as often as it is used: they are planned that often.
const RELATIONS_MAX: usize = 256;

/// The words and signs of one or more statements, of bounded number, nesting and length of chains.
pub(crate) fn tokens(sql: &str, limits: &QueryLimits) -> Result<Vec<TokenWithSpan>, QueryError> {
    if sql.len() > limits.sql_bytes_max {
        let message = format!("the statement has {} bytes, more than {}", sql.len(), limits.sql_bytes_max);
        return Err(
            QueryError::limit(Limit::Statement, message).hint("split it, or join a view instead of listing values")
        );
    }
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location();
    let tokens = tokens.map_err(|error| syntax(&ParserError::from(error)))?;
    check_shape(&tokens, limits)?;
    Ok(tokens)
}

/// The one read-only statement that `tokens` of `sql` are.
pub(crate) fn parse(sql: &str, tokens: Vec<TokenWithSpan>, limits: &QueryLimits) -> Result<Statement, QueryError> {
    let writes = writing_keyword(&tokens);
    let dialect = GenericDialect {};
    let parser = DFParserBuilder::new(tokens).with_dialect(&dialect).with_recursion_limit(limits.nesting_max).build();
    let statements = parser.and_then(|mut parser| parser.parse_statements());
    // The parser knows no place for what is missing at the end.
    let statements = statements.map_err(|error| match writes {
        // What is wrong with it does not matter.
        Some(keyword) => refused(keyword),
        None => QueryError::of_datafusion(&error, &[]).at(Some(end_of(sql))),
    })?;
    read_only(statements.into())
}

/// The word with which a statement begins that is not read-only whatever follows.
fn writing_keyword(tokens: &[TokenWithSpan]) -> Option<&'static str> {
    const KEYWORDS: [&str; 20] = [
        "ALTER", "ANALYZE", "CALL", "CLUSTER", "COMMENT", "COPY", "CREATE", "DELETE", "DO", "DROP", "GRANT", "INSERT",
        "LOCK", "MERGE", "NOTIFY", "REFRESH", "REINDEX", "REVOKE", "UPDATE", "VACUUM",
    ];
    let first = tokens.iter().find(|token| !matches!(token.token, Token::Whitespace(_)))?;
    let Token::Word(word) = &first.token else { return None };
    KEYWORDS.into_iter().find(|keyword| word.value.eq_ignore_ascii_case(keyword))
}

/// The same for the SQL of PostgreSQL's clients, rewritten to what DataFusion knows. Mistakes in it have no place.
pub(crate) fn parse_postgres(sql: &str, parser: &PostgresCompatibilityParser) -> Result<Statement, QueryError> {
    let statements = parser.parse(sql).map_err(|error| syntax(&error))?;
    read_only(statements.into_iter().map(|statement| Statement::Statement(Box::new(rewrite(statement)))).collect())
}

fn read_only(mut statements: Vec<Statement>) -> Result<Statement, QueryError> {
    match (statements.len(), statements.pop()) {
        (1, Some(statement)) => match check_statement(&statement)? {
            ReadOnly::AsGiven => Ok(statement),
            ReadOnly::ShowTables => {
                let shown = DFParserBuilder::new(tables::SHOW_TABLES).build();
                let shown =
                    shown.and_then(|mut parser| parser.parse_statements()).ok().and_then(|mut all| all.pop_front());
                shown.ok_or_else(|| QueryError::internal("SHOW TABLES has no meaning"))
            }
        },
        (0, _) => Err(QueryError::mistake("there is no statement").hint("such as SELECT 1 or SHOW TABLES")),
        (count, _) => Err(QueryError::mistake(format!("{count} statements at once"))
            .hint("send one at a time: a query sees one snapshot")),
    }
}

/// A statement that may be planned.
enum ReadOnly {
    /// As it was given.
    AsGiven,
    /// `SHOW TABLES`: the views and topics, not DataFusion's own tables.
    ShowTables,
}

/// The place behind the last character.
fn end_of(sql: &str) -> Location {
    let last = sql.rsplit('\n').next().unwrap_or_default();
    let lines = sql.matches('\n').count() as u64;
    Location { line: lines + 1, column: last.chars().count() as u64 + 1, length: 1 }
}

/// Bounds the tree that the tokens can become.
fn check_shape(tokens: &[TokenWithSpan], limits: &QueryLimits) -> Result<(), QueryError> {
    let too = |message: String, hint: &str| Err(QueryError::limit(Limit::Statement, message).hint(hint));
    // Operators of the expression at hand, at each level of parentheses.
    let mut operators = vec![0_usize];
    let (mut count, mut set_operations) = (0, 0);
    for TokenWithSpan { token, .. } in tokens {
        let depth = operators.len();
        let Some(here) = operators.last_mut() else { break };
        match token {
            Token::Whitespace(_) => continue,
            Token::LParen | Token::LBracket | Token::LBrace => {
                *here += 1; // a call or an index is an operator, too
                if depth > limits.nesting_max {
                    let message = format!("the statement is nested more than {} deep", limits.nesting_max);
                    return too(message, "give its inner queries names with WITH");
                }
                operators.push(0);
            }
            Token::RParen | Token::RBracket | Token::RBrace if depth > 1 => drop(operators.pop()),
            Token::Comma | Token::SemiColon => *here = 0,
            Token::Word(word) => match word.keyword {
                Keyword::SELECT => *here = 0,
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS => set_operations += 1,
                Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::IN
                | Keyword::BETWEEN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::SIMILAR
                | Keyword::COLLATE
                | Keyword::AT
                | Keyword::CASE
                | Keyword::DIV
                | Keyword::XOR => *here += 1,
                _ => {}
            },
            Token::EOF
            | Token::Period
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::Placeholder(_) => {}
            _ => *here += 1,
        }
        count += 1;
        if operators.last().is_some_and(|&here| here > OPERATORS_MAX) {
            let message = format!("an expression has more than {OPERATORS_MAX} operators in a row");
            return too(message, "write col IN (…) instead of many ORs, or join VALUES (…)");
        }
    }
    if count > TOKENS_MAX {
        return too(format!("the statement has {count} words and signs, more than {TOKENS_MAX}"), "split it");
    }
    if set_operations > SET_OPERATIONS_MAX {
        let message = format!("the statement has {set_operations} set operations, more than {SET_OPERATIONS_MAX}");
        return too(message, "write VALUES (…), (…) instead of many UNIONs");
    }
    Ok(())
}

fn check_statement(statement: &Statement) -> Result<ReadOnly, QueryError> {
    match statement {
        Statement::Statement(ast) => check_ast(ast),
        Statement::Explain(explain) => check_statement(&explain.statement).map(|_| ReadOnly::AsGiven),
        Statement::CreateExternalTable(_) => Err(refused("CREATE EXTERNAL TABLE")),
        Statement::CopyTo(_) => Err(refused("COPY")),
        Statement::Reset(_) => Err(refused("RESET")),
    }
}

fn check_ast(ast: &Ast) -> Result<ReadOnly, QueryError> {
    match ast {
        Ast::Query(query) => check_query(query),
        Ast::Explain { statement, .. } => check_ast(statement).map(|_| ReadOnly::AsGiven),
        Ast::ExplainTable { .. } | Ast::ShowColumns { .. } => Ok(ReadOnly::AsGiven),
        Ast::ShowTables { show_options, .. } if show_options.to_string().trim().is_empty() => Ok(ReadOnly::ShowTables),
        Ast::ShowTables { .. } => {
            Err(QueryError::mistake("SHOW TABLES takes no more words here").hint("query information_schema.tables"))
        }
        other => Err(refused(&leading_keywords(&other.to_string()))),
    }
}

/// `INSERT INTO` of `INSERT INTO t VALUES (1)`.
fn leading_keywords(statement: &str) -> String {
    let is_keyword = |word: &&str| !word.is_empty() && word.chars().all(|letter| letter.is_ascii_uppercase());
    statement.split_whitespace().take_while(is_keyword).take(3).collect::<Vec<_>>().join(" ")
}

fn refused(what: &str) -> QueryError {
    QueryError::mistake(format!("queries are read-only: {what} is not one"))
        .about(About::Writing)
        .hint("a query is SELECT, WITH, VALUES, EXPLAIN, DESCRIBE, SHOW TABLES or SHOW COLUMNS")
}

fn check_query(query: &Query) -> Result<ReadOnly, QueryError> {
    let mut reading = Reading { queries: vec![Scope::default()], refused: None };
    if query.visit(&mut reading).is_break()
        && let Some(what) = reading.refused
    {
        return Err(refused(what));
    }
    let relations = reading.queries.first().map_or(0, |outermost| outermost.relations);
    if relations > RELATIONS_MAX {
        let message =
            format!("the statement reads more than {RELATIONS_MAX} tables, counting each use of a WITH query");
        return Err(QueryError::limit(Limit::Statement, message).hint("split it, or aggregate before joining"));
    }
    Ok(ReadOnly::AsGiven)
}

/// Walks a query: looks for what writes, and counts the tables that a planner would meet.
struct Reading {
    /// Scopes from the outermost query to the one at hand; the first holds the total.
    queries: Vec<Scope>,
    refused: Option<&'static str>,
}

/// What is known inside one query.
#[derive(Default)]
struct Scope {
    /// Tables so far.
    relations: usize,
    /// Names of its WITH queries, in order; they are walked first, each as a query directly below this one.
    names: Vec<String>,
    /// How many tables each of them reads, as far as they are walked.
    costs: Vec<usize>,
}

impl Reading {
    fn cost_of(&self, name: &str) -> usize {
        let known = self.queries.iter().rev().flat_map(|scope| scope.names.iter().zip(&scope.costs).rev());
        let mut known = known.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        known.next().map_or(1, |(_, cost)| *cost).max(1)
    }

    fn refuse(&mut self, what: &'static str) -> ControlFlow<()> {
        self.refused = Some(what);
        ControlFlow::Break(())
    }
}

fn writes(body: &SetExpr) -> Option<&'static str> {
    match body {
        SetExpr::Insert(_) => Some("INSERT"),
        SetExpr::Update(_) => Some("UPDATE"),
        SetExpr::Delete(_) => Some("DELETE"),
        SetExpr::Merge(_) => Some("MERGE"),
        // A chain of set operations is bounded, so that this does not recurse deeply.
        SetExpr::SetOperation { left, right, .. } => writes(left).or_else(|| writes(right)),
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) | SetExpr::Table(_) => None,
    }
}

impl Visitor for Reading {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let Some(what) = writes(&query.body) {
            return self.refuse(what);
        }
        if !query.locks.is_empty() {
            return self.refuse("SELECT … FOR UPDATE");
        }
        let names = query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| cte.alias.name.value.clone());
        self.queries.push(Scope { names: names.collect(), ..Scope::default() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        if let Some(done) = self.queries.pop()
            && let Some(outer) = self.queries.last_mut()
        {
            if outer.costs.len() < outer.names.len() {
                outer.costs.push(done.relations);
            } else {
                outer.relations = outer.relations.saturating_add(done.relations);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if select.into.is_some() { self.refuse("SELECT INTO") } else { ControlFlow::Continue(()) }
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let cost = match relation.0.as_slice() {
            [part] => part.as_ident().map_or(1, |name| self.cost_of(&name.value)),
            _ => 1,
        };
        if let Some(scope) = self.queries.last_mut() {
            scope.relations = scope.relations.saturating_add(cost);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::QueryErrorKind;

    fn check(sql: &str) -> Result<(), QueryError> {
        let limits = QueryLimits::default();
        parse(sql, tokens(sql, &limits)?, &limits).map(drop)
    }

    #[test]
    fn reading_is_let_through() {
        for sql in [
            "SELECT 1",
            "select 1;",
            "WITH a AS (SELECT 1 AS x) SELECT x FROM a",
            "VALUES (1), (2)",
            "(SELECT 1) UNION ALL (SELECT 2)",
            "EXPLAIN SELECT 1",
            "EXPLAIN ANALYZE SELECT 1",
            "EXPLAIN VERBOSE WITH a AS (SELECT 1 AS x) SELECT x FROM a",
            "DESCRIBE orders",
            "DESCRIBE SELECT 1",
            "SHOW COLUMNS FROM orders",
            "SELECT 1 -- DROP TABLE orders",
            "SELECT * FROM information_schema.tables",
        ] {
            assert_eq!(check(sql), Ok(()), "{sql}");
        }
        assert_eq!(check("SHOW TABLES"), Ok(()));
    }

    #[test]
    fn all_else_is_refused_by_name() {
        for (sql, name) in [
            ("CREATE TABLE t (x INT)", "CREATE TABLE"),
            ("CREATE TABLE t AS SELECT 1", "CREATE TABLE"),
            ("CREATE VIEW v AS SELECT 1", "CREATE VIEW"),
            ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", "CREATE EXTERNAL TABLE"),
            ("CREATE SCHEMA s", "CREATE SCHEMA"),
            ("CREATE FUNCTION f() RETURNS INT RETURN 1", "CREATE FUNCTION"),
            ("DROP TABLE orders", "DROP TABLE"),
            ("DROP VIEW orders", "DROP VIEW"),
            ("ALTER TABLE orders ADD COLUMN x INT", "ALTER TABLE"),
            ("TRUNCATE TABLE orders", "TRUNCATE TABLE"),
            ("INSERT INTO orders VALUES (1)", "INSERT INTO"),
            ("UPDATE orders SET x = 1", "UPDATE"),
            ("DELETE FROM orders", "DELETE FROM"),
            ("COPY orders TO '/tmp/x.csv'", "COPY"),
            ("COPY (SELECT 1) TO '/tmp/x.csv' STORED AS CSV", "COPY"),
            ("SET datafusion.execution.batch_size = 1", "SET"),
            ("RESET datafusion.execution.batch_size", "RESET"),
            ("BEGIN", "BEGIN"),
            ("COMMIT", "COMMIT"),
            ("ROLLBACK", "ROLLBACK"),
            ("PREPARE p AS SELECT 1", "PREPARE"),
            ("EXECUTE p", "EXECUTE"),
            ("DEALLOCATE p", "DEALLOCATE"),
            ("GRANT SELECT ON orders TO joe", "GRANT SELECT ON"),
            ("COPY orders TO STDOUT", "COPY"),
            ("VACUUM (x)", "VACUUM"),
            ("SHOW ALL", "SHOW ALL"),
            ("SHOW FUNCTIONS", "SHOW FUNCTIONS"),
            ("EXPLAIN INSERT INTO orders VALUES (1)", "INSERT INTO"),
            ("EXPLAIN COPY (SELECT 1) TO '/tmp/x.csv'", "COPY"),
            ("EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1", "CREATE TABLE"),
            ("WITH a AS (SELECT 1) INSERT INTO orders SELECT * FROM a", "INSERT"),
            ("WITH a AS (DELETE FROM orders RETURNING id) SELECT * FROM a", "DELETE"),
            ("SELECT 1 INTO t", "SELECT INTO"),
            ("SELECT * FROM (SELECT 1 INTO t)", "SELECT INTO"),
            ("SELECT * FROM orders FOR UPDATE", "SELECT … FOR UPDATE"),
        ] {
            let error = check(sql).expect_err(sql);
            assert_eq!(error.message, format!("queries are read-only: {name} is not one"), "{sql}");
            assert_eq!(error.kind, QueryErrorKind::Mistake, "{sql}");
        }
    }

    #[test]
    fn there_is_exactly_one_statement() {
        assert_eq!(check("").expect_err("nothing").message, "there is no statement");
        assert_eq!(check(" ; -- nothing").expect_err("nothing").message, "there is no statement");
        assert_eq!(check("SELECT 1; DROP TABLE t").expect_err("two").message, "2 statements at once");
    }

    #[test]
    fn the_shape_is_bounded() {
        let limit = QueryErrorKind::Limit(Limit::Statement);
        let many = |count: usize, part: &str, between: &str| vec![part; count].join(between);
        for sql in [
            format!("SELECT '{}'", "x".repeat(64 << 10)),
            format!("SELECT {}", many(600, "1", " + ")),
            format!("SELECT 1 WHERE {}", many(600, "true", " OR ")),
            format!("SELECT {}", many(600, "CASE WHEN true THEN 1 END", " + ")),
            format!("SELECT 1{}", "::INT".repeat(600)),
            format!("SELECT {}1", "- ".repeat(600)),
            format!("SELECT {}1", "NOT ".repeat(600)),
            format!("SELECT {}1{}", "(".repeat(100), ")".repeat(100)),
            format!("SELECT {}1{}", "abs(".repeat(65), ")".repeat(65)),
            format!("SELECT a{}", "[1]".repeat(600)),
            many(200, "SELECT 1", " UNION ALL "),
            format!("SELECT * FROM {}", many(300, "t", ", ")),
            format!("SELECT * FROM {}", many(300, "t", " CROSS JOIN ")),
            format!("SELECT 1 IN ({})", many(6_000, "1", ", ")),
        ] {
            let error = check(&sql).expect_err(&sql);
            assert_eq!(error.kind, limit, "{error}: {sql}");
            assert!(error.hint.is_some(), "{error}");
        }
        // Each WITH query reads the one before it twice: 2^20 tables.
        let doubling: Vec<String> =
            (1..=20).map(|n| format!("t{n} AS (SELECT * FROM t{0} a, t{0} b)", n - 1)).collect();
        let sql = format!("WITH t0 AS (SELECT 1), {} SELECT * FROM t20", doubling.join(", "));
        assert_eq!(check(&sql).expect_err("too many tables").kind, limit);
        for sql in [
            format!("SELECT {}", many(400, "1", " + ")),
            format!("SELECT 1 IN ({})", many(4_000, "1", ", ")),
            format!("SELECT {}", many(4_000, "1", ", ")),
            many(90, "SELECT 1", " UNION ALL "),
        ] {
            assert_eq!(check(&sql), Ok(()));
        }
    }

    #[test]
    fn syntax_errors_have_a_place() {
        let error = check("SELECT 1\nFROM )").expect_err("no table");
        assert_eq!(error.location.map(|location| location.line), Some(2), "{error}");
        assert!(!error.message.contains("ParserError") && !error.message.contains("Line:"), "{error}");
        assert!(check("SELECT 'a").expect_err("an open string").location.is_some());
    }
}
