//! What the door remembers, on disk: sorted runs, and the manifest that says which of them count.
//!
//! The log is the truth. The manifest says that the runs hold every id and value of the commits up to `covers`, and none of commits
//! after `within`: a part of the memory is written only when all its events are durable, for an id that is known without its event
//! would make the event's next attempt a duplicate. What the log has beyond `covers` is read when a door opens; that some of it may be
//! in the runs already does not matter. A log that ends before `within`, or has another commit there, is not the one that the runs are
//! of.
//!
//! The manifest, format 1, is two lines of text: a JSON object (see [`Manifest`]), and XXH3-64 of that line in hexadecimal.

use crate::error::DoorError;
use crate::memory::{Extent, Frozen, Memory, Part, Upto, id_key};
use crate::rules::{KeptUnder, Rules};
use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use chalk_catalog::{TopicId, TopicSchema};
use chalk_event::CommitSeq;
use chalk_log::EventLog;
use chalk_store::fail::{Point, pass};
use chalk_store::runs::{Change, Run, RunError, RunSet, RunWriter};
use chalk_store::{Storage, StorageError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const MANIFEST: &str = "manifest";
const FORMAT: u32 = 1;
const RUN: &str = ".run";

/// What counts of the files.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// The runs hold all ids of the commits up to this one,
    covers: CommitSeq,
    /// and none of commits after this one.
    within: CommitSeq,
    /// A hash of the latter: of another log it would be another.
    commit: u64,
    /// The columns whose values are kept.
    values_of: BTreeSet<KeptUnder>,
    /// Oldest first.
    runs: Vec<String>,
}

impl Manifest {
    fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let json = serde_json::to_string(self)?;
        Ok(format!("{json}\n{:016x}\n", xxh3_64(json.as_bytes())).into_bytes())
    }

    /// `None` when it is not what a door of this build wrote.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (json, hash) = str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split_once('\n')?;
        if hash != format!("{:016x}", xxh3_64(json.as_bytes())) {
            return None;
        }
        serde_json::from_str(json).ok().filter(|manifest: &Self| manifest.format == FORMAT)
    }
}

/// The commit after which a door that keeps what it remembers in `storage` reads the log when it opens: the beginning when nothing that counts
/// is there.
///
/// # Errors
/// When the manifest cannot be read.
pub fn reads_after(storage: &dyn Storage) -> Result<CommitSeq, StorageError> {
    Ok(storage.read(MANIFEST)?.and_then(|bytes| Manifest::decode(&bytes)).map_or(CommitSeq(0), |kept| kept.covers))
}

/// A hash of a durable commit; `None` when the log does not have it.
fn hash_of(log: &dyn EventLog, seq: CommitSeq) -> Result<Option<u64>, DoorError> {
    let Some(before) = seq.0.checked_sub(1).filter(|_| seq <= *log.durable().borrow()) else { return Ok(None) };
    let topics: Vec<TopicId> = log.topics().iter().map(|topic| topic.id).collect();
    let (commits, _) = log.read(CommitSeq(before), &topics, 1)?;
    let Some(commit) = commits.first().filter(|commit| commit.seq == seq) else { return Ok(None) };
    let mut hash = Xxh3::new();
    hash.update(&commit.time.0.to_le_bytes());
    for frame in &commit.frames {
        hash.update(&frame.topic.0.to_le_bytes());
        hash.update(&frame.partition.0.to_le_bytes());
        hash.update(&frame.base_offset.0.to_le_bytes());
        hash.update(&(frame.rows.num_rows() as u64).to_le_bytes());
        let contents = frame.rows.column_by_name(TopicSchema::CONTENT).and_then(|c| c.as_primitive_opt::<UInt64Type>());
        for content in contents.into_iter().flat_map(|contents| contents.values()) {
            hash.update(&content.to_le_bytes());
        }
    }
    Ok(Some(hash.digest()))
}

