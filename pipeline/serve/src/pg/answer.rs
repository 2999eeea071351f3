//! What a client is told when it gets no answer: SQLSTATE, place, hint.

use super::settings::NotSet;
use crate::error::{About, Limit, QueryError, QueryErrorKind};
use chalk_plan::Location;
use pgwire::error::ErrorInfo;
use pgwire::messages::PgWireBackendMessage;

/// An error for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The connection ends with it.
    pub(super) fatal: bool,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// The character in the client's text, from 1.
    pub(super) position: Option<usize>,
}

impl Told {
    pub(super) fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { fatal: false, code, message: message.into(), hint: None, position: None }
    }

    pub(super) fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        Self { fatal: true, ..Self::error(code, message) }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A query's error; the statement begins at byte `from` of `text`.
    pub(super) fn of_query(error: QueryError, text: &str, from: usize) -> Self {
        let position = error.location.map(|location| {
            let before = text.get(..from).unwrap_or_default().chars().count();
            before + character(text.get(from..).unwrap_or_default(), location)
        });
        Self { fatal: false, code: code(&error), message: error.message, hint: error.hint, position }
    }

    pub(super) fn of_setting(name: &str, error: &NotSet) -> Self {
        match error {
            NotSet::Unknown => Self::error("42704", format!("unrecognized configuration parameter \"{name}\""))
                .hint("SHOW ALL lists those that there are"),
            NotSet::Fixed => Self::error("55P02", format!("parameter \"{name}\" cannot be changed")),
            NotSet::Value(why) => Self::error("22023", format!("parameter \"{name}\" cannot have that value: {why}")),
            NotSet::TooMuch => Self::error("54000", "too many settings, or too long ones"),
        }
    }

    /// The message that says it.
    pub(super) fn message(self) -> PgWireBackendMessage {
        let severity = if self.fatal { "FATAL" } else { "ERROR" };
        let mut info = ErrorInfo::new(severity.to_owned(), self.code.to_owned(), self.message);
        info.severity_nonlocalized = Some(severity.to_owned());
        info.hint = self.hint;
        info.position = self.position.map(|position| position.to_string());
        PgWireBackendMessage::ErrorResponse(info.into())
    }
}

/// The number of the character at a place, from 1.
fn character(text: &str, location: Location) -> usize {
    let lines = text.split_inclusive('\n').take(usize::try_from(location.line).unwrap_or(usize::MAX).saturating_sub(1));
    let before: usize = lines.map(|line| line.chars().count()).sum();
    before + usize::try_from(location.column).unwrap_or(1)
}

/// PostgreSQL's code for an error.
fn code(error: &QueryError) -> &'static str {
    match error.kind {
        QueryErrorKind::Limit(Limit::Statement) => "54001",
        QueryErrorKind::Limit(Limit::Time) => "57014",
        QueryErrorKind::Limit(Limit::Memory) => "53200",
        QueryErrorKind::Limit(Limit::Rows) => "54000",
        QueryErrorKind::Internal => "XX000",
        QueryErrorKind::Mistake => match error.about {
            About::Syntax => "42601",
            About::Table => "42P01",
            About::Column => "42703",
            About::AmbiguousColumn => "42702",
            About::Function => "42883",
            About::Grouping => "42803",
            About::Types => "42804",
            About::Value => "22P02",
            About::Range => "22003",
            About::ZeroDivisor => "22012",
            About::Writing => "25006",
            About::Unsupported => "0A000",
            About::Other => "42000",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters_of_the_whole_text() {
        let location = |line, column| Location { line, column, length: 1 };
        assert_eq!(character("SELECT x", location(1, 8)), 8);
        assert_eq!(character("SELECT 'ä',\n  x", location(2, 3)), 15);
        let error = QueryError::mistake("no").at(Some(location(1, 8)));
        assert_eq!(Told::of_query(error, "SELECT 'ä'; SELECT x", 12).position, Some(19));
    }
}
