//! A data directory, opened: log, door, pipeline, queries.

use crate::archivist::Archivist;
use crate::error::CliError;
use crate::functions::ProjectFunctions;
use crate::generators::generators;
use crate::keeping::{Keeping, parse_bytes};
use crate::project::ProjectFiles;
use crate::promotion::Promoting;
use crate::settings::LogBackend;
use chalk_connect::Lines;
use chalk_event::PartitionId;
use chalk_ingest::{Door, DoorOptions, Intake};
use chalk_log::{Append, CommitLog, EventLog, Holder, LogError, LogOptions};
use chalk_plan::{Functions as SqlFunctions, Project, SqlFile};
use chalk_runtime::{Checkpoints, ColdTier, Functions, Handle, Options, Pipeline, log_elsewhere, prepare_stages};
use chalk_serve::{App, Queries, QueryLimits};
use chalk_store::LocalFiles;
use chalk_udf_host::Permits;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::available_parallelism;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An epoch takes about this many bytes of frames at most: enough to be worth its overhead, little enough to be seen soon.
pub(crate) const EPOCH_BYTES_MAX: usize = 4 << 20;

/// How many parts a pipeline's work is split into: a core is left to the door, to commits and to checkpoints. With one part rows go
/// from node to node as they are, without being taken apart by key and put together again.
#[must_use]
pub fn shards() -> usize {
    available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
}

/// A view's changelog has at least so many changes between two snapshots.
const SNAPSHOT_CHANGES_MIN: u64 = 20_000;

/// Under which the project's progress is journalled.
pub(crate) const PIPELINE: &str = "project";

/// Under load, so much has to be read again after a kill.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);

/// Sizes and times. All but the memory are as they should be without: soaks make them small, so that what happens rarely happens often.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Tuning {
    /// About how much memory the state of aggregates and views may take, such as 512MiB; what is beyond goes to disk
    /// [default: all of it is in memory].
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    state_memory: Option<u64>,
    /// How many calls of async functions may be in flight, of all functions together [default: 10000].
    #[arg(long, value_name = "CALLS")]
    in_flight: Option<usize>,
    /// A segment of the log is sealed when it has grown to this many bytes.
    #[arg(long, hide = true, value_name = "BYTES")]
    segment_bytes: Option<u64>,
    /// When so many ids are in memory, they are written to disk.
    #[arg(long, hide = true, value_name = "IDS")]
    ids_in_memory: Option<usize>,
    /// A checkpoint is begun so long after the one before.
    #[arg(long, hide = true, value_name = "MILLISECONDS")]
    checkpoint_interval_ms: Option<u64>,
}

impl Tuning {
    fn log(self) -> LogOptions {
        let usual = LogOptions::new(system_clock());
        LogOptions { segment_bytes_max: self.segment_bytes.unwrap_or(usual.segment_bytes_max), ..usual }
    }

    fn cold(self, data: &Path) -> Result<Option<ColdTier>, CliError> {
        let folder = data.join("cold");
        let Some(bytes) = self.state_memory else {
            // What a run with a limit has left that was killed.
            return match std::fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(CliError::other(format!("cannot remove {}: {error}", folder.display())))
                }
                _ => Ok(None),
            };
        };
        let storage = Arc::new(LocalFiles::at(&folder).map_err(LogError::from)?);
        Ok(Some(ColdTier { storage, memory_bytes_max: usize::try_from(bytes).unwrap_or(usize::MAX) }))
    }

    fn recorded(self, functions: &ProjectFunctions) -> Functions {
        let permits = self.in_flight.map_or_else(Permits::default, Permits::new);
        Functions { by_name: functions.recorded().clone(), permits, timeline: functions.timeline().clone() }
    }

    fn door(self) -> DoorOptions {
        let usual = DoorOptions::new(system_clock());
        DoorOptions { ids_in_memory_max: self.ids_in_memory.unwrap_or(usual.ids_in_memory_max), ..usual }
    }
}

/// The system's clock, in nanoseconds since the Unix epoch: the one place where it is read.
#[must_use]
pub fn system_clock() -> Arc<dyn Fn() -> i64 + Send + Sync> {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}

/// What a data directory is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opened {
    /// Everything.
    Run,
    /// To be asked: files, the terminal and other places are left alone.
    Look,
    /// To be asked and appended to.
    Append,
}

/// A data directory with its project running.
pub struct Node {
    /// The project, planned.
    pub project: Project,
    /// The functions that whoever asks can call.
    pub functions: SqlFunctions,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The way into it.
    pub door: Arc<Door>,
    /// How clients' events come to the door.
    pub intake: Arc<dyn Intake>,
    /// The running pipeline.
    pub pipeline: Arc<Handle>,
    promoting: Arc<Promoting>,
    commit_log: Arc<CommitLog>,
    holder: Holder,
    data: PathBuf,
}

