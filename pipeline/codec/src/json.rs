//! JSON: one object per event, flat fields, nested values kept as text.

use crate::bad_input::{BadInput, Reason};
use crate::cell::Cell;
use crate::nested::Check;
use crate::plain::surely_fits;
use crate::typed::check_typed;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chalk_catalog::{AvroType, Column, ColumnType, RecordSchema, TopicSchema};
use chrono::{DateTime, NaiveDateTime};
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::{self, Write};

/// An event's text, split into its fields.
#[derive(Debug)]
pub struct EventText<'a> {
    text: &'a str,
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> EventText<'a> {
    /// The text of a field that is a JSON string.
    #[must_use]
    pub fn string(&self, name: &str) -> Option<Cow<'a, str>> {
        let (_, raw) = self.fields.iter().find(|(field, _)| field == name)?;
        text_of(raw)
    }

    /// The JSON text of a field's value.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, raw)| raw.get())
    }

    /// Where the value of a field begins, counted from 1; `None` when the event does not have the field.
    #[must_use]
    pub fn position_of(&self, name: &str) -> Option<usize> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, raw)| self.position(raw))
    }

    /// Where a field's value begins, counted from 1.
    fn position(&self, raw: &RawValue) -> usize {
        raw.get().as_ptr() as usize - self.text.as_ptr() as usize + 1
    }
}

/// A JSON string's text, borrowed when it has no escapes.
pub(crate) fn text_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    let json = raw.get();
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str::<String>(json).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(24);
        while let Some(Name(name)) = entries.next_key()? {
            fields.push((name, entries.next_value::<&'de RawValue>()?));
        }
        Ok(fields)
    }
}

/// A field name, borrowed when it has no escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Splits an event's text into its fields without looking into them.
///
/// # Errors
/// When the text is not one JSON object.
pub fn split_event(text: &str) -> Result<EventText<'_>, BadInput> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let fields = serde::Deserializer::deserialize_map(&mut deserializer, Fields)
        .and_then(|fields| deserializer.end().map(|()| fields))
        .map_err(|error| {
            let message = error.to_string();
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
            BadInput::whole(Reason::MalformedJson, format!("not a JSON object: {message}")).at(error.column().max(1))
        })?;
    Ok(EventText { text, fields })
}

/// Decodes an event of `record`: one cell per column of `schema`, and its unknown fields as a JSON object.
///
/// Absent fields get their default. `computed` names columns that need not be given because the door fills them in.
///
/// # Errors
/// The first field that is missing, given twice or not of its type.
pub fn decode_event<'a>(
    event: &EventText<'a>,
    schema: &TopicSchema,
    record: &RecordSchema,
    computed: &[usize],
) -> Result<(Vec<Cell<'a>>, Option<String>), BadInput> {
    let mut cells: Vec<Option<Cell<'a>>> = vec![None; schema.columns.len()];
    let mut rest: Option<String> = None;
    for (name, raw) in &event.fields {
        let column =
            schema.column_index(name).filter(|&column| record.fields.iter().any(|field| field.column == column));
        let Some(column) = column else {
            add_unknown(&mut rest, name, raw);
            continue;
        };
        if cells[column].is_some() {
            let message = format!("field '{name}' is given twice: give it once");
            return Err(BadInput::field(Reason::WrongType, name, message).at(event.position(raw)));
        }
        cells[column] = Some(decode_field(&schema.columns[column], raw).map_err(|(offset, message)| {
            BadInput::field(Reason::WrongType, name, message).at(event.position(raw) + offset)
        })?);
    }
    if let Some(rest) = &mut rest {
        rest.push('}');
    }
    for field in &record.fields {
        let column = &schema.columns[field.column];
        let cell = &mut cells[field.column];
        if cell.is_none() {
            *cell = field.default.as_ref().map(default_cell);
        }
        let given = cell.as_ref().is_some_and(|cell| *cell != Cell::Null);
        if !given && !field.nullable && !computed.contains(&field.column) {
            let message = format!(
                "field '{}' is missing: {} needs {}",
                column.name,
                record.event_type,
                column.column_type.expected()
            );
            return Err(BadInput::field(Reason::MissingField, &column.name, message));
        }
    }
    Ok((cells.into_iter().map(|cell| cell.unwrap_or(Cell::Null)).collect(), rest))
}

