//! What a checkpoint says beside its runs.

use super::CheckpointError;
use crate::clocks::{ClockTime, Clocks};
use crate::source::{SourceTable, SourceTime};
use chalk_event::hash_key;
use chalk_graph::Graph;
use chalk_store::Storage;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The newest checkpoint's.
pub(super) const MANIFEST: &str = "manifest";
/// Ends the name of a run.
const RUN: &str = ".run";
/// The format of manifest, keys and saved groups. Another one is of no use, and costs a start that reads the whole log.
const FORMAT: u16 = 3;

/// What a checkpoint says beside its runs: a line with the CRC32C of the rest, in hexadecimal digits, then JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u16,
    /// What the graph was.
    pub(crate) fingerprint: String,
    /// The epoch whose state this is, and its last commit.
    pub(crate) epoch: u64,
    pub(crate) upto: u64,
    /// How far event time has come.
    pub(crate) time: SavedTime,
    /// Runs, oldest first.
    pub(crate) runs: Vec<String>,
    /// The number of the next run.
    pub(crate) next_run: u64,
}

/// How far event time has come, by node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedTime {
    pub(super) sources: BTreeMap<usize, SourceTime>,
    /// Of those nodes that act by it.
    pub(super) clocks: BTreeMap<usize, ClockTime>,
}

impl SavedTime {
    pub(crate) fn of(sources: &[SourceTable], clocks: &Clocks) -> Self {
        Self { sources: sources.iter().map(|source| (source.node.0, source.time())).collect(), clocks: clocks.save() }
    }

    /// Gives new sources and clocks the times that these had.
    pub(crate) fn restore(&self, sources: &mut [SourceTable], clocks: &mut Clocks) {
        for source in sources {
            source.restore(self.sources.get(&source.node.0).copied().unwrap_or_default());
        }
        clocks.restore(&self.clocks);
    }
}

impl Manifest {
    pub(crate) fn new(fingerprint: String) -> Self {
        Self { format: FORMAT, fingerprint, ..Self::default() }
    }

    /// The manifest of a folder; `None` when it holds none of this format.
    pub(crate) fn read(storage: &dyn Storage) -> Result<Option<Self>, CheckpointError> {
        Self::read_from(storage, MANIFEST)
    }

    /// As [`Manifest::read`], of a given name.
    pub(super) fn read_from(storage: &dyn Storage, name: &str) -> Result<Option<Self>, CheckpointError> {
        let Some(bytes) = storage.read(name)? else { return Ok(None) };
        let manifest: Self = decode(&bytes).map_err(CheckpointError::Manifest)?;
        Ok(manifest.is_of_this_format().then_some(manifest))
    }

    /// Whether keys and saved groups are as this build writes them.
    pub(super) fn is_of_this_format(&self) -> bool {
        self.format == FORMAT
    }

    /// Whether it is of the beginning of the log: a start begins there although there may be copies of later checkpoints.
    pub(crate) fn is_beginning(&self) -> bool {
        self.upto == 0
    }

    /// The name of the next run.
    pub(crate) fn next_name(&mut self) -> String {
        let number = self.next_run;
        self.next_run += 1;
        format!("{number:010}{RUN}")
    }

    /// The number of a run's name.
    pub(super) fn run_number(name: &str) -> Option<u64> {
        name.strip_suffix(RUN)?.parse().ok()
    }

    /// Makes this the folder's manifest.
    pub(crate) fn write(&self, storage: &dyn Storage) -> Result<(), CheckpointError> {
        self.write_to(storage, MANIFEST)
    }

    /// As [`Manifest::write`], of the beginning of the log; on a full disk the folder is left without a manifest.
    pub(crate) fn begin_anew(&self, storage: &dyn Storage) -> Result<(), CheckpointError> {
        match self.write(storage) {
            Err(error) if error.is_full() => {
                storage.remove(MANIFEST)?;
                Ok(storage.sync_directory()?)
            }
            written => written,
        }
    }

    /// Writes it under a given name.
    pub(super) fn write_to(&self, storage: &dyn Storage, name: &str) -> Result<(), CheckpointError> {
        Ok(storage.replace(name, encode(self)?.as_bytes())?)
    }
}

/// A value as JSON, after a line with its CRC32C.
pub(super) fn encode(value: &impl Serialize) -> Result<String, CheckpointError> {
    let json = serde_json::to_string(value).map_err(|error| CheckpointError::Manifest(error.to_string()))?;
    Ok(format!("{}\n{json}", checksum(&json)))
}

/// What [`encode`] was given; or what is wrong with the bytes.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not text")?;
    let (sum, json) = text.split_once('\n').ok_or("is cut off")?;
    if sum != checksum(json) {
        return Err("is damaged: its checksum does not match".to_owned());
    }
    serde_json::from_str(json).map_err(|error| error.to_string())
}

fn checksum(json: &str) -> String {
    format!("{:08x}", crc32c::crc32c(json.as_bytes()))
}

/// What must be the same for state to be of use: the nodes with their schemas, and what else the planner says that the
/// results depend on.
pub(crate) fn fingerprint(graph: &Graph, identity: &str) -> String {
    let mut text = format!("{identity}\n{graph}\n");
    for field in graph.nodes.iter().flat_map(|node| node.schema.fields()) {
        // Not the whole field: its metadata has no order.
        text.push_str(&format!("{} {} {}\n", field.name(), field.data_type(), field.is_nullable()));
    }
    format!("{:016x}", hash_key(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chalk_store::memory::MemoryFiles;

    #[test]
    fn it_comes_back_and_every_flipped_bit_is_noticed() {
        let files = MemoryFiles::new();
        let mut manifest = Manifest::new("0011223344556677".to_owned());
        let time: ClockTime = serde_json::from_str(r#"{"watermark":-1,"heard":[5,7]}"#).expect("JSON");
        manifest.time.clocks = BTreeMap::from([(0, time), (109, ClockTime::default())]);
        manifest.runs = vec![manifest.next_name(), manifest.next_name()];
        manifest.write(&files).expect("memory");
        assert_eq!(Manifest::read(&files).expect("memory"), Some(manifest));
        let bits = files.read(MANIFEST).expect("memory").expect("it was written").len() * 8;
        for bit in 0..bits {
            files.flip(MANIFEST, bit);
            assert!(Manifest::read(&files).is_err(), "bit {bit}");
            files.flip(MANIFEST, bit);
        }
    }
}
