//! Whether a topic's schema can become another: events that were written by the earlier one are read by the later one.
//!
//! The rules are those of Avro 1.11, "Schema Resolution", the earlier schema being the writer's; and two of ours: what chooses a
//! partition and what makes an id stay as they are.

use crate::avro::{AvroField, AvroType};
use crate::schema::{Column, ColumnType, RecordSchema, TopicSchema};

/// What changes between two schemas of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evolution {
    /// What is different, and can be.
    pub changes: Vec<String>,
    /// What cannot be.
    pub breaks: Vec<SchemaBreak>,
}

/// A change that would leave earlier events unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaBreak {
    /// The field or event type, such as `field 'answers[].item'`.
    pub what: String,
    /// Why it cannot change so.
    pub why: String,
}

impl std::fmt::Display for SchemaBreak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.what, self.why)
    }
}

impl Evolution {
    /// What changes when `old` becomes `new`.
    #[must_use]
    pub fn of(old: &TopicSchema, new: &TopicSchema) -> Self {
        let mut evolution = Self::default();
        for column in &old.columns {
            match new.column_index(&column.name) {
                None => evolution.changes.push(format!("field '{}' is not read any more", column.name)),
                Some(index) => evolution.column(column, &new.columns[index]),
            }
        }
        for (index, column) in new.columns.iter().enumerate() {
            if old.column_index(&column.name).is_none() {
                evolution.added(column, new, index);
            }
        }
        for record in &old.records {
            match new.record(&record.event_type) {
                None => evolution.breaks(event(record), "is gone, but there may be events of it"),
                Some(kept) => evolution.record(old, record, new, kept),
            }
        }
        for record in &new.records {
            if old.record(&record.event_type).is_none() {
                evolution.changes.push(format!("{} is new", event(record)));
            }
        }
        if old.partitions != new.partitions {
            let why =
                format!("were {} and are now {}: a topic keeps those it was made with", old.partitions, new.partitions);
            evolution.breaks("partitions".to_owned(), why);
        }
        evolution
    }

    fn breaks(&mut self, what: String, why: impl Into<String>) {
        self.breaks.push(SchemaBreak { what, why: why.into() });
    }

    fn column(&mut self, old: &Column, new: &Column) {
        let what = || format!("field '{}'", old.name);
        if old.nullable && !new.nullable {
            self.breaks(what(), "was optional and is now required");
        } else if !old.nullable && new.nullable {
            self.changes.push(format!("{} is optional now", what()));
        }
        if old.column_type == new.column_type {
            return;
        }
        match promoted(&old.column_type, &new.column_type) {
            Ok(()) => {
                let (old, new) = (old.column_type.expected(), new.column_type.expected());
                self.changes.push(format!("{} was {old} and is now {new}", what()));
            }
            Err((path, why)) => self.breaks(format!("field '{}{path}'", old.name), why),
        }
    }

    fn added(&mut self, column: &Column, new: &TopicSchema, index: usize) {
        let what = format!("new field '{}'", column.name);
        if column.nullable || new.defaults(index, 0).is_some() {
            self.changes.push(what);
        } else {
            self.breaks(what, "is required, but earlier events do not have it: give it a default, or make it optional");
        }
    }

    fn record(&mut self, old: &TopicSchema, record: &RecordSchema, new: &TopicSchema, kept: &RecordSchema) {
        let names = |schema: &TopicSchema, columns: &[usize]| -> Vec<String> {
            columns.iter().map(|&column| schema.columns[column].name.clone()).collect()
        };
        if names(old, &record.key) != names(new, &kept.key) {
            let why = "has another key: its events of one key would stand in two partitions, out of order";
            self.breaks(event(record), why);
        }
        if names(old, &record.idempotency_key) != names(new, &kept.idempotency_key) {
            let why = "has another idempotency key: what is sent again would not be known";
            self.breaks(event(record), why);
        }
    }
}

