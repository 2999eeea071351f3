//! What flows: events, their order, their time, and changes to rows.
//!
//! This crate owns the words that every other crate speaks: offsets and commit order, epochs, event time and
//! watermarks, change batches and the provenance that a row carries. It is plain data and arithmetic: it must not
//! know tokio, DataFusion or the disk.
//!
//! # One worked case
//!
//! Three orders are committed in two commits. Their place in the total order is
//! `(commit_seq, partition, offset)`:
//!
//! ```text
//! commit_seq  partition  offset   row
//!          7          0       0   c1 ordered
//!          7          1       0   c2 ordered
//!          8          0       1   c1 ordered again
//! ```
//!
//! A view that counts orders per customer receives the changes `+(c1,1) +(c2,1)` for an epoch that ends with commit 7
//! and `-(c1,1) +(c1,2)` for one that ends with commit 8; for a single epoch over both commits it receives
//! `+(c1,2) +(c2,1)`. Either way the consolidated view is the same.

mod change;
mod key;
mod order;
mod provenance;
mod time;

pub use change::{ChangeBatch, Weights, consolidate, sums};
pub use key::{KEY_GROUPS, hash_key, hash_row, key_group, shard_of};
pub use order::{CommitSeq, Epoch, Offset, PartitionId};
pub use provenance::Provenance;
pub use time::{EventTime, IngestTime, NANOS_PER_SECOND, Watermark, format_rfc3339};
