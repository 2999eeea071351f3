//! What concerns more than one crate: the map of the project, its licences, its words; and the program as it is used.

mod architecture;
mod boards;
mod changelog;
mod cold;
mod commands;
mod crash;
mod demo;
mod docs;
mod homework_words;
mod licences;
mod log;
mod log_tools;
mod looking;
mod program;
mod restart;
mod soak;
mod sql_errors;
mod stored;
mod udfs;
mod verify;
mod workspace;
