//! Topics by name and number, and the system's own topics.

use crate::schema::{SchemaError, TopicSchema};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

/// A topic's number in frames of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopicId(pub u32);

/// A schema's number in frames of the log. Numbers are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemaId(pub u32);

/// A topic that the system itself writes. Numbers are part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemTopic {
    /// Topics and schemas.
    Catalog,
    /// Epochs of pipelines.
    Journal,
    /// Input that could not be decoded or accepted, with its reason and position.
    DeadLetters,
    /// Rows that arrived after their window had closed.
    LateRows,
    /// Rows that a function was given up on for a reason that another run might not find.
    Verdicts,
}

/// All system topics, by number.
pub const SYSTEM_TOPICS: [SystemTopic; 5] = [
    SystemTopic::Catalog,
    SystemTopic::Journal,
    SystemTopic::DeadLetters,
    SystemTopic::LateRows,
    SystemTopic::Verdicts,
];

/// Numbers below are the system's: room for more of those.
const FIRST_USER_ID: u32 = 16;

impl SystemTopic {
    /// Its number.
    #[must_use]
    pub fn id(self) -> TopicId {
        TopicId(match self {
            Self::Catalog => 0,
            Self::Journal => 1,
            Self::DeadLetters => 2,
            Self::LateRows => 3,
            Self::Verdicts => 4,
        })
    }

    /// The number of its schema.
    #[must_use]
    pub fn schema_id(self) -> SchemaId {
        SchemaId(self.id().0)
    }

    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Catalog => "_catalog",
            Self::Journal => "_journal",
            Self::DeadLetters => "dead_letters",
            Self::LateRows => "late_rows",
            Self::Verdicts => "_verdicts",
        }
    }

    fn avsc(self) -> &'static str {
        match self {
            Self::Catalog | Self::Journal => {
                r#"{"event_type":"control","partitions":1,"fields":[{"name":"control","type":"string"}]}"#
            }
            Self::DeadLetters => {
                r#"{"event_type":"dead_letter","partitions":1,"fields":[
                    {"name":"received_at","type":{"type":"long","logicalType":"timestamp-micros"}},
                    {"name":"reason","type":"string"},
                    {"name":"message","type":"string"},
                    {"name":"source","type":"string"},
                    {"name":"line","type":"long"},
                    {"name":"position","type":["null","long"]},
                    {"name":"field","type":["null","string"]},
                    {"name":"event_type","type":["null","string"]},
                    {"name":"event_id","type":["null","string"]},
                    {"name":"raw","type":"string"}]}"#
            }
            Self::LateRows => {
                r#"{"event_type":"late_row","partitions":1,"fields":[
                    {"name":"query","type":"string"},
                    {"name":"event_time","type":{"type":"long","logicalType":"timestamp-micros"}},
                    {"name":"watermark","type":{"type":"long","logicalType":"timestamp-micros"}},
                    {"name":"window_end","type":{"type":"long","logicalType":"timestamp-micros"}},
                    {"name":"row","type":"string"}]}"#
            }
            Self::Verdicts => {
                r#"{"event_type":"verdict","partitions":1,"fields":[
                    {"name":"function","type":"string"},
                    {"name":"arguments","type":"string"},
                    {"name":"reason","type":"string"},
                    {"name":"after","type":"long"}]}"#
            }
        }
    }

    /// Its definition, known before the log is opened.
    ///
    /// # Panics
    /// Never: the schemas are constants, and a test reads each.
    #[must_use]
    pub fn definition(self) -> TopicDef {
        static KNOWN: LazyLock<[TopicDef; SYSTEM_TOPICS.len()]> =
            LazyLock::new(|| SYSTEM_TOPICS.map(SystemTopic::parsed));
        KNOWN[self.id().0 as usize].clone()
    }

    fn parsed(self) -> TopicDef {
        let schema = TopicSchema::parse(self.name(), self.avsc(), TopicSchema::NO_ENVELOPE)
            .expect("system schemas are constants that a test reads");
        TopicDef { id: self.id(), schema_id: self.schema_id(), partitions: schema.partitions, schema: Arc::new(schema) }
    }
}

/// A topic as it is now.
#[derive(Clone, Debug)]
pub struct TopicDef {
    /// Its number in frames.
    pub id: TopicId,
    /// The schema that new frames are written in.
    pub schema_id: SchemaId,
    /// How many partitions it has, for ever.
    pub partitions: u16,
    /// Its records and columns.
    pub schema: Arc<TopicSchema>,
}

impl TopicDef {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.schema.topic
    }
}

/// How the names of views' changelogs begin.
const CHANGELOG: &str = "_changes_";
/// How the names of topics of recorded results begin.
const RECORDED: &str = "_recorded_";

