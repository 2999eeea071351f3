//! `chalk checkpoint`.

use crate::Outcome;
use crate::command::topics::bytes_text;
use crate::command::{DataArgument, table};
use crate::error::CliError;
use chalk_runtime::{CheckpointReport, Checkpoints};
use chalk_store::LocalFiles;
use serde_json::json;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Checkpoint {
    /// Show the checkpoint of a data directory: what it knows, and the runs that it is made of.
    List(List),
}

impl Checkpoint {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        match self {
            Self::List(list) => list.run(),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    data: DataArgument,
    /// How it is shown: table or json.
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

impl List {
    fn run(self) -> Result<Outcome, CliError> {
        self.data.check_exists()?;
        let folder = self.data.data.join("checkpoints");
        let found = if folder.is_dir() {
            let storage = LocalFiles::existing(&folder).map_err(|error| CliError::other(error.to_string()))?;
            Checkpoints::report(&storage).map_err(|why| CliError::other(format!("the checkpoint: {why}")))?
        } else {
            None
        };
        let Some(CheckpointReport { epoch, upto, graph, runs }) = found else {
            println!(
                "{}",
                if self.format == "json" { "null" } else { "there is none: a start reads the log from its beginning" }
            );
            return Ok(Outcome::Done);
        };
        let bytes: u64 = runs.iter().map(|run| run.bytes).sum();
        if self.format == "json" {
            let runs: Vec<_> =
                runs.iter().map(|run| json!({ "run": run.name, "entries": run.entries, "bytes": run.bytes })).collect();
            println!("{}", json!({ "epoch": epoch.0, "upto": upto.0, "graph": graph, "bytes": bytes, "runs": runs }));
            return Ok(Outcome::Done);
        }
        println!("epoch {epoch}, everything up to commit {upto}, of graph {graph}: {}", bytes_text(bytes));
        let rows: Vec<Vec<String>> =
            runs.into_iter().map(|run| vec![run.name, run.entries.to_string(), run.bytes.to_string()]).collect();
        print!("{}", table(&["run", "entries", "bytes"], &rows)?);
        Ok(Outcome::Done)
    }
}
