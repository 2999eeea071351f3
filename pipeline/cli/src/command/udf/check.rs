//! `chalk udf check [PATH]`.

use super::{Chosen, Sources, tell};
use crate::Outcome;
use crate::error::CliError;

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    #[command(flatten)]
    sources: Sources,
}

impl Check {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let Chosen { sources, mistakes, .. } = self.sources.read()?;
        for source in &sources {
            println!("{}: {}, {}", source.path.display(), source.declaration, source.declaration.kind);
        }
        Ok(if tell(&mistakes) { Outcome::Done } else { Outcome::Refused })
    }
}
