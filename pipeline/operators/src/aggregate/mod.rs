//! Groups and aggregates.
//!
//! A key gets a dense group id; everything else is arrays by group id. An updating aggregate reads the groups that a step
//! touches before and after, and gives the difference:
//!
//! ```text
//! step   input          output of select class, count(*), sum(marks) group by class
//!    1   + 3A 7
//!        + 3A 9         + 3A 2 16
//!    2   - 3A 9         - 3A 2 16
//!                       + 3A 1 7
//!    3   - 3A 7         - 3A 1 7        the group is gone and its id free
//! ```
//!
//! A group that a function fails for has no result, as if it were not there, until its rows change; it is told of when that begins.
//!
//! With closing windows nothing is given until the watermark closes a pane; then its row is, once (see [`panes`]). How groups leave
//! memory: [`cold`].

mod accumulator;
mod cold;
mod count;
mod exact_sum;
mod expiry;
mod extreme;
mod panes;
mod recompute;
mod sum;
#[cfg(test)]
mod tests;

use crate::copies::Copies;
use crate::interner::Interner;
use crate::output::{Output, on_time};
use crate::row_codec::{KeyCodec, RowCodec};
use crate::state::{GroupState, NotSavedState, SavedState, Saving, Since, StateReader, Unsaved, put_i64};
use crate::{Operator, OperatorError, RefusedGroup, Spill, Step, StepTime};
use accumulator::{Accumulator, AccumulatorError, CallRows, accumulator};
use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use chalk_event::{ChangeBatch, Weights};
use chalk_graph::{Aggregate, AggregateCall};
use expiry::Expiry;
pub use expiry::tick;
use panes::Panes;
use std::collections::BTreeSet;

/// Keys of so many groups are in the processor's cache from one column to the next.
const DECODED_AT_ONCE: usize = 4096;

/// Groups rows by key and aggregates each group.
pub(crate) struct AggregateOperator {
    // Configuration.
    output: Output,
    keys: KeyCodec,
    calls: Vec<AggregateCall>,
    /// Without keys there is one group, which is always there.
    keyless: bool,
    // State.
    groups: Interner,
    /// By group id: the sum of its rows' weights; a group without weight does not exist.
    weights: Vec<i64>,
    /// By group id: the last step that touched it.
    touched_in: Vec<u64>,
    accumulators: Vec<Box<dyn Accumulator>>,
    panes: Option<Panes>,
    /// When groups are forgotten, if they are.
    expiry: Option<Expiry>,
    steps: u64,
    /// Whether the one group of a keyless aggregate has been given.
    begun: bool,
    unsaved: Unsaved,
    saving: Saving,
    copies: Copies,
}

/// Results of some groups.
struct Results {
    groups: Vec<u32>,
    /// One per call; none at all when there are no groups.
    columns: Vec<ArrayRef>,
    /// Groups that have none, and why.
    failed: Vec<(u32, String)>,
}

impl AggregateOperator {
    /// The operator of a node whose input has this schema.
    pub(crate) fn new(aggregate: &Aggregate, input: &SchemaRef, output: Output) -> Result<Self, OperatorError> {
        let types: Vec<&DataType> = input.fields().iter().map(|field| field.data_type()).collect();
        let keys = KeyCodec::new(&aggregate.keys, &types).map_err(|error| output.arrow(error))?;
        let accumulators = aggregate
            .calls
            .iter()
            .map(|call| accumulator(call, &types, aggregate.append_only_input))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| output.arrow(error))?;
        if let Some(close) = &aggregate.close
            && !aggregate.keys.contains(&close.window)
        {
            return Err(output.misuse("the window of an aggregate that closes windows must be one of its keys".into()));
        }
        Ok(Self {
            output,
            keys,
            calls: aggregate.calls.clone(),
            keyless: aggregate.keys.is_empty(),
            groups: Interner::default(),
            weights: Vec::new(),
            touched_in: Vec::new(),
            accumulators,
            panes: aggregate.close.clone().map(Panes::new),
            expiry: aggregate.ttl.map(Expiry::new),
            steps: 0,
            begun: false,
            unsaved: Unsaved::default(),
            saving: Saving::default(),
            copies: Copies::default(),
        })
    }
}

impl Operator for AggregateOperator {
    fn step(&mut self, inputs: &[ChangeBatch], time: StepTime) -> Result<Step, OperatorError> {
        let output = self.output.clone();
        let input = output.port(inputs, 0)?;
        self.steps += 1;
        match self.panes.take() {
            None => {
                let forgotten = self.forget_old(time)?;
                let (changes, refused_groups) = self.update(input)?;
                if forgotten.is_empty() {
                    return Ok(Step { refused_groups, ..on_time(changes) });
                }
                let changes = output.consolidated(output.concat(&[forgotten, changes])?)?;
                Ok(Step { refused_groups, ..on_time(changes) })
            }
            Some(mut panes) => {
                let step = self.close(input, time, &mut panes);
                self.panes = Some(panes);
                step
            }
        }
    }

