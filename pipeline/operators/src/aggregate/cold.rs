//! Groups that leave memory and come back.
//!
//! | a group is in memory | a copy is elsewhere | and then                                        |
//! |----------------------|---------------------|-------------------------------------------------|
//! | yes                  | no                  | it leaves: the copy is made                     |
//! | no                   | yes                 | a step touches its key: it is brought back      |
//! | yes                  | yes, of no use      | it leaves again: the copy is replaced           |
//! | yes                  | yes, of no use      | its weight becomes 0: the copy must go, too     |
//!
//! Windows that close keep their groups in memory: who closes one needs all of them at once.

use super::AggregateOperator;
use crate::interner::Interner;
use crate::state::StateReader;
use crate::{GroupState, Leaving, OperatorError, Spill, SpillMemory};
use chalk_event::ChangeBatch;
use std::collections::BTreeSet;

/// What is elsewhere.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Whether there has ever been a copy.
    any: bool,
    /// By group id: whether there is a copy, which is of no use.
    has_one: Vec<bool>,
    /// Keys of groups that were released, but have a copy.
    useless: BTreeSet<Box<[u8]>>,
    useless_bytes: usize,
}

/// What a key of [`Copies::useless`] takes beside its bytes, about.
const USELESS_BYTES: usize = 40;

impl Copies {
    /// Makes room for group ids below `groups`.
    pub(super) fn reserve(&mut self, groups: usize) {
        self.has_one.resize(groups, false);
    }

    /// The group is about to be released; says whether it has a copy.
    pub(super) fn released(&mut self, group: u32, keys: &Interner) -> bool {
        let has_one = std::mem::take(&mut self.has_one[group as usize]);
        if has_one {
            let key = keys.key(group);
            if self.useless.insert(key.into()) {
                self.useless_bytes += key.len() + USELESS_BYTES;
            }
        }
        has_one
    }

    /// The copy of a key is replaced, or removed.
    fn left(&mut self, key: &[u8]) {
        if self.useless.remove(key) {
            self.useless_bytes -= key.len() + USELESS_BYTES;
        }
    }
}

impl Spill for AggregateOperator {
    fn missing(&self, inputs: &[ChangeBatch]) -> Result<Vec<Box<[u8]>>, OperatorError> {
        let input = self.output.port(inputs, 0)?;
        if !self.copies.any || input.is_empty() {
            return Ok(Vec::new());
        }
        let encoded = self.keys.encode(input.rows()).map_err(|error| self.output.arrow(error))?;
        let absent = |key: &&[u8]| self.groups.find(key).is_none() && !self.copies.useless.contains(*key);
        let mut missing: Vec<&[u8]> = (0..input.len()).map(|row| encoded.row(row)).filter(absent).collect();
        missing.sort_unstable();
        missing.dedup();
        Ok(missing.into_iter().map(Box::from).collect())
    }

    fn bring_back(&mut self, groups: &[GroupState]) -> Result<(), OperatorError> {
        for group in groups {
            let Some(saved) = &group.state else { continue };
            let id = self.groups.intern(&group.key);
            self.reserve();
            self.put_back(id, &mut StateReader(saved)).map_err(|_| self.not_its_state())?;
            self.copies.has_one[id as usize] = true;
            self.touched_in[id as usize] = self.steps;
        }
        Ok(())
    }

    fn memory(&self) -> SpillMemory {
        let (groups, accumulators) = (self.groups.in_use(), self.accumulators.iter());
        // Weight, last step, whether it is unsaved, whether it has a copy.
        let fixed = 18 + accumulators.clone().map(|accumulator| accumulator.group_bytes()).sum::<usize>();
        let rows: usize = accumulators.map(|accumulator| accumulator.rows_bytes()).sum();
        let bytes = self.groups.bytes() + groups * fixed + rows + self.copies.useless_bytes;
        SpillMemory { bytes, unsaved: self.unsaved.count(groups) }
    }

    fn coldest(&self, bytes: usize) -> Leaving {
        let mut leaving = Leaving::default();
        let useless = self.copies.useless.iter().filter(|key| !self.groups.contains(key));
        leaving.saved.extend(useless.map(|key| GroupState { key: key.clone(), state: None }));
        let mut groups: Vec<(u64, u32)> = self.groups.ids().map(|id| (self.touched_in[id as usize], id)).collect();
        let share = bytes as f64 / self.memory().bytes.max(1) as f64;
        let count = ((groups.len() as f64 * share).ceil() as usize).min(groups.len());
        if count > 0 {
            groups.select_nth_unstable(count - 1);
        }
        for &(_, group) in &groups[..count] {
            let state = self.state_of(group, None);
            if self.unsaved.has(group) { leaving.unsaved.push(state) } else { leaving.saved.push(state) }
        }
        leaving
    }

    fn forget(&mut self, leaving: &Leaving) {
        for GroupState { key, state } in leaving.saved.iter().chain(&leaving.unsaved) {
            self.copies.left(key);
            if state.is_some()
                && let Some(group) = self.groups.find(key)
            {
                self.set_aside(group, None);
                self.copies.any = true;
                self.copies.has_one[group as usize] = false;
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
