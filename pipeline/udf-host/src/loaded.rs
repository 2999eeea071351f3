//! Functions of libraries, as SQL calls them.

use crate::aggregate::aggregate;
use crate::builds::{Build, Builds};
use crate::caller::{CallError, Caller};
use crate::calls::{AsyncFunction, CurrentFunction};
use crate::declaration::{Declaration, Kind};
use crate::folder::Folder;
use crate::settings::{Isolation, Settings};
use crate::shelf::ShelfError;
use crate::source::Source;
use crate::timeline::Timeline;
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use chalk_catalog::FunctionIdentity;
use chalk_event::CommitSeq;
use datafusion::common::{Result, exec_datafusion_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::ffi::OsString;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

/// A function of a project's `udfs/`.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its name and content hash.
    pub identity: FunctionIdentity,
    /// What it takes and gives.
    pub declaration: Declaration,
    /// The file or folder of its source.
    pub source: PathBuf,
    /// Where it runs.
    pub isolation: Isolation,
    /// As DataFusion calls it.
    pub call: Call,
    /// Its builds; `None` of an async function, and of one that can only be planned with.
    pub builds: Option<Builds>,
}

/// How DataFusion calls a function.
#[derive(Clone, Debug)]
pub enum Call {
    /// With columns.
    Scalar(Arc<ScalarUDF>),
    /// With groups.
    Aggregate(Arc<AggregateUDF>),
    /// With rows, whose results are recorded; DataFusion only plans with it. Without the function it can only be planned with.
    Recorded(Arc<ScalarUDF>, Option<CurrentFunction>),
}

/// Why a function cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is to be built first.
    #[error("function '{name}' ({}) is not built as it is now\n  hint: chalk udf build {}", source_path.display(), source_path.display())]
    NotBuilt {
        /// The function.
        name: String,
        /// Its source.
        source_path: PathBuf,
    },
    /// Its build cannot be used.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// Its library cannot be loaded.
    #[error("function '{name}' ({library}): {error}")]
    Library {
        /// The function.
        name: String,
        /// Its library.
        library: String,
        /// Why.
        error: CallError,
    },
}

/// A function in a plan: who it was when that was made, and how it is called.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) identity: FunctionIdentity,
    pub(crate) declaration: Declaration,
    pub(crate) signature: Signature,
    /// Without these it can be planned, not called.
    builds: Option<Builds>,
}

impl Loaded {
    /// The function of a source, as it was built. `program` is what worker processes are: it does what
    /// [`serve_worker`](crate::serve_worker) does. `timeline` is that of the pipeline that calls it; whoever asks has none.
    ///
    /// # Errors
    /// When it is not built, or its build cannot be used.
    pub fn of(
        folder: &Folder,
        source: &Source,
        program: &[OsString],
        timeline: Option<&Timeline>,
    ) -> std::result::Result<Self, LoadError> {
        let declaration = &source.declaration;
        let name = declaration.name.clone();
        let not_built = || LoadError::NotBuilt { name: name.clone(), source_path: source.path.clone() };
        let content_hash = source.content_hash.clone().map_err(|_| not_built())?;
        let (library, _) = folder.shelf().find(declaration, &content_hash)?.ok_or_else(not_built)?;
        let settings = folder.settings(&name);
        let identity = FunctionIdentity { name: name.clone(), content_hash: content_hash.clone() };
        if let Kind::Async(options) = declaration.kind {
            let (declaration, program) = (declaration.clone(), program.to_vec());
            let function = AsyncFunction::new(identity, declaration, options, settings, library, program);
            let mut loaded = Self::with(folder, source, content_hash, None);
            if let Call::Recorded(_, place) = &mut loaded.call {
                *place = Some(CurrentFunction::new(function));
            }
            return Ok(loaded);
        }
        let build = build(identity, library, declaration.clone(), settings, program, timeline)?;
        Ok(Self::with(folder, source, content_hash, Some(Builds::new(timeline.cloned(), build))))
    }

    /// Makes earlier builds count where they did: the first from the beginning of the log on, each of `switches` after a commit; the last of them
    /// is this one. One that is not there any more cannot be called, and says so when it would have to be.
    ///
    /// # Errors
    /// When a build is damaged, or its library cannot be loaded.
    pub fn follow(
        &self,
        folder: &Folder,
        program: &[OsString],
        timeline: &Timeline,
        first: &str,
        switches: &[(CommitSeq, String)],
    ) -> std::result::Result<(), LoadError> {
        let (Some(builds), Some(own)) = (&self.builds, self.builds.as_ref().and_then(Builds::last)) else {
            return Ok(());
        };
        let mut all = Vec::new();
        let hashes =
            std::iter::once((CommitSeq(0), first)).chain(switches.iter().map(|(at, hash)| (*at, hash.as_str())));
        for (after, content_hash) in hashes {
            let build = if content_hash == own.identity.content_hash {
                Arc::clone(&own)
            } else {
                Arc::new(self.earlier(folder, program, timeline, content_hash)?)
            };
            all.push((after, build));
        }
        builds.replace(all);
        Ok(())
    }

    /// Who is called now: it can have been switched since.
    #[must_use]
    pub fn current(&self) -> FunctionIdentity {
        match (&self.builds, &self.call) {
            (Some(builds), _) => builds.last().map(|build| build.identity.clone()),
            (None, Call::Recorded(_, Some(function))) => Some(function.get().identity().clone()),
            (None, _) => None,
        }
        .unwrap_or_else(|| self.identity.clone())
    }

