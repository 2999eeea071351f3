//! Why the door cannot do its work.

use chalk_log::LogError;
use chalk_store::runs::RunError;
use std::sync::Arc;

/// The door cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Arrow refused rows that the door had checked.
    #[error("cannot store rows of topic '{topic}': {message}")]
    Rows {
        /// The topic.
        topic: String,
        /// What Arrow said.
        message: String,
    },
    /// Too much at once.
    #[error("{bytes} bytes at once are more than the {limit} that one append takes: send less at once")]
    TooMuch {
        /// How many were sent.
        bytes: usize,
        /// How many may be.
        limit: usize,
    },
    /// What is kept on disk of accepted events' ids cannot be read.
    #[error(
        "cannot look up the ids of accepted events: {0}\n  \
         hint: nothing of this was appended; start again, and they are read from the log"
    )]
    IdsUnreadable(String),
    /// The ids of accepted events cannot be kept on disk, and there is no more room for them in memory.
    #[error(
        "cannot keep the ids of accepted events: {0}\n  \
         hint: nothing of this was appended; see to the disk, then send it again"
    )]
    IdsNotKept(Arc<str>),
    /// A row cannot be read, and its table is to stop then.
    #[error(
        "table '{table}', line {line}: {message}\n  \
         hint: it has bad_data = 'fail'; 'dead_letter' keeps such rows apart and goes on, 'drop' only counts them"
    )]
    BadRow {
        /// Whose row.
        table: String,
        /// Which line.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
    /// A derived row was not an insert.
    #[error(
        "topic '{topic}' holds events, which cannot be retracted, but the query that fills it retracts rows\n  \
         hint: make the query a materialised view, or aggregate over a window"
    )]
    Retraction {
        /// The topic.
        topic: String,
    },
    /// The place that events go through first does not take them.
    #[error("{0}")]
    Elsewhere(String),
    /// Nobody takes events any more.
    #[error(
        "it is being stopped: whether these events were taken is not known\n  hint: send them again; those that were are duplicates then"
    )]
    Closed,
    /// The query that fills a topic does not give what an event needs.
    #[error("topic '{topic}': {message}")]
    Shape {
        /// The topic.
        topic: String,
        /// What is missing.
        message: String,
    },
}

impl From<RunError> for DoorError {
    fn from(error: RunError) -> Self {
        Self::IdsUnreadable(error.to_string())
    }
}
