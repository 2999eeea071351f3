//! What operators keep between steps, as a checkpoint sees it.
//!
//! Whoever runs operators saves their state and gives it back to new ones. How, depends on what the state is:
//!
//! | operator | its state is | saved as |
//! |---|---|---|
//! | project, filter, unnest, union | nothing | |
//! | join, rank, functions over ordered rows | the sum of all changes that came in, by input port; of a lookup, the right ones alone | those changes, by the runner itself |
//! | join that lets go of rows | rows by key | the keys that changed: [`Operator::save`] |
//! | what forgets rows | when copies of each row came | the rows that changed: [`Operator::save`] |
//! | session | the same; only those of open sessions when each is given once | those changes; or the keys that changed: [`Operator::save`] |
//! | aggregate | accumulators by key | the groups that changed since the last save: [`Operator::save`] |
//!
//! ```text
//! step   input                 save
//!    1   + 3A 7   + 3B 5       3A: …   3B: …     the first one: all groups
//!    2   + 3A 9
//!    3   - 3B 5                3A: …   3B: gone
//! ```
//!
//! A save is begun at once and given in parts, between steps: groups that a step is about to change are set aside as they were.
//!
//! State that was saved by some number of shards can be given back to any other: rows and keys are split anew.
//!
//! [`Operator::save`]: crate::Operator::save

use crate::interner::Interner;
use crate::row_set::RowSet;
use crate::{OperatorError, output::Output};
use chalk_event::ChangeBatch;
use chalk_graph::{Join, JoinMode, Node, NodeKind, Over, Rank};
use std::collections::BTreeSet;
use std::ops::Range;

/// How a node's state is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// There is none.
    Stateless,
    /// As the sum of the changes that came in, by input port.
    Inputs,
    /// As groups.
    Groups,
}

/// How the state of a node's operators is saved.
#[must_use]
pub fn state_kind(node: &Node) -> StateKind {
    match &node.kind {
        NodeKind::Session(session) if session.close.is_none() => StateKind::Inputs,
        NodeKind::Aggregate(_)
        | NodeKind::Session(_)
        | NodeKind::Forget(_)
        | NodeKind::Join(Join { mode: JoinMode::Closing(_), .. }) => StateKind::Groups,
        NodeKind::Rank(Rank { whole: true, .. }) | NodeKind::Over(Over { whole: true, .. }) => StateKind::Stateless,
        NodeKind::Join(_) | NodeKind::Rank(_) | NodeKind::Over(_) => StateKind::Inputs,
        NodeKind::Project(_)
        | NodeKind::Filter(_)
        | NodeKind::Unnest(_)
        | NodeKind::Union
        | NodeKind::Source(_)
        | NodeKind::Sink(_) => StateKind::Stateless,
    }
}

/// The input ports whose changes are a node's state: none but where [`state_kind`] says [`StateKind::Inputs`].
#[must_use]
pub fn state_ports(node: &Node) -> Range<usize> {
    match (state_kind(node), &node.kind) {
        (StateKind::Inputs, NodeKind::Join(Join { mode: JoinMode::Lookup, .. })) => 1..2,
        (StateKind::Inputs, _) => 0..node.inputs.len(),
        (StateKind::Stateless | StateKind::Groups, _) => 0..0,
    }
}

/// A group of an aggregate, or a key of sessions or of a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// The row encoding of its key: what [`exchange`](crate::exchange) hashes.
    pub key: Box<[u8]>,
    /// Its accumulators or rows; `None` when the group is gone.
    pub state: Option<Vec<u8>>,
}

/// State that is given back to a new operator.
#[derive(Clone, Copy, Debug)]
pub enum SavedState<'a> {
    /// One batch of changes per input port; comes in any number of parts.
    Inputs(&'a [ChangeBatch]),
    /// Groups, each of them once; comes in any number of parts.
    Groups(&'a [GroupState]),
}

impl SavedState<'_> {
    /// The mistake of giving an operator state of another kind.
    pub(crate) fn misplaced(&self, output: &Output) -> OperatorError {
        let what = match self {
            Self::Inputs(_) => "input changes",
            Self::Groups(_) => "groups",
        };
        output.misuse(format!("its state is not made of {what}"))
    }
}

/// What happened to groups since a save.
pub(crate) struct Since {
    /// Keys whose groups are no more.
    pub(crate) gone: BTreeSet<Box<[u8]>>,
    /// Groups that are there and have changed.
    pub(crate) changed: Vec<u32>,
}

impl Since {
    /// All of it, to be saved at once.
    pub(crate) fn groups(self, state_of: impl Fn(u32) -> GroupState) -> Vec<GroupState> {
        let gone = self.gone.into_iter().map(|key| GroupState { key, state: None });
        gone.chain(self.changed.into_iter().map(state_of)).collect()
    }
}

/// Which groups have changed since the last save. Nothing is noted before the first one, which saves all of them.
#[derive(Debug, Default)]
pub(crate) struct Unsaved {
    noting: bool,
    /// By group id.
    is_changed: Vec<bool>,
    changed: Vec<u32>,
    gone: BTreeSet<Box<[u8]>>,
}

impl Unsaved {
    /// Makes room for group ids below `groups`.
    pub(crate) fn reserve(&mut self, groups: usize) {
        if self.noting {
            self.is_changed.resize(groups, false);
        }
    }

