//! The contract of an operator.

use crate::{GroupState, SavedState, Spill};
use arrow::array::RecordBatch;
use chalk_event::{ChangeBatch, EventTime, IngestTime, Watermark};

/// An operator failed. It is the engine's or a function's mistake, never an event's.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// Arrow refused an operation.
    #[error("{node}: {source}")]
    Arrow {
        /// The node's name.
        node: String,
        /// What Arrow said.
        source: arrow::error::ArrowError,
    },
    /// An expression or function failed.
    #[error("{node}: {message}")]
    Expression {
        /// The node's name.
        node: String,
        /// What it said.
        message: String,
    },
    /// The node was planned or called in a way that it does not allow.
    #[error("{node}: {message}")]
    Misuse {
        /// The node's name.
        node: String,
        /// What is wrong.
        message: String,
    },
}

/// The watermark of an operator's inputs around a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepTime {
    /// As it stood before the step's rows: rows are judged against it.
    pub before: Watermark,
    /// As it stands after them: panes are closed by it.
    pub after: Watermark,
    /// When the step's commits were made, about: for those operators alone that forget what is old. See [`ttl_tick`](crate::ttl_tick).
    pub committed: Option<IngestTime>,
}

/// A row that arrived after its window had closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateRow {
    /// The query that would have counted it.
    pub query: String,
    /// Its event time.
    pub event_time: EventTime,
    /// The watermark that it was behind.
    pub watermark: EventTime,
    /// The end of its window; of a row that is in none, its time.
    pub window_end: EventTime,
    /// The input port of the batch that it is in.
    pub port: usize,
    /// Which row of that batch it is.
    pub row: usize,
}

/// A row that an expression or function failed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// Which row of input port 0 it is.
    pub row: usize,
    /// What the expression said.
    pub message: String,
}

/// A group, or a partition of ordered rows, that a function failed for.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedGroup {
    /// What it is grouped by: one row.
    pub keys: RecordBatch,
    /// What the function said.
    pub message: String,
}

/// What a step gives.
#[derive(Clone, Debug)]
pub struct Step {
    /// Output changes, consolidated within a key.
    pub changes: ChangeBatch,
    /// Rows that were not counted.
    pub late: Vec<LateRow>,
    /// Rows that an expression or function failed for: they are not in the changes.
    pub refused: Vec<RefusedRow>,
    /// Groups that a function begins to fail for: they have no result until their rows change.
    pub refused_groups: Vec<RefusedGroup>,
}

/// A synchronous state machine over change batches.
///
/// # Contract
///
/// - A step gets all changes of an epoch's part, one batch per input port, and gives all that follows from them. How
///   changes are split into steps never changes the sum of the outputs.
/// - Deletes are of rows that were inserted in an earlier step, or earlier or later in the same one.
/// - No clock, no randomness, no I/O: the same steps give the same outputs.
/// - A new operator that was given the state of another one goes on as that one would have.
pub trait Operator: Send {
    /// Takes one batch per input port.
    ///
    /// # Errors
    /// When Arrow or an expression fails; the operator is of no use afterwards.
    fn step(&mut self, inputs: &[ChangeBatch], time: StepTime) -> Result<Step, OperatorError>;

    /// Begins a save of the groups that changed since the one before, all of them the first time, as they are now. That one
    /// must have been given whole. Only operators of [`StateKind::Groups`](crate::StateKind::Groups) have any.
    fn begin_save(&mut self) {}

    /// The next groups of the save that was begun, in any order and each of them once: at least so many, unless there are no more.
    fn save(&mut self, at_least: usize) -> Vec<GroupState> {
        let _ = at_least;
        Vec::new()
    }

    /// The operator as one whose groups can leave memory, if it is one.
    fn spill(&mut self) -> Option<&mut dyn Spill> {
        None
    }

    /// Takes state that another operator of the same node had; before the first step.
    ///
    /// # Errors
    /// When it is not the state of such an operator.
    fn restore(&mut self, state: SavedState<'_>) -> Result<(), OperatorError> {
        let _ = state;
        Err(OperatorError::Misuse { node: "an operator without state".to_owned(), message: "it takes none".to_owned() })
    }
}
