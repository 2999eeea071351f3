//! Records and lines.

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use std::fmt;
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

/// Of a record that is longer, so much is given: whoever reads it refuses it anyway, and says so.
const RECORD_BYTES_MAX: usize = 2 << 20;

/// Adds a record's value as one line.
///
/// A line feed in it becomes a carriage return: between the parts of a JSON text they mean the same, and within a string JSON allows neither, so
/// that nothing is good or bad for it. An empty value becomes `null`, which is no row, so that it is refused and not passed over.
pub(super) fn push_line(lines: &mut Vec<u8>, value: &[u8]) {
    let value = &value[..value.len().min(RECORD_BYTES_MAX)];
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    if value.trim_ascii().is_empty() {
        lines.extend_from_slice(b"null");
    } else if value.contains(&b'\n') {
        lines.extend(value.iter().map(|&byte| if byte == b'\n' { b'\r' } else { byte }));
    } else {
        lines.extend_from_slice(value);
    }
    lines.push(b'\n');
}

/// The id of a row that a sink gives: a UUIDv8 (RFC 9562) of XXH3-128 over sink, number and text. A row that is given again has the same id; another
/// row in its place has another.
pub(super) fn event_id(sink: &str, row: u64, line: &str) -> Uuid {
    let mut hash = Xxh3::new();
    hash.update(sink.as_bytes());
    hash.update(&[0]);
    hash.update(&row.to_be_bytes());
    hash.update(line.as_bytes());
    uuid::Builder::from_custom_bytes(hash.digest128().to_be_bytes()).into_uuid()
}

/// A row, a JSON object, with its id as the first field.
pub(super) fn with_id(line: &str, id: Uuid) -> Vec<u8> {
    let mut text = Uuid::encode_buffer();
    let id = id.hyphenated().encode_lower(&mut text);
    let rest = line.strip_prefix('{').unwrap_or(line);
    let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
    ["{\"event_id\":\"", id, "\"", comma, rest].concat().into_bytes()
}

/// A field's value, for a record's key: a string as it is, anything else as JSON; `None` when it is null or not there.
pub(super) fn key_of(line: &str, field: &str) -> Option<String> {
    let found = serde_json::Deserializer::from_str(line).deserialize_map(FieldOf(field)).ok()??;
    match found {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// Finds one field and reads over all others.
struct FieldOf<'a>(&'a str);

impl<'de> Visitor<'de> for FieldOf<'_> {
    type Value = Option<serde_json::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if name == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(value: &[u8]) -> Vec<u8> {
        let mut lines = Vec::new();
        push_line(&mut lines, value);
        lines
    }

    #[test]
    fn a_record_is_one_line() {
        assert_eq!(line(br#"{"a":1}"#), b"{\"a\":1}\n");
        assert_eq!(line(b"{\n  \"a\": 1\n}\n"), b"{\r  \"a\": 1\r}\n");
        assert_eq!(line(b""), b"null\n");
        assert_eq!(line(b" \n"), b"null\n");
        assert_eq!(line(&[b'x'; RECORD_BYTES_MAX + 9]).len(), RECORD_BYTES_MAX + 1);
        let pretty: serde_json::Value = serde_json::from_slice(&line(b"{\n\"a\":\n[1,\n2]}")).expect("JSON");
        assert_eq!(pretty, serde_json::json!({"a": [1, 2]}));
        assert!(
            serde_json::from_slice::<serde_json::Value>(&line(b"{\"a\":\"x\ny\"}")).is_err(),
            "it was not JSON before"
        );
    }

    #[test]
    fn rows_have_ids_that_stay() {
        let id = event_id("project/large/orders", 7, r#"{"a":1}"#);
        assert_eq!(id, event_id("project/large/orders", 7, r#"{"a":1}"#));
        assert_ne!(id, event_id("project/large/orders", 8, r#"{"a":1}"#));
        assert_ne!(id, event_id("project/large/orders", 7, r#"{"a":2}"#));
        assert_eq!(id.to_string(), "d60cdf42-f532-8b80-bc05-188771ebea39", "ids stay, whatever the build");
        assert_eq!(with_id(r#"{"a":1}"#, id), format!(r#"{{"event_id":"{id}","a":1}}"#).into_bytes());
        assert_eq!(with_id("{}", id), format!(r#"{{"event_id":"{id}"}}"#).into_bytes());
    }

    #[test]
    fn keys_are_values_of_a_field() {
        let line = r#"{"s":"a \"b\"","n":7,"z":null,"o":{"s":"no"}}"#;
        assert_eq!(key_of(line, "s").as_deref(), Some("a \"b\""));
        assert_eq!(key_of(line, "n").as_deref(), Some("7"));
        assert_eq!(key_of(line, "z"), None);
        assert_eq!(key_of(line, "missing"), None);
    }
}
