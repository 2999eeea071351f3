//! Several runs that are read as one.

use super::change::{Sum, Unfit};
use super::filter::hash;
use super::run::RunLookup;
use super::{Change, OwnedValue, Run, RunError, RunScan, RunWriter, Value, readable};
use crate::storage::Storage;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

/// So many runs of one size are merged into one of the next.
const RUNS_MERGED: usize = 4;
/// Runs of fewer bytes are of the smallest size; each further size has [`RUNS_MERGED`] times the bytes.
const SMALLEST_BYTES: u64 = 16 << 10;

/// A merge goes this many keys before it asks whether to go on.
const STEPS_BEFORE_ASKING: u64 = 1024;

/// Runs, oldest first, read as one. Cloning it is cheap: a clone goes on reading the runs that it was made of, so that one
/// thread can merge what another reads.
#[derive(Clone, Debug)]
pub struct RunSet {
    storage: Arc<dyn Storage>,
    runs: Vec<Run>,
}

impl RunSet {
    /// Opens the runs of these names, oldest first.
    ///
    /// # Errors
    /// As for [`Run::open`].
    pub fn open(storage: Arc<dyn Storage>, names: &[impl AsRef<str>]) -> Result<Self, RunError> {
        let runs = names.iter().map(|name| Run::open(&*storage, name.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { storage, runs })
    }

    /// These runs of one storage, oldest first.
    #[must_use]
    pub fn of(storage: Arc<dyn Storage>, runs: Vec<Run>) -> Self {
        Self { storage, runs }
    }

    /// The runs, oldest first.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The runs' names, oldest first: what belongs in the owner's manifest.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.runs.iter().map(|run| run.info().name.as_str())
    }

    /// Adds a run, newer than all others.
    pub fn push(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// What a key has: the newest run's word, and the sum of weights down to one that hides what is older.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged, or a weight was added to bytes.
    pub fn get(&self, key: &[u8]) -> Result<Option<OwnedValue>, RunError> {
        look_up(&mut self.lookups(), key)
    }

    /// What each of some keys has. When they come in ascending order, a block that several of them are in is read once.
    ///
    /// # Errors
    /// As for [`RunSet::get`].
    pub fn get_each<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k [u8]>,
        mut found: impl FnMut(&'k [u8], OwnedValue),
    ) -> Result<(), RunError> {
        let mut lookups = self.lookups();
        for key in keys {
            if let Some(value) = look_up(&mut lookups, key)? {
                found(key, value);
            }
        }
        Ok(())
    }

    /// Newest first.
    fn lookups(&self) -> Vec<RunLookup<'_>> {
        self.runs.iter().rev().map(RunLookup::new).collect()
    }

    /// All keys in order, each once with what it has; keys that are deleted or whose weights add up to 0 are left out.
    #[must_use]
    pub fn scan(&self) -> SetScan {
        self.scan_prefix(&[])
    }

    /// As [`RunSet::scan`], of the keys that begin with `prefix`.
    #[must_use]
    pub fn scan_prefix(&self, prefix: &[u8]) -> SetScan {
        self.scan_from(prefix, prefix)
    }

    /// As [`RunSet::scan_prefix`], from `lower` on, which begins with `prefix`.
    #[must_use]
    pub fn scan_from(&self, lower: &[u8], prefix: &[u8]) -> SetScan {
        SetScan { merged: Merged::of(&self.runs, lower), prefix: prefix.to_vec(), ended: false }
    }

    /// Neighbours worth merging, if there are any. When each is merged as soon as it is due, a set of n bytes has O(log n) runs,
    /// and a byte is written O(log n) times.
    ///
    /// A run's size is that of the largest among it and all newer ones (one that is smaller than a newer neighbour costs little
    /// beside it), so that sizes never grow from old to new. Four runs of one size are due: the smallest such first.
    #[must_use]
    pub fn due(&self) -> Option<Range<usize>> {
        let bytes: Vec<u64> = self.runs.iter().map(|run| run.info().bytes).collect();
        due(&bytes)
    }

    /// Writes one run that says what those of `range` say together, and opens it; the set is as before. Takes as long as reading
    /// and writing them all: call it on a clone, on a thread that nobody waits for.
    ///
    /// What hides older runs is left out when there are none (`range` begins at 0); sums of 0 always are.
    ///
    /// # Errors
    /// As for [`RunSet::get`] and [`RunWriter`].
    ///
    /// # Panics
    /// When `range` is not within the runs.
    pub fn merge(&self, range: Range<usize>, name: &str) -> Result<Run, RunError> {
        self.write_merged(range, name, &|| true)?;
        Run::open(&*self.storage, name)
    }

