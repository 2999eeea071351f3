//! Operators: synchronous state machines over change batches.
//!
//! An operator is one visible step from input changes to output changes. It must not know tokio, clocks or disks: what time
//! it is comes with the step. Stateful operators are sharded by key: [`exchange`] splits a batch, and every shard has an
//! operator of its own.

mod operator;

pub use operator::{LateRow, Operator, OperatorError, Step, StepTime};
