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
//! The window is the whole log: every id that was ever accepted is kept in memory with a hash of its content
//! (about 40 bytes an event) and rebuilt when the log is opened.

mod accept;
mod derive;
mod door;
mod error;
mod identity;
mod memory;
mod rebuild;
mod receipt;
mod times;

pub use door::{Door, Submitted};
pub use error::DoorError;
pub use identity::event_id;
pub use receipt::{Receipt, Refused};
