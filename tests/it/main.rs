//! What concerns more than one crate: the map of the project, its licences, its words.

mod architecture;
mod homework_words;
mod licences;
mod workspace;
