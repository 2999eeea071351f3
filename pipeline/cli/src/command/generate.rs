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
    /// A seeded school in virtual time: homework set, handed in, photographed, read, reviewed and corrected, and what goes
    /// wrong.
    Homework {
        /// How many events.
        #[arg(long, default_value_t = 200_000)]
        events: u64,
        /// What to generate the same again by.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Items on an assignment, give or take two: 40 make submissions of about 1 KB.
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
        items: u32,
    },
}

impl Generate {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let Workload::Homework { events, seed, items } = self.workload;
        let school = School::new(SchoolConfig { seed, events, items, ..SchoolConfig::default() });
        match print(school) {
            // Whoever reads has seen enough, as with `| head`.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(CliError::other(format!("cannot write: {error}")))
            }
            _ => Ok(Outcome::Done),
        }
    }
}

fn print(school: School) -> std::io::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    for sent in school {
        writeln!(out, "{}", sent.line)?;
    }
    out.flush()
}
