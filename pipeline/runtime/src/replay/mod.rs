//! Views rebuilt from the log alone, into memory: nothing is appended, written or shown.
//!
//! It is the engine's computation without the engine: the same sources, steps and operators over the same commits. Derived
//! events are read from the log as they were recorded, so what a replay derives again goes nowhere.

mod verify;

pub use verify::{Comparison, Verified, verify};

use crate::checkpoint::{CheckpointError, Manifest, fingerprint, reread, restore, usable};
use crate::clocks::Clocks;
use crate::dataflow::{Dataflow, StepOutput};
use crate::engine::{Engine, compute};
use crate::error::RuntimeError;
use crate::pipeline::sources;
use crate::source::SourceTable;
use crate::steps::Closer;
use crate::verdicts;
use chalk_catalog::TopicId;
use chalk_event::{CommitSeq, Epoch};
use chalk_graph::{Graph, NodeId, NodeKind, SinkTarget};
use chalk_log::{Commit, EventLog};
use chalk_store::Storage;
use chalk_udf_host::Timeline;
use chalk_view::{Snapshot, ViewRows};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a replay runs, and how far.
#[derive(Clone, Copy, Debug)]
pub struct ReplayOptions {
    /// The last commit that it sees.
    pub until: CommitSeq,
    /// How many shards state and work are split into; the result does not depend on it.
    pub shards: usize,
    /// So many bytes of frames are computed at once; the result does not depend on it.
    pub epoch_bytes_max: usize,
}

/// What a replay gives.
#[derive(Debug)]
pub struct Replayed {
    /// The views as of the last commit. Its epoch is 0: a replay has its own.
    pub snapshot: Snapshot,
    /// The checkpoint that it began with: its epoch and last commit.
    pub from: Option<(Epoch, CommitSeq)>,
    /// Rows that sources gave since then.
    pub rows_in: u64,
    /// Rows since then that arrived after their window had closed.
    pub late: u64,
}

/// Where a replay looks for a checkpoint to begin with.
#[derive(Clone, Debug)]
pub struct ReplayFrom {
    /// The folder of checkpoints.
    pub storage: Arc<dyn Storage>,
    /// As of [`crate::Pipeline::identity`]: checkpoints of another are not used.
    pub identity: String,
}

/// Computes the views of a graph from the first commit of a log up to another; or from the last checkpoint before that, if one is of
/// this graph and can be read. `timeline` is that of the functions that the graph calls: what the log says of them is followed.
///
/// # Errors
/// When a topic of the graph is not in the log, reading fails, or an operator fails.
pub fn replay(
    graph: &Graph,
    log: &dyn EventLog,
    from: Option<&ReplayFrom>,
    timeline: &Timeline,
    options: ReplayOptions,
) -> Result<Replayed, RuntimeError> {
    let (mut run, from) = Run::begin(graph, log, from, timeline, options)?;
    while let Some((commits, upto)) = run.read(options.until)? {
        run.compute(&commits, upto)?;
    }
    let Run { position, views, rows_in, late, .. } = run;
    let snapshot = Snapshot { epoch: Epoch(0), upto: position, settled: position, views };
    Ok(Replayed { snapshot, from, rows_in, late })
}

/// A replay under way.
struct Run<'a> {
    // configuration
    log: &'a dyn EventLog,
    topics: Vec<TopicId>,
    closers: Vec<Closer>,
    names: BTreeMap<NodeId, String>,
    epoch_bytes_max: usize,
    timeline: &'a Timeline,
    // state
    dataflow: Dataflow,
    sources: Vec<SourceTable>,
    clocks: Clocks,
    views: BTreeMap<String, ViewRows>,
    /// The last commit that is computed.
    position: CommitSeq,
    // metrics
    rows_in: u64,
    late: u64,
}

