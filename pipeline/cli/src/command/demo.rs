//! `chalk demo`.

use crate::error::CliError;
use crate::serving::Ports;
use crate::{Outcome, demo};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// How many events the school makes.
    #[arg(long, default_value_t = 200_000)]
    events: u64,
    /// What to make the same school again by.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave when it is verified, instead of serving until Ctrl-C.
    #[arg(long)]
    exit: bool,
    /// The data directory: new, empty, or that of a demo of the same school that was interrupted and now goes on. By default
    /// chalk-data, which the demo makes anew.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The pipelines to run: a .sql file or a directory of them.
    #[arg(long, value_name = "PATH", default_value = "sql")]
    project: PathBuf,
    /// Where events go first: into the data directory's log, or through a topic of a Fluvio cluster.
    #[arg(long, value_name = "BACKEND", value_parser = ["embedded", "fluvio"], default_value = "embedded")]
    log: String,
    /// With --log fluvio: host:port of the cluster [default: as the current profile says].
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Option<String>,
    #[command(flatten)]
    ports: Ports,
}

impl Demo {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        if self.endpoint.is_some() && self.log != "fluvio" {
            return Err(CliError::other("--endpoint is of a Fluvio cluster\n  hint: say --log fluvio, too"));
        }
        let config = demo::Config {
            events: self.events,
            seed: self.seed,
            project: self.project,
            fluvio: (self.log == "fluvio").then_some(demo::OnFluvio { endpoint: self.endpoint }),
        };
        let directory = demo::Directory::prepare(self.data.as_deref(), &config.school())?;
        let good = demo::run(&config, &directory, self.exit, self.ports)?;
        Ok(if good { Outcome::Done } else { Outcome::Refused })
    }
}
