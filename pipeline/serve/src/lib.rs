//! Serving: read-only SQL over views and topics, and the HTTP door for events.
//!
//! ```text
//!  POST /query ─▶ statement ─▶ session ─────────▶ DataFusion ─▶ batches ─▶ format
//!                 (read-only,  (one snapshot of    (own memory     (counted,
//!                  bounded)     all views, topics   pool, no disk,  as they come)
//!                               up to one commit)   no files)
//!  POST /events ─▶ the door ─▶ durable ─▶ receipt
//! ```
//!
//! [`Queries`] knows no protocol: HTTP is one of its callers, the command line another. Everything that a query may use
//! is bounded before it starts ([`QueryLimits`]), and dropping its future ends it. Serving is on loopback addresses only,
//! since nobody has to say who they are. This crate must not know operators.

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

pub use app::{App, PipelineReport};
pub use error::{Limit, QueryError, QueryErrorKind};
pub use format::{Format, UnknownFormat, write};
pub use http::Server;
pub use listen::ServeError;
pub use pg::PgServer;
pub use queries::{Queries, QueryLimits, QueryResult};
