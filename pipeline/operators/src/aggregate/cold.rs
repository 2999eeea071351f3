//! Groups that leave memory and come back.
//!
//! Windows that close keep their groups in memory: who closes one needs all of them at once.

use super::AggregateOperator;
use crate::copies::coldest;
use crate::state::StateReader;
use crate::{GroupState, Leaving, OperatorError, Spill, SpillMemory};
use chalk_event::ChangeBatch;

impl Spill for AggregateOperator {
    fn missing(&self, inputs: &[ChangeBatch]) -> Result<Vec<Box<[u8]>>, OperatorError> {
        let input = self.output.port(inputs, 0)?;
        if !self.copies.any() || input.is_empty() {
            return Ok(Vec::new());
        }
        let encoded = self.keys.encode(input.rows()).map_err(|error| self.output.arrow(error))?;
        Ok(self.copies.missing(&self.groups, (0..input.len()).map(|row| encoded.row(row))))
    }

    fn bring_back(&mut self, groups: &[GroupState]) -> Result<(), OperatorError> {
        for group in groups {
            let Some(saved) = &group.state else { continue };
            let id = self.groups.intern(&group.key);
            self.reserve();
            self.put_back(id, &mut StateReader(saved)).map_err(|_| self.not_its_state())?;
            self.copies.brought_back(id);
            self.touched_in[id as usize] = self.steps;
        }
        Ok(())
    }

    fn memory(&self) -> SpillMemory {
        let (groups, accumulators) = (self.groups.in_use(), self.accumulators.iter());
        // Weight, last step, whether it is unsaved, whether it has a copy.
        let fixed = 18 + accumulators.clone().map(|accumulator| accumulator.group_bytes()).sum::<usize>();
        let rows: usize = accumulators.map(|accumulator| accumulator.rows_bytes()).sum();
        let bytes = self.groups.bytes() + groups * fixed + rows + self.copies.bytes();
        SpillMemory { bytes, groups, unsaved: self.unsaved.count(groups) }
    }

    fn coldest(&self, bytes: usize) -> Leaving {
        let mut leaving = Leaving { saved: self.copies.useless(&self.groups).collect(), unsaved: Vec::new() };
        let part = bytes as f64 / self.memory().bytes.max(1) as f64;
        for group in coldest(self.groups.ids().map(|id| (self.touched_in[id as usize], id)), part) {
            let state = self.state_of(group, None);
            if self.unsaved.has(group) { leaving.unsaved.push(state) } else { leaving.saved.push(state) }
        }
        leaving
    }

    fn forget(&mut self, leaving: &Leaving) {
        for GroupState { key, state } in leaving.saved.iter().chain(&leaving.unsaved) {
            self.copies.replaced(key);
            if state.is_some()
                && let Some(group) = self.groups.find(key)
            {
                self.set_aside(group, None);
                self.copies.left(group);
                self.unsaved.left(group, key);
                self.weights[group as usize] = 0;
                for accumulator in &mut self.accumulators {
                    accumulator.clear(group);
                }
                self.groups.release(group);
            }
        }
    }
}
