//! `chalk udf promote NAME [--data DIR]`.

use crate::Outcome;
use crate::client;
use crate::command::DataArgument;
use crate::error::CliError;
use chalk_log::read_holder;

#[derive(Debug, clap::Args)]
pub(crate) struct Promote {
    /// The function, whose source was changed and built.
    name: String,
    #[command(flatten)]
    data: DataArgument,
}

impl Promote {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        self.data.check_exists()?;
        let is_name = |name: &str| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if !is_name(&self.name) {
            return Err(CliError::other(format!("'{}' is no function's name", self.name)));
        }
        let address = read_holder(&self.data.data).and_then(|holder| holder.http);
        let address = address.ok_or_else(|| {
            CliError::other(format!(
                "no server runs on {}\n  hint: the next start calls functions as their sources are then, for all of the log",
                self.data.data.display()
            ))
        })?;
        let promoted = client::promote(&address, &self.name)?;
        let text = |name: &str| promoted[name].as_str().unwrap_or_default().to_owned();
        println!(
            "{} → {}, for all that comes after commit {} (epoch {})",
            text("from"),
            text("to"),
            promoted["after"],
            promoted["epoch"]
        );
        Ok(Outcome::Done)
    }
}
