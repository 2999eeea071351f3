//! Another build of a function, called by a running pipeline from one epoch to the next.

use crate::error::CliError;
use crate::functions::{is_native, read_folder, worker};
use crate::node::PIPELINE;
use crate::project::ProjectFiles;
use chalk_catalog::{ControlEvent, FunctionIdentity};
use chalk_event::CommitSeq;
use chalk_graph::Graph;
use chalk_log::EventLog;
use chalk_runtime::{Handle, Switch, Switched, can_switch};
use chalk_serve::Promoted;
use chalk_udf_host::{Call, Folder, Loaded, Source, Timeline};
use std::sync::{Arc, Mutex, PoisonError};

/// What it takes to promote a function.
pub(crate) struct Promoting {
    pub(crate) files: ProjectFiles,
    pub(crate) graph: Graph,
    /// Where in the log the pipeline calls functions.
    pub(crate) timeline: Timeline,
    /// The functions that the pipeline calls.
    pub(crate) called: Vec<Loaded>,
    /// Those that whoever asks calls.
    pub(crate) asked: Vec<Loaded>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) pipeline: Arc<Handle>,
    /// One promotion after the other.
    pub(crate) one: Mutex<()>,
}

impl Promoting {
    /// Has the pipeline call a function as its source is now, from the next epoch on.
    ///
    /// # Errors
    /// When it is not built, is called in another way, or gives results that would have to be taken back by the build before.
    pub(crate) fn promote(&self, name: &str) -> Result<Promoted, CliError> {
        let _one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        let (called, asked) = (of_name(&self.called, name)?, of_name(&self.asked, name)?);
        let folder = self.files.udfs.as_deref().map(read_folder).transpose()?;
        let folder = folder.ok_or_else(|| CliError::other("the project has no udfs/"))?;
        let source = source_of(&folder, name)?;
        let load = |timeline| {
            Loaded::of(&folder, source, &worker(), timeline).map_err(|error| CliError::other(error.to_string()))
        };
        let (newer, newer_asked) = (load(Some(&self.timeline))?, load(None)?);
        let (from, to) = (called.current(), newer.identity.clone());
        if from == to {
            return Err(CliError::other(format!(
                "{to} is what is called already\n  hint: change its source, then chalk udf build"
            )));
        }
        if !newer.declaration.is_called_as(&called.declaration) {
            return Err(CliError::other(format!(
                "{} cannot take the place of {}: other types, or another kind of function\n  hint: a start plans its queries anew",
                newer.declaration, called.declaration
            )));
        }
        if !matches!(called.call, Call::Recorded(..))
            && let Err(query) = can_switch(&self.graph, name)
        {
            return Err(CliError::other(format!(
                "query '{query}' takes back results of '{name}', which only the build that gave them can do\n  hint: stop and start: then all of the \
                 log is computed by the new build"
            )));
        }
        let Switched { epoch, after } = self.switch(called, newer, &from, &to)?;
        asked.switch(&newer_asked, after);
        Ok(Promoted { from: from.to_string(), to: to.to_string(), epoch, after })
    }

    fn switch(
        &self,
        called: &Loaded,
        newer: Loaded,
        from: &FunctionIdentity,
        to: &FunctionIdentity,
    ) -> Result<Switched, CliError> {
        let key = (PIPELINE.to_owned(), from.name.clone());
        let generation = self.log.journal().functions.get(&key).map_or(0, |history| history.generation);
        let (from, to, called) = (from.content_hash.clone(), to.clone(), called.clone());
        let record = move |after| ControlEvent::FunctionSwitched {
            pipeline: PIPELINE.to_owned(),
            function: to.name,
            from,
            to: to.content_hash,
            after,
            generation,
        };
        let apply = move |after: CommitSeq| called.switch(&newer, after);
        Ok(self.pipeline.switch(Switch { record: Box::new(record), apply: Box::new(apply) })?)
    }
}

fn of_name<'l>(loaded: &'l [Loaded], name: &str) -> Result<&'l Loaded, CliError> {
    loaded.iter().find(|loaded| loaded.identity.name == name).ok_or_else(|| {
        let names: Vec<&str> = loaded.iter().map(|loaded| loaded.identity.name.as_str()).collect();
        let hint = if names.is_empty() { String::new() } else { format!("\n  hint: it has {}", names.join(", ")) };
        CliError::other(format!("the running pipeline has no function '{name}' of udfs/{hint}"))
    })
}

fn source_of<'f>(folder: &'f Folder, name: &str) -> Result<&'f Source, CliError> {
    let source = folder.sources.iter().find(|source| source.declaration.name == name);
    match source {
        Some(source) if is_native(source) => {
            Err(CliError::other(format!("'{name}' is linked natively as its source is now: only a start can call it")))
        }
        Some(source) => Ok(source),
        None => {
            let mistakes: Vec<String> = folder.mistakes.iter().map(ToString::to_string).collect();
            Err(CliError::other(match mistakes.is_empty() {
                true => format!("there is no source of '{name}' in {} any more", folder.path.display()),
                false => mistakes.join("\n"),
            }))
        }
    }
}
