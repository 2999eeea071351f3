//! Why a pipeline stopped.

use arrow::error::ArrowError;
use chalk_connect::ConnectError;
use chalk_ingest::DoorError;
use chalk_log::LogError;
use chalk_operators::OperatorError;
use chalk_store::runs::RunError;
use chalk_view::ViewError;

impl RuntimeError {
    /// Whether a cluster has no topic of that name.
    #[must_use]
    pub fn is_no_topic(&self) -> bool {
        matches!(self, Self::Connect(ConnectError::NoTopic { .. }))
    }
}

/// A pipeline stopped.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The door refused derived events.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// An operator failed.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// A view failed.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A connector failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Arrow refused.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// A source's rows could not be made.
    #[error("{source_name}: {message}")]
    Source {
        /// The source.
        source_name: String,
        /// What happened.
        message: String,
    },
    /// Threads could not be started.
    #[error("cannot start threads: {0}")]
    Threads(String),
    /// A thread panicked: a mistake of ours.
    #[error("the {0} thread panicked, which is a mistake in Chalkstream: its message is on the error output")]
    Panic(String),
    /// What ends with its sources has one that does not end.
    #[error(
        "table '{0}' has no end, so that the pipeline cannot be drained\n  hint: give it a message_count or a runtime, or run without --drain"
    )]
    Endless(String),
    /// A topic that the graph names does not exist.
    #[error("there is no topic '{0}' in the log")]
    NoTopic(String),
    /// A recorded stage cannot go on.
    #[error("stage '{stage}': {message}")]
    Stage {
        /// The stage.
        stage: String,
        /// What happened.
        message: String,
    },
    /// A column cannot be recorded.
    #[error(
        "stage '{stage}': column '{column}' is of a type that cannot be recorded\n  hint: CAST it, or leave it out of the query that calls the function"
    )]
    StageColumn {
        /// The stage.
        stage: String,
        /// The column.
        column: String,
    },
    /// The graph was planned by another build than runs it.
    #[error("connector '{0}' is not in this build: build chalk with --features chalk-cli/{0}")]
    NotInThisBuild(&'static str),
    /// The graph was planned by another program than runs it.
    #[error("connector '{0}' is not one of this program's")]
    NoGenerator(String),
    /// A checkpoint that is of no use could not be removed.
    #[error("an earlier checkpoint cannot be removed: {0}")]
    Checkpoint(String),
    /// A sink could not be opened.
    #[error("sink '{sink}': {source}")]
    Sink {
        /// The query that gives its rows.
        sink: String,
        /// What happened.
        source: ConnectError,
    },
    /// A sink has not got all its rows.
    #[error(
        "sink '{sink}' has stopped: {why}\n  hint: it goes on where it stopped, once that is mended and the pipeline is started again"
    )]
    SinkStopped {
        /// The query that gives its rows.
        sink: String,
        /// What happened.
        why: String,
    },
    /// A view cannot be read as it was.
    #[error(
        "view '{view}' cannot be read as it was: {why}\n  hint: chalk log verify reads every byte; chalk replay computes views from the log"
    )]
    Changelog {
        /// The view.
        view: String,
        /// Why not.
        why: String,
    },
    /// State that has left memory cannot be kept or read.
    #[error(
        "state beyond the memory that it may take: {0}\n  hint: nothing is lost, the log has all that led to it: start again once the disk is well"
    )]
    Cold(#[from] RunError),
    /// It was stopped.
    #[error("the pipeline has stopped{}", .0.as_deref().map(|why| format!(": {why}")).unwrap_or_default())]
    Stopped(Option<String>),
}
