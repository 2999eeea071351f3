//! A topic's schema: the records it can hold and the flat columns that store them.

use crate::avro::{AvroField, AvroType, EpochUnit};
use arrow::array::{ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// An `.avsc` file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("schema of topic '{topic}': {message}")]
pub struct SchemaError {
    /// Whose schema.
    pub topic: String,
    /// What is wrong with it.
    pub message: String,
}

/// How a column is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `BOOLEAN`.
    Boolean,
    /// `INT`, 32 bits.
    Int,
    /// `BIGINT`, 64 bits.
    Long,
    /// `REAL`, 32 bits.
    Float,
    /// `DOUBLE`, 64 bits.
    Double,
    /// `TEXT`.
    Text,
    /// `TEXT` that is a UUID.
    Uuid,
    /// `TEXT`, one of these words.
    Word(Vec<String>),
    /// `TIMESTAMP`, nanoseconds UTC; numbers on the wire are microseconds.
    Timestamp,
    /// The same, with other numbers on the wire.
    EpochTime(EpochUnit),
    /// `JSON`: text, valid by this Avro type.
    Json(AvroType),
}

impl ColumnType {
    fn of(avro: AvroType) -> Self {
        match avro {
            AvroType::Boolean => Self::Boolean,
            AvroType::Int => Self::Int,
            AvroType::Long => Self::Long,
            AvroType::Float => Self::Float,
            AvroType::Double => Self::Double,
            AvroType::String => Self::Text,
            AvroType::Uuid => Self::Uuid,
            AvroType::Enum(words) => Self::Word(words),
            AvroType::Timestamp => Self::Timestamp,
            AvroType::EpochTime(unit) => Self::EpochTime(unit),
            nested => Self::Json(nested),
        }
    }

    /// The Arrow type of the column.
    #[must_use]
    pub fn arrow(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Text | Self::Uuid | Self::Word(_) | Self::Json(_) => DataType::Utf8,
            Self::Timestamp | Self::EpochTime(_) => DataType::Timestamp(TimeUnit::Nanosecond, None),
        }
    }

    /// What a producer has to send, in words.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::Boolean => "true or false".to_owned(),
            Self::Int => "an integer of 32 bits".to_owned(),
            Self::Long => "an integer of 64 bits".to_owned(),
            Self::Float | Self::Double => "a number".to_owned(),
            Self::Text => "a string".to_owned(),
            Self::Uuid => "a UUID".to_owned(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Timestamp => "an RFC 3339 timestamp such as \"2025-09-01T08:00:00Z\"".to_owned(),
            Self::EpochTime(unit) => {
                format!("an RFC 3339 timestamp such as \"2025-09-01T08:00:00Z\", or {} since 1970", unit.word())
            }
            Self::Json(AvroType::Integer { bits, signed: true }) => format!("an integer of {bits} bits"),
            Self::Json(AvroType::Integer { bits, .. }) => format!("an integer of {bits} bits, not negative"),
            Self::Json(AvroType::Decimal { precision, scale }) => {
                format!("a number of up to {precision} digits, {scale} of them after the point")
            }
            Self::Json(AvroType::Bytes) => "bytes as hexadecimal text".to_owned(),
            Self::Json(AvroType::Date) => "a date such as \"2025-09-01\"".to_owned(),
            Self::Json(AvroType::TimeOfDay) => "a time such as \"08:30:00\"".to_owned(),
            Self::Json(AvroType::Interval) => "a span of time such as \"1 day 2 hours\"".to_owned(),
            Self::Json(AvroType::Array(_)) => "an array".to_owned(),
            Self::Json(AvroType::Any) => "a JSON value".to_owned(),
            Self::Json(_) => "an object".to_owned(),
        }
    }
}

/// A stored column of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether some record of the topic can be without it.
    pub nullable: bool,
}

/// A field of an event points at another topic's field: the value must have been seen there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The topic that knows the value.
    pub topic: String,
    /// Its column.
    pub column: String,
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordField {
    /// Which of the topic's columns stores it.
    pub column: usize,
    /// Whether it may be null.
    pub nullable: bool,
    /// What stands for it when it is left out.
    pub default: Option<Value>,
    /// Where its value must be known already.
    pub references: Option<Reference>,
}

/// One kind of event of a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordSchema {
    /// The value of `event_type`.
    pub event_type: String,
    /// Its fields, envelope first.
    pub fields: Vec<RecordField>,
    /// The columns whose values choose the partition.
    pub key: Vec<usize>,
    /// The columns whose values, with type and tenant, are the event's identity.
    pub idempotency_key: Vec<usize>,
}

