//! Connector options: one option, one field, one type. Strings from `WITH (…)` end here.

mod files;
mod fluvio;
mod format;
mod generator;
mod reader;

use crate::misspelt::did_you_mean;
pub use files::{Compression, DirectoryOptions, FolderOptions, Partitioning, RollingPolicy};
pub use fluvio::{FLUVIO_OPTIONS, FluvioAccess, FluvioBegin, FluvioCompression, FluvioLost, FluvioOptions, FluvioTls};
pub use format::{AvroOptions, BadData, Format, JsonOptions, TimeFormat};
pub use generator::{GeneratorOptions, ImpulseOptions, NexmarkOptions};
use reader::{Reader, refused};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where a table's rows come from or go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableOptions {
    /// `connector = 'log'`: a topic of the embedded log.
    Log(LogOptions),
    /// `connector = 'single_file'`: a file.
    SingleFile(FileOptions),
    /// `connector = 'filesystem'`, written: a directory of files.
    Filesystem(DirectoryOptions),
    /// `connector = 'filesystem', type = 'source'`: a directory of files.
    Folder(FolderOptions),
    /// `connector = 'fluvio'`: a topic of a Fluvio cluster.
    Fluvio(FluvioOptions),
    /// `connector = 'impulse'`: a counter.
    Impulse(ImpulseOptions),
    /// `connector = 'nexmark'`: an auction site.
    Nexmark(NexmarkOptions),
    /// A connector that the program adds: rows that are made up.
    Generator(GeneratorOptions),
    /// `connector = 'stdout'` or `'preview'`: the terminal.
    Stdout,
    /// `connector = 'blackhole'`: nowhere.
    Blackhole,
}

/// How rows of a source come into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceOptions {
    /// From a file.
    SingleFile(FileOptions),
    /// From the files of a directory.
    Folder(FolderOptions),
    /// From a topic of a Fluvio cluster.
    Fluvio(FluvioOptions),
    /// From a counter.
    Impulse(ImpulseOptions),
    /// From an auction site that is made up.
    Nexmark(NexmarkOptions),
    /// From what the program adds.
    Generator(GeneratorOptions),
}

impl SourceOptions {
    /// Whether there is a last row; of a topic elsewhere, what it has when somebody wants to see the end.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        match self {
            Self::SingleFile(_) | Self::Folder(_) | Self::Fluvio(_) | Self::Generator(_) => true,
            Self::Impulse(impulse) => impulse.message_count.is_some(),
            Self::Nexmark(nexmark) => nexmark.runtime.is_some(),
        }
    }
}

/// Options of `connector = 'log'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// `topic`: its name; the table's name by default.
    pub topic: String,
}

/// Options of `connector = 'single_file'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// `path`: relative to the directory that the command runs in.
    pub path: PathBuf,
}

/// What is wrong with a table's options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionError {
    /// The option at fault.
    pub option: String,
    /// What is wrong with it and what to do.
    pub message: String,
    /// What may have been meant.
    pub hint: Option<String>,
}

impl OptionError {
    /// The same, with the known word that the given one is nearly.
    fn meant<'a>(self, given: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let hint = did_you_mean(given, known);
        Self { hint: hint.map(|near| format!("did you mean '{near}'?")), ..self }
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Options as they stand in `WITH (…)`.
pub type Given = BTreeMap<String, String>;

/// What `WITH (…)` says of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDefinition {
    /// Where its rows come from or go to.
    pub options: TableOptions,
    /// `type`: whether it is read or written; `None` when it does not say.
    pub role: Option<Role>,
    /// What its rows look like there.
    pub format: Format,
    /// What becomes of those that cannot be read.
    pub bad_data: BadData,
    /// `event_time_field`: the older way to say `WATERMARK FOR` this column.
    pub event_time_field: Option<String>,
    /// `watermark_field`: the column that such a watermark is.
    pub watermark_field: Option<String>,
    /// `lateness`: how long after its end a window that an `INSERT INTO` closes still accepts rows; 0 by default.
    pub lateness: Duration,
    /// `idle_micros`: after so long without rows, windows over several tables do not wait for this one; 5 minutes by default, `None` for ever.
    pub idle_after: Option<Duration>,
}

/// What a table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is read.
    Source,
    /// It is written.
    Sink,
}

