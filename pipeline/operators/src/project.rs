//! One expression per output column.

use crate::output::{Output, on_time};
use crate::refused::without_refused;
use crate::{Operator, OperatorError, Step, StepTime};
use arrow::array::ArrayRef;
use chalk_event::ChangeBatch;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;

/// Computes columns; weights pass.
#[derive(Debug)]
pub(crate) struct ProjectOperator {
    pub(crate) output: Output,
    pub(crate) expressions: Vec<Arc<dyn PhysicalExpr>>,
}

impl Operator for ProjectOperator {
    fn step(&mut self, inputs: &[ChangeBatch], _time: StepTime) -> std::result::Result<Step, OperatorError> {
        let input = self.output.port(inputs, 0)?;
        if input.is_empty() {
            return Ok(on_time(self.output.nothing()));
        }
        let (columns, input, refused) = without_refused(input, &self.output, |input| {
            self.expressions.iter().map(|expression| evaluate(expression.as_ref(), input)).collect::<Result<Vec<_>>>()
        })?;
        let changes = input.with_rows(self.output.rows(columns, input.len())?);
        Ok(Step { refused, ..on_time(changes) })
    }
}

/// The value of an expression for each row; a constant is written out.
pub(crate) fn evaluate(expression: &dyn PhysicalExpr, input: &ChangeBatch) -> Result<ArrayRef> {
    expression.evaluate(input.rows()).and_then(|value| value.into_array_of_size(input.len()))
}
