//! What changed in a view between two snapshots.

use super::{ViewError, ViewRows};
use arrow::array::{ArrayRef, RecordBatch};
use chalk_event::ChangeBatch;
use imbl::ordmap::DiffItem;
use std::sync::Arc;

impl ViewRows {
    /// The consolidated changes that lead from `before`, an earlier snapshot of the same view, to this one, for the rows
    /// whose first columns equal `prefix` (as for [`ViewRows::cursor`]). `None` when more than `rows_max` rows differ.
    ///
    /// The two share what did not change, so that this takes about as long as there are changes.
    ///
    /// # Errors
    /// When Arrow refuses.
    pub fn changes_since(
        &self,
        before: &Self,
        prefix: &[ArrayRef],
        rows_max: usize,
    ) -> Result<Option<ChangeBatch>, ViewError> {
        let prefix = self.cursor(prefix)?.prefix;
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        for (row, weight) in self.diff(before) {
            if row.starts_with(&prefix) {
                if rows.len() == rows_max {
                    return Ok(None);
                }
                rows.push(Arc::clone(row));
                weights.push(weight);
            }
        }
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
    /// rows, in their order, with weights.
    pub fn encoded_changes_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (&'a [u8], i64)> {
        self.diff(before).map(|(row, weight)| (&**row, weight))
    }

    fn diff<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (&'a Arc<[u8]>, i64)> {
        before.rows.diff(&self.rows).map(|item| match item {
            DiffItem::Add(row, count) => (row, *count),
            DiffItem::Remove(row, count) => (row, -count),
            DiffItem::Update { old: (_, old), new: (row, new) } => (row, new - old),
        })
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
