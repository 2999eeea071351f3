//! Columns that the log keeps as JSON text, read as the SQL type that their table declares: `DECIMAL`, `DATE`, arrays, structs.
//!
//! The door reads each value to see that it fits, with the same code as the table that reads it from the log: what came in can be read.
//!
//! | Arrow type | in JSON |
//! |---|---|
//! | integers, floats, booleans, text | as JSON has them |
//! | `Decimal128` | a number or text of one; digits beyond the scale are rounded, half away from zero |
//! | `Binary` | hexadecimal text |
//! | `Date32` | `"2025-09-01"`, or days since 1970 |
//! | `Time64` | `"08:30:00.5"`, or microseconds since midnight |
//! | `Timestamp` | RFC 3339, or a number in the type's unit since 1970 |
//! | `Interval` | `"1 day 2 hours"` |
//! | `List`, `Struct` | arrays, objects; fields that are left out are NULL, others are passed over |

use crate::json::{parse_timestamp, split_event, text_of};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, IntervalMonthDayNanoArray,
    ListArray, PrimitiveArray, StringArray, StructArray, Time64MicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use chrono::{NaiveDate, NaiveTime, Timelike};
use serde_json::value::RawValue;
use std::str::FromStr;
use std::sync::Arc;

/// A value of a type.
#[derive(Debug, PartialEq)]
enum Item {
    Null,
    Boolean(bool),
    /// Of every integer and decimal type, and of times in their unit.
    Integer(i128),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Interval(IntervalMonthDayNano),
    List(Vec<Item>),
    Struct(Vec<Item>),
}

/// Sees whether a JSON text is a value of a type.
///
/// # Errors
/// What is wrong, with the path to it in front.
pub fn check_typed(data_type: &DataType, json: &str) -> Result<(), String> {
    read(data_type, json).map(drop)
}

/// A column of JSON texts, read as a type.
///
/// # Errors
/// The first text that is no value of the type.
pub fn typed_column(texts: &dyn Array, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let items = texts.as_string::<i32>().iter().map(|text| match text {
        None => Ok(Item::Null),
        Some(text) => read(data_type, text).map_err(ArrowError::ParseError),
    });
    build(data_type, &items.collect::<Result<Vec<_>, _>>()?.iter().collect::<Vec<_>>())
}

fn read(data_type: &DataType, json: &str) -> Result<Item, String> {
    let json = json.trim_ascii();
    if json == "null" {
        return Ok(Item::Null);
    }
    let found = || {
        let shown: String = json.chars().take(40).collect();
        format!(": {shown}{} is no {data_type}", if shown.len() < json.len() { "…" } else { "" })
    };
    let item = match data_type {
        DataType::List(element) => {
            let elements: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| found())?;
            let read = |(index, raw): (usize, &&RawValue)| {
                read(element.data_type(), raw.get()).map_err(|error| format!("[{index}]{error}"))
            };
            Some(Item::List(elements.iter().enumerate().map(read).collect::<Result<_, _>>()?))
        }
        DataType::Struct(fields) => {
            let object = split_event(json).map_err(|_| found())?;
            let read = |field: &Arc<Field>| match object.value(field.name()) {
                None => Ok(Item::Null),
                Some(raw) => read(field.data_type(), raw).map_err(|error| format!(".{}{error}", field.name())),
            };
            Some(Item::Struct(fields.iter().map(read).collect::<Result<_, _>>()?))
        }
        _ => scalar(data_type, json),
    };
    item.ok_or_else(found)
}

fn scalar(data_type: &DataType, json: &str) -> Option<Item> {
    fn integer<T: FromStr + Into<i128>>(json: &str) -> Option<Item> {
        json.parse::<T>().ok().map(|value| Item::Integer(value.into()))
    }
    let text = || {
        let raw: &RawValue = serde_json::from_str(json).ok()?;
        text_of(raw).map(|text| text.into_owned())
    };
    match data_type {
        DataType::Boolean => json.parse().ok().map(Item::Boolean),
        DataType::Int8 => integer::<i8>(json),
        DataType::Int16 => integer::<i16>(json),
        DataType::Int32 => integer::<i32>(json),
        DataType::Int64 => integer::<i64>(json),
        DataType::UInt8 => integer::<u8>(json),
        DataType::UInt16 => integer::<u16>(json),
        DataType::UInt32 => integer::<u32>(json),
        DataType::UInt64 => integer::<u64>(json),
        DataType::Float32 | DataType::Float64 => is_number(json).then(|| json.parse().ok().map(Item::Float)).flatten(),
        DataType::Utf8 => text().map(Item::Text),
        DataType::Decimal128(precision, scale) => {
            let digits = text();
            decimal(digits.as_deref().unwrap_or(json), *precision, *scale).map(Item::Integer)
        }
        DataType::Binary => text().and_then(|text| bytes(&text)).map(Item::Bytes),
        DataType::Date32 => match text() {
            None => integer::<i32>(json),
            Some(text) => {
                let day = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?;
                Some(Item::Integer(day.signed_duration_since(NaiveDate::default()).num_days().into()))
            }
        },
        DataType::Time64(_) => match text() {
            None => integer::<i64>(json),
            Some(text) => {
                let time = NaiveTime::from_str(&text).ok()?;
                let seconds = i128::from(time.num_seconds_from_midnight());
                Some(Item::Integer(seconds * 1_000_000 + i128::from(time.nanosecond() / 1000)))
            }
        },
        DataType::Timestamp(unit, _) => match text() {
            None => integer::<i64>(json),
            Some(text) => {
                let nanos = parse_timestamp(&text)?;
                let per_unit = match unit {
                    TimeUnit::Second => 1_000_000_000,
                    TimeUnit::Millisecond => 1_000_000,
                    TimeUnit::Microsecond => 1000,
                    TimeUnit::Nanosecond => 1,
                };
                Some(Item::Integer(nanos.div_euclid(per_unit).into()))
            }
        },
        DataType::Interval(_) => parse_interval_month_day_nano(&text()?).ok().map(Item::Interval),
        _ => None,
    }
}

