//! `chalk udf`: functions in Rust.

mod build;
mod check;
mod list;
mod new;
mod promote;

use crate::Outcome;
use crate::error::CliError;
use crate::functions::read_folder;
use chalk_udf_host::{Folder, Source, SourceError};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Udf {
    /// Begin a function: writes udfs/NAME.rs.
    New(new::New),
    /// Compile functions with Cargo, and keep the libraries under udfs/.chalk.
    Build(build::Build),
    /// Check sources without compiling them. Exits with 1 when one cannot be used.
    Check(check::Check),
    /// Show functions: what they take and give, who they are, whether they are built, where they are used.
    List(list::List),
    /// Have a running server call a function as its source is now, from the next epoch on: what is computed stays as it is.
    Promote(promote::Promote),
}

impl Udf {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        match self {
            Self::New(new) => new.run(),
            Self::Build(build) => build.run(),
            Self::Check(check) => check.run(),
            Self::List(list) => list.run(),
            Self::Promote(promote) => promote.run(),
        }
    }
}

/// Which sources a command is about.
#[derive(Debug, clap::Args)]
struct Sources {
    /// A udfs/ folder, or one .rs file or crate in it.
    #[arg(default_value = "udfs")]
    path: PathBuf,
}

/// Sources, and what cannot be used.
struct Chosen {
    folder: Folder,
    sources: Vec<Source>,
    mistakes: Vec<SourceError>,
}

impl Sources {
    fn read(&self) -> Result<Chosen, CliError> {
        let path = &self.path;
        if !path.exists() {
            return Err(CliError::other(format!(
                "there is no {}\n  hint: begin a function with chalk udf new NAME",
                path.display()
            )));
        }
        if path.is_file() || path.join("Cargo.toml").is_file() && path.join("src").is_dir() {
            let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut folder = read_folder(above)?;
            let is_it = |found: &Path| found.file_name() == path.file_name();
            let sources = folder.sources.iter().filter(|source| is_it(&source.path)).cloned().collect::<Vec<_>>();
            folder
                .mistakes
                .retain(|mistake| mistake.path.starts_with(above.join(path.file_name().unwrap_or_default())));
            if sources.is_empty() && folder.mistakes.is_empty() {
                return Err(CliError::other(format!(
                    "{} is no function\n  hint: a .rs file, or a crate whose library is a cdylib",
                    path.display()
                )));
            }
            let mistakes = folder.mistakes.clone();
            return Ok(Chosen { folder, sources, mistakes });
        }
        let folder = read_folder(path)?;
        let (sources, mistakes) = (folder.sources.clone(), folder.mistakes.clone());
        Ok(Chosen { folder, sources, mistakes })
    }
}

/// Tells of mistakes; whether there were none.
fn tell(mistakes: &[SourceError]) -> bool {
    mistakes.iter().for_each(|mistake| eprintln!("error: {mistake}"));
    mistakes.is_empty()
}
