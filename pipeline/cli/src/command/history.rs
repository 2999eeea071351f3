//! `chalk history`: sealed segments as Parquet.

use crate::Outcome;
use crate::command::topics::{bytes_text, counted};
use crate::command::{DataArgument, table};
use crate::error::CliError;
use crate::keeping::{HistoryPlace, Keeping, place_named};
use crate::node::system_clock;
use chalk_event::CommitSeq;
use chalk_log::{CommitLog, EventLog, History as Kept, HistoryFile, Holder, LogOptions};
use serde_json::json;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum History {
    /// Show the files of history.
    Show(Show),
    /// Put sealed segments into history now; a server does it by itself.
    Export(Export),
    /// Read all files of history and check them. Exits with 1 when something is damaged.
    Verify(Show),
    /// Say where history is kept from the next start on.
    KeepIn(KeepIn),
}

impl History {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        match self {
            Self::Show(show) => show.run(),
            Self::Export(export) => export.run(),
            Self::Verify(verify) => verify.verify(),
            Self::KeepIn(keep_in) => keep_in.run(),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    data: DataArgument,
    /// How it is shown: table or json (a line for each file).
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

fn kept(log: &CommitLog) -> Result<&Kept, CliError> {
    log.history().ok_or_else(|| {
        CliError::other("no history is kept\n  hint: chalk history keep-in here, or in another place, begins one")
    })
}

/// Where it is and what it has.
fn summary(history: &Kept) -> String {
    let size = history.size();
    match size.upto {
        CommitSeq(0) => format!("nothing in {} yet", size.location),
        upto => format!(
            "commits {} to {upto}: {} rows, {} in {} in {}",
            size.first,
            size.rows,
            bytes_text(size.bytes),
            counted(size.files, "file"),
            size.location
        ),
    }
}

impl Show {
    fn run(self) -> Result<Outcome, CliError> {
        let log = self.data.look()?;
        let history = kept(&log)?;
        self.print(&history.files(), |_| "")?;
        if self.format == "table" {
            println!("{}", summary(history));
        }
        Ok(Outcome::Done)
    }

    fn print(&self, files: &[HistoryFile], state: impl Fn(&HistoryFile) -> &str) -> Result<(), CliError> {
        if self.format == "json" {
            for file in files {
                let state = Some(state(file)).filter(|state| !state.is_empty());
                let mut json = serde_json::to_value(file).map_err(|error| CliError::other(error.to_string()))?;
                json["state"] = json!(state);
                println!("{json}");
            }
            return Ok(());
        }
        let names = ["topic", "day", "commits", "rows", "bytes", "schema", "file"];
        let row = |file: &HistoryFile| {
            vec![
                file.topic.clone(),
                file.day.clone(),
                format!("{} to {}", file.commits.0, file.commits.1),
                file.rows.to_string(),
                file.bytes.to_string(),
                file.schema.0.to_string(),
                format!("{}{}", state(file), file.key),
            ]
        };
        print!("{}", table(&names, &files.iter().map(row).collect::<Vec<_>>())?);
        Ok(())
    }

    fn verify(self) -> Result<Outcome, CliError> {
        let log = self.data.look()?;
        let history = kept(&log)?;
        let topics = log.topics();
        let mut damaged = 0;
        for file in history.files() {
            if let Err(error) = history.verify(&file, &topics) {
                eprintln!("{error}");
                damaged += 1;
            }
        }
        println!("{}", summary(history));
        if damaged == 0 {
            return Ok(Outcome::Done);
        }
        eprintln!("{} damaged\n  hint: they have to come from a copy", counted(damaged, "file"));
        Ok(Outcome::Refused)
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    #[command(flatten)]
    data: DataArgument,
    /// Seal the segment that was written to last, so that everything is exported.
    #[arg(long)]
    seal: bool,
}

impl Export {
    fn run(self) -> Result<Outcome, CliError> {
        self.data.check_log()?;
        let holder =
            Holder { pid: std::process::id(), command: "chalk history export".to_owned(), http: None, pg: None };
        let history = Keeping::read(&self.data.data)?.objects(&self.data.data)?;
        let options = LogOptions { history, ..LogOptions::new(system_clock()) };
        let log = CommitLog::open(&self.data.data, &holder, options)?;
        let history = kept(&log)?;
        if self.seal {
            log.seal()?;
        }
        let exported = log.export(&mut || true)?;
        println!(
            "exported {}: {} rows, {} in {}; history has {}",
            counted(exported.segments, "segment"),
            exported.rows,
            bytes_text(exported.bytes),
            counted(exported.files, "file"),
            summary(history)
        );
        Ok(Outcome::Done)
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct KeepIn {
    /// A directory, s3://bucket/prefix, here (the data directory), or off.
    place: String,
    #[command(flatten)]
    data: DataArgument,
}

impl KeepIn {
    fn run(self) -> Result<Outcome, CliError> {
        let log = self.data.look()?;
        let data = &self.data.data;
        let mut keeping = Keeping::read(data)?;
        keeping.history = match self.place.as_str() {
            "here" => HistoryPlace::Here,
            "off" => HistoryPlace::Off,
            place => HistoryPlace::At(place_named(place)?),
        };
        let upto = match keeping.objects(data)? {
            Some(objects) => Kept::open(objects)?.upto(),
            None => CommitSeq(0),
        };
        let first = log.size().first;
        if upto.next() < first {
            return Err(CliError::other(format!(
                "the log's own segments begin with commit {first}, and what is before would not be found there\n  \
                 hint: copy all files of the history to the new place first"
            )));
        }
        keeping.write(data)?;
        println!("history is kept in: {} (from the next start on)", self.place);
        Ok(Outcome::Done)
    }
}
