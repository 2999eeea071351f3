//! `chalk checkpoint`.

use crate::Outcome;
use crate::command::topics::bytes_text;
use crate::command::{DataArgument, table};
use crate::error::CliError;
use crate::keeping::{Keeping, place_named};
use chalk_runtime::{CheckpointReport, Checkpoints, CopyReport};
use chalk_store::LocalFiles;
use serde_json::{Value, json};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Checkpoint {
    /// Show the checkpoints of a data directory: what the newest knows, the runs that it is made of, which earlier ones are kept, and
    /// which have copies elsewhere.
    List(List),
    /// Say where checkpoints are copied to from the next start on.
    KeepIn(KeepIn),
}

impl Checkpoint {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        match self {
            Self::List(list) => list.run(),
            Self::KeepIn(keep_in) => keep_in.run(),
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
        let copies = Keeping::read(&self.data.data)?.copies()?;
        let copies =
            copies.map(|objects| Copies { place: objects.location(), found: Checkpoints::list_copies(&objects) });
        if self.format == "json" {
            println!("{}", json(&found, copies.as_ref()));
            return Ok(Outcome::Done);
        }
        match found.split_first() {
            Some((newest, earlier)) => print_folder(newest, earlier)?,
            None => println!(
                "there is none: a start {}",
                match &copies {
                    Some(Copies { found: Ok(found), .. }) if !found.is_empty() => "takes a copy",
                    _ => "reads the log from its beginning",
                }
            ),
        }
        copies.map_or(Ok(()), |copies| copies.print())?;
        Ok(Outcome::Done)
    }
}

fn json(found: &[CheckpointReport], copies: Option<&Copies>) -> Value {
    let newest = found.split_first().map(|(newest, earlier)| {
        let CheckpointReport { epoch, upto, graph, runs } = newest;
        let runs: Vec<_> =
            runs.iter().map(|run| json!({ "run": run.name, "entries": run.entries, "bytes": run.bytes })).collect();
        let earlier: Vec<_> = earlier.iter().map(|report| Earlier::new(report, newest).json()).collect();
        json!({
            "epoch": epoch.0, "upto": upto.0, "graph": graph, "bytes": bytes_of(newest), "runs": runs, "earlier": earlier,
        })
    });
    match (newest, copies) {
        (newest, None) => newest.unwrap_or(Value::Null),
        (newest, Some(copies)) => {
            let mut told = newest.unwrap_or_else(|| json!({}));
            told["copies"] = copies.json();
            told
        }
    }
}

fn print_folder(newest: &CheckpointReport, earlier: &[CheckpointReport]) -> Result<(), CliError> {
    let CheckpointReport { epoch, upto, graph, runs } = newest;
    println!("epoch {epoch}, everything up to commit {upto}, of graph {graph}: {}", bytes_text(bytes_of(newest)));
    let rows: Vec<Vec<String>> =
        runs.iter().map(|run| vec![run.name.clone(), run.entries.to_string(), run.bytes.to_string()]).collect();
    print!("{}", table(&["run", "entries", "bytes"], &rows)?);
    if !earlier.is_empty() {
        println!("earlier ones, for replays up to a point before it:");
        let rows: Vec<Vec<String>> = earlier.iter().map(|report| Earlier::new(report, newest).row()).collect();
        print!("{}", table(&["epoch", "commit", "runs", "bytes", "not in the newest"], &rows)?);
    }
    Ok(())
}

/// What is in the place that checkpoints are copied to.
struct Copies {
    place: String,
    found: Result<Vec<CopyReport>, String>,
}

impl Copies {
    fn json(&self) -> Value {
        let json = |copy: &CopyReport| {
            let CopyReport { epoch, upto, graph, runs, bytes } = copy;
            json!({ "epoch": epoch.0, "upto": upto.0, "graph": graph, "runs": runs, "bytes": bytes })
        };
        match &self.found {
            Ok(found) => json!({ "place": self.place, "checkpoints": found.iter().map(json).collect::<Vec<_>>() }),
            Err(why) => json!({ "place": self.place, "unreadable": why }),
        }
    }

    fn print(&self) -> Result<(), CliError> {
        let place = &self.place;
        match &self.found {
            Ok(found) if found.is_empty() => println!("no copies in {place} yet"),
            Ok(found) => {
                println!("copies in {place}:");
                let row = |copy: &CopyReport| {
                    [copy.epoch.0, copy.upto.0, copy.runs, copy.bytes].iter().map(u64::to_string).collect()
                };
                let rows: Vec<Vec<String>> = found.iter().map(row).collect();
                print!("{}", table(&["epoch", "commit", "runs", "bytes"], &rows)?);
            }
            Err(why) => println!("the copies in {place} cannot be read: {why}"),
        }
        Ok(())
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct KeepIn {
    /// A directory or s3://bucket/prefix, of this data directory alone, beside the data directory itself; or here: nowhere else.
    place: String,
    #[command(flatten)]
    data: DataArgument,
}

impl KeepIn {
    fn run(self) -> Result<Outcome, CliError> {
        self.data.check_exists()?;
        let data = &self.data.data;
        let mut keeping = Keeping::read(data)?;
        keeping.checkpoints = match self.place.as_str() {
            "here" => None,
            place => Some(place_named(place)?),
        };
        if let Some(objects) = keeping.copies()? {
            Checkpoints::list_copies(&objects).map_err(CliError::other)?;
        }
        keeping.write(data)?;
        let also = if keeping.checkpoints.is_some() { "here and in " } else { "" };
        println!("checkpoints are kept: {also}{} (from the next start on)", self.place);
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
