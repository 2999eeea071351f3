//! Any other function of DataFusion, recomputed over the arguments that a group has.

use super::accumulator::{Accumulator, AccumulatorError, CallRows};
use crate::refused::{is_of_a_row, message_of};
use crate::row_codec::RowCodec;
use crate::row_set::{RowSet, RowSets};
use crate::state::{NotSavedState, StateReader, put_rows};
use arrow::array::{ArrayRef, new_empty_array};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::SortField;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::scalar::ScalarValue;
use std::sync::Arc;

/// Keeps each group's arguments and runs the function over them whenever its result is asked for.
///
/// Arguments beyond the function's own are the columns of its ORDER BY: rows are given to it in their order. Otherwise, and
/// among equals, they come in the order of the arguments, so that functions that depend on order are deterministic.
pub(crate) struct Recompute {
    function: Arc<AggregateFunctionExpr>,
    /// How many arguments are the function's own.
    own: usize,
    /// How many are kept, with those of its ORDER BY.
    args: usize,
    /// Encodes the columns of the ORDER BY, then the function's own.
    codec: RowCodec,
    values: RowSets,
}

impl Recompute {
    /// For arguments of these types.
    pub(crate) fn new(function: &Arc<AggregateFunctionExpr>, args: &[&DataType]) -> Result<Self, ArrowError> {
        let own = function.expressions().len().min(args.len());
        let order = function.order_bys();
        let sort = |(index, data_type): (usize, &&DataType)| match order.get(index) {
            Some(by) => SortField::new_with_options((*data_type).clone(), by.options),
            None => SortField::new((*data_type).clone()),
        };
        let fields = args[own..].iter().enumerate().map(sort);
        let fields = fields.chain(args[..own].iter().map(|data_type| SortField::new((*data_type).clone())));
        let codec = RowCodec::sorted(fields.collect())?;
        Ok(Self { function: Arc::clone(function), own, args: args.len(), codec, values: RowSets::default() })
    }

    fn evaluate_one(&self, rows: &RowSet) -> Result<ScalarValue, AccumulatorError> {
        let mut accumulator = self.function.create_accumulator()?;
        if !rows.is_empty() {
            let copies = |(row, weight): (_, i64)| std::iter::repeat_n(row, usize::try_from(weight).unwrap_or(0));
            let mut columns = self.codec.decode(rows.iter().flat_map(copies))?;
            columns.rotate_left(self.args - self.own);
            accumulator.update_batch(&columns)?;
        }
        Ok(accumulator.evaluate()?)
    }
}

impl Accumulator for Recompute {
    fn reserve(&mut self, groups: usize) {
        self.values.reserve(groups);
    }

    fn update(&mut self, rows: &CallRows<'_>) -> Result<(), ArrowError> {
        let mut columns: Vec<ArrayRef> = rows.args.iter().map(|&arg| ArrayRef::clone(arg)).collect();
        columns.rotate_left(self.own);
        let encoded = self.codec.encode(&columns)?;
        let values = &mut self.values;
        rows.each(|row, group, weight| values.add(group, encoded.row(row), weight));
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, AccumulatorError> {
        if groups.is_empty() {
            return Ok(new_empty_array(self.function.field().data_type()));
        }
        let (mut results, mut failed) = (Vec::with_capacity(groups.len()), Vec::new());
        for &group in groups {
            match self.evaluate_one(self.values.get(group as usize)) {
                Ok(result) => results.push(result),
                Err(AccumulatorError::Function(error)) if is_of_a_row(&error) => {
                    failed.push((group, message_of(&error)));
                }
                Err(error) => return Err(error),
            }
        }
        if !failed.is_empty() {
            return Err(AccumulatorError::Groups(failed));
        }
        Ok(ScalarValue::iter_to_array(results)?)
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
