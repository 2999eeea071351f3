//! Statements of a `.sql` file: DataFusion's parser, with our own `CREATE TABLE`.

use crate::arrows;
use crate::error::{Location, Mistake, sql_location};
use crate::lookups::{Versions, take_versions};
use crate::questions::{as_operators, written_out};
use chalk_graph::options::{Given, parse_interval};
use sqlparser::ast::{self, CreateTableOptions, Expr, Ident, Query, SqlOption, Statement as Ast, TableObject};
use sqlparser::dialect::GenericDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{IsOptional, Parser, ParserError};
use sqlparser::tokenizer::{Token, Tokenizer};
use std::sync::Arc;

/// A statement and where it begins.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) location: Option<Location>,
    pub(crate) kind: StatementKind,
    /// What tables of its file are to be read as of.
    pub(crate) versions: Arc<Versions>,
}

#[derive(Debug)]
pub(crate) enum StatementKind {
    Table(Box<CreateTable>),
    /// A plain view: a name for a query, shared by whatever uses it.
    View {
        name: Ident,
        query: Box<Query>,
    },
    MaterialisedView {
        name: Ident,
        query: Box<Query>,
    },
    Insert {
        into: Ident,
        query: Box<Query>,
    },
    /// A preview to the terminal.
    Select(Box<Query>),
    /// `SET updating_ttl = '…'`: how long groups of updating aggregates are kept after their last row, in nanoseconds. For all of its file.
    UpdatingTtl(i64),
}

/// `CREATE TABLE name (…) WITH (…)`.
#[derive(Clone, Debug)]
pub(crate) struct CreateTable {
    pub(crate) name: Ident,
    pub(crate) columns: Vec<ColumnDef>,
    /// The columns of its PRIMARY KEY.
    pub(crate) key: Vec<Ident>,
    pub(crate) watermark: Option<(Ident, Option<Expr>)>,
    pub(crate) options: Given,
    /// `CREATE TEMPORARY TABLE`: joins look it up.
    pub(crate) is_lookup: bool,
}

/// A column of a `CREATE TABLE`.
#[derive(Clone, Debug)]
pub(crate) struct ColumnDef {
    pub(crate) name: Ident,
    pub(crate) data_type: ast::DataType,
    pub(crate) not_null: bool,
    pub(crate) source: ColumnSource,
}

/// Where a column's value comes from.
#[derive(Clone, Debug)]
pub(crate) enum ColumnSource {
    Stored,
    Generated(Box<Expr>),
    Metadata(String),
}

/// Parses a file: its statements, and what is wrong with those that are not understood.
pub(crate) fn parse(text: &str) -> (Vec<Statement>, Vec<Mistake>) {
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| syntax(error.into())).map(as_operators).and_then(take_versions);
    let (tokens, versions) = match tokens {
        Ok((tokens, versions)) => (arrows::bound(tokens), Arc::new(versions)),
        Err(mistake) => return (Vec::new(), vec![mistake]),
    };
    let mut parser = Parser::new(&dialect).with_recursion_limit(64).with_tokens_with_locations(tokens);
    let (mut statements, mut mistakes) = (Vec::new(), Vec::new());
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        if parser.peek_token_ref().token == Token::EOF {
            return (statements, mistakes);
        }
        match next(&mut parser, &versions) {
            Ok(statement) => statements.push(statement),
            Err(mistake) => {
                mistakes.push(mistake);
                while !matches!(parser.peek_token_ref().token, Token::SemiColon | Token::EOF) {
                    parser.next_token();
                }
            }
        }
    }
}

/// The statement that comes next, up to its semicolon.
fn next(parser: &mut Parser<'_>, versions: &Arc<Versions>) -> Result<Statement, Mistake> {
    let location = sql_location(parser.peek_token_ref().span);
    let kind = statement(parser).map_err(|mistake| mistake.at(location))?;
    let next = parser.peek_token();
    if !matches!(next.token, Token::SemiColon | Token::EOF) {
        let mistake = Mistake::new(format!("expected ; or the end of the file, found {}", next.token));
        return Err(mistake.at(sql_location(next.span)));
    }
    Ok(Statement { location, kind, versions: Arc::clone(versions) })
}