/// What a pipeline's results depend on: its text, and who its functions were at the beginning of the log. What they are since is in the log.
pub(crate) fn identity(files: &ProjectFiles, functions: &ProjectFunctions) -> String {
    let mut identity = String::new();
    // Not the files' names: how the project's path is spelt says nothing about results.
    for SqlFile { text, .. } in &files.sql {
        identity.push_str(&format!("{text}\n"));
    }
    for (topic, avsc) in &files.schemas {
        identity.push_str(&format!("{topic}\n{avsc}\n"));
    }
    identity.push_str(&functions.text());
    identity
}

impl Node {
    /// Plans a project; nothing is opened.
    ///
    /// # Errors
    /// All mistakes in its files.
    pub fn plan(files: &ProjectFiles) -> Result<(Project, ProjectFunctions), CliError> {
        let functions = ProjectFunctions::of(files)?;
        Ok((Self::plan_with(files, &functions)?, functions))
    }

    /// As [`Node::plan`], with functions that are known.
    ///
    /// # Errors
    /// As for [`Node::plan`].
    pub(crate) fn plan_with(files: &ProjectFiles, functions: &ProjectFunctions) -> Result<Project, CliError> {
        chalk_plan::plan(&files.sql, &files.topic_schemas()?, functions.sql())
            .map_err(|errors| CliError::Plan(errors, Box::new(files.clone())))
    }

    /// Opens a data directory and starts the project on it. `command` is who holds the directory, for others' errors.
    ///
    /// # Errors
    /// When the project has mistakes, the directory is in use or damaged, or the pipeline cannot start.
    pub fn open(files: &ProjectFiles, data: &Path, command: &str) -> Result<Self, CliError> {
        Self::tuned(files, data, command, Tuning::default())
    }

    /// As [`Node::open`], with other sizes and times than the usual ones.
    ///
    /// # Errors
    /// As for [`Node::open`].
    pub(crate) fn tuned(files: &ProjectFiles, data: &Path, command: &str, tuning: Tuning) -> Result<Self, CliError> {
        Self::start(files, data, command, Opened::Run, tuning, &BTreeSet::new())
    }

    /// As [`Node::tuned`]; the results of async functions named in `rerun` are made again, all of them.
    ///
    /// # Errors
    /// As for [`Node::open`], and when the project calls no async function of such a name.
    pub(crate) fn rerunning(
        files: &ProjectFiles,
        data: &Path,
        tuning: Tuning,
        rerun: &BTreeSet<String>,
    ) -> Result<Self, CliError> {
        Self::start(files, data, "run", Opened::Run, tuning, rerun)
    }

    /// Opens a data directory to ask it or to append to it: files and the terminal are left alone.
    ///
    /// # Errors
    /// As for [`Node::open`].
    pub fn look(files: &ProjectFiles, data: &Path, command: &str) -> Result<Self, CliError> {
        Self::start(files, data, command, Opened::Look, Tuning::default(), &BTreeSet::new())
    }

    /// Opens a data directory to append to it: as [`Node::look`], but for what the events go through first.
    ///
    /// # Errors
    /// As for [`Node::open`].
    pub(crate) fn append(files: &ProjectFiles, data: &Path, command: &str) -> Result<Self, CliError> {
        Self::start(files, data, command, Opened::Append, Tuning::default(), &BTreeSet::new())
    }

