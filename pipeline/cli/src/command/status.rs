//! `chalk status`.

use crate::Outcome;
use crate::archivist::needs;
use crate::client::status_of;
use crate::command::DataArgument;
use crate::command::topics::{bytes_text, counted, log_json};
use crate::error::CliError;
use crate::keeping::Keeping;
use crate::node::system_clock;
use chalk_catalog::SystemTopic;
use chalk_event::{IngestTime, PartitionId};
use chalk_log::{EventLog, Holder, read_holder};
use chalk_runtime::Checkpoints;
use chalk_store::LocalFiles;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    data: DataArgument,
    /// How it is shown: table (for people) or json.
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

/// Rates are of this long.
const SAMPLED: Duration = Duration::from_secs(1);

impl Status {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        self.data.check_exists()?;
        let holder = read_holder(&self.data.data);
        let pipelines = match holder.as_ref().and_then(|holder| holder.http.as_deref()) {
            Some(address) => Some(vec![running(address)?]),
            None => None,
        };
        // After the server was asked, so that the log has all that it spoke of.
        let log = self.data.look()?;
        let rows = |topic: SystemTopic| log.tail(topic.id(), PartitionId(0)).0;
        let (pipelines, checkpoint) = match pipelines {
            Some(pipelines) => (pipelines, None),
            None => (journalled(&log), Some(self.checkpoint()?)),
        };
        let retention = Keeping::read(&self.data.data)?.retention();
        let held_back = log.held_back(&retention, &needs(&self.data.data), IngestTime(system_clock()()))?;
        let told = json!({
            "data": self.data.data.display().to_string(),
            "server": holder.as_ref().map(|Holder { pid, command, http, pg }| json!({ "pid": pid, "command": command, "http": http, "pg": pg })),
            "log": log_json(&log),
            "held_back": held_back,
            "late_rows": rows(SystemTopic::LateRows),
            "dead_letters": rows(SystemTopic::DeadLetters),
            "pipelines": pipelines,
            "checkpoint": checkpoint,
        });
        if self.format == "json" {
            println!("{told}");
        } else {
            print!("{}", text(&told));
        }
        Ok(Outcome::Done)
    }

    /// The last checkpoint of a directory that nobody serves.
    fn checkpoint(&self) -> Result<Value, CliError> {
        let folder = self.data.data.join("checkpoints");
        if !folder.is_dir() {
            return Ok(Value::Null);
        }
        let storage = LocalFiles::existing(&folder).map_err(|error| CliError::other(error.to_string()))?;
        Ok(match Checkpoints::last(&storage) {
            Ok(None) => Value::Null,
            Ok(Some((epoch, upto))) => json!({ "epoch": epoch.0, "upto": upto.0 }),
            Err(why) => json!({ "unreadable": why }),
        })
    }
}

/// The pipeline of a server, asked twice.
fn running(address: &str) -> Result<Value, CliError> {
    let first = status_of(address)?;
    let began = Instant::now();
    std::thread::sleep(SAMPLED);
    let status = status_of(address)?;
    let seconds = began.elapsed().as_secs_f64();
    let per_second = |counter: &str| {
        let at = |status: &Value| status["pipeline"][counter].as_u64().unwrap_or(0);
        let rate = at(&status).saturating_sub(at(&first)) as f64 / seconds;
        (rate * 10.0).round() / 10.0
    };
    let pipeline = &status["pipeline"];
    let number = |name: &str| status[name].as_u64().unwrap_or(0);
    let held_by = holding(pipeline);
    Ok(json!({
        "name": crate::node::PIPELINE,
        "running": true,
        "epoch": number("epoch"),
        "upto": number("upto"),
        "settled": number("settled"),
        "durable": number("durable"),
        "lag": number("durable").saturating_sub(number("upto")),
        "epochs_per_second": per_second("epochs"),
        "rows_in_per_second": per_second("rows_in"),
        "rows_out_per_second": per_second("rows_out"),
        "epochs": pipeline["epochs"],
        "rows_in": pipeline["rows_in"],
        "rows_out": pipeline["rows_out"],
        "late": pipeline["late"],
        "late_of": pipeline["late_of"],
        "refused": pipeline["refused"],
        "derived": pipeline["derived"],
        "derived_refused": pipeline["derived_refused"],
        "watermarks": pipeline["watermarks"],
        "idle": pipeline["idle"],
        "ahead": pipeline["ahead"],
        "watermark": held_by.as_ref().map(|(_, watermark)| watermark),
        "held_by": held_by.as_ref().map(|(table, _)| table),
        "views": status["views"],
        "checkpoint": pipeline["checkpoint"],
        "state": pipeline["state"],
        "sources": pipeline["sources"],
        "sinks": pipeline["sinks"],
        "stages": stages(&pipeline["stages"], &first["pipeline"]["stages"], seconds),
        "stalled": status["stalled"],
        "failure": status["failure"],
    }))
}

