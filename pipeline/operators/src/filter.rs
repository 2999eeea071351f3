//! Keeps the rows for which an expression is true.

use crate::output::{Output, on_time};
use crate::project::evaluate;
use crate::refused::without_refused;
use crate::{Operator, OperatorError, Step, StepTime};
use arrow::array::{Array, AsArray, UInt32Array};
use chalk_event::ChangeBatch;
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;

/// Keeps rows with their weights where the predicate is true: false and NULL drop them.
#[derive(Debug)]
pub(crate) struct FilterOperator {
    pub(crate) output: Output,
    pub(crate) predicate: Arc<dyn PhysicalExpr>,
}

impl Operator for FilterOperator {
    fn step(&mut self, inputs: &[ChangeBatch], _time: StepTime) -> Result<Step, OperatorError> {
        let input = self.output.port(inputs, 0)?;
        if input.is_empty() {
            return Ok(on_time(self.output.nothing()));
        }
        let (verdicts, input, refused) =
            without_refused(input, &self.output, |input| evaluate(self.predicate.as_ref(), input))?;
        let Some(verdicts) = verdicts.as_boolean_opt() else {
            return Err(self.output.misuse(format!("a filter must be boolean, it is {}", verdicts.data_type())));
        };
        let kept = match verdicts.nulls() {
            None => verdicts.values().clone(),
            Some(valid) => verdicts.values() & valid.inner(),
        };
        let kept = if kept.count_set_bits() == input.len() {
            input.into_owned()
        } else {
            let indices = UInt32Array::from_iter_values(kept.set_indices_u32());
            input.take(&indices).map_err(|error| self.output.arrow(error))?
        };
        let rows = self.output.rows(kept.rows().columns().to_vec(), kept.len())?;
        Ok(Step { refused, ..on_time(kept.with_rows(rows)) })
    }
}
