//! COUNT.

use super::accumulator::{Accumulator, AccumulatorError, CallRows};
use crate::row_codec::RowCodec;
use crate::row_set::{RowSet, RowSets};
use crate::state::{NotSavedState, StateReader, put_i64, put_rows};
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::common::utils::normalize_float_zero;
use std::sync::Arc;

/// Rows for which no argument is NULL.
#[derive(Debug, Default)]
pub(crate) struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn reserve(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
    }

    fn update(&mut self, rows: &CallRows<'_>) -> Result<(), ArrowError> {
        let counts = &mut self.counts;
        rows.each_non_null(|_, group, weight| counts[group] += weight);
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, AccumulatorError> {
        Ok(Arc::new(Int64Array::from_iter_values(groups.iter().map(|&group| self.counts[group as usize]))))
    }

    fn clear(&mut self, group: u32) {
        self.counts[group as usize] = 0;
    }

    fn group_bytes(&self) -> usize {
        size_of::<i64>()
    }

    fn save(&self, group: u32, out: &mut Vec<u8>) {
        put_i64(out, self.counts[group as usize]);
    }

    fn restore(&mut self, group: u32, saved: &mut StateReader<'_>) -> Result<(), NotSavedState> {
        self.counts[group as usize] = saved.i64()?;
        Ok(())
    }
}

/// Distinct values that are not NULL.
#[derive(Debug)]
pub(crate) struct CountDistinct {
    codec: RowCodec,
    values: RowSets,
}

impl CountDistinct {
    /// For values of this type.
    pub(crate) fn new(value: &DataType) -> Result<Self, ArrowError> {
        Ok(Self { codec: RowCodec::new([value])?, values: RowSets::default() })
    }
}

impl Accumulator for CountDistinct {
    fn reserve(&mut self, groups: usize) {
        self.values.reserve(groups);
    }

    fn update(&mut self, rows: &CallRows<'_>) -> Result<(), ArrowError> {
        let columns: Vec<ArrayRef> = rows.args.iter().map(|arg| normalize_float_zero(arg)).collect();
        let encoded = self.codec.encode(&columns)?;
        let values = &mut self.values;
        rows.each_non_null(|row, group, weight| values.add(group, encoded.row(row), weight));
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, AccumulatorError> {
        let count = |group: &u32| i64::try_from(self.values.get(*group as usize).len()).unwrap_or(i64::MAX);
        Ok(Arc::new(Int64Array::from_iter_values(groups.iter().map(count))))
    }

    fn clear(&mut self, group: u32) {
        self.values.set(group as usize, RowSet::Empty);
    }

    fn group_bytes(&self) -> usize {
        size_of::<RowSet>()
    }

    fn rows_bytes(&self) -> usize {
        self.values.bytes()
    }

    fn save(&self, group: u32, out: &mut Vec<u8>) {
        put_rows(out, self.values.get(group as usize));
    }

    fn restore(&mut self, group: u32, saved: &mut StateReader<'_>) -> Result<(), NotSavedState> {
        self.values.set(group as usize, saved.rows()?);
        Ok(())
    }
}
