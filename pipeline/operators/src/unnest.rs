//! One row per element of a list.

use crate::output::{Output, on_time};
use crate::{Operator, OperatorError, Step, StepTime};
use arrow::array::{Array, ArrayRef, AsArray, LargeListArray, UInt32Array, UInt64Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use chalk_event::{ChangeBatch, Weights};
use chalk_graph::Unnest;
use std::sync::Arc;

/// Gives each element of a row's list a row of its own, with the row's weight.
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
        let lists = as_large_list(input.rows().column(self.unnest.list))?;
        let (mut rows, mut elements) = (Vec::new(), Vec::new());
        for (row, bounds) in (0..).zip(lists.offsets().windows(2)) {
            if lists.is_valid(row as usize) {
                for element in bounds[0].unsigned_abs()..bounds[1].unsigned_abs() {
                    rows.push(row);
                    elements.push(element);
                }
            }
        }
        let (rows, elements) = (UInt32Array::from(rows), UInt64Array::from(elements));
        let columns = self
            .unnest
            .output
            .iter()
            .map(|&column| {
                if column == self.unnest.list {
                    take(lists.values(), &elements, None)
                } else {
                    take(input.rows().column(column), &rows, None)
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok((columns, rows))
    }
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
