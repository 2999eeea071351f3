//! Starting a pipeline, and the handle that others hold.

use crate::avro::AvroRows;
use crate::changelog::Changelogs;
use crate::checkpoint::{
    CheckpointError, Checkpoints, Copier, Manifest, Paced, Saver, Saving, choose, fingerprint, reread, restore,
};
use crate::clocks::Clocks;
use crate::cold::{ColdTier, ColdViews, Scratch, StateMemory};
use crate::committer::{Committer, Target};
use crate::compressed::compressed;
use crate::dataflow::Dataflow;
use crate::delivery::{Courier, Delivery};
use crate::elsewhere::{Elsewhere, Through};
use crate::engine::{CheckpointTimes, Engine, Stop};
use crate::error::RuntimeError;
use crate::inputs::{Generators, open_source, rows_of};
use crate::journal::ViewJournal;
use crate::parquet::parquet_of_lines;
use crate::reached::Reached;
use crate::reading::{self, Reader, Wish};
use crate::recorded::{Functions, Progress, Stages, ring, start_stages};
use crate::source::SourceTable;
use crate::stats::{Stats, Status};
use crate::switch::{Asked, Switch, Switched};
use crate::verdicts;
use arrow::datatypes::Schema;
use chalk_catalog::{CommittedEpoch, TopicId};
use chalk_connect::{ConnectError, DirectorySink, Encode, FileSink, Lines, Recovered, Sink};
use chalk_event::{CommitSeq, Epoch};
use chalk_graph::options::{Compression, Format, RollingPolicy};
use chalk_graph::{Encoding, Graph, Node, NodeId, NodeKind, SinkTarget};
use chalk_ingest::{Door, Intake};
use chalk_log::EventLog;
use chalk_store::runs::RunError;
use chalk_view::{Publisher, Snapshot, ViewRows};
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// How a pipeline runs.
pub struct Options {
    /// How many shards state and work are split into: usually one less than there are cores, which others need too.
    pub shards: usize,
    /// An epoch takes about this many bytes of frames at most.
    pub epoch_bytes_max: usize,
    /// Where `stdout` sinks write.
    pub stdout: Box<dyn Fn() -> Lines + Send>,
    /// What relative paths of files are relative to.
    pub directory: PathBuf,
    /// Leave files and the terminal alone: views are rebuilt and events derived, and nothing else happens.
    pub quiet: bool,
    /// A view's changelog has at least so many changes between two snapshots; otherwise four for each row of the view.
    pub snapshot_changes_min: u64,
    /// Where checkpoints are; without them every start is from the beginning of the log.
    pub checkpoints: Option<Checkpoints>,
    /// Where state goes that is not to be in memory; without, all of it is.
    pub cold: Option<ColdTier>,
    /// What recorded stages call.
    pub functions: Functions,
    /// Connectors whose rows the program makes up, by name.
    pub generators: Generators,
}

