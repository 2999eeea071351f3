//! Starting a pipeline, and the handle that others hold.

use crate::changelog::Changelogs;
use crate::checkpoint::{
    CheckpointError, Checkpoints, Manifest, Saver, Saving, fingerprint, reread, restore, restore_watermarks,
};
use crate::committer::{Committer, Target};
use crate::dataflow::Dataflow;
use crate::engine::{CheckpointTimes, Engine, Stop};
use crate::error::RuntimeError;
use crate::journal::ViewJournal;
use crate::source::SourceTable;
use crate::stats::{Stats, Status};
use chalk_catalog::{CommittedEpoch, ControlEvent, TopicId};
use chalk_connect::{FileSink, FileSource, Sink, Source as _};
use chalk_event::{CommitSeq, Epoch};
use chalk_graph::options::SourceOptions;
use chalk_graph::{Graph, NodeId, NodeKind, SinkTarget};
use chalk_ingest::Door;
use chalk_log::{Append, EventLog};
use chalk_view::{Publisher, Snapshot, ViewRows};
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How a pipeline runs.
pub struct Options {
    /// How many shards state and work are split into: the number of cores, usually.
    pub shards: usize,
    /// An epoch takes about this many bytes of frames at most.
    pub epoch_bytes_max: usize,
    /// Where `stdout` sinks write.
    pub stdout: Box<dyn Fn() -> Box<dyn Sink> + Send>,
    /// What relative paths of files are relative to.
    pub directory: PathBuf,
    /// Leave files and the terminal alone: views are rebuilt and events derived, and nothing else happens.
    pub quiet: bool,
    /// A view's changelog has at least so many changes between two snapshots; otherwise four for each row of the view.
    pub snapshot_changes_min: u64,
    /// Where checkpoints are; without them every start is from the beginning of the log.
    pub checkpoints: Option<Checkpoints>,
}

/// A graph to run, and the name under which its progress is journalled.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The name.
    pub name: String,
    /// The graph.
    pub graph: Graph,
    /// What else the results depend on: the text that the graph was planned from, the identities of functions. State of
    /// another identity is not used.
    pub identity: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running pipeline. Dropping it stops the pipeline.
pub struct Handle {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    durable: watch::Receiver<CommitSeq>,
    stop: watch::Sender<Stop>,
    drained: watch::Receiver<Option<Epoch>>,
    stats: Arc<Stats>,
    failure: Arc<Mutex<Option<String>>>,
    engine: Mutex<Vec<JoinHandle<()>>>,
    readers: Mutex<Vec<JoinHandle<()>>>,
    saving: Option<Arc<Saving>>,
}

