//! Options of `connector = 'filesystem'`.

use super::OptionError;
use super::reader::{Reader, refused};
use std::path::PathBuf;
use std::time::Duration;

/// Options of `connector = 'filesystem', type = 'source'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderOptions {
    /// `path`: a directory, relative to the one that the command runs in. Its files are read in the order of their names, those of
    /// directories in it too; names that begin with `.` or `_` are passed over.
    pub path: PathBuf,
    /// `source.regex-pattern`: only files whose path below the directory matches.
    pub pattern: Option<String>,
}

/// Options of `connector = 'filesystem'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryOptions {
    /// `path`: a directory, relative to the one that the command runs in; made when it is not there.
    pub path: PathBuf,
    /// `filename.prefix`: how the names of its files begin; empty by default.
    pub prefix: String,
    /// `filename.suffix`: how they end; the format's by default.
    pub suffix: String,
    /// `json.compression`, of lines.
    pub compression: Compression,
    /// `rolling_policy.…`
    pub rolling: RollingPolicy,
    /// `partitioning.…`
    pub partitioning: Partitioning,
}

/// Which folder of the directory a row goes to: that of its event time, and in that one the folder of its columns' values, such as
/// `2025/09/01/class=7b/level=2`. Neither by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partitioning {
    /// `partitioning.time_pattern`: such as `%Y/%m/%d/%H`, of the event time in UTC.
    pub time_pattern: Option<String>,
    /// `partitioning.fields`, or `PARTITIONED BY`: columns of the table.
    pub fields: Vec<String>,
}

impl Partitioning {
    /// Whether all files are in the directory itself.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.time_pattern.is_none() && self.fields.is_empty()
    }
}

/// How files of lines are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// `uncompressed`
    #[default]
    None,
    /// `gzip`
    Gzip,
    /// `zstd`
    Zstd,
}

impl Compression {
    /// How names of such files end, after the format's own.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

/// When what was gathered for a sink is committed, and becomes a file of its own: always at the end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollingPolicy {
    /// `rolling_policy.file_size`: a file has no more bytes, unless those of one epoch; 16 MiB by default. They are in memory until then.
    pub file_bytes: usize,
    /// `rolling_policy.interval`: a row that came with a commit so much later than the file's first begins the next one; 1 minute by
    /// default. `None` for no such bound.
    pub interval: Option<Duration>,
    /// `rolling_policy.inactivity_interval`, or `rolling_policy.inactivity`: a file that nothing is added to for so long is complete; 1 second by default.
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

pub(super) fn folder(options: &mut Reader<'_>) -> Result<FolderOptions, OptionError> {
    let path = super::path(options)?;
    let pattern = options.optional("source.regex_pattern").or(options.optional("source.regex-pattern"));
    Ok(FolderOptions { path, pattern })
}

/// `suffix` is the format's; `is_lines` says whether it is made of lines.
pub(super) fn directory(
    options: &mut Reader<'_>,
    suffix: &str,
    is_lines: bool,
) -> Result<DirectoryOptions, OptionError> {
    let path = super::path(options)?;
    let prefix = options.optional("filename.prefix").unwrap_or_default();
    if prefix.starts_with(['.', '_']) || prefix.contains('/') {
        let message = format!("option filename.prefix = '{prefix}': it must not have a '/', or begin with '.' or '_'");
        return Err(refused("filename.prefix", message));
    }
    let compressions = [("uncompressed", Compression::None), ("gzip", Compression::Gzip), ("zstd", Compression::Zstd)];
    let compression = if is_lines { options.word("json.compression", compressions)? } else { Compression::None };
    let suffix = options.optional("filename.suffix").unwrap_or_else(|| format!("{suffix}{}", compression.suffix()));
    if suffix.is_empty() || suffix.contains('/') || suffix.ends_with(".prepared") {
        let message = format!("option filename.suffix = '{suffix}': it must not be empty or have a '/'");
        return Err(refused("filename.suffix", message));
    }
    // Names say the order in which files were committed; no other way would make them appear once.
    options.one_of("filename.strategy", &[("serial", ())])?;
    let file_bytes = match options.optional("rolling_policy.file_size") {
        None => 16 << 20,
        Some(text) => {
            let bytes = bytes(&text).filter(|bytes| (1..=FILE_BYTES_MAX).contains(bytes));
            let message = || {
                format!("option rolling_policy.file_size = '{text}': bytes, or such as '16MB', up to {FILE_BYTES_MAX}")
            };
            bytes.ok_or_else(|| refused("rolling_policy.file_size", message()))?
        }
    };
    let interval = Some(options.interval("rolling_policy.interval")?.unwrap_or(Duration::from_secs(60)));
    let inactivity = options.interval("rolling_policy.inactivity_interval")?;
    let inactivity = options.interval("rolling_policy.inactivity")?.or(inactivity).unwrap_or(Duration::from_secs(1));
    let rolling = RollingPolicy { file_bytes, interval, inactivity };
    let partitioning = partitioning(options)?;
    Ok(DirectoryOptions { path, prefix, suffix, compression, rolling, partitioning })
}

fn partitioning(options: &mut Reader<'_>) -> Result<Partitioning, OptionError> {
    let time_pattern = options.optional("partitioning.time_pattern");
    let is_hidden = |name: &str| name.is_empty() || name.starts_with(['.', '_']);
    if let Some(pattern) = time_pattern.as_ref().filter(|pattern| pattern.split('/').any(is_hidden)) {
        let message = format!(
            "option partitioning.time_pattern = '{pattern}': names of folders, parted by '/', that do not begin with '.' or '_'"
        );
        return Err(refused("partitioning.time_pattern", message));
    }
    let fields = options.optional("partitioning.fields").unwrap_or_default();
    let fields = fields.split(',').map(str::trim).filter(|field| !field.is_empty()).map(str::to_owned).collect();
    // Rows of a commit are together, by folder, whatever is said of this.
    options.boolean("shuffle_by_partition.enabled")?;
    Ok(Partitioning { time_pattern, fields })
}

/// `1000`, `16MB`, `64KiB`.
fn bytes(text: &str) -> Option<usize> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit.trim().to_uppercase().as_str() {
        "" | "B" => 1,
        "KB" => 1000,
        "MB" => 1_000_000,
        "KIB" => 1 << 10,
        "MIB" => 1 << 20,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}
