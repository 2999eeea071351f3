//! Errors as the terminal shows them.

use crate::project::ProjectFiles;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use chalk_plan::PlanError;
use std::io::IsTerminal;

/// A command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Mistakes in `.sql` files, with the files.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Plan(Vec<PlanError>, Box<ProjectFiles>),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] chalk_log::LogError),
    /// The door failed.
    #[error(transparent)]
    Door(#[from] chalk_ingest::DoorError),
    /// The pipeline failed.
    #[error(transparent)]
    Runtime(#[from] chalk_runtime::RuntimeError),
    /// Anything else, with what to do about it.
    #[error("{0}")]
    Other(String),
}

impl CliError {
    /// An error for which there is no kind.
    pub fn other(message: impl Into<String>) -> Self {
        Self::Other(message.into())
    }

    /// Prints the error; mistakes in SQL with the text around them.
    pub(crate) fn report(&self) {
        match self {
            Self::Plan(errors, files) => {
                for error in errors {
                    eprintln!("{}\n", rendered(error, files));
                }
                let mistakes = if errors.len() == 1 { "1 mistake" } else { &format!("{} mistakes", errors.len()) };
                eprintln!("{mistakes}: nothing was run");
            }
            other => eprintln!("error: {other}"),
        }
    }
}

/// A mistake with the line that it is in.
fn rendered(error: &PlanError, files: &ProjectFiles) -> String {
    let text = files.sql.iter().find(|file| file.name == error.file).map(|file| file.text.as_str());
    let (Some(text), Some(location)) = (text, error.location) else { return format!("error: {error}") };
    let start = offset(text, location.line, location.column);
    let end = offset(text, location.line, location.column + location.length).max(start + 1).min(text.len());
    let snippet =
        Snippet::source(text).path(error.file.as_str()).annotation(AnnotationKind::Primary.span(start.min(end)..end));
    let mut groups = Level::ERROR.primary_title(error.message.as_str()).element(snippet);
    if let Some(hint) = &error.hint {
        groups = groups.element(Level::HELP.message(hint.as_str()));
    }
    let renderer = if std::io::stderr().is_terminal() { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[groups])
}

/// The byte of a line and column, both counted from 1.
fn offset(text: &str, line: u64, column: u64) -> usize {
    let lines_before: usize =
        text.split_inclusive('\n').take(usize::try_from(line - 1).unwrap_or(usize::MAX)).map(str::len).sum();
    let rest = &text[lines_before.min(text.len())..];
    let in_line = rest.char_indices().nth(usize::try_from(column - 1).unwrap_or(usize::MAX));
    lines_before + in_line.map_or(rest.find('\n').unwrap_or(rest.len()), |(byte, _)| byte)
}
