//! The rows of one view.

mod cursor;
mod diff;
mod disk;

pub use cursor::Cursor;

use crate::hash::MultisetHash;
use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use chalk_event::{ChangeBatch, sums};
use chalk_store::runs::RunError;
use disk::OnDisk;
use imbl::OrdMap;
use std::sync::Arc;

/// A view cannot be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// Arrow refused.
    #[error("view '{view}': {source}")]
    Arrow {
        /// The view.
        view: String,
        /// What Arrow said.
        source: ArrowError,
    },
    /// A row was deleted more often than it was inserted: the engine's mistake.
    #[error(
        "view '{view}' would hold a row {weight} times: a row was taken back that was not there. Of a table of changes, is there a delete that came twice, or of a row that it never had?"
    )]
    Negative {
        /// The view.
        view: String,
        /// How often.
        weight: i64,
    },
    /// Rows that have left memory cannot be read.
    #[error("view '{view}': {source}")]
    Disk {
        /// The view.
        view: String,
        /// What happened.
        source: RunError,
    },
}

/// The rows of a view as of one epoch. Cloning shares them.
#[derive(Clone, Debug)]
pub struct ViewRows {
    // configuration
    name: Arc<str>,
    schema: SchemaRef,
    converter: Arc<RowConverter>,
    // state
    /// All rows; or, when there are some on disk, what has to be added to these.
    rows: OrdMap<Arc<[u8]>, i64>,
    /// The sum of the lengths of `rows`.
    row_bytes: usize,
    disk: Option<OnDisk>,
    count: i64,
    hash: MultisetHash,
}

