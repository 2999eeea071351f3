//! The plan as data: what the planner makes and the runtime runs.
//!
//! A [`Graph`] is a list of [`Node`]s in topological order. Expressions are resolved (DataFusion physical expressions over
//! column numbers) and connector options are typed, so that nothing after the planner sees a string from a SQL file. The
//! planner and the runtime meet only here; this crate knows neither.

mod explain;
mod explained;
mod misspelt;
mod node;
pub mod options;
mod stage;

pub use explained::Explained;
pub use misspelt::did_you_mean;
pub use node::{
    Aggregate, AggregateCall, AggregateFunction, CloseJoin, CloseSessions, CloseWindows, Encoding, Forget, Graph, Join,
    JoinBound, JoinKind, JoinMode, Most, Node, NodeId, NodeKind, Over, Rank, RankFunction, RecordedSource, Session,
    Sink, SinkTarget, SortColumn, Source, SourceColumns, Unnest, WindowKind,
};
pub use stage::Stage;
