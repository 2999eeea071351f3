//! The files of one commit that are not listed yet, and what the journal keeps of them.
//!
//! Of a sink without folders a commit has one file, whose entry is the journal's. In folders it can have any number, for which the journal
//! has no room: their entries are in `_prepared`, format 1, which is replaced before the journal's record is written. That is lines of JSON:
//! `{"format":1}`, then an entry for each file, as in the manifest, in the order of their numbers. The journal has its checksum.

use super::manifest::{Entry, checksum};
use crate::ConnectError;
use chalk_store::Storage;
use serde::{Deserialize, Serialize};

/// The list of a commit's files.
pub(super) const LIST: &str = "_prepared";
const FORMAT: u32 = 1;

/// What the journal keeps. A build that has no folders does not understand the second.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum State {
    One {
        /// How many files are committed.
        files: u64,
        /// The last of them.
        last: Option<Entry>,
    },
    InFolders {
        folders: Listed,
    },
}

impl State {
    pub(super) fn encode(&self) -> Result<String, ConnectError> {
        serde_json::to_string(self).map_err(|error| ConnectError::State(error.to_string()))
    }
}

/// What the journal keeps of a commit whose files are listed beside.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Listed {
    /// How many files are committed.
    files: u64,
    /// How many of them were so with the last commit.
    with_last: u64,
    /// CRC32C of their list.
    list_crc32c: String,
    /// CRC32C of the last one's line in it.
    last_crc32c: String,
}

/// The last commit, as the journal knows it.
#[derive(Debug)]
pub(super) enum Committed {
    One(Entry),
    Listed(Listed),
}

impl Committed {
    /// How many files it has.
    pub(super) fn files(&self) -> u64 {
        match self {
            Self::One(_) => 1,
            Self::Listed(listed) => listed.with_last,
        }
    }

    /// Whether this is its last file.
    pub(super) fn ends_with(&self, entry: &Entry) -> Result<bool, ConnectError> {
        Ok(match self {
            Self::One(last) => last == entry,
            Self::Listed(listed) => listed.last_crc32c == checksum(entry.line()?.as_bytes()),
        })
    }

    /// Its files; `None` when their list is not there, or not theirs.
    ///
    /// # Errors
    /// When the list is of a newer format.
    pub(super) fn entries(&self, storage: &dyn Storage) -> Result<Option<Vec<Entry>>, ConnectError> {
        match self {
            Self::One(entry) => Ok(Some(vec![entry.clone()])),
            Self::Listed(listed) => listed.read(storage),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
}

impl Listed {
    /// Writes the list of files that end the first `files`.
    pub(super) fn write(entries: &[Entry], files: u64, storage: &dyn Storage) -> Result<Self, ConnectError> {
        let head =
            serde_json::to_string(&Head { format: FORMAT }).map_err(|error| ConnectError::State(error.to_string()))?;
        let lines = entries.iter().map(Entry::line).collect::<Result<Vec<_>, _>>()?;
        let list = format!("{head}\n{}", lines.concat());
        storage.replace(LIST, list.as_bytes())?;
        let last = lines.last().map(String::as_bytes).unwrap_or_default();
        Ok(Self {
            files,
            with_last: entries.len() as u64,
            list_crc32c: checksum(list.as_bytes()),
            last_crc32c: checksum(last),
        })
    }

    pub(super) fn total(&self) -> u64 {
        self.files
    }

    fn read(&self, storage: &dyn Storage) -> Result<Option<Vec<Entry>>, ConnectError> {
        let Some(list) = storage.read(LIST)? else { return Ok(None) };
        let Some((head, lines)) = str::from_utf8(&list).ok().and_then(|text| text.split_once('\n')) else {
            return Ok(None);
        };
        let Ok(Head { format }) = serde_json::from_str(head) else { return Ok(None) };
        if format > FORMAT {
            return Err(ConnectError::NewerFormat { file: LIST.to_owned(), found: format, known: FORMAT });
        }
        if checksum(&list) != self.list_crc32c {
            return Ok(None);
        }
        let entries = lines.lines().map(serde_json::from_str).collect::<Result<Vec<Entry>, _>>();
        Ok(entries.ok().filter(|entries| entries.len() as u64 == self.with_last))
    }
}
