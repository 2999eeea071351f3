//! What a data directory keeps and where: `keeping.json`, format 2. Without the file everything is kept for ever, history in the
//! directory's own `history/`, and checkpoints are copied nowhere. Format 1 has no `checkpoints`.

use crate::error::CliError;
use chalk_log::{Keep, Retention};
use chalk_store::objects::{Objects, open_objects};
use chalk_store::{LocalFiles, Storage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const FILE: &str = "keeping.json";
const FORMAT: u32 = 2;
/// In the place of a topic's name: those that are not named.
pub(crate) const OTHERS: &str = "*";

/// What is kept and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keeping {
    format: u32,
    /// Where history is.
    #[serde(default)]
    pub(crate) history: HistoryPlace,
    /// Where checkpoints are copied to: a directory, or behind a URL.
    #[serde(default)]
    pub(crate) checkpoints: Option<String>,
    /// By topic.
    #[serde(default)]
    pub(crate) retention: BTreeMap<String, Limits>,
}

/// Where history is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HistoryPlace {
    /// In the data directory.
    #[default]
    Here,
    /// Nowhere.
    Off,
    /// In a directory or behind a URL.
    At(String),
}

/// How long rows of a topic are kept; for ever without a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) log_age_seconds: Option<u64>,
    pub(crate) log_bytes: Option<u64>,
    pub(crate) history_age_seconds: Option<u64>,
}

impl Limits {
    fn keep(&self) -> Keep {
        let age = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        Keep {
            log_age: age(self.log_age_seconds),
            log_bytes: self.log_bytes,
            history_age: age(self.history_age_seconds),
        }
    }
}

impl Default for Keeping {
    fn default() -> Self {
        Self { format: FORMAT, history: HistoryPlace::Here, checkpoints: None, retention: BTreeMap::new() }
    }
}

impl Keeping {
    /// What is said in a data directory.
    pub(crate) fn read(data: &Path) -> Result<Self, CliError> {
        let path = data.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(CliError::other(format!("cannot read {}: {error}", path.display()))),
        };
        let wrong = |what: String| {
            CliError::other(format!(
                "{} {what}\n  hint: chalk retention and chalk history write it; without it everything is kept",
                path.display()
            ))
        };
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } =
            serde_json::from_str(&text).map_err(|error| wrong(format!("cannot be used: {error}")))?;
        if format > FORMAT {
            return Err(wrong(format!("has format {format}, this build reads {FORMAT}: use a newer chalk")));
        }
        serde_json::from_str(&text).map_err(|error| wrong(format!("cannot be used: {error}")))
    }

    pub(crate) fn write(&self, data: &Path) -> Result<(), CliError> {
        let failed = |error: &dyn std::error::Error| CliError::other(error.to_string());
        let json =
            serde_json::to_string_pretty(&Self { format: FORMAT, ..self.clone() }).map_err(|error| failed(&error))?;
        let files = LocalFiles::existing(data).map_err(|error| failed(&error))?;
        files.replace(FILE, format!("{json}\n").as_bytes()).map_err(|error| failed(&error))
    }

    /// Where history is, opened.
    pub(crate) fn objects(&self, data: &Path) -> Result<Option<Arc<dyn Objects>>, CliError> {
        let place = match &self.history {
            HistoryPlace::Off => return Ok(None),
            HistoryPlace::Here => data.join("history").display().to_string(),
            HistoryPlace::At(place) => place.clone(),
        };
        open(&place).map(Some)
    }

    /// Where checkpoints are copied to, opened.
    pub(crate) fn copies(&self) -> Result<Option<Arc<dyn Objects>>, CliError> {
        self.checkpoints.as_deref().map(open).transpose()
    }

    pub(crate) fn retention(&self) -> Retention {
        let others = self.retention.get(OTHERS).map(Limits::keep).unwrap_or_default();
        let named = self.retention.iter().filter(|(topic, _)| *topic != OTHERS);
        Retention { others, topics: named.map(|(topic, limits)| (topic.clone(), limits.keep())).collect() }
    }
}

fn open(place: &str) -> Result<Arc<dyn Objects>, CliError> {
    open_objects(place).map_err(|error| CliError::other(error.to_string()))
}

/// A place for objects as users say it, as it is written down: a server may run elsewhere.
pub(crate) fn place_named(text: &str) -> Result<String, CliError> {
    if text.contains("://") {
        return open(text).map(|_| text.to_owned());
    }
    let path = std::path::absolute(text).map_err(|error| CliError::other(error.to_string()))?;
    Ok(path.display().to_string())
}

/// `7d`: so many seconds.
pub(crate) fn parse_age(text: &str) -> Result<u64, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 7 * 86_400)];
    parse_with_unit(text, &units).ok_or_else(|| format!("'{text}' is no age: a number and s, m, h, d or w, such as 7d"))
}

/// `10GiB`: so many bytes.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("", 1)];
    parse_with_unit(text, &units)
        .ok_or_else(|| format!("'{text}' is no number of bytes: a number, and KiB, MiB, GiB or TiB, such as 10GiB"))
}

fn parse_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_bytes_are_read() {
        assert_eq!((parse_age("90s"), parse_age("7d"), parse_age("2w")), (Ok(90), Ok(604_800), Ok(1_209_600)));
        assert_eq!((parse_bytes("10GiB"), parse_bytes("512")), (Ok(10 << 30), Ok(512)));
        for text in ["", "7", "d", "7 d", "-1d", "1.5d", "99999999999999999999s", "18446744073709551615w"] {
            assert!(parse_age(text).is_err(), "{text}");
        }
        for text in ["", "GiB", "10GB", "10gib", "1.5GiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_said_comes_back_and_a_newer_format_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Keeping::read(folder.path()).expect("no file"), Keeping::default());
        let limits = Limits { log_age_seconds: Some(60), log_bytes: None, history_age_seconds: Some(7) };
        let keeping = Keeping {
            history: HistoryPlace::At("s3://school/history".to_owned()),
            checkpoints: Some("/mnt/checkpoints".to_owned()),
            retention: BTreeMap::from([("marks".to_owned(), limits)]),
            ..Keeping::default()
        };
        keeping.write(folder.path()).expect("a folder");
        assert_eq!(Keeping::read(folder.path()).expect("a file"), keeping);
        std::fs::write(folder.path().join(FILE), r#"{"format":1,"history":"off"}"#).expect("a folder");
        let earlier = Keeping::read(folder.path()).expect("a file of an earlier build");
        assert_eq!((&earlier.history, &earlier.checkpoints), (&HistoryPlace::Off, &None));
        earlier.write(folder.path()).expect("a folder");
        let written = std::fs::read_to_string(folder.path().join(FILE)).expect("a file");
        assert!(written.contains(r#""format": 2"#), "{written}");
        for (text, expected) in [
            (r#"{"format":3}"#, "use a newer chalk"),
            ("{", "cannot be used"),
            (r#"{"format":1,"x":1}"#, "unknown field"),
        ] {
            std::fs::write(folder.path().join(FILE), text).expect("a folder");
            let error = Keeping::read(folder.path()).expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
