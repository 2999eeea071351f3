//! Errors that say where in which file, and what to do.

use datafusion::common::Span;
use datafusion::error::DataFusionError;
use std::fmt;

/// A place in a file. Lines and columns are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
    /// How many characters are meant, at least 1.
    pub length: u64,
}

/// A mistake in a `.sql` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// The file's name.
    pub file: String,
    /// Where in it, as far as that is known.
    pub location: Option<Location>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl std::error::Error for PlanError {}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(location) = self.location {
            write!(f, ":{}:{}", location.line, location.column)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// A mistake whose file is not known yet.
#[derive(Clone, Debug)]
pub(crate) struct Mistake {
    pub(crate) location: Option<Location>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Mistake {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { location: None, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The place, unless a better one is known already.
    pub(crate) fn at(mut self, location: Option<Location>) -> Self {
        self.location = self.location.or(location);
        self
    }

    pub(crate) fn in_file(self, file: &str) -> PlanError {
        PlanError { file: file.to_owned(), location: self.location, message: self.message, hint: self.hint }
    }
}

pub(crate) fn location_of(span: Span) -> Option<Location> {
    (span.start.line > 0).then(|| Location {
        line: span.start.line,
        column: span.start.column,
        length: if span.end.line == span.start.line { (span.end.column - span.start.column).max(1) } else { 1 },
    })
}

pub(crate) fn sql_location(span: sqlparser::tokenizer::Span) -> Option<Location> {
    (span.start.line > 0).then(|| Location {
        line: span.start.line,
        column: span.start.column,
        length: if span.end.line == span.start.line {
            span.end.column.saturating_sub(span.start.column).max(1)
        } else {
            1
        },
    })
}

impl From<DataFusionError> for Mistake {
    fn from(error: DataFusionError) -> Self {
        let diagnostic = error.diagnostic().cloned();
        let text = error.strip_backtrace();
        let text = text.strip_prefix("Error during planning: ").unwrap_or(&text);
        let text = text.strip_prefix("Schema error: ").unwrap_or(text);
        let text = text.strip_prefix("Execution error: ").unwrap_or(text);
        let text = text.strip_prefix("This feature is not implemented: ").unwrap_or(text);
        let (text, fields) = match text.split_once("Valid fields are ") {
            Some((text, fields)) => (text, Some(format!("known here are {}", fields.trim_end_matches('.')))),
            None => (text, None),
        };
        let (message, near) = match text.split_once("Did you mean ") {
            Some((message, near)) => (message, Some(format!("did you mean {}", near.trim_end()))),
            None => (text, None),
        };
        let (message, hint) = (message.trim_end().trim_end_matches('.'), near.or(fields));
        let mut mistake = Self { location: None, message: message.to_owned(), hint };
        if let Some(diagnostic) = diagnostic {
            mistake.location = diagnostic.span.and_then(location_of);
            let help = diagnostic.helps.first().map(|help| help.message.clone());
            mistake.hint = mistake.hint.or(help);
        }
        mistake
    }
}