/// What is on disk.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    storage: Arc<dyn Storage>,
    runs: RunSet,
    extent: Extent,
    commit: u64,
    values_of: BTreeSet<KeptUnder>,
    /// The number of the next run.
    next: u64,
    /// A run cannot be read: there is to be no manifest, so that the next door makes all of them anew.
    distrusted: bool,
}

impl Kept {
    /// Opens what counts, and removes all other files. When it is not of this log as its topics are now, nothing counts.
    pub(crate) fn open(storage: Arc<dyn Storage>, log: &dyn EventLog, rules: &Rules) -> Result<Self, DoorError> {
        let kept = match Self::find(&storage, log, rules)? {
            Some(kept) => kept,
            None => {
                storage.remove(MANIFEST).and_then(|()| storage.sync_directory()).map_err(not_kept)?;
                Self {
                    runs: RunSet::open(Arc::clone(&storage), &[] as &[&str])?,
                    storage,
                    extent: Extent::default(),
                    commit: 0,
                    values_of: BTreeSet::new(),
                    next: 0,
                    distrusted: false,
                }
            }
        };
        for name in kept.storage.list().map_err(not_kept)? {
            if name != MANIFEST && !kept.runs.names().any(|run| run == name) {
                kept.storage.remove(&name).map_err(not_kept)?;
            }
        }
        Ok(kept)
    }

    fn find(storage: &Arc<dyn Storage>, log: &dyn EventLog, rules: &Rules) -> Result<Option<Self>, DoorError> {
        let bytes = storage.read(MANIFEST).map_err(not_kept)?;
        let Some(manifest) = bytes.and_then(|bytes| Manifest::decode(&bytes)) else { return Ok(None) };
        let Manifest { covers, within, commit, values_of, runs, .. } = manifest;
        if hash_of(log, within)? != Some(commit) || !values_of.is_superset(&rules.pointed_at()) {
            return Ok(None);
        }
        let number = |name: &String| name.strip_suffix(RUN).and_then(|number| number.parse::<u64>().ok());
        let next = runs.iter().filter_map(number).max().map_or(0, |number| number + 1);
        let opened = RunSet::open(Arc::clone(storage), &runs).ok();
        Ok(opened.map(|runs| Self {
            storage: Arc::clone(storage),
            runs,
            extent: Extent { covers, within },
            commit,
            values_of,
            next,
            distrusted: false,
        }))
    }

    /// The commit up to which the log need not be read.
    pub(crate) fn covers(&self) -> CommitSeq {
        self.extent.covers
    }

    pub(crate) fn runs(&self) -> &RunSet {
        &self.runs
    }

    fn new_name(&mut self) -> String {
        self.next += 1;
        format!("{:08}{RUN}", self.next - 1)
    }

    fn save(&self) -> Result<(), DoorError> {
        if self.distrusted {
            return Ok(());
        }
        let manifest = Manifest {
            format: FORMAT,
            covers: self.extent.covers,
            within: self.extent.within,
            commit: self.commit,
            values_of: self.values_of.clone(),
            runs: self.runs.names().map(str::to_owned).collect(),
        };
        let bytes = manifest.encode().map_err(|error| DoorError::IdsNotKept(error.to_string().into()))?;
        self.storage.replace(MANIFEST, &bytes).map_err(not_kept)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn not_kept(error: StorageError) -> DoorError {
    DoorError::IdsNotKept(error.to_string().into())
}

/// What the door and its threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    memory: Mutex<Memory>,
    /// A part was frozen or written, writing failed, or the door is closing.
    changed: Condvar,
    /// Nothing more is to be merged.
    closing: AtomicBool,
}

impl Shared {
    pub(crate) fn new(memory: Memory) -> Self {
        Self { memory: Mutex::new(memory), changed: Condvar::new(), closing: AtomicBool::new(false) }
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'m>(&self, memory: MutexGuard<'m, Memory>) -> MutexGuard<'m, Memory> {
        self.changed.wait(memory).unwrap_or_else(PoisonError::into_inner)
    }

