//! Partitions that leave memory and come back: each as its rows in order.
//!
//! | bytes | what            |
//! |-------|-----------------|
//! | 8     | how many rows   |
//!
//! and of each row
//!
//! | bytes | what                                     |
//! |-------|------------------------------------------|
//! | 8     | weight                                   |
//! | 8     | length of what it is sorted by           |
//! | 8     | length of that and all its columns: `n`  |
//! | n     | the bytes of its place                   |

use super::{Ordered, Partitions, Place};
use crate::copies::coldest;
use crate::state::{NotSavedState, StateReader, put_i64};
use crate::{GroupState, Leaving, OperatorError, Spill, SpillMemory};
use chalk_event::ChangeBatch;

fn encode(rows: &Ordered) -> Vec<u8> {
    let mut out = Vec::new();
    put_i64(&mut out, rows.len() as i64);
    for (Place { bytes, sort_len }, weight) in rows {
        put_i64(&mut out, *weight);
        put_i64(&mut out, *sort_len as i64);
        put_i64(&mut out, bytes.len() as i64);
        out.extend_from_slice(bytes);
    }
    out
}

fn decode(state: &[u8]) -> Result<Ordered, NotSavedState> {
    let mut state = StateReader(state);
    let count = state.len()?;
    let rows = (0..count).map(|_| {
        let (weight, sort_len, len) = (state.i64()?, state.len()?, state.len()?);
        let bytes = state.bytes(len)?.into();
        if sort_len <= len { Ok((Place { bytes, sort_len }, weight)) } else { Err(NotSavedState) }
    });
    let rows = rows.collect::<Result<_, _>>()?;
    state.end().map(|()| rows)
}

impl Spill for Partitions {
    fn missing(&self, inputs: &[ChangeBatch]) -> Result<Vec<Box<[u8]>>, OperatorError> {
        let input = self.output.port(inputs, 0)?;
        if !self.copies.any() || input.is_empty() {
            return Ok(Vec::new());
        }
        let encoded = self.partition.encode(input.rows()).map_err(|error| self.output.arrow(error))?;
        Ok(self.copies.missing(&self.ids, (0..input.len()).map(|row| encoded.row(row))))
    }

    fn bring_back(&mut self, groups: &[GroupState]) -> Result<(), OperatorError> {
        for GroupState { key, state } in groups {
            let Some(state) = state else { continue };
            let rows = decode(state).map_err(|_| self.output.misuse("what came back is not its partition".into()))?;
            let partition = self.ids.intern(key);
            self.reserve();
            self.row_bytes += rows.keys().map(Place::memory).sum::<usize>();
            self.ordered[partition as usize] = rows;
            self.touched_in[partition as usize] = self.steps;
            self.copies.brought_back(partition);
        }
        Ok(())
    }

    fn memory(&self) -> SpillMemory {
        // The tree, the last step, whether it has a copy.
        const FIXED: usize = size_of::<Ordered>() + 9;
        let bytes = self.ids.bytes() + self.ids.in_use() * FIXED + self.row_bytes + self.copies.bytes();
        SpillMemory { bytes, groups: self.ids.in_use(), unsaved: 0 }
    }

    fn coldest(&self, bytes: usize) -> Leaving {
        let part = bytes as f64 / self.memory().bytes.max(1) as f64;
        let ids = coldest(self.ids.ids().map(|id| (self.touched_in[id as usize], id)), part);
        let state_of = |id: u32| GroupState { key: self.ids.key(id).into(), state: Some(encode(self.rows(id))) };
        let saved = self.copies.useless(&self.ids).chain(ids.into_iter().map(state_of)).collect();
        Leaving { saved, unsaved: Vec::new() }
    }

    fn forget(&mut self, leaving: &Leaving) {
        for GroupState { key, state } in &leaving.saved {
            self.copies.replaced(key);
            if state.is_some()
                && let Some(partition) = self.ids.find(key)
            {
                self.clear(partition);
                self.copies.left(partition);
                self.ids.release(partition);
            }
        }
    }
}