fn add_unknown(rest: &mut Option<String>, name: &str, raw: &RawValue) {
    let rest = rest.get_or_insert_default();
    rest.push(if rest.is_empty() { '{' } else { ',' });
    write_json_string(rest, name);
    rest.push(':');
    rest.push_str(raw.get());
}

fn default_cell(default: &serde_json::Value) -> Cell<'static> {
    match default {
        serde_json::Value::Null => Cell::Null,
        serde_json::Value::Bool(value) => Cell::Boolean(*value),
        serde_json::Value::Number(number) => {
            number.as_i64().map_or_else(|| Cell::Float(number.as_f64().unwrap_or(f64::NAN)), Cell::Integer)
        }
        serde_json::Value::String(text) => Cell::Text(Cow::Owned(text.clone())),
        nested => Cell::Text(Cow::Owned(nested.to_string())),
    }
}

/// A field's cell; or the byte inside the value and what is wrong there.
fn decode_field<'a>(column: &Column, raw: &'a RawValue) -> Result<Cell<'a>, (usize, String)> {
    let json = raw.get();
    if json == "null" {
        return Ok(Cell::Null);
    }
    let wrong = || {
        let found = if json.chars().count() > 40 {
            format!("{}…", json.chars().take(40).collect::<String>())
        } else {
            json.to_owned()
        };
        (0, format!("field '{}': expected {}, found {found}", column.name, column.column_type.expected()))
    };
    let cell = match &column.column_type {
        ColumnType::Boolean => json.parse().ok().map(Cell::Boolean),
        ColumnType::Int => json.parse::<i32>().ok().map(|value| Cell::Integer(value.into())),
        ColumnType::Long => json.parse().ok().map(Cell::Integer),
        ColumnType::Float | ColumnType::Double => json
            .starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
            .then(|| json.parse().ok().map(Cell::Float))
            .flatten(),
        ColumnType::Text => text_of(raw).map(Cell::Text),
        ColumnType::Uuid => text_of(raw).filter(|text| is_uuid(text)).map(Cell::Text),
        ColumnType::Word(words) => text_of(raw).filter(|text| words.iter().any(|word| word == text)).map(Cell::Text),
        ColumnType::Timestamp => match text_of(raw) {
            Some(text) => parse_timestamp(&text).map(Cell::Time),
            None => json.parse::<i64>().ok().map(|micros| micros.saturating_mul(1000)).map(Cell::Time),
        },
        ColumnType::EpochTime(unit) => match text_of(raw) {
            Some(text) => parse_timestamp(&text).map(Cell::Time),
            None => json.parse::<i64>().ok().map(|count| count.saturating_mul(unit.nanos())).map(Cell::Time),
        },
        ColumnType::Json(avro) => {
            check_json(avro, json)
                .map_err(|(offset, message)| (offset, format!("field '{}'{message}", column.name)))?;
            Some(Cell::Text(Cow::Borrowed(json)))
        }
    };
    cell.ok_or_else(wrong)
}

/// Checks a nested value's JSON text against its Avro type.
///
/// # Errors
/// The byte inside the text, counted from 0, and what is wrong there; the message begins with the path.
pub fn check_json(avro: &AvroType, json: &str) -> Result<(), (usize, String)> {
    if surely_fits(avro, json) {
        return Ok(());
    }
    if avro.is_of_sql()
        && let Some(data_type) = avro.arrow()
    {
        return check_typed(&data_type, json).map_err(|message| (0, message));
    }
    Check(avro).deserialize(&mut serde_json::Deserializer::from_str(json)).map_err(|error| {
        let message = error.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        (error.column().saturating_sub(1), message.to_owned())
    })
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// An RFC 3339 timestamp as nanoseconds since the Unix epoch; `None` when it is none. Without an offset it is UTC, as other programs write
/// timestamps without time zone.
///
/// Times that 64 bits do not reach (before 1677, after 2262) become the nearest that they do: for the door to find absurd.
#[must_use]
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let time = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => time.to_utc(),
        Err(_) => {
            let in_utc = |format| NaiveDateTime::parse_from_str(text, format).ok().map(|time| time.and_utc());
            in_utc("%Y-%m-%dT%H:%M:%S%.f").or_else(|| in_utc("%Y-%m-%d %H:%M:%S%.f"))?
        }
    };
    let nearest = if time.timestamp() < 0 { i64::MIN } else { i64::MAX };
    Some(time.timestamp_nanos_opt().unwrap_or(nearest))
}

