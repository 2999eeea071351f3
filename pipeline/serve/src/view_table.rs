//! A view as a table.
//!
//! A view's rows are ordered by its columns from left to right, so `=` on the first columns is a range of them:
//!
//! ```text
//! view (shop, day, total)     WHERE shop = 'a' AND day = 2     range of (a, 2)
//!                             WHERE shop = 'a' AND total > 5   range of (a), then filtered
//!                             WHERE day = 2                    all rows, then filtered
//! ```
//!
//! Rows are decoded a batch at a time, as they are asked for.

use crate::queries::is_indexed;
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use chalk_view::{Cursor, ViewRows};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ScalarValue, Statistics};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::stream::try_unfold;
use std::fmt;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// Rows in a batch.
const BATCH_ROWS: usize = 8192;

/// A view as of one snapshot.
pub(crate) struct ViewTable(ViewRows);

impl fmt::Debug for ViewTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "view {}", self.0.name())
    }
}

impl ViewTable {
    pub(crate) fn new(rows: ViewRows) -> Self {
        Self(rows)
    }

    /// The values that `filters` ask for in the first columns, as far as these follow one another.
    fn prefix(&self, filters: &[&Expr]) -> Vec<ScalarValue> {
        let wanted: Vec<(usize, &ScalarValue)> = filters.iter().filter_map(|filter| self.equality(filter)).collect();
        let value_of = |column| wanted.iter().find(|(wanted, _)| *wanted == column).map(|(_, value)| *value);
        (0..self.0.schema().fields().len()).map_while(value_of).cloned().collect()
    }

    /// `column = value`, either way round, where both have one type whose encoding is equal just when `=` is true.
    fn equality<'a>(&self, filter: &'a Expr) -> Option<(usize, &'a ScalarValue)> {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return None };
        let (Expr::Column(column), Expr::Literal(value, _)) = (match (left.as_ref(), right.as_ref()) {
            (value @ Expr::Literal(..), column) => (column, value),
            (column, value) => (column, value),
        }) else {
            return None;
        };
        let (index, field) = self.0.schema().column_with_name(column.name())?;
        let same = !value.is_null() && value.data_type() == *field.data_type();
        (same && is_indexed(field.data_type())).then_some((index, value))
    }
}

#[async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.0.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let prefix = self.prefix(filters);
        // Of two conditions on a column the range holds one.
        let is_range = |filter: &&Expr| {
            self.equality(filter).is_some_and(|(column, value)| prefix.get(column).is_some_and(|held| held == value))
        };
        let answer = |filter| match is_range(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let prefix = self.prefix(&filters.iter().collect::<Vec<_>>());
        let prefix = prefix.iter().map(ScalarValue::to_array).collect::<Result<Vec<ArrayRef>>>()?;
        let schema = match projection {
            Some(columns) => Arc::new(self.0.schema().project(columns)?),
            None => Arc::clone(self.0.schema()),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let (rows, projection, properties) = (self.0.clone(), projection.cloned(), Arc::new(properties));
        Ok(Arc::new(ViewScan { rows, prefix, projection, limit, properties }))
    }
}

/// Reads a range of a view.
struct ViewScan {
    rows: ViewRows,
    prefix: Vec<ArrayRef>,
    projection: Option<Vec<usize>>,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl fmt::Debug for ViewScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scan of view {}", self.rows.name())
    }
}

impl DisplayAs for ViewScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.schema().fields().iter().take(self.prefix.len());
        let columns: Vec<&str> = columns.map(|field| field.name().as_str()).collect();
        write!(f, "ViewScan: {}", self.rows.name())?;
        if !columns.is_empty() {
            write!(f, ", range of ({})", columns.join(", "))?;
        }
        self.limit.map_or(Ok(()), |limit| write!(f, ", at most {limit} rows"))
    }
}

impl ExecutionPlan for ViewScan {
    fn name(&self) -> &str {
        "ViewScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let failed = |error: chalk_view::ViewError| DataFusionError::External(error.into());
        let (rows, projection, is_on_disk) = (self.rows.clone(), self.projection.clone(), self.rows.is_on_disk());
        let cursor = rows.cursor(&self.prefix).map_err(failed)?;
        let start = (cursor, self.limit.unwrap_or(usize::MAX));
        let read = move |mut cursor: Cursor, rows_max: usize| {
            let batch = rows.read(&mut cursor, rows_max).map_err(failed)?;
            let project = |batch: arrow::array::RecordBatch| match &projection {
                Some(columns) => batch.project(columns),
                None => Ok(batch),
            };
            Ok::<_, DataFusionError>(batch.map(project).transpose()?.map(|batch| (batch, cursor)))
        };
        let read = Arc::new(read);
        let batches = try_unfold(start, move |(cursor, left)| {
            let read = Arc::clone(&read);
            async move {
                if left == 0 {
                    return Ok(None);
                }
                let read = move || read(cursor, left.min(BATCH_ROWS));
                // Who reads from disk keeps nobody else waiting.
                let next = match is_on_disk {
                    true => spawn_blocking(read).await.map_err(|error| DataFusionError::External(error.into()))?,
                    false => read(),
                };
                Ok(next?.map(|(batch, cursor)| {
                    let left = left - batch.num_rows();
                    (batch, (cursor, left))
                }))
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn partition_statistics(&self, _: Option<usize>) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if self.prefix.is_empty() {
            let rows = self.rows.len();
            statistics.num_rows = Precision::Exact(self.limit.map_or(rows, |limit| limit.min(rows)));
        }
        Ok(Arc::new(statistics))
    }
}
