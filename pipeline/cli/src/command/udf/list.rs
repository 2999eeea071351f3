//! `chalk udf list [PATH] [--project PATH]`.

use super::{Chosen, Sources, tell};
use crate::command::table;
use crate::error::CliError;
use crate::functions::{ProjectFunctions, is_native};
use crate::{Node, Outcome, ProjectFiles};
use chalk_plan::PlannedQuery;
use chalk_udf_host::{Folder, Isolation, Source};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    sources: Sources,
    /// The project whose queries may use them.
    #[arg(long, value_name = "PATH", default_value = "sql")]
    project: PathBuf,
    /// How it is shown: table (for people) or json (a line each).
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

impl List {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let Chosen { folder, sources, mistakes } = self.sources.read()?;
        let good = tell(&mistakes);
        let queries = self.queries();
        let used = |source: &Source| -> Vec<&str> {
            let calls = |query: &&PlannedQuery| query.calls(&source.declaration.name);
            queries.iter().filter(calls).map(|query| query.name.as_str()).collect()
        };
        let rows = sources.iter().map(|source| {
            let hash = source.content_hash.as_deref().unwrap_or("not known before it is built");
            let (state, used) = (state(&folder, source), used(source));
            let signature = source.declaration.to_string();
            (signature, source.declaration.kind.to_string(), hash, state, used)
        });
        if self.format == "json" {
            for (source, (signature, kind, hash, state, used)) in sources.iter().zip(rows) {
                let name = &source.declaration.name;
                println!(
                    "{}",
                    json!({ "name": name, "signature": signature, "kind": kind, "hash": hash, "state": state, "used": used })
                );
            }
        } else {
            let rows: Vec<Vec<String>> = rows
                .map(|(signature, kind, hash, state, used)| {
                    vec![signature, kind, hash.to_owned(), state, used.join(", ")]
                })
                .collect();
            print!("{}", table(&["function", "kind", "hash", "runs", "used by"], &rows)?);
        }
        Ok(if good { Outcome::Done } else { Outcome::Refused })
    }

    /// The project's queries; none when it cannot be planned, which other commands tell.
    fn queries(&self) -> Vec<PlannedQuery> {
        let planned = || -> Result<Vec<PlannedQuery>, CliError> {
            let files = ProjectFiles::read(&self.project)?;
            Ok(Node::plan_with(&files, &ProjectFunctions::declared(&files)?)?.queries)
        };
        planned().unwrap_or_default()
    }
}

/// How a function runs, or why it does not.
fn state(folder: &Folder, source: &Source) -> String {
    if is_native(source) {
        return "linked natively".to_owned();
    }
    let Ok(hash) = &source.content_hash else { return "not built".to_owned() };
    let isolation = match folder.settings(&source.declaration.name).isolation {
        Isolation::Process => "in a worker process",
        Isolation::InProcess => "in process",
    };
    match folder.shelf().find(&source.declaration, hash) {
        Ok(Some(_)) => isolation.to_owned(),
        Ok(None) => "not built".to_owned(),
        Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}
