//! `chalk topics`.

use crate::Outcome;
use crate::command::{DataArgument, table};
use crate::error::CliError;
use chalk_catalog::{ControlEvent, SYSTEM_TOPICS, SystemTopic, TopicDef};
use chalk_event::{CommitSeq, format_rfc3339};
use chalk_log::{EventLog, History, HistoryFile, HistorySize, LogSize, PartitionSize};
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub(crate) struct Topics {
    #[command(flatten)]
    data: DataArgument,
    /// The changelogs of views as well.
    #[arg(long)]
    all: bool,
    /// How they are shown: table or json.
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

impl Topics {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let log = self.data.look()?;
        let size = log.size();
        let topics = log.topics();
        let mut topics: Vec<&TopicDef> = topics.iter().filter(|topic| self.all || !topic.is_own()).collect();
        topics.sort_by_key(|topic| (is_system(topic), topic.name()));
        let catalog = log.control_events(SystemTopic::Catalog.id())?;
        let files = log.history().map(History::files).unwrap_or_default();
        let told: Vec<Topic<'_>> = topics.into_iter().map(|topic| Topic::new(topic, &size, &catalog, &files)).collect();
        if self.format == "json" {
            let topics: Vec<Value> = told.iter().map(Topic::json).collect();
            println!("{}", json!({ "topics": topics, "log": log_json(&log) }));
            return Ok(Outcome::Done);
        }
        let mut names = vec!["topic", "partitions", "rows", "first", "bytes", "last commit", "schema", "key"];
        let mut rows: Vec<Vec<String>> = told.iter().map(Topic::row).collect();
        let history = size.history.filter(|history| history.upto > CommitSeq(0));
        if history.is_some() || size.first > CommitSeq(1) {
            names.extend(["in history", "in the log"]);
            rows.iter_mut().zip(&told).for_each(|(row, topic)| row.extend(topic.places()));
        }
        print!("{}", table(&names, &rows)?);
        println!("the log: {} in {}", bytes_text(size.bytes), counted(size.segments, "segment"));
        if let Some(HistorySize { first, upto, files, bytes, location, .. }) = history {
            let files = counted(files, "file");
            println!("history: {} in {files}, commits {first} to {upto}, in {location}", bytes_text(bytes));
        }
        Ok(Outcome::Done)
    }
}

/// A topic, with what there is of it.
struct Topic<'a> {
    definition: &'a TopicDef,
    /// Those that have rows.
    partitions: Vec<PartitionSize>,
    /// How many schemas it has had.
    schema_version: usize,
    /// Those of history.
    files: Vec<&'a HistoryFile>,
}

impl<'a> Topic<'a> {
    fn new(definition: &'a TopicDef, size: &LogSize, catalog: &[ControlEvent], files: &'a [HistoryFile]) -> Self {
        let id = definition.id;
        let changes =
            catalog.iter().filter(|event| matches!(event, ControlEvent::SchemaChanged { topic, .. } if *topic == id));
        let partitions = size.partitions.iter().filter(|partition| partition.topic == id).copied().collect();
        let files = files.iter().filter(|file| file.topic_id == id).collect();
        Self { definition, partitions, schema_version: 1 + changes.count(), files }
    }

