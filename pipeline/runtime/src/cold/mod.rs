//! State larger than memory: the cold tier.
//!
//! Under a limit, groups of aggregates, keys of joins, partitions of ranks, and rows of views leave memory for sorted runs on disk. The runs are this run's alone: they are not
//! synced for anybody's sake, and a start removes them. The log and the checkpoints say what is to last.
//!
//! ```text
//! engine thread                                               committer thread
//! step:   Spill::missing ──get──▶ runs ──▶ bring_back         views take the epoch's changes
//! after:  over the limit?                                     over the limit?
//!         Spill::coldest ──write─▶ a run ──▶ forget           a view's rows ──write──▶ a run
//!         merge what is due, on a thread of its own           merge what is due, on a thread of its own
//! ```
//!
//! Groups are looked up by key before a step that touches them. Views are never looked up in to be changed: what is in memory is added
//! to what is on disk when somebody reads ([`chalk_view::ViewRows::leave_memory`]).
//!
//! # With checkpoints
//!
//! A checkpoint is to have each group that changed since the one before. Groups that leave with changes are written into a run of their
//! own, which the next checkpoint reads as well (`checkpoint/save.rs`), before the groups that are in memory: these are newer. Of joins and
//! ranks a checkpoint has what came in, which is kept apart until then.
//!
//! # What is not in the limit
//!
//! Windows that close, sessions, and what the other parts of a server have.

mod groups;
mod memory;
mod runs;
mod views;

pub(crate) use groups::{ColdGroups, bring_back};
pub use memory::StateStatus;
pub(crate) use memory::{Held, StateMemory};
use runs::ColdRuns;
pub(crate) use runs::Scratch;
pub(crate) use views::ColdViews;

use chalk_store::Storage;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// While the disk is full, so much time passes between two attempts.
const ROOM_AGAIN: Duration = Duration::from_secs(1);

/// Whether it is time for another attempt after one that found the disk full.
fn is_time(full_since: Option<Instant>) -> bool {
    full_since.is_none_or(|since| since.elapsed() >= ROOM_AGAIN)
}

/// Where state goes that is not to be in memory.
#[derive(Clone, Debug)]
pub struct ColdTier {
    /// The folder, this pipeline's alone. Whatever is in it at the start is removed.
    pub storage: Arc<dyn Storage>,
    /// Groups, views' rows, and what waits to be written into a checkpoint take about so many bytes of memory.
    pub memory_bytes_max: usize,
}