impl ViewRows {
    /// A view without rows.
    ///
    /// # Errors
    /// When a column's type has no row encoding.
    pub fn new(name: &str, schema: SchemaRef) -> Result<Self, ViewError> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let converter =
            RowConverter::new(fields).map_err(|source| ViewError::Arrow { view: name.to_owned(), source })?;
        let (name, converter) = (name.into(), Arc::new(converter));
        let (rows, hash) = (OrdMap::new(), MultisetHash::default());
        Ok(Self { name, schema, converter, rows, row_bytes: 0, disk: None, count: 0, hash })
    }

    fn arrow(&self) -> impl Fn(ArrowError) -> ViewError + use<> {
        let view = self.name.to_string();
        move |source| ViewError::Arrow { view: view.clone(), source }
    }

    /// The view's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows it has.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or(0)
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A hash of its rows, whatever their order.
    #[must_use]
    pub fn hash(&self) -> MultisetHash {
        self.hash
    }

    /// Applies the changes of an epoch; gives what they come to, each row once.
    ///
    /// # Errors
    /// When a row would be there less than 0 times after all of them, or Arrow refuses the rows. The view is of no use afterwards.
    pub fn apply(&mut self, changes: &ChangeBatch) -> Result<ChangeBatch, ViewError> {
        if changes.is_empty() {
            return Ok(changes.clone());
        }
        let encoded = self.converter.convert_columns(changes.rows().columns()).map_err(self.arrow())?;
        let net = sums((0..changes.len()).map(|row| (encoded.row(row).data(), changes.weight(row))));
        for &(row, weight) in &net {
            let bytes = encoded.row(row as usize).data();
            self.hash.add(bytes, weight);
            self.count += weight;
            // Most rows come or go: one descent does. With rows on disk, these are weights to be added to theirs, of either sign.
            let is_put = weight > 0 || self.disk.is_some();
            let before = if is_put { self.rows.insert(bytes.into(), weight) } else { self.rows.remove(bytes) };
            let after = before.unwrap_or(0) + weight;
            match after {
                ..0 if self.disk.is_none() => self.check(after)?,
                0 if is_put => drop(self.rows.remove(bytes)),
                0 => {}
                _ if before.is_some() => drop(self.rows.insert(bytes.into(), after)),
                _ => {}
            }
            match (before, after) {
                (None, _) => self.row_bytes += bytes.len(),
                (Some(_), 0) => self.row_bytes -= bytes.len(),
                (Some(_), _) => {}
            }
        }
        if net.len() == changes.len() {
            return Ok(changes.clone());
        }
        let places = UInt32Array::from_iter_values(net.iter().map(|&(row, _)| row));
        let rows = take_record_batch(changes.rows(), &places).map_err(self.arrow())?;
        Ok(ChangeBatch::weighted(rows, net.into_iter().map(|(_, weight)| weight).collect()))
    }

    /// All rows, in batches of `batch_rows`.
    ///
    /// # Errors
    /// When Arrow refuses, or rows on disk cannot be read.
    pub fn batches(&self, batch_rows: usize) -> Result<Vec<RecordBatch>, ViewError> {
        self.with_prefix(&[], batch_rows)
    }

    /// The rows whose first columns equal `prefix`: one array of one value each.
    ///
    /// # Errors
    /// When the values are not of the columns' types, or rows on disk cannot be read.
    pub fn with_prefix(&self, prefix: &[ArrayRef], batch_rows: usize) -> Result<Vec<RecordBatch>, ViewError> {
        let mut cursor = self.cursor(prefix)?;
        let mut batches = Vec::new();
        while let Some(batch) = self.read(&mut cursor, batch_rows)? {
            batches.push(batch);
        }
        Ok(batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    pub(super) fn schema() -> SchemaRef {
        let class = Field::new("class", DataType::Utf8, false);
        Arc::new(Schema::new(vec![class, Field::new("score", DataType::Int64, false)]))
    }

    pub(super) fn changes(rows: &[(&str, i64, i64)]) -> ChangeBatch {
        let class: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)));
        let score: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
        let batch = RecordBatch::try_new(schema(), vec![class, score]).expect("columns of the schema");
        ChangeBatch::weighted(batch, rows.iter().map(|row| row.2).collect())
    }

    pub(super) fn view(changelog: &[&[(&str, i64, i64)]]) -> ViewRows {
        let mut view = ViewRows::new("v", schema()).expect("types with an encoding");
        for epoch in changelog {
            view.apply(&changes(epoch)).expect("no row below zero");
        }
        view
    }

    pub(super) fn scores(batches: &[RecordBatch]) -> Vec<i64> {
        batches.iter().flat_map(|batch| batch.column(1).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    #[test]
    fn rows_are_those_of_the_changelog_and_the_hash_is_of_the_rows() {
        let direct = view(&[&[("a", 2, 1), ("b", 3, 2)]]);
        let corrected = view(&[&[("a", 1, 1), ("b", 3, 1)], &[("a", 2, 1), ("a", 1, -1), ("b", 3, 1)]]);
        assert_eq!(scores(&corrected.batches(2).expect("rows")), [2, 3, 3]);
        assert_eq!(corrected.hash(), direct.hash());
        assert_ne!(corrected.hash(), view(&[&[("a", 2, 1), ("b", 3, 1)]]).hash());
        assert_eq!(corrected.len(), 3);
    }

    /// Hashes stand in the journal: when this one changes, no view is what its journal says any more.
    #[test]
    fn the_hash_of_given_rows_stays_the_same() {
        assert_eq!(view(&[&[("3A", 7, 2), ("3B", -1, 1)]]).hash().to_string(), "d229985ae2ce5f3479ab535a98ac0e5c");
        assert_eq!(view(&[]).hash().to_string(), "00000000000000000000000000000000");
        let float: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![Some(0.5), None]));
        let batch = RecordBatch::try_from_iter([("mean", float)]).expect("one column");
        let mut view = ViewRows::new("v", batch.schema()).expect("floats encode");
        view.apply(&ChangeBatch::inserts(batch)).expect("inserts");
        assert_eq!(view.hash().to_string(), "be4e2b571ee179ad8cddc9255bede617");
    }

    #[test]
    fn a_prefix_is_a_range() {
        let view = view(&[&[("a", 1, 1), ("ab", 2, 1), ("b", 3, 1)]]);
        let prefix: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        assert_eq!(scores(&view.with_prefix(&[prefix], 8).expect("rows")), [1]);
    }

    #[test]
    fn an_older_snapshot_stays_as_it_was() {
        let mut now = view(&[&[("a", 1, 1)]]);
        let before = now.clone();
        now.apply(&changes(&[("a", 1, -1)])).expect("it is there");
        assert_eq!((before.len(), now.len()), (1, 0));
    }

    #[test]
    fn what_changes_come_to_has_each_row_once() {
        let mut view = view(&[&[("a", 1, 2)]]);
        let net = view.apply(&changes(&[("b", 2, 1), ("a", 1, -1), ("b", 2, -1), ("a", 1, -1), ("c", 3, 1)]));
        let net = net.expect("no row below zero");
        assert_eq!((scores(&[net.rows().clone()]), net.weight(0), net.weight(1)), (vec![1, 3], -2, 1));
        assert_eq!(scores(&view.batches(8).expect("rows")), [3]);
        assert_eq!(view.apply(&changes(&[("c", 3, 4), ("d", 4, 1)])).expect("inserts").len(), 2);
        assert_eq!(scores(&view.batches(8).expect("rows")), [3, 3, 3, 3, 3, 4]);
        assert_eq!(view.apply(&changes(&[("c", 3, -2), ("d", 4, -1)])).expect("they are there").len(), 2);
        assert_eq!(scores(&view.batches(8).expect("rows")), [3, 3, 3]);
    }

    #[test]
    fn a_delete_of_nothing_is_an_error() {
        let mut view = view(&[&[("a", 1, 1)]]);
        assert!(view.apply(&changes(&[("a", 2, -1), ("a", 2, 1)])).is_ok(), "made up for in the same epoch");
        assert!(matches!(view.apply(&changes(&[("a", 2, -1)])), Err(ViewError::Negative { weight: -1, .. })));
    }
}
