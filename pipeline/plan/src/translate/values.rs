//! `VALUES`: rows that are there from the beginning.

use super::{Planned, Query};
use crate::error::Mistake;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StructArray, new_empty_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, Schema};
use chalk_graph::{self as graph, NodeId, NodeKind};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Values, col};
use datafusion::physical_expr::expressions::lit;
use std::sync::Arc;

/// The column with all rows, and then with each.
const ROWS: &str = "_rows";

impl Query<'_> {
    /// One row without columns: what an aggregate without keys has of no rows.
    pub(super) fn one_row(&mut self) -> NodeId {
        let schema = Arc::new(Schema::empty());
        let nothing = self.add(NodeKind::Union, Vec::new(), Arc::clone(&schema), true);
        let (keys, calls) = (Vec::new(), Vec::new());
        let kind =
            NodeKind::Aggregate(graph::Aggregate { keys, calls, close: None, append_only_input: true, ttl: None });
        self.add(kind, vec![nothing], schema, true)
    }

    /// The rows of VALUES: a constant list of them, unnested.
    pub(super) fn values(&mut self, values: &Values) -> Planned {
        let schema = Arc::clone(values.schema.inner());
        let columns = self.constants(values)?;
        let rows = StructArray::try_new(schema.fields().clone(), columns, None)
            .map_err(|error| Mistake::new(format!("VALUES: {error}")))?;
        let row = rows.fields().clone();
        let rows = SingleRowListArrayBuilder::new(Arc::new(rows)).build_list_array();
        let list = ScalarValue::List(Arc::new(rows));
        let of_type = |data_type| Arc::new(Schema::new(vec![Field::new(ROWS, data_type, true)]));
        let (listed, each) = (of_type(list.data_type()), of_type(DataType::Struct(row)));
        let one = self.one_row();
        let listed = self.add(NodeKind::Project(vec![lit(list)]), vec![one], listed, true);
        let unnest = NodeKind::Unnest(graph::Unnest { output: vec![0], lists: vec![0] });
        let each_row = self.add(unnest, vec![listed], Arc::clone(&each), true);
        let over = DFSchema::try_from(each)?;
        let field = |field: &Arc<Field>| self.physical(&get_field(col(ROWS), field.name().as_str()), &over);
        let fields = schema.fields().iter().map(field).collect::<Result<_, _>>()?;
        Ok(self.add(NodeKind::Project(fields), vec![each_row], schema, true))
    }

    /// The columns of constant rows.
    fn constants(&self, values: &Values) -> Result<Vec<ArrayRef>, Mistake> {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let one = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
            .map_err(|error| Mistake::new(error.to_string()))?;
        let empty = DFSchema::empty();
        let mut columns = Vec::new();
        for (index, field) in values.schema.fields().iter().enumerate() {
            let mut cells = vec![new_empty_array(field.data_type())];
            for row in &values.values {
                let cell = row.get(index).ok_or_else(|| Mistake::new("VALUES: a row is shorter than the first"))?;
                let cell = self.physical(cell, &empty)?.evaluate(&one)?.into_array(1)?;
                cells.push(cast(&cell, field.data_type()).map_err(|error| Mistake::new(format!("VALUES: {error}")))?);
            }
            let cells: Vec<&dyn arrow::array::Array> = cells.iter().map(AsRef::as_ref).collect();
            columns.push(concat(&cells).map_err(|error| Mistake::new(format!("VALUES: {error}")))?);
        }
        Ok(columns)
    }
}
