//! One file per subcommand.

pub(crate) mod append;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod generate;
pub(crate) mod query;
pub(crate) mod run;

use std::path::PathBuf;

/// Where a command finds its data directory.
#[derive(Debug, clap::Args)]
pub(crate) struct DataArgument {
    /// The data directory.
    #[arg(long, value_name = "DIR", default_value = "chalk-data")]
    pub(crate) data: PathBuf,
}