    /// Freezes what is at hand, once there is room for it among what waits to be written.
    ///
    /// # Errors
    /// When there is none and writing fails, tried once more; or `upto` does.
    pub(crate) fn freeze<'m>(
        &self,
        mut memory: MutexGuard<'m, Memory>,
        upto: impl FnOnce() -> Result<Upto, DoorError>,
    ) -> Result<MutexGuard<'m, Memory>, DoorError> {
        let mut tried = false;
        while !memory.can_freeze() {
            if let Some(failure) = memory.failure.take() {
                if tried {
                    memory.failure = Some(Arc::clone(&failure));
                    return Err(DoorError::IdsNotKept(failure));
                }
                tried = true;
                self.changed.notify_all();
            }
            memory = self.wait(memory);
        }
        memory.freeze(upto()?);
        self.changed.notify_all();
        Ok(memory)
    }

    /// Waits until all that is frozen is written.
    pub(crate) fn written(&self, mut memory: MutexGuard<'_, Memory>) -> Result<(), DoorError> {
        while !memory.frozen.is_empty() {
            if let Some(failure) = &memory.failure {
                return Err(DoorError::IdsNotKept(Arc::clone(failure)));
            }
            memory = self.wait(memory);
        }
        Ok(())
    }
}

/// The thread that writes frozen parts, and one more while runs are merged.
#[derive(Debug)]
pub(crate) struct Keeper {
    files: Files,
    thread: Option<JoinHandle<()>>,
}

/// What the keeper's threads work on.
#[derive(Clone)]
struct Files {
    log: Arc<dyn EventLog>,
    shared: Arc<Shared>,
    kept: Arc<Mutex<Kept>>,
}

impl Keeper {
    pub(crate) fn start(kept: Kept, log: Arc<dyn EventLog>, shared: Arc<Shared>) -> Result<Self, DoorError> {
        let files = Files { log, shared, kept: Arc::new(Mutex::new(kept)) };
        let thread = spawn("door-ids", {
            let files = files.clone();
            move || files.write_all()
        })?;
        Ok(Self { files, thread: Some(thread) })
    }

    /// A run cannot be read: the next door shall make all of them anew.
    pub(crate) fn distrust(&self) {
        self.files.distrust();
    }
}

impl Drop for Keeper {
    /// Writes what is frozen, unless that fails, and ends the threads.
    fn drop(&mut self) {
        self.files.shared.memory().closing = true;
        self.files.shared.closing.store(true, Ordering::Relaxed);
        self.files.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, DoorError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|error| DoorError::IdsNotKept(format!("cannot start a thread: {error}").into()))
}