/// Stages, with how many results they recorded per second since they were asked first.
fn stages(stages: &Value, first: &Value, seconds: f64) -> Map<String, Value> {
    let rated = |(name, stage): (&String, &Value)| {
        let recorded = |stage: &Value| stage["recorded"].as_u64().unwrap_or(0);
        let rate = recorded(stage).saturating_sub(recorded(&first[name])) as f64 / seconds;
        let mut stage = stage.clone();
        stage["recorded_per_second"] = json!((rate * 10.0).round() / 10.0);
        (name.clone(), stage)
    };
    stages.as_object().into_iter().flatten().map(rated).collect()
}

/// The table with the earliest watermark, among those that have one and are not idle: windows over several tables wait for it.
fn holding(pipeline: &Value) -> Option<(String, String)> {
    let marks = pipeline["watermarks"].as_object()?.iter().filter(|(table, _)| !is_idle(pipeline, table));
    let marks = marks.filter_map(|(table, watermark)| Some((table.clone(), watermark.as_str()?.to_owned())));
    let nanos = |watermark: &str| chalk_codec::parse_timestamp(watermark);
    marks.min_by_key(|(table, watermark)| (nanos(watermark), table.clone()))
}

fn is_idle(pipeline: &Value, table: &str) -> bool {
    pipeline["idle"].as_array().into_iter().flatten().any(|idle| idle == table)
}

/// What the log says of pipelines that nobody runs.
fn journalled(log: &dyn EventLog) -> Vec<Value> {
    let durable = log.durable().borrow().0;
    let pipelines = log.journal().pipelines.into_iter().map(|(name, last)| {
        let (epoch, upto) = (last.epoch.0, last.upto.0);
        json!({ "name": name, "running": false, "epoch": epoch, "upto": upto, "durable": durable })
    });
    pipelines.collect()
}

