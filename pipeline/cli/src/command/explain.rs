//! `chalk explain [PATH]`.

use crate::error::CliError;
use crate::functions::ProjectFunctions;
use crate::{Node, Outcome, ProjectFiles};
use chalk_udf_host::Isolation;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// A .sql file or a directory of them.
    #[arg(default_value = "sql")]
    path: PathBuf,
}

impl Explain {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let files = ProjectFiles::read(&self.path)?;
        // A plan needs what a function takes and gives, and no build.
        let functions = ProjectFunctions::declared(&files)?;
        let project = Node::plan_with(&files, &functions)?;
        let mut text = project.graph.explain().to_string();
        let called = |name: &str| project.queries.iter().any(|query| query.calls(name));
        let called: Vec<_> = functions.loaded().iter().filter(|function| called(&function.identity.name)).collect();
        if !called.is_empty() {
            text.push_str("\nloaded functions\n");
        }
        for function in called {
            let isolation = match function.isolation {
                Isolation::Process => "in a worker process",
                Isolation::InProcess => "in process",
            };
            text.push_str(&format!("  {}  {}, {isolation}\n", function.identity, function.source.display()));
        }
        match std::io::stdout().write_all(text.as_bytes()) {
            // Whoever reads has read enough.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(CliError::other(format!("standard output: {error}")))
            }
            _ => Ok(Outcome::Done),
        }
    }
}
