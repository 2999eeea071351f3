//! Ranks the rows of each partition.
//!
//! A partition is an ordered map from row to weight, in the order of the ranking. A step changes ranks only from its first
//! changed row on, and only until the ranks are again what they were:
//!
//! ```text
//! step   input     output with rank() order by score desc
//!    1   + ann 9   + ann 9 1
//!        + bob 7   + bob 7 2
//!        + cy  5   + cy  5 3
//!    2   - bob 7   - bob 7 2
//!        + bob 9   + bob 9 1      ann and cy keep theirs: nothing is said of them
//! ```
//!
//! When nobody reads what is beyond some rank, and no row is ever retracted, later rows are given and then forgotten: nothing can bring them back.

#[cfg(test)]
mod tests;

use crate::output::{Output, on_time};
use crate::partitions::{Cut, Ordered, Partitions, Place};
use crate::state::SavedState;
use crate::{Operator, OperatorError, Spill, Step, StepTime};
use arrow::array::{ArrayRef, UInt64Array};
use arrow::datatypes::SchemaRef;
use chalk_event::ChangeBatch;
use chalk_graph::{Most, Rank, RankFunction};
use std::ops::Bound;
use std::sync::Arc;

/// Gives the input's rows with their ranks.
#[derive(Debug)]
pub(crate) struct RankOperator {
    // Configuration.
    output: Output,
    functions: Vec<RankFunction>,
    /// Partitions come whole, and are forgotten at once.
    whole: bool,
    /// Rows beyond are not kept.
    most: Option<Most>,
    // State.
    partitions: Partitions,
}

/// How many rows came so far in a partition's order, and the ranks of the next ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counter<'a> {
    /// Rows so far.
    rows: u64,
    /// What the last row was sorted by.
    peers: Option<&'a [u8]>,
    /// The last row's `rank()`.
    rank: u64,
    /// The last row's `dense_rank()`.
    dense: u64,
}

impl<'a> Counter<'a> {
    /// Counts `weight` equal rows; says what was counted before them.
    fn count(&mut self, place: &'a Place, weight: i64) -> u64 {
        let before = self.rows;
        if let Ok(copies @ 1..) = u64::try_from(weight) {
            if self.peers != Some(place.sort()) {
                *self = Self { rows: before, peers: Some(place.sort()), rank: before + 1, dense: self.dense + 1 };
            }
            self.rows += copies;
        }
        before
    }
}

/// Output rows of a step, still encoded.
struct Ranked<'a> {
    functions: &'a [RankFunction],
    rows: Vec<&'a [u8]>,
    ranks: Vec<Vec<u64>>,
    weights: Vec<i64>,
}

impl<'a> Ranked<'a> {
    /// Adds equal rows, after which the counter stands as it does, as inserts (sign 1) or deletes (sign −1).
    fn push(&mut self, place: &'a Place, before: u64, counter: &Counter<'_>, sign: i64) {
        let copies = counter.rows - before;
        if copies == 0 {
            return;
        }
        if self.functions.contains(&RankFunction::RowNumber) {
            for number in before + 1..=counter.rows {
                self.push_one(place, number, counter, sign);
            }
        } else {
            self.push_one(place, 0, counter, sign * i64::try_from(copies).unwrap_or(i64::MAX));
        }
    }

    fn push_one(&mut self, place: &'a Place, number: u64, counter: &Counter<'_>, weight: i64) {
        self.rows.push(place.row());
        self.weights.push(weight);
        for (function, ranks) in self.functions.iter().zip(&mut self.ranks) {
            ranks.push(match function {
                RankFunction::RowNumber => number,
                RankFunction::Rank => counter.rank,
                RankFunction::DenseRank => counter.dense,
            });
        }
    }
}

impl RankOperator {
    /// The operator of a node whose input has this schema.
    pub(crate) fn new(rank: &Rank, input: &SchemaRef, output: Output) -> Result<Self, OperatorError> {
        let partitions =
            Partitions::new(&rank.partition, &rank.order, input, &output).map_err(|error| output.arrow(error))?;
        Ok(Self { output, functions: rank.functions.clone(), whole: rank.whole, most: rank.most, partitions })
    }

    /// Lets go of the rows that nobody reads.
    fn truncate(&mut self, deltas: &[(u32, Ordered)]) {
        let Some(most) = self.most else { return };
        let Some(&function) = self.functions.get(most.function) else { return };
        for (partition, _) in deltas {
            if let Some(cut) = beyond(self.partitions.rows(*partition), function, most.rank) {
                self.partitions.truncate(*partition, &cut);
            }
        }
    }

