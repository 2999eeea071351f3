//! Avro types as read from `.avsc` files: just what validation needs.

use serde_json::Value;

/// A type of an Avro schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AvroType {
    /// Any JSON value.
    Any,
    /// Always null.
    Null,
    /// `true` or `false`.
    Boolean,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    Long,
    /// 32-bit float.
    Float,
    /// 64-bit float.
    Double,
    /// Text.
    String,
    /// Text that is a UUID.
    Uuid,
    /// An instant. RFC 3339 text, or microseconds since the Unix epoch, on the wire.
    Timestamp,
    /// One of a few words.
    Enum(Vec<String>),
    /// Any number of one type.
    Array(Box<AvroType>),
    /// Text keys, one value type.
    Map(Box<AvroType>),
    /// Named fields.
    Record(Vec<AvroField>),
    /// One of several; a nullable type is a union with null.
    Union(Vec<AvroType>),
}

/// A field of a nested record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvroField {
    /// Its name.
    pub name: String,
    /// Its type.
    pub avro: AvroType,
    /// Whether it may be left out.
    pub has_default: bool,
}

impl AvroType {
    /// Reads a type.
    ///
    /// # Errors
    /// A message that names what is not understood.
    pub fn parse(json: &Value) -> Result<Self, String> {
        match json {
            Value::String(name) => Self::primitive(name),
            Value::Array(branches) => Ok(Self::Union(branches.iter().map(Self::parse).collect::<Result<_, _>>()?)),
            Value::Object(object) => Self::complex(object),
            other => Err(format!("{other} is not an Avro type")),
        }
    }

    fn primitive(name: &str) -> Result<Self, String> {
        Ok(match name {
            "null" => Self::Null,
            "boolean" => Self::Boolean,
            "int" => Self::Int,
            "long" => Self::Long,
            "float" => Self::Float,
            "double" => Self::Double,
            "string" => Self::String,
            other => {
                return Err(format!(
                    "Avro type '{other}' is not known here (named types must be written out where they are used)"
                ));
            }
        })
    }

    fn complex(object: &serde_json::Map<String, Value>) -> Result<Self, String> {
        let Some(Value::String(kind)) = object.get("type") else {
            return Err("a type without \"type\"".to_owned());
        };
        let inner = |name: &str| object.get(name).ok_or_else(|| format!("{kind} without \"{name}\""));
        match (kind.as_str(), object.get("logicalType").and_then(Value::as_str)) {
            ("long", Some("timestamp-micros")) => Ok(Self::Timestamp),
            ("string", Some("uuid")) => Ok(Self::Uuid),
            ("string", Some("json")) => Ok(Self::Any),
            (_, Some(logical)) => Err(format!("logical type '{logical}' of {kind} is not known here")),
            ("array", None) => Ok(Self::Array(Box::new(Self::parse(inner("items")?)?))),
            ("map", None) => Ok(Self::Map(Box::new(Self::parse(inner("values")?)?))),
            ("enum", None) => {
                let symbols = inner("symbols")?.as_array().ok_or("enum symbols are an array")?;
                let words = symbols.iter().map(|symbol| symbol.as_str().map(str::to_owned));
                Ok(Self::Enum(words.collect::<Option<_>>().ok_or("enum symbols are strings")?))
            }
            ("record", None) => {
                let fields = inner("fields")?.as_array().ok_or("record fields are an array")?;
                Ok(Self::Record(fields.iter().map(AvroField::from_json).collect::<Result<_, _>>()?))
            }
            (primitive, None) => Self::primitive(primitive),
        }
    }

    /// The type without null, and whether null was allowed.
    #[must_use]
    pub fn without_null(&self) -> (Self, bool) {
        let Self::Union(branches) = self else {
            return (self.clone(), *self == Self::Null);
        };
        let others: Vec<Self> = branches.iter().filter(|branch| **branch != Self::Null).cloned().collect();
        let nullable = others.len() < branches.len();
        match <[Self; 1]>::try_from(others) {
            Ok([only]) => (only, nullable),
            Err(others) => (Self::Union(others), nullable),
        }
    }
}

impl AvroField {
    pub(crate) fn from_json(json: &Value) -> Result<Self, String> {
        let name = json.get("name").and_then(Value::as_str).ok_or("a field without \"name\"")?;
        let avro = json.get("type").ok_or_else(|| format!("field '{name}' without \"type\""))?;
        Ok(Self {
            name: name.to_owned(),
            avro: AvroType::parse(avro).map_err(|message| format!("field '{name}': {message}"))?,
            has_default: json.get("default").is_some(),
        })
    }
}