/// A parser's error, its place taken out of the text.
fn syntax(error: ParserError) -> Mistake {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        ParserError::RecursionLimitExceeded => return Mistake::new("nested too deeply: write it with CTEs"),
    };
    let place = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((message.to_owned(), Location { line: line.parse().ok()?, column: column.parse().ok()?, length: 1 }))
    });
    match place {
        Some((message, location)) => Mistake::new(message).at(Some(location)),
        None => Mistake::new(text),
    }
}

fn statement(parser: &mut Parser<'_>) -> Result<StatementKind, Mistake> {
    let [first, second, third] = parser.peek_tokens_ref::<3>().map(|token| match &token.token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    });
    if first == Keyword::CREATE && second == Keyword::TABLE {
        return create_table(parser).map(Box::new).map(StatementKind::Table);
    }
    if first == Keyword::CREATE && matches!((second, third), (Keyword::TEMPORARY, Keyword::TABLE)) {
        parser.next_token();
        return create_table(parser)
            .map(|table| StatementKind::Table(Box::new(CreateTable { is_lookup: true, ..table })));
    }
    if first == Keyword::SET {
        parser.next_token();
        return set_option(parser);
    }
    match parser.parse_statement().map(written_out).map_err(syntax)? {
        Ast::CreateView(view) => {
            if !view.columns.is_empty() {
                return Err(Mistake::new("column names after a view's name are not supported")
                    .hint("name the columns in the SELECT, with AS"));
            }
            if !matches!(view.options, CreateTableOptions::None) {
                return Err(Mistake::new(format!("view '{}' has options, but this build knows none", view.name)));
            }
            let name = single(&view.name)?;
            Ok(match view.materialized {
                true => StatementKind::MaterialisedView { name, query: view.query },
                false => StatementKind::View { name, query: view.query },
            })
        }
        Ast::Insert(insert) => match (insert.table, insert.source) {
            (TableObject::TableName(name), Some(query)) if insert.columns.is_empty() => {
                Ok(StatementKind::Insert { into: single(&name)?, query })
            }
            (TableObject::TableName(_), Some(_)) => {
                Err(Mistake::new("INSERT INTO with a list of columns is not supported")
                    .hint("columns are matched by name: name them in the SELECT, with AS"))
            }
            _ => Err(Mistake::new("INSERT INTO needs a SELECT: INSERT INTO table SELECT …")),
        },
        Ast::Query(query) => Ok(StatementKind::Select(query)),
        Ast::Explain { .. } | Ast::ExplainTable { .. } => {
            Err(Mistake::new("EXPLAIN and DESCRIBE ask about a pipeline: they are no part of it")
                .hint("chalk explain PATH shows the graph; chalk query 'EXPLAIN …' and 'DESCRIBE …' ask one that runs"))
        }
        Ast::ShowTables { .. } | Ast::ShowColumns { .. } | Ast::ShowVariable { .. } | Ast::ShowViews { .. } => {
            Err(Mistake::new("SHOW asks about a pipeline: it is no part of it")
                .hint("chalk query 'SHOW TABLES' asks one that runs"))
        }
        other => {
            let text = other.to_string();
            let kind: Vec<&str> = text.split_whitespace().take(2).collect();
            Err(Mistake::new(format!("{} … is not a statement of a pipeline", kind.join(" "))).hint(
                "pipelines are made of CREATE TABLE, CREATE VIEW, CREATE MATERIALIZED VIEW, INSERT INTO … SELECT, SELECT and SET",
            ))
        }
    }
}