impl TopicDef {
    /// The name of a view's changelog; the `number`th, when the view has had other columns before.
    #[must_use]
    pub fn changelog_name(view: &str, number: u32) -> String {
        if number < 2 { format!("{CHANGELOG}{view}") } else { format!("{CHANGELOG}{view}.{number}") }
    }

    /// Whether a topic of this name is a view's changelog.
    #[must_use]
    pub fn names_changelog(name: &str) -> bool {
        name.starts_with(CHANGELOG)
    }

    /// Whether it is a view's changelog.
    #[must_use]
    pub fn is_changelog(&self) -> bool {
        Self::names_changelog(self.name())
    }

    /// Whether pipelines keep it for themselves: a view's changelog, or the recorded results of a stage.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.is_changelog() || self.name().starts_with(RECORDED) || self.id == SystemTopic::Verdicts.id()
    }
}

/// All topics of a log, by number and name; and every schema that frames were ever written in.
#[derive(Clone, Debug)]
pub struct Topics {
    topics: BTreeMap<TopicId, TopicDef>,
    schemas: HashMap<SchemaId, Arc<TopicSchema>>,
}

impl Default for Topics {
    /// The system's own topics.
    fn default() -> Self {
        let mut topics = Self { topics: BTreeMap::new(), schemas: HashMap::new() };
        for system in SYSTEM_TOPICS {
            topics.insert(system.definition());
        }
        topics
    }
}

impl Topics {
    /// Applies a control event that concerns topics; others are ignored.
    ///
    /// # Errors
    /// When the event's schema cannot be read.
    pub fn apply(&mut self, event: &crate::ControlEvent) -> Result<(), SchemaError> {
        match event {
            crate::ControlEvent::TopicCreated { topic, name, partitions, schema, avsc, envelope } => {
                let parsed = Arc::new(TopicSchema::parse(name, avsc, envelope)?);
                self.insert(TopicDef { id: *topic, schema_id: *schema, partitions: *partitions, schema: parsed });
            }
            crate::ControlEvent::SchemaChanged { topic, schema, avsc, envelope } => {
                if let Some(known) = self.topics.get(topic) {
                    let parsed = Arc::new(TopicSchema::parse(known.name(), avsc, envelope)?);
                    self.insert(TopicDef { schema_id: *schema, schema: parsed, ..known.clone() });
                }
            }
            crate::ControlEvent::EpochCommitted { .. }
            | crate::ControlEvent::SourceRead { .. }
            | crate::ControlEvent::SinkCommitted { .. }
            | crate::ControlEvent::FunctionSwitched { .. } => {}
        }
        Ok(())
    }

    fn insert(&mut self, topic: TopicDef) {
        self.schemas.insert(topic.schema_id, Arc::clone(&topic.schema));
        self.topics.insert(topic.id, topic);
    }

    /// The topic of a name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&TopicDef> {
        self.topics.values().find(|topic| topic.name() == name)
    }

    /// The topic of a number.
    #[must_use]
    pub fn by_id(&self, id: TopicId) -> Option<&TopicDef> {
        self.topics.get(&id)
    }

    /// The schema of a number.
    #[must_use]
    pub fn schema(&self, id: SchemaId) -> Option<&Arc<TopicSchema>> {
        self.schemas.get(&id)
    }

    /// All topics, by number.
    pub fn iter(&self) -> impl Iterator<Item = &TopicDef> {
        self.topics.values()
    }

    /// The topics that are not the system's own, by number.
    pub fn user(&self) -> impl Iterator<Item = &TopicDef> {
        self.topics.values().filter(|topic| topic.id.0 >= FIRST_USER_ID && !topic.is_own())
    }

    /// Numbers for the next topic and schema.
    #[must_use]
    pub fn next_ids(&self) -> (TopicId, SchemaId) {
        let topic = self.topics.keys().map(|id| id.0).max().map_or(0, |id| id + 1);
        let schema = self.schemas.keys().map(|id| id.0).max().map_or(0, |id| id + 1);

        (TopicId(topic.max(FIRST_USER_ID)), SchemaId(schema.max(FIRST_USER_ID)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_topics_can_be_read_and_keep_their_numbers() {
        let topics = Topics::default();
        let numbered: Vec<(u32, &str)> = topics.iter().map(|topic| (topic.id.0, topic.name())).collect();
        let expected = [(0, "_catalog"), (1, "_journal"), (2, "dead_letters"), (3, "late_rows"), (4, "_verdicts")];
        assert_eq!(numbered, expected);
        assert_eq!(topics.next_ids(), (TopicId(16), SchemaId(16)));
    }
}
