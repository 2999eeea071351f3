//! Times and windows as nanoseconds.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StructArray};
use arrow::compute::{cast, nullif};
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use arrow::error::ArrowError;

/// A column of windows.
pub(crate) fn windows(column: &ArrayRef) -> Result<&StructArray, ArrowError> {
    column
        .as_struct_opt()
        .ok_or_else(|| ArrowError::InvalidArgumentError(format!("a window is a struct, not {}", column.data_type())))
}

/// The field `end` of windows; NULL where the window is.
pub(crate) fn ends(windows: &StructArray) -> Result<ArrayRef, ArrowError> {
    let ends = windows
        .column_by_name("end")
        .ok_or_else(|| ArrowError::InvalidArgumentError("a window has the fields start and end".to_owned()))?;
    match windows.nulls() {
        None => Ok(ArrayRef::clone(ends)),
        Some(valid) => nullif(ends, &BooleanArray::new(!valid.inner(), None)),
    }
}

/// Times in nanoseconds since the Unix epoch.
pub(crate) fn nanoseconds(times: &ArrayRef) -> Result<Int64Array, ArrowError> {
    let zone = match times.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        other => return Err(ArrowError::InvalidArgumentError(format!("a time is a timestamp, not {other}"))),
    };
    let exact = cast(times, &DataType::Timestamp(TimeUnit::Nanosecond, zone))?;
    Ok(cast(&exact, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}
