//! What concerns more than one crate: the map of the project, its licences, its words; and the program as it is used.

mod architecture;
mod arroyo;
mod boards;
mod changelog;
mod check;
mod cold;
mod commands;
mod connectors;
mod copies;
mod crash;
mod debezium;
mod demo;
mod docs;
mod engine;
#[cfg(feature = "fluvio")]
mod fluvio;
mod generated;
mod homework_words;
mod licences;
mod loadable;
mod log;
mod log_tools;
mod looking;
mod nexmark;
mod oracle;
mod program;
mod restart;
#[cfg(feature = "s3")]
mod s3;
mod slt;
mod soak;
mod sql_errors;
mod stored;
mod udf_async;
mod udf_build;
mod udf_faults;
mod udf_graders;
mod udf_promote;
mod udf_verdicts;
mod udfs;
mod verify;
mod workspace;