impl Files {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self) {
        let mut merging: Option<JoinHandle<()>> = None;
        while let Some(frozen) = self.next_part() {
            if let Err(error) = self.write(frozen) {
                self.shared.memory().failure = Some(error.to_string().into());
            }
            self.shared.changed.notify_all();
            if merging.as_ref().is_none_or(JoinHandle::is_finished) && self.kept().runs.due().is_some() {
                let files = self.clone();
                merging = spawn("door-ids-merge", move || files.merge_all()).ok();
            }
        }
        if let Some(merging) = merging {
            let _ = merging.join();
        }
    }

    /// Waits for a part that is worth trying to write; `None` when the door is closing and there is none.
    fn next_part(&self) -> Option<Frozen> {
        let mut memory = self.shared.memory();
        loop {
            let (may_try, closing) = (memory.failure.is_none(), memory.closing);
            match memory.frozen.front_mut() {
                Some(frozen) if may_try => return Some(frozen.at_work()),
                _ if closing => return None,
                _ => memory = self.shared.wait(memory),
            }
        }
    }

    /// Writes the oldest frozen part as the newest run, once its events are durable.
    fn write(&self, frozen: Frozen) -> Result<(), DoorError> {
        let Frozen { part, upto, rules, appends } = frozen;
        let extent = match upto {
            Upto::Known(extent) => extent,
            Upto::Barrier(Some(pending)) => {
                let commit = pending.wait()?.commit_seq;
                let nothing_since = self.shared.memory().appends == appends;
                if nothing_since { Extent::upto(commit) } else { Extent::before(commit) }
            }
            Upto::Barrier(None) => return Err(DoorError::IdsNotKept("the log has stopped".into())),
        };
        if let Some(frozen) = self.shared.memory().frozen.front_mut() {
            frozen.upto = Upto::Known(extent); // for another attempt
        }
        let (storage, name) = {
            let mut kept = self.kept();
            (Arc::clone(&kept.storage), kept.new_name())
        };
        pass(Point::IdsBeforeRun);
        let run = write_run(&part, &*storage, &name).map_err(|error| {
            // Without it the disk may have room for the next attempt; what stays behind goes when a door opens.
            let _ = storage.remove(&name);
            DoorError::IdsNotKept(error.to_string().into())
        })?;
        let commit = hash_of(&*self.log, extent.within)?;
        let mut kept = self.kept();
        let mut next = kept.clone();
        next.runs.push(run);
        (next.extent, next.commit, next.values_of) = (extent, commit.unwrap_or_default(), rules.pointed_at());
        pass(Point::IdsBeforeManifest);
        next.save()?;
        pass(Point::IdsAfterManifest);
        *kept = next;
        self.shared.memory().thaw(&kept);
        Ok(())
    }

    /// Merges runs as long as that is worth it. When it fails there are more runs than there should be; the next part that is
    /// written is another occasion.
    fn merge_all(&self) {
        loop {
            let (runs, range, name) = {
                let mut kept = self.kept();
                let Some(range) = kept.runs.due() else { return };
                (kept.runs.clone(), range, kept.new_name())
            };
            let go_on = || !self.shared.closing.load(Ordering::Relaxed);
            match runs.merge_while(range.clone(), &name, &go_on) {
                Ok(Some(merged)) => {
                    let mut kept = self.kept();
                    let mut next = kept.clone();
                    let gone = next.runs.replace(range, merged);
                    if next.save().is_err() {
                        return;
                    }
                    *kept = next;
                    self.shared.memory().runs = Some(kept.runs.clone());
                    for name in gone {
                        // One that stays behind goes when a door opens.
                        let _ = kept.storage.remove(&name);
                    }
                }
                Ok(None) => return,
                Err(RunError::Damaged { .. }) => return self.distrust(),
                Err(_) => return,
            }
        }
    }

    fn distrust(&self) {
        let mut kept = self.kept();
        kept.distrusted = true;
        // If it cannot be removed either, the next door meets the damage as this one did.
        let _ = kept.storage.remove(MANIFEST).and_then(|()| kept.storage.sync_directory());
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("kept", &self.kept).finish_non_exhaustive()
    }
}

fn write_run(part: &Part, storage: &dyn Storage, name: &str) -> Result<Run, RunError> {
    let mut writer = RunWriter::create_for(storage, name, part.len() as u64)?;
    let mut ids: Vec<_> = part.ids.iter().collect();
    ids.sort_unstable();
    for (id, content) in ids {
        writer.push(&id_key(id), Change::Put(&content.to_le_bytes()))?;
    }
    let mut values: Vec<_> = part.values.iter().collect();
    values.sort_unstable();
    for value in values {
        writer.push(value, Change::Put(&[]))?;
    }
    writer.finish()?;
    Run::open(storage, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_the_manifest_is_noticed() {
        let manifest = Manifest {
            format: FORMAT,
            covers: CommitSeq(7),
            within: CommitSeq(6),
            commit: 0x0011_2233_4455_6677,
            values_of: BTreeSet::new(),
            runs: vec!["0000000001.run".to_owned()],
        };
        let bytes = manifest.encode().expect("JSON");
        assert_eq!(Manifest::decode(&bytes).expect("it was written").covers, CommitSeq(7));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&damaged).is_none(), "bit {bit}");
        }
    }
}
