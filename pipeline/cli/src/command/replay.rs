//! `chalk replay [--until …] [--verify] [PATH]`.

use crate::command::DataArgument;
use crate::error::CliError;
use crate::functions::ProjectFunctions;
use crate::node::{EPOCH_BYTES_MAX, PIPELINE, identity};
use crate::replay::{Point, Until};
use crate::{Node, Outcome, ProjectFiles};
use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use chalk_catalog::ViewRecord;
use chalk_event::format_rfc3339;
use chalk_graph::{Graph, NodeKind, SinkTarget};
use chalk_log::EventLog;
use chalk_runtime::{Comparison, ReplayFrom, ReplayOptions, Replayed, Verified};
use chalk_serve::{Format, QueryResult, write};
use chalk_store::LocalFiles;
use chalk_view::ViewRows;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// The .sql file, or directory of them, whose views are computed.
    #[arg(default_value = "sql")]
    path: PathBuf,
    #[command(flatten)]
    data: DataArgument,
    /// How far: an epoch, the RFC 3339 time at which the log took the last events, or topic:partition:offset of the last event
    /// [default: all of the log].
    #[arg(long, value_name = "POINT")]
    until: Option<String>,
    /// Show this view alone.
    #[arg(long, value_name = "NAME")]
    view: Option<String>,
    /// Show how many rows each view has and their hash, which chalk status -f json has of the live views.
    #[arg(long)]
    hash: bool,
    /// Begin with the log's first commit, not with the last checkpoint before the end.
    #[arg(long)]
    from_start: bool,
    /// Compute the log from its first commit, and compare each view with what it was by the journal when its epoch was committed; exit code 1 when one
    /// differs.
    #[arg(long, conflicts_with_all = ["view", "hash"])]
    verify: bool,
    /// How many parts the work is split into, which changes no result [default: the number of cores].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
    shards: Option<u16>,
    /// How rows are shown: table, json (a line each) or csv.
    #[arg(short, long, default_value = "table", value_parser = ["table", "json", "csv"])]
    format: String,
}

/// Rows of a view that are written at once.
const BATCH_ROWS: usize = 8192;

impl Replay {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let until = self.until.as_deref().map(Until::parse).transpose()?;
        let format: Format = self.format.parse().map_err(|error| CliError::other(format!("{error}")))?;
        let files = ProjectFiles::read(&self.path)?;
        let (project, mut functions) = Node::plan(&files)?;
        if format == Format::Csv && self.view.is_none() && !self.hash && !self.verify {
            return Err(CliError::other(
                "csv has the columns of one view\n  hint: name it with --view, or use -f json",
            ));
        }
        // Whatever is asked for is looked up first, so that mistakes are not told after minutes.
        if let Some(name) = &self.view {
            let names = view_names(&project.graph);
            if !names.contains(&name.as_str()) {
                return Err(CliError::other(format!(
                    "there is no view '{name}'\n  hint: there are {}",
                    names.join(", ")
                )));
            }
        }
        self.data.check_exists()?;
        let (log, point) = Point::find(&self.data, until)?;
        // With another source all of the log is computed by that one, and nothing is said of it.
        functions.follow(&log.journal())?;
        let graph = chalk_runtime::current_stages(&project.graph, &log)?;
        let options = ReplayOptions {
            until: point.commit,
            shards: self.shards.map_or_else(|| available_parallelism().map_or(1, usize::from), usize::from),
            epoch_bytes_max: EPOCH_BYTES_MAX,
        };
        if self.verify {
            let verified = chalk_runtime::verify(&graph, &log, PIPELINE, functions.timeline(), options)?;
            return verified_as(verified.as_ref(), &point, format);
        }
        let from = if self.from_start { None } else { self.checkpoints(&files, &functions) };
        let replayed = chalk_runtime::replay(&graph, &log, from.as_ref(), functions.timeline(), options)?;
        let time = point.time.map(|time| format!(" of {}", format_rfc3339(time.0))).unwrap_or_default();
        let began = replayed.from.map(|(epoch, upto)| format!(" from the checkpoint of epoch {epoch}, commit {upto},"));
        eprintln!(
            "replayed{} up to commit {}{time}{}: {} rows, {} of them late",
            began.unwrap_or_default(),
            point.commit,
            point.why,
            replayed.rows_in,
            replayed.late
        );
        print!("{}", self.shown(&replayed, format)?);
        Ok(Outcome::Done)
    }

    /// Where checkpoints are, if there are any.
    fn checkpoints(&self, files: &ProjectFiles, functions: &ProjectFunctions) -> Option<ReplayFrom> {
        let storage = LocalFiles::existing(&self.data.data.join("checkpoints")).ok()?;
        Some(ReplayFrom { storage: Arc::new(storage), identity: identity(files, functions) })
    }

    fn shown(&self, replayed: &Replayed, format: Format) -> Result<String, CliError> {
        let views: Vec<&ViewRows> = replayed.snapshot.views.values().collect();
        let wanted = |view: &&&ViewRows| self.view.as_deref().is_none_or(|name| name == view.name());
        let views: Vec<&ViewRows> = views.iter().filter(wanted).copied().collect();
        let failed = |error: &dyn std::error::Error| CliError::other(error.to_string());
        if self.hash {
            let result = hashes(&views).map_err(|error| failed(&error))?;
            return write(&result, format).map_err(|error| failed(&error));
        }
        let mut text = String::new();
        for view in views {
            let batches = view.batches(BATCH_ROWS).map_err(|error| failed(&error))?;
            let result = QueryResult::of(view.schema().clone(), batches);
            let rows = write(&result, format).map_err(|error| failed(&error))?;
            match format {
                _ if self.view.is_some() => text.push_str(&rows),
                Format::Json => {
                    let name = serde_json::Value::from(view.name());
                    rows.lines().for_each(|row| text.push_str(&format!("{{\"view\":{name},\"row\":{row}}}\n")));
                }
                Format::Table | Format::Csv => text.push_str(&format!("{}\n{rows}\n", view.name())),
            }
        }
        Ok(text)
    }
}

