//! State that can leave memory: what an operator has to say about it, so that others can keep it elsewhere.
//!
//! Operators know no disk. Whoever runs one looks at how much memory it takes, takes out the groups that were touched longest
//! ago, and gives back those that a step needs:
//!
//! ```text
//! step   input        in memory         elsewhere
//!    1   + 3A 7       3A, 3B
//!        + 3B 5
//!        coldest, forget: 3A            3A: count 1, sum 7
//!    2   + 3A 9       missing: 3A, so it is brought back
//!                     3A, 3B            3A: of no use while it is in memory
//!    3   - 3A 7
//!        - 3A 9       3B                3A: coldest says that it is gone for good
//! ```

use crate::{GroupState, OperatorError};
use chalk_event::ChangeBatch;

/// How much memory groups take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpillMemory {
    /// About so many bytes, for all groups that are in memory.
    pub bytes: usize,
    /// How many they are.
    pub groups: usize,
    /// How many of them the next [`Operator::save`](crate::Operator::save) will give.
    pub unsaved: usize,
}

/// Groups that leave memory, in no order.
#[derive(Clone, Debug, Default)]
pub struct Leaving {
    /// Those that the last save gave as they are now. `None` for a state: the copy that was taken out before is of no use any more.
    pub saved: Vec<GroupState>,
    /// Those that have changed since, or that were never saved: [`Operator::save`](crate::Operator::save) will not give them. Who saves
    /// has to save them from here, before what the next save gives.
    pub unsaved: Vec<GroupState>,
}

impl Leaving {
    /// Whether nothing leaves.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.saved.is_empty() && self.unsaved.is_empty()
    }
}

/// An operator whose groups can be kept elsewhere while no step needs them.
///
/// # Contract
///
/// - Before a step, the caller brings back every group that [`Spill::missing`] names and that it has.
/// - What steps give is the same as if no group had ever left.
pub trait Spill {
    /// The keys that a step with these inputs touches and whose groups may have left memory: each once, in ascending order.
    ///
    /// # Errors
    /// When keys cannot be encoded.
    fn missing(&self, inputs: &[ChangeBatch]) -> Result<Vec<Box<[u8]>>, OperatorError>;

    /// Takes groups back that had left.
    ///
    /// # Errors
    /// When it is not what had left.
    fn bring_back(&mut self, groups: &[GroupState]) -> Result<(), OperatorError>;

    /// How much memory it takes.
    fn memory(&self) -> SpillMemory;

    /// About so many bytes of groups: those that no step has touched for longest. They stay until they are forgotten.
    fn coldest(&self, bytes: usize) -> Leaving;

    /// Lets go of groups that [`Spill::coldest`] has just given and that are in safety.
    fn forget(&mut self, leaving: &Leaving);
}
