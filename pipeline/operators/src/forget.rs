//! Rows that came some time ago are forgotten: taken back, by the time of commits.
//!
//! It stands before operators that keep the rows of an append-only input, and lose what is taken back. Time is counted in ticks, an eighth of
//! how long a row is kept, and a step's rows are all of one tick. A row is kept for eight ticks after the one that it came in, whatever
//! others are like it.
//!
//! ```text
//! kept for 8 ticks    tick   input   output
//!                        1   + ann   + ann
//!                            + bob   + bob
//!                        5   + ann   + ann      there are two of it now
//!                       10           - ann
//!                                    - bob
//!                       14           - ann
//! ```

use crate::interner::Interner;
use crate::output::{Output, on_time};
use crate::row_codec::KeyCodec;
use crate::state::{NotSavedState, SavedState, StateReader, Unsaved, put_i64};
use crate::{GroupState, Operator, OperatorError, Step, StepTime, ttl_tick};
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use chalk_event::{ChangeBatch, IngestTime};
use chalk_graph::Forget;
use datafusion::common::utils::normalize_float_zero;
use std::collections::{BTreeMap, VecDeque};

/// Ticks that a row is kept for: see [`ttl_tick`].
const KEPT: i64 = 8;

/// Passes rows on, and takes back those that are old.
pub(crate) struct ForgetOperator {
    // Configuration.
    output: Output,
    codec: KeyCodec,
    /// In nanoseconds.
    tick: i64,
    // State: ids of rows, and by id when copies of it came.
    ids: Interner,
    rows: Vec<Copies>,
    /// Rows by the tick in which copies of them are old.
    due: BTreeMap<i64, Vec<u32>>,
    /// The tick of the last step; never goes back.
    now: i64,
    unsaved: Unsaved,
    saved: Vec<GroupState>,
}

/// Copies of a row: the tick that they came in, oldest first, and how many.
type Copies = VecDeque<(i64, i64)>;

impl ForgetOperator {
    /// The operator of a node whose input has this schema.
    pub(crate) fn new(forget: &Forget, input: &SchemaRef, output: Output) -> Result<Self, OperatorError> {
        let types: Vec<_> = input.fields().iter().map(|field| field.data_type()).collect();
        let all: Vec<usize> = (0..types.len()).collect();
        let codec = KeyCodec::new(&all, &types).map_err(|error| output.arrow(error))?;
        Ok(Self {
            output,
            codec,
            tick: ttl_tick(forget.kept),
            ids: Interner::default(),
            rows: Vec::new(),
            due: BTreeMap::new(),
            now: i64::MIN,
            unsaved: Unsaved::default(),
            saved: Vec::new(),
        })
    }

    /// A step whose commits were made at this time begins: gives the rows that are old, taken back.
    fn begin(&mut self, committed: IngestTime) -> Result<ChangeBatch, OperatorError> {
        self.now = self.now.max(committed.0.div_euclid(self.tick));
        let mut old: Vec<(u32, i64)> = Vec::new();
        while let Some(first) = self.due.first_entry()
            && *first.key() <= self.now
        {
            for id in first.remove() {
                let copies = &mut self.rows[id as usize];
                let mut count = 0;
                while let Some((_, some)) = copies.pop_front_if(|(came, _)| is_due_at(*came) <= self.now) {
                    count += some;
                }
                if count > 0 {
                    old.push((id, count));
                }
            }
        }
        let rows = self.codec.decode(old.iter().map(|&(id, _)| self.ids.key(id)));
        let rows = rows.map_err(|error| self.output.arrow(error))?;
        let taken_back = self.output.changes(rows, old.iter().map(|(_, count)| -count).collect())?;
        for (id, _) in old {
            if self.rows[id as usize].is_empty() {
                self.unsaved.gone(id, &self.ids, false);
                self.ids.release(id);
            } else {
                self.unsaved.changed(id);
            }
        }
        Ok(taken_back)
    }

    /// Notes the rows that a step has; gives them as they are to be taken back.
    fn take(&mut self, input: &ChangeBatch) -> Result<ChangeBatch, OperatorError> {
        let keys = self.codec.encode(input.rows()).map_err(|error| self.output.arrow(error))?;
        for row in 0..input.len() {
            let id = self.ids.intern(keys.row(row));
            self.reserve();
            match self.rows[id as usize].back_mut() {
                Some((came, count)) if *came == self.now => *count += input.weight(row),
                _ => self.came(id, self.now, input.weight(row)),
            }
            self.unsaved.changed(id);
        }
        let columns: Vec<ArrayRef> = input.rows().columns().iter().map(normalize_float_zero).collect();
        Ok(input.with_rows(self.output.rows(columns, input.len())?))
    }

    /// Copies of a row came in a tick that none of it came in before.
    fn came(&mut self, id: u32, tick: i64, count: i64) {
        self.rows[id as usize].push_back((tick, count));
        self.due.entry(is_due_at(tick)).or_default().push(id);
    }

    fn reserve(&mut self) {
        self.rows.resize_with(self.ids.len(), Copies::new);
        self.unsaved.reserve(self.ids.len());
    }

    fn state_of(&self, id: u32) -> GroupState {
        let mut state = Vec::new();
        for (came, count) in &self.rows[id as usize] {
            put_i64(&mut state, *came);
            put_i64(&mut state, *count);
        }
        GroupState { key: self.ids.key(id).into(), state: Some(state) }
    }

