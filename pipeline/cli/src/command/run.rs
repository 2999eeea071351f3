//! `chalk run [PATH] [--data DIR] [--drain]`.

use crate::error::CliError;
use crate::node::{Node, Tuning};
use crate::serving::{Ports, print_dead_letters, serve_until_ctrl_c, tokio_runtime};
use crate::{Outcome, ProjectFiles};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// A .sql file or a directory of them.
    #[arg(default_value = "sql")]
    path: PathBuf,
    /// The data directory [default: chalk-data; with --drain a temporary one].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// End when bounded inputs are exhausted, and write what is final.
    #[arg(long)]
    drain: bool,
    /// Call an async function again for all rows that it was ever called for: what was recorded does not count any more.
    #[arg(long, value_name = "FUNCTION")]
    rerun_udf: Vec<String>,
    #[command(flatten)]
    ports: Ports,
    #[command(flatten)]
    tuning: Tuning,
}

impl Run {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let files = ProjectFiles::read(&self.path)?;
        let temporary = match (&self.data, self.drain) {
            (None, true) => Some(tempfile::tempdir().map_err(|error| CliError::other(error.to_string()))?),
            _ => None,
        };
        let data = match (&self.data, &temporary) {
            (Some(data), _) => data.clone(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => PathBuf::from("chalk-data"),
        };
        let runtime = tokio_runtime()?;
        let mut node = Node::rerunning(&files, &data, self.tuning, &self.rerun_udf.into_iter().collect())?;
        let refused_before = dead_letters(&node);
        if self.drain {
            runtime.block_on(node.pipeline.drain())?;
            node.pipeline.stop();
        } else {
            eprintln!("running {} on {}", self.path.display(), data.display());
            serve_until_ctrl_c(&mut node, self.ports, &runtime)?;
        }
        if let Some(failure) = node.pipeline.failure() {
            return Err(CliError::other(failure));
        }
        let dropped = node.pipeline.status().dropped;
        if dropped > 0 {
            eprintln!("{dropped} rows could not be read and were dropped, as bad_data = 'drop' has it");
        }
        let refused = dead_letters(&node) - refused_before;
        // What clients sent to a server is their exit code's business.
        if refused == 0 || !self.drain {
            return Ok(Outcome::Done);
        }
        eprintln!("{refused} rows were refused:");
        runtime.block_on(print_dead_letters(&node))?;
        Ok(Outcome::Refused)
    }
}

fn dead_letters(node: &Node) -> u64 {
    node.log.tail(chalk_catalog::SystemTopic::DeadLetters.id(), chalk_event::PartitionId(0)).0
}
