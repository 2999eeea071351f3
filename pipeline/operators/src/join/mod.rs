//! Equi-joins: of changing inputs here; of append-only ones that let go of rows in [`closing`]; of rows with what another side has in [`lookup`].
//!
//! Both sides are kept as key → multiset of rows. With Δ for a step's changes, the pairs of a step are
//! `ΔL ⋈ R before` and `L after ⋈ ΔR`. A row that is given alone (outer, semi and anti joins) depends on whether the other
//! side *has* its key; of `L × [R has the key]` a step changes `ΔL × [R had it]` and `L after × ([R has it] − [R had it])`.
//!
//! ```text
//! step   left      right     output of a left join
//!    1   + a 1                + a 1 NULL
//!    2             + a x      - a 1 NULL
//!                             + a 1 x
//!    3             - a x      - a 1 x
//!                             + a 1 NULL
//! ```

mod bucket;
mod closing;
mod cold;
mod lookup;
mod rows;
mod side;
#[cfg(test)]
mod tests;

use crate::copies::Copies;
use crate::interner::Interner;
use crate::output::{Output, on_time};
use crate::state::SavedState;
use crate::{Operator, OperatorError, Spill, Step, StepTime};
use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use chalk_event::{ChangeBatch, Weights};
use chalk_graph::{Join, JoinKind, JoinMode};
pub(crate) use closing::ClosingJoinOperator;
pub(crate) use lookup::LookupOperator;
use side::{Alone, Delta, Side};

/// Joins two changing inputs.
#[derive(Debug)]
pub(crate) struct JoinOperator {
    // Configuration.
    output: Output,
    pairs: bool,
    /// What is taken back of an input was forgotten: what was given with it stays.
    forgetting: bool,
    /// Whether the output has the right side's columns.
    right_columns: bool,
    // State: the ids of keys that a side has, and the sides.
    keys: Interner,
    left: Side,
    right: Side,
    steps: u64,
    /// By key id: the last step that touched it.
    touched_in: Vec<u64>,
    copies: Copies,
}

/// What a kind of join gives: pairs, and which rows of each side alone.
struct Gives {
    pairs: bool,
    left: Alone,
    right: Alone,
}

impl Gives {
    fn of(kind: JoinKind) -> Self {
        use Alone::{Never, WithPartner, WithoutPartner};
        let (pairs, left, right) = match kind {
            JoinKind::Inner => (true, Never, Never),
            JoinKind::Left => (true, WithoutPartner, Never),
            JoinKind::Right => (true, Never, WithoutPartner),
            JoinKind::Full => (true, WithoutPartner, WithoutPartner),
            JoinKind::LeftSemi => (false, WithPartner, Never),
            JoinKind::LeftAnti => (false, WithoutPartner, Never),
        };
        Self { pairs, left, right }
    }
}

/// Which side's rows are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Left,
    Right,
}

impl JoinOperator {
    /// The operator of a node whose inputs have these schemas.
    pub(crate) fn new(join: &Join, left: &SchemaRef, right: &SchemaRef, output: Output) -> Result<Self, OperatorError> {
        let Gives { pairs, left: left_alone, right: right_alone } = Gives::of(join.kind);
        let left = Side::new(left_alone, &join.left_keys, left).map_err(|error| output.arrow(error))?;
        let right = Side::new(right_alone, &join.right_keys, right).map_err(|error| output.arrow(error))?;
        Ok(Self {
            output,
            pairs,
            forgetting: join.mode == JoinMode::Forgetting,
            right_columns: pairs,
            keys: Interner::default(),
            left,
            right,
            steps: 0,
            touched_in: Vec::new(),
            copies: Copies::default(),
        })
    }
}

impl Operator for JoinOperator {
    fn step(&mut self, inputs: &[ChangeBatch], _time: StepTime) -> Result<Step, OperatorError> {
        let (left, right) = (self.output.port(inputs, 0)?, self.output.port(inputs, 1)?);
        if left.is_empty() && right.is_empty() {
            return Ok(on_time(self.output.nothing()));
        }
        let chunks = if self.forgetting { self.join_new(left, right) } else { self.join(left, right) };
        let chunks = chunks.map_err(|error| self.output.arrow(error))?;
        let changes = chunks
            .into_iter()
            .map(|chunk| self.output.changes(chunk.columns, chunk.weights))
            .collect::<Result<Vec<_>, _>>()?;
        if changes.is_empty() {
            return Ok(on_time(self.output.nothing()));
        }
        Ok(on_time(self.output.consolidated(self.output.concat(&changes)?)?))
    }

    fn spill(&mut self) -> Option<&mut dyn Spill> {
        Some(self)
    }

