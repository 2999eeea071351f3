//! What a copy of a checkpoint is.

use super::super::CheckpointError;
use super::super::manifest::{Manifest, decode, encode};
use chalk_store::objects::Objects;
use serde::{Deserialize, Serialize};

const SUFFIX: &str = ".manifest";
const FORMAT: u16 = 1;

/// Bytes of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Their XXH3-128, in hexadecimal digits.
    pub(super) hash: String,
    pub(super) bytes: u64,
}

/// What a copy of a checkpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::checkpoint) struct CopyManifest {
    format: u16,
    /// When the checkpoint's last commit was made, in nanoseconds UTC.
    pub(super) commit_time: i64,
    /// As it stood in the folder.
    pub(in crate::checkpoint) checkpoint: Manifest,
    /// The parts of each of its runs.
    pub(super) runs: Vec<Vec<Part>>,
}

impl CopyManifest {
    pub(super) fn new(checkpoint: Manifest, commit_time: i64, runs: Vec<Vec<Part>>) -> Self {
        Self { format: FORMAT, commit_time, checkpoint, runs }
    }

    /// The key under which the copy of a checkpoint with this last commit is put.
    pub(super) fn key(upto: u64) -> String {
        format!("{upto:020}{SUFFIX}")
    }

    /// The last commit of the copy with this key.
    pub(super) fn upto_of(key: &str) -> Option<u64> {
        let digits = key.strip_suffix(SUFFIX)?;
        (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
    }

    /// The copy with this last commit; `None` when there is none, or it is of a checkpoint that this build makes nothing of.
    pub(super) fn get(objects: &dyn Objects, upto: u64) -> Result<Option<Self>, CheckpointError> {
        #[derive(Deserialize)]
        struct Format {
            format: u16,
        }
        let Some(bytes) = objects.get(&Self::key(upto))? else { return Ok(None) };
        let wrong =
            |what: String| CheckpointError::Copies(format!("{} at {} {what}", Self::key(upto), objects.location()));
        let Format { format } = decode(&bytes).map_err(wrong)?;
        if format > FORMAT {
            return Err(CheckpointError::NewerCopies { place: objects.location(), found: format, known: FORMAT });
        }
        let Ok(copy) = decode::<Self>(&bytes) else { return Ok(None) };
        if copy.checkpoint.upto != upto || copy.checkpoint.runs.len() != copy.runs.len() {
            return Err(wrong("is not what belongs there".to_owned()));
        }
        Ok(copy.checkpoint.is_of_this_format().then_some(copy))
    }

    pub(super) fn put(&self, objects: &dyn Objects) -> Result<(), CheckpointError> {
        Ok(objects.put(&Self::key(self.checkpoint.upto), encode(self)?.into())?)
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.runs.iter().flatten()
    }

    /// What its runs take.
    pub(in crate::checkpoint) fn bytes(&self) -> u64 {
        self.parts().map(|part| part.bytes).sum()
    }
}
