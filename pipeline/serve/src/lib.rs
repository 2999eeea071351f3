//! Serving: read-only SQL over views and topics, for PostgreSQL's clients and over HTTP, and the HTTP door for events.
//!
//! ```text
//!  psql, drivers ─▶ pg ───┐
//!  POST /query ───────────┴▶ statement ─▶ a lookup? ── yes ─▶ a range of one view ───────────▶ batches ─▶ rows, text
//!                            (read-only,       │
//!                             bounded)         no ─▶ session ────────────▶ DataFusion ──────▶ batches
//!                                                    (one snapshot of       (own memory,      (counted,
//!                                                     all views, topics      no disk,          as they come)
//!                                                     up to one commit)      no files)
//!  GET /views/… ───────────────────────────────────▶ a range of one view, or what changes in it
//!  POST /events ─▶ the door ─▶ durable ─▶ receipt
//! ```
//!
//! [`Queries`] knows no protocol: PostgreSQL's and HTTP are two of its callers, the command line another. Everything that a
//! query may use is bounded before it starts ([`QueryLimits`]), and dropping its future ends it. Serving is on loopback
//! addresses only, since nobody has to say who they are. This crate must not know operators.

mod app;
mod error;
mod format;
mod http;
mod listen;
mod metrics;
mod pg;
mod queries;
mod statement;
mod tables;
#[cfg(test)]
mod testing;
mod topic_table;
mod view_table;

pub use app::{App, PipelineReport, Promote, Promoted};
pub use error::{Limit, QueryError, QueryErrorKind};
pub use format::{Format, UnknownFormat, write};
pub use http::Server;
pub use listen::ServeError;
pub use pg::PgServer;
pub use queries::{Queries, QueryLimits, QueryResult};
