//! A project in memory: planned, started, fed commit by commit, stopped and started again, asked.
//!
//! Log and checkpoints are in memory; the clock moves with every commit and with nothing else. What `stdout` sinks and bare SELECTs write is
//! caught by query. Files of `single_file` tables are in a folder that is gone afterwards: those that are read are empty, events come through the
//! door as they would from a file.

use chalk_catalog::TopicSchema;
use chalk_connect::Lines;
use chalk_event::CommitSeq;
use chalk_graph::{NodeKind, SinkTarget};
use chalk_ingest::{Door, DoorOptions, Refused, Rows};
use chalk_log::{Append, CommitLog, EventLog, LogOptions};
use chalk_plan::{Functions, PlanError, Project, SqlFile, TopicSchemas, session};
use chalk_runtime::{Checkpoints, Handle, Options, Pipeline, TableStatus, rows_of};
use chalk_serve::{Format, Queries, QueryLimits, write};
use chalk_store::memory::MemoryFiles;
use chalk_view::Snapshot;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// When the first commit is made: 2025-09-01T12:00:00Z.
pub(crate) const NOON: i64 = 1_756_728_000_000_000_000;
const NAME: &str = "p";

/// How a run of the pipeline is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) shards: usize,
    /// Epochs are of about so many bytes.
    pub(crate) epoch_bytes_max: usize,
}

impl Default for Run {
    fn default() -> Self {
        Self { shards: 2, epoch_bytes_max: 1 << 20 }
    }
}

/// Bytes that others write.
#[derive(Clone, Debug, Default)]
struct Caught(Arc<Mutex<Vec<u8>>>);

