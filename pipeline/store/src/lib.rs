//! Where bytes are kept: files that must be durable, through the [`Storage`] trait, and sorted [`runs`] of keys in them.
//!
//! The commit log needs what `object_store`'s local back end does not give: `fdatasync`, synced directories, and errors
//! that are never retried. This crate must not know events or SQL.
//!
//! Object stores by URL (for history and photos) join it here when something reads or writes them.

mod local;
pub mod memory;
pub mod runs;
mod storage;

pub use local::LocalFiles;
pub use storage::{AppendFile, ReadFile, Storage, StorageError};
