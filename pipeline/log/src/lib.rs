//! The commit log: the one place where events become facts.
//!
//! [`EventLog`] is the contract; [`CommitLog`] keeps it with one append-only file format on local disk. This crate must not
//! know SQL, windows or brokers.
//!
//! ```text
//! commit_log/
//!   format      limits and byte layout of a segment; its header and commits
//!   footer      the end of a sealed segment: an index, and how everything is there
//!   body        Arrow batches to bytes and back
//!   queue       appends that wait for the writer
//!   writer      group commit: one thread, one sync for whatever has arrived
//!   shared      what is durable, and where in it to look
//!   tail_cache  the newest commits in memory
//!   index       where the commits and frames of one segment stand
//!   lanes       tails and sizes of partitions
//!   control     topics and progress, as control events made them
//!   segment     a segment's file
//!   sealed      finding things in sealed segments; lru: what of their footers stays in memory
//!   reader      frames from a file
//!   recovery    opening a directory, cutting an unacknowledged tail
//!   verify      reading all of a directory, cutting off a damaged end
//!   history/    sealed segments as Parquet on an object store: written, read, let go of
//!   retention   which segments are let go of, and what holds them back
//!   trim        where the log begins once segments were removed
//!   fence       one writer per directory
//! ```

mod commit_log;
mod contract;

pub use commit_log::{
    CommitLog, CommitReport, CutOff, Expired, Exported, FrameReport, History, HistoryFile, HistoryPartition,
    HistorySize, Holder, Keep, LetGo, LogOptions, Need, Retention, SegmentReport, inspect, read_holder, repair_tail,
    verify,
};
pub use contract::{
    Append, Appended, Commit, EventLog, Frame, FrameToAppend, LogError, LogSize, PartitionSize, Pending,
};
