//! Taking a checkpoint back from its copy.

use super::super::CheckpointError;
use super::super::manifest::Manifest;
use super::manifest::{CopyManifest, Part};
use super::{hash_of, part_key, time_of};
use chalk_event::{CommitSeq, IngestTime};
use chalk_log::EventLog;
use chalk_store::Storage;
use chalk_store::objects::Objects;
use std::sync::Arc;

/// The copies in an object store, newest first.
pub(crate) struct Copies<'a> {
    objects: &'a Arc<dyn Objects>,
    /// Last commits, ascending.
    left: Vec<u64>,
}

impl<'a> Copies<'a> {
    /// Those that know nothing after `until`.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub(crate) fn until(objects: &'a Arc<dyn Objects>, until: CommitSeq) -> Result<Self, CheckpointError> {
        let keys = objects.list()?;
        let mut left: Vec<u64> = keys.iter().filter_map(|object| CopyManifest::upto_of(&object.key)).collect();
        left.retain(|&upto| upto <= until.0);
        left.sort_unstable();
        Ok(Self { objects, left })
    }

    /// All that can be read, newest first.
    pub(in crate::checkpoint) fn list(self) -> Result<Vec<CopyManifest>, CheckpointError> {
        let copies = self.left.iter().rev().filter_map(|&upto| CopyManifest::get(&**self.objects, upto).transpose());
        copies.collect()
    }

    /// Puts the next one that is of this graph and log into a folder, under names that are new there, and makes it the folder's
    /// checkpoint. `None` after the last.
    ///
    /// # Errors
    /// When it is damaged, or cannot be read or written. The next one can be tried.
    pub(crate) fn fetch_next(
        &mut self,
        folder: &dyn Storage,
        fingerprint: &str,
        log: &dyn EventLog,
    ) -> Result<Option<Manifest>, CheckpointError> {
        while let Some(upto) = self.left.pop() {
            let Some(copy) = CopyManifest::get(&**self.objects, upto)? else { continue };
            if copy.checkpoint.fingerprint == fingerprint
                && time_of(log, CommitSeq(upto))? == Some(IngestTime(copy.commit_time))
            {
                return self.fetch(&copy, folder).map(Some);
            }
        }
        Ok(None)
    }

    fn fetch(&self, copy: &CopyManifest, folder: &dyn Storage) -> Result<Manifest, CheckpointError> {
        let mut manifest = copy.checkpoint.clone();
        let taken = folder.list()?.iter().filter_map(|name| Manifest::run_number(name)).max();
        manifest.next_run = manifest.next_run.max(taken.map_or(0, |last| last + 1));
        manifest.runs.clear();
        for parts in &copy.runs {
            let name = manifest.next_name();
            if let Err(error) = self.fetch_run(parts, folder, &name) {
                for name in manifest.runs.iter().chain([&name]) {
                    folder.remove(name)?;
                }
                return Err(error);
            }
            manifest.runs.push(name);
        }
        folder.sync_directory()?;
        manifest.write(folder)?;
        Ok(manifest)
    }

    fn fetch_run(&self, parts: &[Part], folder: &dyn Storage, name: &str) -> Result<(), CheckpointError> {
        let mut file = folder.create(name)?;
        for part in parts {
            let key = part_key(&part.hash);
            let wrong = |what: &str| CheckpointError::Copies(format!("{key} at {} {what}", self.objects.location()));
            let bytes = self.objects.get(&key)?.ok_or_else(|| wrong("is missing"))?;
            if bytes.len() as u64 != part.bytes || hash_of(&bytes) != part.hash {
                return Err(wrong("is damaged: its hash does not match"));
            }
            file.append(&bytes)?;
        }
        Ok(file.sync()?)
    }
}