    /// From commits after `after` on, the build of `newer` is called, which takes and gives the same types; an async one for rows without a result.
    pub fn switch(&self, newer: &Self, after: CommitSeq) {
        match ((&self.builds, &newer.builds), (&self.call, &newer.call)) {
            ((Some(builds), Some(newer)), _) => builds.switch(newer, after),
            (_, (Call::Recorded(_, Some(function)), Call::Recorded(_, Some(newer)))) => function.switch(newer),
            _ => {}
        }
    }

    /// A build that is kept beside that of the source.
    fn earlier(
        &self,
        folder: &Folder,
        program: &[OsString],
        timeline: &Timeline,
        content_hash: &str,
    ) -> std::result::Result<Build, LoadError> {
        let name = self.identity.name.clone();
        let identity = FunctionIdentity { name: name.clone(), content_hash: content_hash.to_owned() };
        let settings = folder.settings(&name);
        match folder.shelf().kept(&name, content_hash)? {
            Some((library, record)) => build(identity, library, record.declaration, settings, program, Some(timeline)),
            None => {
                let why = format!(
                    "{identity} computed a part of the log, and its build is not in {} any more\n  hint: build that source once more, or \
                     start in another data directory",
                    folder.path.join(".chalk").display()
                );
                Ok(Build { identity, caller: Err(why) })
            }
        }
    }

    /// The function of a source, to be planned with alone: built or not, it cannot be called.
    #[must_use]
    pub fn declared(folder: &Folder, source: &Source) -> Self {
        let content_hash = source.content_hash.clone().unwrap_or_else(|_| "unknown".to_owned());
        Self::with(folder, source, content_hash, None)
    }

    fn with(folder: &Folder, source: &Source, content_hash: String, builds: Option<Builds>) -> Self {
        let declaration = source.declaration.clone();
        let identity = FunctionIdentity { name: declaration.name.clone(), content_hash };
        let isolation = folder.settings(&declaration.name).isolation;
        let (kind, signature) = (declaration.kind, signature(&declaration));
        let called =
            Called { identity: identity.clone(), declaration: declaration.clone(), signature, builds: builds.clone() };
        let call = match kind {
            Kind::Scalar => Call::Scalar(Arc::new(ScalarUDF::from(called))),
            Kind::Aggregate => Call::Aggregate(Arc::new(aggregate(called))),
            Kind::Async(_) => Call::Recorded(Arc::new(ScalarUDF::from(Recorded(called))), None),
        };
        Self { identity, declaration, source: source.path.clone(), isolation, call, builds }
    }
}

/// A build of a function that is not async, ready to be called.
fn build(
    identity: FunctionIdentity,
    library: PathBuf,
    declaration: Declaration,
    settings: Settings,
    program: &[OsString],
    timeline: Option<&Timeline>,
) -> std::result::Result<Build, LoadError> {
    let shown = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let caller = Caller::new(&identity, library, declaration, settings, program.to_vec(), timeline.cloned());
    match caller {
        Ok(caller) => Ok(Build { identity, caller: Ok(caller) }),
        Err(error) => Err(LoadError::Library { name: identity.name, library: shown, error }),
    }
}

fn signature(declaration: &Declaration) -> Signature {
    let types = declaration.arguments.iter().map(|argument| argument.value.value_type.arrow());
    // What is volatile is neither moved nor called twice by an optimiser.
    let is_async = matches!(declaration.kind, Kind::Async(_));
    Signature::exact(types.collect(), if is_async { Volatility::Volatile } else { Volatility::Immutable })
}

impl Called {
    /// Calls it. That it fails for some rows is an execution error: of those rows, and not of whoever calls it.
    pub(crate) fn call(&self, columns: &[ArrayRef]) -> Result<ArrayRef> {
        let name = &self.identity.name;
        let Some(build) = self.builds.as_ref().and_then(Builds::current) else {
            return Err(DataFusionError::External(format!("function '{name}' can only be planned with").into()));
        };
        build.call(columns).map_err(|error| {
            let message = format!("function '{name}' ({}): {error}", build.identity);
            match error {
                CallError::Rows(_) => exec_datafusion_err!("{message}"),
                CallError::Function(_) => DataFusionError::External(message.into()),
            }
        })
    }
}

impl PartialEq for Called {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for Called {}

impl Hash for Called {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}

impl ScalarUDFImpl for Called {
    fn name(&self) -> &str {
        &self.identity.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.declaration.returns.value_type.arrow())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = args.args.iter().map(|value| value.to_array(args.number_rows)).collect::<Result<Vec<_>>>()?;
        self.call(&columns).map(ColumnarValue::Array)
    }
}

/// An async function in a plan: it is called by a stage that records its results, and by nobody else.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Recorded(Called);

impl ScalarUDFImpl for Recorded {
    fn name(&self) -> &str {
        &self.0.identity.name
    }

    fn signature(&self) -> &Signature {
        &self.0.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.0.declaration.returns.value_type.arrow())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        plan_err!(
            "function '{}' is async: it is called by a pipeline, which records its results; a query reads what is recorded",
            self.name()
        )
    }
}
