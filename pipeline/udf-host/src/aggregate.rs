//! Aggregates of libraries: a group's values are kept until its result is asked for.

use crate::loaded::Called;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature};
use std::sync::Arc;

/// The aggregate that DataFusion calls.
pub(crate) fn aggregate(called: Called) -> AggregateUDF {
    AggregateUDF::from(Aggregate(Arc::new(called)))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Aggregate(Arc<Called>);

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        &self.0.identity.name
    }

    fn signature(&self) -> &Signature {
        &self.0.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.0.declaration.returns.value_type.arrow())
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let values = self.0.declaration.arguments.iter().map(|_| Vec::new()).collect();
        Ok(Box::new(Group { called: Arc::clone(&self.0), values }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let arguments = self.0.declaration.arguments.iter().enumerate();
        let fields = arguments.map(|(index, argument)| {
            let list = DataType::new_list(argument.value.value_type.arrow(), true);
            Arc::new(Field::new(format!("{}[{index}]", args.name), list, true))
        });
        Ok(fields.collect())
    }
}

/// One group's values, by argument, in the batches that they came in.
#[derive(Debug)]
struct Group {
    called: Arc<Called>,
    values: Vec<Vec<ArrayRef>>,
}

impl Group {
    /// Its values, a column for each argument.
    fn columns(&self) -> Result<Vec<ArrayRef>> {
        let arguments = self.values.iter().zip(&self.called.declaration.arguments);
        let columns = arguments.map(|(batches, argument)| {
            let batches: Vec<&dyn Array> = batches.iter().map(AsRef::as_ref).collect();
            if batches.is_empty() {
                return Ok(new_empty_array(&argument.value.value_type.arrow()));
            }
            Ok(concat(&batches)?)
        });
        columns.collect()
    }

    /// One row, in which each column is a list.
    fn lists(columns: Vec<ArrayRef>) -> Result<Vec<ArrayRef>> {
        let lists = columns.into_iter().map(|column| {
            let element = Arc::new(Field::new_list_field(column.data_type().clone(), true));
            let offsets = OffsetBuffer::from_lengths([column.len()]);
            Ok(Arc::new(ListArray::try_new(element, offsets, column, None)?) as ArrayRef)
        });
        lists.collect()
    }
}

impl Accumulator for Group {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for (kept, values) in self.values.iter_mut().zip(values) {
            kept.push(ArrayRef::clone(values));
        }
        Ok(())
    }

    /// Values are given to the function in their own order, so that the same rows give the same result however they came.
    fn evaluate(&mut self) -> Result<ScalarValue> {
        let columns = in_order(&self.columns()?)?;
        let result = self.called.call(&Self::lists(columns)?)?;
        ScalarValue::try_from_array(&result, 0)
    }

    fn size(&self) -> usize {
        let values = self.values.iter().flatten().map(|values| values.get_array_memory_size()).sum::<usize>();
        size_of_val(self) + values
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let lists = Self::lists(self.columns()?)?;
        Ok(lists.iter().map(|list| ScalarValue::List(Arc::new(list.as_list::<i32>().clone()))).collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for (kept, states) in self.values.iter_mut().zip(states) {
            kept.extend(states.as_list::<i32>().iter().flatten());
        }
        Ok(())
    }
}

fn in_order(columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(columns)?;
    let mut order: Vec<u32> = (0..u32::try_from(rows.num_rows()).unwrap_or(u32::MAX)).collect();
    order.sort_unstable_by_key(|&row| rows.row(row as usize));
    let order = UInt32Array::from(order);
    columns.iter().map(|column| Ok(take(column, &order, None)?)).collect()
}
