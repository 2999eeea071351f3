//! A view's columns as columns of its changelog, and back.
//!
//! | the view's type | the topic's |
//! |---|---|
//! | what topics can have | the same |
//! | narrower integers | `BIGINT` |
//! | unsigned 64 bits | `BIGINT` of the same bits |
//! | others | `TEXT`: Arrow's row encoding of the value, in hexadecimal digits |
//!
//! The types are in the topic's schema, each as `"arrow"` of its field.

use crate::stored::{loaded_column, stored_column, stored_field};
use arrow::array::{AsArray, Int64Array, RecordBatch, UInt64Array, new_null_array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use chalk_event::{ChangeBatch, Epoch};
use serde_json::{Value, json};
use std::sync::Arc;

/// How a view's rows are stored.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The view's columns.
    view: SchemaRef,
    /// The topic's `.avsc`.
    pub(super) avsc: String,
}

/// Columns behind the view's.
const EXTRA: [&str; 2] = ["_epoch", "_weight"];

impl Layout {
    /// Of a view; `None` when a column's type has no name that can be read back, or a column's name is taken.
    pub(super) fn of(view: &SchemaRef) -> Option<Self> {
        let mut fields = Vec::new();
        for field in view.fields() {
            if EXTRA.contains(&field.name().as_str()) {
                return None;
            }
            fields.push(stored_field(field, field.is_nullable())?);
        }
        fields.extend(EXTRA.map(|name| json!({ "name": name, "type": "long" })));
        let avsc = json!({ "type": "record", "event_type": "change", "partitions": 2, "fields": fields }).to_string();
        Some(Self { view: Arc::clone(view), avsc })
    }

    /// Of a topic's `.avsc`.
    pub(super) fn read(avsc: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(avsc).ok()?;
        let mut fields = Vec::new();
        for field in json["fields"].as_array()? {
            let Some(data_type) = field["arrow"].as_str() else { continue };
            fields.push(Field::new(
                field["name"].as_str()?,
                data_type.parse::<DataType>().ok()?,
                field["nullable"].as_bool()?,
            ));
        }
        Some(Self { view: Arc::new(Schema::new(fields)), avsc: avsc.to_owned() })
    }

    pub(super) fn view(&self) -> &SchemaRef {
        &self.view
    }

    /// Changes as rows of the topic.
    pub(super) fn store(
        &self,
        changes: &ChangeBatch,
        epoch: Epoch,
        stored: &SchemaRef,
    ) -> Result<RecordBatch, ArrowError> {
        let rows = changes.len();
        let mut columns = changes.rows().columns().iter().map(stored_column).collect::<Result<Vec<_>, _>>()?;
        let epoch = i64::try_from(epoch.0).unwrap_or(i64::MAX);
        columns.push(Arc::new(Int64Array::from(vec![epoch; rows])));
        columns.push(Arc::new(Int64Array::from_iter_values((0..rows).map(|row| changes.weight(row)))));
        // What events have beside their columns.
        columns.push(new_null_array(&DataType::Utf8, rows));
        columns.push(Arc::new(UInt64Array::from(vec![0; rows])));
        RecordBatch::try_new(Arc::clone(stored), columns)
    }

    /// Rows of the topic as changes.
    pub(super) fn load(&self, stored: &RecordBatch) -> Result<ChangeBatch, ArrowError> {
        let fields = self.view.fields().iter().zip(stored.columns());
        let columns =
            fields.map(|(field, column)| loaded_column(field.data_type(), column)).collect::<Result<Vec<_>, _>>()?;
        let weights = stored.column(self.view.fields().len() + 1).as_primitive::<Int64Type>().values().to_vec();
        Ok(ChangeBatch::weighted(RecordBatch::try_new(Arc::clone(&self.view), columns)?, weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        Array, ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int16Array, StringArray,
        StructArray, TimestampNanosecondArray, TimestampSecondArray, UInt8Array,
    };
    use chalk_catalog::TopicSchema;
    use chalk_view::ViewRows;

    #[test]
    fn rows_of_any_types_come_back() {
        let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![Some(7), None]));
        let window = StructArray::from(vec![(
            Arc::new(Field::new("start", times.data_type().clone(), true)),
            Arc::clone(&times),
        )]);
        let decimals =
            Decimal128Array::from(vec![Some(12_345), None]).with_precision_and_scale(10, 2).expect("it fits");
        let columns: Vec<(&str, ArrayRef, bool)> = vec![
            ("yes", Arc::new(BooleanArray::from(vec![Some(true), None])), true),
            ("small", Arc::new(Int16Array::from(vec![-3, 4])), false),
            ("byte", Arc::new(UInt8Array::from(vec![Some(200), None])), true),
            ("large", Arc::new(UInt64Array::from(vec![u64::MAX, 1])), false),
            ("single", Arc::new(Float32Array::from(vec![0.5, -0.0])), false),
            ("double", Arc::new(Float64Array::from(vec![Some(f64::MIN_POSITIVE), None])), true),
            ("text", Arc::new(StringArray::from(vec![Some("ä"), None])), true),
            ("time", times, true),
            ("second", Arc::new(TimestampSecondArray::from(vec![1, 2])), false),
            ("window", Arc::new(window), false),
            ("decimal", Arc::new(decimals), true),
        ];
        let rows = RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length");
        let changes = ChangeBatch::weighted(rows.clone(), vec![2, 1]);
        let layout = Layout::of(&rows.schema()).expect("types with names");
        let topic = TopicSchema::parse("t", &layout.avsc, TopicSchema::NO_ENVELOPE).expect("a schema");
        assert_eq!(topic.partitions, 2);
        let stored = layout.store(&changes, Epoch(9), topic.arrow()).expect("stored");
        let again = Layout::read(&layout.avsc).expect("the same layout");
        let loaded = again.load(&stored).expect("loaded");
        assert_eq!(loaded.weights(), changes.weights());
        let hash = |changes: &ChangeBatch| {
            let mut view = ViewRows::new("v", rows.schema()).expect("types with an encoding");
            view.apply(changes).expect("inserts");
            view.hash()
        };
        assert_eq!(hash(&loaded), hash(&changes));
        assert_eq!(loaded.rows(), changes.rows());
    }
}
