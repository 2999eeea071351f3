//! One expression per output column.

use crate::output::{Output, on_time};
use crate::{Operator, OperatorError, Step, StepTime};
use arrow::array::ArrayRef;
use chalk_event::ChangeBatch;
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;

/// Computes columns; weights pass.
#[derive(Debug)]
pub(crate) struct ProjectOperator {
    pub(crate) output: Output,
    pub(crate) expressions: Vec<Arc<dyn PhysicalExpr>>,
}

impl Operator for ProjectOperator {
    fn step(&mut self, inputs: &[ChangeBatch], _time: StepTime) -> Result<Step, OperatorError> {
        let input = self.output.port(inputs, 0)?;
        if input.is_empty() {
            return Ok(on_time(self.output.nothing()));
        }
        let columns = self
            .expressions
            .iter()
            .map(|expression| evaluate(expression.as_ref(), input, &self.output))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(on_time(input.with_rows(self.output.rows(columns, input.len())?)))
    }
}

/// The value of an expression for each row; a constant is written out.
pub(crate) fn evaluate(
    expression: &dyn PhysicalExpr,
    input: &ChangeBatch,
    output: &Output,
) -> Result<ArrayRef, OperatorError> {
    expression
        .evaluate(input.rows())
        .and_then(|value| value.into_array_of_size(input.len()))
        .map_err(|error| output.expression(&error))
}
