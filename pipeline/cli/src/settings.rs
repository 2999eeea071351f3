//! `chalkstream.toml`, beside a project's SQL or above it: where its log is.
//!
//! ```toml
//! [log]
//! backend = "fluvio"            # or "embedded", which is the default
//! endpoint = "localhost:9103"   # and the other options of the connector
//! topic = "homework"
//! partitions = 1
//! ```

use crate::error::CliError;
use chalk_graph::options::{FluvioOptions, Given, TableOptions, read};
use std::path::{Path, PathBuf};
use toml_edit::{Document, Item, TableLike, Value};

/// The file's name.
pub(crate) const SETTINGS: &str = "chalkstream.toml";
/// More are no help: events of one tenant stay in one.
const PARTITIONS_MAX: i64 = 1000;
/// The topic, unless it is named.
const TOPIC: &str = "chalk";

/// Where a project's events go first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogBackend {
    /// Into the log of the data directory.
    #[default]
    Embedded,
    /// Into a topic of a Fluvio cluster, and from there into the log of the data directory.
    Fluvio(Box<FluvioLog>),
}

/// A project's log on Fluvio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FluvioLog {
    /// The cluster, the topic, and how it is read and written.
    pub options: FluvioOptions,
    /// So many partitions the topic is made with.
    pub partitions: u32,
}

impl LogBackend {
    /// Reads the settings of a project.
    ///
    /// # Errors
    /// When the file cannot be read, or says something that is not known.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let mistake = |what: String| CliError::other(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| mistake(error.to_string()))?;
        let document = Document::parse(text).map_err(|error| mistake(error.to_string()))?;
        let mut backend = Self::Embedded;
        for (name, item) in document.as_table() {
            backend = match (name, item.as_table_like()) {
                ("log", Some(log)) => Self::of_table(log).map_err(&mistake)?,
                ("log", None) => return Err(mistake("log: it is a table, [log]".to_owned())),
                (other, _) => return Err(mistake(format!("[{other}] is not known\n  hint: there is [log]"))),
            };
        }
        Ok(backend)
    }

    fn of_table(table: &dyn TableLike) -> Result<Self, String> {
        let (mut backend, mut partitions, mut given) = ("embedded".to_owned(), 1, Given::new());
        for (name, item) in table.iter() {
            match (name, item) {
                ("backend", Item::Value(Value::String(text))) => backend = text.value().clone(),
                ("partitions", Item::Value(Value::Integer(number)))
                    if (1..=PARTITIONS_MAX).contains(number.value()) =>
                {
                    partitions = *number.value();
                }
                ("partitions", _) => return Err(format!("log.partitions: a number from 1 to {PARTITIONS_MAX}")),
                (_, Item::Value(Value::String(text))) => {
                    given.insert(name.to_owned(), text.value().clone());
                }
                (_, Item::Value(Value::Integer(number))) => {
                    given.insert(name.to_owned(), number.value().to_string());
                }
                _ => return Err(format!("log.{name}: it is a text, such as {name} = \"…\"")),
            }
        }
        match backend.as_str() {
            "embedded" => match given.keys().next() {
                Some(name) => Err(format!("log.{name}: it goes with backend = \"fluvio\"")),
                None => Ok(Self::Embedded),
            },
            "fluvio" => Self::fluvio(given, u32::try_from(partitions).unwrap_or(1)),
            other => Err(format!("log.backend = \"{other}\": it is \"embedded\" or \"fluvio\"")),
        }
    }

    /// A log on Fluvio with these options of the connector.
    ///
    /// # Errors
    /// When one is not known, or of no use; when this build has no Fluvio.
    pub(crate) fn fluvio(mut given: Given, partitions: u32) -> Result<Self, String> {
        for ours in ["connector", "type", "format", "sink.key_field", "bad_data"] {
            if given.contains_key(ours) {
                return Err(format!("log.{ours}: that is for tables"));
            }
        }
        given.insert("connector".to_owned(), "fluvio".to_owned());
        given.entry("topic".to_owned()).or_insert_with(|| TOPIC.to_owned());
        match read(TOPIC, &given, false, &[]) {
            Ok(definition) => match definition.options {
                TableOptions::Fluvio(options) => Ok(Self::Fluvio(Box::new(FluvioLog { options, partitions }))),
                _ => Err("log: it is not Fluvio's".to_owned()),
            },
            Err(error) => Err(format!("log: {}", error.message)),
        }
    }
}

/// The settings of a project whose SQL is at `path`, if it has any.
pub(crate) fn find(path: &Path) -> Option<PathBuf> {
    path.ancestors().map(|directory| directory.join(SETTINGS)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(toml: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(SETTINGS);
        std::fs::write(&path, toml).expect("a file");
        let error = LogBackend::read(&path).expect_err("a mistake").to_string();
        error.split_once(": ").expect("the file, and what is wrong").1.to_owned()
    }

    #[test]
    fn what_is_not_known_is_named() {
        assert_eq!(refused("[logs]\n"), "[logs] is not known\n  hint: there is [log]");
        assert_eq!(refused("log = 1\n"), "log: it is a table, [log]");
        assert_eq!(
            refused("[log]\nbackend = \"kafka\"\n"),
            "log.backend = \"kafka\": it is \"embedded\" or \"fluvio\""
        );
        assert_eq!(refused("[log]\ntopic = \"x\"\n"), "log.topic: it goes with backend = \"fluvio\"");
        assert_eq!(refused("[log]\npartitions = 0\n"), "log.partitions: a number from 1 to 1000");
        assert_eq!(refused("[log]\nbackend = \"fluvio\"\nformat = \"json\"\n"), "log.format: that is for tables");
    }
}
