//! `chalk explain [PATH]`.

use crate::error::CliError;
use crate::{Node, Outcome, ProjectFiles};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// A .sql file or a directory of them.
    #[arg(default_value = "sql")]
    path: PathBuf,
}

impl Explain {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let (project, _) = Node::plan(&ProjectFiles::read(&self.path)?)?;
        print!("{}", project.graph);
        Ok(Outcome::Done)
    }
}