/// A graph to run, and the name under which its progress is journalled.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The name.
    pub name: String,
    /// The graph, with the topics of its stages: see [`crate::prepare_stages`].
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
    /// Up to where each stage has recorded everything.
    recorded: Progress,
    stats: Arc<Stats>,
    failure: Arc<Mutex<Option<String>>>,
    engine: Mutex<Vec<JoinHandle<()>>>,
    /// Sources outside the log, with the names of the tables of those that have no end.
    readers: Mutex<Vec<(Option<String>, JoinHandle<()>)>>,
    reading: Arc<Wish>,
    saving: Option<Arc<Saving>>,
    /// As long as it is there, checkpoints are copied.
    copying: Mutex<Option<Sender<()>>>,
    switches: mpsc::Sender<Asked>,
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
        let (mut snapshots, mut recorded) = (self.snapshots.clone(), self.recorded.clone());
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            // Results and derived events are durable before anybody tells of them, so that `durable`, which is looked at last, is ahead until they
            // are seen.
            let recorded_upto = recorded.borrow_and_update().iter().min().copied();
            let durable = *self.durable.borrow();
            let is_recorded = recorded_upto.is_none_or(|upto| upto >= durable);
            if snapshot.epoch > Epoch(0) && snapshot.upto >= durable && is_recorded {
                return Ok(snapshot);
            }
            let goes_on = tokio::select! {
                changed = snapshots.changed() => changed.is_ok(),
                changed = recorded.changed(), if !is_recorded => changed.is_ok(),
            };
            if !goes_on {
                return Err(self.stopped());
            }
        }
    }

    /// Changes something between two epochs; waits until that is recorded. Never call it on an async task's thread.
    ///
    /// # Errors
    /// When the pipeline stops first.
    pub fn switch(&self, switch: Switch) -> Result<Switched, RuntimeError> {
        let (answer, answered) = channel();
        self.switches.blocking_send(Asked { switch, answer }).map_err(|_| self.stopped())?;
        answered.recv().map_err(|_| self.stopped())
    }

    /// Up to where every stage has recorded its results: a start reads what comes after it again.
    #[must_use]
    pub fn recorded_upto(&self) -> Option<CommitSeq> {
        self.recorded.borrow().iter().min().copied()
    }

    /// Waits until bounded sources are read to their end and everything that they led to is out, windows included.
    ///
    /// # Errors
    /// When a source has no end, or the pipeline stops first.
    pub async fn drain(&self) -> Result<Arc<Snapshot>, RuntimeError> {
        if let Some(table) = lock(&self.readers).iter().find_map(|(endless, _)| endless.clone()) {
            return Err(RuntimeError::Endless(table));
        }
        self.reading.drain();
        let readers = std::mem::take(&mut *lock(&self.readers));
        let joined = tokio::task::spawn_blocking(move || readers.into_iter().try_for_each(|(_, thread)| thread.join()));
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

    /// Has clients' events go to a topic elsewhere first: what comes back from there is in the log, and what others bring there, too.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn take_through(&self, elsewhere: Elsewhere, door: &Arc<Door>) -> Result<Arc<dyn Intake>, RuntimeError> {
        let Elsewhere { name, source, publish } = elsewhere;
        let places = reading::places(&door.log().journal(), &name);
        let reached = Arc::new(Reached::new(&places));
        let reader = Reader {
            source,
            table: name,
            partitions: Some(places),
            lines: reading::Lines::Events(Arc::clone(&reached)),
            door: Arc::clone(door),
            stats: Arc::clone(&self.stats),
        };
        let wish = Arc::clone(&self.reading);
        lock(&self.readers).push((None, spawn("source", &self.failure, move || reader.run(&wish))?));
        Ok(Arc::new(Through::start(publish, Arc::clone(door), reached)?))
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
        self.reading.stop();
        self.stop.send_replace(Stop::Now);
        if let Some(saving) = &self.saving {
            saving.stop();
        }
        drop(lock(&self.copying).take());
        let readers = std::mem::take(&mut *lock(&self.readers)).into_iter().map(|(_, thread)| thread);
        for thread in readers.chain(std::mem::take(&mut *lock(&self.engine))) {
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

/// Starts a pipeline where its last checkpoint ends, or at the beginning of the log. Topics, the terminal and sinks outside the log get
/// only what no earlier run has committed to them; a sink that has lost what it had gets everything again.
///
/// # Errors
/// When a topic is missing, a file cannot be opened, or threads cannot be started.
pub fn start(pipeline: &Pipeline, door: &Arc<Door>, options: &Options) -> Result<Handle, RuntimeError> {
    let log = Arc::clone(door.log());
    let journal = log.journal();
    let last = journal.pipelines.get(&pipeline.name);
    let committed = last.map(|last| last.upto);
    let stats = Arc::new(Stats::default());
    let timeline = options.functions.timeline.clone();
    timeline.know(verdicts::recorded(&*log)?);
    let begin = Begin::new(pipeline, &log, options, &stats)?;
    let topics: Vec<TopicId> = begin.sources.iter().map(|source| source.topic).collect();
    let publisher = Publisher::new(begin.snapshot.clone());
    let snapshots = publisher.subscribe();
    let (stop, stopped) = watch::channel(Stop::No);
    // An epoch that waits here would be more latency, and no more throughput.
    let (out, computed) = sync_channel(0);
    let failure = Arc::new(Mutex::new(None));
    let (checkpoints, saver, saver_thread) = match begin.saver {
        None => (None, None, None),
        Some((saver, saving, interval)) => {
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
                groups: None,
            };
            (Some(times), Some((parts, saving)), Some(thread))
        }
    };
    let changelogs = Changelogs::open(&log, begin.snapshot.views.values(), last, options.snapshot_changes_min)?;
    let durable = *log.durable().borrow();
    let unsettled = (begin.snapshot.upto < durable).then_some((begin.snapshot.upto, durable));
    let (drained_at, drained) = watch::channel(None);
    let (switches, asked) = mpsc::channel(1);
    let engine = Engine {
        log: Arc::clone(&log),
        topics,
        closers: Engine::new_closers(&begin.dataflow),
        epoch_bytes_max: options.epoch_bytes_max,
        committed: committed.into_iter().chain(begin.targets.values().filter_map(Target::committed)).collect(),
        timeline,
        out,
        stop: stopped,
        switches: asked,
        drained: drained_at,
        checkpoints,
        memory: begin.cold.as_ref().map(|cold| Arc::clone(cold.memory())),
        dataflow: begin.dataflow,
        sources: begin.sources,
        clocks: begin.clocks,
        epoch: after_shown(last, &begin.snapshot, durable),
        position: begin.snapshot.upto,
        time: None,
        asked: None,
        stats: Arc::clone(&stats),
    };
    let saved_views = if saver.is_some() { begin.snapshot.views.clone() } else { BTreeMap::new() };
    let committer = Committer {
        pipeline: pipeline.name.clone(),
        door: Arc::clone(door),
        targets: begin.targets,
        committed,
        publisher,
        saver,
        journal: ViewJournal::new(last),
        changelogs,
        saved_views,
        held: None,
        cold: begin.cold,
        snapshot: begin.snapshot,
        unsettled: unsettled.into_iter().collect(),
        stats: Arc::clone(&stats),
    };
    let saving = committer.saver.as_ref().map(|(_, saving)| Arc::clone(saving));
    let Stages { running, bells, progress } =
        start_stages(&pipeline.graph, &log, &options.functions, &stop.subscribe(), &stats)?;
    let mut threads = vec![
        spawn("engine", &failure, telling(Arc::clone(&failure), engine, Engine::run))?,
        spawn(
            "committer",
            &failure,
            telling(Arc::clone(&failure), (committer, computed), |(committer, computed)| committer.run(computed)),
        )?,
    ];
    threads.extend(saver_thread);
    for stage in running {
        let (stop, told) = (stop.clone(), Arc::clone(&failure));
        threads.push(spawn("stage", &failure, move || {
            let done = stage.run();
            if let Err(error) = &done {
                // Nothing more would come of what reads its results.
                lock(&told).get_or_insert(error.to_string());
                stop.send_replace(Stop::Now);
            }
            done
        })?);
    }
    if !bells.is_empty() {
        let (log, stop) = (Arc::clone(&log), stop.subscribe());
        threads.push(spawn("bells", &failure, move || {
            ring(&bells, &log, stop);
            Ok(())
        })?);
    }
    let mut copying = None;
    if let Some(Checkpoints { storage, write: true, copies: Some(objects), .. }) = &options.checkpoints {
        let copier = Copier::new(Arc::clone(storage), Arc::clone(objects), Arc::clone(&log));
        let (go_on, stopped) = channel();
        let stats = Arc::clone(&stats);
        threads.push(spawn("copies", &failure, move || {
            copier.run(&stopped, &stats);
            Ok(())
        })?);
        copying = Some(go_on);
    }
    let (reading, mut readers) = (Arc::new(Wish::default()), Vec::new());
    for source in pipeline.graph.tables() {
        if let Some(given) = &source.options
            && !options.quiet
        {
            let (opened, partitions) = open_source(source, given, options, &journal)?;
            let (rows, table) = (rows_of(source, &*log)?, source.table.clone());
            let (door, stats) = (Arc::clone(door), Arc::clone(&stats));
            let reader = Reader { source: opened, table, partitions, lines: reading::Lines::Rows(rows), door, stats };
            let wish = Arc::clone(&reading);
            let endless = (!given.is_bounded()).then(|| source.table.clone());
            readers.push((endless, spawn("source", &failure, move || reader.run(&wish))?));
        }
    }
    let durable = log.durable();
    let (engine, readers) = (Mutex::new(threads), Mutex::new(readers));
    let copying = Mutex::new(copying);
    Ok(Handle {
        snapshots,
        durable,
        stop,
        drained,
        recorded: progress,
        stats,
        failure,
        engine,
        readers,
        reading,
        saving,
        copying,
        switches,
    })
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
    clocks: Clocks,
    targets: HashMap<NodeId, Target>,
    snapshot: Snapshot,
    saver: Option<(Saver, Arc<Saving>, Duration)>,
    cold: Option<ColdViews>,
}

impl Begin {
    /// From the last checkpoint; from nothing if there is none or it is of no use.
    fn new(
        pipeline: &Pipeline,
        log: &Arc<dyn EventLog>,
        options: &Options,
        stats: &Arc<Stats>,
    ) -> Result<Self, RuntimeError> {
        let scratch = options.cold.as_ref().map(|cold| {
            let memory = Arc::new(StateMemory::new(cold.memory_bytes_max));
            stats.state(&memory);
            Scratch::begin(Arc::clone(&cold.storage), memory).map_err(RunError::from)
        });
        let scratch = scratch.transpose()?;
        let scratch = scratch.as_ref();
        let Some(checkpoints) = &options.checkpoints else {
            return Self::from_nothing(pipeline, log, options, stats, scratch);
        };
        let fingerprint = fingerprint(&pipeline.graph, &pipeline.identity);
        let choice = choose(checkpoints, &fingerprint, &**log, &|manifest| {
            Self::restored(manifest, checkpoints, pipeline, log, options, stats, scratch)
        });
        stats.started(choice.place(), choice.discarded);
        if let Some(objects) = &checkpoints.copies {
            stats.copies_are_in(objects.location(), choice.is_copy);
        }
        let (manifest, mut begin) = match choice.found {
            Some(found) => found,
            None => {
                let manifest = Manifest::new(fingerprint);
                if checkpoints.write {
                    // No later start may go on from what there is: it could be ahead of a sink that gets everything again.
                    let failed = |error: CheckpointError| RuntimeError::Checkpoint(error.to_string());
                    manifest.begin_anew(&*checkpoints.storage).map_err(failed)?;
                }
                (manifest, Self::from_nothing(pipeline, log, options, stats, scratch)?)
            }
        };
        if checkpoints.write {
            begin.dataflow.begin_saving();
            let saving = Arc::new(Saving::default());
            let files = Arc::new(Paced::new(Arc::clone(&checkpoints.storage), Arc::clone(&saving)));
            match Saver::new(pipeline.graph.clone(), files, manifest) {
                Ok(saver) => begin.saver = Some((saver, saving, checkpoints.interval)),
                Err(error) => {
                    begin.dataflow.end_saving();
                    stats.checkpoint_failed(&error);
                }
            }
        }
        Ok(begin)
    }

    fn from_nothing(
        pipeline: &Pipeline,
        log: &Arc<dyn EventLog>,
        options: &Options,
        stats: &Arc<Stats>,
        scratch: Option<&Arc<Scratch>>,
    ) -> Result<Self, RuntimeError> {
        let (targets, views) = targets(pipeline, log, options, stats)?;
        Ok(Self {
            dataflow: dataflow(pipeline, options, scratch)?,
            sources: sources(&pipeline.graph, &**log)?,
            clocks: Clocks::new(&pipeline.graph),
            targets,
            snapshot: Snapshot { views, ..Snapshot::default() },
            saver: None,
            cold: scratch.map(ColdViews::new),
        })
    }

    fn restored(
        manifest: &Manifest,
        checkpoints: &Checkpoints,
        pipeline: &Pipeline,
        log: &Arc<dyn EventLog>,
        options: &Options,
        stats: &Arc<Stats>,
        scratch: Option<&Arc<Scratch>>,
    ) -> Result<Self, CheckpointError> {
        let cannot = |error: RuntimeError| CheckpointError::Unknown(error.to_string());
        let mut dataflow = dataflow(pipeline, options, scratch).map_err(cannot)?;
        let mut cold = scratch.map(ColdViews::new);
        let mut sources = sources(&pipeline.graph, &**log).map_err(cannot)?;
        let (targets, mut views) = targets(pipeline, log, options, stats).map_err(cannot)?;
        if targets.values().any(Target::begins_anew) {
            return Err(CheckpointError::SinkBeginsAnew);
        }
        restore(manifest, &checkpoints.storage, &mut dataflow, &mut views, cold.as_mut())?;
        let again = sources.clone();
        let upto = CommitSeq(manifest.upto);
        reread(&**log, upto, options.epoch_bytes_max, again, &mut dataflow, &options.functions.timeline)?;
        let mut clocks = Clocks::new(&pipeline.graph);
        manifest.time.restore(&mut sources, &mut clocks);
        let snapshot = Snapshot { epoch: Epoch(manifest.epoch), upto, settled: upto, views };
        Ok(Self { dataflow, sources, clocks, targets, snapshot, saver: None, cold })
    }
}

/// A pipeline's operators, without state.
fn dataflow(pipeline: &Pipeline, options: &Options, scratch: Option<&Arc<Scratch>>) -> Result<Dataflow, RuntimeError> {
    let mut dataflow = Dataflow::new(pipeline.graph.clone(), options.shards)?;
    if let Some(scratch) = scratch {
        dataflow.spill_to(scratch);
    }
    Ok(dataflow)
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

/// Work that says why it failed before it lets go of what others wait for.
fn telling<T>(
    failure: Arc<Mutex<Option<String>>>,
    mut worker: T,
    work: impl FnOnce(&mut T) -> Result<(), RuntimeError>,
) -> impl FnOnce() -> Result<(), RuntimeError> {
    move || {
        let done = work(&mut worker);
        if let Err(error) = &done {
            lock(&failure).get_or_insert(error.to_string());
        }
        done
    }
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

/// Where sinks' rows go. Those outside the log have what the journal says, and nothing else.
fn targets(
    pipeline: &Pipeline,
    log: &Arc<dyn EventLog>,
    options: &Options,
    stats: &Arc<Stats>,
) -> Result<Targets, RuntimeError> {
    let (mut targets, mut views) = (HashMap::new(), BTreeMap::new());
    for (id, node) in pipeline.graph.iter() {
        let NodeKind::Sink(sink) = &node.kind else { continue };
        let encoding = &sink.encoding;
        let failed = |source| RuntimeError::Sink { sink: sink.query.clone(), source };
        let target = match &sink.target {
            SinkTarget::File(_) | SinkTarget::Directory(_) | SinkTarget::Fluvio(_) | SinkTarget::Stdout
                if options.quiet =>
            {
                Target::Nowhere
            }
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
                let opened = FileSink::at(&options.directory.join(&file.path)).map_err(failed)?;
                let opened = match encode(node, encoding) {
                    Some(encode) => opened.encoded(encode),
                    None => opened,
                };
                let rolling = RollingPolicy::at_once();
                outside(pipeline, &sink.query, Box::new(opened), rolling, encoding, log, stats).map_err(failed)?
            }
            SinkTarget::Directory(directory) => {
                let path = options.directory.join(&directory.path);
                let opened = DirectorySink::at(&path, &directory.prefix, &directory.suffix).map_err(failed)?;
                let encode = encode(node, encoding).or_else(|| compress(directory.compression));
                let opened = match encode {
                    Some(encode) => opened.encoded(encode),
                    None => opened,
                };
                let opened = if encoding.folder.is_some() { opened.in_folders() } else { opened };
                outside(pipeline, &sink.query, Box::new(opened), directory.rolling, encoding, log, stats)
                    .map_err(failed)?
            }
            SinkTarget::Stdout => {
                let weights = !node.append_only && !matches!(encoding.format, Format::DebeziumJson(_));
                Target::Lines { lines: (options.stdout)(), weights, encoding: encoding.clone() }
            }
            #[cfg(feature = "fluvio")]
            SinkTarget::Fluvio(fluvio) => {
                let opened = crate::fluvio::sink(fluvio, options, &pipeline.name, sink, &node.schema);
                let rolling = RollingPolicy { inactivity: fluvio.linger, ..RollingPolicy::at_once() };
                outside(pipeline, &sink.query, Box::new(opened), rolling, encoding, log, stats).map_err(failed)?
            }
            #[cfg(not(feature = "fluvio"))]
            SinkTarget::Fluvio(_) => return Err(RuntimeError::NotInThisBuild("fluvio")),
            SinkTarget::Blackhole => Target::Nowhere,
        };
        targets.insert(id, target);
    }
    Ok((targets, views))
}

/// What files of a sink are made of, when these are not the lines.
fn encode(node: &Node, encoding: &Encoding) -> Option<Encode> {
    let (mut schema, json) = (Arc::clone(&node.schema), encoding.json.clone());
    if let Some(folder) = encoding.folder {
        schema = Arc::new(Schema::new(schema.fields()[..folder].to_vec()));
    }
    match encoding.format {
        Format::Parquet => {
            Some(Box::new(move |lines, _| parquet_of_lines(&schema, &json, lines).map_err(|error| error.to_string())))
        }
        Format::Avro(avro) => {
            let rows = AvroRows::new(&schema, &json, avro.raw_datums);
            Some(Box::new(move |lines, before| rows.encode(lines, before).map_err(|error| error.to_string())))
        }
        Format::Json(_) | Format::DebeziumJson(_) | Format::RawString | Format::RawBytes => None,
    }
}

/// What files of lines are made of, when they are compressed.
fn compress(compression: Compression) -> Option<Encode> {
    (compression != Compression::None).then(|| -> Encode {
        Box::new(move |lines, _| compressed(lines, compression).map_err(|error| error.to_string()))
    })
}

/// A sink outside the log, recovered.
fn outside(
    pipeline: &Pipeline,
    name: &str,
    mut sink: Box<dyn Sink>,
    rolling: RollingPolicy,
    encoding: &Encoding,
    log: &Arc<dyn EventLog>,
    stats: &Arc<Stats>,
) -> Result<Target, ConnectError> {
    let record = log.journal().sinks.remove(&(pipeline.name.clone(), name.to_owned()));
    let recovered = sink.recover(record.as_ref().map(|record| record.state.as_str()))?;
    let (committed, again) = match (recovered, record) {
        (Recovered::GoesOn, record) => (record.map(|record| record.upto), None),
        (Recovered::Anew(state), _) => (None, Some(state)),
    };
    let (pipeline, name, log) = (pipeline.name.clone(), name.to_owned(), Arc::clone(log));
    let delivery = Delivery::new(Courier { pipeline, name, sink, log, again }, rolling, committed, stats);
    Ok(Target::Outside { delivery, encoding: encoding.clone() })
}