    fn begin_save(&mut self) {
        let Since { gone, changed } = self.unsaved.take(&self.groups);
        self.saving.begin(gone.into_iter(), changed, self.groups.len());
    }

    fn save(&mut self, at_least: usize) -> Vec<GroupState> {
        let mut saving = std::mem::take(&mut self.saving);
        let groups = saving.give(at_least, |group| self.state_of(group, self.panes.as_ref()));
        self.saving = saving;
        groups
    }

    fn restore(&mut self, state: SavedState<'_>) -> Result<(), OperatorError> {
        let SavedState::Groups(groups) = state else { return Err(state.misplaced(&self.output)) };
        for group in groups {
            let Some(saved) = &group.state else { continue };
            let id = self.groups.intern(&group.key);
            self.reserve();
            self.put_back(id, &mut StateReader(saved)).map_err(|NotSavedState| self.not_its_state())?;
        }
        self.begun |= !groups.is_empty();
        self.unsaved.begin(self.groups.len());
        Ok(())
    }

    fn spill(&mut self) -> Option<&mut dyn Spill> {
        // What is to be forgotten is in memory, where it is found.
        if self.keyless || self.panes.is_some() || self.expiry.is_some() { None } else { Some(self) }
    }
}

impl AggregateOperator {
    /// Retracts the results of groups that are too old, and frees them.
    fn forget_old(&mut self, time: StepTime) -> Result<ChangeBatch, OperatorError> {
        let (Some(expiry), Some(committed)) = (&mut self.expiry, time.committed) else {
            return Ok(self.output.nothing());
        };
        let forgotten = expiry.begin(committed);
        if forgotten.is_empty() {
            return Ok(self.output.nothing());
        }
        let changes = self.given(self.results(forgotten.clone())?, -1)?;
        for group in forgotten {
            self.set_aside(group, None);
            self.weights[group as usize] = 0;
            self.free(group);
        }
        Ok(changes)
    }

    /// Rows of these results, each with this weight.
    fn given(&self, results: Results, weight: i64) -> Result<ChangeBatch, OperatorError> {
        if results.groups.is_empty() {
            return Ok(self.output.nothing());
        }
        let mut columns = self.key_columns(&results.groups)?;
        columns.extend(results.columns);
        self.output.changes(columns, vec![weight; results.groups.len()])
    }

    /// Applies changes and gives the difference that they make, and the groups that a function fails for since.
    fn update(&mut self, input: &ChangeBatch) -> Result<(ChangeBatch, Vec<RefusedGroup>), OperatorError> {
        let groups = self.intern(input)?;
        let (touched, first_rows) = self.touched(&groups);
        if let Some(expiry) = &mut self.expiry {
            touched.iter().for_each(|&group| expiry.touch(group));
        }
        let old = self.results(touched.iter().copied().filter(|&group| self.was_given(group)).collect())?;
        self.apply(input, &groups)?;
        let new = self.results(touched.iter().copied().filter(|&group| self.exists(group)).collect())?;
        let changes = self.difference(input, &first_rows, &touched, &old, &new)?;
        let known: BTreeSet<u32> = old.failed.iter().map(|(group, _)| *group).collect();
        let begun = new.failed.into_iter().filter(|(group, _)| !known.contains(group));
        let refused = self.refused(begun.collect())?;
        self.begun = true;
        for group in touched {
            if !self.exists(group) {
                self.free(group);
            }
        }
        Ok((changes, refused))
    }

    /// What there is to tell of groups without a result.
    fn refused(&self, failed: Vec<(u32, String)>) -> Result<Vec<RefusedGroup>, OperatorError> {
        let refused = failed.into_iter().map(|(group, message)| {
            let keys = self.output.first_columns(self.key_columns(&[group])?)?;
            Ok(RefusedGroup { keys, message })
        });
        refused.collect()
    }

