//! Rows with what another side has when they come: lookups, and joins as of a row's commit.
//!
//! Only the right side is kept. What a left row was given is never changed:
//!
//! ```text
//! step   left      right      output of a left join
//!    1   + a 1                + a 1 NULL
//!    2             + a x
//!    3   + a 2     - a x      + a 2 y       the right side's changes of a step come first
//!                  + a y
//! ```
//!
//! Whoever cuts steps sees to it that no change of the right side is in one with a left row that was committed before it.

use super::side::{Alone, Side};
use crate::interner::Interner;
use crate::output::{Output, on_time};
use crate::state::SavedState;
use crate::{Operator, OperatorError, Step, StepTime};
use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use chalk_event::{ChangeBatch, Weights};
use chalk_graph::{Join, JoinKind};

/// Gives left rows with what the right side has.
#[derive(Debug)]
pub(crate) struct LookupOperator {
    // Configuration.
    output: Output,
    /// Whether a row without partner is given, too.
    outer: bool,
    left: Side,
    // State: the right side's rows by key.
    keys: Interner,
    right: Side,
}

impl LookupOperator {
    /// The operator of a node whose inputs have these schemas.
    pub(crate) fn new(join: &Join, left: &SchemaRef, right: &SchemaRef, output: Output) -> Result<Self, OperatorError> {
        let outer = match join.kind {
            JoinKind::Inner => false,
            JoinKind::Left => true,
            other => return Err(output.misuse(format!("a lookup is an inner or left join, not {other:?}"))),
        };
        let left = Side::new(Alone::Never, &join.left_keys, left).map_err(|error| output.arrow(error))?;
        let right = Side::new(Alone::Never, &join.right_keys, right).map_err(|error| output.arrow(error))?;
        Ok(Self { output, outer, left, keys: Interner::default(), right })
    }

    /// Takes changes of the right side.
    fn learn(&mut self, right: &ChangeBatch) -> Result<(), ArrowError> {
        if right.is_empty() {
            return Ok(());
        }
        let delta = self.right.delta(right, &mut self.keys)?;
        self.right.state.resize_with(self.keys.len(), Default::default);
        self.right.apply(&delta)?;
        for key in delta.distinct_keys() {
            if !self.right.has(key) {
                self.keys.release(key);
            }
        }
        Ok(())
    }

    /// The left rows with their partners, and those that have none.
    fn look_up(&self, left: &ChangeBatch) -> Result<[Vec<ArrayRef>; 2], ArrowError> {
        let (mut rows, mut partners, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        for ((row, key), index) in self.left.known(left.rows(), &self.keys)?.into_iter().enumerate().zip(0_u32..) {
            let copies = usize::try_from(left.weight(row)).unwrap_or(0);
            let before = rows.len();
            for (partner, weight) in key.iter().flat_map(|&key| self.right.state[key as usize].iter()) {
                for _ in 0..copies * usize::try_from(weight).unwrap_or(0) {
                    rows.push(index);
                    partners.push(partner);
                }
            }
            if self.outer && rows.len() == before {
                alone.extend(std::iter::repeat_n(index, copies));
            }
        }
        let of = |rows: Vec<u32>| -> Result<Vec<ArrayRef>, ArrowError> {
            let rows = UInt32Array::from(rows);
            left.rows().columns().iter().map(|column| take(column, &rows, None)).collect()
        };
        let absent = self.right.nulls(alone.len());
        let pairs = [of(rows)?, self.right.columns(&partners)?].concat();
        Ok([pairs, [of(alone)?, absent].concat()])
    }
}

impl Operator for LookupOperator {
    fn step(&mut self, inputs: &[ChangeBatch], _time: StepTime) -> Result<Step, OperatorError> {
        let output = self.output.clone();
        let (left, right) = (output.port(inputs, 0)?, output.port(inputs, 1)?);
        if matches!(left.weights(), Weights::PerRow(weights) if weights.iter().any(|&weight| weight < 0)) {
            return Err(output.misuse("a row that was looked up cannot be taken back".to_owned()));
        }
        self.learn(right).map_err(|error| output.arrow(error))?;
        if left.is_empty() {
            return Ok(on_time(output.nothing()));
        }
        let given = self.look_up(left).map_err(|error| output.arrow(error))?;
        let count = |columns: &Vec<ArrayRef>| columns.first().map_or(0, |column| column.len());
        let given = given.into_iter().filter(|columns| count(columns) > 0);
        let given = given.map(|columns| {
            let weights = vec![1; count(&columns)];
            output.changes(columns, weights)
        });
        let given = given.collect::<Result<Vec<_>, _>>()?;
        Ok(on_time(if given.is_empty() { output.nothing() } else { output.concat(&given)? }))
    }

    fn restore(&mut self, state: SavedState<'_>) -> Result<(), OperatorError> {
        let SavedState::Inputs(inputs) = state else { return Err(state.misplaced(&self.output)) };
        let output = self.output.clone();
        self.learn(output.port(inputs, 1)?).map_err(|error| output.arrow(error))
    }
}
