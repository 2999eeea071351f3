//! The school's own events, for the oracle.

use crate::verify::{Made, MadeEvents};
use chalk_homework::{Event, TOPICS, Value};
use std::collections::BTreeSet;

/// Events that the school made and that should have been accepted, in order.
#[derive(Debug, Default)]
pub struct MadeBySchool(pub Vec<Event>);

impl MadeBySchool {
    fn of_topic<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Event> {
        self.0.iter().filter(move |event| event.topic() == topic)
    }
}

impl MadeEvents for MadeBySchool {
    fn topics(&self) -> BTreeSet<String> {
        // A topic that a small school has nothing to say in is still its own, and not one that queries fill.
        TOPICS.into_iter().map(str::to_owned).collect()
    }

    fn column(&self, topic: &str, name: &str) -> Vec<Made> {
        self.of_topic(topic)
            .map(|event| match event.field(name) {
                Value::Null => Made::Null,
                Value::Int(value) => Made::Int(value),
                Value::Text(text) => Made::Text(text),
                Value::Time(time) => Made::Time(time),
            })
            .collect()
    }

    fn count(&self, topic: &str) -> usize {
        self.of_topic(topic).count()
    }
}