    /// Counts the rows that are not late, and gives the panes that the step closes.
    fn close(&mut self, input: &ChangeBatch, time: StepTime, panes: &mut Panes) -> Result<Step, OperatorError> {
        if matches!(input.weights(), Weights::PerRow(weights) if weights.iter().any(|&weight| weight < 0)) {
            return Err(self
                .output
                .misuse("windows that close cannot take rows back: the input must be append-only".into()));
        }
        let judged = panes.judge(input.rows(), time.before, &self.output)?;
        let counted = match judged.counted.len() {
            all if all == input.len() => input.clone(),
            _ => input.take(&UInt32Array::from(judged.counted)).map_err(|error| self.output.arrow(error))?,
        };
        let groups = self.intern(&counted)?;
        for (&group, &end) in groups.iter().zip(&judged.ends) {
            self.set_aside(group, Some(panes));
            self.unsaved.changed(group);
            // A group is new when no step has given it weight nor this one seen it.
            if !self.exists(group) && self.touched_in[group as usize] != self.steps {
                self.touched_in[group as usize] = self.steps;
                panes.open(end, group);
            }
        }
        self.apply(&counted, &groups)?;
        let due = panes.due(time.after, &self.groups);
        let mut closed = self.results(due.clone())?;
        let refused_groups = self.refused(std::mem::take(&mut closed.failed))?;
        let changes = self.given(closed, 1)?;
        for &group in &due {
            self.set_aside(group, Some(panes));
            self.weights[group as usize] = 0;
            self.forget(group);
        }
        self.groups.release_all(&due);
        Ok(Step { late: judged.late, refused_groups, ..on_time(changes) })
    }

    /// The group id of each row.
    fn intern(&mut self, input: &ChangeBatch) -> Result<Vec<u32>, OperatorError> {
        let encoded = self.keys.encode(input.rows()).map_err(|error| self.output.arrow(error))?;
        let groups = self.groups.intern_all((0..input.len()).map(|row| encoded.row(row)));
        if self.keyless && !self.begun {
            self.groups.intern(&[]);
        }
        self.reserve();
        Ok(groups)
    }

    /// Makes room for all groups that have an id.
    fn reserve(&mut self) {
        let count = self.groups.len();
        self.weights.resize(count, 0);
        self.touched_in.resize(count, 0);
        self.unsaved.reserve(count);
        self.copies.reserve(count);
        if let Some(expiry) = &mut self.expiry {
            expiry.reserve(count);
        }
        for accumulator in &mut self.accumulators {
            accumulator.reserve(count);
        }
    }

    /// What is known of a group: its weight, the end of its window if it has one that closes, when it had its last row if it is forgotten some
    /// time, its accumulators.
    fn state_of(&self, group: u32, panes: Option<&Panes>) -> GroupState {
        let mut state = Vec::with_capacity(128);
        put_i64(&mut state, self.weights[group as usize]);
        if let Some(panes) = panes {
            put_i64(&mut state, panes.end(group));
        }
        if let Some(expiry) = &self.expiry {
            put_i64(&mut state, expiry.touched(group));
        }
        for accumulator in &self.accumulators {
            accumulator.save(group, &mut state);
        }
        state.shrink_to_fit();
        GroupState { key: self.groups.key(group).into(), state: Some(state) }
    }

    /// Keeps a group that is about to change as it is, when a save is to have it so.
    fn set_aside(&mut self, group: u32, panes: Option<&Panes>) {
        if self.saving.is_due(group) {
            let state = self.state_of(group, panes);
            self.saving.set_aside(state);
        }
    }

    fn not_its_state(&self) -> OperatorError {
        self.output.misuse("saved state is not that of this aggregate".to_owned())
    }

    fn put_back(&mut self, group: u32, saved: &mut StateReader<'_>) -> Result<(), NotSavedState> {
        self.weights[group as usize] = saved.i64()?;
        if let Some(panes) = &mut self.panes {
            panes.open(saved.i64()?, group);
        }
        if let Some(expiry) = &mut self.expiry {
            expiry.put_back(group, saved.i64()?);
        }
        for accumulator in &mut self.accumulators {
            accumulator.restore(group, saved)?;
        }
        saved.end()
    }

    /// The distinct groups of a step, in the order of their first row; and these rows.
    fn touched(&mut self, groups: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let (mut touched, mut first_rows) = (Vec::new(), Vec::new());
        // The one group of a keyless aggregate has a row before it has any input.
        let from_the_beginning = (self.keyless && !self.begun).then_some(0);
        for (row, group) in (0..).zip(groups.iter().copied().chain(from_the_beginning)) {
            if std::mem::replace(&mut self.touched_in[group as usize], self.steps) != self.steps {
                touched.push(group);
                first_rows.push(row);
                self.set_aside(group, None);
                self.unsaved.changed(group);
            }
        }
        (touched, first_rows)
    }

    fn exists(&self, group: u32) -> bool {
        self.keyless || self.weights[group as usize] != 0
    }

    /// Whether an earlier step gave a row for the group.
    fn was_given(&self, group: u32) -> bool {
        self.exists(group) && (self.begun || !self.keyless)
    }

    fn apply(&mut self, input: &ChangeBatch, groups: &[u32]) -> Result<(), OperatorError> {
        if input.is_empty() {
            return Ok(());
        }
        match input.weights() {
            Weights::Inserts => groups.iter().for_each(|&group| self.weights[group as usize] += 1),
            Weights::PerRow(weights) => {
                for (&group, weight) in groups.iter().zip(weights) {
                    self.weights[group as usize] += weight;
                }
            }
        }
        for (accumulator, call) in self.accumulators.iter_mut().zip(&self.calls) {
            CallRows::new(call, input, groups)
                .and_then(|rows| accumulator.update(&rows))
                .map_err(|error| self.output.arrow(error))?;
        }
        Ok(())
    }