impl RecordSchema {
    /// What stands for a column that is left out, unless that is null.
    fn default_of(&self, column: usize) -> Option<&Value> {
        let field = self.fields.iter().find(|field| field.column == column)?;
        field.default.as_ref().filter(|default| !default.is_null())
    }
}

/// All kinds of event of a topic, and the columns that store them.
#[derive(Clone, Debug)]
pub struct TopicSchema {
    /// The topic's name.
    pub topic: String,
    /// The records, in the file's order.
    pub records: Vec<RecordSchema>,
    /// The columns: first the envelope's, then each record's own.
    pub columns: Vec<Column>,
    /// How many partitions the topic is created with.
    pub partitions: u16,
    by_event_type: HashMap<String, usize>,
    by_column: HashMap<String, usize>,
    arrow: SchemaRef,
}

/// Partitions of a topic whose schema does not say.
const PARTITIONS_DEFAULT: u16 = 4;

impl TopicSchema {
    /// Unknown fields of an event, as a JSON object; NULL when there were none.
    pub const REST: &'static str = "_rest";
    /// A hash of the event's content, so that the same id with other content is found.
    pub const CONTENT: &'static str = "_content";

    /// Reads a topic's `.avsc` and the envelope's.
    ///
    /// # Errors
    /// When either is not what the crate docs describe.
    pub fn parse(topic: &str, avsc: &str, envelope: &str) -> Result<Self, SchemaError> {
        Builder::default()
            .read(avsc, envelope)
            .map(|builder| builder.finish(topic))
            .map_err(|message| SchemaError { topic: topic.to_owned(), message })
    }

    /// The `.avsc` of a table that has none: one record with just these columns, and no envelope. `is_identified`: its rows have ids that
    /// stay when they are given again, in a column `event_id`.
    #[must_use]
    pub fn avsc_of_table(table: &str, columns: &[Column], is_identified: bool) -> String {
        let fields: Vec<Value> = columns
            .iter()
            .map(|column| {
                let avro = match &column.column_type {
                    ColumnType::Boolean => serde_json::json!("boolean"),
                    ColumnType::Int => serde_json::json!("int"),
                    ColumnType::Long => serde_json::json!("long"),
                    ColumnType::Float => serde_json::json!("float"),
                    ColumnType::Double => serde_json::json!("double"),
                    ColumnType::Text | ColumnType::Uuid | ColumnType::Word(_) => serde_json::json!("string"),
                    ColumnType::Timestamp => serde_json::json!({"type": "long", "logicalType": "timestamp-micros"}),
                    ColumnType::EpochTime(unit) => AvroType::EpochTime(*unit).to_json(),
                    ColumnType::Json(avro) => avro.to_json(),
                };
                let avro = if column.nullable { serde_json::json!(["null", avro]) } else { avro };
                serde_json::json!({"name": column.name, "type": avro})
            })
            .collect();
        let mut record = serde_json::json!({"type": "record", "event_type": table, "partitions": 1, "fields": fields});
        if is_identified {
            record["idempotency_key"] = serde_json::json!(["event_id"]);
        }
        record.to_string()
    }

    /// The envelope of tables that have none.
    pub const NO_ENVELOPE: &'static str = r#"{"type":"record","name":"None","fields":[]}"#;

    /// The record of an event type.
    #[must_use]
    pub fn record(&self, event_type: &str) -> Option<&RecordSchema> {
        self.by_event_type.get(event_type).map(|&index| &self.records[index])
    }

    /// The position of a column.
    #[must_use]
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.by_column.get(name).copied()
    }

    /// What stands for a column in events that were written before it was added: a default that all records give. `None` when there is
    /// none, or when it is null.
    #[must_use]
    pub fn default_of(&self, column: usize) -> Option<&Value> {
        let mut defaults = self.records.iter().map(|record| record.default_of(column));
        let first = defaults.next().flatten()?;
        defaults.all(|default| default == Some(first)).then_some(first)
    }

    /// Whether it says the same about events as another.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        (&self.records, &self.columns, self.partitions) == (&other.records, &other.columns, other.partitions)
    }

    /// [`TopicSchema::default_of`] for so many rows; `None` also when the default is no value of the column.
    #[must_use]
    pub fn defaults(&self, column: usize, rows: usize) -> Option<ArrayRef> {
        let default = self.default_of(column)?;
        Some(match self.columns[column].column_type {
            ColumnType::Boolean => Arc::new(BooleanArray::from(vec![default.as_bool()?; rows])),
            ColumnType::Int => Arc::new(Int32Array::from(vec![i32::try_from(default.as_i64()?).ok()?; rows])),
            ColumnType::Long => Arc::new(Int64Array::from(vec![default.as_i64()?; rows])),
            ColumnType::Float => Arc::new(Float32Array::from(vec![default.as_f64()? as f32; rows])),
            ColumnType::Double => Arc::new(Float64Array::from(vec![default.as_f64()?; rows])),
            ColumnType::Text | ColumnType::Uuid | ColumnType::Word(_) => {
                Arc::new(StringArray::from(vec![default.as_str()?; rows]))
            }
            ColumnType::Json(_) => Arc::new(StringArray::from(vec![default.to_string(); rows])),
            ColumnType::Timestamp | ColumnType::EpochTime(_) => return None,
        })
    }

    /// The Arrow schema of stored batches: the columns, then [`Self::REST`] and [`Self::CONTENT`].
    #[must_use]
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }
}