/// The same for people: a line for each thing, its name first.
fn text(told: &Value) -> String {
    let mut lines = Lines::default();
    let server = &told["server"];
    let data = shown(&told["data"]);
    lines.add(
        &data,
        match (server["pid"].as_u64(), server["http"].as_str()) {
            (Some(pid), Some(http)) => format!("process {pid} ({}) serves on http://{http}", shown(&server["command"])),
            (Some(pid), None) => format!("process {pid} ({}) has it, and does not serve", shown(&server["command"])),
            (None, _) => "no server runs on it".to_owned(),
        },
    );
    let log = &told["log"];
    lines.add(
        "log",
        format!(
            "{} in {}, last commit {}{}",
            bytes_text(log["bytes"].as_u64().unwrap_or(0)),
            counted(log["segments"].as_u64().unwrap_or(0), "segment"),
            shown(&log["last_commit"]),
            log["last_commit_time"].as_str().map(|time| format!(" at {time}")).unwrap_or_default()
        ),
    );
    let history = &log["history"];
    if history["upto"].as_u64().is_some_and(|upto| upto > 0) {
        let bytes = bytes_text(history["bytes"].as_u64().unwrap_or(0));
        lines.add(
            "history",
            format!("{bytes}, commits {} to {}, in {}", history["first"], history["upto"], shown(&history["location"])),
        );
    }
    if let Some(held_back) = told["held_back"].as_str() {
        lines.add("retention", held_back);
    }
    lines.add("late rows", shown(&told["late_rows"]));
    lines.add("dead letters", shown(&told["dead_letters"]));
    for pipeline in told["pipelines"].as_array().into_iter().flatten() {
        lines.pipeline(pipeline);
    }
    let checkpoint = &told["checkpoint"];
    if let Some(why) = checkpoint["unreadable"].as_str() {
        lines.add("checkpoint", format!("cannot be read: {why}"));
    } else if checkpoint.is_object() {
        lines.add("checkpoint", format!("epoch {}, commit {}", checkpoint["epoch"], checkpoint["upto"]));
    }
    lines.0
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: impl AsRef<str>) {
        self.0.push_str(&format!("{name:<14} {}\n", value.as_ref()));
    }

    fn pipeline(&mut self, pipeline: &Value) {
        let name = format!("pipeline {}", shown(&pipeline["name"]));
        let at = format!("epoch {}, commit {} of {}", pipeline["epoch"], pipeline["upto"], pipeline["durable"]);
        if pipeline["running"] != json!(true) {
            self.add(&name, format!("stopped; last recorded {at}"));
            return;
        }
        self.add(&name, format!("{at}: {} behind", counted(pipeline["lag"].as_u64().unwrap_or(0), "commit")));
        if let Some(stalled) = pipeline["stalled"].as_str() {
            self.add("  waiting", stalled);
        }
        if let Some(failure) = pipeline["failure"].as_str() {
            self.add("  failed", failure);
        }
        self.add(
            "  per second",
            format!(
                "{} epochs, {} rows in, {} rows out",
                pipeline["epochs_per_second"], pipeline["rows_in_per_second"], pipeline["rows_out_per_second"]
            ),
        );
        self.add(
            "  since start",
            format!(
                "{} epochs, {} rows in, {} rows out, {} late, derived rows refused: {}",
                pipeline["epochs"],
                pipeline["rows_in"],
                pipeline["rows_out"],
                pipeline["late"],
                pipeline["derived_refused"]
            ),
        );
        self.listed("    late of ", &pipeline["late_of"], |_, rows| rows.to_string());
        let watermark = match (pipeline["watermark"].as_str(), pipeline["held_by"].as_str()) {
            (Some(watermark), Some(table)) => format!("{watermark}, held by {table}"),
            _ => "none yet".to_owned(),
        };
        self.add("  watermark", watermark);
        self.listed("    ", &pipeline["watermarks"], |table, watermark| {
            let mut text = watermark.as_str().unwrap_or("none").to_owned();
            if is_idle(pipeline, table) {
                text.push_str(", idle");
            }
            match pipeline["ahead"][table].as_u64() {
                Some(0) | None => {}
                Some(rows) => {
                    text.push_str(&format!(
                        "; not moved by {}, over a day ahead of when they came",
                        counted(rows, "row")
                    ));
                }
            }
            text
        });
        self.add("  views", counted(pipeline["views"].as_object().map_or(0, Map::len) as u64, "view"));
        self.listed("    ", &pipeline["views"], |_, view| counted(view["rows"].as_u64().unwrap_or(0), "row"));
        if pipeline["state"].is_object() {
            self.add("  state", state_text(&pipeline["state"]));
        }
        self.add("  checkpoint", checkpoint_text(&pipeline["checkpoint"]));
        if pipeline["sources"].as_object().is_some_and(|sources| !sources.is_empty()) {
            self.add("  sources", counted(pipeline["sources"].as_object().map_or(0, Map::len) as u64, "source"));
            self.listed("    ", &pipeline["sources"], |_, source| source_text(source));
        }
        if pipeline["stages"].as_object().is_some_and(|stages| !stages.is_empty()) {
            self.add("  stages", counted(pipeline["stages"].as_object().map_or(0, Map::len) as u64, "stage"));
            self.listed("    ", &pipeline["stages"], |_, stage| stage_text(stage));
        }
        if pipeline["sinks"].as_object().is_some_and(|sinks| !sinks.is_empty()) {
            self.add("  sinks", counted(pipeline["sinks"].as_object().map_or(0, Map::len) as u64, "sink"));
            self.listed("    ", &pipeline["sinks"], |_, sink| sink_text(sink));
        }
    }

    fn listed(&mut self, indent: &str, of: &Value, value: impl Fn(&str, &Value) -> String) {
        let entries = of.as_object();
        let width = entries.into_iter().flatten().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, entry) in entries.into_iter().flatten() {
            self.0.push_str(&format!("{indent}{name:<width$}  {}\n", value(name, entry)));
        }
    }
}