    fn changes(&self, ranked: Ranked<'_>) -> Result<ChangeBatch, OperatorError> {
        let rows = self.partitions.decode(ranked.rows.iter().copied());
        let mut columns = rows.map_err(|error| self.output.arrow(error))?;
        columns.extend(ranked.ranks.into_iter().map(|ranks| Arc::new(UInt64Array::from(ranks)) as ArrayRef));
        self.output.consolidated(self.output.changes(columns, ranked.weights)?)
    }
}

impl Operator for RankOperator {
    fn step(&mut self, inputs: &[ChangeBatch], _time: StepTime) -> Result<Step, OperatorError> {
        let output = self.output.clone();
        let input = output.port(inputs, 0)?;
        if input.is_empty() {
            return Ok(on_time(self.output.nothing()));
        }
        let deltas = self.partitions.deltas(input).map_err(|error| output.arrow(error))?;
        for (partition, delta) in &deltas {
            self.partitions.apply(*partition, delta);
        }
        let ranks = vec![Vec::new(); self.functions.len()];
        let mut ranked = Ranked { functions: &self.functions, rows: Vec::new(), ranks, weights: Vec::new() };
        for (partition, delta) in &deltas {
            difference(self.partitions.rows(*partition), delta, &mut ranked);
        }
        let changes = self.changes(ranked)?;
        self.truncate(&deltas);
        self.partitions.free(&deltas, self.whole);
        Ok(on_time(changes))
    }

    fn spill(&mut self) -> Option<&mut dyn Spill> {
        (!self.whole).then_some(&mut self.partitions)
    }

    fn restore(&mut self, state: SavedState<'_>) -> Result<(), OperatorError> {
        let SavedState::Inputs(inputs) = state else { return Err(state.misplaced(&self.output)) };
        let output = self.output.clone();
        let deltas = self.partitions.restore(output.port(inputs, 0)?).map_err(|error| output.arrow(error))?;
        self.truncate(&deltas);
        Ok(())
    }
}

/// Where the rows begin whose rank is more than so much.
fn beyond(rows: &Ordered, function: RankFunction, most: u64) -> Option<Cut> {
    let mut counter = Counter::default();
    for (place, &weight) in rows {
        let before = counter.count(place, weight);
        let (is_beyond, copies) = match function {
            RankFunction::RowNumber => (counter.rows > most, most.saturating_sub(before)),
            RankFunction::Rank => (counter.rank > most, 0),
            RankFunction::DenseRank => (counter.dense > most, 0),
        };
        if is_beyond {
            let copies = i64::try_from(copies).unwrap_or(i64::MAX);
            return Some(Cut { from: place.clone(), last: (copies > 0).then(|| (place.clone(), copies)) });
        }
    }
    None
}

/// What `delta` changed in the ranks of a partition that is now `after`.
fn difference<'a>(after: &'a Ordered, delta: &'a Ordered, ranked: &mut Ranked<'a>) {
    let Some((first, _)) = delta.first_key_value() else { return };
    let mut new = Counter::default();
    for (place, &weight) in after.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(first.bytes()))) {
        new.count(place, weight);
    }
    let mut old = new;
    let mut kept = after.range::<[u8], _>((Bound::Included(first.bytes()), Bound::Unbounded)).peekable();
    let mut changed = delta.iter().peekable();
    loop {
        if changed.peek().is_none() && same_from_here(ranked.functions, &old, &new) {
            return;
        }
        // The next row of either; a row of the delta that is not kept was deleted.
        let place = match (kept.peek(), changed.peek()) {
            (Some((kept, _)), Some((changed, _))) => *kept.min(changed),
            (Some((place, _)), None) | (None, Some((place, _))) => *place,
            (None, None) => return,
        };
        let weight = kept.next_if(|(other, _)| **other == *place).map_or(0, |(_, &weight)| weight);
        let change = changed.next_if(|(other, _)| **other == *place).map_or(0, |(_, &change)| change);
        let (old_before, new_before) = (old.count(place, weight - change), new.count(place, weight));
        let moved = ranked.functions.iter().any(|function| match function {
            RankFunction::RowNumber => old_before != new_before,
            RankFunction::Rank => old.rank != new.rank,
            RankFunction::DenseRank => old.dense != new.dense,
        });
        if change != 0 || moved {
            ranked.push(place, old_before, &old, -1);
            ranked.push(place, new_before, &new, 1);
        }
    }
}

/// Whether rows after these counts have the same ranks.
fn same_from_here(functions: &[RankFunction], old: &Counter<'_>, new: &Counter<'_>) -> bool {
    old.peers == new.peers
        && functions.iter().all(|function| match function {
            RankFunction::RowNumber => old.rows == new.rows,
            RankFunction::Rank => (old.rows, old.rank) == (new.rows, new.rank),
            RankFunction::DenseRank => old.dense == new.dense,
        })
}