impl io::Write for Caught {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic while writing").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A project that runs, or has been stopped.
pub(crate) struct Engine {
    pub(crate) project: Project,
    pub(crate) folder: TempDir,
    pub(crate) log: Arc<dyn EventLog>,
    door: Arc<Door>,
    checkpoints: MemoryFiles,
    handle: Option<Handle>,
    /// What each query wrote to the terminal, in the order of their sinks.
    caught: Vec<(String, Caught)>,
    lines: BTreeMap<String, u64>,
    runtime: Runtime,
    /// Nanoseconds: when the next commit is made.
    time: Arc<AtomicI64>,
}

/// Plans a project that has these schemas of topics.
pub(crate) fn plan(sql: &str, topics: &[(String, String)]) -> Result<Project, Vec<PlanError>> {
    let parse = |(name, avsc): &(String, String)| {
        let schema = TopicSchema::parse(name, avsc, TopicSchema::NO_ENVELOPE).expect("a good schema");
        (name.clone(), Arc::new(schema))
    };
    let topics: TopicSchemas = topics.iter().map(parse).collect();
    chalk_plan::plan(&[SqlFile { name: "test.sql".to_owned(), text: sql.to_owned() }], &topics, &Functions::default())
}

impl Engine {
    /// Starts a project.
    pub(crate) fn start(project: Project, topics: &[(String, String)], run: Run) -> Self {
        let time = Arc::new(AtomicI64::new(NOON));
        let of_clock = Arc::clone(&time);
        let clock: Arc<dyn Fn() -> i64 + Send + Sync> =
            Arc::new(move || of_clock.fetch_add(1_000_000, Ordering::Relaxed));
        let log = CommitLog::open_in(Arc::new(MemoryFiles::default()), LogOptions::new(Arc::clone(&clock)));
        let log: Arc<dyn EventLog> = Arc::new(log.expect("a new log"));
        for (name, avsc) in topics {
            log.ensure_topic(name, avsc, TopicSchema::NO_ENVELOPE).expect("a topic");
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        for table in &project.tables {
            if let Some((name, avsc)) =
                table.topic.as_ref().and_then(|topic| Some((&topic.name, topic.own_avsc.as_ref()?)))
            {
                log.ensure_topic(name, avsc, TopicSchema::NO_ENVELOPE).expect("a topic");
            }
        }
        for (_, node) in project.graph.iter() {
            if let NodeKind::Source(source) = &node.kind
                && let Some(chalk_graph::options::SourceOptions::SingleFile(file)) = &source.options
            {
                std::fs::write(folder.path().join(&file.path), "").expect("a file");
            }
        }
        let door = Arc::new(Door::open(Arc::clone(&log), DoorOptions::new(clock)).expect("a door"));
        let sinks = project.graph.iter().filter_map(|(_, node)| match &node.kind {
            NodeKind::Sink(sink) if matches!(sink.target, SinkTarget::Stdout) => Some(sink.query.clone()),
            _ => None,
        });
        let caught = sinks.map(|query| (query, Caught::default())).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let checkpoints = MemoryFiles::default();
        let lines = BTreeMap::new();
        let mut engine = Self { project, folder, log, door, checkpoints, handle: None, caught, lines, runtime, time };
        engine.resume(run);
        engine
    }

    /// Stops, and starts again with what is in the log and the last checkpoint.
    pub(crate) fn restart(&mut self, run: Run) {
        self.handle().stop();
        self.handle = None;
        self.resume(run);
    }

    fn resume(&mut self, run: Run) {
        let outputs: Vec<Caught> = self.caught.iter().map(|(_, caught)| caught.clone()).collect();
        let next = AtomicUsize::new(0);
        let storage = Arc::new(self.checkpoints.clone());
        let options = Options {
            shards: run.shards,
            epoch_bytes_max: run.epoch_bytes_max,
            stdout: Box::new(move || Lines::new("a test", outputs[next.fetch_add(1, Ordering::Relaxed)].clone())),
            directory: self.folder.path().to_owned(),
            quiet: false,
            snapshot_changes_min: 1_000,
            checkpoints: Some(Checkpoints { storage, interval: Duration::from_secs(3600), write: true, copies: None }),
            cold: None,
            functions: chalk_runtime::Functions::default(),
            generators: chalk_runtime::Generators::default(),
        };
        let (name, graph) = (NAME.to_owned(), self.project.graph.clone());
        let pipeline = Pipeline { name, graph, identity: String::new() };
        self.handle = Some(chalk_runtime::start(&pipeline, &self.door, &options).expect("a pipeline"));
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.handle.as_ref().expect("it runs")
    }

    /// Whether this run began with a checkpoint.
    pub(crate) fn began_with_checkpoint(&self) -> bool {
        self.handle().status().checkpoint.started_after > CommitSeq(0)
    }

    /// Lets so much time pass before the next commit.
    pub(crate) fn pass(&self, time: Duration) {
        self.time.fetch_add(i64::try_from(time.as_nanos()).expect("a short time"), Ordering::Relaxed);
    }

    /// Appends lines of JSON to a table's topic, in one commit; gives those that were refused.
    pub(crate) fn append(&mut self, table: &str, text: &str) -> Vec<Refused> {
        let source = self.project.table(table).and_then(|table| table.source.as_ref());
        let source = source.unwrap_or_else(|| panic!("table '{table}' is not there or cannot be read"));
        let first = self.lines.entry(table.to_owned()).or_insert(1);
        let rows = Rows { first_line: *first, ..rows_of(source, &*self.log).expect("a topic") };
        let submitted = self.door.submit_rows(table, text.as_bytes(), &rows, Append::default());
        *first += text.lines().count() as u64;
        submitted.and_then(|submitted| submitted.wait()).expect("an open log").refused
    }

    /// All that was appended and what it led to, or why the pipeline failed.
    pub(crate) fn caught_up(&self) -> Result<Arc<Snapshot>, String> {
        self.runtime.block_on(self.handle().caught_up()).map_err(|error| error.to_string())
    }

    /// The same after bounded tables have ended.
    pub(crate) fn drain(&self) -> Result<Arc<Snapshot>, String> {
        self.runtime.block_on(self.handle().drain()).map_err(|error| error.to_string())
    }

    /// What a query over views and topics answers, as CSV.
    pub(crate) fn query(&self, sql: &str) -> Result<String, String> {
        let (functions, limits) = (Functions::default(), QueryLimits::default());
        let queries = Queries::new(Arc::clone(&self.log), self.handle().subscribe(), &functions, limits);
        let result = self.runtime.block_on(queries.run(sql)).map_err(|error| error.to_string())?;
        write(&result, Format::Csv).map_err(|error| error.to_string())
    }

    /// Takes what the queries have written to the terminal since this was last called.
    pub(crate) fn take_printed(&self) -> Vec<(String, String)> {
        let take = |(query, caught): &(String, Caught)| {
            let bytes = std::mem::take(&mut *caught.0.lock().expect("no panic while writing"));
            (query.clone(), String::from_utf8(bytes).expect("text"))
        };
        self.caught.iter().map(take).collect()
    }

    /// How many rows of each table were late since the start.
    pub(crate) fn late_of(&self) -> BTreeMap<String, u64> {
        self.handle().status().late_of
    }

    /// How far event time has come in each table that has a watermark.
    pub(crate) fn tables(&self) -> BTreeMap<String, TableStatus> {
        let mut tables = self.handle().status().tables;
        let has_one = |table: &str| {
            self.project
                .table(table)
                .and_then(|table| table.source.as_ref())
                .is_some_and(|table| table.watermark.is_some())
        };
        tables.retain(|table, _| has_one(table));
        tables
    }
}

/// A session in which SQL means what it means in pipelines.
pub(crate) fn batch_session() -> datafusion::prelude::SessionContext {
    let context = session(&Functions::default(), 1);
    // It compares marks of columns, too, which the optimiser does not keep everywhere.
    context.state_ref().write().config_mut().options_mut().execution.skip_physical_aggregate_schema_check = true;
    context
}