/// Reads the options of a table; `is_lookup` says whether it is a temporary one, that joins look up. `generators` are connectors that the program
/// adds, by name.
///
/// Accepted, and of no effect: `lookup.cache.max_bytes` and `lookup.cache.ttl` of a temporary table, since all of it is kept, and always as it is.
///
/// # Errors
/// The first option that is missing, unknown or of no use; the message names those that are known.
pub fn read(
    table: &str,
    given: &Given,
    is_lookup: bool,
    generators: &[String],
) -> Result<TableDefinition, OptionError> {
    let mut options = Reader::new(given);
    let connector = options.required("connector")?;
    let role = options.one_of("type", &[("source", Role::Source), ("sink", Role::Sink)])?;
    let event_time_field = options.optional("event_time_field");
    let watermark_field = options.optional("watermark_field");
    let lateness = options.interval("lateness")?.unwrap_or_default();
    let idle_after = options.whole("idle_micros")?.map_or(IDLE_AFTER, Duration::from_micros);
    if is_lookup {
        options.whole("lookup.cache.max_bytes")?;
        options.interval("lookup.cache.ttl")?;
    }
    let (read, format, bad_data) = match connector.as_str() {
        "log" => {
            let log = LogOptions { topic: options.optional("topic").unwrap_or_else(|| table.to_owned()) };
            options.one_of("format", &[("json", ())])?;
            (TableOptions::Log(log), Format::default(), BadData::default())
        }
        "single_file" => {
            let file = FileOptions { path: path(&mut options)? };
            // Arroyo's tests wait for a signal before they read; here everything is read at once.
            options.boolean("wait_for_control")?;
            let format = format::format(&mut options, if role == Some(Role::Sink) { &GROWING_FILES } else { &FILES })?;
            (TableOptions::SingleFile(file), format, format::framing_and_bad_data(&mut options)?)
        }
        "filesystem" if role == Some(Role::Source) => {
            let folder = files::folder(&mut options)?;
            let format = format::format(&mut options, &FILES)?;
            (TableOptions::Folder(folder), format, format::framing_and_bad_data(&mut options)?)
        }
        "filesystem" => {
            let format = format::format(&mut options, &WHOLE_FILES)?;
            let suffix = match format {
                Format::Parquet => ".parquet",
                Format::Avro(_) => ".avro",
                _ => JSON_SUFFIX,
            };
            let is_lines = suffix == JSON_SUFFIX;
            let directory = files::directory(&mut options, suffix, is_lines)?;
            (TableOptions::Filesystem(directory), format, BadData::default())
        }
        "fluvio" if cfg!(feature = "fluvio") => {
            let fluvio = fluvio::read(table, &mut options)?;
            let format = format::format(&mut options, &RECORDS)?;
            (TableOptions::Fluvio(fluvio), format, format::framing_and_bad_data(&mut options)?)
        }
        "fluvio" => {
            let message = "connector 'fluvio' is not in this build: build chalk with --features chalk-cli/fluvio";
            return Err(refused("connector", message.to_owned()));
        }
        "impulse" => (TableOptions::Impulse(generator::impulse(&mut options)?), Format::default(), BadData::default()),
        "nexmark" => (TableOptions::Nexmark(generator::nexmark(&mut options)?), Format::default(), BadData::default()),
        other if generators.iter().any(|known| known == other) => {
            let generator = generator::generator(other, &mut options)?;
            let bad_data = format::framing_and_bad_data(&mut options)?;
            (TableOptions::Generator(generator), Format::default(), bad_data)
        }
        "stdout" => (TableOptions::Stdout, format::format(&mut options, &WRITTEN)?, BadData::default()),
        "preview" => (TableOptions::Stdout, Format::default(), BadData::default()),
        "blackhole" => (TableOptions::Blackhole, format::format(&mut options, &FILES)?, BadData::default()),
        other => {
            let known = [&CONNECTORS[..], &generators.iter().map(String::as_str).collect::<Vec<_>>()].concat();
            let message = format!("connector '{other}' is not known: this build has {}", known.join(", "));
            return Err(refused("connector", message).meant(other, known.into_iter()));
        }
    };
    options.finish(&connector)?;
    let only = match &read {
        TableOptions::Impulse(_) | TableOptions::Nexmark(_) | TableOptions::Generator(_) => Some(Role::Source),
        TableOptions::Stdout | TableOptions::Blackhole => Some(Role::Sink),
        _ => None,
    };
    if let (Some(only), Some(role)) = (only, role)
        && only != role
    {
        let (is, not) = if only == Role::Source { ("read", "written") } else { ("written", "read") };
        return Err(refused("type", format!("connector '{connector}' can be {is}, not {not}")));
    }
    let idle_after = (!idle_after.is_zero()).then_some(idle_after);
    Ok(TableDefinition {
        options: read,
        role,
        format,
        bad_data,
        event_time_field,
        watermark_field,
        lateness,
        idle_after,
    })
}

