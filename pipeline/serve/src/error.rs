//! What a query's user is told: whose mistake, where, and what to do.

use arrow::error::ArrowError;
use chalk_plan::Location;
use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use std::fmt;

/// How many known names a hint lists at most.
const NAMES_MAX: usize = 30;

/// Whose mistake it is that a query has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryErrorKind {
    /// The user's: the SQL is wrong, or asks for what queries do not do. The same query fails again.
    Mistake,
    /// A limit was reached.
    Limit(Limit),
    /// Ours, or the machine's.
    Internal,
}

/// What a query had too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The statement's size, nesting, or length of its chains.
    Statement,
    /// Time.
    Time,
    /// Memory.
    Memory,
    /// Rows in the answer.
    Rows,
}

/// What a mistake is about, for protocols that have codes for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Syntax,
    Table,
    Column,
    AmbiguousColumn,
    Function,
    Grouping,
    Types,
    Value,
    Range,
    ZeroDivisor,
    Writing,
    Unsupported,
    Other,
}

/// A query has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// Whose mistake it is.
    pub kind: QueryErrorKind,
    /// What about; meaningful when it is the user's.
    pub(crate) about: About,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where in the SQL, as far as that is known.
    pub location: Option<Location>,
}

impl std::error::Error for QueryError {}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = self.location {
            write!(f, "{}:{}: ", location.line, location.column)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl QueryError {
    pub(crate) fn new(kind: QueryErrorKind, message: impl Into<String>) -> Self {
        Self { kind, about: About::Other, message: message.into(), hint: None, location: None }
    }

    pub(crate) fn mistake(message: impl Into<String>) -> Self {
        Self::new(QueryErrorKind::Mistake, message)
    }

    pub(crate) fn limit(limit: Limit, message: impl Into<String>) -> Self {
        Self::new(QueryErrorKind::Limit(limit), message)
    }

    pub(crate) fn memory() -> Self {
        Self::limit(Limit::Memory, "the query needs more memory than it may use")
            .hint("filter or aggregate more, select fewer columns, or add a LIMIT")
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(QueryErrorKind::Internal, message)
    }

    pub(crate) fn about(mut self, about: About) -> Self {
        self.about = about;
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn at(mut self, location: Option<Location>) -> Self {
        self.location = self.location.or(location);
        self
    }

    /// What DataFusion said, in our words. `known` names the tables that there are.
    pub(crate) fn of_datafusion(error: &DataFusionError, known: &[String]) -> Self {
        let root = error.find_root();
        let mut told = match root {
            DataFusionError::SQL(error, _) => syntax(error),
            DataFusionError::SchemaError(error, _) => schema_error(error),
            DataFusionError::Plan(text) => plan_error(text, known),
            DataFusionError::NotImplemented(text) => {
                Self::mistake(format!("not supported: {text}")).about(About::Unsupported)
            }
            DataFusionError::Configuration(text) | DataFusionError::Execution(text) => {
                Self::mistake(text).about(About::Value)
            }
            DataFusionError::ArrowError(error, _) => Self::mistake(error.to_string()).about(about_arrow(error)),
            DataFusionError::ResourcesExhausted(_) => Self::memory(),
            DataFusionError::Internal(text) => Self::internal(text),
            other => Self::internal(other.message()),
        };
        if let Some(diagnostic) = error.diagnostic() {
            let span = diagnostic.span.filter(|span| span.start.line > 0);
            let same_line = |span: &datafusion::common::Span| span.start.line == span.end.line;
            told = told.at(span.map(|span| Location {
                line: span.start.line,
                column: span.start.column,
                length: if same_line(&span) { span.end.column.saturating_sub(span.start.column).max(1) } else { 1 },
            }));
            // DataFusion says this one more plainly in its diagnostic.
            if told.message.starts_with("Column in SELECT must be in GROUP BY") {
                told.about = About::Grouping;
                told.message.clone_from(&diagnostic.message);
            }
            told.hint = told.hint.or_else(|| diagnostic.helps.first().map(|help| help.message.clone()));
        }
        told.message = told.message.trim().to_owned();
        if told.hint.is_none()
            && let Some((message, rest)) = told.message.split_once('\n')
        {
            (told.hint, told.message) = (Some(rest.trim().to_owned()), message.trim_end_matches('.').to_owned());
        }
        told
    }
}

fn about_arrow(error: &ArrowError) -> About {
    match error {
        ArrowError::DivideByZero => About::ZeroDivisor,
        ArrowError::ArithmeticOverflow(_) => About::Range,
        _ => About::Value,
    }
}

/// A parser's error, its place taken out of the text.
pub(crate) fn syntax(error: &ParserError) -> QueryError {
    let (ParserError::TokenizerError(text) | ParserError::ParserError(text)) = error else {
        return QueryError::limit(Limit::Statement, "the statement is nested too deeply")
            .hint("give its inner queries names with WITH");
    };
    let place = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((message, Location { line: line.parse().ok()?, column: column.parse().ok()?, length: 1 }))
    });
    match place {
        Some((message, location)) => QueryError::mistake(message).at(Some(location)),
        None => QueryError::mistake(text),
    }
    .about(About::Syntax)
}

fn schema_error(error: &SchemaError) -> QueryError {
    let SchemaError::FieldNotFound { field, valid_fields } = error else {
        let about = match error {
            SchemaError::AmbiguousReference { .. } => About::AmbiguousColumn,
            _ => About::Other,
        };
        return QueryError::mistake(error.to_string()).about(about);
    };
    let names: Vec<&str> = valid_fields.iter().map(Column::name).collect();
    let wrong = QueryError::mistake(format!("there is no column '{}'", field.flat_name())).about(About::Column);
    match suggestion(field.name(), &names, "columns here are") {
        Some(hint) => wrong.hint(hint),
        None => wrong,
    }
}

fn plan_error(text: &str, known: &[String]) -> QueryError {
    let Some((table, "")) = text.strip_prefix("table '").and_then(|rest| rest.split_once("' not found")) else {
        return QueryError::mistake(text).about(about_plan(text));
    };
    // Names come with catalogue and schema in front; a name may have dots of its own.
    let table = table.strip_prefix("chalk.").unwrap_or(table);
    let table = table.strip_prefix("public.").unwrap_or(table);
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let hint = suggestion(table, &names, "known are");
    let wrong = QueryError::mistake(format!("there is no view or topic '{table}'")).about(About::Table);
    wrong.hint(hint.unwrap_or_else(|| "there are no views or topics yet".to_owned()))
}

fn about_plan(text: &str) -> About {
    if text.starts_with("Invalid function") || text.contains("No function matches") {
        About::Function
    } else if text.contains("GROUP BY") {
        About::Grouping
    } else if text.contains("oerce") || text.contains("data type") {
        About::Types
    } else {
        About::Other
    }
}

/// The known name that was meant, or else all of them.
pub(crate) fn suggestion(name: &str, known: &[&str], list: &str) -> Option<String> {
    let wanted = name.to_lowercase();
    let near = known
        .iter()
        .map(|candidate| (levenshtein(&wanted, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, _)| *distance <= 2)
        .min();
    if let Some((distance, near)) = near {
        let quotes = if distance == 0 { " (in double quotes: names are lower case without)" } else { "" };
        return Some(format!("did you mean '{near}'?{quotes}"));
    }
    let more = if known.len() > NAMES_MAX { ", …" } else { "" };
    let listed = known.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    (!known.is_empty()).then(|| format!("{list} {listed}{more}"))
}
