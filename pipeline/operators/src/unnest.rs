//! One row per element of a list, or of several side by side.

use crate::output::{Output, on_time};
use crate::{Operator, OperatorError, Step, StepTime};
use arrow::array::{Array, ArrayRef, AsArray, LargeListArray, UInt32Array, UInt64Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use chalk_event::{ChangeBatch, Weights};
use chalk_graph::Unnest;
use std::ops::Range;
use std::sync::Arc;

/// Gives each element of a row's lists a row of its own, with the row's weight.
#[derive(Debug)]
pub(crate) struct UnnestOperator {
    pub(crate) output: Output,
    pub(crate) unnest: Unnest,
}

impl Operator for UnnestOperator {
    fn step(&mut self, inputs: &[ChangeBatch], _time: StepTime) -> Result<Step, OperatorError> {
        let input = self.output.port(inputs, 0)?;
        if input.is_empty() {
            return Ok(on_time(self.output.nothing()));
        }
        let (columns, rows) = self.columns(input).map_err(|error| self.output.arrow(error))?;
        let batch = self.output.rows(columns, rows.len())?;
        Ok(on_time(match input.weights() {
            Weights::Inserts => ChangeBatch::inserts(batch),
            Weights::PerRow(weights) => {
                ChangeBatch::weighted(batch, rows.values().iter().map(|&row| weights[row as usize]).collect())
            }
        }))
    }
}

impl UnnestOperator {
    /// The output columns, and which input row each of their rows is of.
    fn columns(&self, input: &ChangeBatch) -> Result<(Vec<ArrayRef>, UInt32Array), ArrowError> {
        let lists = self.unnest.lists.iter().map(|&list| as_large_list(input.rows().column(list)));
        let lists = lists.collect::<Result<Vec<_>, _>>()?;
        let (mut rows, mut elements) = (Vec::new(), vec![Vec::new(); lists.len()]);
        for (row, index) in (0..).zip(0..input.len()) {
            let bounds: Vec<Range<u64>> = lists.iter().map(|list| elements_of(list, index)).collect();
            let longest = bounds.iter().map(|bounds| bounds.end - bounds.start).max().unwrap_or(0);
            rows.extend((0..longest).map(|_| row));
            for (elements, bounds) in elements.iter_mut().zip(bounds) {
                elements.extend((0..longest).map(|place| Some(bounds.start + place).filter(|at| *at < bounds.end)));
            }
        }
        let rows = UInt32Array::from(rows);
        let elements: Vec<UInt64Array> = elements.into_iter().map(UInt64Array::from).collect();
        let columns = self
            .unnest
            .output
            .iter()
            .map(|&column| match self.unnest.lists.iter().position(|&list| list == column) {
                Some(list) => take(lists[list].values(), &elements[list], None),
                None => take(input.rows().column(column), &rows, None),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok((columns, rows))
    }
}

/// Which of a column's elements are a row's.
fn elements_of(lists: &LargeListArray, row: usize) -> Range<u64> {
    if lists.is_null(row) {
        return 0..0;
    }
    let offsets = lists.offsets();
    offsets[row].unsigned_abs()..offsets[row + 1].unsigned_abs()
}

/// Every kind of list as the widest one.
fn as_large_list(column: &ArrayRef) -> Result<LargeListArray, ArrowError> {
    let element = match column.data_type() {
        DataType::LargeList(_) => return Ok(column.as_list::<i64>().clone()),
        DataType::List(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => Arc::clone(field),
        DataType::Null => Arc::new(Field::new_list_field(DataType::Null, true)),
        other => return Err(ArrowError::InvalidArgumentError(format!("only lists can be unnested, not {other}"))),
    };
    Ok(cast(column, &DataType::LargeList(element))?.as_list::<i64>().clone())
}