/// Tells what a verification came to.
fn verified_as(verified: Option<&Verified>, point: &Point, format: Format) -> Result<Outcome, CliError> {
    let Some(verified) = verified else {
        return Err(CliError::other(format!(
            "the journal says of no epoch up to commit {} what views were: there is nothing to compare with\n  hint: what earlier \
             builds committed, and runs that ended with --drain, has no hashes",
            point.commit
        )));
    };
    let told = |record: &Option<ViewRecord>, or: &str| record.as_ref().map_or(or.to_owned(), |view| view.hash.clone());
    let text = |of: &dyn Fn(&Comparison) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(verified.views.iter().map(of)))
    };
    let batch = RecordBatch::try_from_iter([
        ("view", text(&|view| view.view.clone())),
        ("replayed", text(&|view| told(&view.replayed, "not in the project"))),
        ("journalled", text(&|view| told(&view.journalled, "not in the journal"))),
        ("verdict", text(&verdict)),
    ]);
    let batch = batch.map_err(|error| CliError::other(error.to_string()))?;
    eprintln!(
        "replayed up to commit {}, epoch {}: {} rows; {}",
        verified.upto,
        verified.epoch,
        verified.rows_in,
        if verified.holds() { "views are what they were" } else { "views are not what they were" }
    );
    let shown = write(&QueryResult::of(batch.schema(), vec![batch]), format);
    print!("{}", shown.map_err(|error| CliError::other(error.to_string()))?);
    Ok(if verified.holds() { Outcome::Done } else { Outcome::Refused })
}

fn verdict(view: &Comparison) -> String {
    match (view.differs_since, &view.replayed, &view.journalled) {
        (Some(epoch), ..) => format!("differs since epoch {epoch}"),
        (None, Some(_), Some(_)) => "equal".to_owned(),
        _ => "not compared".to_owned(),
    }
}

fn view_names(graph: &Graph) -> Vec<&str> {
    let sinks = graph.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Sink(sink) => Some(&sink.target),
        _ => None,
    });
    let mut names: Vec<&str> = sinks
        .filter_map(|target| if let SinkTarget::View(name) = target { Some(name.as_str()) } else { None })
        .collect();
    names.sort_unstable();
    names
}

/// What views come to, a row each.
fn hashes(views: &[&ViewRows]) -> Result<QueryResult, arrow::error::ArrowError> {
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(views.iter().map(|view| view.name())));
    let rows: ArrayRef = Arc::new(UInt64Array::from_iter_values(views.iter().map(|view| view.len() as u64)));
    let hashes: ArrayRef = Arc::new(StringArray::from_iter_values(views.iter().map(|view| view.hash().to_string())));
    let batch = RecordBatch::try_from_iter([("view", names), ("rows", rows), ("hash", hashes)])?;
    Ok(QueryResult::of(batch.schema(), vec![batch]))
}