/// What follows `SET`.
fn set_option(parser: &mut Parser<'_>) -> Result<StatementKind, Mistake> {
    let option = parser.parse_identifier().map_err(syntax)?;
    if !option.value.eq_ignore_ascii_case("updating_ttl") {
        return Err(Mistake::new(format!("there is no option '{option}' to SET"))
            .hint("SET updating_ttl = '1 day' is what there is"));
    }
    parser.expect_token(&Token::Eq).map_err(syntax)?;
    let text = option_text(&parser.parse_expr().map_err(syntax)?);
    let kept = text.as_deref().and_then(parse_interval).map(|kept| i64::try_from(kept.as_nanos()).unwrap_or(i64::MAX));
    match kept.filter(|&kept| kept > 0) {
        Some(kept) => Ok(StatementKind::UpdatingTtl(kept)),
        None => Err(Mistake::new("SET updating_ttl: it is an interval").hint("SET updating_ttl = '1 day'")),
    }
}

fn single(name: &ast::ObjectName) -> Result<Ident, Mistake> {
    match name.0.as_slice() {
        [part] => part.as_ident().cloned().ok_or_else(|| Mistake::new(format!("{part} is not a name"))),
        _ => Err(Mistake::new(format!("'{name}' has a schema before it: names have one part here"))),
    }
}

fn create_table(parser: &mut Parser<'_>) -> Result<CreateTable, Mistake> {
    let expect = |parser: &mut Parser<'_>, token: &Token| parser.expect_token(token).map(drop).map_err(syntax);
    parser.next_token();
    parser.next_token();
    let name = single(&parser.parse_object_name(false).map_err(syntax)?)?;
    let mut table = CreateTable {
        name,
        columns: Vec::new(),
        key: Vec::new(),
        watermark: None,
        options: Given::new(),
        is_lookup: false,
    };
    if parser.consume_token(&Token::LParen) {
        // A comma may follow the last column.
        while parser.peek_token_ref().token != Token::RParen {
            match watermark(parser)? {
                Some(watermark) if table.watermark.is_some() => {
                    return Err(Mistake::new("a table has one WATERMARK").at(sql_location(watermark.0.span)));
                }
                Some(watermark) => table.watermark = Some(watermark),
                None if parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) => {
                    table.key = parser.parse_parenthesized_column_list(IsOptional::Mandatory, false).map_err(syntax)?;
                }
                None => {
                    let (column, is_key) = column(parser)?;
                    if is_key {
                        table.key.push(column.name.clone());
                    }
                    table.columns.push(column);
                }
            }
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        expect(parser, &Token::RParen)?;
    }
    if parser.parse_keyword(Keyword::WITH) {
        expect(parser, &Token::LParen)?;
        for option in parser.parse_comma_separated(Parser::parse_sql_option).map_err(syntax)? {
            let SqlOption::KeyValue { key, value } = option else {
                return Err(Mistake::new("an option is name = 'value'"));
            };
            let location = sql_location(key.span);
            let value = option_text(&value).ok_or_else(|| {
                Mistake::new(format!("option '{key}' is a string in quotes, such as {key} = '…'")).at(location)
            })?;
            if table.options.insert(key.value.to_lowercase(), value).is_some() {
                return Err(Mistake::new(format!("option '{key}' is given twice")).at(location));
            }
        }
        expect(parser, &Token::RParen)?;
    }
    if parser.parse_keywords(&[Keyword::PARTITIONED, Keyword::BY]) {
        partitioned_by(parser, &mut table)?;
    }
    Ok(table)
}

/// `PARTITIONED BY (column, …)`, which says what `partitioning.fields` does.
fn partitioned_by(parser: &mut Parser<'_>, table: &mut CreateTable) -> Result<(), Mistake> {
    const OPTION: &str = "partitioning.fields";
    let location = sql_location(parser.peek_token_ref().span);
    if table.options.get("connector").is_none_or(|connector| connector != "filesystem") {
        return Err(Mistake::new("PARTITIONED BY: only connector = 'filesystem' has folders").at(location));
    }
    parser.expect_token(&Token::LParen).map_err(syntax)?;
    let mut columns = Vec::new();
    for part in parser.parse_comma_separated(Parser::parse_expr).map_err(syntax)? {
        let Expr::Identifier(column) = part else {
            return Err(Mistake::new(format!("PARTITIONED BY: {part} is not a column"))
                .hint("folders by time are made by 'partitioning.time_pattern' = '%Y/%m/%d'")
                .at(location));
        };
        columns.push(column.value);
    }
    parser.expect_token(&Token::RParen).map_err(syntax)?;
    match table.options.insert(OPTION.to_owned(), columns.join(",")) {
        None => Ok(()),
        Some(_) => Err(Mistake::new(format!("PARTITIONED BY and option {OPTION}: one will do")).at(location)),
    }
}