fn event(record: &RecordSchema) -> String {
    format!("event type '{}'", record.event_type)
}

/// Whether values of one type can be read as another; where inside they cannot, and why.
fn promoted(old: &ColumnType, new: &ColumnType) -> Result<(), (String, String)> {
    use ColumnType::{Double, EpochTime, Float, Int, Json, Long, Text, Timestamp, Uuid, Word};
    match (old, new) {
        // Both are kept as nanoseconds; what numbers of later events count is another matter.
        (Timestamp | EpochTime(_), Timestamp | EpochTime(_)) => Ok(()),
        (Int, Long | Float | Double) | (Long, Float | Double) | (Float, Double) | (Uuid | Word(_), Text) => Ok(()),
        (Word(old), Word(new)) => words(old, new),
        (Json(old), Json(new)) => resolved(old, new),
        _ if old == new => Ok(()),
        _ => Err((String::new(), format!("was {} and is now {}", old.expected(), new.expected()))),
    }
}

fn words(old: &[String], new: &[String]) -> Result<(), (String, String)> {
    match old.iter().find(|word| !new.contains(word)) {
        Some(gone) => Err((String::new(), format!("cannot be '{gone}' any more, but may have been"))),
        None => Ok(()),
    }
}

/// The same for what stands inside a nested field.
fn resolved(old: &AvroType, new: &AvroType) -> Result<(), (String, String)> {
    use AvroType::{Any, Array, Double, Enum, Float, Int, Long, Map, Record, String as Text, Union, Uuid};
    let inside = |step: &str| {
        let step = step.to_owned();
        move |(path, why): (String, String)| (format!("{step}{path}"), why)
    };
    match (old, new) {
        (_, Any) | (Int, Long | Float | Double) | (Long, Float | Double) | (Float, Double) => Ok(()),
        (Uuid | Enum(_), Text) => Ok(()),
        (Enum(old), Enum(new)) => words(old, new),
        (Array(old), Array(new)) => resolved(old, new).map_err(inside("[]")),
        (Map(old), Map(new)) => resolved(old, new).map_err(inside("{}")),
        (Record(old), Record(new)) => record(old, new),
        // Each thing that was written has to be something that is read.
        (Union(old), new) => old.iter().try_for_each(|old| resolved(old, new)),
        (old, Union(new)) => match new.iter().any(|new| resolved(old, new).is_ok()) {
            true => Ok(()),
            false => Err((String::new(), "has lost a type that it may have had".to_owned())),
        },
        _ if old == new => Ok(()),
        _ => Err((String::new(), "has another type".to_owned())),
    }
}