    /// As [`RunSet::merge`], but gives up, leaves nothing behind and gives `None` once `go_on` says no; it is asked every
    /// millisecond or so.
    ///
    /// # Errors
    /// As for [`RunSet::merge`].
    ///
    /// # Panics
    /// As [`RunSet::merge`].
    pub fn merge_while(
        &self,
        range: Range<usize>,
        name: &str,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Run>, RunError> {
        let written = self.write_merged(range, name, go_on);
        if !matches!(written, Ok(true)) {
            self.storage.remove(name)?;
        }
        if written? { Run::open(&*self.storage, name).map(Some) } else { Ok(None) }
    }

    fn write_merged(&self, range: Range<usize>, name: &str, go_on: &dyn Fn() -> bool) -> Result<bool, RunError> {
        let is_oldest = range.start == 0;
        let runs = &self.runs[range];
        let keys = runs.iter().map(|run| run.info().entries).sum();
        let mut writer = RunWriter::create_for(&*self.storage, name, keys)?;
        let mut merged = Merged::of(runs, &[]);
        let mut steps = 0_u64;
        while merged.step()? {
            steps += 1;
            if steps.is_multiple_of(STEPS_BEFORE_ASKING) && !go_on() {
                return Ok(false);
            }
            let (key, change) = merged.current()?;
            match change {
                Change::Add(0) => {}
                Change::Set(0) | Change::Delete if is_oldest => {}
                Change::Set(0) => writer.push(key, Change::Delete)?,
                change => writer.push(key, change)?,
            }
        }
        writer.finish()?;
        Ok(true)
    }

    /// Puts a merged run in the place of those that it was made of, and gives their names. Runs may have been pushed since
    /// [`RunSet::merge`]. Their files may be removed once the owner's manifest does not name them any more; scans and clones that
    /// still read them are not disturbed.
    ///
    /// # Panics
    /// When `range` is not within the runs.
    pub fn replace(&mut self, range: Range<usize>, merged: Run) -> Vec<String> {
        self.runs.splice(range, [merged]).map(|run| run.info().name.clone()).collect()
    }
}

/// The neighbours among runs of so many bytes, oldest first, that are worth merging.
fn due(bytes: &[u64]) -> Option<Range<usize>> {
    let (mut end, mut largest) = (bytes.len(), 0);
    for (number, &bytes) in bytes.iter().enumerate().rev() {
        let size = size_of(bytes);
        if size > largest {
            if end - number > RUNS_MERGED {
                return Some(number + 1..end);
            }
            (largest, end) = (size, number + 1);
        }
    }
    (end >= RUNS_MERGED).then_some(0..end)
}

/// 0 for the smallest runs; each further number for four times the bytes.
fn size_of(bytes: u64) -> u32 {
    (bytes / SMALLEST_BYTES).checked_ilog(RUNS_MERGED as u64).map_or(0, |size| size + 1)
}

/// What a key has, by runs from the newest to the oldest.
fn look_up(newest_first: &mut [RunLookup<'_>], key: &[u8]) -> Result<Option<OwnedValue>, RunError> {
    let hash = hash(key);
    let mut sum = Sum::default();
    for lookup in newest_first {
        let Some(older) = lookup.get(key, hash)? else { continue };
        let last = sum.hear(older.as_change()).map_err(|unfit| mixed(lookup.run(), key, unfit))?;
        if let Some(last) = last {
            return Ok(Value::of(last).map(|value| value.to_owned()));
        }
    }
    Ok(Value::of(sum.end()).map(|value| value.to_owned()))
}

fn mixed(run: &Run, key: &[u8], Unfit(what): Unfit) -> RunError {
    RunError::Mixed { file: run.info().name.clone(), key: readable(key), what }
}

/// Reads a set in order of keys. As an iterator it gives copies; [`SetScan::advance`] does not. Ends after an error.
#[derive(Debug)]
pub struct SetScan {
    merged: Merged,
    prefix: Vec<u8>,
    ended: bool,
}

impl SetScan {
    /// The next key and what it has; `None` after the last.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged, or a weight was added to bytes.
    pub fn advance(&mut self) -> Result<Option<(&[u8], Value<'_>)>, RunError> {
        if self.ended {
            return Ok(None);
        }
        self.ended = true; // unless all goes well
        while self.merged.step()? {
            let (key, change) = self.merged.current()?;
            if !key.starts_with(&self.prefix) {
                return Ok(None);
            }
            if Value::of(change).is_some() {
                self.ended = false;
                break;
            }
        }
        if self.ended {
            return Ok(None);
        }
        let (key, change) = self.merged.current()?;
        Ok(Value::of(change).map(|value| (key, value)))
    }
}

impl Iterator for SetScan {
    type Item = Result<(Vec<u8>, OwnedValue), RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_owned()))).transpose()
    }
}