#[derive(Default)]
struct Builder {
    columns: Vec<Column>,
    seen_in: Vec<usize>,
    records: Vec<RecordSchema>,
    partitions: Option<u16>,
}

impl Builder {
    fn read(mut self, avsc: &str, envelope: &str) -> Result<Self, String> {
        let parse = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| error.to_string());
        let envelope = parse(envelope).map_err(|message| format!("envelope: {message}"))?;
        let envelope_fields = fields_of(&envelope)?;
        let file = parse(avsc)?;
        let records = match &file {
            Value::Array(union) => union.iter().collect(),
            single => vec![single],
        };
        for record in records {
            self.add_record(record, envelope_fields)?;
        }
        Ok(self)
    }

    fn add_record(&mut self, record: &Value, envelope: &[Value]) -> Result<(), String> {
        let event_type = record
            .get("event_type")
            .and_then(Value::as_str)
            .ok_or("a record without \"event_type\": it says which events the record describes")?;
        if self.records.iter().any(|known| known.event_type == event_type) {
            return Err(format!("two records for event type '{event_type}'"));
        }
        if let Some(count) = record.get("partitions") {
            let count = count.as_u64().and_then(|count| u16::try_from(count).ok()).filter(|&count| count > 0);
            self.partitions = Some(count.ok_or("\"partitions\" is a number from 1 to 65535")?);
        }
        let mut fields = Vec::new();
        for json in envelope.iter().chain(fields_of(record)?) {
            fields.push(self.add_field(json).map_err(|message| format!("record '{event_type}': {message}"))?);
        }
        let key = self.named_columns(record, "key", &fields)?;
        let idempotency_key = self.named_columns(record, "idempotency_key", &fields)?;
        self.records.push(RecordSchema { event_type: event_type.to_owned(), fields, key, idempotency_key });
        Ok(())
    }

    fn add_field(&mut self, json: &Value) -> Result<RecordField, String> {
        let AvroField { name, avro, .. } = AvroField::from_json(json)?;
        let (avro, nullable) = avro.without_null();
        let column_type = ColumnType::of(avro);
        let column = match self.columns.iter().position(|column| column.name == name) {
            Some(index) if self.columns[index].column_type == column_type => index,
            Some(_) => {
                return Err(format!("field '{name}' has another type in another record of the topic"));
            }
            None => {
                self.columns.push(Column { name: name.clone(), column_type, nullable: false });
                self.seen_in.push(0);
                self.columns.len() - 1
            }
        };
        self.seen_in[column] += 1;
        self.columns[column].nullable |= nullable;
        let references = match json.get("references").map(|value| value.as_str().and_then(|text| text.split_once('.')))
        {
            None => None,
            Some(Some((topic, column))) => Some(Reference { topic: topic.to_owned(), column: column.to_owned() }),
            Some(None) => {
                return Err(format!("field '{name}': \"references\" is \"topic.column\""));
            }
        };
        Ok(RecordField { column, nullable, default: json.get("default").cloned(), references })
    }

    fn named_columns(&self, record: &Value, attribute: &str, fields: &[RecordField]) -> Result<Vec<usize>, String> {
        let Some(names) = record.get(attribute) else {
            return Ok(Vec::new());
        };
        let names = names.as_array().ok_or_else(|| format!("\"{attribute}\" is an array of field names"))?;
        names
            .iter()
            .map(|name| {
                fields
                    .iter()
                    .map(|field| field.column)
                    .find(|&column| Some(self.columns[column].name.as_str()) == name.as_str())
                    .ok_or_else(|| format!("\"{attribute}\" names {name}, which is no field of the record"))
            })
            .collect()
    }

    fn finish(mut self, topic: &str) -> TopicSchema {
        for (column, seen_in) in self.columns.iter_mut().zip(&self.seen_in) {
            column.nullable |= *seen_in < self.records.len();
        }
        let mut arrow: Vec<Field> = self
            .columns
            .iter()
            .map(|column| Field::new(&column.name, column.column_type.arrow(), column.nullable))
            .collect();
        arrow.push(Field::new(TopicSchema::REST, DataType::Utf8, true));
        arrow.push(Field::new(TopicSchema::CONTENT, DataType::UInt64, false));
        TopicSchema {
            topic: topic.to_owned(),
            by_event_type: numbered(self.records.iter().map(|record| &record.event_type)),
            by_column: numbered(self.columns.iter().map(|column| &column.name)),
            partitions: self.partitions.unwrap_or(PARTITIONS_DEFAULT),
            records: self.records,
            columns: self.columns,
            arrow: Arc::new(Schema::new(arrow)),
        }
    }
}

