//! The functions that a project's SQL can call: the native graders, and those of its `udfs/`.
//!
//! | in `udfs/` | native | is called |
//! |---|---|---|
//! | – | yes | the native one |
//! | the same source | yes | the native one: it is the same function |
//! | another source of the same name | yes | the project's |
//! | yes | – | the project's |

use crate::error::CliError;
use crate::generators::generators;
use crate::graders::graders;
use crate::node::PIPELINE;
use crate::project::ProjectFiles;
use chalk_catalog::{ControlEvent, FunctionIdentity, Journal};
use chalk_event::CommitSeq;
use chalk_plan::Functions;
use chalk_udf_host::{Call, CurrentFunction, Folder, LoadError, Loaded, Source, Timeline, version_function};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

/// The command of worker processes.
pub(crate) const WORKER: &str = "udf-worker";

/// A project's functions.
#[derive(Debug, Default)]
pub struct ProjectFunctions {
    sql: Functions,
    identities: Vec<FunctionIdentity>,
    loaded: Vec<Loaded>,
    recorded: BTreeMap<String, CurrentFunction>,
    timeline: Timeline,
    folder: Option<Folder>,
    /// Of functions that were switched at some time: who counts at the beginning of the log, and which of its computations this is.
    begun: BTreeMap<String, (String, u32)>,
}

impl ProjectFunctions {
    /// All of them, ready to be called by a pipeline or a replay.
    ///
    /// # Errors
    /// When sources have mistakes, or are not built as they are.
    pub fn of(files: &ProjectFiles) -> Result<Self, CliError> {
        let (program, timeline) = (worker(), Timeline::default());
        let functions = Self::with(files, |folder, source| Loaded::of(folder, source, &program, Some(&timeline)))?;
        Ok(Self { timeline, ..functions })
    }

    /// All of them, ready to be called by whoever asks: what they make of that is nobody else's business.
    ///
    /// # Errors
    /// As for [`ProjectFunctions::of`].
    pub fn asked(files: &ProjectFiles) -> Result<Self, CliError> {
        let program = worker();
        Self::with(files, |folder, source| Loaded::of(folder, source, &program, None))
    }

    /// All of them, to be planned with alone: they need not be built.
    ///
    /// # Errors
    /// When sources have mistakes.
    pub fn declared(files: &ProjectFiles) -> Result<Self, CliError> {
        Self::with(files, |folder, source| Ok(Loaded::declared(folder, source)))
    }

    fn with(
        files: &ProjectFiles,
        load: impl Fn(&Folder, &Source) -> Result<Loaded, LoadError>,
    ) -> Result<Self, CliError> {
        let mut native = graders();
        let mut functions = Self::default();
        let mut errors = Vec::new();
        if let Some(path) = &files.udfs {
            let folder = read_folder(path)?;
            errors.extend(folder.mistakes.iter().map(ToString::to_string));
            for source in &folder.sources {
                if is_native(source) {
                    continue;
                }
                native.retain(|function| function.identity.name != source.declaration.name);
                match load(&folder, source) {
                    Ok(loaded) => functions.loaded.push(loaded),
                    Err(error) => errors.push(error.to_string()),
                }
            }
            functions.folder = Some(folder);
        }
        if !errors.is_empty() {
            return Err(CliError::other(errors.join("\n")));
        }
        functions.identities = native.iter().map(|function| function.identity.clone()).collect();
        functions.sql.scalar = native.into_iter().map(|function| function.udf).collect();
        for loaded in &functions.loaded {
            functions.identities.push(loaded.identity.clone());
            match &loaded.call {
                Call::Scalar(udf) => functions.sql.scalar.push(Arc::clone(udf)),
                Call::Aggregate(udf) => functions.sql.aggregate.push(Arc::clone(udf)),
                Call::Recorded(udf, function) => {
                    functions.sql.recorded.push(Arc::clone(udf));
                    let named = function.iter().map(|function| (udf.name().to_owned(), function.clone()));
                    functions.recorded.extend(named);
                }
            }
        }
        let builds = |identity: &FunctionIdentity| {
            let loaded = functions.loaded.iter().find(|loaded| loaded.identity == *identity);
            (identity.clone(), loaded.and_then(|loaded| loaded.builds.clone()))
        };
        let version = version_function(&functions.identities.iter().map(builds).collect::<Vec<_>>());
        functions.identities.push(version.identity);
        functions.sql.scalar.push(version.udf);
        functions.sql.generators = generators().into_keys().collect();
        Ok(functions)
    }

