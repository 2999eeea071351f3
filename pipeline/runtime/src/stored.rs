//! Columns of any type as columns of a topic, and back.
//!
//! | the type | the topic's |
//! |---|---|
//! | what topics can have | the same |
//! | views of texts | `TEXT` |
//! | narrower integers | `BIGINT` |
//! | unsigned 64 bits | `BIGINT` of the same bits |
//! | others | `TEXT`: Arrow's row encoding of the value, in hexadecimal digits |

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, TimeUnit, UInt64Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::Arc;

/// A field of a topic's `.avsc`, with the type that it was before as `"arrow"`; `None` when that has no name that can be read back.
pub(crate) fn stored_field(field: &Field, nullable: bool) -> Option<Value> {
    let name = field.data_type().to_string();
    if name.parse().ok().as_ref() != Some(field.data_type()) {
        return None;
    }
    let avro = avro_of(field.data_type());
    let avro = if nullable { json!(["null", avro]) } else { avro };
    Some(json!({ "name": field.name(), "type": avro, "arrow": name, "nullable": field.is_nullable() }))
}

fn avro_of(data_type: &DataType) -> Value {
    match data_type {
        DataType::Boolean => json!("boolean"),
        DataType::Int32 => json!("int"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Timestamp(TimeUnit::Nanosecond, None) => json!({ "type": "long", "logicalType": "timestamp-micros" }),
        other if other.is_integer() => json!("long"),
        _ => json!("string"),
    }
}

/// Whether a topic can have a column of this type.
fn is_stored(data_type: &DataType) -> bool {
    use DataType::{Boolean, Float32, Float64, Int32, Int64, Utf8};
    matches!(data_type, Boolean | Int32 | Int64 | Float32 | Float64 | Utf8)
        || *data_type == DataType::Timestamp(TimeUnit::Nanosecond, None)
}

/// A column as the topic has it.
pub(crate) fn stored_column(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        kept if is_stored(kept) => Ok(Arc::clone(column)),
        DataType::Utf8View => cast(column, &DataType::Utf8),
        DataType::UInt64 => Ok(Arc::new(column.as_primitive::<UInt64Type>().unary::<_, Int64Type>(u64::cast_signed))),
        narrow if narrow.is_integer() => cast(column, &DataType::Int64),
        other => {
            let converter = RowConverter::new(vec![SortField::new(other.clone())])?;
            let encoded = converter.convert_columns(&[Arc::clone(column)])?;
            Ok(Arc::new(StringArray::from_iter_values(encoded.iter().map(|value| hexadecimal(value.data())))))
        }
    }
}

/// A column of this type, as it was before.
pub(crate) fn loaded_column(data_type: &DataType, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match data_type {
        kept if is_stored(kept) => Ok(Arc::clone(column)),
        DataType::Utf8View => cast(column, &DataType::Utf8View),
        DataType::UInt64 => Ok(Arc::new(column.as_primitive::<Int64Type>().unary::<_, UInt64Type>(i64::cast_unsigned))),
        narrow if narrow.is_integer() => cast(column, narrow),
        other => {
            let converter = RowConverter::new(vec![SortField::new(other.clone())])?;
            let parser = converter.parser();
            let texts = column.as_string::<i32>();
            let values: Vec<Vec<u8>> = (0..texts.len())
                .map(|row| bytes_of(texts.value(row)))
                .collect::<Option<_>>()
                .ok_or_else(|| ArrowError::ParseError("a stored value is not in hexadecimal digits".to_owned()))?;
            let mut columns = converter.convert_rows(values.iter().map(|value| parser.parse(value)))?;
            Ok(columns.remove(0))
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}
