//! Copying checkpoints to the store, on a thread of its own.

use super::super::manifest::Manifest;
use super::super::{CheckpointError, ladder};
use super::manifest::{CopyManifest, Part};
use super::{PART_BYTES, hash_of, part_key, part_of, time_of};
use crate::stats::Stats;
use chalk_event::{CommitSeq, Epoch};
use chalk_log::EventLog;
use chalk_store::fail::{Point, pass};
use chalk_store::objects::Objects;
use chalk_store::{ReadFile, Storage};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

/// How often one looks whether there is a new checkpoint.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long one waits after a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Parts that only earlier copies name take so many times the newest one's bytes at most,
const BYTES_TIMES_MAX: u64 = 2;
/// or this, if it is more.
const BYTES_MIN: u64 = 64 << 20;

/// Makes the copies follow the checkpoints of a folder.
pub(crate) struct Copier {
    // configuration
    folder: Arc<dyn Storage>,
    objects: Arc<dyn Objects>,
    log: Arc<dyn EventLog>,
    part_bytes: usize,
    // state
    /// What the store has; `None` before it was looked at, and after a failure.
    there: Option<There>,
    /// The parts of the folder's runs, by name, as far as they are known. Names are not used again while a process runs.
    parts: BTreeMap<String, Vec<Part>>,
}

/// What the store has.
#[derive(Debug, Default)]
struct There {
    /// By last commit.
    manifests: BTreeMap<u64, CopyManifest>,
    /// By hash.
    parts: BTreeSet<String>,
}

impl Copier {
    pub(crate) fn new(folder: Arc<dyn Storage>, objects: Arc<dyn Objects>, log: Arc<dyn EventLog>) -> Self {
        Self { folder, objects, log, part_bytes: PART_BYTES, there: None, parts: BTreeMap::new() }
    }

    /// With parts of so many bytes.
    #[cfg(test)]
    pub(super) fn in_parts_of(self, part_bytes: usize) -> Self {
        Self { part_bytes, ..self }
    }

