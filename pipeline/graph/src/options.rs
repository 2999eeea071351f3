//! Connector options: one option, one field, one type. Strings from `WITH (…)` end here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where a table's rows come from or go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableOptions {
    /// `connector = 'log'`: a topic of the embedded log.
    Log(LogOptions),
    /// `connector = 'single_file'`: a file of JSON lines.
    SingleFile(FileOptions),
    /// `connector = 'filesystem'`: a directory of files of JSON lines.
    Filesystem(DirectoryOptions),
    /// `connector = 'stdout'`: the terminal.
    Stdout,
    /// `connector = 'blackhole'`: nowhere.
    Blackhole,
}

/// How rows of a source come into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceOptions {
    /// From a file of JSON lines.
    SingleFile(FileOptions),
}

/// Options of `connector = 'log'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// `topic`: its name; the table's name by default.
    pub topic: String,
    /// `lateness`: how long after its end a window that an `INSERT INTO` closes still accepts rows; 0 by default.
    pub lateness: Duration,
}

/// Options of `connector = 'single_file'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// `path`: relative to the directory that the command runs in.
    pub path: PathBuf,
}

/// Options of `connector = 'filesystem'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryOptions {
    /// `path`: a directory, relative to the one that the command runs in; made when it is not there.
    pub path: PathBuf,
    /// `filename.prefix`: how the names of its files begin; empty by default.
    pub prefix: String,
    /// `rolling_policy.…`
    pub rolling: RollingPolicy,
}

/// When what was gathered for a sink is committed, and becomes a file of its own: always at the end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollingPolicy {
    /// `rolling_policy.file_size`: a file has no more bytes, unless those of one epoch; 16 MiB by default. They are in memory until then.
    pub file_bytes: usize,
    /// `rolling_policy.interval`: a row that came with a commit so much later than the file's first begins the next one; 1 minute by
    /// default. `None` for no such bound.
    pub interval: Option<Duration>,
    /// `rolling_policy.inactivity`: a file that nothing is added to for so long is complete; 1 second by default.
    pub inactivity: Duration,
}

impl RollingPolicy {
    /// What was gathered while the last was committed.
    #[must_use]
    pub fn at_once() -> Self {
        Self { file_bytes: 4 << 20, interval: None, inactivity: Duration::ZERO }
    }
}

/// What is gathered is in memory.
const FILE_BYTES_MAX: usize = 256 << 20;

/// What is wrong with a table's options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionError {
    /// The option at fault.
    pub option: String,
    /// What is wrong with it and what to do.
    pub message: String,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Options as they stand in `WITH (…)`.
pub type Given = BTreeMap<String, String>;

/// Reads the options of a table.
///
/// # Errors
/// The first option that is missing, unknown or of no use; the message names those that are known.
pub fn read(table: &str, given: &Given) -> Result<TableOptions, OptionError> {
    let mut options = Reader { given, known: Vec::new() };
    let connector = options.required("connector")?;
    // Every table may say these; both have just one meaning here.
    options.one_of("type", &["source", "sink", "lookup"])?;
    options.one_of("format", &["json"])?;
    let read = match connector.as_str() {
        "log" => TableOptions::Log(LogOptions {
            topic: options.optional("topic").unwrap_or_else(|| table.to_owned()),
            lateness: options.interval("lateness")?.unwrap_or_default(),
        }),
        "single_file" => TableOptions::SingleFile(FileOptions { path: options.required("path")?.into() }),
        "filesystem" => TableOptions::Filesystem(directory(&mut options)?),
        "stdout" => TableOptions::Stdout,
        "blackhole" => TableOptions::Blackhole,
        other => {
            let message = format!(
                "connector '{other}' is not known: this build has log, single_file and filesystem (JSON lines), stdout and blackhole"
            );
            return Err(OptionError { option: "connector".to_owned(), message });
        }
    };
    options.finish(&connector)?;
    Ok(read)
}

fn directory(options: &mut Reader<'_>) -> Result<DirectoryOptions, OptionError> {
    let refused = |option: &str, message: String| OptionError { option: option.to_owned(), message };
    let path = options.required("path")?;
    if let Some((scheme, _)) = path.split_once("://") {
        let message = format!("option path = '{path}': this build writes to local directories, not to {scheme}");
        return Err(refused("path", message));
    }
    let prefix = options.optional("filename.prefix").unwrap_or_default();
    if prefix.starts_with(['.', '_']) || prefix.contains('/') {
        let message = format!("option filename.prefix = '{prefix}': it must not have a '/', or begin with '.' or '_'");
        return Err(refused("filename.prefix", message));
    }
    let file_bytes = match options.optional("rolling_policy.file_size") {
        None => 16 << 20,
        Some(text) => {
            let bytes = text.parse().ok().filter(|bytes| (1..=FILE_BYTES_MAX).contains(bytes));
            let message = || format!("option rolling_policy.file_size = '{text}': bytes, up to {FILE_BYTES_MAX}");
            bytes.ok_or_else(|| refused("rolling_policy.file_size", message()))?
        }
    };
    let interval = Some(options.interval("rolling_policy.interval")?.unwrap_or(Duration::from_secs(60)));
    let inactivity = options.interval("rolling_policy.inactivity")?.unwrap_or(Duration::from_secs(1));
    let rolling = RollingPolicy { file_bytes, interval, inactivity };
    Ok(DirectoryOptions { path: path.into(), prefix, rolling })
}

