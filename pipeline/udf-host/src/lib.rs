//! Functions that are written in Rust and called from SQL over Arrow batches.
//!
//! A [`Function`] is linked into the binary and trusted. Who it is stands beside it: a hash of its source, which SQL can put on
//! every result with `udf_version('name')`. This crate must not know plans or tasks.

mod native;
mod version;

pub use native::{Function, native};
pub use version::version_function;