    /// Copies until `stop` is gone; what fails is tried again.
    pub(crate) fn run(mut self, stop: &Receiver<()>, stats: &Stats) {
        let mut wait = Duration::ZERO;
        while stop.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            let go_on = || stop.try_recv() != Err(TryRecvError::Disconnected);
            // What a panic leaves of `self` is looked at again.
            let copied = catch_unwind(AssertUnwindSafe(|| self.copy(&go_on))).unwrap_or(Err(CheckpointError::Panic));
            wait = if copied.is_ok() { LOOK_EVERY } else { AGAIN_AFTER };
            if copied.is_err() {
                self.there = None;
            }
            stats.copied(copied.map_err(|error| error.to_string()));
        }
    }

    /// Makes the store have what the folder has. Gives the newest copy's epoch and last commit; `go_on` is asked between two parts.
    pub(super) fn copy(&mut self, go_on: &dyn Fn() -> bool) -> Result<Option<(Epoch, CommitSeq)>, CheckpointError> {
        let mut there = match self.there.take() {
            Some(there) => there,
            None => self.look()?,
        };
        if let Some(newest) = Manifest::read(&*self.folder)? {
            self.follow(&mut there, &newest, go_on)?;
        }
        let last = there.manifests.values().next_back();
        let last = last.map(|copy| (Epoch(copy.checkpoint.epoch), CommitSeq(copy.checkpoint.upto)));
        self.there = Some(there);
        Ok(last)
    }

    fn follow(
        &mut self,
        there: &mut There,
        newest: &Manifest,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), CheckpointError> {
        // Of a run that went on from what was given up since.
        let is_past = |copy: &CopyManifest| {
            copy.checkpoint.upto <= newest.upto && copy.checkpoint.fingerprint == newest.fingerprint
        };
        self.forget(there, |copy| !is_past(copy))?;
        if newest.is_beginning() || there.manifests.contains_key(&newest.upto) {
            return self.sweep(there);
        }
        let Some(runs) = self.put_runs(there, newest, go_on)? else { return Ok(()) };
        let upto = CommitSeq(newest.upto);
        let time = time_of(&*self.log, upto)?;
        let time = time.ok_or_else(|| CheckpointError::Copies(format!("the log does not have commit {upto}")))?;
        let copy = CopyManifest::new(newest.clone(), time.0, runs);
        copy.put(&*self.objects)?;
        pass(Point::CopiesAfterManifest);
        there.manifests.insert(newest.upto, copy);
        self.thin(there, newest.upto)?;
        self.sweep(there)
    }

    /// Looks at what the store has.
    fn look(&self) -> Result<There, CheckpointError> {
        let mut there = There::default();
        for object in self.objects.list()? {
            if let Some(hash) = part_of(&object.key) {
                there.parts.insert(hash.to_owned());
            } else if let Some(upto) = CopyManifest::upto_of(&object.key) {
                match CopyManifest::get(&*self.objects, upto) {
                    Ok(Some(copy)) => drop(there.manifests.insert(upto, copy)),
                    Err(error @ (CheckpointError::NewerCopies { .. } | CheckpointError::Storage(_))) => {
                        return Err(error);
                    }
                    // Of no use to anybody any more.
                    Ok(None) | Err(_) => self.objects.delete(&object.key)?,
                }
            } else if let Some(key) = object.key.strip_suffix(".new")
                && (part_of(key).is_some() || CopyManifest::upto_of(key).is_some())
            {
                // What a directory has left of one that was cut off.
                self.objects.delete(&object.key)?;
            }
        }
        self.check_owner(&there)?;
        Ok(there)
    }

    /// Whether the copies are of this log: what another follows is not to be touched.
    fn check_owner(&self, there: &There) -> Result<(), CheckpointError> {
        let Some((&upto, copy)) = there.manifests.last_key_value() else { return Ok(()) };
        let durable = *self.log.durable().borrow();
        let place = self.objects.location();
        let hint = "hint: keep the copies elsewhere, or empty the place";
        let other = |what: String| Err(CheckpointError::Copies(format!("{place} {what}\n  {hint}")));
        if CommitSeq(upto) > durable {
            return other(format!("has a checkpoint that knows commit {upto}, but the log ends with {durable}"));
        }
        match time_of(&*self.log, CommitSeq(upto))? {
            Some(time) if time.0 == copy.commit_time => Ok(()),
            Some(_) => other("has the checkpoints of another log".to_owned()),
            None => other(format!("has a checkpoint that knows commit {upto}, which the log does not keep any more")),
        }
    }

    /// Puts the parts of a checkpoint's runs; `None` when it is not to go on, or when there is a newer checkpoint by now.
    fn put_runs(
        &mut self,
        there: &mut There,
        newest: &Manifest,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Vec<Part>>>, CheckpointError> {
        self.parts.retain(|run, _| newest.runs.contains(run));
        // Who has them open goes on reading them.
        let opened: Result<Vec<Arc<dyn ReadFile>>, _> = newest.runs.iter().map(|run| self.folder.open(run)).collect();
        let files = match opened {
            Ok(files) => files,
            Err(_) if Manifest::read(&*self.folder)?.as_ref() != Some(newest) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut runs = Vec::new();
        for (name, file) in newest.runs.iter().zip(files) {
            let Some(parts) = self.put_run(there, self.parts.get(name), &*file, go_on)? else { return Ok(None) };
            self.parts.insert(name.clone(), parts.clone());
            runs.push(parts);
        }
        Ok(Some(runs))
    }

    fn put_run(
        &self,
        there: &mut There,
        known: Option<&Vec<Part>>,
        file: &dyn ReadFile,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Part>>, CheckpointError> {
        let (mut parts, mut position, len) = (Vec::new(), 0, file.len()?);
        while position < len {
            let bytes = (len - position).min(self.part_bytes as u64);
            let part = match known.and_then(|known| known.get(parts.len())) {
                Some(part) if there.parts.contains(&part.hash) => part.clone(),
                _ if !go_on() => return Ok(None),
                _ => {
                    let mut content = vec![0; bytes as usize];
                    file.read_exact_at(&mut content, position)?;
                    let hash = hash_of(&content);
                    if !there.parts.contains(&hash) {
                        self.objects.put(&part_key(&hash), content.into())?;
                        pass(Point::CopiesAfterPart);
                        there.parts.insert(hash.clone());
                    }
                    Part { hash, bytes }
                }
            };
            parts.push(part);
            position += bytes;
        }
        Ok(Some(parts))
    }

    /// Lets go of copies that are not worth keeping beside the newest.
    fn thin(&self, there: &mut There, newest: u64) -> Result<(), CheckpointError> {
        let earlier: Vec<u64> = there.manifests.keys().copied().filter(|&upto| upto < newest).collect();
        let mut worth = ladder::kept(&earlier, newest);
        let Some(of_newest) = there.manifests.get(&newest) else { return Ok(()) };
        let bytes_max = (BYTES_TIMES_MAX * of_newest.bytes()).max(BYTES_MIN);
        while extra_bytes(there, &worth, of_newest) > bytes_max {
            worth.remove(0);
        }
        worth.push(newest);
        self.forget(there, |copy| !worth.contains(&copy.checkpoint.upto))
    }

    fn forget(&self, there: &mut There, is_gone: impl Fn(&CopyManifest) -> bool) -> Result<(), CheckpointError> {
        let gone: Vec<u64> = there.manifests.iter().filter(|(_, copy)| is_gone(copy)).map(|(&upto, _)| upto).collect();
        for upto in gone {
            self.objects.delete(&CopyManifest::key(upto))?;
            there.manifests.remove(&upto);
            pass(Point::CopiesAfterRemoval);
        }
        Ok(())
    }

    /// Deletes the parts that no manifest names.
    fn sweep(&self, there: &mut There) -> Result<(), CheckpointError> {
        let named: BTreeSet<&str> =
            there.manifests.values().flat_map(CopyManifest::parts).map(|part| part.hash.as_str()).collect();
        let gone: Vec<String> = there.parts.iter().filter(|hash| !named.contains(hash.as_str())).cloned().collect();
        for hash in gone {
            self.objects.delete(&part_key(&hash))?;
            there.parts.remove(&hash);
        }
        Ok(())
    }
}

/// Bytes of the parts that only these copies name, and not the newest.
fn extra_bytes(there: &There, copies: &[u64], newest: &CopyManifest) -> u64 {
    let in_newest: BTreeSet<&str> = newest.parts().map(|part| part.hash.as_str()).collect();
    let parts = copies.iter().filter_map(|upto| there.manifests.get(upto)).flat_map(CopyManifest::parts);
    let extra: BTreeMap<&str, u64> = parts
        .filter(|part| !in_newest.contains(part.hash.as_str()))
        .map(|part| (part.hash.as_str(), part.bytes))
        .collect();
    extra.values().sum()
}
