//! Tables and views as DataFusion's planner sees them: a schema, and marks on the columns that are event time or the number of a commit.

use arrow::datatypes::{Field, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;

const EVENT_TIME: &str = "chalk.event_time";
const COMMIT_SEQ: &str = "chalk.commit_seq";

/// The field, marked as event time. The mark follows the column through projections.
pub(crate) fn event_time_field(field: &Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(EVENT_TIME.to_owned(), "true".to_owned());
    field.clone().with_metadata(metadata)
}

pub(crate) fn is_event_time(field: &Field) -> bool {
    field.metadata().contains_key(EVENT_TIME)
}

/// The field, marked as the number of a row's commit.
pub(crate) fn commit_seq_field(field: &Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(COMMIT_SEQ.to_owned(), "true".to_owned());
    field.clone().with_metadata(metadata)
}

pub(crate) fn is_commit_seq(field: &Field) -> bool {
    field.metadata().contains_key(COMMIT_SEQ)
}

/// A relation that can be planned, not scanned: the runtime scans it.
#[derive(Debug)]
pub(crate) struct Relation {
    schema: SchemaRef,
}

impl Relation {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

#[async_trait]
impl TableProvider for Relation {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan_err!("a relation of a pipeline is read by the runtime")
    }
}
