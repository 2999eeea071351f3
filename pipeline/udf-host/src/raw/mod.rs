//! Everything `unsafe`: calling a library, and confining the process that does.
//!
//! What is foreign is believed as little as can be: whatever a library gives is copied or wrapped, and then validated by Arrow. What
//! cannot be checked (that pointers point to what the interface says) is why libraries run in a worker process by default.

#![allow(unsafe_code)]

mod async_library;
mod confine;
mod interface;
mod library;
mod shared;

pub(crate) use async_library::{Drained, RawAsyncLibrary, RawRuntime, waits};
pub(crate) use confine::{Confinement, confine};
pub(crate) use library::{RawLibrary, RawRun};
pub(crate) use shared::{Streams, believed, mapped, memory_file, take_standard_streams};
