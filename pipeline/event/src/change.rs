//! Change batches: rows with weights.

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use hashbrown::HashMap;

/// Weights of a batch's rows.
///
/// A change is an insert (+1) or a delete (−1); consolidation may add up equal rows, so a weight is any non-zero number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Every row is one insert: the append-only fast path, which needs no column.
    Inserts,
    /// One weight per row.
    PerRow(Vec<i64>),
}

/// Rows that are inserted or deleted, all of one schema.
///
/// ```text
/// weight  class  score
///     -1  3A        7     retraction of an earlier row
///     +1  3A        9
/// ```
#[derive(Clone, Debug)]
pub struct ChangeBatch {
    rows: RecordBatch,
    weights: Weights,
}

impl ChangeBatch {
    /// Rows that are all inserts.
    #[must_use]
    pub fn inserts(rows: RecordBatch) -> Self {
        Self { rows, weights: Weights::Inserts }
    }

    /// Rows with one weight each.
    ///
    /// # Panics
    /// When there are not as many weights as rows: that is a mistake of the calling operator.
    #[must_use]
    pub fn weighted(rows: RecordBatch, weights: Vec<i64>) -> Self {
        assert_eq!(rows.num_rows(), weights.len(), "one weight per row");
        Self { rows, weights: Weights::PerRow(weights) }
    }

    /// No rows of `schema`.
    #[must_use]
    pub fn empty(schema: SchemaRef) -> Self {
        Self::inserts(RecordBatch::new_empty(schema))
    }

    /// The rows, without their weights.
    #[must_use]
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The weights.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The weight of row `index`.
    #[must_use]
    pub fn weight(&self, index: usize) -> i64 {
        match &self.weights {
            Weights::Inserts => 1,
            Weights::PerRow(weights) => weights[index],
        }
    }

    /// How many rows there are, whatever their weights.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same weights on other columns of as many rows: what a projection makes.
    #[must_use]
    pub fn with_rows(&self, rows: RecordBatch) -> Self {
        match &self.weights {
            Weights::Inserts => Self::inserts(rows),
            Weights::PerRow(weights) => Self::weighted(rows, weights.clone()),
        }
    }

    /// The rows at `indices`, with their weights.
    ///
    /// # Errors
    /// When Arrow cannot gather them (an index out of range).
    pub fn take(&self, indices: &UInt32Array) -> Result<Self, ArrowError> {
        let rows = take_record_batch(&self.rows, indices)?;
        Ok(match &self.weights {
            Weights::Inserts => Self::inserts(rows),
            Weights::PerRow(weights) => {
                Self::weighted(rows, indices.values().iter().map(|&index| weights[index as usize]).collect())
            }
        })
    }

    /// `len` changes from `offset` on, sharing the columns.
    #[must_use]
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        let rows = self.rows.slice(offset, len);
        match &self.weights {
            Weights::Inserts => Self::inserts(rows),
            Weights::PerRow(weights) => Self::weighted(rows, weights[offset..offset + len].to_vec()),
        }
    }

    /// All changes of `batches`, one after the other.
    ///
    /// # Errors
    /// When a batch is not of `schema`.
    pub fn concat(schema: &SchemaRef, batches: &[Self]) -> Result<Self, ArrowError> {
        if let [only] = batches {
            return Ok(only.clone());
        }
        let rows = concat_batches(schema, batches.iter().map(|batch| &batch.rows))?;
        if batches.iter().all(|batch| batch.weights == Weights::Inserts) {
            return Ok(Self::inserts(rows));
        }
        let weights = batches.iter().flat_map(|batch| (0..batch.len()).map(|index| batch.weight(index))).collect();
        Ok(Self::weighted(rows, weights))
    }
}

/// Adds up the weights of equal rows and drops those that cancel. Rows keep the order of their first appearance.
///
/// # Errors
/// When a column's type has no row encoding.
pub fn consolidate(batch: &ChangeBatch) -> Result<ChangeBatch, ArrowError> {
    if batch.weights == Weights::Inserts || batch.len() < 2 {
        return Ok(batch.clone());
    }
    let rows = &batch.rows;
    let columns: &[ArrayRef] = rows.columns();
    let converter =
        RowConverter::new(columns.iter().map(|column| SortField::new(column.data_type().clone())).collect())?;
    let encoded = converter.convert_columns(columns)?;
    let sums = sums((0..batch.len()).map(|index| (encoded.row(index).data(), batch.weight(index))));
    let indices = UInt32Array::from_iter_values(sums.iter().map(|&(index, _)| index));
    let rows = take_record_batch(rows, &indices)?;
    Ok(ChangeBatch::weighted(rows, sums.into_iter().map(|(_, weight)| weight).collect()))
}

/// The sums of the weights of equal rows, but those that cancel; each with the place of the row's first appearance, in that order.
pub fn sums<'a>(rows: impl ExactSizeIterator<Item = (&'a [u8], i64)>) -> Vec<(u32, i64)> {
    let mut first: HashMap<&[u8], usize> = HashMap::with_capacity(rows.len());
    let mut sums: Vec<(u32, i64)> = Vec::with_capacity(rows.len());
    for (place, (row, weight)) in (0..).zip(rows) {
        let index = *first.entry(row).or_insert_with(|| {
            sums.push((place, 0));
            sums.len() - 1
        });
        sums[index].1 += weight;
    }
    sums.retain(|&(_, weight)| weight != 0);
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    fn changes(rows: &[(i64, i64)]) -> ChangeBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, false)]));
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
        let batch = RecordBatch::try_new(schema, vec![column]).expect("one column of the schema's type");
        ChangeBatch::weighted(batch, rows.iter().map(|row| row.1).collect())
    }

    #[test]
    fn consolidation_cancels_and_adds() {
        let out = consolidate(&changes(&[(1, 1), (2, 1), (1, -1), (2, 1), (3, -1)])).expect("integers encode");
        let values = out.rows().column(0).as_any().downcast_ref::<Int64Array>().expect("integers");
        let pairs: Vec<(i64, i64)> = (0..out.len()).map(|i| (values.value(i), out.weight(i))).collect();
        assert_eq!(pairs, [(2, 2), (3, -1)]);
    }
}
