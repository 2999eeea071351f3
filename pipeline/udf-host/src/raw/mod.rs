//! Everything `unsafe`: calling a library, and confining the process that does.
//!
//! What is foreign is believed as little as can be: whatever a library gives is copied or wrapped, and then validated by Arrow. What
//! cannot be checked (that pointers point to what the interface says) is why libraries run in a worker process by default.

#![allow(unsafe_code)]

mod async_library;
mod confine;
mod interface;
mod library;

pub(crate) use async_library::{Drained, RawAsyncLibrary, RawRuntime, waits};
pub(crate) use confine::{Confinement, confine, take_standard_input};
pub(crate) use library::{RawLibrary, RawRun};
