//! What the door must know of each topic, worked out once for all events.

use crate::identity::Envelope;
use chalk_catalog::{RecordSchema, Reference, TopicDef, TopicId, Topics};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What the door must know of all topics.
#[derive(Debug)]
pub(crate) struct Rules {
    topics: Arc<Topics>,
    by_topic: BTreeMap<TopicId, TopicRules>,
    /// Topic and number of the record, by event type.
    by_event_type: HashMap<String, (TopicId, usize)>,
}

/// What the door must know of one topic.
#[derive(Debug)]
pub(crate) struct TopicRules {
    pub(crate) topic: TopicDef,
    pub(crate) envelope: Envelope,
    /// The columns that the door fills in when they are absent.
    pub(crate) computed: Vec<usize>,
    /// Of each record: the fields whose values must be known.
    pub(crate) references: Vec<Vec<MustBeKnown>>,
    /// The columns that others point at.
    pub(crate) pointed_at: Vec<PointedAt>,
}

/// A field whose value must be known.
#[derive(Debug)]
pub(crate) struct MustBeKnown {
    pub(crate) column: usize,
    pub(crate) reference: Reference,
    /// What its values are kept under; `None` while there is no such column.
    pub(crate) kept_under: Option<KeptUnder>,
}

/// A column that others point at.
#[derive(Debug)]
pub(crate) struct PointedAt {
    pub(crate) column: usize,
    pub(crate) kept_under: KeptUnder,
}

/// A column that others point at, as its values are kept under it: by its topic's number and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct KeptUnder {
    pub(crate) topic: TopicId,
    pub(crate) column: String,
}

impl KeptUnder {
    fn of(reference: &Reference, topics: &Topics) -> Option<Self> {
        let topic = topics.by_name(&reference.topic)?;
        topic.schema.column_index(&reference.column)?;
        Some(Self { topic: topic.id, column: reference.column.clone() })
    }
}

impl Rules {
    pub(crate) fn of(topics: Arc<Topics>) -> Self {
        let pointed_at = references(&topics);
        let (mut by_topic, mut by_event_type) = (BTreeMap::new(), HashMap::new());
        for topic in topics.user() {
            let envelope = Envelope::of(&topic.schema);
            for (number, record) in topic.schema.records.iter().enumerate().filter(|_| envelope.event_type.is_some()) {
                by_event_type.entry(record.event_type.clone()).or_insert((topic.id, number));
            }
            let must_be_known = |record: &RecordSchema| {
                let fields = record.fields.iter().filter_map(|field| Some((field.column, field.references.clone()?)));
                let known = fields.map(|(column, reference)| {
                    let kept_under = KeptUnder::of(&reference, &topics);
                    MustBeKnown { column, reference, kept_under }
                });
                known.collect()
            };
            let of_this = pointed_at.iter().filter(|(reference, _)| reference.topic == topic.name());
            let pointed_at = of_this.filter_map(|(reference, kept_under)| {
                let column = topic.schema.column_index(&reference.column)?;
                Some(PointedAt { column, kept_under: kept_under.clone() })
            });
            let rules = TopicRules {
                topic: topic.clone(),
                envelope,
                computed: envelope.computed(),
                references: topic.schema.records.iter().map(must_be_known).collect(),
                pointed_at: pointed_at.collect(),
            };
            by_topic.insert(topic.id, rules);
        }
        Self { topics, by_topic, by_event_type }
    }

    /// Whether these are the rules of just these topics.
    pub(crate) fn are_of(&self, topics: &Arc<Topics>) -> bool {
        Arc::ptr_eq(&self.topics, topics)
    }

    pub(crate) fn topic(&self, topic: TopicId) -> Option<&TopicRules> {
        self.by_topic.get(&topic)
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = &TopicRules> {
        self.by_topic.values()
    }

    /// The topic and record of an event type.
    pub(crate) fn record(&self, event_type: &str) -> Option<(&TopicRules, usize)> {
        let (topic, record) = self.by_event_type.get(event_type)?;
        Some((self.by_topic.get(topic)?, *record))
    }

    /// The event types of topics with an envelope, in order of topics.
    pub(crate) fn event_types(&self) -> impl Iterator<Item = &str> {
        let with_types = self.topics().filter(|rules| rules.envelope.event_type.is_some());
        with_types.flat_map(|rules| &rules.topic.schema.records).map(|record| record.event_type.as_str())
    }

    /// All columns that others point at.
    pub(crate) fn pointed_at(&self) -> BTreeSet<KeptUnder> {
        self.topics().flat_map(|rules| &rules.pointed_at).map(|pointed_at| pointed_at.kept_under.clone()).collect()
    }
}

/// What fields of any topic point at, as far as it is there; each once.
fn references(topics: &Topics) -> Vec<(Reference, KeptUnder)> {
    let records = topics.user().flat_map(|topic| &topic.schema.records);
    let all = records.flat_map(|record| &record.fields).filter_map(|field| field.references.as_ref());
    let mut found: Vec<(Reference, KeptUnder)> = Vec::new();
    for reference in all {
        if let Some(kept_under) = KeptUnder::of(reference, topics)
            && !found.iter().any(|(known, _)| known == reference)
        {
            found.push((reference.clone(), kept_under));
        }
    }
    found
}
