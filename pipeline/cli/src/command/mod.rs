//! One file per subcommand.

pub(crate) mod append;
pub(crate) mod check;
pub(crate) mod checkpoint;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod generate;
pub(crate) mod history;
pub(crate) mod log;
pub(crate) mod query;
pub(crate) mod replay;
pub(crate) mod retention;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod status;
pub(crate) mod tail;
pub(crate) mod topics;
pub(crate) mod udf;

use crate::error::CliError;
use crate::keeping::Keeping;
use crate::node::system_clock;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use chalk_catalog::{TopicDef, Topics};
use chalk_log::{CommitLog, LogOptions};
use chalk_serve::{Format, QueryResult, write};
use std::path::PathBuf;
use std::sync::Arc;

/// Where a command finds its data directory.
#[derive(Debug, clap::Args)]
pub(crate) struct DataArgument {
    /// The data directory.
    #[arg(long, value_name = "DIR", default_value = "chalk-data")]
    pub(crate) data: PathBuf,
}

impl DataArgument {
    /// That there is a data directory.
    pub(crate) fn check_exists(&self) -> Result<(), CliError> {
        if self.data.exists() {
            return Ok(());
        }
        Err(CliError::other(format!(
            "there is no data directory {}\n  hint: name it with --data, or start one with chalk demo or chalk run",
            self.data.display()
        )))
    }

    /// Its log as it is now, to be read, whether or not a server runs on it.
    pub(crate) fn look(&self) -> Result<CommitLog, CliError> {
        self.check_log()?;
        let history = Keeping::read(&self.data)?.objects(&self.data)?;
        Ok(CommitLog::look(&self.data, &LogOptions { history, ..LogOptions::new(system_clock()) })?)
    }

    /// That there is a data directory with a log.
    pub(crate) fn check_log(&self) -> Result<(), CliError> {
        self.check_exists()?;
        if !self.data.join("log").is_dir() {
            return Err(CliError::other(format!(
                "{} has no log: it is no data directory, or nothing was started on it yet",
                self.data.display()
            )));
        }
        Ok(())
    }
}

/// The topic of a name; names the others when there is none.
pub(crate) fn topic_named<'a>(topics: &'a Topics, name: &str) -> Result<&'a TopicDef, CliError> {
    topics.by_name(name).ok_or_else(|| {
        let listed = topics.iter().filter(|topic| !topic.is_own());
        let mut names: Vec<&str> = listed.map(TopicDef::name).collect();
        names.sort_unstable();
        CliError::other(format!("there is no topic '{name}'\n  hint: there are {}", names.join(", ")))
    })
}

/// Rows of text for people, each with a value for each name.
pub(crate) fn table(names: &[&str], rows: &[Vec<String>]) -> Result<String, CliError> {
    let column = |index: usize| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row[index].as_str())))
    };
    let columns = names.iter().enumerate().map(|(index, &name)| (name, column(index)));
    let batch = RecordBatch::try_from_iter(columns).map_err(|error| CliError::other(error.to_string()))?;
    let result = QueryResult::of(batch.schema(), vec![batch]);
    write(&result, Format::Table).map_err(|error| CliError::other(error.to_string()))
}
