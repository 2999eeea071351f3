//! Validation of a nested field's JSON text against its Avro type, in one pass and without building values.

use chalk_catalog::{AvroField, AvroType};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Checks a value against a type. Errors begin with the path inside the field, such as `[3].points: `.
#[derive(Clone, Copy)]
pub(crate) struct Check<'a>(pub(crate) &'a AvroType);

impl<'de> DeserializeSeed<'de> for Check<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if *self.0 == AvroType::Any {
            return IgnoredAny::deserialize(deserializer).map(|_| ());
        }
        deserializer.deserialize_any(self)
    }
}

impl Check<'_> {
    /// Whether any branch of the type accepts a scalar of one of these kinds.
    fn accepts<E: Error>(self, found: &str, fits: impl Fn(&AvroType) -> bool) -> Result<(), E> {
        let ok = match self.0 {
            AvroType::Union(branches) => branches.iter().any(&fits),
            single => fits(single),
        };
        if ok { Ok(()) } else { Err(E::custom(format_args!(": expected {}, found {found}", expected(self.0)))) }
    }

    fn branch(&self, fits: impl Fn(&AvroType) -> bool) -> Option<&AvroType> {
        match self.0 {
            AvroType::Union(branches) => branches.iter().find(|branch| fits(branch)),
            single => Some(single).filter(|single| fits(single)),
        }
    }
}

fn expected(avro: &AvroType) -> String {
    match avro {
        AvroType::Any => "any value".to_owned(),
        AvroType::Null => "null".to_owned(),
        AvroType::Boolean => "true or false".to_owned(),
        AvroType::Int | AvroType::Long => "an integer".to_owned(),
        AvroType::Float | AvroType::Double => "a number".to_owned(),
        AvroType::String => "a string".to_owned(),
        AvroType::Uuid => "a UUID".to_owned(),
        AvroType::Timestamp | AvroType::EpochTime(_) => "an RFC 3339 timestamp".to_owned(),
        AvroType::Integer { .. } => "an integer".to_owned(),
        AvroType::Decimal { .. } => "a decimal number".to_owned(),
        AvroType::Bytes => "hexadecimal text".to_owned(),
        AvroType::Date => "a date".to_owned(),
        AvroType::TimeOfDay => "a time of day".to_owned(),
        AvroType::Interval => "a span of time".to_owned(),
        AvroType::Enum(words) => format!("one of {}", words.join(", ")),
        AvroType::Array(_) => "an array".to_owned(),
        AvroType::Map(_) | AvroType::Record(_) => "an object".to_owned(),
        AvroType::Union(branches) => branches.iter().map(expected).collect::<Vec<_>>().join(" or "),
    }
}

/// Puts a step of the path before an inner error's message.
fn inside<E: Error + fmt::Display>(step: impl fmt::Display, error: &E) -> E {
    let message = error.to_string();
    // serde_json adds " at line … column …" once more for the new error: keep only the message.
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    E::custom(format_args!("{step}{message}"))
}

impl<'de> Visitor<'de> for Check<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&expected(self.0))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.accepts("null", |avro| *avro == AvroType::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.accepts(if value { "true" } else { "false" }, |avro| *avro == AvroType::Boolean)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.accepts("a number", |avro| match avro {
            AvroType::Int => i32::try_from(value).is_ok(),
            AvroType::Long | AvroType::Float | AvroType::Double | AvroType::Timestamp => true,
            _ => false,
        })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.accepts("a number", |avro| matches!(avro, AvroType::Float | AvroType::Double))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.accepts("a string", |avro| match avro {
            AvroType::String => true,
            AvroType::Enum(words) => words.iter().any(|word| word == value),
            AvroType::Timestamp => crate::parse_timestamp(value).is_some(),
            AvroType::Uuid => value.len() == 36,
            _ => false,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Some(AvroType::Array(inner)) = self.branch(|avro| matches!(avro, AvroType::Array(_))) else {
            return self.accepts("an array", |_| false);
        };
        let mut index = 0;
        while elements
            .next_element_seed(Check(inner))
            .map_err(|error| inside(format_args!("[{index}]"), &error))?
            .is_some()
        {
            index += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        match self.branch(|avro| matches!(avro, AvroType::Map(_) | AvroType::Record(_))) {
            Some(AvroType::Map(inner)) => {
                while let Some(key) = entries.next_key::<String>()? {
                    entries.next_value_seed(Check(inner)).map_err(|error| inside(format_args!(".{key}"), &error))?;
                }
                Ok(())
            }
            Some(AvroType::Record(fields)) => {
                let mut seen = Seen::new(fields.len());
                // Writers mostly keep to the schema's order, so the next field is the first guess.
                let mut guess = 0;
                while let Some(index) = entries.next_key_seed(FieldOf { fields, guess })? {
                    let Some(index) = index else {
                        entries.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    seen.insert(index);
                    guess = index + 1;
                    let field = &fields[index];
                    let check = Check(&field.avro);
                    entries.next_value_seed(check).map_err(|error| inside(format_args!(".{}", field.name), &error))?;
                }
                let missing = (0..fields.len()).find(|&index| !fields[index].has_default && !seen.contains(index));
                match missing {
                    Some(index) => Err(A::Error::custom(format_args!(".{}: it is missing", fields[index].name))),
                    None => Ok(()),
                }
            }
            _ => self.accepts("an object", |_| false),
        }
    }
}

/// Which of a record's fields a key names, without a copy of the key.
struct FieldOf<'a> {
    fields: &'a [AvroField],
    guess: usize,
}

impl<'de> DeserializeSeed<'de> for FieldOf<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldOf<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Option<usize>, E> {
        if self.fields.get(self.guess).is_some_and(|field| field.name == key) {
            return Ok(Some(self.guess));
        }
        Ok(self.fields.iter().position(|field| field.name == key))
    }
}

/// A set of field numbers; that of a record with up to 64 fields, which is every usual one, is one word.
enum Seen {
    Few(u64),
    Many(Vec<bool>),
}

impl Seen {
    fn new(fields: usize) -> Self {
        if fields <= 64 { Self::Few(0) } else { Self::Many(vec![false; fields]) }
    }

    fn insert(&mut self, index: usize) {
        match self {
            Self::Few(bits) => *bits |= 1 << index,
            Self::Many(seen) => seen[index] = true,
        }
    }

    fn contains(&self, index: usize) -> bool {
        match self {
            Self::Few(bits) => bits & (1 << index) != 0,
            Self::Many(seen) => seen[index],
        }
    }
}
