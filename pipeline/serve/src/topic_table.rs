//! A topic as a table: its events as they are stored, and where each of them stands.

use crate::queries::bytes_of;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use async_trait::async_trait;
use chalk_catalog::{ColumnType, TopicDef, TopicId, TopicSchema};
use chalk_event::{CommitSeq, Offset, PartitionId, Provenance};
use chalk_log::{EventLog, Frame};

use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream::try_unfold;
use std::fmt;
use std::sync::Arc;

/// About how many bytes of a partition are read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// The columns after the stored ones.
const PROVENANCE: [Provenance; 3] = [Provenance::Partition, Provenance::Offset, Provenance::CommitSeq];

/// The key of Arrow's canonical extension types in a field's metadata, and the one that says that text is JSON.
pub(crate) const JSON_TEXT: (&str, &str) = ("ARROW:extension:name", "arrow.json");

/// A topic up to a commit.
pub(crate) struct TopicTable {
    topic: TopicId,
    partitions: u16,
    schema: SchemaRef,
    log: Arc<dyn EventLog>,
    upto: CommitSeq,
}

impl fmt::Debug for TopicTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {} up to commit {}", self.topic.0, self.upto)
    }
}

impl TopicTable {
    pub(crate) fn new(topic: &TopicDef, log: &Arc<dyn EventLog>, upto: CommitSeq) -> Self {
        let schema = Arc::new(Schema::new(fields(&topic.schema)));
        Self { topic: topic.id, partitions: topic.partitions, schema, log: Arc::clone(log), upto }
    }
}

fn fields(schema: &TopicSchema) -> Vec<FieldRef> {
    let json_text = |field: &Field| {
        let column = schema.column_index(field.name()).map(|index| &schema.columns[index].column_type);
        field.name() == TopicSchema::REST || matches!(column, Some(ColumnType::Json(_)))
    };
    let mark = |field: &Field| {
        let (key, value) = JSON_TEXT;
        field.clone().with_metadata([(key.to_owned(), value.to_owned())].into())
    };
    let stored = schema.arrow().fields().iter().filter(|field| field.name() != TopicSchema::CONTENT);
    let stored = stored.map(|field| if json_text(field) { Arc::new(mark(field)) } else { Arc::clone(field) });
    stored.chain(PROVENANCE.into_iter().map(|kind| Arc::new(kind.field()))).collect()
}

#[async_trait]
impl TableProvider for TopicTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let lane = |partition| Lane {
            topic: self.topic,
            partition: PartitionId(partition),
            schema: Arc::clone(&schema),
            log: Arc::clone(&self.log),
            upto: self.upto,
        };
        let lanes =
            (0..self.partitions).map(|partition| Arc::new(lane(partition)) as Arc<dyn PartitionStream>).collect();
        Ok(Arc::new(StreamingTableExec::try_new(schema, lanes, None, [], false, limit)?))
    }
}

/// A partition up to a commit, with the columns that a query needs.
#[derive(Clone)]
struct Lane {
    topic: TopicId,
    partition: PartitionId,
    schema: SchemaRef,
    log: Arc<dyn EventLog>,
    upto: CommitSeq,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} of topic {}", self.partition, self.topic.0)
    }
}

impl PartitionStream for Lane {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let lane = Arc::new(self.clone());
        let held = MemoryConsumer::new("chunk of a topic").register(context.memory_pool());
        // `None` is where what is kept begins.
        let chunks = try_unfold((None, held), move |(from, held)| {
            let lane = Arc::clone(&lane);
            // Reading waits for the disk: not on a thread that runs async tasks.
            let chunk = tokio::task::spawn_blocking(move || lane.chunk(from));
            async move {
                let chunk = chunk.await.map_err(|error| DataFusionError::External(error.into()))??;
                let Some((rows, next)) = chunk else { return Ok(None) };
                held.try_resize(bytes_of(&rows))?;
                Ok(Some((rows, (Some(next), held))))
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), chunks))
    }
}

impl Lane {
    /// The rows from an offset on, or from the first that is kept, and the offset after them; `None` at the end.
    fn chunk(&self, from: Option<Offset>) -> Result<Option<(RecordBatch, Offset)>> {
        let first = || self.log.first(self.topic, self.partition);
        let from = from.map_or_else(first, Ok).map_err(|error| DataFusionError::External(error.into()))?;
        let frames = self.log.read_partition(self.topic, self.partition, from, CHUNK_BYTES);
        let frames = frames.map_err(|error| DataFusionError::External(error.into()))?;
        let (mut next, mut batches) = (from, Vec::with_capacity(frames.len()));
        for (commit, frame) in frames.iter().take_while(|(commit, _)| *commit <= self.upto) {
            let begun = next.0.saturating_sub(frame.base_offset.0) as usize;
            if begun < frame.rows.num_rows() {
                batches.push(self.rows(*commit, frame)?.slice(begun, frame.rows.num_rows() - begun));
            }
            next = next.max(Offset(frame.base_offset.0 + frame.rows.num_rows() as u64));
        }
        if next == from {
            return Ok(None);
        }
        Ok(Some((concat_batches(&self.schema, &batches)?, next)))
    }

    fn rows(&self, commit: CommitSeq, frame: &Frame) -> Result<RecordBatch, ArrowError> {
        let count = frame.rows.num_rows();
        let integer = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let column = |field: &FieldRef| -> ArrayRef {
            match PROVENANCE.into_iter().find(|kind| kind.column() == field.name()) {
                Some(Provenance::Partition) => Arc::new(Int64Array::from(vec![i64::from(frame.partition.0); count])),
                Some(Provenance::Offset) => {
                    let offsets = (0..count as u64).map(|row| integer(frame.base_offset.0 + row));
                    Arc::new(Int64Array::from_iter_values(offsets))
                }
                Some(_) => Arc::new(Int64Array::from(vec![integer(commit.0); count])),
                // The topic's schema may have grown since the query began; it never loses a column.
                None => frame
                    .rows
                    .column_by_name(field.name())
                    .map_or_else(|| new_null_array(field.data_type(), count), Arc::clone),
            }
        };
        let columns = self.schema.fields().iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }
}