    /// The group has changed.
    pub(crate) fn changed(&mut self, group: u32) {
        if self.noting && !std::mem::replace(&mut self.is_changed[group as usize], true) {
            self.changed.push(group);
        }
    }

    /// The group is about to be released. `had_left` tells whether it had left memory: even before the first save somebody has it then,
    /// and has to be told.
    pub(crate) fn gone(&mut self, group: u32, keys: &Interner, had_left: bool) {
        if self.noting {
            self.is_changed[group as usize] = false;
        }
        if self.noting || had_left {
            self.gone.insert(keys.key(group).into());
        }
    }

    /// Whether the next save gives the group.
    pub(crate) fn has(&self, group: u32) -> bool {
        !self.noting || self.is_changed[group as usize]
    }

    /// How many of `groups` groups the next save gives, about.
    pub(crate) fn count(&self, groups: usize) -> usize {
        if self.noting { self.changed.len().min(groups) + self.gone.len() } else { groups }
    }

    /// The group leaves memory. What is there to be saved is somebody else's from here on.
    pub(crate) fn left(&mut self, group: u32, key: &[u8]) {
        if self.noting {
            self.is_changed[group as usize] = false;
        }
        self.gone.remove(key);
    }

    /// All that is there now, group ids below `groups`, has been saved.
    pub(crate) fn begin(&mut self, groups: usize) {
        self.noting = true;
        self.is_changed = vec![false; groups];
        self.changed.clear();
        self.gone.clear();
    }

    /// What happened since the last save; before the first one that is all there is.
    pub(crate) fn take(&mut self, keys: &Interner) -> Since {
        let mut gone = std::mem::take(&mut self.gone);
        // What is there again has a state.
        gone.retain(|key| !keys.contains(key));
        if !self.noting {
            self.begin(keys.len());
            return Since { gone, changed: keys.ids().collect() };
        }
        let mut changed = std::mem::take(&mut self.changed);
        // An id that was released and given to another key is noted twice, the second time rightly.
        changed.retain(|&group| std::mem::take(&mut self.is_changed[group as usize]));
        Since { gone, changed }
    }
}

/// The groups of a save that was begun, until they are given.
#[derive(Debug, Default)]
pub(crate) struct Saving {
    /// Set aside as they were when the save was begun.
    ready: Vec<GroupState>,
    /// Not looked at yet, and some that were set aside since.
    due: Vec<u32>,
    /// By group id; ids that came later have none.
    is_due: Vec<bool>,
}

impl Saving {
    /// Begins with groups that are gone, and those that are there as they are now, whose ids are below `groups`.
    pub(crate) fn begin(&mut self, gone: impl Iterator<Item = Box<[u8]>>, due: Vec<u32>, groups: usize) {
        debug_assert!(self.ready.is_empty() && self.due.is_empty(), "the save before was given whole");
        self.ready = gone.map(|key| GroupState { key, state: None }).collect();
        self.is_due = vec![false; groups];
        for &group in &due {
            self.is_due[group as usize] = true;
        }
        self.due = due;
    }

    /// Whether the group is to be set aside before it changes; from here on it need not be.
    pub(crate) fn is_due(&mut self, group: u32) -> bool {
        self.is_due.get_mut(group as usize).is_some_and(std::mem::take)
    }

    /// Sets a group aside.
    pub(crate) fn set_aside(&mut self, state: GroupState) {
        self.ready.push(state);
    }

    /// Groups that were set aside, and then the next that are due, as `state_of` gives them: at least so many, unless there are no more.
    pub(crate) fn give(&mut self, at_least: usize, state_of: impl Fn(u32) -> GroupState) -> Vec<GroupState> {
        let mut groups = std::mem::take(&mut self.ready);
        while groups.len() < at_least
            && let Some(group) = self.due.pop()
        {
            if self.is_due(group) {
                groups.push(state_of(group));
            }
        }
        if self.due.is_empty() {
            self.is_due = Vec::new();
        }
        groups
    }
}

/// Appends a count or weight.
pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a row set.
pub(crate) fn put_rows(out: &mut Vec<u8>, rows: &RowSet) {
    put_i64(out, rows.len() as i64);
    for (row, weight) in rows.iter() {
        put_i64(out, weight);
        put_i64(out, row.len() as i64);
        out.extend_from_slice(row);
    }
}

/// Reads what was put, in the same order.
#[derive(Debug)]
pub(crate) struct StateReader<'a>(pub(crate) &'a [u8]);

/// The bytes are not what the operator saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotSavedState;

impl<'a> StateReader<'a> {
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], NotSavedState> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(NotSavedState)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, NotSavedState> {
        let bytes = self.bytes(8)?;
        bytes.try_into().map(i64::from_le_bytes).map_err(|_| NotSavedState)
    }

    pub(crate) fn len(&mut self) -> Result<usize, NotSavedState> {
        usize::try_from(self.i64()?).map_err(|_| NotSavedState)
    }

    pub(crate) fn rows(&mut self) -> Result<RowSet, NotSavedState> {
        let mut rows = RowSet::default();
        for _ in 0..self.len()? {
            let weight = self.i64()?;
            let len = self.len()?;
            rows.add(self.bytes(len)?, weight);
        }
        Ok(rows)
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), NotSavedState> {
        if self.0.is_empty() { Ok(()) } else { Err(NotSavedState) }
    }
}
