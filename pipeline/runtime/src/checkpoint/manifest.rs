//! What a checkpoint says beside its runs.

use super::CheckpointError;
use chalk_event::hash_key;
use chalk_graph::Graph;
use chalk_store::{Storage, StorageError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The newest checkpoint's.
pub(super) const MANIFEST: &str = "manifest";
/// The format of manifest, keys and saved groups. Another one is of no use, and costs a start that reads the whole log.
const FORMAT: u16 = 2;

/// What a checkpoint says beside its runs: a line with the CRC32C of the rest, in hexadecimal digits, then JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u16,
    /// What the graph was.
    pub(crate) fingerprint: String,
    /// The epoch whose state this is, and its last commit.
    pub(crate) epoch: u64,
    pub(crate) upto: u64,
    /// By source node, in nanoseconds.
    pub(crate) watermarks: BTreeMap<usize, i64>,
    /// Runs, oldest first.
    pub(crate) runs: Vec<String>,
    /// The number of the next run.
    pub(crate) next_run: u64,
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
        let damaged = |what: &str| CheckpointError::Manifest(what.to_owned());
        let text = String::from_utf8(bytes).map_err(|_| damaged("is not text"))?;
        let (sum, json) = text.split_once('\n').ok_or_else(|| damaged("is cut off"))?;
        if sum != checksum(json) {
            return Err(damaged("is damaged: its checksum does not match"));
        }
        let manifest: Self =
            serde_json::from_str(json).map_err(|error| CheckpointError::Manifest(error.to_string()))?;
        Ok((manifest.format == FORMAT).then_some(manifest))
    }

    /// Makes this the folder's manifest.
    pub(crate) fn write(&self, storage: &dyn Storage) -> Result<(), CheckpointError> {
        self.write_to(storage, MANIFEST)
    }

    /// Writes it under a given name.
    pub(super) fn write_to(&self, storage: &dyn Storage, name: &str) -> Result<(), CheckpointError> {
        let json = serde_json::to_string(self).map_err(|error| CheckpointError::Manifest(error.to_string()))?;
        Ok(storage.replace(name, format!("{}\n{json}", checksum(&json)).as_bytes())?)
    }

    /// Leaves a folder without manifest.
    pub(crate) fn remove(storage: &dyn Storage) -> Result<(), StorageError> {
        storage.remove(MANIFEST)?;
        storage.sync_directory()
    }
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
