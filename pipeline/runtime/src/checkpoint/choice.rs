//! Which checkpoint a start begins with.
//!
//! | the folder's is | a start begins with |
//! |---|---|
//! | whole, and of this graph and log | it |
//! | not there, or damaged | the newest copy that is whole and of this graph and log; without one, the beginning of the log |
//! | of another graph, or ahead of the log | the beginning of the log |
//! | of the beginning of the log, or a sink outside the log has lost its rows | the beginning of the log |
//!
//! A start at the beginning leaves a checkpoint of the beginning in the folder. Until there is a later one, no start goes on from a copy,
//! which could be ahead of a sink that gets all rows again.

use super::copies::Copies;
use super::{CheckpointError, Checkpoints, Manifest};
use chalk_event::{CommitSeq, Epoch};
use chalk_log::EventLog;

/// What a start begins with.
pub(crate) struct Choice<T> {
    /// A checkpoint, and what was made of it; `None` for the beginning of the log.
    pub(crate) found: Option<(Manifest, T)>,
    /// Whether it was a copy.
    pub(crate) is_copy: bool,
    /// Why the one that was expected is of no use.
    pub(crate) discarded: Option<String>,
}

impl<T> Choice<T> {
    /// The epoch and last commit of the checkpoint.
    pub(crate) fn place(&self) -> Option<(Epoch, CommitSeq)> {
        self.found.as_ref().map(|(manifest, _)| (Epoch(manifest.epoch), CommitSeq(manifest.upto)))
    }

    fn beginning(discarded: Option<String>) -> Self {
        Self { found: None, is_copy: false, discarded }
    }
}

/// Chooses among the checkpoints of a folder and their copies the one that `restore` can make something of.
pub(crate) fn choose<T>(
    checkpoints: &Checkpoints,
    fingerprint: &str,
    log: &dyn EventLog,
    restore: &dyn Fn(&Manifest) -> Result<T, CheckpointError>,
) -> Choice<T> {
    let durable = *log.durable().borrow();
    let lost = match Manifest::read(&*checkpoints.storage) {
        Ok(None) => None,
        Ok(Some(manifest)) if manifest.is_beginning() => return Choice::beginning(None),
        Ok(Some(manifest)) if manifest.fingerprint != fingerprint => {
            return Choice::beginning(Some("it was made by another version of the pipeline".to_owned()));
        }
        Ok(Some(manifest)) if CommitSeq(manifest.upto) > durable => {
            let why = format!("it knows commit {}, but the log ends with {durable}", manifest.upto);
            return Choice::beginning(Some(why));
        }
        Ok(Some(manifest)) => match restore(&manifest) {
            Ok(restored) => return Choice { found: Some((manifest, restored)), is_copy: false, discarded: None },
            Err(error @ CheckpointError::SinkBeginsAnew) => return Choice::beginning(Some(error.to_string())),
            Err(error) => Some(error.to_string()),
        },
        Err(error) => Some(error.to_string()),
    };
    let mut whys: Vec<String> = lost.into_iter().collect();
    let found = copied(checkpoints, fingerprint, log, restore, &mut whys);
    Choice { is_copy: found.is_some(), found, discarded: (!whys.is_empty()).then(|| whys.join("; ")) }
}

/// The newest copy that is of use; adds to `whys` why newer ones are not.
fn copied<T>(
    checkpoints: &Checkpoints,
    fingerprint: &str,
    log: &dyn EventLog,
    restore: &dyn Fn(&Manifest) -> Result<T, CheckpointError>,
    whys: &mut Vec<String>,
) -> Option<(Manifest, T)> {
    let objects = checkpoints.copies.as_ref()?;
    let durable = *log.durable().borrow();
    let mut copies = Copies::until(objects, durable).map_err(|error| whys.push(error.to_string())).ok()?;
    loop {
        let fetched = copies.fetch_next(&*checkpoints.storage, fingerprint, log);
        let restored = fetched.and_then(|manifest| {
            manifest.map(|manifest| restore(&manifest).map(|restored| (manifest, restored))).transpose()
        });
        match restored {
            Ok(found) => return found,
            Err(error) => {
                whys.push(error.to_string());
                if matches!(error, CheckpointError::SinkBeginsAnew) {
                    return None;
                }
            }
        }
    }
}