/// As Arroyo has it.
const IDLE_AFTER: Duration = Duration::from_secs(300);

/// What there is, for errors.
const CONNECTORS: [&str; 8] =
    ["log", "single_file", "filesystem", "impulse", "nexmark", "stdout", "preview", "blackhole"];

/// Formats that files are read in.
const FILES: [&str; 6] = ["json", "debezium_json", "raw_string", "raw_bytes", "parquet", "avro"];
/// Formats of records.
const RECORDS: [&str; 1] = ["json"];
/// Formats that lines are written in.
const WRITTEN: [&str; 3] = ["json", "debezium_json", "raw_string"];
/// Formats that files are written in which grow.
const GROWING_FILES: [&str; 4] = ["json", "debezium_json", "raw_string", "avro"];
/// Formats that files are written in which appear whole.
const WHOLE_FILES: [&str; 5] = ["json", "debezium_json", "raw_string", "parquet", "avro"];

/// How names of files of lines end.
const JSON_SUFFIX: &str = ".json";

/// A path of this machine.
fn path(options: &mut Reader<'_>) -> Result<PathBuf, OptionError> {
    let path = options.required("path")?;
    match path.split_once("://") {
        None => Ok(path.into()),
        Some(("file", path)) => Ok(path.into()),
        Some((scheme, _)) => {
            Err(refused("path", format!("option path = '{path}': this build has files of this machine, not {scheme}")))
        }
    }
}

/// `10 minutes`, `7 days`: a number and a unit from milliseconds to weeks.
#[must_use]
pub fn parse_interval(text: &str) -> Option<Duration> {
    let (number, unit) = text.trim().split_once(char::is_whitespace)?;
    let number: u64 = number.parse().ok()?;
    let seconds = match unit.trim().to_lowercase().trim_end_matches('s') {
        "millisecond" => return Some(Duration::from_millis(number)),
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
        let read = read("t", &given, false, &[]).map(|definition| definition.options);
        assert_eq!(read.map_err(|error| error.message), expected.map_err(str::to_owned));
    }

    #[test]
    fn options_are_read_or_refused_by_name() {
        let log = LogOptions { topic: "t".to_owned() };
        check(&[("connector", "log"), ("lateness", "10 minutes"), ("format", "json")], Ok(TableOptions::Log(log)));
        check(&[("connector", "stdout")], Ok(TableOptions::Stdout));
        check(&[], Err("option 'connector' is missing"));
        check(&[("connector", "single_file")], Err("option 'path' is missing"));
        let of_bytes = |file_bytes, interval| DirectoryOptions {
            path: "out".into(),
            prefix: "day-".to_owned(),
            suffix: ".json".to_owned(),
            compression: Compression::None,
            rolling: RollingPolicy { file_bytes, interval, inactivity: Duration::from_secs(1) },
            partitioning: Partitioning::default(),
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
            Err("option path = 's3://marks/out': this build has files of this machine, not s3"),
        );
        check(
            &[("connector", "filesystem"), ("path", "out"), ("filename.prefix", "_x")],
            Err("option filename.prefix = '_x': it must not have a '/', or begin with '.' or '_'"),
        );
        check(
            &[("connector", "filesystem"), ("path", "out"), ("rolling_policy.file_size", "1 GB")],
            Err("option rolling_policy.file_size = '1 GB': bytes, or such as '16MB', up to 268435456"),
        );
        let partitioning =
            Partitioning { time_pattern: Some("%Y/%m".to_owned()), fields: vec!["a".to_owned(), "b".to_owned()] };
        check(
            &[&directory[..], &[("partitioning.time_pattern", "%Y/%m"), ("partitioning.fields", "a,b")]].concat(),
            Ok(TableOptions::Filesystem(DirectoryOptions { partitioning, ..of_bytes(16 << 20, seconds(60)) })),
        );
        check(
            &[&directory[..], &[("partitioning.time_pattern", "%Y/../%m")]].concat(),
            Err(
                "option partitioning.time_pattern = '%Y/../%m': names of folders, parted by '/', that do not begin with '.' or '_'",
            ),
        );
        check(
            &[("connector", "stdout"), ("format", "csv")],
            Err("option format = 'csv': this build knows json, debezium_json, raw_string"),
        );
        check(
            &[("connector", "log"), ("topics", "x")],
            Err(
                "connector 'log' has no option 'topics': it knows connector, type, event_time_field, watermark_field, lateness, idle_micros, topic, format",
            ),
        );
        check(
            &[("connector", "log"), ("lateness", "soon")],
            Err("option lateness = 'soon': an interval is a number and a unit, such as '10 minutes'"),
        );
    }
}
