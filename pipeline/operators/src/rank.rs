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

#[cfg(test)]
mod tests;

use crate::interner::Interner;
use crate::output::{Output, on_time};
use crate::row_codec::{KeyCodec, RowCodec};
use crate::state::SavedState;
use crate::{Operator, OperatorError, Step, StepTime};
use arrow::array::{ArrayRef, UInt64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::SortField;
use chalk_event::ChangeBatch;
use chalk_graph::{Rank, RankFunction};
use hashbrown::HashMap;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Gives the input's rows with their ranks.
#[derive(Debug)]
pub(crate) struct RankOperator {
    // Configuration.
    output: Output,
    functions: Vec<RankFunction>,
    partition: KeyCodec,
    order: RowCodec,
    order_columns: Vec<usize>,
    rows: RowCodec,
    // State: by partition id, its rows in order.
    partitions: Interner,
    ranked: Vec<Ranking>,
}

/// A row in its partition's order: the encoding of what it is sorted by, then that of all its columns. Neither can be the
/// prefix of another, so the bytes compare like the pair.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    bytes: Box<[u8]>,
    sort_len: usize,
}

/// Rows in their partition's order, with their weights.
type Ranking = BTreeMap<Place, i64>;

impl Borrow<[u8]> for Place {
    fn borrow(&self) -> &[u8] {
        &self.bytes
    }
}

impl Place {
    fn sort(&self) -> &[u8] {
        &self.bytes[..self.sort_len]
    }

    fn row(&self) -> &[u8] {
        &self.bytes[self.sort_len..]
    }
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
        let types: Vec<&DataType> = input.fields().iter().map(|field| field.data_type()).collect();
        let sort = rank
            .order
            .iter()
            .map(|by| {
                let options = SortOptions { descending: by.descending, nulls_first: by.nulls_first };
                SortField::new_with_options(types[by.column].clone(), options)
            })
            .collect();
        let codecs = || {
            let partition = KeyCodec::new(&rank.partition, &types)?;
            Ok((partition, RowCodec::sorted(sort)?, RowCodec::new(types.iter().copied())?))
        };
        let (partition, order, rows) = codecs().map_err(|error| output.arrow(error))?;
        Ok(Self {
            output,
            functions: rank.functions.clone(),
            partition,
            order,
            order_columns: rank.order.iter().map(|by| by.column).collect(),
            rows,
            partitions: Interner::default(),
            ranked: Vec::new(),
        })
    }

    /// A step's net changes: partitions in the order of their first row, and their rows in order.
    fn deltas(&mut self, input: &ChangeBatch) -> Result<Vec<(u32, Ranking)>, ArrowError> {
        let batch = input.rows();
        let partitions = self.partition.encode(batch)?;
        let order: Vec<ArrayRef> = self.order_columns.iter().map(|&column| Arc::clone(batch.column(column))).collect();
        let (sorts, rows) = (self.order.encode(&order)?, self.rows.encode(batch.columns())?);
        let mut deltas: Vec<(u32, Ranking)> = Vec::new();
        let mut delta_of: HashMap<u32, usize> = HashMap::new();
        for row in 0..input.len() {
            let partition = self.partitions.intern(partitions.row(row));
            let delta = *delta_of.entry(partition).or_insert_with(|| {
                deltas.push((partition, Ranking::new()));
                deltas.len() - 1
            });
            let sort = sorts.row(row);
            let place = Place { bytes: [sort, rows.row(row)].concat().into_boxed_slice(), sort_len: sort.len() };
            *deltas[delta].1.entry(place).or_default() += input.weight(row);
        }
        self.ranked.resize_with(self.partitions.len(), Ranking::new);
        for (_, delta) in &mut deltas {
            delta.retain(|_, weight| *weight != 0);
        }
        Ok(deltas)
    }

    fn apply(&mut self, partition: u32, delta: &Ranking) {
        let ranked = &mut self.ranked[partition as usize];
        for (place, weight) in delta {
            match ranked.get_mut(&*place.bytes) {
                None => {
                    ranked.insert(place.clone(), *weight);
                }
                Some(sum) => {
                    *sum += weight;
                    if *sum == 0 {
                        ranked.remove(&*place.bytes);
                    }
                }
            }
        }
    }

    /// Gives back the ids of partitions that have no row any longer.
    fn free(&mut self, deltas: &[(u32, Ranking)]) {
        for (partition, _) in deltas {
            if self.ranked[*partition as usize].is_empty() {
                self.partitions.release(*partition);
            }
        }
    }

    fn changes(&self, ranked: Ranked<'_>) -> Result<ChangeBatch, OperatorError> {
        let mut columns = self.rows.decode(ranked.rows.iter().copied()).map_err(|error| self.output.arrow(error))?;
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
        let deltas = self.deltas(input).map_err(|error| output.arrow(error))?;
        for (partition, delta) in &deltas {
            self.apply(*partition, delta);
        }
        let ranks = vec![Vec::new(); self.functions.len()];
        let mut ranked = Ranked { functions: &self.functions, rows: Vec::new(), ranks, weights: Vec::new() };
        for (partition, delta) in &deltas {
            difference(&self.ranked[*partition as usize], delta, &mut ranked);
        }
        let changes = self.changes(ranked)?;
        self.free(&deltas);
        Ok(on_time(changes))
    }

    fn restore(&mut self, state: SavedState<'_>) -> Result<(), OperatorError> {
        let SavedState::Inputs(inputs) = state else { return Err(state.misplaced(&self.output)) };
        let output = self.output.clone();
        let deltas = self.deltas(output.port(inputs, 0)?).map_err(|error| output.arrow(error))?;
        for (partition, delta) in &deltas {
            self.apply(*partition, delta);
        }
        self.free(&deltas);
        Ok(())
    }
}

/// What `delta` changed in the ranks of a partition that is now `after`.
fn difference<'a>(after: &'a Ranking, delta: &'a Ranking, ranked: &mut Ranked<'a>) {
    let Some((first, _)) = delta.first_key_value() else { return };
    let mut new = Counter::default();
    for (place, &weight) in after.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(&*first.bytes))) {
        new.count(place, weight);
    }
    let mut old = new;
    let mut kept = after.range::<[u8], _>((Bound::Included(&*first.bytes), Bound::Unbounded)).peekable();
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
