//! Functions over the ordered rows of a partition: `lag`, `first_value`, a running `sum`, and whatever else DataFusion has.
//!
//! A partition that a step changes is computed again; what differs is given. One that a function fails for gives no rows until it changes. Rows that are sorted alike come in the order of their columns.
//!
//! ```text
//! step   input    output with lag(score) over (order by score)
//!    1   + 5      + 5 NULL
//!        + 9      + 9 5
//!    2   + 7      + 7 5
//!                 - 9 5
//!                 + 9 7
//! ```

#[cfg(test)]
mod tests;

use crate::output::{Output, on_time};
use crate::partitions::{Ordered, Partitions};
use crate::refused::{is_of_a_row, message_of};
use crate::state::SavedState;
use crate::{Operator, OperatorError, RefusedGroup, Spill, Step, StepTime};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use chalk_event::ChangeBatch;
use chalk_graph::Over;
use datafusion::physical_expr::window::WindowExpr;
use std::sync::Arc;

/// Gives the input's rows with the functions' results.
pub(crate) struct OverOperator {
    // Configuration.
    output: Output,
    input: SchemaRef,
    functions: Vec<Arc<dyn WindowExpr>>,
    /// Partitions come whole, and are forgotten at once.
    whole: bool,
    partition: Vec<usize>,
    // State.
    partitions: Partitions,
}

/// What a partition gives.
enum Computed {
    /// It has no rows.
    Nothing,
    Rows(ChangeBatch),
    /// A function fails for it.
    Refused(RefusedGroup),
}

impl OverOperator {
    /// The operator of a node whose input has this schema.
    pub(crate) fn new(over: &Over, input: &SchemaRef, output: Output) -> Result<Self, OperatorError> {
        let partitions =
            Partitions::new(&over.partition, &over.order, input, &output).map_err(|error| output.arrow(error))?;
        let (input, functions, partition) = (Arc::clone(input), over.functions.clone(), over.partition.clone());
        Ok(Self { output, input, functions, whole: over.whole, partition, partitions })
    }

    /// The rows of a partition with the functions' results, each with this weight.
    fn computed(&self, rows: &Ordered, weight: i64) -> Result<Computed, OperatorError> {
        let rows: Vec<&[u8]> = rows
            .iter()
            .flat_map(|(place, &weight)| std::iter::repeat_n(place.row(), usize::try_from(weight).unwrap_or(0)))
            .collect();
        if rows.is_empty() {
            return Ok(Computed::Nothing);
        }
        let count = rows.len();
        let arrow = |error| self.output.arrow(error);
        let mut columns: Vec<ArrayRef> = self.partitions.decode(rows).map_err(arrow)?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.input), columns.clone(), &options);
        let batch = batch.map_err(arrow)?;
        for function in &self.functions {
            match function.evaluate(&batch) {
                Ok(column) => columns.push(column),
                Err(error) if is_of_a_row(&error) => {
                    let keys = batch.slice(0, 1).project(&self.partition).map_err(arrow)?;
                    return Ok(Computed::Refused(RefusedGroup { keys, message: message_of(&error) }));
                }
                Err(error) => return Err(self.output.expression(&error)),
            }
        }
        self.output.changes(columns, vec![weight; count]).map(Computed::Rows)
    }
}

impl Operator for OverOperator {
    fn step(&mut self, inputs: &[ChangeBatch], _time: StepTime) -> Result<Step, OperatorError> {
        let output = self.output.clone();
        let input = output.port(inputs, 0)?;
        if input.is_empty() {
            return Ok(on_time(output.nothing()));
        }
        let deltas = self.partitions.deltas(input).map_err(|error| output.arrow(error))?;
        let (mut changes, mut refused_groups) = (Vec::new(), Vec::new());
        for (partition, delta) in deltas.iter().filter(|(_, delta)| !delta.is_empty()) {
            let before = self.computed(self.partitions.rows(*partition), -1)?;
            self.partitions.apply(*partition, delta);
            let was_refused = matches!(before, Computed::Refused(_));
            if let Computed::Rows(before) = before {
                changes.push(before);
            }
            match self.computed(self.partitions.rows(*partition), 1)? {
                Computed::Rows(after) => changes.push(after),
                Computed::Refused(refused) if !was_refused => refused_groups.push(refused),
                Computed::Refused(_) | Computed::Nothing => {}
            }
        }
        self.partitions.free(&deltas, self.whole);
        if changes.is_empty() {
            return Ok(Step { refused_groups, ..on_time(output.nothing()) });
        }
        Ok(Step { refused_groups, ..on_time(output.consolidated(output.concat(&changes)?)?) })
    }

    fn spill(&mut self) -> Option<&mut dyn Spill> {
        (!self.whole).then_some(&mut self.partitions)
    }

    fn restore(&mut self, state: SavedState<'_>) -> Result<(), OperatorError> {
        let SavedState::Inputs(inputs) = state else { return Err(state.misplaced(&self.output)) };
        let output = self.output.clone();
        self.partitions.restore(output.port(inputs, 0)?).map(drop).map_err(|error| output.arrow(error))
    }
}
