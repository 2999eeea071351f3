//! SUM and AVG.

use super::accumulator::{Accumulator, AccumulatorError, CallRows};
use super::exact_sum::ExactSum;
use crate::state::{NotSavedState, StateReader, put_i64};
use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::error::ArrowError;
use std::sync::Arc;

/// The one argument as a column of the type that is added up; values that do not fit are an error.
fn argument(rows: &CallRows<'_>, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    match rows.args.first() {
        Some(column) if column.data_type() == wanted => Ok(Arc::clone(column)),
        Some(column) => cast_with_options(column, wanted, &options),
        None => Err(ArrowError::InvalidArgumentError("a sum needs an argument".to_owned())),
    }
}

/// Sum of integers. It wraps around, so that the order of additions cannot matter.
#[derive(Debug, Default)]
pub(crate) struct SumInteger {
    sums: Vec<i64>,
    /// How many values there are: without any, the sum is NULL.
    counts: Vec<i64>,
}

impl Accumulator for SumInteger {
    fn reserve(&mut self, groups: usize) {
        self.sums.resize(groups, 0);
        self.counts.resize(groups, 0);
    }

    fn update(&mut self, rows: &CallRows<'_>) -> Result<(), ArrowError> {
        let column = argument(rows, &DataType::Int64)?;
        let values = column.as_primitive::<Int64Type>().values();
        let (sums, counts) = (&mut self.sums, &mut self.counts);
        rows.each_non_null(|row, group, weight| {
            sums[group] = sums[group].wrapping_add(values[row].wrapping_mul(weight));
            counts[group] += weight;
        });
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, AccumulatorError> {
        let sum = |&group: &u32| (self.counts[group as usize] != 0).then(|| self.sums[group as usize]);
        Ok(Arc::new(Int64Array::from_iter(groups.iter().map(sum))))
    }

    fn clear(&mut self, group: u32) {
        self.sums[group as usize] = 0;
        self.counts[group as usize] = 0;
    }

    fn group_bytes(&self) -> usize {
        2 * size_of::<i64>()
    }

    fn save(&self, group: u32, out: &mut Vec<u8>) {
        put_i64(out, self.sums[group as usize]);
        put_i64(out, self.counts[group as usize]);
    }

    fn restore(&mut self, group: u32, saved: &mut StateReader<'_>) -> Result<(), NotSavedState> {
        self.sums[group as usize] = saved.i64()?;
        self.counts[group as usize] = saved.i64()?;
        Ok(())
    }
}

/// What is read from a sum of doubles.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FloatResult {
    /// The sum.
    Sum,
    /// The sum by the number of values.
    Mean,
}

/// Exact sum or mean of doubles.
#[derive(Debug)]
pub(crate) struct SumFloat {
    result: FloatResult,
    sums: Vec<ExactSum>,
}

impl SumFloat {
    /// An accumulator for one of them.
    pub(crate) fn new(result: FloatResult) -> Self {
        Self { result, sums: Vec::new() }
    }
}

impl Accumulator for SumFloat {
    fn reserve(&mut self, groups: usize) {
        self.sums.resize_with(groups, ExactSum::default);
    }

    fn update(&mut self, rows: &CallRows<'_>) -> Result<(), ArrowError> {
        let column = argument(rows, &DataType::Float64)?;
        let values = column.as_primitive::<Float64Type>().values();
        let sums = &mut self.sums;
        rows.each_non_null(|row, group, weight| sums[group].add(values[row], weight));
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, AccumulatorError> {
        let read = |&group: &u32| match self.result {
            FloatResult::Sum => self.sums[group as usize].sum(),
            FloatResult::Mean => self.sums[group as usize].mean(),
        };
        Ok(Arc::new(Float64Array::from_iter(groups.iter().map(read))))
    }

    fn clear(&mut self, group: u32) {
        self.sums[group as usize].clear();
    }

    fn group_bytes(&self) -> usize {
        /// Values of one magnitude share so many limbs, whose allocation is not free.
        const LIMBS_BYTES: usize = 3 * size_of::<u64>() + 16;
        size_of::<ExactSum>() + LIMBS_BYTES
    }

    fn save(&self, group: u32, out: &mut Vec<u8>) {
        self.sums[group as usize].save(out);
    }

    fn restore(&mut self, group: u32, saved: &mut StateReader<'_>) -> Result<(), NotSavedState> {
        self.sums[group as usize] = ExactSum::restore(saved)?;
        Ok(())
    }
}
