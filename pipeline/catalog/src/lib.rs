//! What is known by name: topics, their schemas, and the functions that SQL can call.
//!
//! Avro schemas (`.avsc`) are the truth about events. A topic's file is a record, or a union of the records that the topic
//! can hold; the fields of `envelope.avsc` come first in each of them. Every topic has one flat table of columns: all fields
//! of all its records, nullable where not every record has them. Nested fields are validated against their Avro
//! type and stored as JSON text.
//!
//! Everything that changes at run time is a control event in the log, so that the catalogue is rebuilt from the log like any
//! other state. This crate must not know the runtime or serving.

mod avro;
mod control;
mod evolution;
mod function;
mod journal;
mod schema;
mod topic;

pub use avro::{AvroField, AvroType, EpochUnit};
pub use control::ControlEvent;
pub use evolution::{Evolution, SchemaBreak};
pub use function::FunctionIdentity;
pub use journal::{
    ChangelogPlace, CommittedEpoch, CommittedSink, EpochViews, FunctionHistory, Journal, SourcePosition, ViewRecord,
};
pub use schema::{Column, ColumnType, RecordField, RecordSchema, Reference, SchemaError, TopicSchema};
pub use topic::{SYSTEM_TOPICS, SchemaId, SystemTopic, TopicDef, TopicId, Topics};