    fn restore(&mut self, state: SavedState<'_>) -> Result<(), OperatorError> {
        let SavedState::Inputs(inputs) = state else { return Err(state.misplaced(&self.output)) };
        let (left, right) = (self.output.port(inputs, 0)?, self.output.port(inputs, 1)?);
        self.put_back(left, right).map_err(|error| self.output.arrow(error))
    }
}

impl JoinOperator {
    fn put_back(&mut self, left: &ChangeBatch, right: &ChangeBatch) -> Result<(), ArrowError> {
        let left = self.left.delta(left, &mut self.keys)?;
        let right = self.right.delta(right, &mut self.keys)?;
        self.touch(&left, &right);
        self.left.apply(&left)?;
        self.right.apply(&right)?;
        self.free(&left, &right);
        Ok(())
    }

    /// Forgets first, so that rows of a step never meet what is forgotten in it, whatever was a step of its own.
    fn join_new(&mut self, left: &ChangeBatch, right: &ChangeBatch) -> Result<Vec<Chunk>, ArrowError> {
        let ((old_left, left), (old_right, right)) = (parted(left)?, parted(right)?);
        if !(old_left.is_empty() && old_right.is_empty()) {
            self.put_back(&old_left, &old_right)?;
        }
        self.join(&left, &right)
    }

    fn join(&mut self, left: &ChangeBatch, right: &ChangeBatch) -> Result<Vec<Chunk>, ArrowError> {
        let left = self.left.delta(left, &mut self.keys)?;
        let right = self.right.delta(right, &mut self.keys)?;
        self.touch(&left, &right);
        // Of inserts alone follow inserts alone, so far as no row is given for want of a partner.
        let only_inserts = [&left, &right].iter().all(|delta| *delta.batch.weights() == Weights::Inserts);
        let mut chunks = Chunks { only_inserts, chunks: Vec::new() };

        let left_had = presence(&self.left, &left, self.right.alone);
        let right_had = presence(&self.right, &right, self.left.alone);
        self.changed_alone(Of::Left, &left, &mut chunks)?;
        self.changed_alone(Of::Right, &right, &mut chunks)?;
        if self.pairs {
            self.pairs_of(Of::Left, &left, &mut chunks)?;
        }
        self.left.apply(&left)?;
        if self.pairs {
            self.pairs_of(Of::Right, &right, &mut chunks)?;
        }
        self.right.apply(&right)?;
        self.turned(Of::Left, &right_had, &mut chunks)?;
        self.turned(Of::Right, &left_had, &mut chunks)?;
        if !only_inserts {
            self.free(&left, &right);
        }
        Ok(chunks.chunks)
    }

    /// Makes room for all keys, and notes that a step touches these.
    fn touch(&mut self, left: &Delta<'_>, right: &Delta<'_>) {
        self.reserve();
        self.steps += 1;
        for key in left.keys.iter().chain(&right.keys).flatten() {
            self.touched_in[*key as usize] = self.steps;
        }
    }

    fn reserve(&mut self) {
        let count = self.keys.len();
        self.left.state.resize_with(count, Default::default);
        self.right.state.resize_with(count, Default::default);
        self.touched_in.resize(count, 0);
        self.copies.reserve(count);
    }

    fn sides(&self, of: Of) -> (&Side, &Side) {
        match of {
            Of::Left => (&self.left, &self.right),
            Of::Right => (&self.right, &self.left),
        }
    }

