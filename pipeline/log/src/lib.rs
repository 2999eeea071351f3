//! The commit log: the one place where events become facts.
//!
//! [`EventLog`] is the contract; [`CommitLog`] keeps it with one append-only file format on local disk. This crate must not
//! know SQL, windows or brokers.
//!
//! ```text
//! commit_log/
//!   format    limits and byte layout of a segment
//!   body      Arrow batches to bytes and back
//!   index     where each commit and frame stands
//!   writer    group commit: one thread, one sync for whatever has arrived
//!   recovery  opening a directory, cutting an unacknowledged tail
//!   fence     one writer per directory
//! ```

mod commit_log;
mod contract;

pub use commit_log::{CommitLog, Holder, LogOptions, read_holder};
pub use contract::{Append, Appended, Commit, EventLog, Frame, FrameToAppend, LogError, Pending};