/// How a row is written as JSON.
#[derive(Clone, Copy)]
pub struct JsonStyle<'a> {
    /// Columns, by name, whose text is JSON already.
    pub is_json: &'a dyn Fn(&str) -> bool,
    /// How many nanoseconds a number of an instant counts; without, instants are RFC 3339.
    pub time_nanos: Option<i64>,
}

/// Appends one row of a batch as a JSON object. Columns for which `is_json` holds are JSON text already; NULLs are written.
///
/// # Errors
/// When a column cannot be formatted.
pub fn write_json_row(
    into: &mut String,
    rows: &RecordBatch,
    row: usize,
    is_json: &dyn Fn(&str) -> bool,
) -> Result<(), ArrowError> {
    write_styled_row(into, rows, row, JsonStyle { is_json, time_nanos: None })
}

/// As [`write_json_row`], in a style.
///
/// # Errors
/// When a column cannot be formatted.
pub fn write_styled_row(
    into: &mut String,
    rows: &RecordBatch,
    row: usize,
    style: JsonStyle<'_>,
) -> Result<(), ArrowError> {
    let values = Values::new(style.time_nanos);
    into.push('{');
    for (index, (field, column)) in rows.schema_ref().fields().iter().zip(rows.columns()).enumerate() {
        if index > 0 {
            into.push(',');
        }
        write_json_string(into, field.name());
        into.push(':');
        values.write(into, column, row, (style.is_json)(field.name()))?;
    }
    into.push('}');
    Ok(())
}

/// Appends one value of a column; `is_json` says that its text is JSON already.
///
/// # Errors
/// When it cannot be formatted.
pub fn write_json_value(
    into: &mut String,
    column: &dyn Array,
    row: usize,
    is_json: bool,
    time_nanos: Option<i64>,
) -> Result<(), ArrowError> {
    Values::new(time_nanos).write(into, column, row, is_json)
}

/// A column's values as JSON texts.
///
/// # Errors
/// When it cannot be formatted.
pub fn json_texts(column: &dyn Array) -> Result<StringArray, ArrowError> {
    let values = Values::new(None);
    let text = |row| {
        let mut text = String::new();
        values.write(&mut text, column, row, false).map(|()| (text != "null").then_some(text))
    };
    (0..column.len()).map(text).collect()
}

struct Values<'a> {
    options: FormatOptions<'a>,
    time_nanos: Option<i64>,
}

