//! `chalk log`: what stands in the log's files, and whether it is as it was written.

use crate::Outcome;
use crate::command::topics::{bytes_text, counted};
use crate::command::{DataArgument, table};
use crate::error::CliError;
use chalk_event::{IngestTime, format_rfc3339};
use chalk_log::{CommitReport, FrameReport, Holder, SegmentReport};
use serde_json::{Value, json};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Log {
    /// Read all of the log and check it: every checksum, every offset, every footer. Exits with 1 when something is damaged.
    Verify(Verify),
    /// Show the commits of a segment.
    Inspect(Inspect),
}

impl Log {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        match self {
            Self::Verify(verify) => verify.run(),
            Self::Inspect(inspect) => inspect.run(),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    data: DataArgument,
    /// When the last segment is damaged, cut it off there so that the log can be opened. What is cut off is kept beside it.
    #[arg(long)]
    repair_tail: bool,
    /// How it is shown: table or json (a line for each segment).
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

impl Verify {
    fn run(self) -> Result<Outcome, CliError> {
        self.data.check_log()?;
        let (mut reports, mut damaged) = (Vec::new(), None);
        chalk_log::verify(&self.data.data, |report| {
            if self.format == "json" {
                println!("{}", segment_json(report));
            }
            reports.push(segment_row(report));
            damaged = report.damage.clone();
        })?;
        if self.format == "table" {
            print!("{}", table(&SEGMENT_NAMES, &reports)?);
        }
        let Some(damage) = damaged else { return Ok(Outcome::Done) };
        eprintln!("{damage}");
        if !self.repair_tail {
            eprintln!(
                "  hint: chalk log verify --repair-tail cuts a damaged end off; whatever else is damaged has to come from a copy"
            );
            return Ok(Outcome::Refused);
        }
        let command = "chalk log verify --repair-tail".to_owned();
        let holder = Holder { pid: std::process::id(), command, http: None, pg: None };
        if let Some(cut) = chalk_log::repair_tail(&self.data.data, &holder)? {
            eprintln!(
                "cut off: {} of {} from byte {} on, kept in log/{}",
                bytes_text(cut.bytes),
                cut.segment,
                cut.position,
                cut.kept_in
            );
        }
        Ok(Outcome::Refused)
    }
}

const SEGMENT_NAMES: [&str; 7] = ["segment", "state", "commits", "rows", "bytes", "first commit", "last commit"];

fn state(report: &SegmentReport) -> String {
    match (&report.damage, report.sealed, report.unacknowledged) {
        (Some(_), _, _) => "damaged".to_owned(),
        (None, true, _) => "sealed".to_owned(),
        (None, false, 0) => "open".to_owned(),
        (None, false, bytes) => format!("open, {} not acknowledged", bytes_text(bytes)),
    }
}

fn segment_row(report: &SegmentReport) -> Vec<String> {
    let time = |of: fn(&(IngestTime, IngestTime)) -> IngestTime| {
        report.times.as_ref().map_or_else(String::new, |times| format_rfc3339(of(times).0))
    };
    vec![
        report.name.clone(),
        state(report),
        report.commits.to_string(),
        report.rows.to_string(),
        report.bytes.to_string(),
        time(|times| times.0),
        time(|times| times.1),
    ]
}

fn segment_json(report: &SegmentReport) -> Value {
    let time = |time: IngestTime| format_rfc3339(time.0);
    json!({
        "segment": report.name,
        "sealed": report.sealed,
        "first": report.first.0,
        "commits": report.commits,
        "rows": report.rows,
        "bytes": report.bytes,
        "first_time": report.times.map(|(first, _)| time(first)),
        "last_time": report.times.map(|(_, last)| time(last)),
        "unacknowledged": report.unacknowledged,
        "damage": report.damage.as_ref().map(ToString::to_string),
    })
}

#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// The segment: the name of its file, such as 00000000000000000001.log.
    segment: String,
    #[command(flatten)]
    data: DataArgument,
    /// How they are shown: table (a line for each frame) or json (a line for each commit).
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

impl Inspect {
    fn run(self) -> Result<Outcome, CliError> {
        self.data.check_log()?;
        let name = self.segment.rsplit('/').next().unwrap_or_default();
        if !self.data.data.join("log").join(name).is_file() {
            return Err(CliError::other(format!(
                "there is no segment '{name}' in {}\n  hint: chalk log verify lists them",
                self.data.data.display()
            )));
        }
        let (report, commits) = chalk_log::inspect(&self.data.data, name)?;
        // A damaged log cannot be opened: its topics are numbers then.
        let topics = self.data.look().map(|log| chalk_log::EventLog::topics(&log)).ok();
        let topic = |frame: &FrameReport| {
            let known = topics.iter().flat_map(|topics| topics.iter()).find(|topic| topic.id == frame.topic);
            known.map_or_else(|| frame.topic.0.to_string(), |topic| topic.name().to_owned())
        };
        if self.format == "json" {
            commits.iter().for_each(|commit| println!("{}", commit_json(commit, &topic)));
        } else {
            let names =
                ["commit", "time", "byte", "topic", "partition", "offset", "rows", "schema", "bytes", "event times"];
            let rows: Vec<Vec<String>> = commits.iter().flat_map(|commit| commit_rows(commit, &topic)).collect();
            print!("{}", table(&names, &rows)?);
            println!(
                "{}: {} in {}, {}",
                report.name,
                bytes_text(report.bytes),
                counted(report.commits, "commit"),
                state(&report)
            );
        }
        let Some(damage) = report.damage else { return Ok(Outcome::Done) };
        eprintln!("{damage}");
        Ok(Outcome::Refused)
    }
}

fn event_times(frame: &FrameReport) -> Option<(String, String)> {
    frame.event_times.map(|(least, greatest)| (format_rfc3339(least.0), format_rfc3339(greatest.0)))
}

fn commit_rows(commit: &CommitReport, topic: &dyn Fn(&FrameReport) -> String) -> Vec<Vec<String>> {
    let row = |frame: &FrameReport| {
        vec![
            commit.seq.to_string(),
            format_rfc3339(commit.time.0),
            commit.position.to_string(),
            topic(frame),
            frame.partition.0.to_string(),
            frame.base_offset.0.to_string(),
            frame.rows.to_string(),
            frame.schema.0.to_string(),
            frame.bytes.to_string(),
            event_times(frame).map_or_else(String::new, |(least, greatest)| format!("{least} to {greatest}")),
        ]
    };
    commit.frames.iter().map(row).collect()
}

fn commit_json(commit: &CommitReport, topic: &dyn Fn(&FrameReport) -> String) -> Value {
    let frame = |frame: &FrameReport| {
        json!({
            "topic": topic(frame),
            "partition": frame.partition.0,
            "base_offset": frame.base_offset.0,
            "rows": frame.rows,
            "schema": frame.schema.0,
            "bytes": frame.bytes,
            "event_times": event_times(frame),
        })
    };
    json!({
        "commit": commit.seq.0,
        "time": format_rfc3339(commit.time.0),
        "position": commit.position,
        "bytes": commit.bytes,
        "frames": commit.frames.iter().map(frame).collect::<Vec<_>>(),
    })
}
