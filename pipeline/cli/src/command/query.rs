//! `chalk query "SELECT …" [--as-of POINT]`.

use crate::client::Client;
use crate::command::DataArgument;
use crate::error::CliError;
use crate::functions::ProjectFunctions;
use crate::node::PIPELINE;
use crate::replay::{Point, Until};
use crate::serving::tokio_runtime;
use crate::{Outcome, ProjectFiles};
use chalk_event::Epoch;
use chalk_runtime::{At, Past};
use chalk_serve::{Format, Queries, QueryLimits};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub(crate) struct Query {
    /// One SELECT over views and topics. SHOW TABLES lists them.
    sql: String,
    /// How rows are shown: table, json (a line each) or csv.
    #[arg(short, long, default_value = "table", value_parser = ["table", "json", "csv"])]
    format: String,
    /// Ask views and topics as they were: an epoch, the RFC 3339 time at which the log took the last events, or topic:partition:offset
    /// of the last event.
    #[arg(long, value_name = "POINT")]
    as_of: Option<String>,
    #[command(flatten)]
    data: DataArgument,
    /// The project whose views are asked, when no server runs on the directory.
    #[arg(long, value_name = "PATH", default_value = "sql")]
    project: PathBuf,
}

impl Query {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        self.data.check_exists()?;
        if let Some(point) = &self.as_of {
            return self.ask_the_past(point);
        }
        let client = Client::find(&self.data.data, || ProjectFiles::read(&self.project))?;
        print!("{}", client.query(&self.sql, &self.format)?);
        Ok(Outcome::Done)
    }

    /// Reads views from their changelogs, whether or not a server runs on the directory. No project is needed, and nothing is written.
    fn ask_the_past(&self, point: &str) -> Result<Outcome, CliError> {
        let failed = |error: &dyn std::error::Error| CliError::other(error.to_string());
        let (log, at) = match Until::parse(point)? {
            Until::Epoch(epoch) => (self.data.look()?, At::Epoch(Epoch(epoch))),
            other => {
                let (log, point) = Point::find(&self.data, Some(other))?;
                (log, At::Commit(point.commit))
            }
        };
        let Some(past) = chalk_runtime::as_of(&log, PIPELINE, at).map_err(|error| failed(&error))? else {
            return Err(CliError::other(format!(
                "the journal does not say what views were at {point}\n  hint: it does since the first epoch that a server of this build \
                 committed; chalk replay --until computes views from the log"
            )));
        };
        let Past { snapshot, unkept } = past;
        eprintln!("as of epoch {}, commit {}", snapshot.epoch, snapshot.upto);
        for view in unkept {
            eprintln!("view '{view}' has no changelog: it cannot be asked");
        }
        // Views are read as they were whether or not there is a project; its functions are there if it is.
        let files = if self.project.exists() { ProjectFiles::read(&self.project)? } else { ProjectFiles::default() };
        let functions = ProjectFunctions::asked(&files)?.into_sql();
        let queries = Queries::of_past(Arc::new(log), snapshot, &functions, QueryLimits::default());
        let result = tokio_runtime()?.block_on(queries.run(&self.sql)).map_err(|error| failed(&error))?;
        let format: Format = self.format.parse().map_err(|error| CliError::other(format!("{error}")))?;
        print!("{}", chalk_serve::write(&result, format).map_err(|error| failed(&error))?);
        Ok(Outcome::Done)
    }
}