impl Handle {
    /// The newest committed epoch of all views.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// A receiver that sees each newer snapshot, or an error once the pipeline has stopped.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.stats.status()
    }

    /// Waits until everything durable, and all that it led to, is in the newest snapshot.
    ///
    /// # Errors
    /// When the pipeline stops first.
    pub async fn caught_up(&self) -> Result<Arc<Snapshot>, RuntimeError> {
        let mut snapshots = self.snapshots.clone();
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            // Derived events are durable before their epoch is published, so that `durable` is ahead until they are seen.
            if snapshot.epoch > Epoch(0) && snapshot.upto >= *self.durable.borrow() {
                return Ok(snapshot);
            }
            if snapshots.changed().await.is_err() {
                return Err(self.stopped());
            }
        }
    }

    /// Waits until bounded sources are read to their end and everything that they led to is out, windows included.
    ///
    /// # Errors
    /// When the pipeline stops first.
    pub async fn drain(&self) -> Result<Arc<Snapshot>, RuntimeError> {
        let readers = std::mem::take(&mut *lock(&self.readers));
        let joined = tokio::task::spawn_blocking(move || readers.into_iter().try_for_each(JoinHandle::join));
        if !matches!(joined.await, Ok(Ok(()))) || lock(&self.failure).is_some() {
            return Err(self.stopped());
        }
        self.caught_up().await?;
        self.stop.send_replace(Stop::Drain);
        let drained =
            self.drained.clone().wait_for(Option::is_some).await.map_err(|_| self.stopped())?.unwrap_or_default();
        let mut snapshots = self.snapshots.clone();
        snapshots.wait_for(|snapshot| snapshot.epoch >= drained).await.map_err(|_| self.stopped())?;
        self.caught_up().await
    }

    fn stopped(&self) -> RuntimeError {
        RuntimeError::Stopped(lock(&self.failure).clone())
    }

    /// Why it stopped, if it failed.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    /// Stops after the epoch at hand, and waits for that.
    pub fn stop(&self) {
        self.stop.send_replace(Stop::Now);
        if let Some(saving) = &self.saving {
            saving.stop();
        }
        for thread in std::mem::take(&mut *lock(&self.engine)) {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts a pipeline where its last checkpoint ends, or at the beginning of the log. Topics and the terminal get only what no
/// earlier run has committed; files are cut back to where the checkpoint left them and go on from there.
///
/// # Errors
/// When a topic is missing, a file cannot be opened, or threads cannot be started.
pub fn start(pipeline: &Pipeline, door: &Arc<Door>, options: &Options) -> Result<Handle, RuntimeError> {
    let log = Arc::clone(door.log());
    let journal = log.journal();
    let last = journal.pipelines.get(&pipeline.name);
    let committed = last.map(|last| last.upto);
    let stats = Arc::new(Stats::default());
    let begin = Begin::new(pipeline, &*log, options, &stats)?;
    let topics: Vec<TopicId> = begin.sources.iter().map(|source| source.topic).collect();
    let publisher = Publisher::new(begin.snapshot.clone());
    let snapshots = publisher.subscribe();
    let (stop, stopped) = watch::channel(Stop::No);
    let (out, computed) = sync_channel(2);
    let failure = Arc::new(Mutex::new(None));
    let (checkpoints, saver, saver_thread) = match begin.saver {
        None => (None, None, None),
        Some((saver, interval)) => {
            let saving = Arc::new(Saving::default());
            let (parts, received) = sync_channel(1);
            let (stats, thread_saving) = (Arc::clone(&stats), Arc::clone(&saving));
            let thread = spawn("checkpoints", &failure, move || {
                saver.run(&received, &thread_saving, &stats);
                Ok(())
            })?;
            let times = CheckpointTimes {
                interval,
                saving: Arc::clone(&saving),
                last: Instant::now(),
                upto: begin.snapshot.upto,
            };
            (Some(times), Some((parts, saving)), Some(thread))
        }
    };
    let changelogs = Changelogs::open(&*log, begin.snapshot.views.values(), last, options.snapshot_changes_min)?;
    let durable = *log.durable().borrow();
    let unsettled = (begin.snapshot.upto < durable).then_some((begin.snapshot.upto, durable));
    let (drained_at, drained) = watch::channel(None);
    let engine = Engine {
        log: Arc::clone(&log),
        topics,
        closers: Engine::new_closers(&begin.dataflow),
        epoch_bytes_max: options.epoch_bytes_max,
        committed: committed.unwrap_or_default(),
        out,
        stop: stopped,
        drained: drained_at,
        checkpoints,
        dataflow: begin.dataflow,
        sources: begin.sources,
        epoch: after_shown(last, &begin.snapshot, durable),
        position: begin.snapshot.upto,
        stats: Arc::clone(&stats),
    };
    let committer = Committer {
        pipeline: pipeline.name.clone(),
        door: Arc::clone(door),
        targets: begin.targets,
        committed,
        publisher,
        saver,
        journal: ViewJournal::new(last),
        changelogs,
        changed_views: BTreeMap::new(),
        snapshot: begin.snapshot,
        unsettled: unsettled.into_iter().collect(),
        stats: Arc::clone(&stats),
    };
    let saving = committer.saver.as_ref().map(|(_, saving)| Arc::clone(saving));
    let mut threads = vec![
        spawn("engine", &failure, move || engine.run())?,
        spawn("committer", &failure, move || committer.run(&computed))?,
    ];
    threads.extend(saver_thread);
    let mut readers = Vec::new();
    for (_, node) in pipeline.graph.iter() {
        if let NodeKind::Source(source) = &node.kind
            && let Some(SourceOptions::SingleFile(file)) = &source.options
            && !options.quiet
        {
            let read = journal.sources.get(&source.table);
            let (position, lines) = read.map_or((0, 0), |read| (read.position, read.lines));
            let reader = FileSource::open(&options.directory.join(&file.path), position)?;
            let topic = topic_id(&*log, &source.topic)?;
            let (door, table) = (Arc::clone(door), source.table.clone());
            readers.push(spawn("file-source", &failure, move || read_source(reader, &door, topic, &table, lines))?);
        }
    }
    let durable = log.durable();
    let (engine, readers) = (Mutex::new(threads), Mutex::new(readers));
    Ok(Handle { snapshots, durable, stop, drained, stats, failure, engine, readers, saving })
}

/// An epoch that no earlier run has shown views of: each one after the last record took a commit, but for a run's first and its last.
fn after_shown(last: Option<&CommittedEpoch>, begin: &Snapshot, durable: CommitSeq) -> Epoch {
    let shown = last.map_or(0, |last| last.epoch.0 + durable.0.saturating_sub(last.upto.0) + 2);
    Epoch(shown).max(begin.epoch)
}

/// State to begin with, and what goes on writing it.
struct Begin {
    dataflow: Dataflow,
    sources: Vec<SourceTable>,
    targets: HashMap<NodeId, Target>,
    snapshot: Snapshot,
    saver: Option<(Saver, Duration)>,
}

impl Begin {
    /// From the last checkpoint; from nothing if there is none or it is of no use.
    fn new(pipeline: &Pipeline, log: &dyn EventLog, options: &Options, stats: &Stats) -> Result<Self, RuntimeError> {
        let Some(checkpoints) = &options.checkpoints else {
            return Self::from_nothing(pipeline, log, options);
        };
        let fingerprint = fingerprint(&pipeline.graph, &pipeline.identity);
        let durable = *log.durable().borrow();
        let found = Self::find(checkpoints, &fingerprint, durable).and_then(|manifest| {
            let restored = |manifest: Manifest| {
                let begin = Self::restored(&manifest, checkpoints, pipeline, log, options);
                begin.map(|begin| (begin, manifest)).map_err(|error| error.to_string())
            };
            manifest.map(restored).transpose()
        });
        let place = |(_, manifest): &(Self, Manifest)| (Epoch(manifest.epoch), CommitSeq(manifest.upto));
        stats.started(found.as_ref().map(|found| found.as_ref().map(place)).map_err(Clone::clone));
        let (mut begin, manifest) = match found {
            Ok(Some(found)) => found,
            Ok(None) | Err(_) => (Self::from_nothing(pipeline, log, options)?, Manifest::new(fingerprint)),
        };
        if checkpoints.write {
            begin.dataflow.begin_saving();
            match Saver::new(pipeline.graph.clone(), Arc::clone(&checkpoints.storage), manifest) {
                Ok(saver) => begin.saver = Some((saver, checkpoints.interval)),
                Err(error) => {
                    begin.dataflow.end_saving();
                    stats.checkpoint_failed(&error);
                }
            }
        }
        Ok(begin)
    }

    fn from_nothing(pipeline: &Pipeline, log: &dyn EventLog, options: &Options) -> Result<Self, RuntimeError> {
        let (targets, views) = targets(&pipeline.graph, log, options, &BTreeMap::new())?;
        Ok(Self {
            dataflow: Dataflow::new(pipeline.graph.clone(), options.shards)?,
            sources: sources(&pipeline.graph, log)?,
            targets,
            snapshot: Snapshot { views, ..Snapshot::default() },
            saver: None,
        })
    }

    /// The last checkpoint, if it is of this graph and log; why it cannot be used, if that is surprising.
    fn find(checkpoints: &Checkpoints, fingerprint: &str, durable: CommitSeq) -> Result<Option<Manifest>, String> {
        let Some(manifest) = Manifest::read(&*checkpoints.storage).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        if manifest.fingerprint != fingerprint {
            return Err("it was made by another version of the pipeline".to_owned());
        }
        if CommitSeq(manifest.upto) > durable {
            return Err(format!("it knows commit {}, but the log ends with {durable}", manifest.upto));
        }
        Ok(Some(manifest))
    }

    fn restored(
        manifest: &Manifest,
        checkpoints: &Checkpoints,
        pipeline: &Pipeline,
        log: &dyn EventLog,
        options: &Options,
    ) -> Result<Self, CheckpointError> {
        let cannot = |error: RuntimeError| CheckpointError::Unknown(error.to_string());
        let mut dataflow = Dataflow::new(pipeline.graph.clone(), options.shards).map_err(cannot)?;
        let mut sources = sources(&pipeline.graph, log).map_err(cannot)?;
        let (targets, mut views) = targets(&pipeline.graph, log, options, &manifest.files).map_err(cannot)?;
        restore(manifest, &checkpoints.storage, &mut dataflow, &mut views)?;
        let again = sources.clone();
        reread(log, CommitSeq(manifest.upto), options.epoch_bytes_max, again, &mut dataflow)?;
        restore_watermarks(manifest, &mut sources);
        let upto = CommitSeq(manifest.upto);
        let snapshot = Snapshot { epoch: Epoch(manifest.epoch), upto, settled: upto, views };
        Ok(Self { dataflow, sources, targets, snapshot, saver: None })
    }
}

fn spawn(
    name: &str,
    failure: &Arc<Mutex<Option<String>>>,
    work: impl FnOnce() -> Result<(), RuntimeError> + Send + 'static,
) -> Result<JoinHandle<()>, RuntimeError> {
    let failure = Arc::clone(failure);
    let thread = name.to_owned();
    let work = move || {
        // What a panic leaves half done is this pipeline's alone, which ends here.
        let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(RuntimeError::Panic(thread)));
        if let Err(error) = done {
            lock(&failure).get_or_insert(error.to_string());
        }
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|error| RuntimeError::Threads(error.to_string()))
}

fn topic_id(log: &dyn EventLog, name: &str) -> Result<TopicId, RuntimeError> {
    log.topics().by_name(name).map(|topic| topic.id).ok_or_else(|| RuntimeError::NoTopic(name.to_owned()))
}

pub(crate) fn sources(graph: &Graph, log: &dyn EventLog) -> Result<Vec<SourceTable>, RuntimeError> {
    let mut sources = Vec::new();
    for (id, node) in graph.iter() {
        if let NodeKind::Source(source) = &node.kind {
            sources.push(SourceTable::new(id, node, source, topic_id(log, &source.topic)?));
        }
    }
    Ok(sources)
}

type Targets = (HashMap<NodeId, Target>, BTreeMap<String, ViewRows>);

/// Where sinks' rows go; files that a checkpoint knows go on at the position that it has for them.
fn targets(
    graph: &Graph,
    log: &dyn EventLog,
    options: &Options,
    files: &BTreeMap<usize, u64>,
) -> Result<Targets, RuntimeError> {
    let (mut targets, mut views) = (HashMap::new(), BTreeMap::new());
    for (id, node) in graph.iter() {
        let NodeKind::Sink(sink) = &node.kind else { continue };
        let target = match &sink.target {
            SinkTarget::File(_) | SinkTarget::Stdout if options.quiet => Target::Nowhere,
            SinkTarget::View(name) => {
                views.insert(name.clone(), ViewRows::new(name, node.schema.clone())?);
                Target::View(name.clone())
            }
            SinkTarget::Topic(name) => {
                let topics = log.topics();
                let topic = topics.by_name(name).ok_or_else(|| RuntimeError::NoTopic(name.clone()))?;
                Target::Topic(topic.clone())
            }
            SinkTarget::File(file) => {
                let path = options.directory.join(&file.path);
                let sink = match files.get(&id.0) {
                    Some(&position) => FileSink::resume(&path, position)?,
                    None => FileSink::create(&path)?,
                };
                Target::Lines { sink: Box::new(sink), weights: false, again: true }
            }
            SinkTarget::Stdout => Target::Lines { sink: (options.stdout)(), weights: !node.append_only, again: false },
            SinkTarget::Blackhole => Target::Nowhere,
        };
        targets.insert(id, target);
    }
    Ok((targets, views))
}

/// Appends a bounded source's lines to its topic, each chunk with the position after it.
fn read_source(
    mut source: FileSource,
    door: &Door,
    topic: TopicId,
    table: &str,
    mut lines: u64,
) -> Result<(), RuntimeError> {
    while let Some(chunk) = source.next()? {
        let first_line = lines + 1;
        lines += chunk.lines;
        let read = ControlEvent::SourceRead { table: table.to_owned(), position: chunk.position, lines };
        let with = Append { frames: vec![door.log().control_frame(&read)?] };
        door.submit_rows(table, &chunk.bytes, topic, first_line, with)?.wait()?;
    }
    Ok(())
}
