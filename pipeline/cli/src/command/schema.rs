//! `chalk schema`.

use crate::command::DataArgument;
use crate::error::CliError;
use crate::{Outcome, ProjectFiles};
use chalk_catalog::{Evolution, TopicDef, TopicSchema};
use chalk_log::EventLog as _;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Schema {
    /// Compare the schemas of a project with those that a data directory's topics have: what changes, and what cannot. Exits with 1 when
    /// something cannot.
    Check(Check),
}

impl Schema {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        match self {
            Self::Check(check) => check.run(),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The directory of .avsc files.
    #[arg(default_value = "schemas")]
    path: PathBuf,
    #[command(flatten)]
    data: DataArgument,
    /// How it is shown: text or json (a line for each topic).
    #[arg(short, long, default_value = "text", value_parser = ["text", "json"])]
    format: String,
}

impl Check {
    fn run(self) -> Result<Outcome, CliError> {
        let schemas = ProjectFiles::of_schemas(&self.path)?.topic_schemas()?;
        // Before the first run there is nothing that a schema could break.
        let topics = if self.data.data.join("log").is_dir() { Some(self.data.look()?.topics()) } else { None };
        let known = |name: &str| topics.as_ref().and_then(|topics| topics.by_name(name));
        let mut broken = 0;
        for (name, schema) in &schemas {
            broken += usize::from(!self.tell(name, schema, known(name)));
        }
        match broken {
            0 => Ok(Outcome::Done),
            broken => {
                let topics = if broken == 1 { "topic" } else { "topics" };
                eprintln!(
                    "{broken} {topics} cannot change like this: a run would refuse to start\n  hint: put back what is named, or give the events another topic"
                );
                Ok(Outcome::Refused)
            }
        }
    }

    /// Says what becomes of a topic; whether it can.
    fn tell(&self, name: &str, wanted: &Arc<TopicSchema>, known: Option<&TopicDef>) -> bool {
        let evolution = known.map(|known| Evolution::of(&known.schema, wanted));
        let (changes, breaks) =
            evolution.map_or_else(Default::default, |evolution| (evolution.changes, evolution.breaks));
        let good = breaks.is_empty();
        if self.format == "json" {
            let breaks: Vec<_> =
                breaks.iter().map(|broken| json!({ "what": broken.what, "why": broken.why })).collect();
            println!("{}", json!({ "topic": name, "new": known.is_none(), "changes": changes, "breaks": breaks }));
            return good;
        }
        match (known, changes.is_empty() && good) {
            (None, _) => println!("{name}: new"),
            (Some(_), true) => println!("{name}: as it is"),
            (Some(_), false) => println!("{name}: {}", if good { "can change" } else { "cannot change like this" }),
        }
        changes.iter().for_each(|change| println!("  {change}"));
        breaks.iter().for_each(|broken| println!("  cannot: {broken}"));
        good
    }
}
