//! Keys that leave memory and come back, each with the rows of both sides: the left side's as bytes, then the right side's
//! ([`Side::encode`]).

use super::JoinOperator;
use crate::copies::coldest;
use crate::state::{NotSavedState, StateReader};
use crate::{GroupState, Leaving, OperatorError, Spill, SpillMemory};
use chalk_event::ChangeBatch;

/// The rows of so many keys are encoded at once: many more could be more text than an array holds.
const KEYS: usize = 256;

impl JoinOperator {
    /// What the rows of these keys are elsewhere. Rows that are more than an array holds stay.
    fn states(&self, keys: &[u32]) -> Vec<GroupState> {
        let mut states = vec![Vec::new(); keys.len()];
        for side in [&self.left, &self.right] {
            if side.encode(keys, &mut states).is_err() {
                return Vec::new();
            }
        }
        let group = |(&key, state)| GroupState { key: self.keys.key(key).into(), state: Some(state) };
        keys.iter().zip(states).map(group).collect()
    }

    fn not_its_state(&self) -> OperatorError {
        self.output.misuse("what came back are not the rows of its keys".into())
    }
}

impl Spill for JoinOperator {
    fn missing(&self, inputs: &[ChangeBatch]) -> Result<Vec<Box<[u8]>>, OperatorError> {
        let (left, right) = (self.output.port(inputs, 0)?, self.output.port(inputs, 1)?);
        if !self.copies.any() {
            return Ok(Vec::new());
        }
        let left_keys = self.left.encode_keys(left).map_err(|error| self.output.arrow(error))?;
        let right_keys = self.right.encode_keys(right).map_err(|error| self.output.arrow(error))?;
        let keys = (0..left.len()).map(|row| left_keys.row(row)).chain((0..right.len()).map(|row| right_keys.row(row)));
        Ok(self.copies.missing(&self.keys, keys))
    }

    fn bring_back(&mut self, groups: &[GroupState]) -> Result<(), OperatorError> {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for GroupState { key, state } in groups {
            let Some(state) = state else { continue };
            let key = self.keys.intern(key);
            self.reserve();
            self.touched_in[key as usize] = self.steps;
            self.copies.brought_back(key);
            let mut state = StateReader(state);
            let rows = [&mut left, &mut right].into_iter().try_for_each(|rows| read(&mut state, key, rows));
            rows.and_then(|()| state.end()).map_err(|_| self.not_its_state())?;
        }
        let back = self.left.bring_back(&left).and_then(|()| self.right.bring_back(&right));
        back.map_err(|error| self.output.arrow(error))
    }

    fn memory(&self) -> SpillMemory {
        // The last step, whether it has a copy.
        const FIXED: usize = 9;
        let sides = self.left.memory(self.keys.in_use()) + self.right.memory(self.keys.in_use());
        let bytes = self.keys.bytes() + self.keys.in_use() * FIXED + sides + self.copies.bytes();
        SpillMemory { bytes, groups: self.keys.in_use(), unsaved: 0 }
    }

    fn coldest(&self, bytes: usize) -> Leaving {
        let part = bytes as f64 / self.memory().bytes.max(1) as f64;
        let keys = coldest(self.keys.ids().map(|id| (self.touched_in[id as usize], id)), part);
        let states = keys.chunks(KEYS).flat_map(|keys| self.states(keys));
        Leaving { saved: self.copies.useless(&self.keys).chain(states).collect(), unsaved: Vec::new() }
    }

    fn forget(&mut self, leaving: &Leaving) {
        for GroupState { key, state } in &leaving.saved {
            self.copies.replaced(key);
            if state.is_some()
                && let Some(key) = self.keys.find(key)
            {
                self.left.forget(key);
                self.right.forget(key);
                self.copies.left(key);
                self.keys.release(key);
            }
        }
        self.left.tidy();
        self.right.tidy();
    }
}

/// Reads what one side put for a key.
fn read<'a>(state: &mut StateReader<'a>, key: u32, rows: &mut Vec<(u32, i64, &'a [u8])>) -> Result<(), NotSavedState> {
    for _ in 0..state.len()? {
        let (weight, len) = (state.i64()?, state.len()?);
        rows.push((key, weight, state.bytes(len)?));
    }
    Ok(())
}
