//! A view as a table.
//!
//! A view's rows are ordered by its columns from left to right, so `=` on the first columns is a range of them:
//!
//! ```text
//! view (shop, day, total)     WHERE shop = 'a' AND day = 2     range of (a, 2)
//!                             WHERE shop = 'a' AND total > 5   range of (a), then filtered
//!                             WHERE day = 2                    all rows, then filtered
//! ```

use crate::queries::bytes_of;
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use chalk_view::ViewRows;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;

/// Rows in a batch.
const BATCH_ROWS: usize = 8192;

/// A view as of one snapshot.
#[derive(Debug)]
pub(crate) struct ViewTable {
    rows: ViewRows,
    held: Arc<MemoryReservation>,
}

impl ViewTable {
    pub(crate) fn new(rows: ViewRows, held: Arc<MemoryReservation>) -> Self {
        Self { rows, held }
    }

    /// The values that `filters` ask for in the first columns, as far as these follow one another.
    fn prefix(&self, filters: &[&Expr]) -> Vec<ScalarValue> {
        let wanted: Vec<(usize, &ScalarValue)> = filters.iter().filter_map(|filter| self.equality(filter)).collect();
        let value_of = |column| wanted.iter().find(|(wanted, _)| *wanted == column).map(|(_, value)| *value);
        (0..self.rows.schema().fields().len()).map_while(value_of).cloned().collect()
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
        let (index, field) = self.rows.schema().column_with_name(column.name())?;
        let indexed = match field.data_type() {
            DataType::Boolean | DataType::Utf8 | DataType::Date32 | DataType::Timestamp(..) => true,
            data_type => data_type.is_integer(),
        };
        (indexed && !value.is_null() && value.data_type() == *field.data_type()).then_some((index, value))
    }
}

#[async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.rows.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let first = self.prefix(filters).len();
        let is_used = |filter: &&Expr| self.equality(filter).is_some_and(|(column, _)| column < first);
        let answer = |filter| match is_used(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let prefix = self.prefix(&filters.iter().collect::<Vec<_>>());
        let prefix = prefix.iter().map(ScalarValue::to_array).collect::<Result<Vec<ArrayRef>>>()?;
        let rows = self.rows.clone();
        let decode = move || match prefix.is_empty() {
            true => rows.batches(BATCH_ROWS),
            false => rows.with_prefix(&prefix, BATCH_ROWS),
        };
        let decoded = tokio::task::spawn_blocking(decode).await;
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| DataFusionError::External(error);
        let batches = decoded.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.into()))?;
        self.held.try_grow(batches.iter().map(bytes_of).sum())?;
        Ok(MemorySourceConfig::try_new_exec(&[batches], self.schema(), projection.cloned())?)
    }
}
