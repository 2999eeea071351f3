//! A view of which most rows are on disk.
//!
//! What is in memory is then what has to be added to the runs: weights of rows, some of them negative.
//!
//! ```text
//!               on disk     in memory     the view
//! (3A, s1, 10)     1           -1         -
//! (3A, s1, 12)     -            1         1
//! (3B, s7, 4)      2            -         2
//! ```
//!
//! Rows leave memory all at once, so that no run of the set takes away what no other run gives. A snapshot keeps the runs that it was
//! taken with, whoever merges or removes them meanwhile. Nothing is looked up when an epoch's changes come in; that a row would be there
//! less than 0 times is noticed when it is read.

use super::{ViewError, ViewRows};
use chalk_store::runs::{Change, RunError, RunSet, RunWriter, SetScan, Value};
use imbl::OrdMap;
use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

/// What a row in memory takes beside its bytes, about: its count, its place in the map, what an allocation costs.
const ROW_BYTES: usize = 72;

/// Rows that have left memory.
#[derive(Clone, Debug)]
pub(super) struct OnDisk {
    runs: Arc<RunSet>,
    /// How often rows have left: the runs of equal numbers say the same, merged or not.
    pub(super) times: u64,
}

impl ViewRows {
    /// Whether some of its rows have left memory.
    #[must_use]
    pub fn is_on_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// About so many bytes of memory. What earlier snapshots have besides is not counted.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.rows.len() * ROW_BYTES + self.row_bytes
    }

    /// How many rows are in memory, or weights that have to be added to those on disk.
    #[must_use]
    pub fn rows_in_memory(&self) -> usize {
        self.rows.len()
    }

    /// Writes what is in memory into a run.
    ///
    /// # Errors
    /// As for [`RunWriter::push`].
    pub fn write_to(&self, run: &mut RunWriter<'_>) -> Result<(), RunError> {
        self.rows.iter().try_for_each(|(row, &weight)| run.push(row, Change::Add(weight)))
    }

    /// What was in memory is in these runs now, which [`ViewRows::write_to`] has written since the view was made.
    pub fn leave_memory(&mut self, runs: Arc<RunSet>) {
        let times = self.disk.as_ref().map_or(0, |disk| disk.times) + 1;
        self.disk = Some(OnDisk { runs, times });
        self.rows = OrdMap::new();
        self.row_bytes = 0;
    }

    /// Its rows on disk are in other runs, which say the same.
    pub fn merged(&mut self, runs: Arc<RunSet>) {
        if let Some(disk) = &mut self.disk {
            disk.runs = runs;
        }
    }

    /// The rows from `lower` on that begin with `prefix`, each with how often it is there.
    pub(super) fn range<'a>(
        &'a self,
        lower: &[u8],
        prefix: &'a [u8],
    ) -> Range<'a, impl Iterator<Item = InMemory<'a>> + use<'a>> {
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Included(lower), Bound::Unbounded);
        let mut memory = self.rows.range::<_, [u8]>(bounds).take_while(|(row, _)| row.starts_with(prefix));
        let added = memory.next();
        let disk = self.disk.as_ref().map(|disk| disk.runs.scan_from(lower, prefix));
        Range { view: self, memory, added, disk, begun: false, stored: None }
    }

    pub(super) fn check(&self, weight: i64) -> Result<(), ViewError> {
        if weight < 0 { Err(ViewError::Negative { view: self.name.to_string(), weight }) } else { Ok(()) }
    }
}

/// A row and how often it is there.
type Row = (Arc<[u8]>, i64);

/// The same in a map.
type InMemory<'a> = (&'a Arc<[u8]>, &'a i64);

/// Rows in order, from memory and disk. Who fails to read is not asked again.
pub(super) struct Range<'a, I> {
    view: &'a ViewRows,
    memory: I,
    /// The next row in memory.
    added: Option<InMemory<'a>>,
    disk: Option<SetScan>,
    /// Whether the first row on disk has been read.
    begun: bool,
    /// The next row on disk.
    stored: Option<Row>,
}

