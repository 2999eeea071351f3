//! What concerns more than one crate: the map of the project, its licences, its words; and the program as it is used.

mod architecture;
mod commands;
mod demo;
mod homework_words;
mod licences;
mod program;
mod workspace;
