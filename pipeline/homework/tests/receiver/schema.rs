//! The schemas as they stand in `schemas/`, read for this test alone.

use chalk_homework::TOPICS;
use chrono::DateTime;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// All records of the topics that a school writes, by event type.
pub(crate) struct Schemas(BTreeMap<String, Record>);

pub(crate) struct Record {
    pub(crate) topic: &'static str,
    /// The envelope's first.
    pub(crate) fields: Vec<Field>,
    pub(crate) idempotency_key: Vec<String>,
}

pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) avro: Json,
    pub(crate) default: Option<Json>,
    pub(crate) refers: bool,
}

impl Schemas {
    pub(crate) fn read() -> Self {
        let envelope = Field::all(&avsc("envelope"));
        let mut records = BTreeMap::new();
        for topic in TOPICS {
            for record in avsc(topic).as_array().expect("a union of records") {
                let key = record["idempotency_key"].as_array().expect("names");
                let described = Record {
                    topic,
                    fields: envelope.iter().map(Field::again).chain(Field::all(record)).collect(),
                    idempotency_key: key.iter().map(|name| name.as_str().expect("a name").to_owned()).collect(),
                };
                records.insert(record["event_type"].as_str().expect("a word").to_owned(), described);
            }
        }
        Self(records)
    }

    pub(crate) fn record(&self, event_type: &str) -> Option<&Record> {
        self.0.get(event_type)
    }

    pub(crate) fn event_types(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The columns of a topic in the order in which its records name them.
    pub(crate) fn columns(&self, topic: &str) -> Vec<String> {
        let mut columns: Vec<String> = Field::all(&avsc("envelope")).into_iter().map(|field| field.name).collect();
        for record in avsc(topic).as_array().expect("a union of records") {
            for field in Field::all(record) {
                if !columns.contains(&field.name) {
                    columns.push(field.name);
                }
            }
        }
        columns
    }
}

impl Field {
    fn all(record: &Json) -> Vec<Self> {
        let fields = record["fields"].as_array().expect("fields");
        let field = |field: &Json| Self {
            name: field["name"].as_str().expect("a name").to_owned(),
            avro: field["type"].clone(),
            default: field.get("default").cloned(),
            refers: field.get("references").is_some(),
        };
        fields.iter().map(field).collect()
    }

    fn again(&self) -> Self {
        Self { name: self.name.clone(), avro: self.avro.clone(), default: self.default.clone(), refers: self.refers }
    }
}

fn avsc(name: &str) -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../schemas/{name}.avsc"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

/// Whether `value` is of an Avro type.
pub(crate) fn is_a(value: &Json, avro: &Json) -> bool {
    match avro {
        Json::String(name) => match name.as_str() {
            "null" => value.is_null(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "int" => value.as_i64().is_some_and(|value| i32::try_from(value).is_ok()),
            "long" => value.is_i64(),
            other => panic!("type {other}"),
        },
        Json::Array(branches) => branches.iter().any(|branch| is_a(value, branch)),
        _ => match (avro["type"].as_str(), avro["logicalType"].as_str()) {
            (_, Some("timestamp-micros")) => {
                value.as_str().is_some_and(|text| DateTime::parse_from_rfc3339(text).is_ok())
            }
            (_, Some("uuid")) => value.is_string(),
            (Some("enum"), _) => avro["symbols"].as_array().expect("symbols").contains(value),
            (Some("array"), _) => {
                value.as_array().is_some_and(|items| items.iter().all(|item| is_a(item, &avro["items"])))
            }
            (Some("record"), _) => value.as_object().is_some_and(|object| is_record(object, avro)),
            _ => panic!("type {avro}"),
        },
    }
}

fn is_record(object: &Map<String, Json>, avro: &Json) -> bool {
    let fields = Field::all(avro);
    let known = object.keys().all(|name| fields.iter().any(|field| field.name == *name));
    known
        && fields.iter().all(|field| match object.get(&field.name) {
            Some(value) => is_a(value, &field.avro),
            None => field.default.is_some(),
        })
}
