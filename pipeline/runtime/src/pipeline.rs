//! Starting a pipeline, and the handle that others hold.

use crate::committer::{Committer, Target};
use crate::dataflow::Dataflow;
use crate::engine::{Engine, Stop};
use crate::error::RuntimeError;
use crate::source::SourceTable;
use crate::stats::{Stats, Status};
use chalk_catalog::{ControlEvent, TopicId};
use chalk_connect::{FileSink, FileSource, Sink, Source as _};
use chalk_event::{CommitSeq, Epoch};
use chalk_graph::options::SourceOptions;
use chalk_graph::{Graph, NodeKind, SinkTarget};
use chalk_ingest::Door;
use chalk_log::{Append, EventLog};
use chalk_view::{Publisher, Snapshot, ViewRows};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
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
}

/// A graph to run, and the name under which its progress is journalled.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The name.
    pub name: String,
    /// The graph.
    pub graph: Graph,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running pipeline. Dropping it stops the pipeline.
pub struct Handle {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    durable: watch::Receiver<CommitSeq>,
    stop: watch::Sender<Stop>,
    stats: Arc<Stats>,
    failure: Arc<Mutex<Option<String>>>,
    engine: Mutex<Vec<JoinHandle<()>>>,
    readers: Mutex<Vec<JoinHandle<()>>>,
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
        let epoch = self.caught_up().await?.epoch;
        self.stop.send_replace(Stop::Drain);
        let mut snapshots = self.snapshots.clone();
        if snapshots.wait_for(|snapshot| snapshot.epoch > epoch).await.is_err() {
            return Err(self.stopped());
        }
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

/// Starts a pipeline from the beginning of the log: views and files are made anew, topics and the terminal get only what no
/// earlier run has committed.
///
/// # Errors
/// When a topic is missing, a file cannot be opened, or threads cannot be started.
pub fn start(pipeline: &Pipeline, door: &Arc<Door>, options: &Options) -> Result<Handle, RuntimeError> {
    let log = Arc::clone(door.log());
    let journal = log.journal();
    let committed = journal.pipelines.get(&pipeline.name).map(|committed| committed.upto);
    let stats = Arc::new(Stats::default());
    let sources = sources(&pipeline.graph, &*log)?;
    let (targets, views) = targets(&pipeline.graph, &*log, options)?;
    let topics: Vec<TopicId> = sources.iter().map(|source| source.topic).collect();
    let dataflow = Dataflow::new(pipeline.graph.clone(), options.shards)?;
    let snapshot = Snapshot { views, ..Snapshot::default() };
    let publisher = Publisher::new(snapshot.clone());
    let snapshots = publisher.subscribe();
    let (stop, stopped) = watch::channel(Stop::No);
    let (out, epochs) = sync_channel(2);
    let failure = Arc::new(Mutex::new(None));
    let engine = Engine {
        log: Arc::clone(&log),
        topics,
        closers: Engine::new_closers(&dataflow),
        epoch_bytes_max: options.epoch_bytes_max,
        committed: committed.unwrap_or_default(),
        out,
        stop: stopped,
        dataflow,
        sources,
        epoch: Epoch(0),
        position: CommitSeq(0),
        stats: Arc::clone(&stats),
    };
    let committer = Committer {
        pipeline: pipeline.name.clone(),
        door: Arc::clone(door),
        targets,
        committed,
        publisher,
        snapshot,
        unsettled: VecDeque::new(),
        stats: Arc::clone(&stats),
    };
    let threads = vec![
        spawn("engine", &failure, move || engine.run())?,
        spawn("committer", &failure, move || committer.run(&epochs))?,
    ];
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
    Ok(Handle { snapshots, durable, stop, stats, failure, engine, readers })
}

fn spawn(
    name: &str,
    failure: &Arc<Mutex<Option<String>>>,
    work: impl FnOnce() -> Result<(), RuntimeError> + Send + 'static,
) -> Result<JoinHandle<()>, RuntimeError> {
    let failure = Arc::clone(failure);
    let work = move || {
        if let Err(error) = work() {
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

fn sources(graph: &Graph, log: &dyn EventLog) -> Result<Vec<SourceTable>, RuntimeError> {
    let mut sources = Vec::new();
    for (id, node) in graph.iter() {
        if let NodeKind::Source(source) = &node.kind {
            sources.push(SourceTable::new(id, node, source, topic_id(log, &source.topic)?));
        }
    }
    Ok(sources)
}

type Targets = (HashMap<chalk_graph::NodeId, Target>, BTreeMap<String, ViewRows>);

fn targets(graph: &Graph, log: &dyn EventLog, options: &Options) -> Result<Targets, RuntimeError> {
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
                let sink = FileSink::create(&options.directory.join(&file.path))?;
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
