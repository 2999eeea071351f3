//! `chalk query "SELECT …"`.

use crate::client::Client;
use crate::command::DataArgument;
use crate::error::CliError;
use crate::{Outcome, ProjectFiles};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Query {
    /// One SELECT over views and topics. SHOW TABLES lists them.
    sql: String,
    /// How rows are shown: table, json (a line each) or csv.
    #[arg(short, long, default_value = "table", value_parser = ["table", "json", "csv"])]
    format: String,
    #[command(flatten)]
    data: DataArgument,
    /// The project whose views are asked, when no server runs on the directory.
    #[arg(long, value_name = "PATH", default_value = "sql")]
    project: PathBuf,
}

impl Query {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        self.data.check_exists()?;
        let client = Client::find(&self.data.data, || ProjectFiles::read(&self.project))?;
        print!("{}", client.query(&self.sql, &self.format)?);
        Ok(Outcome::Done)
    }
}