/// Several scans as one: each key once, with what all of them say of it together.
#[derive(Debug)]
struct Merged {
    /// Oldest first.
    scans: Vec<(Run, RunScan)>,
    /// A heap of the scans that stand at an entry: the least key first, the newest first among equals.
    heap: Vec<usize>,
    /// The scans that stand at the present key, newest first; all of them before the first step. They are not in the heap.
    group: Vec<usize>,
}

impl Merged {
    fn of(runs: &[Run], lower: &[u8]) -> Self {
        let scans = runs.iter().map(|run| (run.clone(), run.scan_from(lower))).collect();
        Self { scans, heap: Vec::with_capacity(runs.len()), group: (0..runs.len()).collect() }
    }

    /// Goes on to the next key; `false` after the last.
    fn step(&mut self) -> Result<bool, RunError> {
        for at in 0..self.group.len() {
            let scan = self.group[at];
            self.scans[scan].1.step()?;
            if self.scans[scan].1.current().is_some() {
                self.enter(scan);
            }
        }
        self.group.clear();
        while let Some(&next) = self.heap.first()
            && self.group.first().is_none_or(|&first| self.key(first) == self.key(next))
        {
            self.leave();
            self.group.push(next);
        }
        Ok(!self.group.is_empty())
    }

    /// The present key and its changes in one; only after a step that gave `true`.
    fn current(&self) -> Result<(&[u8], Change<'_>), RunError> {
        let mut sum = Sum::default();
        let mut present: &[u8] = &[];
        for &scan in &self.group {
            let (run, scan) = &self.scans[scan];
            let Some((key, older)) = scan.current() else { continue };
            present = key;
            if let Some(last) = sum.hear(older).map_err(|unfit| mixed(run, key, unfit))? {
                return Ok((key, last));
            }
        }
        Ok((present, sum.end()))
    }

    fn key(&self, scan: usize) -> Option<&[u8]> {
        self.scans[scan].1.current().map(|(key, _)| key)
    }

    fn is_before(&self, one: usize, other: usize) -> bool {
        match self.key(one).cmp(&self.key(other)) {
            Ordering::Less => true,
            Ordering::Equal => one > other,
            Ordering::Greater => false,
        }
    }

    /// Puts a scan into the heap.
    fn enter(&mut self, scan: usize) {
        self.heap.push(scan);
        let mut at = self.heap.len() - 1;
        while at > 0 && self.is_before(self.heap[at], self.heap[(at - 1) / 2]) {
            self.heap.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    /// Takes the first scan out of the heap.
    fn leave(&mut self) {
        self.heap.swap_remove(0);
        let mut at = 0;
        while let Some(first) = self.first_child(at)
            && self.is_before(self.heap[first], self.heap[at])
        {
            self.heap.swap(at, first);
            at = first;
        }
    }

    fn first_child(&self, at: usize) -> Option<usize> {
        let children = 2 * at + 1..(2 * at + 3).min(self.heap.len());
        children.reduce(|one, other| if self.is_before(self.heap[other], self.heap[one]) { other } else { one })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_of_a_size_are_due() {
        let kib = |sizes: &[u64]| due(&sizes.iter().map(|size| size << 10).collect::<Vec<_>>());
        assert_eq!(kib(&[]), None);
        assert_eq!(kib(&[1, 1, 1]), None);
        assert_eq!(kib(&[1, 1, 1, 1]), Some(0..4));
        assert_eq!(kib(&[16, 1, 1, 1]), None);
        assert_eq!(kib(&[16, 16, 16, 20, 1, 1]), Some(0..4), "the newest two are smaller");
        assert_eq!(kib(&[64, 16, 1, 1, 1, 1]), Some(2..6), "the smallest first");
        assert_eq!(kib(&[64, 1, 1, 64, 1]), Some(0..4), "what is small before a larger one goes with it");
    }

    /// Whatever the order of sizes, runs stay few and nothing is written often.
    #[test]
    fn runs_stay_few_and_are_seldom_written() {
        for pattern in [&[5_000_u64][..], &[1_000, 900_000], &[100, 30_000, 7_000, 2_000_000], &[40_000, 1, 1]] {
            let mut runs = Vec::new();
            let (mut pushed, mut written, mut most) = (0, 0, 0);
            for &bytes in pattern.iter().cycle().take(20_000) {
                runs.push(bytes);
                pushed += bytes;
                while let Some(range) = due(&runs) {
                    let sum = runs[range.clone()].iter().sum();
                    written += sum;
                    runs.splice(range, [sum]);
                }
                most = most.max(runs.len());
            }
            let sizes = u64::from(size_of(pushed)) + 1;
            assert!(most as u64 <= 3 * sizes, "{most} runs of {sizes} sizes, {pattern:?}");
            assert!(written <= 2 * sizes * pushed, "{written} bytes written for {pushed}, {pattern:?}");
        }
    }
}
