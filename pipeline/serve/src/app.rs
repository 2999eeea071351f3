//! What servers serve.

use crate::metrics::Metrics;
use crate::queries::Queries;
use chalk_event::{CommitSeq, Epoch};
use chalk_ingest::{Door, Intake};
use chalk_runtime::{Handle, Status};
use std::sync::Arc;

/// How a pipeline is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipelineReport {
    /// Its counters.
    pub status: Status,
    /// Why it stopped, if it failed.
    pub failure: Option<String>,
}

/// What became of a function that was promoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promoted {
    /// Who was called: `name@hash`.
    pub from: String,
    /// Who is called since.
    pub to: String,
    /// The last epoch before it.
    pub epoch: Epoch,
    /// The last commit before it.
    pub after: CommitSeq,
}

/// Has the pipeline call another build of the function of a name; or says why not, with a hint on a line of its own.
pub type Promote = dyn Fn(&str) -> Result<Promoted, String> + Send + Sync;

/// What the servers of a node serve. Cloning shares it.
#[derive(Clone)]
pub struct App {
    pub(crate) queries: Arc<Queries>,
    pub(crate) door: Arc<Door>,
    /// How clients' events come to the door.
    pub(crate) intake: Arc<dyn Intake>,
    pub(crate) report: Arc<dyn Fn() -> Option<PipelineReport> + Send + Sync>,
    /// Nanoseconds since the Unix epoch.
    pub(crate) clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    pub(crate) metrics: Arc<Metrics>,
    /// `None` when functions cannot be promoted.
    pub(crate) promote: Option<Arc<Promote>>,
}

impl App {
    /// A node with a running pipeline; `clock` gives nanoseconds since the Unix epoch.
    #[must_use]
    pub fn new(
        queries: Queries,
        door: Arc<Door>,
        pipeline: Arc<Handle>,
        clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    ) -> Self {
        let report = move || Some(PipelineReport { status: pipeline.status(), failure: pipeline.failure() });
        Self::with_report(queries, door, Arc::new(report), clock)
    }

    /// A node whose pipeline is described by `report`: `None` when there is no pipeline.
    #[must_use]
    pub fn with_report(
        queries: Queries,
        door: Arc<Door>,
        report: Arc<dyn Fn() -> Option<PipelineReport> + Send + Sync>,
        clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    ) -> Self {
        let (intake, promote) = (Arc::clone(&door) as _, None);
        Self { queries: Arc::new(queries), door, intake, report, clock, metrics: Arc::default(), promote }
    }

    /// The same, with clients' events coming to the door by another way.
    #[must_use]
    pub fn taking_from(self, intake: Arc<dyn Intake>) -> Self {
        Self { intake, ..self }
    }

    /// The same, with a way to promote functions.
    #[must_use]
    pub fn promoting(self, promote: Arc<Promote>) -> Self {
        Self { promote: Some(promote), ..self }
    }
}
