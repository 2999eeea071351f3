//! Changelogs: what changed in each view, epoch by epoch, as topics of the log; and views as they were, read from these alone.
//!
//! A view's changelog is the topic `_changes_{view}`. Its rows have the view's columns, then `_epoch` and `_weight`. Partition 0 has the
//! consolidated changes of each epoch that changed the view, in the commit of that epoch's journal record; partition 1 has snapshots,
//! written in the background before the record that names them. The journal says which of them make up the view:
//!
//! ```text
//! journal       epoch 7                 epoch 9         epoch 12
//! changes       │ +a +b  −a +c │        │ +d │          │ −b │
//! snapshots                        the whole view as of 9: b, c, d ▲
//!
//! as of 7 and 9: the changes so far           as of 12: the snapshot, then −b
//! ```
//!
//! Snapshots are spaced so that whoever reads a view as it was reads about [`write::SNAPSHOT_EVERY`] times its rows at most. A *generation*
//! of a changelog is as long as each epoch's changes are in it. When a run finds that a view is not what was recorded last (its query
//! is another one, or an earlier build wrote no changelog), a new generation begins with a snapshot. When the view's columns are others,
//! it has a topic of its own: `_changes_{view}.2`, and so on.
//!
//! What is read is checked against the hash in the journal.

mod layout;
mod read;
mod snapshots;
mod write;

pub use read::{At, Past, as_of, changes_between};
pub(crate) use write::{Changelogs, EpochChanges};

use chalk_event::PartitionId;

/// Where changes are.
const CHANGES: PartitionId = PartitionId(0);
/// Where snapshots are.
const SNAPSHOTS: PartitionId = PartitionId(1);
