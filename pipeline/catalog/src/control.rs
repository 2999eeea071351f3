//! Control events: how the catalogue and the pipelines' progress are kept in the log.

use crate::journal::EpochViews;
use crate::topic::{SchemaId, SystemTopic, TopicId};
use chalk_event::{CommitSeq, Epoch};
use serde::{Deserialize, Serialize};

/// Something that changed what is known by name, or how far a pipeline is. Stored as JSON in the system topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ControlEvent {
    /// A topic exists from here on.
    TopicCreated {
        /// Its number in frames.
        topic: TopicId,
        /// Its name.
        name: String,
        /// How many partitions it has, for ever.
        partitions: u16,
        /// Which schema its frames are written in.
        schema: SchemaId,
        /// The topic's `.avsc`.
        avsc: String,
        /// The envelope's `.avsc`.
        envelope: String,
    },
    /// A topic's frames are written in another schema from here on.
    SchemaChanged {
        /// The topic.
        topic: TopicId,
        /// The new schema's number.
        schema: SchemaId,
        /// The topic's `.avsc`.
        avsc: String,
        /// The envelope's `.avsc`.
        envelope: String,
    },
    /// A source's rows up to `position` stand in the same commit as this record or an earlier one.
    SourceRead {
        /// The source's table; of a source with partitions, `table/partition`.
        table: String,
        /// Where to go on: how many bytes of a file are read, or the next offset of a partition.
        position: u64,
        /// How many lines, or records, those are.
        lines: u64,
    },
    /// A pipeline's output for an epoch stands in the same commit as this record.
    EpochCommitted {
        /// The pipeline's name.
        pipeline: String,
        /// Which epoch.
        epoch: Epoch,
        /// The last input commit of the epoch.
        upto: CommitSeq,
        /// What views were then; `None` when that is not told: by earlier builds, and by runs whose views depend on more than the
        /// log (those that closed the windows of bounded sources at their end).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        views: Option<EpochViews>,
    },
    /// A sink outside the log has all rows that a pipeline gave it for the commits up to `upto`; or is to have them, as soon as it
    /// finds this record.
    SinkCommitted {
        /// The pipeline's name.
        pipeline: String,
        /// The name of the query that gives the rows.
        sink: String,
        /// The last epoch that the rows are of.
        epoch: Epoch,
        /// The last input commit of that epoch.
        upto: CommitSeq,
        /// What the sink needs to find its place again: at most 1 KiB.
        state: String,
    },
    /// A pipeline calls another build of a function for commits after `after`.
    FunctionSwitched {
        /// The pipeline's name.
        pipeline: String,
        /// The function's name.
        function: String,
        /// The content hash of the build before.
        from: String,
        /// The content hash of the build since.
        to: String,
        /// The last commit before it. 0 when all commits are computed again.
        after: CommitSeq,
        /// How often all commits were computed again with another build: what was switched before does not count any more.
        generation: u32,
    },
}

impl ControlEvent {
    /// The system topic that keeps it.
    #[must_use]
    pub fn topic(&self) -> SystemTopic {
        match self {
            Self::TopicCreated { .. } | Self::SchemaChanged { .. } => SystemTopic::Catalog,
            Self::EpochCommitted { .. }
            | Self::SourceRead { .. }
            | Self::SinkCommitted { .. }
            | Self::FunctionSwitched { .. } => SystemTopic::Journal,
        }
    }
}
