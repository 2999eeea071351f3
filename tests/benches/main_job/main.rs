//! The main job's figures: submissions of 40 items, from the append to the boards.
//!
//! `cargo bench --bench main_job` measures all of them; `-- throughput`, `open-loop`, `start`, `memory` one. Options: `--events N`,
//! `--rate N` (open-loop, events/s), `--seconds N`, `--project PATH`. Every figure stands beside a yardstick of the same run.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod machine;
mod memory;
mod open_loop;
mod start;
mod throughput;
mod workload;

use std::path::PathBuf;

/// What is asked for on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    only: Option<String>,
    pub(crate) events: Option<u64>,
    pub(crate) rate: u64,
    pub(crate) seconds: u64,
    /// The pipelines to run: by default the homework pipelines as they are.
    pub(crate) project: PathBuf,
}

impl Wanted {
    fn read() -> Self {
        let mut wanted = Self { only: None, events: None, rate: 10_000, seconds: 20, project: default_project() };
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let mut value = || words.next().expect("a value follows the option");
            let mut number = || value().parse().expect("a number follows the option");
            match word.as_str() {
                "--project" => wanted.project = value().into(),
                "--events" => wanted.events = Some(number()),
                "--rate" => wanted.rate = number(),
                "--seconds" => wanted.seconds = number(),
                name => wanted.only = Some(name.to_owned()),
            }
        }
        wanted
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == name)
    }
}

fn default_project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sql")
}

fn main() {
    let wanted = Wanted::read();
    if wanted.wants("start") {
        start::run(&wanted);
    }
    if wanted.wants("throughput") {
        throughput::run(&wanted);
    }
    if wanted.wants("open-loop") {
        open_loop::run(&wanted);
    }
    if wanted.wants("memory") {
        memory::run(&wanted);
    }
}
