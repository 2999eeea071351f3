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
use crate::project::ProjectFiles;
use chalk_catalog::FunctionIdentity;
use chalk_plan::Functions;
use chalk_udf_host::{AsyncFunction, Call, Folder, LoadError, Loaded, Source, version_function};
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
    recorded: BTreeMap<String, Arc<AsyncFunction>>,
}

impl ProjectFunctions {
    /// All of them, ready to be called.
    ///
    /// # Errors
    /// When sources have mistakes, or are not built as they are.
    pub fn of(files: &ProjectFiles) -> Result<Self, CliError> {
        let program = worker();
        Self::with(files, |folder, source| Loaded::of(folder, source, &program))
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
                    let named = function.iter().map(|function| (udf.name().to_owned(), Arc::clone(function)));
                    functions.recorded.extend(named);
                }
            }
        }
        let version = version_function(&functions.identities);
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
    pub fn recorded(&self) -> &BTreeMap<String, Arc<AsyncFunction>> {
        &self.recorded
    }

    /// Whether a function's results are recorded, so that they do not depend on who it is now.
    pub(crate) fn is_recorded(&self, name: &str) -> bool {
        self.sql.recorded.iter().any(|udf| udf.name() == name)
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