/// Where a running pipeline's state is, when there is a limit to it.
fn state_text(state: &Value) -> String {
    let sum = |names: &[&str]| bytes_text(names.iter().filter_map(|name| state[*name].as_u64()).sum());
    let mut text = format!(
        "{} of {} in memory, {} on disk",
        sum(&["groups_bytes", "views_bytes", "waiting_bytes"]),
        sum(&["memory_bytes_max"]),
        sum(&["groups_disk_bytes", "views_disk_bytes"]),
    );
    if let Some(why) = state["waits"].as_str() {
        text.push_str(&format!("; no more leaves memory: {why}"));
    }
    text
}

/// What a running pipeline says of its checkpoints.
fn checkpoint_text(checkpoint: &Value) -> String {
    let mut text = match checkpoint["epoch"].as_u64() {
        Some(epoch) => format!("epoch {epoch}, commit {}", checkpoint["upto"]),
        None => "none yet".to_owned(),
    };
    text.push_str(&format!("; this run began after commit {}", checkpoint["started_after"]));
    if let Some(why) = checkpoint["discarded"].as_str() {
        text.push_str(&format!("; an earlier one was discarded: {why}"));
    }
    if let Some(why) = checkpoint["waits"].as_str() {
        text.push_str(&format!("; the next one waits: {why}"));
    }
    if let Some(why) = checkpoint["failed"].as_str() {
        text.push_str(&format!("; no more are made: {why}"));
    }
    let copies = &checkpoint["copies"];
    if let Some(place) = copies["place"].as_str() {
        match copies["upto"].as_u64() {
            Some(upto) => text.push_str(&format!("; copied to {place} up to commit {upto}")),
            None => text.push_str(&format!("; no copy in {place} yet")),
        }
    }
    if let Some(why) = copies["failed"].as_str() {
        text.push_str(&format!("; the next copy waits: {why}"));
    }
    text
}

/// What a running pipeline says of a source outside the log.
fn source_text(source: &Value) -> String {
    let mut text = counted(source["records"].as_u64().unwrap_or(0), "record");
    for (name, one) in [("gaps", "gap"), ("lost", "lost record"), ("reconnects", "reconnect")] {
        match source[name].as_u64().unwrap_or(0) {
            0 => {}
            count => text.push_str(&format!(", {}", counted(count, one))),
        }
    }
    source["waits"].as_str().map_or(text.clone(), |why| format!("{text}; waits: {why}"))
}

/// What a running pipeline says of a stage that calls an async function.
fn stage_text(stage: &Value) -> String {
    format!(
        "{}: {} of {} calls in flight, {} rows waiting; {} recorded ({}/s), {} of them failed",
        shown(&stage["function"]),
        stage["in_flight"],
        stage["limit"],
        stage["waiting"],
        stage["recorded"],
        stage["recorded_per_second"],
        stage["failed"]
    )
}

/// What a running pipeline says of a sink outside the log.
fn sink_text(sink: &Value) -> String {
    let upto = sink["upto"].as_u64().map_or_else(|| "nothing yet".to_owned(), |upto| format!("up to commit {upto}"));
    if let Some(why) = sink["failed"].as_str() {
        return format!("{upto}; stopped until the next start: {why}");
    }
    sink["waits"].as_str().map_or(upto.clone(), |why| format!("{upto}; waits: {why}"))
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