    fn free(&mut self, group: u32) {
        self.forget(group);
        self.groups.release(group);
    }

    /// Makes room for another group; its id is still its own.
    fn forget(&mut self, group: u32) {
        let had_left = self.copies.released(group, &self.groups);
        self.unsaved.gone(group, &self.groups, had_left);
        for accumulator in &mut self.accumulators {
            accumulator.clear(group);
        }
    }

    fn results(&self, mut groups: Vec<u32>) -> Result<Results, OperatorError> {
        let mut failed = Vec::new();
        while !groups.is_empty() {
            let columns = self.accumulators.iter().map(|accumulator| accumulator.evaluate(&groups));
            match columns.collect::<Result<Vec<_>, _>>() {
                Ok(columns) => return Ok(Results { groups, columns, failed }),
                // The others are asked again, which costs something only where a function fails.
                Err(AccumulatorError::Groups(at_fault)) => {
                    let known: BTreeSet<u32> = at_fault.iter().map(|(group, _)| *group).collect();
                    groups.retain(|group| !known.contains(group));
                    failed.extend(at_fault);
                }
                Err(error) => return Err(error.of(&self.output)),
            }
        }
        Ok(Results { groups, columns: Vec::new(), failed })
    }

    fn key_columns(&self, groups: &[u32]) -> Result<Vec<ArrayRef>, OperatorError> {
        let decode = |groups: &[u32]| self.keys.decode(groups.iter().map(|&group| self.groups.key(group)));
        let columns = if groups.len() <= DECODED_AT_ONCE {
            decode(groups)
        } else {
            let parts: Result<Vec<_>, _> = groups.chunks(DECODED_AT_ONCE).map(decode).collect();
            parts.and_then(|parts| {
                let column = |index: usize| parts.iter().map(|part| part[index].as_ref()).collect::<Vec<_>>();
                (0..parts[0].len()).map(|index| concat(&column(index))).collect()
            })
        };
        columns.map_err(|error| self.output.arrow(error))
    }

    /// For each touched group, its old row as a delete and its new one as an insert, unless they are equal. Their keys are those of a row of
    /// the input for each group.
    fn difference(
        &self,
        input: &ChangeBatch,
        first_rows: &[u32],
        touched: &[u32],
        old: &Results,
        new: &Results,
    ) -> Result<ChangeBatch, OperatorError> {
        if old.groups.is_empty() && new.groups.is_empty() {
            return Ok(self.output.nothing());
        }
        let arrow = |error| self.output.arrow(error);
        let results = joined(&old.columns, &new.columns).map_err(arrow)?;
        let codec = RowCodec::new(results.iter().map(|column| column.data_type())).map_err(arrow)?;
        let encoded = codec.encode(&results).map_err(arrow)?;
        let (mut keys, mut rows, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        let (mut old_groups, mut new_groups) = ((0..).zip(&old.groups).peekable(), (0..).zip(&new.groups).peekable());
        let first_new = old.groups.len();
        for (&group, &key) in touched.iter().zip(first_rows) {
            let before = old_groups.next_if(|(_, other)| **other == group).map(|(place, _)| place);
            let after =
                new_groups.next_if(|(_, other)| **other == group).map(|(place, _): (usize, _)| first_new + place);
            if let (Some(before), Some(after)) = (before, after)
                && encoded.row(before) == encoded.row(after)
            {
                continue;
            }
            for (row, weight) in before.map(|row| (row, -1)).into_iter().chain(after.map(|row| (row, 1))) {
                keys.push(key);
                rows.push(u32::try_from(row).unwrap_or(u32::MAX));
                weights.push(weight);
            }
        }
        let (keys, rows) = (UInt32Array::from(keys), UInt32Array::from(rows));
        let of_keys = self.keys.columns(input.rows()).map(|column| take(&column, &keys, None));
        let of_results = results.iter().map(|column| take(column, &rows, None));
        let columns = of_keys.chain(of_results).collect::<Result<_, _>>().map_err(arrow)?;
        self.output.changes(columns, weights)
    }
}

/// Old results, then new ones.
fn joined(old: &[ArrayRef], new: &[ArrayRef]) -> Result<Vec<ArrayRef>, ArrowError> {
    match (old, new) {
        ([], only) | (only, []) => Ok(only.to_vec()),
        _ => old.iter().zip(new).map(|(old, new)| concat(&[old.as_ref(), new.as_ref()])).collect(),
    }
}