struct Reader<'a> {
    given: &'a Given,
    known: Vec<&'static str>,
}

impl Reader<'_> {
    fn optional(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.given.get(name).cloned()
    }

    fn required(&mut self, name: &'static str) -> Result<String, OptionError> {
        let missing = || OptionError { option: name.to_owned(), message: format!("option '{name}' is missing") };
        self.optional(name).ok_or_else(missing)
    }

    fn one_of(&mut self, name: &'static str, allowed: &[&str]) -> Result<(), OptionError> {
        match self.optional(name) {
            Some(value) if !allowed.contains(&value.as_str()) => {
                let message = format!("option {name} = '{value}': this build knows {}", allowed.join(", "));
                Err(OptionError { option: name.to_owned(), message })
            }
            _ => Ok(()),
        }
    }

    fn interval(&mut self, name: &'static str) -> Result<Option<Duration>, OptionError> {
        let Some(text) = self.optional(name) else { return Ok(None) };
        parse_interval(&text).map(Some).ok_or_else(|| OptionError {
            option: name.to_owned(),
            message: format!("option {name} = '{text}': an interval is a number and a unit, such as '10 minutes'"),
        })
    }

    fn finish(self, connector: &str) -> Result<(), OptionError> {
        match self.given.keys().find(|name| !self.known.contains(&name.as_str())) {
            Some(unknown) => Err(OptionError {
                option: unknown.clone(),
                message: format!(
                    "connector '{connector}' has no option '{unknown}': it knows {}",
                    self.known.join(", ")
                ),
            }),
            None => Ok(()),
        }
    }
}

/// `10 minutes`, `7 days`: a number and a unit from seconds to weeks.
#[must_use]
pub fn parse_interval(text: &str) -> Option<Duration> {
    let (number, unit) = text.trim().split_once(char::is_whitespace)?;
    let number: u64 = number.parse().ok()?;
    let seconds = match unit.trim().trim_end_matches('s') {
        "second" => 1,
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        "week" => 604_800,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: &[(&str, &str)], expected: Result<TableOptions, &str>) {
        let given = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(read("t", &given).map_err(|error| error.message), expected.map_err(str::to_owned));
    }

    #[test]
    fn options_are_read_or_refused_by_name() {
        let log = LogOptions { topic: "t".to_owned(), lateness: Duration::from_secs(600) };
        check(&[("connector", "log"), ("lateness", "10 minutes"), ("format", "json")], Ok(TableOptions::Log(log)));
        check(&[("connector", "stdout")], Ok(TableOptions::Stdout));
        check(&[], Err("option 'connector' is missing"));
        check(&[("connector", "single_file")], Err("option 'path' is missing"));
        let of_bytes = |file_bytes, interval| DirectoryOptions {
            path: "out".into(),
            prefix: "day-".to_owned(),
            rolling: RollingPolicy { file_bytes, interval, inactivity: Duration::from_secs(1) },
        };
        let directory = [("connector", "filesystem"), ("path", "out"), ("filename.prefix", "day-")];
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        check(&directory, Ok(TableOptions::Filesystem(of_bytes(16 << 20, seconds(60)))));
        let rolling = [("rolling_policy.file_size", "1000"), ("rolling_policy.interval", "2 hours")];
        check(
            &[directory, [rolling[0], rolling[1], ("type", "sink")]].concat(),
            Ok(TableOptions::Filesystem(of_bytes(1000, seconds(7200)))),
        );
        check(
            &[("connector", "filesystem"), ("path", "s3://marks/out")],
            Err("option path = 's3://marks/out': this build writes to local directories, not to s3"),
        );
        check(
            &[("connector", "filesystem"), ("path", "out"), ("filename.prefix", "_x")],
            Err("option filename.prefix = '_x': it must not have a '/', or begin with '.' or '_'"),
        );
        check(
            &[("connector", "filesystem"), ("path", "out"), ("rolling_policy.file_size", "1 GB")],
            Err("option rolling_policy.file_size = '1 GB': bytes, up to 268435456"),
        );
        check(&[("connector", "stdout"), ("format", "csv")], Err("option format = 'csv': this build knows json"));
        check(
            &[("connector", "log"), ("topics", "x")],
            Err("connector 'log' has no option 'topics': it knows connector, type, format, topic, lateness"),
        );
        check(
            &[("connector", "log"), ("lateness", "soon")],
            Err("option lateness = 'soon': an interval is a number and a unit, such as '10 minutes'"),
        );
    }
}
