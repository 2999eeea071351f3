//! A second opinion: a receiver written from the schemas alone judges every line, and must come to the verdict that
//! the school announced; and a term is what the crate says of it.

mod history;
mod judge;
mod schema;
mod term;
mod verdicts;