impl<'a> Run<'a> {
    /// After the last checkpoint that is of use; a server may remove one while it is looked at.
    fn begin(
        graph: &Graph,
        log: &'a dyn EventLog,
        from: Option<&ReplayFrom>,
        timeline: &'a Timeline,
        options: ReplayOptions,
    ) -> Result<(Self, Option<(Epoch, CommitSeq)>), RuntimeError> {
        timeline.know(verdicts::recorded(log)?);
        if let Some(ReplayFrom { storage, identity }) = from {
            let usable = usable(&**storage, &fingerprint(graph, identity), options.until).unwrap_or_default();
            for manifest in usable {
                let mut run = Self::empty(graph, log, timeline, options)?;
                if run.restored(&manifest, storage, options.epoch_bytes_max).is_ok() {
                    return Ok((run.started()?, Some((Epoch(manifest.epoch), CommitSeq(manifest.upto)))));
                }
            }
        }
        Ok((Self::empty(graph, log, timeline, options)?.started()?, None))
    }

    /// Takes the state of a checkpoint into what has none.
    fn restored(
        &mut self,
        manifest: &Manifest,
        storage: &Arc<dyn Storage>,
        bytes_max: usize,
    ) -> Result<(), CheckpointError> {
        restore(manifest, storage, &mut self.dataflow, &mut self.views, None)?;
        let upto = CommitSeq(manifest.upto);
        reread(self.log, upto, bytes_max, self.sources.clone(), &mut self.dataflow, self.timeline)?;
        manifest.time.restore(&mut self.sources, &mut self.clocks);
        self.position = upto;
        Ok(())
    }

    /// Before the first commit.
    fn new(
        graph: &Graph,
        log: &'a dyn EventLog,
        timeline: &'a Timeline,
        options: ReplayOptions,
    ) -> Result<Self, RuntimeError> {
        Ok(Self::begin(graph, log, None, timeline, options)?.0)
    }

    fn empty(
        graph: &Graph,
        log: &'a dyn EventLog,
        timeline: &'a Timeline,
        options: ReplayOptions,
    ) -> Result<Self, RuntimeError> {
        let dataflow = Dataflow::new(graph.clone(), options.shards)?;
        let sources = sources(graph, log)?;
        let (mut views, mut names) = (BTreeMap::new(), BTreeMap::new());
        for (id, node) in graph.iter() {
            if let NodeKind::Sink(sink) = &node.kind
                && let SinkTarget::View(name) = &sink.target
            {
                views.insert(name.clone(), ViewRows::new(name, node.schema.clone())?);
                names.insert(id, name.clone());
            }
        }
        Ok(Self {
            log,
            topics: sources.iter().map(|source| source.topic).collect(),
            closers: Engine::new_closers(&dataflow),
            names,
            epoch_bytes_max: options.epoch_bytes_max,
            timeline,
            dataflow,
            sources,
            clocks: Clocks::new(graph),
            views,
            position: CommitSeq(0),
            rows_in: 0,
            late: 0,
        })
    }

    /// With what there is without any row, as when a pipeline starts.
    fn started(mut self) -> Result<Self, RuntimeError> {
        self.timeline.stand_at(self.position);
        let first = self.dataflow.step(&BTreeMap::new(), &BTreeMap::new(), None)?;
        self.apply(first)?;
        Ok(self)
    }

    /// The next commits, and the last commit looked at; `None` at `until` or the end of the log.
    fn read(&self, until: CommitSeq) -> Result<Option<(Vec<Commit>, CommitSeq)>, RuntimeError> {
        if self.position >= until {
            return Ok(None);
        }
        let (mut commits, upto) = self.log.read(self.position, &self.topics, self.epoch_bytes_max)?;
        let until = self.timeline.next_end(self.position).map_or(until, |end| end.min(until));
        commits.retain(|commit| commit.seq <= until);
        Ok((upto > self.position).then_some((commits, upto.min(until))))
    }

    /// Takes commits through the graph, the last ones up to `upto`.
    fn compute(&mut self, commits: &[Commit], upto: CommitSeq) -> Result<(), RuntimeError> {
        self.timeline.stand_at(self.position);
        let (output, rows_in) =
            compute(&mut self.dataflow, &mut self.sources, &mut self.clocks, &self.closers, commits)?;
        self.rows_in += rows_in;
        self.position = upto;
        self.apply(output)
    }

    fn apply(&mut self, output: StepOutput) -> Result<(), RuntimeError> {
        self.late += output.late.len() as u64;
        for (node, changes) in output.sinks {
            if let Some(view) = self.names.get(&node).and_then(|name| self.views.get_mut(name)) {
                view.apply(&changes)?;
            }
        }
        Ok(())
    }
}
