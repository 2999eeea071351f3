//! What changed in a view between two snapshots.

use super::{ViewError, ViewRows};
use arrow::array::{ArrayRef, RecordBatch};
use chalk_event::ChangeBatch;
use imbl::ordmap::DiffItem;
use std::cmp::Ordering;
use std::sync::Arc;

/// For each row that may differ, so many are compared at most.
const ROWS_COMPARED: usize = 8;

/// Rows, and by how much more often each is there.
type Differing = (Vec<Arc<[u8]>>, Vec<i64>);

impl ViewRows {
    /// The consolidated changes that lead from `before`, an earlier snapshot of the same view, to this one, for the rows
    /// whose first columns equal `prefix` (as for [`ViewRows::cursor`]). `None` when more than `rows_max` rows differ.
    ///
    /// The two share what did not change, so that this takes about as long as there are changes. When rows have left memory between the
    /// two, all that begin with `prefix` are compared: `None` too when they are many times `rows_max`.
    ///
    /// # Errors
    /// When Arrow refuses, or rows on disk cannot be read.
    pub fn changes_since(
        &self,
        before: &Self,
        prefix: &[ArrayRef],
        rows_max: usize,
    ) -> Result<Option<ChangeBatch>, ViewError> {
        let prefix = self.cursor(prefix)?.prefix;
        let differing = if self.times_left() == before.times_left() {
            self.differing_in_memory(before, &prefix, rows_max)
        } else {
            self.differing(before, &prefix, rows_max)?
        };
        let Some((rows, weights)) = differing else { return Ok(None) };
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows(rows.iter().map(|row| parser.parse(row))).map_err(self.arrow())?;
        let rows = if weights.is_empty() {
            Ok(RecordBatch::new_empty(Arc::clone(&self.schema)))
        } else {
            RecordBatch::try_new(Arc::clone(&self.schema), columns)
        };
        Ok(Some(ChangeBatch::weighted(rows.map_err(self.arrow())?, weights)))
    }

    /// The consolidated changes that lead from `before`, an earlier snapshot of the same view, to this one, as row encodings of whole
    /// rows, in their order, with weights. No rows may have left memory between the two.
    pub fn encoded_changes_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (&'a [u8], i64)> {
        debug_assert_eq!(self.times_left(), before.times_left());
        self.diff(before).map(|(row, weight)| (&**row, weight))
    }

    /// How often rows have left memory.
    fn times_left(&self) -> u64 {
        self.disk.as_ref().map_or(0, |disk| disk.times)
    }

    /// What differs in memory: all that does when both have the same rows on disk.
    fn diff<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (&'a Arc<[u8]>, i64)> {
        before.rows.diff(&self.rows).map(|item| match item {
            DiffItem::Add(row, count) => (row, *count),
            DiffItem::Remove(row, count) => (row, -count),
            DiffItem::Update { old: (_, old), new: (row, new) } => (row, new - old),
        })
    }

    /// What differs when both have the same rows on disk.
    fn differing_in_memory(&self, before: &Self, prefix: &[u8], rows_max: usize) -> Option<Differing> {
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        for (row, weight) in self.diff(before) {
            if row.starts_with(prefix) {
                if rows.len() == rows_max {
                    return None;
                }
                rows.push(Arc::clone(row));
                weights.push(weight);
            }
        }
        Some((rows, weights))
    }

    /// What differs, of all rows of both.
    fn differing(&self, before: &Self, prefix: &[u8], rows_max: usize) -> Result<Option<Differing>, ViewError> {
        let (mut old_rows, mut new_rows) = (before.range(prefix, prefix), self.range(prefix, prefix));
        let (mut old, mut new) = (old_rows.next()?, new_rows.next()?);
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        for _ in 0..rows_max.saturating_mul(ROWS_COMPARED) {
            let order = match (&old, &new) {
                (None, None) => return Ok(Some((rows, weights))),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            let mut change: Option<(Arc<[u8]>, i64)> = None;
            if order != Ordering::Greater {
                change = old.map(|(row, count)| (row, -count));
                old = old_rows.next()?;
            }
            if order != Ordering::Less
                && let Some((row, count)) = new
            {
                change = Some((row, count + change.map_or(0, |(_, weight)| weight)));
                new = new_rows.next()?;
            }
            if let Some((row, weight)) = change.filter(|(_, weight)| *weight != 0) {
                if rows.len() == rows_max {
                    return Ok(None);
                }
                rows.push(row);
                weights.push(weight);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use crate::rows::tests::{changes, schema, scores, view};
    use crate::{ViewError, ViewRows};
    use arrow::array::{ArrayRef, StringArray};
    use std::sync::Arc;

    fn weights(now: &ViewRows, before: &ViewRows, prefix: &[ArrayRef]) -> Vec<(i64, i64)> {
        let changes = now.changes_since(before, prefix, 1_000).expect("rows").expect("few changes");
        let scores = scores(&[changes.rows().clone()]);
        scores.into_iter().enumerate().map(|(index, score)| (score, changes.weight(index))).collect()
    }

    #[test]
    fn a_snapshot_and_the_changes_since_are_the_later_one() -> Result<(), ViewError> {
        let before = view(&[&[("a", 1, 1), ("a", 2, 1), ("b", 3, 2), ("c", 9, 1)]]);
        let mut now = before.clone();
        now.apply(&changes(&[("a", 1, -1), ("a", 4, 1), ("b", 3, -1), ("c", 9, 1)]))?;
        assert_eq!(weights(&now, &before, &[]), [(1, -1), (4, 1), (3, -1), (9, 1)]);
        let class: ArrayRef = Arc::new(StringArray::from(vec!["b"]));
        assert_eq!(weights(&now, &before, &[class]), [(3, -1)]);
        assert_eq!(weights(&now, &now, &[]), []);
        let mut followed = before.clone();
        followed.apply(&now.changes_since(&before, &[], 4)?.expect("4 changes"))?;
        assert_eq!((followed.hash(), followed.len()), (now.hash(), now.len()));
        assert!(now.changes_since(&before, &[], 3)?.is_none());
        let empty = ViewRows::new("v", schema())?;
        assert_eq!(weights(&before, &empty, &[]).len(), 4);
        Ok(())
    }
}
