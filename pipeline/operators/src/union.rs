//! All rows of all inputs.

use crate::output::{Output, on_time};
use crate::{Operator, OperatorError, Step, StepTime};
use chalk_event::ChangeBatch;

/// Gives the changes of every input, one input after the other.
#[derive(Debug)]
pub(crate) struct UnionOperator {
    pub(crate) output: Output,
}

impl Operator for UnionOperator {
    fn step(&mut self, inputs: &[ChangeBatch], _time: StepTime) -> Result<Step, OperatorError> {
        let batches = inputs
            .iter()
            .filter(|input| !input.is_empty())
            .map(|input| Ok(input.with_rows(self.output.rows(input.rows().columns().to_vec(), input.len())?)))
            .collect::<Result<Vec<_>, OperatorError>>()?;
        if batches.is_empty() {
            return Ok(on_time(self.output.nothing()));
        }
        Ok(on_time(self.output.concat(&batches)?))
    }
}
