//! Views: queryable state built from changelogs, read as consistent snapshots.
//!
//! A view keeps its rows in a persistent ordered map, keyed by their row encoding. Taking a snapshot of all views is therefore
//! a copy of a few pointers, a reader never blocks the writer, and each reader sees exactly one committed epoch of all
//! views. Rows are ordered by their columns from left to right, so that equality on the first columns is a range.
//! Rows can leave memory for sorted runs on disk; readers do not notice. This crate must not know protocols or tasks.
//!
//! ```text
//! changelog of epoch 7      view after it          snapshot of epoch 7
//!   -(3A, s1, 10)             (3A, s1, 12)  ◀──────  read for as long as wanted,
//!   +(3A, s1, 12)             (3A, s2, 11)           while epoch 8 is being applied
//! ```

mod hash;
mod rows;
mod snapshot;

pub use hash::MultisetHash;
pub use rows::{Cursor, ViewError, ViewRows};
pub use snapshot::{Publisher, Snapshot};