/// The text of an option's value: a string, a number, a name, `true` or `false`, an interval such as `INTERVAL '10 minutes'`, or an array of these.
fn option_text(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(value) => match &value.value {
            ast::Value::Number(text, _) => Some(text.clone()),
            ast::Value::Boolean(value) => Some(value.to_string()),
            value => value.clone().into_string(),
        },
        Expr::Identifier(name) => Some(name.value.clone()),
        Expr::Array(array) => {
            let elements: Option<Vec<String>> = array.elem.iter().map(option_text).collect();
            Some(elements?.join(","))
        }
        Expr::Interval(interval) => {
            let amount = option_text(&interval.value)?;
            Some(match &interval.leading_field {
                Some(unit) => format!("{amount} {}", unit.to_string().to_lowercase()),
                None => amount,
            })
        }
        _ => None,
    }
}

/// `WATERMARK FOR column [AS (expression)]`, if that is what comes next.
fn watermark(parser: &mut Parser<'_>) -> Result<Option<(Ident, Option<Expr>)>, Mistake> {
    let [first, second] = parser.peek_tokens::<2>();
    let is_word =
        |token: &Token, text: &str| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case(text));
    if !(is_word(&first, "WATERMARK") && is_word(&second, "FOR")) {
        return Ok(None);
    }
    parser.next_token();
    parser.next_token();
    let column = parser.parse_identifier().map_err(syntax)?;
    let expression = match parser.parse_keyword(Keyword::AS) {
        true => Some(parser.parse_expr().map_err(syntax)?),
        false => None,
    };
    Ok(Some((column, expression)))
}

/// A column, and whether it is the table's key.
fn column(parser: &mut Parser<'_>) -> Result<(ColumnDef, bool), Mistake> {
    let name = parser.parse_identifier().map_err(syntax)?;
    let data_type = parser.parse_data_type().map_err(syntax)?;
    let mut column = ColumnDef { name, data_type, not_null: false, source: ColumnSource::Stored };
    let mut is_key = false;
    loop {
        let next = parser.peek_token();
        if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
            column.not_null = true;
        } else if parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
            is_key = true;
        } else if parser.parse_keyword(Keyword::NULL) {
            column.not_null = false;
        } else if parser.parse_keywords(&[Keyword::GENERATED, Keyword::ALWAYS, Keyword::AS]) {
            let expression = parser.parse_expr().map(written_out).map_err(syntax)?;
            let _optional = parser.parse_keyword(Keyword::STORED);
            column.source = ColumnSource::Generated(Box::new(expression));
        } else if matches!(&next.token, Token::Word(word) if word.value.eq_ignore_ascii_case("METADATA")) {
            parser.next_token();
            if !parser.parse_keyword(Keyword::FROM) {
                return Err(Mistake::new("METADATA needs FROM 'key'").at(sql_location(next.span)));
            }
            column.source = ColumnSource::Metadata(parser.parse_literal_string().map_err(syntax)?);
        } else if matches!(next.token, Token::Comma | Token::RParen) {
            return Ok((column, is_key));
        } else {
            let message = format!("column '{}': {} is not understood", column.name, next.token);
            let hint =
                "a column is: name TYPE [NOT NULL] [PRIMARY KEY] [GENERATED ALWAYS AS (…) STORED | METADATA FROM '…']";
            return Err(Mistake::new(message).hint(hint).at(sql_location(next.span)));
        }
    }
}