    /// Changed rows of a side with all rows that the other side has at this moment.
    fn pairs_of(&self, of: Of, delta: &Delta<'_>, chunks: &mut Chunks) -> Result<(), ArrowError> {
        let (_, other) = self.sides(of);
        let (mut changed, mut partners) = (Vec::new(), Vec::new());
        let mut weights = chunks.weights();
        for ((row, key), index) in delta.keys.iter().enumerate().zip(0_u32..) {
            let Some(key) = key else { continue };
            let weight = delta.batch.weight(row);
            for (partner, times) in other.state[*key as usize].iter() {
                for _ in 0..weights.push(weight * times) {
                    changed.push(index);
                    partners.push(partner);
                }
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let changed = delta.take(&UInt32Array::from(changed))?;
        let partners = other.columns(&partners)?;
        chunks.add(self.ordered(of, changed, partners), weights);
        Ok(())
    }

    /// Changed rows of a side that are given alone, as long as the other side has what it had.
    fn changed_alone(&self, of: Of, delta: &Delta<'_>, chunks: &mut Chunks) -> Result<(), ArrowError> {
        let (side, other) = self.sides(of);
        if side.alone == Alone::Never {
            return Ok(());
        }
        let mut rows = Vec::new();
        let mut weights = chunks.weights();
        for ((row, key), index) in delta.keys.iter().enumerate().zip(0_u32..) {
            if side.alone.gives(key.is_some_and(|key| other.has(key))) {
                let copies = weights.push(delta.batch.weight(row));
                rows.extend(std::iter::repeat_n(index, copies));
            }
        }
        let columns = delta.take(&UInt32Array::from(rows))?;
        self.alone(of, columns, weights, chunks);
        Ok(())
    }

    /// All rows of a side whose key the other side lost or got in this step.
    fn turned(&self, of: Of, had: &[(u32, bool)], chunks: &mut Chunks) -> Result<(), ArrowError> {
        let (side, other) = self.sides(of);
        let mut rows = Vec::new();
        let mut weights = chunks.weights();
        for &(key, had) in had {
            let has = other.has(key);
            if had == has {
                continue;
            }
            let sign = if side.alone.gives(has) { 1 } else { -1 };
            for (row, weight) in side.state[key as usize].iter() {
                let copies = weights.push(sign * weight);
                rows.extend(std::iter::repeat_n(row, copies));
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let columns = side.columns(&rows)?;
        self.alone(of, columns, weights, chunks);
        Ok(())
    }

    fn alone(&self, of: Of, columns: Vec<ArrayRef>, weights: PushedWeights, chunks: &mut Chunks) {
        let count = weights.weights.len();
        if count > 0 {
            let (_, other) = self.sides(of);
            let absent = if self.right_columns { other.nulls(count) } else { Vec::new() };
            chunks.add(self.ordered(of, columns, absent), weights);
        }
    }

    /// A side's columns and the other's, left ones first.
    fn ordered(&self, of: Of, mut side: Vec<ArrayRef>, mut other: Vec<ArrayRef>) -> Vec<ArrayRef> {
        if of == Of::Right {
            std::mem::swap(&mut side, &mut other);
        }
        side.append(&mut other);
        side
    }

    /// Gives back the ids of keys that neither side has any longer.
    fn free(&mut self, left: &Delta<'_>, right: &Delta<'_>) {
        for key in left.distinct_keys().into_iter().chain(right.distinct_keys()) {
            if !self.left.has(key) && !self.right.has(key) {
                self.copies.released(key, &self.keys);
                self.keys.release(key);
            }
        }
    }
}

/// The deletes of a batch, and its inserts.
fn parted(batch: &ChangeBatch) -> Result<(ChangeBatch, ChangeBatch), ArrowError> {
    if *batch.weights() == Weights::Inserts {
        return Ok((ChangeBatch::empty(batch.rows().schema()), batch.clone()));
    }
    let rows = |sign: i64| {
        let rows = (0_u32..).zip(0..batch.len()).filter(|&(_, row)| batch.weight(row).signum() == sign);
        batch.take(&UInt32Array::from_iter_values(rows.map(|(index, _)| index)))
    };
    Ok((rows(-1)?, rows(1)?))
}

/// Whether `side` has each key that its changes touch, if that matters to the other side.
fn presence(side: &Side, delta: &Delta<'_>, others_alone: Alone) -> Vec<(u32, bool)> {
    match others_alone {
        Alone::Never => Vec::new(),
        Alone::WithoutPartner | Alone::WithPartner => {
            delta.distinct_keys().into_iter().map(|key| (key, side.has(key))).collect()
        }
    }
}

/// A part of a step's output.
struct Chunk {
    columns: Vec<ArrayRef>,
    weights: Vec<i64>,
}

/// The parts of a step's output.
struct Chunks {
    only_inserts: bool,
    chunks: Vec<Chunk>,
}

/// Weights of output rows. When a step has only inserts, equal rows are written out, so that it stays append-only.
struct PushedWeights {
    only_inserts: bool,
    weights: Vec<i64>,
}

impl Chunks {
    fn weights(&self) -> PushedWeights {
        PushedWeights { only_inserts: self.only_inserts, weights: Vec::new() }
    }

    fn add(&mut self, columns: Vec<ArrayRef>, weights: PushedWeights) {
        self.chunks.push(Chunk { columns, weights: weights.weights });
    }
}

impl PushedWeights {
    /// Adds a row of this weight; says how many times to write it.
    fn push(&mut self, weight: i64) -> usize {
        match usize::try_from(weight) {
            Ok(copies) if self.only_inserts => {
                self.weights.extend(std::iter::repeat_n(1, copies));
                copies
            }
            _ => {
                self.weights.push(weight);
                1
            }
        }
    }
}
