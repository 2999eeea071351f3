//! Checkpoints before the newest one, thinned.
//!
//! Each is a manifest of its own, `{last commit:020}.manifest`; runs are immutable and shared, so that a run is removed only when no
//! manifest names it. None of them is needed to start: one that cannot be read is left out, and costs time only.

use super::manifest::{MANIFEST, Manifest};
use super::{CheckpointError, ladder};
use chalk_store::Storage;
use chalk_store::fail::{Point, pass};
use std::collections::{BTreeMap, BTreeSet};

const SUFFIX: &str = ".manifest";
/// Runs that only earlier checkpoints name take so many times the newest one's bytes at most,
const BYTES_TIMES_MAX: u64 = 2;
/// or this, if it is more.
const BYTES_MIN: u64 = 64 << 20;

/// Checkpoints before the newest one, by last commit.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    manifests: BTreeMap<u64, Manifest>,
    /// Bytes of the runs that they name.
    bytes: BTreeMap<String, u64>,
}

fn name_of(upto: u64) -> String {
    format!("{upto:020}{SUFFIX}")
}

impl Kept {
    /// What there is in a folder of checkpoints of the same graph before `newest`.
    pub(crate) fn read(storage: &dyn Storage, newest: &Manifest) -> Result<Self, CheckpointError> {
        let names = storage.list()?;
        let runs: BTreeSet<&str> = names.iter().map(String::as_str).filter(|name| !name.ends_with(SUFFIX)).collect();
        let mut kept = Self::default();
        for name in names.iter().filter(|name| name.ends_with(SUFFIX)) {
            let Ok(Some(manifest)) = Manifest::read_from(storage, name) else { continue };
            let is_whole = manifest.runs.iter().all(|run| runs.contains(run.as_str()));
            if is_whole && manifest.fingerprint == newest.fingerprint && manifest.upto < newest.upto {
                kept.manifests.insert(manifest.upto, manifest);
            }
        }
        Ok(kept)
    }

    /// Oldest first.
    pub(crate) fn manifests(&self) -> impl DoubleEndedIterator<Item = &Manifest> {
        self.manifests.values()
    }

    /// Keeps a checkpoint that another is about to follow.
    pub(crate) fn keep(&mut self, storage: &dyn Storage, manifest: &Manifest) -> Result<(), CheckpointError> {
        manifest.write_to(storage, &name_of(manifest.upto))?;
        self.manifests.insert(manifest.upto, manifest.clone());
        Ok(())
    }

    /// Lets go of what is not worth keeping beside `newest`, and removes what no manifest names.
    pub(crate) fn thin(&mut self, storage: &dyn Storage, newest: &Manifest) -> Result<(), CheckpointError> {
        let positions: Vec<u64> = self.manifests.keys().copied().filter(|&upto| upto < newest.upto).collect();
        let worth: BTreeSet<u64> = ladder::kept(&positions, newest.upto).into_iter().collect();
        self.manifests.retain(|upto, _| worth.contains(upto));
        self.measure(storage, newest)?;
        while self.extra_bytes(newest) > (BYTES_TIMES_MAX * self.bytes_of(&newest.runs)).max(BYTES_MIN) {
            self.manifests.pop_first();
        }
        self.remove_strangers(storage, newest)
    }

    fn measure(&mut self, storage: &dyn Storage, newest: &Manifest) -> Result<(), CheckpointError> {
        let manifests = self.manifests.values().chain([newest]);
        let named: BTreeSet<&String> = manifests.flat_map(|manifest| &manifest.runs).collect();
        self.bytes.retain(|run, _| named.contains(run));
        for run in named {
            if !self.bytes.contains_key(run) {
                self.bytes.insert(run.clone(), storage.open(run)?.len()?);
            }
        }
        Ok(())
    }

    fn bytes_of<'a>(&self, runs: impl IntoIterator<Item = &'a String>) -> u64 {
        runs.into_iter().filter_map(|run| self.bytes.get(run)).sum()
    }

    /// Bytes of the runs that only earlier checkpoints name.
    fn extra_bytes(&self, newest: &Manifest) -> u64 {
        let runs: BTreeSet<&String> = self.manifests.values().flat_map(|manifest| &manifest.runs).collect();
        self.bytes_of(runs.into_iter().filter(|run| !newest.runs.contains(run)))
    }

    fn remove_strangers(&self, storage: &dyn Storage, newest: &Manifest) -> Result<(), CheckpointError> {
        let manifests = self.manifests.values().chain([newest]);
        let mut known: BTreeSet<String> = manifests.flat_map(|manifest| manifest.runs.iter().cloned()).collect();
        known.extend(self.manifests.keys().map(|&upto| name_of(upto)));
        known.insert(MANIFEST.to_owned());
        for name in storage.list()? {
            if !known.contains(&name) {
                storage.remove(&name)?;
                pass(Point::CheckpointAfterRemoval);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chalk_store::memory::MemoryFiles;

    fn manifest(storage: &MemoryFiles, upto: u64, runs: &[(&str, usize)]) -> Manifest {
        let mut manifest = Manifest::new("graph".to_owned());
        manifest.upto = upto;
        for (run, bytes) in runs {
            if !storage.list().expect("memory").contains(&(*run).to_owned()) {
                storage.replace(run, &vec![0; *bytes]).expect("memory");
            }
            manifest.runs.push((*run).to_owned());
        }
        manifest
    }

    #[test]
    fn a_run_is_there_as_long_as_a_manifest_names_it() {
        let files = MemoryFiles::new();
        let mut kept = Kept::default();
        kept.keep(&files, &manifest(&files, 10, &[("1.run", 1), ("2.run", 1)])).expect("memory");
        let newest = manifest(&files, 11, &[("3.run", 1), ("2.run", 1)]);
        files.replace("4.run", b"nobody's").expect("memory");
        kept.thin(&files, &newest).expect("memory");
        assert_eq!(files.list().expect("memory"), ["00000000000000000010.manifest", "1.run", "2.run", "3.run"]);
        let again = Kept::read(&files, &newest).expect("memory");
        assert_eq!(again.manifests().collect::<Vec<_>>(), kept.manifests().collect::<Vec<_>>());
        // Of another graph, it is a stranger.
        let mut other = Manifest::new("other".to_owned());
        other.upto = 12;
        let mut none = Kept::read(&files, &other).expect("memory");
        none.thin(&files, &other).expect("memory");
        assert_eq!(files.list().expect("memory"), [] as [&str; 0]);
    }

    #[test]
    fn the_oldest_go_when_they_take_too_much() {
        let files = MemoryFiles::new();
        let mut kept = Kept::default();
        let bytes = BYTES_MIN as usize / 2;
        for (upto, run) in [(100, "1.run"), (600, "2.run"), (900, "3.run")] {
            kept.keep(&files, &manifest(&files, upto, &[(run, bytes), ("all.run", 10)])).expect("memory");
        }
        kept.thin(&files, &manifest(&files, 1000, &[("all.run", 10)])).expect("memory");
        assert_eq!(kept.manifests().map(|manifest| manifest.upto).collect::<Vec<_>>(), [600, 900]);
    }
}
