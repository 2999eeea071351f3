//! A project's files: schemas and SQL.

use crate::error::CliError;
use crate::settings::{self, LogBackend};
use chalk_catalog::TopicSchema;
use chalk_plan::{SqlFile, TopicSchemas};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ENVELOPE: &str = "envelope";
/// A folder that has a file of this name is a project of its own, also where it stands in another's.
const APART: &str = ".apart";

/// The files of a project, as read.
#[derive(Clone, Debug, Default)]
pub struct ProjectFiles {
    /// `.sql` files, by name.
    pub sql: Vec<SqlFile>,
    /// `.avsc` files by topic, and the envelope's text.
    pub schemas: Vec<(String, String)>,
    /// The envelope's `.avsc`.
    pub envelope: String,
    /// The directory that relative paths in SQL are relative to.
    pub directory: PathBuf,
    /// Where its functions are, if it has any.
    pub udfs: Option<PathBuf>,
    /// Where its events go first.
    pub log: LogBackend,
}

impl ProjectFiles {
    /// Reads the `.sql` file or directory at `path`, but for folders in it that have a file `.apart`; and the schemas in the `schemas/` beside it or above it; functions are in the
    /// `udfs/` beside it or above it, settings in a `chalkstream.toml` beside it or above it.
    ///
    /// # Errors
    /// When nothing is there, or a file cannot be read.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let mut files = Self { directory: PathBuf::from("."), envelope: empty_envelope(), ..Self::default() };
        if !path.exists() {
            return Err(CliError::other(format!(
                "there is no {}\n  hint: run this in a project's directory, or name a .sql file or a directory of them",
                path.display()
            )));
        }
        let mut paths = Vec::new();
        sql_files(path, &mut paths)?;
        if paths.is_empty() {
            return Err(CliError::other(format!("there is no .sql file in {}", path.display())));
        }
        paths.sort();
        for path in paths {
            files.sql.push(SqlFile { name: path.display().to_string(), text: read(&path)? });
        }
        if let Some(schemas) = find_beside(path, "schemas")? {
            files.read_schemas(&schemas)?;
        }
        files.udfs = find_beside(path, "udfs")?;
        let absolute = path.canonicalize().map_err(|error| cannot_read(path, &error))?;
        if let Some(found) = settings::find(&absolute) {
            files.log = LogBackend::read(&found)?;
        }
        Ok(files)
    }

    /// Reads a directory of schemas alone.
    ///
    /// # Errors
    /// When it is none, or a file cannot be read.
    pub fn of_schemas(directory: &Path) -> Result<Self, CliError> {
        let mut files = Self { directory: PathBuf::from("."), envelope: empty_envelope(), ..Self::default() };
        files.read_schemas(directory)?;
        if files.schemas.is_empty() {
            return Err(CliError::other(format!("there is no .avsc file in {}", directory.display())));
        }
        Ok(files)
    }

    fn read_schemas(&mut self, directory: &Path) -> Result<(), CliError> {
        let entries = fs::read_dir(directory).map_err(|error| cannot_read(directory, &error))?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "avsc")) {
            let (name, text) = (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), read(path)?);
            if name == ENVELOPE {
                self.envelope = text;
            } else {
                self.schemas.push((name, text));
            }
        }
        Ok(())
    }

    /// The schemas, parsed.
    ///
    /// # Errors
    /// The first that cannot be.
    pub fn topic_schemas(&self) -> Result<TopicSchemas, CliError> {
        let parse = |(topic, avsc): &(String, String)| {
            let schema = TopicSchema::parse(topic, avsc, &self.envelope);
            schema
                .map(|schema| (topic.clone(), Arc::new(schema)))
                .map_err(|error| CliError::other(format!("schemas/{topic}.avsc: {error}")))
        };
        self.schemas.iter().map(parse).collect()
    }
}

fn empty_envelope() -> String {
    TopicSchema::NO_ENVELOPE.to_owned()
}

fn cannot_read(path: &Path, error: &std::io::Error) -> CliError {
    CliError::other(format!("cannot read {}: {error}", path.display()))
}

fn read(path: &Path) -> Result<String, CliError> {
    fs::read_to_string(path).map_err(|error| cannot_read(path, &error))
}

fn sql_files(path: &Path, into: &mut Vec<PathBuf>) -> Result<(), CliError> {
    if path.is_file() {
        into.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(|error| cannot_read(path, &error))? {
        let path = entry.map_err(|error| cannot_read(path, &error))?.path();
        if path.is_dir() {
            if !path.join(APART).exists() {
                sql_files(&path, into)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            into.push(path);
        }
    }
    Ok(())
}

/// The nearest folder of a name beside the path or above it, relative to where we are if it is below.
fn find_beside(path: &Path, name: &str) -> Result<Option<PathBuf>, CliError> {
    let path = path.canonicalize().map_err(|error| cannot_read(path, &error))?;
    let found = path.ancestors().map(|directory| directory.join(name)).find(|folder| folder.is_dir());
    let here = Path::new(".").canonicalize().unwrap_or_default();
    Ok(found.map(|found| found.strip_prefix(&here).map_or_else(|_| found.clone(), Path::to_owned)))
}
