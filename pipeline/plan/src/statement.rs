//! Statements of a `.sql` file: DataFusion's parser, with our own `CREATE TABLE`.

use crate::error::{Location, Mistake, sql_location};
use chalk_graph::options::Given;
use sqlparser::ast::{self, CreateTableOptions, Expr, Ident, Query, SqlOption, Statement as Ast, TableObject};
use sqlparser::dialect::GenericDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// A statement and where it begins.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) location: Option<Location>,
    pub(crate) kind: StatementKind,
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
}

/// `CREATE TABLE name (…) WITH (…)`.
#[derive(Debug)]
pub(crate) struct CreateTable {
    pub(crate) name: Ident,
    pub(crate) columns: Vec<ColumnDef>,
    pub(crate) watermark: Option<(Ident, Option<Expr>)>,
    pub(crate) options: Given,
}

/// A column of a `CREATE TABLE`.
#[derive(Debug)]
pub(crate) struct ColumnDef {
    pub(crate) name: Ident,
    pub(crate) data_type: ast::DataType,
    pub(crate) not_null: bool,
    pub(crate) source: ColumnSource,
}

/// Where a column's value comes from.
#[derive(Debug)]
pub(crate) enum ColumnSource {
    Stored,
    Generated(Box<Expr>),
    Metadata(String),
}

/// Parses a file.
pub(crate) fn parse(text: &str) -> Result<Vec<Statement>, Mistake> {
    let dialect = GenericDialect {};
    let mut parser = Parser::new(&dialect).with_recursion_limit(64).try_with_sql(text).map_err(syntax)?;
    let mut statements = Vec::new();
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        if parser.peek_token_ref().token == Token::EOF {
            return Ok(statements);
        }
        let location = sql_location(parser.peek_token_ref().span);
        let kind = statement(&mut parser).map_err(|mistake| mistake.at(location))?;
        statements.push(Statement { location, kind });
        let next = parser.peek_token();
        if !matches!(next.token, Token::SemiColon | Token::EOF) {
            let mistake = Mistake::new(format!("expected ; or the end of the file, found {}", next.token));
            return Err(mistake.at(sql_location(next.span)));
        }
    }
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
        return Err(Mistake::new("lookup tables (CREATE TEMPORARY TABLE) are not supported in this build")
            .hint("join a materialised view instead"));
    }
    match parser.parse_statement().map_err(syntax)? {
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
        other => {
            let text = other.to_string();
            let kind: Vec<&str> = text.split_whitespace().take(2).collect();
            Err(Mistake::new(format!("{} … is not a statement of a pipeline", kind.join(" "))).hint(
                "pipelines are made of CREATE TABLE, CREATE VIEW, CREATE MATERIALIZED VIEW, INSERT INTO … SELECT and SELECT",
            ))
        }
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
    let mut table = CreateTable { name, columns: Vec::new(), watermark: None, options: Given::new() };
    if parser.consume_token(&Token::LParen) {
        loop {
            match watermark(parser)? {
                Some(watermark) if table.watermark.is_some() => {
                    return Err(Mistake::new("a table has one WATERMARK").at(sql_location(watermark.0.span)));
                }
                Some(watermark) => table.watermark = Some(watermark),
                None => table.columns.push(column(parser)?),
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
    Ok(table)
}

/// The text of an option's value: a string, a number, or an interval such as `INTERVAL '10 minutes'`.
fn option_text(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(value) => match &value.value {
            ast::Value::Number(text, _) => Some(text.clone()),
            value => value.clone().into_string(),
        },
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

fn column(parser: &mut Parser<'_>) -> Result<ColumnDef, Mistake> {
    let name = parser.parse_identifier().map_err(syntax)?;
    let data_type = parser.parse_data_type().map_err(syntax)?;
    let mut column = ColumnDef { name, data_type, not_null: false, source: ColumnSource::Stored };
    loop {
        let next = parser.peek_token();
        if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
            column.not_null = true;
        } else if parser.parse_keyword(Keyword::NULL) {
            column.not_null = false;
        } else if parser.parse_keywords(&[Keyword::GENERATED, Keyword::ALWAYS, Keyword::AS]) {
            let expression = parser.parse_expr().map_err(syntax)?;
            let _optional = parser.parse_keyword(Keyword::STORED);
            column.source = ColumnSource::Generated(Box::new(expression));
        } else if matches!(&next.token, Token::Word(word) if word.value.eq_ignore_ascii_case("METADATA")) {
            parser.next_token();
            if !parser.parse_keyword(Keyword::FROM) {
                return Err(Mistake::new("METADATA needs FROM 'key'").at(sql_location(next.span)));
            }
            column.source = ColumnSource::Metadata(parser.parse_literal_string().map_err(syntax)?);
        } else if matches!(next.token, Token::Comma | Token::RParen) {
            return Ok(column);
        } else {
            let message = format!("column '{}': {} is not understood", column.name, next.token);
            let hint = "a column is: name TYPE [NOT NULL] [GENERATED ALWAYS AS (…) STORED | METADATA FROM '…']";
            return Err(Mistake::new(message).hint(hint).at(sql_location(next.span)));
        }
    }
}
