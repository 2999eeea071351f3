//! Topics and progress, as the control events made them that are durable.

use super::body;
use crate::contract::LogError;
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, UInt64Array, new_null_array};
use arrow::datatypes::{DataType, SchemaRef};
use chalk_catalog::{ControlEvent, Journal, SystemTopic, TopicId, Topics};
use std::sync::{Arc, LazyLock};

/// The columns of system topics that hold control events.
static COLUMNS: LazyLock<SchemaRef> = LazyLock::new(|| Arc::clone(SystemTopic::Journal.definition().schema.arrow()));

/// What control events come to.
#[derive(Clone, Debug, Default)]
pub(super) struct Control {
    /// Those that made the topics, in order.
    pub(super) catalog: Vec<ControlEvent>,
    pub(super) topics: Arc<Topics>,
    pub(super) journal: Journal,
}

impl Control {
    pub(super) fn apply(&mut self, event: ControlEvent) -> Result<(), LogError> {
        match event.topic() {
            SystemTopic::Catalog => {
                let applied = Arc::make_mut(&mut self.topics).apply(&event);
                applied.map_err(|error| LogError::Schema(error.to_string()))?;
                self.catalog.push(event);
            }
            _ => self.journal.apply(&event),
        }
        Ok(())
    }

    /// As a body.
    pub(super) fn encode(&self) -> Result<Vec<u8>, LogError> {
        let events: Vec<ControlEvent> = self.catalog.iter().cloned().chain(self.journal.events()).collect();
        body::encode(&rows_of(&events)?)
    }

    /// Applies the events of a body.
    pub(super) fn apply_body(&mut self, body: &[u8]) -> Result<(), LogError> {
        events_of(&body::decode(body, &COLUMNS)?)?.into_iter().try_for_each(|event| self.apply(event))
    }
}

/// Whether a topic holds control events.
pub(super) fn is_control(topic: TopicId) -> bool {
    [SystemTopic::Catalog, SystemTopic::Journal].iter().any(|system| system.id() == topic)
}

/// Rows of a system topic that hold control events.
pub(super) fn rows_of(events: &[ControlEvent]) -> Result<RecordBatch, LogError> {
    let fail = |message: String| LogError::Batch { operation: "encode", message };
    let json = events.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(json.map_err(|error| fail(error.to_string()))?)),
        new_null_array(&DataType::Utf8, events.len()),
        Arc::new(UInt64Array::from(vec![0; events.len()])),
    ];
    RecordBatch::try_new(Arc::clone(&COLUMNS), columns).map_err(|error| fail(error.to_string()))
}

/// The control events in rows of a system topic.
pub(super) fn events_of(rows: &RecordBatch) -> Result<Vec<ControlEvent>, LogError> {
    let column = rows.columns().first().and_then(|column| column.as_any().downcast_ref::<StringArray>());
    let read = |json: &str| {
        serde_json::from_str(json)
            .map_err(|error| LogError::Schema(format!("a control event of a newer build? {error}: {json}")))
    };
    column.into_iter().flatten().flatten().map(read).collect()
}
