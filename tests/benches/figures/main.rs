//! Figures, not checks: the main job with submissions of 40 items, the log alone, and its history.
//!
//! `cargo bench --bench figures` measures all of them; `-- NAME…` some, by the names of [`FIGURES`]. Options: `--events N` (or
//! commits, for the log's), `--rate N` (events/s of an open loop), `--seconds N`, `--project PATH`. Every figure stands beside a
//! yardstick of the same run.

#![allow(clippy::print_stdout, reason = "figures are printed")]
#![allow(clippy::unwrap_used, reason = "a figure that cannot be taken ends the run")]

mod append;
mod checkpoints;
mod cold;
mod history;
#[path = "../../it/loadable.rs"]
mod loadable;
mod log;
mod machine;
mod memory;
mod open_loop;
mod queries;
mod recovery;
mod replay;
mod sql;
mod start;
mod throughput;
mod udf;
mod udf_async;
mod udf_cores;
mod workload;

use std::path::PathBuf;

/// What is asked for on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    only: Vec<String>,
    pub(crate) events: Option<u64>,
    pub(crate) rate: u64,
    pub(crate) seconds: u64,
    /// The pipelines to run: by default the homework pipelines as they are.
    pub(crate) project: PathBuf,
}

impl Wanted {
    fn read() -> Self {
        let mut wanted = Self { only: Vec::new(), events: None, rate: 10_000, seconds: 20, project: default_project() };
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let mut value = || words.next().expect("a value follows the option");
            let mut number = || value().parse().expect("a number follows the option");
            match word.as_str() {
                "--project" => wanted.project = value().into(),
                "--events" => wanted.events = Some(number()),
                "--rate" => wanted.rate = number(),
                "--seconds" => wanted.seconds = number(),
                name => {
                    let known = FIGURES.iter().any(|(figure, _)| *figure == name);
                    assert!(known, "there is no figure '{name}': {}", FIGURES.map(|(figure, _)| figure).join(", "));
                    wanted.only.push(name.to_owned());
                }
            }
        }
        wanted
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

fn default_project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sql")
}

type Figure = fn(&Wanted);

/// What can be measured.
const FIGURES: [(&str, Figure); 16] = [
    ("start", start::run),
    ("throughput", throughput::run),
    ("checkpoints", checkpoints::run),
    ("cold", cold::run),
    ("open-loop", open_loop::run),
    ("queries", queries::run),
    ("memory", memory::run),
    ("log-append", append::run),
    ("log-memory", log::memory_over_commits),
    ("log-segments", log::opening_many_segments),
    ("log-syncs", log::syncs_under_load),
    ("history", history::run),
    ("replay", replay::run),
    ("recovery", recovery::run),
    ("udf", udf::run),
    ("sql", sql::run),
];

/// The first word of a command line of `chalk`, which this program understands too.
pub(crate) const CHALK: &str = "chalk";

fn main() -> std::process::ExitCode {
    if std::env::args().nth(1).as_deref() == Some(udf::WORKER) {
        return chalk_udf_host::serve_worker();
    }
    if std::env::args().nth(1).as_deref() == Some(CHALK) {
        return chalk_cli::main(std::env::args_os().skip(1));
    }
    let wanted = Wanted::read();
    for (name, figure) in FIGURES {
        if wanted.wants(name) {
            figure(&wanted);
        }
    }
    std::process::ExitCode::SUCCESS
}
