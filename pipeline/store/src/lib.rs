//! Where bytes are kept: files that must be durable, through the [`Storage`] trait, and sorted [`runs`] of keys in them. Processes can be made
//! to end at named points of writing them: [`fail`].
//!
//! The commit log needs what `object_store`'s local back end does not give: `fdatasync`, synced directories, and errors
//! that are never retried. What is written once and read as a whole is in [`objects`]: a directory, or an object store by URL.
//! This crate must not know events or SQL.

pub mod fail;
mod local;
pub mod memory;
pub mod objects;
pub mod runs;
mod storage;

pub use local::LocalFiles;
pub use storage::{AppendFile, Folders, ReadFile, Storage, StorageError};
