//! `udfs.toml`: how functions run, by name. What is not said there is as [`Settings::default`].
//!
//! ```toml
//! [read_sheet]
//! isolation = 'process'      # or 'in_process': as fast as it gets, and whatever it does, the engine does
//! time_limit = '10s'         # for a batch of rows
//! memory_limit_mib = 1024
//! network = false
//! workers = 2                # as many as there are cores
//! retries = 0                # of an async function: how often a row is tried again that took too long, or had an error that may pass
//! back_off = '1s'            # after so long at first, then twice that, and so on
//! transient = ['unavailable'] # a panic whose message has one of these texts may pass
//! null_is_transient = false  # whether NULL stands for an error that may pass
//! ```

use crate::declaration::duration;
use std::collections::BTreeMap;
use std::time::Duration;
use toml_edit::{Document, Item};

/// Where a loaded function runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// In a worker process.
    Process,
    /// In the engine itself: trusted.
    InProcess,
}

/// How a loaded function runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where.
    pub isolation: Isolation,
    /// How long a worker may take for a batch.
    pub time_limit: Duration,
    /// How many bytes a worker may ask for beyond those that it starts with.
    pub memory_limit_bytes: u64,
    /// Whether a worker may open sockets.
    pub network: bool,
    /// How many workers run at a time.
    pub workers: usize,
    /// How often a call of an async function is made again that took too long, or had an error that may pass.
    pub retries: u32,
    /// How long after, the first time; then twice that, and so on.
    pub back_off: Duration,
    /// A panic of an async function whose message has one of these texts may pass.
    pub transient: Vec<String>,
    /// Whether a NULL that an async function gives stands for an error that may pass.
    pub null_is_transient: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            isolation: Isolation::Process,
            time_limit: Duration::from_secs(10),
            memory_limit_bytes: 1 << 30,
            network: false,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            retries: 0,
            back_off: Duration::from_secs(1),
            transient: Vec::new(),
            null_is_transient: false,
        }
    }
}

const KNOWN: &str =
    "isolation, time_limit, memory_limit_mib, network, workers, retries, back_off, transient and null_is_transient";
/// A mistake: no machine has so many cores.
const WORKERS_MAX: usize = 1024;

/// Reads the file's text; an error says what is wrong with it.
pub(crate) fn read(text: &str) -> Result<BTreeMap<String, Settings>, String> {
    let document = Document::parse(text).map_err(|error| error.message().to_owned())?;
    let mut all = BTreeMap::new();
    for (name, item) in document.iter() {
        let options = item.as_table().ok_or_else(|| format!("'{name}' is no table: write [{name}]"))?;
        let mut settings = Settings::default();
        for (key, item) in options {
            set(&mut settings, key, item).map_err(|message| format!("[{name}] {key}: {message}"))?;
        }
        all.insert(name.to_owned(), settings);
    }
    Ok(all)
}

fn set(settings: &mut Settings, key: &str, item: &Item) -> Result<(), String> {
    match key {
        "isolation" => {
            settings.isolation = match item.as_str() {
                Some("process") => Isolation::Process,
                Some("in_process") => Isolation::InProcess,
                _ => return Err("it is 'process' or 'in_process'".to_owned()),
            };
        }
        "time_limit" => {
            let limit = item.as_str().and_then(duration).filter(|limit| !limit.is_zero());
            settings.time_limit = limit.ok_or("it is a time such as '500ms', '10s' or '1m'")?;
        }
        "memory_limit_mib" => {
            let mib =
                item.as_integer().and_then(|mib| u64::try_from(mib).ok()).filter(|mib| (1..1 << 30).contains(mib));
            settings.memory_limit_bytes = mib.ok_or("it is a number of MiB, from 1 on")? << 20;
        }
        "network" => settings.network = item.as_bool().ok_or("it is true or false")?,
        "workers" => {
            let workers = item.as_integer().and_then(|workers| usize::try_from(workers).ok());
            let workers = workers.filter(|workers| (1..=WORKERS_MAX).contains(workers));
            settings.workers = workers.ok_or("it is a number of processes, from 1 on")?;
        }
        "retries" => {
            let retries = item.as_integer().and_then(|retries| u32::try_from(retries).ok());
            settings.retries = retries.ok_or("it is a number, from 0 on")?;
        }
        "back_off" => {
            let back_off = item.as_str().and_then(duration);
            settings.back_off = back_off.ok_or("it is a time such as '500ms', '10s' or '1m'")?;
        }
        "transient" => {
            let texts = item.as_array().map(|texts| texts.iter().map(|text| text.as_str().map(str::to_owned)));
            let texts = texts.and_then(Iterator::collect::<Option<Vec<String>>>);
            let texts = texts.filter(|texts| texts.iter().all(|text| !text.is_empty()));
            settings.transient = texts.ok_or("it is a list of texts such as ['unavailable', 'timed out']")?;
        }
        "null_is_transient" => settings.null_is_transient = item.as_bool().ok_or("it is true or false")?,
        _ => return Err(format!("there is no such option; there are {KNOWN}")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let text = "[f]\nisolation = 'in_process'\n[g]\ntime_limit = '20ms'\nmemory_limit_mib = 64\nnetwork = true\nworkers = 3\nretries = 4\n\
             back_off = '5ms'\ntransient = ['a', 'b']\nnull_is_transient = true\n";
        let all = read(text).expect("settings");
        assert_eq!(all["f"], Settings { isolation: Isolation::InProcess, ..Settings::default() });
        let limit = Duration::from_millis(20);
        let wanted = Settings {
            time_limit: limit,
            memory_limit_bytes: 64 << 20,
            network: true,
            workers: 3,
            retries: 4,
            back_off: Duration::from_millis(5),
            transient: vec!["a".to_owned(), "b".to_owned()],
            null_is_transient: true,
            ..Settings::default()
        };
        assert_eq!(all["g"], wanted);
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("f = 1", "'f' is no table: write [f]"),
            ("[f]\nisolation = 'none'", "[f] isolation: it is 'process' or 'in_process'"),
            ("[f]\ntime_limit = '0s'", "[f] time_limit: it is a time such as '500ms', '10s' or '1m'"),
            ("[f]\nmemory_limit_mib = 0", "[f] memory_limit_mib: it is a number of MiB, from 1 on"),
            ("[f]\nnetwork = 'no'", "[f] network: it is true or false"),
            ("[f]\nworkers = 0", "[f] workers: it is a number of processes, from 1 on"),
            ("[f]\nretries = -1", "[f] retries: it is a number, from 0 on"),
            ("[f]\nback_off = 5", "[f] back_off: it is a time such as '500ms', '10s' or '1m'"),
            ("[f]\ntransient = ['']", "[f] transient: it is a list of texts such as ['unavailable', 'timed out']"),
            ("[f]\nnull_is_transient = 1", "[f] null_is_transient: it is true or false"),
            (
                "[f]\nisolated = true",
                "[f] isolated: there is no such option; there are isolation, time_limit, memory_limit_mib, network, workers, retries, back_off, transient and null_is_transient",
            ),
        ];
        for (text, error) in cases {
            assert_eq!(read(text), Err(error.to_owned()));
        }
        assert!(read("[f").is_err());
    }
}
