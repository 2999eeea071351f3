//! `chalk append [FILE|-]`.

use crate::client::{Client, Counts};
use crate::command::DataArgument;
use crate::error::CliError;
use crate::{Outcome, ProjectFiles};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Append {
    /// JSON lines; - is the standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    data: DataArgument,
    /// The project that the events are of, when no server runs on the directory.
    #[arg(long, value_name = "PATH", default_value = "sql")]
    project: PathBuf,
}

/// Lines are sent in parts of about this many bytes.
const PART_BYTES: usize = 4 << 20;
/// So many refused events are shown; all are in dead_letters.
const SHOWN_MAX: usize = 20;

impl Append {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let name = self.file.display().to_string();
        let mut input: Box<dyn BufRead> = if name == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            let file =
                File::open(&self.file).map_err(|error| CliError::other(format!("cannot open {name}: {error}")))?;
            Box::new(BufReader::new(file))
        };
        let client = Client::to_append(&self.data.data, || ProjectFiles::read(&self.project))?;
        let mut counts = Counts::default();
        let mut first_line = 1;
        loop {
            let mut part = Vec::new();
            let mut lines = 0;
            while part.len() < PART_BYTES {
                let read = input.read_until(b'\n', &mut part);
                if read.map_err(|error| CliError::other(format!("cannot read {name}: {error}")))? == 0 {
                    break;
                }
                lines += 1;
            }
            if part.is_empty() {
                break;
            }
            counts.add(client.append(&part, first_line)?);
            first_line += lines;
        }
        for refused in counts.refused.iter().take(SHOWN_MAX) {
            eprintln!("{name}:{refused}");
        }
        if counts.refused.len() > SHOWN_MAX {
            eprintln!("… and {} more", counts.refused.len() - SHOWN_MAX);
        }
        let (accepted, duplicates, refused) = (counts.accepted, counts.duplicates, counts.refused.len());
        println!("{accepted} accepted, {duplicates} duplicates, {refused} refused");
        if refused == 0 {
            return Ok(Outcome::Done);
        }
        eprintln!("refused events are kept: chalk query \"SELECT * FROM dead_letters\"");
        Ok(Outcome::Refused)
    }
}
