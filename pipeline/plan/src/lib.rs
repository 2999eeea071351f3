//! SQL text to graph.
//!
//! ```text
//! .sql files ─▶ statement  ─▶ table ─▶ DataFusion's planner ─▶ event_time ─▶ translate ─▶ Graph
//!               (our CREATE   (columns, (names, types,          (windows      (nodes with
//!                TABLE)        options)  optimiser)              get their     resolved
//!                                                                column)       expressions,
//!                                                                              simplified)
//! ```
//!
//! Names, types and optimisation are DataFusion's, so that a query means here what it means there; the batch answer to the
//! same logical plan is the oracle of the streaming one. Every SQL error that a user sees is made here, with its place.
//! This crate must not know tasks or connections.

mod arrows;
mod cast_names;
mod distinct_on;
mod error;
mod event_time;
mod folders;
mod functions;
mod json_path;
mod lookups;
mod optimiser;
mod placed;
mod project;
mod questions;
mod recorded;
mod refused;
mod relation;
mod scalar;
mod set_operations;
mod simplify;
mod statement;
mod table;
mod translate;
mod types;
mod windows;

pub use error::{Location, PlanError};
pub use functions::{Functions, session};
pub use project::{ClosingWindows, PlannedQuery, Project, QueryKind, SqlFile, batch_plan, plan, with_event_time};
pub use table::{PlannedTable, TableTopic, TopicSchemas};
pub use windows::{hop, tumble};
