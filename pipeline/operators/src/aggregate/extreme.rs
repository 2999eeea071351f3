//! MIN and MAX.

use super::accumulator::{Accumulator, AccumulatorError, CallRows};
use crate::row_codec::RowCodec;
use crate::row_set::{RowSet, RowSets};
use crate::state::{NotSavedState, StateReader, put_rows};
use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// Which end of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// MIN.
    Least,
    /// MAX.
    Greatest,
}

/// The least or greatest value, in Arrow's total order.
#[derive(Debug)]
pub(crate) struct Extreme {
    end: End,
    /// Nothing is retracted, so that the best value is all that must be kept.
    append_only: bool,
    codec: RowCodec,
    /// The encoding of NULL, the result of a group without values.
    null: Box<[u8]>,
    values: RowSets,
}

impl Extreme {
    /// For values of this type.
    pub(crate) fn new(value: &DataType, end: End, append_only: bool) -> Result<Self, ArrowError> {
        let codec = RowCodec::new([value])?;
        let null = codec.encode(&[new_null_array(value, 1)])?.row(0).into();
        Ok(Self { end, append_only, codec, null, values: RowSets::default() })
    }
}

impl Accumulator for Extreme {
    fn reserve(&mut self, groups: usize) {
        self.values.reserve(groups);
    }

    fn update(&mut self, rows: &CallRows<'_>) -> Result<(), ArrowError> {
        let columns: Vec<ArrayRef> = rows.args.iter().map(|&arg| ArrayRef::clone(arg)).collect();
        let encoded = self.codec.encode(&columns)?;
        let (end, append_only, values) = (self.end, self.append_only, &mut self.values);
        rows.each_non_null(|row, group, weight| {
            let value = encoded.row(row);
            if !append_only {
                values.add(group, value, weight);
            } else if values
                .get(group)
                .first()
                .is_none_or(|best| if end == End::Least { value < best } else { value > best })
            {
                values.set(group, RowSet::One(value.into(), 1));
            }
        });
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, AccumulatorError> {
        let best = |&group: &u32| {
            let values = self.values.get(group as usize);
            let best = if self.end == End::Least { values.first() } else { values.last() };
            best.unwrap_or(&self.null)
        };
        let mut columns = self.codec.decode(groups.iter().map(best))?;
        columns.pop().ok_or_else(|| ArrowError::ComputeError("a codec of one column gives one column".into()).into())
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
