//! What every source and every sink must do: one suite for each contract, which each of them passes with a peer of its own.
//!
//! A peer is the place that a connector reads from or writes to, as a test sees it from the other side: a file, a cluster. The contracts are
//! `pipeline/connect/src/source.rs` and `pipeline/connect/src/sink.rs`. The suites need a test's usual way to fail: they panic.

pub mod sinks;
pub mod sources;

#[cfg(feature = "fluvio")]
pub mod fluvio_peer;
