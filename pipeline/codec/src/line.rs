//! A line of a table's input to the events that it is: JSON objects, one for each row that is there or goes.
//!
//! | format | a line | its events |
//! |---|---|---|
//! | `json` | `{"a": 1}` | itself |
//! | `json.unstructured` | any JSON value | `{"value": …}`, `value` being the table's one column |
//! | `raw_string` | text | `{"value": "text"}` |
//! | `raw_bytes` | bytes | `{"value": "68656c6c6f"}` |
//! | `debezium_json` | `{"op": "u", "before": {"a": 1}, "after": {"a": 2}}` | `{"_weight":-1,"a": 1}`, `{"_weight":1,"a": 2}` |

use crate::bad_input::{BadInput, Reason};
use crate::json::{split_event, write_json_string};
use serde_json::value::RawValue;
use std::fmt::Write;

/// What a line is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LineFormat {
    /// An object with the table's columns.
    #[default]
    Json,
    /// Any JSON value: the column's.
    Unstructured {
        /// The one column, of type `JSON`.
        column: String,
    },
    /// Text: the column's.
    RawString {
        /// The one column.
        column: String,
    },
    /// Bytes: the column's.
    RawBytes {
        /// The one column.
        column: String,
    },
    /// A change of a row.
    Debezium {
        /// The column of an event that says whether its row is there or goes.
        weight: String,
    },
}

impl LineFormat {
    /// The events of a line; [`LineFormat::Json`]'s are the lines themselves.
    ///
    /// # Errors
    /// When it is no line of the format.
    pub fn events(&self, line: &[u8]) -> Result<Vec<String>, BadInput> {
        let text = || {
            let not_text = || BadInput::whole(Reason::MalformedJson, "not UTF-8: send text as UTF-8");
            str::from_utf8(line).map_err(|_| not_text())
        };
        match self {
            Self::Json => text().map(|line| vec![line.to_owned()]),
            Self::RawString { column } => {
                let line = text()?;
                Ok(vec![object(column, |event| write_json_string(event, line.strip_suffix('\r').unwrap_or(line)))])
            }
            Self::RawBytes { column } => Ok(vec![object(column, |event| {
                event.push('"');
                for byte in line {
                    // Writing into a String cannot fail.
                    let _ = write!(event, "{byte:02x}");
                }
                event.push('"');
            })]),
            Self::Unstructured { column } => {
                let line = text()?.trim();
                serde_json::from_str::<&RawValue>(line).map_err(|error| {
                    let message = format!("not JSON: {error}");
                    BadInput::whole(Reason::MalformedJson, message).at(error.column().max(1))
                })?;
                Ok(vec![object(column, |event| event.push_str(line))])
            }
            Self::Debezium { weight } => changes(text()?, weight),
        }
    }
}

fn object(column: &str, write_value: impl FnOnce(&mut String)) -> String {
    let mut event = String::from("{");
    write_json_string(&mut event, column);
    event.push(':');
    write_value(&mut event);
    event.push('}');
    event
}

/// The row that goes and the row that comes, of Debezium's envelope: bare, or under `payload`.
fn changes(line: &str, weight: &str) -> Result<Vec<String>, BadInput> {
    let envelope = split_event(line)?;
    let envelope = match envelope.value("payload") {
        Some(payload) if payload.starts_with('{') => split_event(payload)?,
        _ => envelope,
    };
    let wrong = |field: &str, message: String| BadInput::field(Reason::WrongType, field, message);
    let Some(op) = envelope.string("op") else {
        let message = "field 'op' is missing: a change has op, before and after";
        return Err(BadInput::field(Reason::MissingField, "op", message));
    };
    let (goes, comes) = match op.as_ref() {
        "c" | "r" => (false, true),
        "u" => (true, true),
        "d" => (true, false),
        other => return Err(wrong("op", format!("field 'op': '{other}' is none of c, r, u and d"))),
    };
    let mut events = Vec::new();
    for (field, sign, is_there) in [("before", -1, goes), ("after", 1, comes)] {
        if !is_there {
            continue;
        }
        match envelope.value(field).and_then(|row| row.strip_prefix('{')) {
            Some(row) => {
                let comma = if row.trim_ascii_start() == "}" { "" } else { "," };
                events.push(format!("{{\"{weight}\":{sign}{comma}{row}"));
            }
            None => {
                let message = format!("field '{field}': a change with op '{op}' has the whole row there");
                return Err(BadInput::field(Reason::MissingField, field, message));
            }
        }
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &LineFormat, line: &str, expected: &str) {
        let shown = match format.events(line.as_bytes()) {
            Ok(events) => events.join(" "),
            Err(bad) => bad.to_string(),
        };
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn lines_become_events() {
        let column = || "v".to_owned();
        check(&LineFormat::RawString { column: column() }, "say \"hi\"\r", r#"{"v":"say \"hi\""}"#);
        check(&LineFormat::RawBytes { column: column() }, "az\u{e9}", r#"{"v":"617ac3a9"}"#);
        let unstructured = LineFormat::Unstructured { column: column() };
        check(&unstructured, " [1, {\"a\":2}] ", r#"{"v":[1, {"a":2}]}"#);
        check(&unstructured, "[1", "malformed_json: not JSON: EOF while parsing a list at line 1 column 2");
    }

    #[test]
    fn changes_become_rows_that_go_and_come() {
        let format = LineFormat::Debezium { weight: "_w".to_owned() };
        check(&format, r#"{"op":"c","before":null,"after":{"a":1}}"#, r#"{"_w":1,"a":1}"#);
        check(&format, r#"{"op":"u","before":{"a":1},"after":{ }}"#, r#"{"_w":-1,"a":1} {"_w":1 }"#);
        check(&format, r#"{"schema":{},"payload":{"op":"d","before":{"a":1}}}"#, r#"{"_w":-1,"a":1}"#);
        check(&format, r#"{"op":"x"}"#, "wrong_type: field 'op': 'x' is none of c, r, u and d");
        check(&format, r#"{"a":1}"#, "missing_field: field 'op' is missing: a change has op, before and after");
        let missing = "missing_field: field 'before': a change with op 'u' has the whole row there";
        check(&format, r#"{"op":"u","before":null,"after":{"a":1}}"#, missing);
    }
}