impl<'a, I: Iterator<Item = InMemory<'a>>> Range<'a, I> {
    /// The next row and how often it is there; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Row>, ViewError> {
        if !std::mem::replace(&mut self.begun, true) {
            self.read()?;
        }
        loop {
            let order = match (&self.stored, self.added) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((stored, _)), Some((added, _))) => stored.cmp(added),
            };
            let mut next: Option<Row> = None;
            if order != Ordering::Greater {
                next = self.stored.take();
                self.read()?;
            }
            if order != Ordering::Less
                && let Some((row, &weight)) = self.added
            {
                let (row, before) = next.unwrap_or_else(|| (Arc::clone(row), 0));
                next = Some((row, before + weight));
                self.added = self.memory.next();
            }
            if let Some((row, weight)) = next.filter(|(_, weight)| *weight != 0) {
                self.view.check(weight)?;
                return Ok(Some((row, weight)));
            }
        }
    }

    /// Reads the next row on disk.
    fn read(&mut self) -> Result<(), ViewError> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let failed = |source| ViewError::Disk { view: self.view.name.to_string(), source };
        self.stored = match disk.advance().map_err(failed)? {
            Some((row, Value::Weight(weight))) => Some((row.into(), weight)),
            Some((_, Value::Bytes(_))) | None => None,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::rows::tests::{changes, schema, scores, view};
    use crate::{ViewError, ViewRows};
    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    use chalk_event::ChangeBatch;
    use chalk_store::Storage;
    use chalk_store::memory::MemoryFiles;
    use chalk_store::runs::{Run, RunSet, RunWriter};
    use std::sync::Arc;

    struct Spilled {
        storage: Arc<dyn Storage>,
        runs: RunSet,
        next: u32,
    }

    impl Spilled {
        fn new() -> Self {
            let storage: Arc<dyn Storage> = Arc::new(MemoryFiles::new());
            Self { runs: RunSet::of(Arc::clone(&storage), Vec::new()), storage, next: 0 }
        }

        fn name(&mut self) -> String {
            self.next += 1;
            format!("{}.run", self.next)
        }

        fn leave(&mut self, view: &mut ViewRows) {
            let name = self.name();
            let mut writer = RunWriter::create(&*self.storage, &name).expect("a new file");
            view.write_to(&mut writer).expect("rows in order");
            writer.finish().expect("a run");
            self.runs.push(Run::open(&*self.storage, &name).expect("a run"));
            view.leave_memory(Arc::new(self.runs.clone()));
            assert_eq!((view.memory_bytes(), view.is_on_disk()), (0, true));
        }

        fn merge(&mut self, view: &mut ViewRows) {
            let (name, all) = (self.name(), 0..self.runs.runs().len());
            let merged = self.runs.merge(all.clone(), &name).expect("whole runs");
            for name in self.runs.replace(all, merged) {
                self.storage.remove(&name).expect("memory");
            }
            view.merged(Arc::new(self.runs.clone()));
        }
    }

    /// SplitMix64.
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) % end
        }
    }

    /// All that can be asked of a view.
    fn told(view: &ViewRows) -> (Vec<RecordBatch>, Vec<Vec<i64>>, String, usize) {
        let prefix = |class: &str| {
            let class: ArrayRef = Arc::new(StringArray::from(vec![class]));
            scores(&view.with_prefix(&[class], 2).expect("rows"))
        };
        (view.batches(3).expect("rows"), ["a", "b", "c"].map(prefix).to_vec(), view.hash().to_string(), view.len())
    }

    fn applied(view: &ViewRows, changes: &ChangeBatch) -> ViewRows {
        let mut view = view.clone();
        view.apply(changes).expect("changes that fit");
        view
    }

    #[test]
    fn rows_that_leave_memory_are_there_for_readers() {
        for seed in 0..30 {
            let (mut chance, mut spilled) = (Chance(seed), Spilled::new());
            let (mut whole, mut spilling) = (view(&[]), view(&[]));
            let mut live: Vec<(&str, i64)> = Vec::new();
            let mut earlier = vec![(whole.clone(), spilling.clone())];
            for epoch in 0..40 {
                let mut rows = Vec::new();
                for _ in 0..chance.below(10) {
                    if !live.is_empty() && chance.below(2) == 0 {
                        let (class, score) = live.swap_remove(chance.below(live.len() as u64) as usize);
                        rows.push((class, score, -1));
                    } else {
                        let row = (["a", "ab", "b", "c"][chance.below(4) as usize], chance.below(6) as i64);
                        live.push(row);
                        rows.push((row.0, row.1, 1));
                    }
                }
                whole.apply(&changes(&rows)).expect("changes that fit");
                spilling.apply(&changes(&rows)).expect("changes that fit");
                match chance.below(6) {
                    0 => spilled.leave(&mut spilling),
                    1 if spilling.is_on_disk() => spilled.merge(&mut spilling),
                    _ => {}
                }
                assert_eq!(told(&spilling), told(&whole), "seed {seed}, epoch {epoch}");
                earlier.push((whole.clone(), spilling.clone()));
                let (old, spilled_old) = &earlier[chance.below(earlier.len() as u64) as usize];
                assert_eq!(told(spilled_old), told(old), "seed {seed}, epoch {epoch}: a snapshot stays as it was");
                let between = spilling.changes_since(spilled_old, &[], 1000).expect("rows").expect("few changes");
                let followed = applied(old, &between);
                assert_eq!(told(&followed), told(&whole), "seed {seed}, epoch {epoch}: followed");
                let class: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
                let expected =
                    whole.changes_since(old, &[Arc::clone(&class)], 1000).expect("rows").expect("few changes");
                let found = spilling.changes_since(spilled_old, &[class], 1000).expect("rows").expect("few changes");
                assert_eq!((found.rows(), found.weights()), (expected.rows(), expected.weights()));
            }
        }
    }

    #[test]
    fn a_delete_of_nothing_is_noticed_when_it_is_read() -> Result<(), ViewError> {
        let (mut spilled, mut view) = (Spilled::new(), view(&[&[("a", 1, 1)]]));
        spilled.leave(&mut view);
        view.apply(&changes(&[("a", 1, -1)]))?;
        assert!(view.batches(8)?.is_empty());
        view.apply(&changes(&[("a", 1, -1)]))?;
        assert!(matches!(view.batches(8), Err(ViewError::Negative { weight: -1, .. })));
        spilled.leave(&mut view);
        assert!(matches!(view.batches(8), Err(ViewError::Negative { weight: -1, .. })));
        Ok(())
    }

    #[test]
    fn a_view_with_too_much_to_compare_says_so() {
        let mut spilled = Spilled::new();
        let rows: Vec<(&str, i64, i64)> = (0..100).map(|score| ("a", score, 1)).collect();
        let before = view(&[&rows]);
        let mut now = before.clone();
        spilled.leave(&mut now);
        now.apply(&changes(&[("a", 1, -1)])).expect("it is there");
        assert!(now.changes_since(&before, &[], 1).expect("rows").is_none());
        let changed = now.changes_since(&before, &[], 20).expect("rows").expect("few changes");
        assert_eq!((changed.len(), changed.rows().schema()), (1, schema()));
    }
}
