//! `chalk udf new NAME [--async|--aggregate]`.

use crate::Outcome;
use crate::error::CliError;
use chalk_udf_host::Declaration;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// The function's name: small letters, digits and underscores.
    name: String,
    /// A function that waits for others: a service, a file.
    #[arg(long = "async", conflicts_with = "aggregate")]
    is_async: bool,
    /// A function of all values of a group.
    #[arg(long)]
    aggregate: bool,
    /// The folder.
    #[arg(long, value_name = "DIR", default_value = "udfs")]
    folder: PathBuf,
}

const SCALAR: &str = r#"/*
[dependencies]
*/

use arroyo_udf_plugin::udf;

/// What it does. NULL gives NULL; take an `Option` to see NULLs, give one to make them.
#[udf]
fn NAME(text: &str) -> String {
    text.to_uppercase()
}
"#;

const AGGREGATE: &str = r#"/*
[dependencies]
*/

use arroyo_udf_plugin::udf;

/// What it does. It gets all values of a group, smallest first, without NULLs; take `Vec<Option<i64>>` to see them.
#[udf]
fn NAME(values: Vec<i64>) -> Option<i64> {
    values.get(values.len() / 2).copied()
}
"#;

const ASYNC: &str = r#"/*
[dependencies]
*/

use arroyo_udf_plugin::udf;

/// What it does.
#[udf(unordered, allowed_in_flight = 1000, timeout = "5s")]
async fn NAME(text: &str) -> String {
    text.to_uppercase()
}
"#;

impl New {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let template = match (self.is_async, self.aggregate) {
            (true, _) => ASYNC,
            (_, true) => AGGREGATE,
            _ => SCALAR,
        };
        let text = template.replace("NAME", &self.name);
        if let Err(error) = Declaration::read(&text) {
            return Err(CliError::other(format!(
                "'{}' cannot be a function's name: {}\n  hint: take small letters, digits and underscores",
                self.name, error.message
            )));
        }
        let cannot = |path: &PathBuf, error: &std::io::Error| CliError::other(format!("{}: {error}", path.display()));
        fs::create_dir_all(&self.folder).map_err(|error| cannot(&self.folder, &error))?;
        let path = self.folder.join(format!("{}.rs", self.name));
        let mut file = fs::File::create_new(&path).map_err(|error| cannot(&path, &error))?;
        file.write_all(text.as_bytes()).map_err(|error| cannot(&path, &error))?;
        println!("{}: begun; build it with chalk udf build {}", path.display(), path.display());
        Ok(Outcome::Done)
    }
}