fn numbered<'a>(names: impl Iterator<Item = &'a String>) -> HashMap<String, usize> {
    names.enumerate().map(|(index, name)| (name.clone(), index)).collect()
}

fn fields_of(record: &Value) -> Result<&[Value], String> {
    let fields = record.get("fields").and_then(Value::as_array);
    fields.map(Vec::as_slice).ok_or_else(|| "a record without \"fields\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVELOPE: &str = r#"{"type":"record","name":"E","fields":[{"name":"event_type","type":"string"}]}"#;

    #[test]
    fn a_union_becomes_one_flat_table() {
        let avsc = r#"[
            {"type":"record","name":"A","event_type":"a","key":["id"],"fields":[{"name":"id","type":"string"},{"name":"n","type":"int"}]},
            {"type":"record","name":"B","event_type":"b","key":["id"],"fields":[{"name":"id","type":"string"},{"name":"tags","type":{"type":"array","items":"string"}}]}
        ]"#;
        let schema = TopicSchema::parse("t", avsc, ENVELOPE).expect("a good schema");
        let columns: Vec<(&str, bool)> =
            schema.columns.iter().map(|column| (column.name.as_str(), column.nullable)).collect();
        assert_eq!(columns, [("event_type", false), ("id", false), ("n", true), ("tags", true)]);
        assert_eq!(schema.record("b").expect("b is known").key, [1]);
        assert_eq!(schema.arrow().field_with_name("tags").expect("a column").data_type(), &DataType::Utf8);
    }

    #[test]
    fn mistakes_are_named() {
        for (avsc, expected) in [
            (r#"[{"type":"record","name":"A","fields":[]}]"#, "without \"event_type\""),
            (r#"[{"event_type":"a","key":["x"],"fields":[]}]"#, "\"key\" names \"x\""),
            (r#"[{"event_type":"a","fields":[{"name":"x","type":"decimal"}]}]"#, "Avro type 'decimal' is not known"),
            (
                r#"[{"event_type":"a","fields":[{"name":"x","type":{"type":"bytes","logicalType":"decimal"}}]}]"#,
                "a decimal has a \"precision\"",
            ),
        ] {
            let error = TopicSchema::parse("t", avsc, ENVELOPE).expect_err("a bad schema").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    /// What a table's columns are written as is read as the same.
    #[test]
    fn types_of_sql_are_written_and_read() {
        let union = |avro| AvroType::Union(vec![AvroType::Null, avro]);
        let record =
            AvroType::Record(vec![AvroField { name: "d".to_owned(), avro: union(AvroType::Date), has_default: true }]);
        let of = |name: &str, column_type| Column { name: name.to_owned(), column_type, nullable: true };
        let mut columns = vec![
            of("a", ColumnType::EpochTime(EpochUnit::Millis)),
            of("b", ColumnType::Json(AvroType::Array(Box::new(union(record))))),
        ];
        let exotic = [
            AvroType::Integer { bits: 16, signed: true },
            AvroType::Integer { bits: 64, signed: false },
            AvroType::Decimal { precision: 10, scale: 2 },
            AvroType::Bytes,
            AvroType::Date,
            AvroType::TimeOfDay,
            AvroType::Interval,
            AvroType::Any,
        ];
        columns.extend(exotic.into_iter().enumerate().map(|(n, avro)| of(&format!("c{n}"), ColumnType::Json(avro))));
        let avsc = TopicSchema::avsc_of_table("t", &columns, false);
        let schema = TopicSchema::parse("t", &avsc, TopicSchema::NO_ENVELOPE).expect("a good schema");
        assert_eq!(schema.columns, columns);
    }
}
