//! Connectors that this program adds: `homework`, the made-up school as a source.

use chalk_connect::MadeUp;
use chalk_graph::options::GeneratorOptions;
use chalk_homework::{Expect, School, SchoolConfig, Sent};
use chalk_runtime::{Generator, Generators};
use std::sync::Arc;

const HOMEWORK: &str = "homework";

/// All of them, by name.
#[must_use]
pub fn generators() -> Generators {
    let homework: Generator = Arc::new(homework);
    Generators::from([(HOMEWORK.to_owned(), homework)])
}

/// The lines of a school as a receiver gets them, duplicates and corrupt ones among them; of one topic, those that are new events of it.
fn homework(options: &GeneratorOptions) -> MadeUp {
    let school = School::new(SchoolConfig { seed: options.seed, events: options.events, ..SchoolConfig::default() });
    let topic = options.topic.clone();
    Box::new(school.filter_map(move |Sent { line, expect, .. }| match (&topic, &expect) {
        (None, _) => Some(line),
        (Some(topic), Expect::Accepted(event)) if event.topic() == topic => Some(line),
        _ => None,
    }))
}