    /// As SQL calls them.
    #[must_use]
    pub fn sql(&self) -> &Functions {
        &self.sql
    }

    /// As SQL calls them.
    #[must_use]
    pub fn into_sql(self) -> Functions {
        self.sql
    }

    /// Who they are.
    #[must_use]
    pub fn identities(&self) -> &[FunctionIdentity] {
        &self.identities
    }

    /// Those that stages call, by name.
    #[must_use]
    pub fn recorded(&self) -> &BTreeMap<String, CurrentFunction> {
        &self.recorded
    }

    /// Whether a function's results are recorded, so that they do not depend on who it is now.
    pub(crate) fn is_recorded(&self, name: &str) -> bool {
        self.sql.recorded.iter().any(|udf| udf.name() == name)
    }

    /// Where in the log a pipeline calls them.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Makes the builds count that the log says, where it says so. That holds as long as sources are what was switched to; with another source
    /// all of the log is computed by that one, which is what the given events say.
    ///
    /// # Errors
    /// When an earlier build cannot be loaded.
    pub(crate) fn follow(&mut self, journal: &Journal) -> Result<Vec<ControlEvent>, CliError> {
        let mut begun_anew = Vec::new();
        for ((pipeline, name), history) in journal.functions.iter().filter(|((pipeline, _), _)| pipeline == PIPELINE) {
            let Some(identity) = self.identities.iter().find(|identity| identity.name == *name) else { continue };
            if self.is_recorded(name) {
                continue;
            }
            let hash = &identity.content_hash;
            let loaded = self.loaded.iter().find(|loaded| loaded.identity == *identity);
            let begun = match (&self.folder, loaded) {
                (Some(folder), Some(loaded)) if history.last() == hash => {
                    let followed = loaded.follow(folder, &worker(), &self.timeline, &history.first, &history.switches);
                    followed.map_err(|error| CliError::other(error.to_string()))?;
                    (history.first.clone(), history.generation)
                }
                _ if history.last() == hash && history.switches.is_empty() => (hash.clone(), history.generation),
                _ => {
                    begun_anew.push(ControlEvent::FunctionSwitched {
                        pipeline: pipeline.clone(),
                        function: name.clone(),
                        from: history.last().to_owned(),
                        to: hash.clone(),
                        after: CommitSeq(0),
                        generation: history.generation + 1,
                    });
                    (hash.clone(), history.generation + 1)
                }
            };
            self.begun.insert(name.clone(), begun);
        }
        Ok(begun_anew)
    }

    /// Who the functions are whose results are not recorded, as what state depends on: what they were at the beginning of the log.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for FunctionIdentity { name, content_hash } in &self.identities {
            if self.is_recorded(name) {
                continue;
            }
            let (first, generation) =
                self.begun.get(name).map_or((content_hash, 0), |(first, generation)| (first, *generation));
            let generation = if generation > 0 { format!(" {generation}") } else { String::new() };
            text.push_str(&format!("{name}@{first}{generation}\n"));
        }
        text
    }

    /// Those of `udfs/` that are not native.
    #[must_use]
    pub fn loaded(&self) -> &[Loaded] {
        &self.loaded
    }
}

/// Whether a source is that of a function which is linked natively.
pub(crate) fn is_native(source: &Source) -> bool {
    let same = |identity: &FunctionIdentity| {
        identity.name == source.declaration.name && source.content_hash.as_deref() == Ok(identity.content_hash.as_str())
    };
    graders().iter().any(|function| same(&function.identity))
}

pub(crate) fn read_folder(path: &Path) -> Result<Folder, CliError> {
    Folder::read(path).map_err(|error| CliError::other(format!("cannot read {}: {error}", path.display())))
}

/// What a worker process runs: this program, even when its file has been replaced since.
pub(crate) fn worker() -> Vec<OsString> {
    let running = Path::new("/proc/self/exe");
    let program = if running.exists() { Ok(running.to_owned()) } else { std::env::current_exe() };
    vec![program.unwrap_or_else(|_| "chalk".into()).into_os_string(), WORKER.into()]
}
