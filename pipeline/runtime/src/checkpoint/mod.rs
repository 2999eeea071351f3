//! Checkpoints: a pipeline's state as of one epoch, so that a start does not begin at the beginning of the log.
//!
//! A checkpoint is a set of sorted runs and a manifest that names them. Each one writes only what has changed since the one
//! before. The log stays the truth: a checkpoint that is missing, damaged, or of another graph only costs time.
//!
//! ```text
//! engine thread             committer thread                   checkpoint thread
//! epoch 7 ────────────────▶ derived events, journal, views
//! changed input ──────────▶ + changed views,   ──────────────▶ (waits for the groups)
//! epoch 8 ────────────────▶ …  sinks have all
//! some groups, as of 7 ──────────────────────────────────────▶
//! epoch 9 ────────────────▶ …
//! the last groups, as of 7 ──────────────────────────────────▶ a run (synced), the manifest (replaced),
//! epoch 10 ───────────────▶ …                                  then runs are merged where that is due
//! ```
//!
//! Earlier checkpoints are thinned, not thrown away: a replay begins with the last one before its end. They share runs with each
//! other and with the newest one (`kept.rs`, `ladder.rs`).
//!
//! They may be copied to an object store, from which a start takes them when the folder is lost or damaged (`copies/`).
//!
//! # Keys of a run
//!
//! | bytes | are |
//! |---|---|
//! | 2 | the node's number in the graph, big-endian |
//! | 1 | the input port; 0 for groups and views |
//! | the rest | the row encoding of the group's key, with its accumulators as value; or of a whole row, with its weight |
//!
//! Wide rows that the log has as they are stand in no run: `reread.rs`.
//!
//! A view's rows stand under the number of its sink. Row encodings sort and decode as long as the schema is the same, which
//! the manifest's fingerprint sees to.

mod choice;
mod copies;
mod kept;
mod ladder;
mod manifest;
mod pace;
mod reread;
mod restore;
mod save;

pub(crate) use choice::choose;
pub(crate) use copies::Copier;
use copies::{Copies, CopyManifest};
use kept::Kept;
pub(crate) use manifest::{Manifest, SavedTime, fingerprint};
pub(crate) use pace::Paced;
pub use reread::topics_read_again;
pub(crate) use reread::{is_reread, reread};
pub(crate) use restore::restore;
pub(crate) use save::{Saver, Saving, ViewChange};

use crate::cold::Held;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use chalk_event::{ChangeBatch, CommitSeq, Epoch};
use chalk_graph::NodeId;
use chalk_operators::GroupState;
use chalk_store::Storage;
use chalk_store::objects::Objects;
use chalk_store::runs::{Run, RunError, RunInfo};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Where checkpoints are kept, and when they are made.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    /// The folder, this pipeline's alone.
    pub storage: Arc<dyn Storage>,
    /// Under load one is begun so long after the one before; when nothing is to be done, sooner.
    pub interval: Duration,
    /// Whether new ones are made; otherwise the last one is only read.
    pub write: bool,
    /// Where they are copied to, this log's alone.
    pub copies: Option<Arc<dyn Objects>>,
}

/// A copy of a checkpoint on an object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyReport {
    /// The epoch whose state it has.
    pub epoch: Epoch,
    /// The last commit of that.
    pub upto: CommitSeq,
    /// The fingerprint of the graph that it is of.
    pub graph: String,
    /// How many runs it has.
    pub runs: u64,
    /// What they take.
    pub bytes: u64,
}

/// What a checkpoint is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointReport {
    /// The epoch whose state it has.
    pub epoch: Epoch,
    /// The last commit of that.
    pub upto: CommitSeq,
    /// The fingerprint of the graph that it is of.
    pub graph: String,
    /// Its runs, oldest first.
    pub runs: Vec<RunInfo>,
}

impl Checkpoints {
    /// What the checkpoints in a folder are made of, newest first: the one that a start begins with, and earlier ones.
    ///
    /// # Errors
    /// Why one cannot be read.
    pub fn list(storage: &dyn Storage) -> Result<Vec<CheckpointReport>, String> {
        let info = |name: &String| Run::open(storage, name).map(|run| run.info().clone());
        let report = |manifest: Manifest| {
            let runs = manifest.runs.iter().map(info).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
            let (epoch, upto) = (Epoch(manifest.epoch), CommitSeq(manifest.upto));
            Ok(CheckpointReport { epoch, upto, graph: manifest.fingerprint, runs })
        };
        all(storage).map_err(|error| error.to_string())?.into_iter().map(report).collect()
    }

