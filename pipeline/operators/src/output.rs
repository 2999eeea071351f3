//! What an operator gives: its schema, and the name under which it fails.

use crate::{OperatorError, Step};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use chalk_event::{ChangeBatch, consolidate};
use chalk_graph::Node;
use datafusion::error::DataFusionError;
use std::sync::Arc;

/// The output side of an operator.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    node: String,
    schema: SchemaRef,
}

impl Output {
    /// The output of a node.
    pub(crate) fn of(node: &Node) -> Self {
        Self { node: node.name.clone(), schema: Arc::clone(&node.schema) }
    }

    /// Arrow's error in this node.
    pub(crate) fn arrow(&self, source: ArrowError) -> OperatorError {
        OperatorError::Arrow { node: self.node.clone(), source }
    }

    /// DataFusion's error in this node.
    pub(crate) fn expression(&self, error: &DataFusionError) -> OperatorError {
        OperatorError::Expression { node: self.node.clone(), message: error.strip_backtrace() }
    }

    /// A mistake of whoever planned or calls this node.
    pub(crate) fn misuse(&self, message: String) -> OperatorError {
        OperatorError::Misuse { node: self.node.clone(), message }
    }

    /// The batch of an input port.
    pub(crate) fn port<'a>(&self, inputs: &'a [ChangeBatch], port: usize) -> Result<&'a ChangeBatch, OperatorError> {
        inputs
            .get(port)
            .ok_or_else(|| self.misuse(format!("a step needs one batch per input, there is none for input {port}")))
    }

    /// Rows of the schema; columns of slightly different types are cast to the schema's.
    pub(crate) fn rows(&self, columns: Vec<ArrayRef>, count: usize) -> Result<RecordBatch, OperatorError> {
        let columns =
            columns
                .into_iter()
                .zip(self.schema.fields())
                .map(|(column, field)| {
                    if column.data_type() == field.data_type() { Ok(column) } else { cast(&column, field.data_type()) }
                })
                .collect::<Result<Vec<_>, _>>();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        columns
            .and_then(|columns| RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options))
            .map_err(|error| self.arrow(error))
    }

    /// One row of the first columns of the schema.
    pub(crate) fn first_columns(&self, columns: Vec<ArrayRef>) -> Result<RecordBatch, OperatorError> {
        let fields = self.schema.fields().iter().zip(&columns);
        let fields: Vec<Field> =
            fields.map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
            .map_err(|error| self.arrow(error))
    }

    /// Changes of the schema.
    pub(crate) fn changes(&self, columns: Vec<ArrayRef>, weights: Vec<i64>) -> Result<ChangeBatch, OperatorError> {
        let rows = self.rows(columns, weights.len())?;
        Ok(if weights.iter().all(|&weight| weight == 1) {
            ChangeBatch::inserts(rows)
        } else {
            ChangeBatch::weighted(rows, weights)
        })
    }

    /// The same changes with equal rows added up.
    pub(crate) fn consolidated(&self, changes: ChangeBatch) -> Result<ChangeBatch, OperatorError> {
        if self.schema.fields().is_empty() {
            return Ok(changes);
        }
        consolidate(&changes).map_err(|error| self.arrow(error))
    }

    /// Several batches of changes as one.
    pub(crate) fn concat(&self, batches: &[ChangeBatch]) -> Result<ChangeBatch, OperatorError> {
        ChangeBatch::concat(&self.schema, batches).map_err(|error| self.arrow(error))
    }

    /// No changes.
    pub(crate) fn nothing(&self) -> ChangeBatch {
        ChangeBatch::empty(Arc::clone(&self.schema))
    }
}

/// A step without late rows.
pub(crate) fn on_time(changes: ChangeBatch) -> Step {
    Step { changes, late: Vec::new(), refused: Vec::new(), refused_groups: Vec::new() }
}
