//! `chalk generate homework`.

use crate::Outcome;
use crate::error::CliError;
use chalk_homework::{School, SchoolConfig};
use std::io::{BufWriter, ErrorKind, Write};

#[derive(Debug, clap::Args)]
pub(crate) struct Generate {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Debug, clap::Subcommand)]
enum Workload {
    /// A seeded school in virtual time: assignments, submissions, overrides, withdrawals, and what goes wrong.
    Homework {
        /// How many events.
        #[arg(long, default_value_t = 200_000)]
        events: u64,
        /// What to generate the same again by.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

impl Generate {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let Workload::Homework { events, seed } = self.workload;
        let mut out = BufWriter::new(std::io::stdout().lock());
        for sent in School::new(SchoolConfig { seed, events, ..SchoolConfig::default() }) {
            match writeln!(out, "{}", sent.line) {
                Ok(()) => {}
                // Whoever reads has seen enough, as with `| head`.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Outcome::Done),
                Err(error) => return Err(CliError::other(format!("cannot write: {error}"))),
            }
        }
        out.flush().map_err(|error| CliError::other(format!("cannot write: {error}")))?;
        Ok(Outcome::Done)
    }
}
