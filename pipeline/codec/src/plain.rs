//! A quick look at a nested field's JSON text: most of it is spelt without blanks and fits its Avro type, which takes a fraction of the
//! time to see that reading any JSON takes. What this does not recognise is for [`Check`](crate::nested::Check) to judge.

use chalk_catalog::{AvroField, AvroType};

/// Whether the text is a whole value that fits. `false` says nothing.
pub(crate) fn surely_fits(avro: &AvroType, json: &str) -> bool {
    value(avro, json.as_bytes()).is_some_and(<[u8]>::is_empty)
}

/// What follows a value that fits; `None` when it is not certain to fit.
fn value<'j>(avro: &AvroType, json: &'j [u8]) -> Option<&'j [u8]> {
    match avro {
        AvroType::Null => json.strip_prefix(b"null"),
        AvroType::Boolean => json.strip_prefix(b"true").or_else(|| json.strip_prefix(b"false")),
        AvroType::Int => integer(json).filter(|(value, _)| i32::try_from(*value).is_ok()).map(|(_, rest)| rest),
        AvroType::Long => integer(json).map(|(_, rest)| rest),
        AvroType::String => text(json).map(|(_, rest)| rest),
        AvroType::Enum(words) => {
            let (word, rest) = text(json)?;
            words.iter().any(|known| known.as_bytes() == word).then_some(rest)
        }
        AvroType::Array(element) => elements(element, json.strip_prefix(b"[")?),
        AvroType::Record(fields) => record(fields, json.strip_prefix(b"{")?),
        AvroType::Union(branches) => branches.iter().find_map(|branch| value(branch, json)),
        AvroType::Any
        | AvroType::Float
        | AvroType::Double
        | AvroType::Uuid
        | AvroType::Timestamp
        | AvroType::Map(_) => None,
        // Those are read to see whether they fit.
        AvroType::EpochTime(_)
        | AvroType::Integer { .. }
        | AvroType::Decimal { .. }
        | AvroType::Bytes
        | AvroType::Date
        | AvroType::TimeOfDay
        | AvroType::Interval => None,
    }
}

/// The rest of an array after its bracket.
fn elements<'j>(element: &AvroType, json: &'j [u8]) -> Option<&'j [u8]> {
    if let Some(rest) = json.strip_prefix(b"]") {
        return Some(rest);
    }
    let mut json = json;
    loop {
        json = match value(element, json)? {
            [b',', rest @ ..] => rest,
            [b']', rest @ ..] => return Some(rest),
            _ => return None,
        };
    }
}

/// The rest of a record after its brace: all its fields, in the schema's order as writers mostly have them. Those with a default may be missing.
fn record<'j>(fields: &[AvroField], json: &'j [u8]) -> Option<&'j [u8]> {
    let mut json = json;
    let mut fields = fields.iter();
    loop {
        let (name, rest) = text(json)?;
        let field = loop {
            let field = fields.next()?;
            if field.name.as_bytes() == name {
                break field;
            }
            if !field.has_default {
                return None;
            }
        };
        json = match value(&field.avro, rest.strip_prefix(b":")?)? {
            [b',', rest @ ..] => rest,
            [b'}', rest @ ..] => return fields.all(|field| field.has_default).then_some(rest),
            _ => return None,
        };
    }
}

/// A whole number of at most 18 digits, and what follows it.
fn integer(json: &[u8]) -> Option<(i64, &[u8])> {
    let (negative, digits) = match json {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let follows = digits.get(end);
    let leading_zero = end > 1 && digits[0] == b'0';
    // For JSON readers -0 is a fraction.
    let negative_zero = negative && digits[..end] == *b"0";
    if end == 0 || end > 18 || leading_zero || negative_zero || matches!(follows, Some(b'.' | b'e' | b'E')) {
        return None;
    }
    let value = digits[..end].iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some((if negative { -value } else { value }, &digits[end..]))
}

/// A text as it is spelt between its quotes, and what follows it.
fn text(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let json = json.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        match *json.get(at)? {
            b'"' => return Some((&json[..at], &json[at + 1..])),
            b'\\' if matches!(json.get(at + 1)?, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
            0..=0x1f | b'\\' => return None,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_json;

    fn field(name: &str, avro: AvroType, has_default: bool) -> AvroField {
        AvroField { name: name.to_owned(), avro, has_default }
    }

    fn marks() -> AvroType {
        let kinds = AvroType::Enum(vec!["right".to_owned(), "wrong".to_owned()]);
        AvroType::Array(Box::new(AvroType::Record(vec![
            field("item", AvroType::String, false),
            field("points", AvroType::Int, false),
            field("kind", AvroType::Union(vec![AvroType::Null, kinds]), true),
            field("sure", AvroType::Boolean, true),
        ])))
    }

    #[test]
    fn recognises_what_writers_write() {
        for json in [
            "[]",
            r#"[{"item":"1","points":-5,"kind":"right","sure":true}]"#,
            r#"[{"item":"\"\\\n","points":0},{"item":"é","points":2147483647,"kind":null}]"#,
            r#"[{"item":"1","points":7,"sure":false}]"#,
        ] {
            assert!(surely_fits(&marks(), json), "{json}");
            assert_eq!(check_json(&marks(), json), Ok(()));
        }
    }

    /// Texts made of the pieces of right ones, mostly wrong: what is recognised fits.
    #[test]
    fn recognises_nothing_that_does_not_fit() {
        const PIECES: [&str; 26] = [
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            "\"item\"",
            "\"points\"",
            "\"kind\"",
            "\"sure\"",
            "\"right\"",
            "\"1\"",
            "null",
            "true",
            "5",
            "-",
            "0",
            "05",
            "1.5",
            "2147483648",
            "1e3",
            "\"\\u0041\"",
            "\"\\x\"",
            "\"\t\"",
            "\"",
            " ",
        ];
        let right =
            r#"[ { "item" : "1" , "points" : 5 , "kind" : null , "sure" : true } , { "item" : "1" , "points" : 0 } ]"#;
        let right: Vec<&str> = right.split(' ').collect();
        let (mut recognised, mut state) = (0, 7_u64);
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        for _ in 0..200_000 {
            let mut pieces = right.clone();
            for _ in 0..below(3) {
                let at = below(pieces.len());
                match below(3) {
                    0 => pieces[at] = PIECES[below(PIECES.len())],
                    1 => pieces.insert(at, PIECES[below(PIECES.len())]),
                    _ => drop(pieces.remove(at)),
                }
            }
            let json = pieces.concat();
            if surely_fits(&marks(), &json) {
                recognised += 1;
                // The real judge, not the quick one before it.
                let judged = serde::de::DeserializeSeed::deserialize(
                    crate::nested::Check(&marks()),
                    &mut serde_json::Deserializer::from_str(&json),
                );
                assert!(judged.is_ok(), "{json}: {judged:?}");
            }
        }
        assert!(recognised > 10_000, "{recognised}");
    }
}
