//! Copies of checkpoints on an object store, for a start whose folder of checkpoints is lost or damaged.
//!
//! ```text
//! limits                        a part ≤ 32 MiB
//!
//! {last commit:020}.manifest    what a copy is, format 1: a line with the CRC32C of the rest, in hexadecimal digits, then JSON
//!                               ([`CopyManifest`])
//! {hash:032x}.part              bytes of a run, under their XXH3-128 hash
//! ```
//!
//! The folder is what counts, and the store follows it:
//!
//! ```text
//!           put parts that it does not have ──▶ put the manifest ──▶ delete manifests ──▶ delete parts
//!                                                                    that are not worth    that no manifest
//!                                                                    keeping (ladder.rs)   names
//! ```
//!
//! Whatever happens in between, each manifest's parts are all there, and everything read is under a hash. A part is never put in the
//! place of another. A manifest has the time of its last commit: a log whose commit of that number was made at another time is another
//! log, and its process neither uses the copies nor writes where they are.

mod copier;
mod fetch;
mod manifest;
#[cfg(test)]
mod tests;

pub(crate) use copier::Copier;
pub(crate) use fetch::Copies;
pub(super) use manifest::CopyManifest;

use super::CheckpointError;
use chalk_event::{CommitSeq, IngestTime};
use chalk_log::EventLog;
use xxhash_rust::xxh3::xxh3_128;

/// A run is put in parts of so many bytes.
const PART_BYTES: usize = 32 << 20;

fn hash_of(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

/// The key of a part.
fn part_key(hash: &str) -> String {
    format!("{hash}.part")
}

/// The hash of a part's key.
fn part_of(key: &str) -> Option<&str> {
    let hash = key.strip_suffix(".part")?;
    (hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(hash)
}

/// When a commit was made; `None` when the log does not have it, or not any more.
fn time_of(log: &dyn EventLog, commit: CommitSeq) -> Result<Option<IngestTime>, CheckpointError> {
    let Some(before) = commit.0.checked_sub(1) else { return Ok(None) };
    let topics: Vec<_> = log.topics().iter().map(|topic| topic.id).collect();
    match log.read(CommitSeq(before), &topics, 1) {
        Ok((commits, _)) => Ok(commits.first().filter(|found| found.seq == commit).map(|found| found.time)),
        Err(chalk_log::LogError::NotKept { .. }) => Ok(None),
        Err(error) => Err(CheckpointError::Copies(format!("the log cannot be read: {error}"))),
    }
}