    /// The copies on an object store, newest first.
    ///
    /// # Errors
    /// Why one cannot be read.
    pub fn list_copies(objects: &Arc<dyn Objects>) -> Result<Vec<CopyReport>, String> {
        let copies = Copies::until(objects, CommitSeq(u64::MAX)).and_then(Copies::list);
        let report = |copy: CopyManifest| CopyReport {
            epoch: Epoch(copy.checkpoint.epoch),
            upto: CommitSeq(copy.checkpoint.upto),
            runs: copy.checkpoint.runs.len() as u64,
            bytes: copy.bytes(),
            graph: copy.checkpoint.fingerprint,
        };
        Ok(copies.map_err(|error| error.to_string())?.into_iter().map(report).collect())
    }

    /// The epoch and last commit of the last checkpoint in a folder, if there is one.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn last(storage: &dyn Storage) -> Result<Option<(Epoch, CommitSeq)>, String> {
        let manifest = Manifest::read(storage).map_err(|error| error.to_string())?;
        Ok(manifest
            .filter(|manifest| !manifest.is_beginning())
            .map(|manifest| (Epoch(manifest.epoch), CommitSeq(manifest.upto))))
    }
}

/// The manifests in a folder, newest first.
fn all(storage: &dyn Storage) -> Result<Vec<Manifest>, CheckpointError> {
    let Some(newest) = Manifest::read(storage)?.filter(|manifest| !manifest.is_beginning()) else {
        return Ok(Vec::new());
    };
    let kept = Kept::read(storage, &newest)?;
    Ok(std::iter::once(newest).chain(kept.manifests().rev().cloned()).collect())
}

/// The checkpoints of a folder that are of a graph and know nothing after `until`, newest first.
pub(crate) fn usable(
    storage: &dyn Storage,
    fingerprint: &str,
    until: CommitSeq,
) -> Result<Vec<Manifest>, CheckpointError> {
    let mut found = all(storage)?;
    found.retain(|manifest| manifest.fingerprint == fingerprint && manifest.upto <= until.0);
    Ok(found)
}

/// Changes that came in since the checkpoint before, by node and input port.
pub(crate) type Inputs = BTreeMap<(NodeId, u8), Vec<ChangeBatch>>;

/// What the engine gives to a checkpoint.
#[derive(Debug)]
pub(crate) struct EngineState {
    pub(crate) epoch: Epoch,
    pub(crate) upto: CommitSeq,
    pub(crate) time: SavedTime,
    pub(crate) inputs: Inputs,
    /// Groups that have changed since the checkpoint before, as they come.
    pub(crate) groups: Receiver<SavedGroups>,
    /// Such groups that have left memory, by the keys of a checkpoint, oldest first: those of `groups` are newer.
    pub(crate) left: Vec<Run>,
    /// Counts `groups`, when there is a limit to state.
    pub(crate) held: Option<Held>,
}

/// Groups on their way to a checkpoint.
#[derive(Debug)]
pub(crate) enum SavedGroups {
    /// Some of a node's.
    Some(NodeId, Vec<GroupState>),
    /// There are no more.
    Complete,
}

/// A checkpoint could not be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Storage(#[from] chalk_store::StorageError),
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    #[error(transparent)]
    Operator(#[from] chalk_operators::OperatorError),
    #[error(transparent)]
    View(#[from] chalk_view::ViewError),
    #[error("the checkpoint thread panicked: its message is on the error output")]
    Panic,
    #[error("the engine ended before it had given its state")]
    Incomplete,
    #[error("the log cannot be read again: {0}")]
    Reread(String),
    #[error("the manifest {0}")]
    Manifest(String),
    #[error("a sink has nothing of what it had: it gets all rows again")]
    SinkBeginsAnew,
    #[error("{0}")]
    Copies(String),
    #[error("the copies at {place} have format {found}, this build reads {known}: use a newer chalk")]
    NewerCopies { place: String, found: u16, known: u16 },
    #[error("a run names state that the graph does not have: {0}")]
    Unknown(String),
}

impl CheckpointError {
    fn is_full(&self) -> bool {
        match self {
            Self::Run(RunError::Storage(error)) | Self::Storage(error) => error.is_full(),
            _ => false,
        }
    }
}

/// What the keys of a node's state begin with.
pub(crate) fn prefix(node: NodeId, port: u8) -> [u8; 3] {
    let [high, low] = u16::try_from(node.0).unwrap_or(u16::MAX).to_be_bytes();
    [high, low, port]
}

/// Encodes whole rows of a schema; without columns nothing is ever kept.
fn row_converter(schema: &Schema) -> Result<RowConverter, ArrowError> {
    RowConverter::new(schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect())
}

/// The schema of what comes in at a node's port.
fn input_schema(graph: &chalk_graph::Graph, node: NodeId, port: u8) -> Option<SchemaRef> {
    let input = graph.nodes.get(node.0)?.inputs.get(usize::from(port))?;
    Some(Arc::clone(&graph.node(*input).schema))
}