fn record(old: &[AvroField], new: &[AvroField]) -> Result<(), (String, String)> {
    for field in new {
        let path = format!(".{}", field.name);
        match old.iter().find(|known| known.name == field.name) {
            Some(known) => {
                resolved(&known.avro, &field.avro).map_err(|(inside, why)| (format!("{path}{inside}"), why))?;
            }
            None if field.has_default => {}
            None => return Err((path, "is new and has no default".to_owned())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(avsc: &str) -> TopicSchema {
        TopicSchema::parse("t", avsc, TopicSchema::NO_ENVELOPE).unwrap_or_else(|error| panic!("{error}: {avsc}"))
    }

    /// What becomes of one field of this type when it is to have another: its breaks.
    fn field(old: &str, new: &str) -> Vec<String> {
        let of = |avro: &str| schema(&format!(r#"{{"event_type":"e","fields":[{{"name":"f","type":{avro}}}]}}"#));
        Evolution::of(&of(old), &of(new)).breaks.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn types_change_as_avro_lets_them() {
        let none: [&str; 0] = [];
        for (old, new) in [
            (r#""int""#, r#""long""#),
            (r#""int""#, r#""double""#),
            (r#""long""#, r#""float""#),
            (r#""float""#, r#""double""#),
            (r#""long""#, r#"["null","long"]"#),
            (r#"{"type":"enum","symbols":["a"]}"#, r#"{"type":"enum","symbols":["b","a"]}"#),
            (r#"{"type":"enum","symbols":["a"]}"#, r#""string""#),
            (r#"{"type":"array","items":"int"}"#, r#"{"type":"array","items":["null","long"]}"#),
            (
                r#"{"type":"record","fields":[{"name":"x","type":"int"},{"name":"y","type":"int"}]}"#,
                r#"{"type":"record","fields":[{"name":"x","type":"long"},{"name":"z","type":"int","default":0}]}"#,
            ),
        ] {
            assert_eq!(field(old, new), none, "{old} → {new}");
        }
        let check = |old: &str, new: &str, why: &str| assert_eq!(field(old, new), [why], "{old} → {new}");
        check(r#""long""#, r#""int""#, "field 'f' was an integer of 64 bits and is now an integer of 32 bits");
        check(r#""string""#, r#""long""#, "field 'f' was a string and is now an integer of 64 bits");
        check(r#"["null","long"]"#, r#""long""#, "field 'f' was optional and is now required");
        check(
            r#"{"type":"enum","symbols":["a","b"]}"#,
            r#"{"type":"enum","symbols":["a"]}"#,
            "field 'f' cannot be 'b' any more, but may have been",
        );
        check(
            r#"{"type":"array","items":{"type":"record","fields":[{"name":"x","type":"long"}]}}"#,
            r#"{"type":"array","items":{"type":"record","fields":[{"name":"x","type":"string"}]}}"#,
            "field 'f[].x' has another type",
        );
        check(
            r#"{"type":"record","fields":[]}"#,
            r#"{"type":"record","fields":[{"name":"x","type":"long"}]}"#,
            "field 'f.x' is new and has no default",
        );
    }

    #[test]
    fn fields_events_and_keys() {
        let old = schema(
            r#"[{"event_type":"e","partitions":2,"key":["k"],"idempotency_key":["k"],
                 "fields":[{"name":"k","type":"string"},{"name":"gone","type":"long"}]},
                {"event_type":"dropped","fields":[{"name":"k","type":"string"}]}]"#,
        );
        let new = schema(
            r#"[{"event_type":"e","partitions":3,"key":["other"],"idempotency_key":["k","other"],
                 "fields":[{"name":"k","type":"string"},{"name":"other","type":["null","string"]}]},
                {"event_type":"added","fields":[{"name":"k","type":"string"}]}]"#,
        );
        let Evolution { changes, breaks } = Evolution::of(&old, &new);
        assert_eq!(changes, ["field 'gone' is not read any more", "new field 'other'", "event type 'added' is new"]);
        let breaks: Vec<String> = breaks.iter().map(ToString::to_string).collect();
        assert_eq!(
            breaks,
            [
                "event type 'e' has another key: its events of one key would stand in two partitions, out of order",
                "event type 'e' has another idempotency key: what is sent again would not be known",
                "event type 'dropped' is gone, but there may be events of it",
                "partitions were 2 and are now 3: a topic keeps those it was made with",
            ]
        );
    }

    #[test]
    fn a_new_field_needs_a_value_for_earlier_events() {
        let of =
            |more: &str| schema(&format!(r#"{{"event_type":"e","fields":[{{"name":"k","type":"string"}}{more}]}}"#));
        let breaks = |more: &str| Evolution::of(&of(""), &of(more)).breaks.len();
        assert_eq!(breaks(r#",{"name":"n","type":"long"}"#), 1);
        assert_eq!(breaks(r#",{"name":"n","type":["null","long"]}"#), 0);
        assert_eq!(breaks(r#",{"name":"n","type":"long","default":7}"#), 0);
        assert_eq!(breaks(r#",{"name":"n","type":"long","default":"seven"}"#), 1, "that is no number");
    }
}
