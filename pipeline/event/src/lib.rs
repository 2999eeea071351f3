//! What flows: events, their order, their time, and changes to rows.
//!
//! This crate owns the words that every other crate speaks: offsets and commit order, epochs, event time and
//! watermarks, change batches and the provenance that a row carries. It is plain data and arithmetic: it must not
//! know tokio, DataFusion or the disk.
//!
//! # One worked case
//!
//! Three submissions are committed in two commits. Their place in the total order is
//! `(commit_seq, partition, offset)`:
//!
//! ```text
//! commit_seq  partition  offset   row
//!          7          0       0   s1 handed in
//!          7          1       0   s2 handed in
//!          8          0       1   s1 handed in again
//! ```
//!
//! A view that counts submissions per pupil receives the changes `+(s1,1) +(s2,1)` for an epoch that ends with commit 7
//! and `-(s1,1) +(s1,2)` for one that ends with commit 8; for a single epoch over both commits it receives
//! `+(s1,2) +(s2,1)`. Either way the consolidated view is the same.

mod change;
mod key;
mod order;
mod provenance;
mod time;

pub use change::{ChangeBatch, Weights, consolidate};
pub use key::{KEY_GROUPS, hash_key, key_group, shard_of};
pub use order::{CommitSeq, Epoch, Offset, PartitionId};
pub use provenance::Provenance;
pub use time::{EventTime, IngestTime, NANOS_PER_SECOND, Watermark, format_rfc3339};
