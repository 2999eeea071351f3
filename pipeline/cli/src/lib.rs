//! `chalk`: configuration, wiring, and one file per subcommand. Native graders are registered here.
//!
//! Exit codes: 0 = done; 1 = done, but some input was refused or a verification failed; 2 = not done.

// A command line tool talks through its standard output and error.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod archivist;
mod client;
mod command;
pub mod demo;
mod error;
mod functions;
mod generators;
mod graders;
mod keeping;
mod node;
mod project;
mod promotion;
mod replay;
mod serving;
mod settings;
pub mod verify;

pub use error::CliError;
pub use functions::ProjectFunctions;
pub use generators::generators;
pub use graders::graders;
pub use node::{Node, shards, system_clock};
pub use project::ProjectFiles;
pub use settings::{FluvioLog, LogBackend};

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// An event-sourced stream processor for homework: pipelines in SQL, graders in Rust.
#[derive(Debug, Parser)]
#[command(name = "chalk", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole thing: a seeded school's homework, appended, graded, ranked, verified, queried.
    Demo(command::demo::Demo),
    /// Run the pipelines of a .sql file or of a directory of them.
    Run(command::run::Run),
    /// Find mistakes in the pipelines of a .sql file or directory, and in what they connect to; nothing is run.
    Check(command::check::Check),
    /// Show the graph that the pipelines of a .sql file or directory are planned into.
    Explain(command::explain::Explain),
    /// Print generated events as JSON lines.
    Generate(command::generate::Generate),
    /// Append events: JSON, one a line.
    Append(command::append::Append),
    /// Ask the views and topics in SQL.
    Query(command::query::Query),
    /// Show the topics of a data directory: their rows, sizes and keys.
    Topics(command::topics::Topics),
    /// Show rows of a topic as JSON lines: the newest, or from a place on.
    Tail(command::tail::Tail),
    /// Show how the pipelines of a data directory are doing.
    Status(command::status::Status),
    /// Check whether schemas can change as a project's files say.
    #[command(subcommand)]
    Schema(command::schema::Schema),
    /// Check the log, look into its segments.
    #[command(subcommand)]
    Log(command::log::Log),
    /// Sealed segments as Parquet, for anybody to read: show, export, check them, say where they are.
    #[command(subcommand)]
    History(command::history::History),
    /// How long the log and history keep rows.
    #[command(subcommand)]
    Retention(command::retention::Retention),
    /// Look at the checkpoint that a start begins with, and at earlier ones.
    #[command(subcommand)]
    Checkpoint(command::checkpoint::Checkpoint),
    /// Compute the views again from the log alone, up to a point, and show them; nothing is written.
    Replay(command::replay::Replay),
    /// Functions in Rust: begin one, check, build, list them.
    #[command(subcommand)]
    Udf(command::udf::Udf),
    /// Run one function's library for another process. Standard input is a socket to it.
    #[command(name = functions::WORKER, hide = true)]
    UdfWorker,
}

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was done.
    Done,
    /// Some input was refused, or a verification failed.
    Refused,
}

/// Runs a command line.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing can be done when the terminal is gone.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match arguments.command {
        Command::Demo(demo) => demo.run(),
        Command::Run(run) => run.run(),
        Command::Check(check) => check.run(),
        Command::Explain(explain) => explain.run(),
        Command::Generate(generate) => generate.run(),
        Command::Append(append) => append.run(),
        Command::Query(query) => query.run(),
        Command::Topics(topics) => topics.run(),
        Command::Tail(tail) => tail.run(),
        Command::Status(status) => status.run(),
        Command::Schema(schema) => schema.run(),
        Command::Log(log) => log.run(),
        Command::History(history) => history.run(),
        Command::Retention(retention) => retention.run(),
        Command::Checkpoint(checkpoint) => checkpoint.run(),
        Command::Replay(replay) => replay.run(),
        Command::Udf(udf) => udf.run(),
        Command::UdfWorker => return chalk_udf_host::serve_worker(),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::from(1),
        Err(error) => {
            error.report();
            ExitCode::from(2)
        }
    }
}