    fn rows(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.tail.0 - partition.first.0).sum()
    }

    fn bytes(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.bytes).sum()
    }

    /// The offsets, over all partitions, that history has, and those that the log's segments have.
    fn places(&self) -> [String; 2] {
        let partitions = || self.files.iter().flat_map(|file| &file.partitions);
        let first = partitions().map(|partition| partition.first).min();
        let tail = partitions().map(|partition| partition.tail).max();
        let bytes: u64 = self.files.iter().map(|file| file.bytes).sum();
        let in_history = first
            .zip(tail)
            .map(|(first, tail)| format!("{first} to {}, {}", tail.0.saturating_sub(1), bytes_text(bytes)));
        let in_log = self.partitions.iter().filter(|partition| partition.first_in_log < partition.tail);
        let first = in_log.clone().map(|partition| partition.first_in_log).min();
        let in_log = first.zip(in_log.map(|partition| partition.tail).max());
        let in_log = in_log.map(|(first, tail)| format!("{first} to {}", tail.0.saturating_sub(1)));
        [in_history.unwrap_or_default(), in_log.unwrap_or_default()]
    }

    fn last(&self) -> Option<&PartitionSize> {
        self.partitions.iter().max_by_key(|partition| partition.last_commit)
    }

    fn row(&self) -> Vec<String> {
        let last =
            self.last().map(|last| format!("{} at {}", last.last_commit, format_rfc3339(last.last_commit_time.0)));
        vec![
            self.definition.name().to_owned(),
            self.definition.partitions.to_string(),
            self.rows().to_string(),
            self.partitions.iter().map(|partition| partition.first.0).min().unwrap_or(0).to_string(),
            self.bytes().to_string(),
            last.unwrap_or_default(),
            self.schema_version.to_string(),
            key_of(self.definition),
        ]
    }

    fn json(&self) -> Value {
        let partitions = (0..self.definition.partitions).map(|number| {
            let size = self.partitions.iter().find(|partition| partition.partition.0 == number);
            json!({
                "partition": number,
                "first": size.map_or(0, |size| size.first.0),
                "first_in_log": size.map_or(0, |size| size.first_in_log.0),
                "tail": size.map_or(0, |size| size.tail.0),
                "bytes": size.map_or(0, |size| size.bytes),
                "last_commit": size.map(|size| size.last_commit.0),
                "last_commit_time": size.map(|size| format_rfc3339(size.last_commit_time.0)),
            })
        });
        json!({
            "topic": self.definition.name(),
            "system": is_system(self.definition),
            "rows": self.rows(),
            "bytes": self.bytes(),
            "history": {
                "files": self.files.len(),
                "rows": self.files.iter().map(|file| file.rows).sum::<u64>(),
                "bytes": self.files.iter().map(|file| file.bytes).sum::<u64>(),
            },
            "last_commit": self.last().map(|last| last.last_commit.0),
            "last_commit_time": self.last().map(|last| format_rfc3339(last.last_commit_time.0)),
            "schema_version": self.schema_version,
            "key": key_of(self.definition),
            "partitions": partitions.collect::<Vec<_>>(),
        })
    }
}

/// What a log comes to, as JSON.
pub(super) fn log_json(log: &dyn EventLog) -> Value {
    let size = log.size();
    let last = size.partitions.iter().max_by_key(|partition| partition.last_commit);
    json!({
        "segments": size.segments,
        "bytes": size.bytes,
        "first": size.first.0,
        "history": size.history.map(|history| json!({
            "location": history.location,
            "first": history.first.0,
            "upto": history.upto.0,
            "files": history.files,
            "bytes": history.bytes,
            "rows": history.rows,
        })),
        "last_commit": log.durable().borrow().0,
        "last_commit_time": last.map(|last| format_rfc3339(last.last_commit_time.0)),
    })
}

fn is_system(topic: &TopicDef) -> bool {
    topic.is_own() || SYSTEM_TOPICS.iter().any(|system| system.id() == topic.id)
}

/// The columns that choose the partition; by kind of event when the kinds differ.
fn key_of(topic: &TopicDef) -> String {
    let schema = &topic.schema;
    let keys = schema.records.iter().map(|record| {
        let columns: Vec<&str> = record.key.iter().map(|&column| schema.columns[column].name.as_str()).collect();
        (record.event_type.as_str(), columns.join(", "))
    });
    let keys: Vec<(&str, String)> = keys.collect();
    match keys.split_first() {
        Some(((_, first), rest)) if rest.iter().all(|(_, key)| key == first) => first.clone(),
        _ => keys.iter().map(|(kind, key)| format!("{kind}: {key}")).collect::<Vec<_>>().join("; "),
    }
}

/// `1 row`, `2 rows`.
pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Bytes in the largest unit of which there is one.
pub(super) fn bytes_text(bytes: u64) -> String {
    let (unit, size) = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .into_iter()
        .find(|&(_, size)| bytes >= size)
        .unwrap_or(("bytes", 1));
    if size == 1 { format!("{bytes} {unit}") } else { format!("{:.1} {unit}", bytes as f64 / size as f64) }
}
