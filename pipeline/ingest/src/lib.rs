//! The door: what every event passes on its way into the log, whoever brings it.
//!
//! ```text
//! text ─▶ decode ─▶ times ─▶ references ─▶ event_id ─▶ deduplicate ─▶ append
//!            │        │          │            │             │
//!            └────────┴──────────┴────────────┴─────────────┴─▶ dead letter (same append)
//! ```
//!
//! An event is accepted, found to be a duplicate, or refused; refused events are kept in `dead_letters`, in the same
//! append as what was accepted with them. Events that a pipeline derives pass the same door without the text.
//! This crate must not know brokers or SQL.
//!
//! # Deduplication
//!
//! The window is the whole log: the id of every event that was ever accepted is known, with a hash of its content, and so is every
//! value that fields of others point at. The newest are in memory; the rest are in sorted runs on disk, of which memory holds little
//! more than a filter (1.25 bytes an id). See [`DoorOptions`].
//!
//! The log stays the truth: a manifest beside the runs says up to which commit they hold all ids, and opening a door reads the
//! log from there on. Runs that are missing, damaged or of another log are made anew from the log.

mod accept;
mod derive;
mod door;
mod error;
mod identity;
mod keeper;
mod memory;
mod preview;
mod rebuild;
mod receipt;
mod rows;
mod rules;
mod submitted;
#[cfg(test)]
mod tests;
mod times;

pub use door::{Door, DoorOptions, SUBMIT_BYTES_MAX};
pub use error::DoorError;
pub use identity::event_id;
pub use keeper::reads_after;
pub use preview::{Preview, Previewed};
pub use receipt::{Receipt, Refused};
pub use rows::{BadData, Rows};
pub use submitted::{Intake, Submitted};