impl Values<'_> {
    fn new(time_nanos: Option<i64>) -> Self {
        let options = FormatOptions::default().with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.fZ"));
        Self { options, time_nanos }
    }

    fn write(&self, into: &mut String, column: &dyn Array, row: usize, is_json: bool) -> Result<(), ArrowError> {
        // A column of NULL alone has no validity of its own.
        if column.is_null(row) || *column.data_type() == DataType::Null {
            into.push_str("null");
            return Ok(());
        }
        match column.data_type() {
            DataType::Struct(fields) => {
                let parts = column.as_struct();
                into.push('{');
                for (index, (field, part)) in fields.iter().zip(parts.columns()).enumerate() {
                    if index > 0 {
                        into.push(',');
                    }
                    write_json_string(into, field.name());
                    into.push(':');
                    self.write(into, part, row, false)?;
                }
                into.push('}');
            }
            DataType::List(_) => {
                let values = column.as_list::<i32>().value(row);
                into.push('[');
                for index in 0..values.len() {
                    if index > 0 {
                        into.push(',');
                    }
                    self.write(into, &values, index, false)?;
                }
                into.push(']');
            }
            DataType::Timestamp(unit, _) if self.time_nanos.is_some() => {
                let per_unit: i128 = match unit {
                    TimeUnit::Second => 1_000_000_000,
                    TimeUnit::Millisecond => 1_000_000,
                    TimeUnit::Microsecond => 1000,
                    TimeUnit::Nanosecond => 1,
                };
                let counts = cast(&column.slice(row, 1), &DataType::Int64)?;
                let nanos = i128::from(counts.as_primitive::<Int64Type>().value(0)) * per_unit;
                let count = nanos.div_euclid(self.time_nanos.unwrap_or(1).into());
                // Writing into a String cannot fail.
                let _ = write!(into, "{count}");
            }
            data_type => {
                let value = ArrayFormatter::try_new(column, &self.options)?.value(row).to_string();
                let is_decimal = matches!(data_type, DataType::Decimal128(_, _) | DataType::Decimal256(_, _));
                let bare = data_type.is_integer() || *data_type == DataType::Boolean || is_decimal || is_json;
                // JSON has no NaN and no infinities.
                let finite = data_type.is_floating() && value.parse::<f64>().is_ok_and(f64::is_finite);
                if bare || finite {
                    into.push_str(&value);
                } else if data_type.is_floating() {
                    into.push_str("null");
                } else {
                    write_json_string(into, &value);
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn write_json_string(into: &mut String, text: &str) {
    into.push('"');
    for c in text.chars() {
        match c {
            '"' => into.push_str("\\\""),
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '\t' => into.push_str("\\t"),
            c if c < ' ' => {
                // Writing into a String cannot fail.
                let _ = write!(into, "\\u{:04x}", c as u32);
            }
            c => into.push(c),
        }
    }
    into.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVELOPE: &str = r#"{"fields":[{"name":"event_type","type":"string"}]}"#;
    const AVSC: &str = r#"{"event_type":"t","fields":[
        {"name":"n","type":"int"},
        {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null},
        {"name":"items","type":{"type":"array","items":{"type":"record","name":"I","fields":[
            {"name":"id","type":"string"},{"name":"p","type":["null","long"],"default":null}]}}}]}"#;

    /// Decodes one event and shows its cells, or why not.
    fn check(text: &str, expected: &str) {
        let schema = TopicSchema::parse("t", AVSC, ENVELOPE).expect("a good schema");
        let shown = match split_event(text)
            .and_then(|event| decode_event(&event, &schema, &schema.records[0], &[]).map(|row| format!("{row:?}")))
        {
            Ok(row) => row,
            Err(bad) => format!("{} @{:?}", bad, bad.position.unwrap_or(0)),
        };
        assert_eq!(shown, expected, "for {text}");
    }

    #[test]
    fn events_are_decoded_or_refused_with_a_place() {
        check(
            r#"{"event_type":"t","n":5,"items":[{"id":"a"}]}"#,
            r#"([Text("t"), Integer(5), Null, Text("[{\"id\":\"a\"}]")], None)"#,
        );
        check(
            r#"{"event_type":"t","n":5,"at":"1970-01-01T00:00:01Z","items":[],"x":[1],"y":"\u0041"}"#,
            r#"([Text("t"), Integer(5), Time(1000000000), Text("[]")], Some("{\"x\":[1],\"y\":\"\\u0041\"}"))"#,
        );
        check(r#"{"event_type":"t","n":5"#, "malformed_json: not a JSON object: EOF while parsing an object @23");
        check(r#"[1]"#, "malformed_json: not a JSON object: invalid type: sequence, expected a JSON object @1");
        check(
            r#"{"event_type":"t","n":"5","items":[]}"#,
            r#"wrong_type: field 'n': expected an integer of 32 bits, found "5" @23"#,
        );
        check(
            r#"{"event_type":"t","items":[]}"#,
            "missing_field: field 'n' is missing: t needs an integer of 32 bits @0",
        );
        check(r#"{"event_type":"t","n":1,"n":2,"items":[]}"#, "wrong_type: field 'n' is given twice: give it once @29");
        check(
            r#"{"event_type":"t","n":1,"items":[{"id":"a"},{"id":"b","p":"x"}]}"#,
            "wrong_type: field 'items'[1].p: expected null or an integer, found a string @63",
        );
        check(r#"{"event_type":"t","n":1,"items":[{"p":3}]}"#, "wrong_type: field 'items'[0].id: it is missing @41");
    }
}
