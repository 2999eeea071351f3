//! `chalk checkpoint`.

use crate::Outcome;
use crate::command::topics::bytes_text;
use crate::command::{DataArgument, table};
use crate::error::CliError;
use chalk_runtime::{CheckpointReport, Checkpoints};
use chalk_store::LocalFiles;
use serde_json::{Value, json};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Checkpoint {
    /// Show the checkpoints of a data directory: what the newest knows, the runs that it is made of, and which earlier ones are kept.
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
            Checkpoints::list(&storage).map_err(|why| CliError::other(format!("the checkpoint: {why}")))?
        } else {
            Vec::new()
        };
        let Some((newest, earlier)) = found.split_first() else {
            println!(
                "{}",
                if self.format == "json" { "null" } else { "there is none: a start reads the log from its beginning" }
            );
            return Ok(Outcome::Done);
        };
        let CheckpointReport { epoch, upto, graph, runs } = newest;
        let earlier: Vec<Earlier<'_>> = earlier.iter().map(|report| Earlier::new(report, newest)).collect();
        if self.format == "json" {
            let runs: Vec<_> =
                runs.iter().map(|run| json!({ "run": run.name, "entries": run.entries, "bytes": run.bytes })).collect();
            let (bytes, earlier) = (bytes_of(newest), earlier.iter().map(Earlier::json).collect::<Vec<_>>());
            println!(
                "{}",
                json!({ "epoch": epoch.0, "upto": upto.0, "graph": graph, "bytes": bytes, "runs": runs, "earlier": earlier })
            );
            return Ok(Outcome::Done);
        }
        println!("epoch {epoch}, everything up to commit {upto}, of graph {graph}: {}", bytes_text(bytes_of(newest)));
        let rows: Vec<Vec<String>> =
            runs.iter().map(|run| vec![run.name.clone(), run.entries.to_string(), run.bytes.to_string()]).collect();
        print!("{}", table(&["run", "entries", "bytes"], &rows)?);
        if !earlier.is_empty() {
            println!("earlier ones, for replays up to a point before it:");
            let rows: Vec<Vec<String>> = earlier.iter().map(Earlier::row).collect();
            print!("{}", table(&["epoch", "commit", "runs", "bytes", "not in the newest"], &rows)?);
        }
        Ok(Outcome::Done)
    }
}

fn bytes_of(report: &CheckpointReport) -> u64 {
    report.runs.iter().map(|run| run.bytes).sum()
}

/// A checkpoint before the newest one.
struct Earlier<'a> {
    report: &'a CheckpointReport,
    /// Bytes of the runs that the newest one does not have.
    extra: u64,
}

impl<'a> Earlier<'a> {
    fn new(report: &'a CheckpointReport, newest: &CheckpointReport) -> Self {
        let extra = report.runs.iter().filter(|run| !newest.runs.contains(run)).map(|run| run.bytes).sum();
        Self { report, extra }
    }

    fn json(&self) -> Value {
        let CheckpointReport { epoch, upto, runs, .. } = self.report;
        json!({
            "epoch": epoch.0, "upto": upto.0, "runs": runs.len(), "bytes": bytes_of(self.report), "extra_bytes": self.extra,
        })
    }

    fn row(&self) -> Vec<String> {
        let CheckpointReport { epoch, upto, runs, .. } = self.report;
        let numbers = [epoch.0, upto.0, runs.len() as u64, bytes_of(self.report), self.extra];
        numbers.iter().map(u64::to_string).collect()
    }
}
