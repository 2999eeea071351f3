//! `chalk udf build [PATH] [--offline] [--library FILE]`.

use super::{Chosen, Sources, tell};
use crate::Outcome;
use crate::error::CliError;
use crate::graders::UDFS_LOCK;
use chalk_udf_host::{BuildError, Building};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Build {
    #[command(flatten)]
    sources: Sources,
    /// Let Cargo use what it has downloaded before, and nothing else.
    #[arg(long)]
    offline: bool,
    /// Take this library, compiled elsewhere from PATH, as it is: one that Arroyo runs, for example.
    #[arg(long, value_name = "FILE", conflicts_with = "offline")]
    library: Option<PathBuf>,
}

impl Build {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let Chosen { folder, sources, mistakes } = self.sources.read()?;
        let mut good = tell(&mistakes);
        if self.library.is_some() && sources.len() != 1 {
            return Err(CliError::other("--library is the library of one function\n  hint: name its source"));
        }
        let building = Building { offline: self.offline, lock: UDFS_LOCK };
        for source in &sources {
            let built = match &self.library {
                Some(library) => Building::adopt(&folder, source, library),
                None => building.build(&folder, source),
            };
            match built {
                Ok(record) => println!("{}  {}@{}", record.declaration, record.declaration.name, record.content_hash),
                // The compiler has said why.
                Err(error @ BuildError::Refused(_)) => {
                    eprintln!("error: {error}");
                    good = false;
                }
                Err(error) => return Err(CliError::other(error.to_string())),
            }
        }
        Ok(if good { Outcome::Done } else { Outcome::Refused })
    }
}
