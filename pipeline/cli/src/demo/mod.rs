//! `chalk demo`: a seeded school, from the events' way in to an answered query.
//!
//! The school's events go through the door that clients use. While they do, a class leaderboard is shown; afterwards every view is
//! compared with the batch answer over the events that were made, and the numbers with the school's own.

mod board;
mod feed;
mod made;
mod summary;

pub use feed::{Fed, feed};
pub use made::MadeBySchool;
pub use summary::Summary;

use crate::error::CliError;
use crate::node::{Node, system_clock};
use crate::project::ProjectFiles;
use crate::serving::{self, Ports, tokio_runtime};
use crate::settings::LogBackend;
use crate::verify::verify;
use chalk_graph::options::Given;
use chalk_homework::SchoolConfig;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What is shown.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many events the school makes.
    pub events: u64,
    /// What to make the same school again by.
    pub seed: u64,
    /// The pipelines to run.
    pub project: PathBuf,
    /// Through which cluster the events go, if through any.
    pub fluvio: Option<OnFluvio>,
}

/// A Fluvio cluster.
#[derive(Clone, Debug)]
pub struct OnFluvio {
    /// `host:port`; `None` as the current profile says.
    pub endpoint: Option<String>,
}

impl OnFluvio {
    /// A log in a topic of its own, which the data directory keeps the name of.
    fn log(&self, directory: &Path) -> Result<LogBackend, CliError> {
        let path = directory.join("topic-of-the-demo");
        let cannot = |error: std::io::Error| CliError::other(format!("cannot use {}: {error}", path.display()));
        let topic = match fs::read_to_string(&path) {
            Ok(topic) => topic,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let topic = format!("chalk-demo-{}", system_clock()() / 1_000_000);
                fs::write(&path, &topic).map_err(cannot)?;
                topic
            }
            Err(error) => return Err(cannot(error)),
        };
        let mut given = Given::from([("topic".to_owned(), topic)]);
        given.extend(self.endpoint.clone().map(|endpoint| ("endpoint".to_owned(), endpoint)));
        LogBackend::fluvio(given, 1).map_err(CliError::other)
    }
}

impl Config {
    /// The school.
    #[must_use]
    pub fn school(&self) -> SchoolConfig {
        SchoolConfig { seed: self.seed, events: self.events, ..SchoolConfig::default() }
    }
}

/// The demo's data directory.
#[derive(Debug)]
pub struct Directory(PathBuf);

/// Says that a directory is a demo's, and of which school.
const MARK: &str = "made-by-chalk-demo";

impl Directory {
    /// The given directory, which must be new, empty or that of the same school, whose demo then goes on; or `chalk-data`,
    /// made anew if an earlier demo made it.
    ///
    /// # Errors
    /// When the directory holds something that is not to be lost, or is in use.
    pub fn prepare(given: Option<&Path>, school: &SchoolConfig) -> Result<Self, CliError> {
        let path = given.unwrap_or(Path::new("chalk-data")).to_owned();
        let cannot = |error: std::io::Error| CliError::other(format!("cannot use {}: {error}", path.display()));
        if let Some(holder) = chalk_log::read_holder(&path) {
            return Err(CliError::other(format!(
                "{} is in use by {holder}\n  hint: stop that, or name another directory with --data",
                path.display()
            )));
        }
        let empty = fs::read_dir(&path).map_or(true, |mut entries| entries.next().is_none());
        let mark = path.join(MARK);
        let school = format!("{school:?}\n");
        if !empty && given.is_none() && mark.exists() {
            fs::remove_dir_all(&path).map_err(cannot)?;
        } else if !empty && fs::read_to_string(&mark).is_ok_and(|made| made == school) {
            return Ok(Self(path));
        } else if !empty {
            return Err(CliError::other(format!(
                "{} is not empty, and not of a demo with this --seed and these --events\n  hint: name another directory with --data",
                path.display()
            )));
        }
        fs::create_dir_all(&path).map_err(cannot)?;
        fs::write(mark, school).map_err(cannot)?;
        Ok(Self(path))
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Runs the demo; gives whether everything was as it should be.
pub(crate) fn run(config: &Config, directory: &Directory, exit: bool, ports: Ports) -> Result<bool, CliError> {
    let started = Instant::now();
    let mut files = ProjectFiles::read(&config.project)?;
    if let Some(fluvio) = &config.fluvio {
        files.log = fluvio.log(directory.path())?;
    }
    let runtime = tokio_runtime()?;
    let mut node = Node::open(&files, directory.path(), "demo")?;
    runtime.block_on(node.pipeline.caught_up())?;
    let opened = started.elapsed();
    let server = serving::start(&mut node, ports, &runtime)?;
    println!("a school of {} events, seed {}, in {}", config.events, config.seed, directory.path().display());
    let queries = node.queries();
    let fed = {
        let board = board::Board::new(config.events, &queries, &runtime);
        feed(&node, config, &runtime, |progress| board.show(progress))?
    };
    let summary = Summary::new(&node, &fed, opened);
    print!("{summary}");
    let mut good = summary.check(&fed);
    let verifying = Instant::now();
    let snapshot = node.pipeline.snapshot();
    let verified = runtime.block_on(verify(&node.project, &node.functions, &fed.made, &*node.log, &snapshot));
    match verified {
        Ok(verified) => {
            let count = |rows: &std::collections::BTreeMap<String, usize>| {
                rows.iter().map(|(name, rows)| format!("{name} {rows}")).collect::<Vec<_>>().join(", ")
            };
            println!(
                "verified   every row equals the batch answer over the school's own events ({:.1} s)",
                verifying.elapsed().as_secs_f64()
            );
            println!("           views: {}", count(&verified.views));
            println!("           topics: {}; late rows {}", count(&verified.topics), verified.late);
        }
        Err(mismatch) => {
            eprintln!("NOT VERIFIED: {mismatch}");
            good = false;
        }
    }
    board::show_answer(&queries, &runtime);
    if !exit {
        println!("\nserving on {}; ask from another terminal, or stop with Ctrl-C:", server.addresses());
        println!("  chalk query \"SELECT * FROM item_difficulty ORDER BY difficulty_permille DESC LIMIT 5\"");
        runtime.block_on(server.until_ctrl_c())?;
    }
    node.pipeline.stop();
    Ok(good)
}