fn is_number(json: &str) -> bool {
    json.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// A decimal number as a whole number of its last digits.
fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (digits, exponent) = match digits.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = || whole.bytes().chain(fraction.bytes());
    if all().next().is_none() || !all().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // So many digits stand before the last one that is kept.
    let kept = i32::try_from(whole.len()).ok()?.checked_add(exponent)?.checked_add(i32::from(scale))?;
    let (mut value, mut position) = (0_i128, 0);
    let mut digits = all().map(|digit| i128::from(digit - b'0'));
    while position < kept {
        value = value.checked_mul(10)?.checked_add(digits.next().unwrap_or(0))?;
        position += 1;
        if value == 0 && position > 100 {
            return Some(0);
        }
    }
    if kept >= 0 && digits.next().is_some_and(|next| next >= 5) {
        value += 1;
    }
    let bound = 10_i128.checked_pow(precision.into())?;
    (value < bound).then_some(if negative { -value } else { value })
}

fn bytes(hexadecimal: &str) -> Option<Vec<u8>> {
    let digits = hexadecimal.as_bytes();
    let digit = |digit: u8| (digit as char).to_digit(16).map(|digit| digit as u8);
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// An array of a type; values that are none of it are NULL.
fn build(data_type: &DataType, items: &[&Item]) -> Result<ArrayRef, ArrowError> {
    fn integers<T: ArrowPrimitiveType>(items: &[&Item], data_type: &DataType) -> ArrayRef
    where
        T::Native: TryFrom<i128>,
    {
        let values = items.iter().map(|item| match item {
            Item::Integer(value) => T::Native::try_from(*value).ok(),
            _ => None,
        });
        Arc::new(values.collect::<PrimitiveArray<T>>().with_data_type(data_type.clone()))
    }
    let integer = |item: &&Item| match item {
        Item::Integer(value) => Some(*value),
        _ => None,
    };
    let float = |item: &&Item| match item {
        Item::Float(value) => Some(*value),
        _ => None,
    };
    Ok(match data_type {
        DataType::Boolean => {
            let values = items.iter().map(|item| if let Item::Boolean(value) = item { Some(*value) } else { None });
            Arc::new(values.collect::<BooleanArray>())
        }
        DataType::Int8 => integers::<Int8Type>(items, data_type),
        DataType::Int16 => integers::<Int16Type>(items, data_type),
        DataType::Int32 => integers::<Int32Type>(items, data_type),
        DataType::Int64 => integers::<Int64Type>(items, data_type),
        DataType::UInt8 => integers::<UInt8Type>(items, data_type),
        DataType::UInt16 => integers::<UInt16Type>(items, data_type),
        DataType::UInt32 => integers::<UInt32Type>(items, data_type),
        DataType::UInt64 => integers::<UInt64Type>(items, data_type),
        DataType::Float32 => {
            let values = items.iter().map(float).map(|value| value.map(|value| value as f32));
            Arc::new(values.collect::<PrimitiveArray<Float32Type>>())
        }
        DataType::Float64 => Arc::new(items.iter().map(float).collect::<PrimitiveArray<Float64Type>>()),
        DataType::Utf8 => {
            let values = items.iter().map(|item| if let Item::Text(value) = item { Some(value) } else { None });
            Arc::new(values.collect::<StringArray>())
        }
        DataType::Decimal128(_, _) => {
            let values: Decimal128Array = items.iter().map(integer).collect();
            Arc::new(values.with_data_type(data_type.clone()))
        }
        DataType::Binary => {
            let values = items.iter().map(|item| if let Item::Bytes(value) = item { Some(value) } else { None });
            Arc::new(values.collect::<BinaryArray>())
        }
        DataType::Date32 => {
            let days = items.iter().map(integer).map(|days| i32::try_from(days?).ok());
            Arc::new(days.collect::<Date32Array>())
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let times = items.iter().map(integer).map(|time| i64::try_from(time?).ok());
            Arc::new(times.collect::<Time64MicrosecondArray>())
        }
        DataType::Timestamp(TimeUnit::Second, _) => integers::<TimestampSecondType>(items, data_type),
        DataType::Timestamp(TimeUnit::Millisecond, _) => integers::<TimestampMillisecondType>(items, data_type),
        DataType::Timestamp(TimeUnit::Microsecond, _) => integers::<TimestampMicrosecondType>(items, data_type),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => integers::<TimestampNanosecondType>(items, data_type),
        DataType::Interval(_) => {
            let values = items.iter().map(|item| if let Item::Interval(value) = item { Some(*value) } else { None });
            Arc::new(values.collect::<IntervalMonthDayNanoArray>())
        }
        DataType::List(element) => {
            let elements = |item: &Item| if let Item::List(elements) = item { elements.len() } else { 0 };
            let offsets = OffsetBuffer::from_lengths(items.iter().map(|item| elements(item)));
            let inner = items.iter().filter_map(|item| if let Item::List(inner) = item { Some(inner) } else { None });
            let inner = build(element.data_type(), &inner.flatten().collect::<Vec<_>>())?;
            let valid = items.iter().map(|item| matches!(item, Item::List(_))).collect::<NullBuffer>();
            Arc::new(ListArray::try_new(Arc::clone(element), offsets, inner, Some(valid))?)
        }
        DataType::Struct(fields) => {
            let column = |(index, field): (usize, &Arc<Field>)| {
                let values = items.iter().map(|item| match item {
                    Item::Struct(values) => values.get(index).unwrap_or(&Item::Null),
                    _ => &Item::Null,
                });
                build(field.data_type(), &values.collect::<Vec<_>>())
            };
            let columns = fields.iter().enumerate().map(column).collect::<Result<Vec<_>, _>>()?;
            let valid = items.iter().map(|item| matches!(item, Item::Struct(_))).collect::<NullBuffer>();
            Arc::new(StructArray::try_new(fields.clone(), columns, Some(valid))?)
        }
        other => return Err(ArrowError::NotYetImplemented(format!("{other} from JSON"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::util::display::array_value_to_string;

    /// Reads a value and shows it as Arrow does, or what is wrong with it.
    fn check(data_type: &DataType, json: &str, expected: &str) {
        let texts = StringArray::from(vec![json]);
        let read = typed_column(&texts, data_type);
        let shown = match &read {
            Ok(column) => array_value_to_string(column, 0).expect("a value that can be shown"),
            Err(ArrowError::ParseError(message)) => message.clone(),
            Err(other) => other.to_string(),
        };
        assert_eq!(shown, expected, "{json}");
        assert_eq!(check_typed(data_type, json).err(), read.err().map(|_| shown), "{json}");
    }

    #[test]
    fn values_are_read_as_their_types() {
        let money = DataType::Decimal128(6, 2);
        check(&money, "12.345", "12.35");
        check(&money, "\"-0.005\"", "-0.01");
        check(&money, "1.5e2", "150.00");
        check(&money, "1e-9", "0.00");
        check(&money, "9999.99", "9999.99");
        check(&money, "9999.995", ": 9999.995 is no Decimal128(6, 2)");
        check(&money, "\"\"", ": \"\" is no Decimal128(6, 2)");
        check(&DataType::UInt64, "18446744073709551615", "18446744073709551615");
        check(&DataType::UInt64, "-1", ": -1 is no UInt64");
        check(&DataType::Int16, "32768", ": 32768 is no Int16");
        check(&DataType::Binary, "\"00fF\"", "00ff");
        check(&DataType::Binary, "\"0\"", ": \"0\" is no Binary");
        check(&DataType::Date32, "\"2025-09-01\"", "2025-09-01");
        check(&DataType::Date32, "1", "1970-01-02");
        check(&DataType::Date32, "\"2025-02-30\"", ": \"2025-02-30\" is no Date32");
        check(&DataType::Time64(TimeUnit::Microsecond), "\"08:30:00.5\"", "08:30:00.500");
        let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
        check(&millis, "1500", "1970-01-01T00:00:01.500");
        check(&millis, "\"1970-01-01T00:00:01.5Z\"", "1970-01-01T00:00:01.500");
        check(&DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano), "\"1 day 2 hours\"", "1 days 2 hours");
        check(&DataType::Float64, "NaN", ": NaN is no Float64");
        check(&DataType::Utf8, r#""a\nb""#, "a\nb");
    }

    #[test]
    fn nested_values_say_where_they_are_wrong() {
        let point = DataType::Struct(
            vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Date32, true)].into(),
        );
        let points = DataType::List(Arc::new(Field::new("item", point, true)));
        check(&points, r#"[{"x": 1, "y": "2025-09-01", "z": 3}, null, {}]"#, "[{x: 1, y: 2025-09-01}, , {x: , y: }]");
        check(&points, "[]", "[]");
        check(&points, r#"[{"x": 1}, {"x": "2"}]"#, "[1].x: \"2\" is no Int32");
        check(&points, "5", ": 5 is no List(Struct(\"x\": Int32, \"y\": Date32))");
    }
}
