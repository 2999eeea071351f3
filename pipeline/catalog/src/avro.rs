//! Avro types as read from `.avsc` files: just what validation needs.

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use serde_json::{Value, json};
use std::sync::Arc;

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
    /// An instant. RFC 3339 text, or a number of these since the Unix epoch, on the wire.
    EpochTime(EpochUnit),
    /// A whole number of fewer bits than [`AvroType::Int`], or without sign.
    Integer {
        /// 8, 16, 32 or 64.
        bits: u8,
        /// Whether it can be negative.
        signed: bool,
    },
    /// A decimal number, as a number or as text.
    Decimal {
        /// How many digits it has at most.
        precision: u8,
        /// How many of them stand after the point.
        scale: i8,
    },
    /// Bytes, as hexadecimal text.
    Bytes,
    /// A day, as text such as `2025-09-01`.
    Date,
    /// A time of day, as text such as `08:30:00.5`; microseconds.
    TimeOfDay,
    /// A span of time, as text such as `1 day 2 hours`.
    Interval,
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

/// What numbers of an instant count, where it is not microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochUnit {
    /// Seconds.
    Seconds,
    /// Thousandths.
    Millis,
    /// Thousand millionths.
    Nanos,
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
    /// As it stands in an `.avsc` file.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Any => json!({"type": "string", "logicalType": "json"}),
            Self::Null => json!("null"),
            Self::Boolean => json!("boolean"),
            Self::Int => json!("int"),
            Self::Long => json!("long"),
            Self::Float => json!("float"),
            Self::Double => json!("double"),
            Self::String => json!("string"),
            Self::Uuid => json!({"type": "string", "logicalType": "uuid"}),
            Self::Timestamp => json!({"type": "long", "logicalType": "timestamp-micros"}),
            Self::EpochTime(unit) => json!({"type": "long", "logicalType": unit.logical_type()}),
            Self::Integer { bits, signed } => {
                let sign = if *signed { "" } else { "u" };
                json!({"type": "long", "logicalType": format!("{sign}int{bits}")})
            }
            Self::Decimal { precision, scale } => {
                json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
            }
            Self::Bytes => json!("bytes"),
            Self::Date => json!({"type": "int", "logicalType": "date"}),
            Self::TimeOfDay => json!({"type": "long", "logicalType": "time-micros"}),
            Self::Interval => json!({"type": "string", "logicalType": "interval"}),
            Self::Enum(words) => json!({"type": "enum", "symbols": words}),
            Self::Array(items) => json!({"type": "array", "items": items.to_json()}),
            Self::Map(values) => json!({"type": "map", "values": values.to_json()}),
            Self::Record(fields) => {
                let fields: Vec<Value> = fields.iter().map(AvroField::to_json).collect();
                json!({"type": "record", "fields": fields})
            }
            Self::Union(branches) => branches.iter().map(Self::to_json).collect(),
        }
    }

    /// The Arrow type that SQL has for it; `None` when SQL has only `JSON` for it.
    #[must_use]
    pub fn arrow(&self) -> Option<DataType> {
        Some(match self {
            Self::Any | Self::Null | Self::Map(_) => return None,
            Self::Boolean => DataType::Boolean,
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::String | Self::Uuid | Self::Enum(_) => DataType::Utf8,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::EpochTime(unit) => DataType::Timestamp(unit.arrow(), None),
            Self::Integer { bits: 8, signed: true } => DataType::Int8,
            Self::Integer { bits: 16, signed: true } => DataType::Int16,
            Self::Integer { bits: 32, signed: true } => DataType::Int32,
            Self::Integer { signed: true, .. } => DataType::Int64,
            Self::Integer { bits: 8, .. } => DataType::UInt8,
            Self::Integer { bits: 16, .. } => DataType::UInt16,
            Self::Integer { bits: 32, .. } => DataType::UInt32,
            Self::Integer { .. } => DataType::UInt64,
            Self::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Bytes => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::TimeOfDay => DataType::Time64(TimeUnit::Microsecond),
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::Array(items) => DataType::List(Arc::new(Field::new("item", items.arrow()?, true))),
            Self::Record(fields) => {
                let fields = fields.iter().map(|field| Some(Field::new(&field.name, field.avro.arrow()?, true)));
                DataType::Struct(fields.collect::<Option<Vec<Field>>>()?.into())
            }
            Self::Union(_) => match self.without_null() {
                (Self::Union(_), _) => return None,
                (only, _) => only.arrow()?,
            },
        })
    }

    /// Whether values are read as their SQL type to see that they fit: some type in it is not one of JSON's or of Avro's plain ones.
    #[must_use]
    pub fn is_of_sql(&self) -> bool {
        match self {
            Self::EpochTime(_)
            | Self::Integer { .. }
            | Self::Decimal { .. }
            | Self::Bytes
            | Self::Date
            | Self::TimeOfDay
            | Self::Interval => true,
            Self::Array(inner) | Self::Map(inner) => inner.is_of_sql(),
            Self::Record(fields) => fields.iter().any(|field| field.avro.is_of_sql()),
            Self::Union(branches) => branches.iter().any(Self::is_of_sql),
            _ => false,
        }
    }

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
            "bytes" => Self::Bytes,
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
            ("string", Some("interval")) => Ok(Self::Interval),
            ("int", Some("date")) => Ok(Self::Date),
            ("long", Some("time-micros")) => Ok(Self::TimeOfDay),
            ("bytes", Some("decimal")) => Self::decimal(object),
            ("long", Some(logical)) if EpochUnit::of(logical).is_some() => {
                Ok(EpochUnit::of(logical).map_or(Self::Timestamp, Self::EpochTime))
            }
            ("long", Some(logical)) if Self::integer(logical).is_some() => {
                Ok(Self::integer(logical).unwrap_or(Self::Long))
            }
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

    fn decimal(object: &serde_json::Map<String, Value>) -> Result<Self, String> {
        let number = |name: &str| object.get(name).and_then(Value::as_i64);
        let precision = number("precision").and_then(|precision| u8::try_from(precision).ok());
        let scale = i8::try_from(number("scale").unwrap_or(0)).ok();
        match (precision, scale) {
            (Some(precision @ 1..=38), Some(scale @ 0..)) if scale.unsigned_abs() <= precision => {
                Ok(Self::Decimal { precision, scale })
            }
            _ => Err("a decimal has a \"precision\" from 1 to 38 and a \"scale\" from 0 to that".to_owned()),
        }
    }

    /// `int8`, `uint64` and those between them.
    fn integer(logical: &str) -> Option<Self> {
        let (signed, bits) = match logical.strip_prefix("uint") {
            Some(bits) => (false, bits),
            None => (true, logical.strip_prefix("int")?),
        };
        let bits = bits.parse().ok().filter(|bits| [8, 16, 32, 64].contains(bits))?;
        Some(Self::Integer { bits, signed })
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

impl EpochUnit {
    fn logical_type(self) -> &'static str {
        match self {
            Self::Seconds => "timestamp-seconds",
            Self::Millis => "timestamp-millis",
            Self::Nanos => "timestamp-nanos",
        }
    }

    fn of(logical: &str) -> Option<Self> {
        [Self::Seconds, Self::Millis, Self::Nanos].into_iter().find(|unit| unit.logical_type() == logical)
    }

    /// How many nanoseconds it has.
    #[must_use]
    pub fn nanos(self) -> i64 {
        match self {
            Self::Seconds => 1_000_000_000,
            Self::Millis => 1_000_000,
            Self::Nanos => 1,
        }
    }

    fn arrow(self) -> TimeUnit {
        match self {
            Self::Seconds => TimeUnit::Second,
            Self::Millis => TimeUnit::Millisecond,
            Self::Nanos => TimeUnit::Nanosecond,
        }
    }

    /// In words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Millis => "milliseconds",
            Self::Nanos => "nanoseconds",
        }
    }
}

impl AvroField {
    fn to_json(&self) -> Value {
        let mut json = json!({"name": self.name, "type": self.avro.to_json()});
        if let (true, Some(json)) = (self.has_default, json.as_object_mut()) {
            json.insert("default".to_owned(), Value::Null);
        }
        json
    }

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