    fn start(
        files: &ProjectFiles,
        data: &Path,
        command: &str,
        opened: Opened,
        tuning: Tuning,
        rerun: &BTreeSet<String>,
    ) -> Result<Self, CliError> {
        let (quiet, through) = (opened != Opened::Run, opened != Opened::Look);
        let (project, mut functions) = Self::plan(files)?;
        let asked = ProjectFunctions::asked(files)?;
        let called: BTreeSet<&str> = project.graph.stages.iter().map(|stage| stage.function.as_str()).collect();
        if let Some(unknown) = rerun.iter().find(|name| !called.contains(name.as_str())) {
            return Err(CliError::other(format!(
                "no query calls an async function '{unknown}'{}",
                if called.is_empty() {
                    String::new()
                } else {
                    format!("\n  hint: called are {}", Vec::from_iter(called).join(", "))
                }
            )));
        }
        let holder = Holder { pid: std::process::id(), command: format!("chalk {command}"), http: None, pg: None };
        let keeping = Keeping::read(data)?;
        let history = keeping.objects(data)?;
        let log_options = LogOptions { history, ..tuning.log() };
        let commit_log = Arc::new(CommitLog::open(data, &holder, log_options)?);
        let log: Arc<dyn EventLog> = Arc::clone(&commit_log) as _;
        for (topic, avsc) in &files.schemas {
            log.ensure_topic(topic, avsc, &files.envelope)?;
        }
        for table in &project.tables {
            if let Some(topic) = &table.topic
                && let Some(avsc) = &topic.own_avsc
            {
                log.ensure_topic(&topic.name, avsc, chalk_catalog::TopicSchema::NO_ENVELOPE)?;
            }
        }
        let begun_anew = functions.follow(&log.journal())?;
        if !begun_anew.is_empty() {
            let frames = begun_anew.iter().map(|event| log.control_frame(event)).collect::<Result<_, _>>()?;
            log.append(Append { frames })?.wait()?;
        }
        let ids = Arc::new(LocalFiles::at(&data.join("ids")).map_err(LogError::from)?);
        let door = tuning.door().keeping_ids_in(ids);
        let door = Arc::new(Door::open(Arc::clone(&log), door)?);
        let options = Options {
            shards: shards(),
            epoch_bytes_max: EPOCH_BYTES_MAX,
            stdout: Box::new(|| Lines::new("the terminal", std::io::stdout())),
            directory: files.directory.clone(),
            quiet,
            snapshot_changes_min: SNAPSHOT_CHANGES_MIN,
            checkpoints: Some(Checkpoints {
                storage: Arc::new(LocalFiles::at(&data.join("checkpoints")).map_err(LogError::from)?),
                interval: tuning.checkpoint_interval_ms.map_or(CHECKPOINT_INTERVAL, Duration::from_millis),
                // A run that leaves files alone does not know how far they were written.
                write: !quiet,
                copies: keeping.copies()?,
            }),
            cold: tuning.cold(data)?,
            functions: tuning.recorded(&functions),
            generators: generators(),
        };
        let name = PIPELINE.to_owned();
        let graph = prepare_stages(&project.graph, &*log, functions.identities(), rerun)?;
        let elsewhere = match &files.log {
            LogBackend::Fluvio(fluvio) if through => {
                Some(log_elsewhere(&fluvio.options, fluvio.partitions, &files.directory, &*log)?)
            }
            _ => None,
        };
        let pipeline = Pipeline { name, graph, identity: identity(files, &functions) };
        let pipeline = Arc::new(chalk_runtime::start(&pipeline, &door, &options)?);
        let intake = match elsewhere {
            Some(elsewhere) => pipeline.take_through(elsewhere, &door)?,
            None => Arc::clone(&door) as _,
        };
        let (loaded, timeline) = (functions.loaded().to_vec(), functions.timeline().clone());
        let promoting = Promoting {
            files: files.clone(),
            graph: project.graph.clone(),
            timeline,
            called: loaded,
            asked: asked.loaded().to_vec(),
            log: Arc::clone(&log),
            pipeline: Arc::clone(&pipeline),
            one: Mutex::default(),
        };
        Ok(Self {
            project,
            functions: asked.into_sql(),
            promoting: Arc::new(promoting),
            log,
            door,
            intake,
            pipeline,
            commit_log,
            holder,
            data: data.to_owned(),
        })
    }

    /// How many rows a topic has; 0 without such a topic.
    #[must_use]
    pub fn rows(&self, topic: &str) -> u64 {
        let topics = self.log.topics();
        let Some(topic) = topics.by_name(topic) else { return 0 };
        (0..topic.partitions).map(|partition| self.log.tail(topic.id, PartitionId(partition)).0).sum()
    }

    /// Read-only SQL over its views and topics.
    #[must_use]
    pub fn queries(&self) -> Queries {
        Queries::new(Arc::clone(&self.log), self.pipeline.subscribe(), &self.functions, QueryLimits::default())
    }

    /// What servers serve: queries, the door, the pipeline's figures.
    #[must_use]
    pub fn app(&self) -> App {
        let promoting = Arc::clone(&self.promoting);
        let app = App::new(self.queries(), Arc::clone(&self.door), Arc::clone(&self.pipeline), system_clock());
        app.taking_from(Arc::clone(&self.intake))
            .promoting(Arc::new(move |name| promoting.promote(name).map_err(|error| error.to_string())))
    }

    /// Keeps history and applies retention from here on, for as long as what is given back is there.
    pub(crate) fn archivist(&self) -> Result<Archivist, CliError> {
        let read_again = chalk_runtime::topics_read_again(&self.project.graph);
        Archivist::start(Arc::clone(&self.commit_log), Arc::clone(&self.pipeline), read_again, &self.data)
    }

    /// Says in the data directory where this process listens.
    ///
    /// # Errors
    /// When the lock file cannot be written.
    pub fn announce(&mut self, http: std::net::SocketAddr, pg: std::net::SocketAddr) -> Result<(), CliError> {
        self.holder.http = Some(http.to_string());
        self.holder.pg = Some(pg.to_string());
        Ok(self.commit_log.announce(&self.holder)?)
    }
}