    fn put_back(&mut self, key: &[u8], state: &[u8]) -> Result<(), NotSavedState> {
        let id = self.ids.intern(key);
        self.reserve();
        let mut state = StateReader(state);
        while state.end().is_err() {
            let (came, count) = (state.i64()?, state.i64()?);
            self.came(id, came, count);
        }
        Ok(())
    }
}

/// The tick in which a row is old that came in this one.
fn is_due_at(came: i64) -> i64 {
    came.saturating_add(KEPT + 1)
}

impl Operator for ForgetOperator {
    fn step(&mut self, inputs: &[ChangeBatch], time: StepTime) -> Result<Step, OperatorError> {
        let output = self.output.clone();
        let input = output.port(inputs, 0)?;
        let taken_back = match time.committed {
            Some(committed) => self.begin(committed)?,
            None => output.nothing(), // it has no commits
        };
        let taken = self.take(input)?;
        Ok(on_time(match (taken_back.is_empty(), taken.is_empty()) {
            (true, _) => taken,
            (false, true) => taken_back,
            (false, false) => output.concat(&[taken_back, taken])?,
        }))
    }

    fn begin_save(&mut self) {
        // A row's state is hardly more than the row.
        self.saved = self.unsaved.take(&self.ids).groups(|id| self.state_of(id));
    }

    fn save(&mut self, _at_least: usize) -> Vec<GroupState> {
        std::mem::take(&mut self.saved)
    }

    fn restore(&mut self, state: SavedState<'_>) -> Result<(), OperatorError> {
        let SavedState::Groups(groups) = state else { return Err(state.misplaced(&self.output)) };
        for GroupState { key, state } in groups {
            let Some(state) = state else { continue };
            let put_back = self.put_back(key, state);
            put_back.map_err(|NotSavedState| self.output.misuse("its state is damaged".to_owned()))?;
        }
        self.unsaved.begin(self.ids.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch, node, rows as shown, schema};
    use chalk_graph::{Node, NodeKind};

    const INPUT: &str = "who:text points:float";

    fn kept_for(kept: i64) -> Node {
        node(NodeKind::Forget(Forget { kept }), INPUT)
    }

    fn rows(text: &[&str]) -> ChangeBatch {
        batch(&schema(INPUT), &text.iter().map(|row| ((*row).to_owned(), 1)).collect::<Vec<_>>())
    }

    fn at(committed: i64) -> StepTime {
        StepTime { committed: Some(IngestTime(committed)), ..StepTime::default() }
    }

    fn begin() -> Box<dyn Operator> {
        crate::operator(&kept_for(80), &[schema(INPUT)]).expect("an operator")
    }

    fn check(operator: &mut dyn Operator, committed: i64, input: &[&str], expected: &[(&str, i64)]) {
        let step = operator.step(&[rows(input)], at(committed)).expect("a step");
        let expected: Vec<(String, i64)> = expected.iter().map(|&(row, weight)| (row.to_owned(), weight)).collect();
        assert_eq!(shown(&step.changes), expected, "at {committed}");
    }

    #[test]
    fn rows_are_taken_back_when_they_are_old() {
        let mut operator = begin();
        let operator = operator.as_mut();
        check(operator, 5, &["ann 1", "bob 2", "ann 1"], &[("ann 1", 1), ("bob 2", 1), ("ann 1", 1)]);
        check(operator, 40, &["bob 2"], &[("bob 2", 1)]);
        check(operator, 89, &[], &[]);
        check(operator, 90, &[], &[("ann 1", -2), ("bob 2", -1)]);
        // One that comes in the step that forgets another is of its own, as if the step were two.
        check(operator, 130, &["bob 2"], &[("bob 2", -1), ("bob 2", 1)]);
        // Both zeros are one row.
        check(operator, 130, &["cem -0"], &[("cem 0", 1)]);
        check(operator, 30, &[], &[]);
        check(operator, 1000, &["cem 0"], &[("bob 2", -1), ("cem 0", -1), ("cem 0", 1)]);
    }

    #[test]
    fn another_one_goes_on_with_what_was_saved() {
        let mut first = begin();
        check(first.as_mut(), 5, &["ann 1", "bob 2"], &[("ann 1", 1), ("bob 2", 1)]);
        first.begin_save();
        let mut saved = first.save(1);
        check(first.as_mut(), 40, &["ann 1", "cem 3"], &[("ann 1", 1), ("cem 3", 1)]);
        check(first.as_mut(), 95, &["dan 4"], &[("ann 1", -1), ("bob 2", -1), ("dan 4", 1)]);
        first.begin_save();
        for group in first.save(1) {
            saved.retain(|known| known.key != group.key);
            saved.push(group);
        }
        let mut second = begin();
        second.restore(SavedState::Groups(&saved)).expect("groups");
        check(second.as_mut(), 100, &["cem 3"], &[("cem 3", 1)]);
        check(second.as_mut(), 130, &[], &[("ann 1", -1), ("cem 3", -1)]);
        check(second.as_mut(), 180, &[], &[("dan 4", -1)]);
        check(second.as_mut(), 1000, &[], &[("cem 3", -1)]);
        assert!(second.restore(SavedState::Inputs(&[])).is_err());
    }
}
