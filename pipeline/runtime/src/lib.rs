//! Running a graph: epochs, shards, the commit of what they give, and a [`Handle`] for others.
//!
//! ```text
//!            ┌────────────── engine thread ──────────────┐        ┌──────── committer thread ────────┐
//! log ─read─▶ commits ─▶ sources ─▶ steps ─▶ dataflow ─▶ epoch ─▶ derived events + journal ─▶ log
//!                        (tables,   (cut where          output     (one commit), then views are
//!                        watermark) a window closes)               published
//! ```
//!
//! While an epoch is committed the next one is computed. An epoch is a run of whole commits: whatever the log has, up to a
//! bound, so that epochs are tiny under light load and large under heavy load. A view becomes visible only after the
//! derived events of its epoch, and the journal record that says so, are durable. Sinks outside the log get an epoch's rows after
//! that, each on a thread of its own.
//!
//! A stage whose results are recorded is beside all this: it reads its rows from the log by itself and appends results to it, which the engine reads as
//! the rows of any topic.
//!
//! What a function's results depend on beside its arguments is in the log, too, and is followed by every run and replay.
//!
//! This crate must not know SQL text or serving.

mod avro;
mod changelog;
mod checkpoint;
mod clocks;
mod cold;
mod committer;
mod compressed;
mod containers;
mod dataflow;
mod delivery;
mod elsewhere;
mod encode;
mod engine;
mod error;
#[cfg(feature = "fluvio")]
mod fluvio;
mod in_memory;
mod inputs;
mod journal;
mod late;
mod parquet;
mod pipeline;
mod reached;
mod reading;
mod recorded;
mod refused;
mod replay;
mod schedule;
mod source;
mod stats;
mod steps;
mod stored;
mod switch;
mod verdicts;

pub use changelog::{At, Past, as_of, changes_between};
pub use checkpoint::{CheckpointReport, Checkpoints, CopyReport, topics_read_again};
pub use cold::{ColdTier, StateStatus};
pub use elsewhere::Elsewhere;
pub use error::RuntimeError;
pub use in_memory::InMemory;
pub use inputs::{Generator, Generators, log_elsewhere, look_at_topic, rows_of};
pub use pipeline::{Handle, Options, Pipeline, start};
pub use recorded::{Functions, current_stages, prepare_stages};
pub use replay::{Comparison, ReplayFrom, ReplayOptions, Replayed, Verified, replay, verify};
pub use stats::{CheckpointStatus, CopiesStatus, SinkStatus, SourceStatus, StageStatus, Status, TableStatus};
pub use switch::{Switch, Switched, can_switch};
