//! Operators: synchronous state machines over change batches.
//!
//! An operator is one visible step from input changes to output changes. It must not know tokio, clocks or disks: what time
//! it is comes with the step. Stateful operators are sharded by key: [`exchange`] splits a batch, and every shard has an
//! operator of its own.
//!
//! # One worked case
//!
//! Marks of class 3A, counted and summed by an aggregate and then ranked, in two steps:
//!
//! ```text
//! step   marks        select player, sum(mark)    rank() over (order by sum desc)
//!    1   + ann 5      + ann 5                      + ann 5 2
//!        + bob 7      + bob 7                      + bob 7 1
//!    2   + ann 4      - ann 5                      - ann 5 2
//!                     + ann 9                      + ann 9 1
//!                                                  - bob 7 1
//!                                                  + bob 7 2
//! ```
//!
//! Had both steps been one, the sum of the outputs would be the same: `+ ann 9 1`, `+ bob 7 2`.
//!
//! # Who does what
//!
//! [`operator()`] builds the operator of a graph's node, [`key_columns`] says how its rows must be sharded, and
//! [`exchange::split`] does that. State is kept as encoded rows, keys as dense numbers; [`state_kind`] says how it is saved, and
//! [`Spill`] how it leaves memory.

mod aggregate;
mod build;
mod copies;
pub mod exchange;
mod filter;
mod forget;
mod interner;
mod join;
mod operator;
mod output;
mod over;
mod partitions;
mod project;
mod rank;
mod refused;
mod row_codec;
mod row_hash;
mod row_set;
mod session;
mod spill;
mod state;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod times;
mod union;
mod unnest;

pub use aggregate::tick as ttl_tick;
pub use build::{key_columns, operator};
pub use operator::{LateRow, Operator, OperatorError, RefusedGroup, RefusedRow, Step, StepTime};
pub use spill::{Leaving, Spill, SpillMemory};
pub use state::{GroupState, SavedState, StateKind, state_kind, state_ports};
