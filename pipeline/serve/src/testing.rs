//! A small node for tests: a log with orders, and views made by hand.

use crate::error::QueryError;
use crate::format::{Format, write};
use crate::queries::{Queries, QueryLimits};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use chalk_event::{ChangeBatch, CommitSeq, Epoch};
use chalk_ingest::{Door, DoorOptions, Receipt};
use chalk_log::{CommitLog, EventLog, Holder, LogOptions};
use chalk_plan::Functions;
use chalk_view::{Publisher, Snapshot, ViewRows};
use std::collections::BTreeMap;
use std::sync::Arc;
use tempfile::TempDir;

const ENVELOPE: &str = r#"{"type":"record","name":"Envelope","fields":[
    {"name":"event_id","type":{"type":"string","logicalType":"uuid"}},
    {"name":"event_type","type":"string"},
    {"name":"tenant","type":"string"},
    {"name":"occurred_at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"received_at","type":{"type":"long","logicalType":"timestamp-micros"}}]}"#;
const ORDERS: &str = r#"{"type":"record","name":"Order","event_type":"order_placed","partitions":2,
    "key":["shop"],"idempotency_key":["id"],"fields":[
    {"name":"id","type":"long"},
    {"name":"shop","type":"string"},
    {"name":"amount","type":["null","long"]},
    {"name":"tags","type":["null",{"type":"array","items":"string"}]}]}"#;

/// 2025-09-01T08:00:00Z.
const NOW: i64 = 1_756_713_600_000_000_000;

/// A row of the view `totals`: shop, day, total.
pub(crate) type Total = (&'static str, i64, i64);

pub(crate) struct Node {
    _directory: TempDir,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) door: Arc<Door>,
    pub(crate) publisher: Publisher,
}

impl Node {
    /// A log with the topic `orders`, and no views.
    pub(crate) fn new() -> Self {
        aside(Self::make)
    }

    fn make() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let holder = Holder { pid: 1, command: "test".to_owned(), http: None, pg: None };
        let clock = clock();
        let log = CommitLog::open(directory.path(), &holder, LogOptions::new(Arc::clone(&clock))).expect("a new log");
        let log: Arc<dyn EventLog> = Arc::new(log);
        log.ensure_topic("orders", ORDERS, ENVELOPE).expect("a good schema");
        let door = Arc::new(Door::open(Arc::clone(&log), DoorOptions::new(clock)).expect("a log that can be read"));
        Self { _directory: directory, log, door, publisher: Publisher::new(Snapshot::default()) }
    }

    /// Publishes an epoch in which `views` have these rows.
    pub(crate) fn publish(&self, epoch: u64, views: &[(&str, &[Total])]) {
        let views = views.iter().map(|(name, rows)| ((*name).to_owned(), totals(name, rows)));
        let views: BTreeMap<String, ViewRows> = views.collect();
        let commit = *self.log.durable().borrow();
        self.publisher.publish(Snapshot { epoch: Epoch(epoch), upto: commit, settled: CommitSeq(0), views });
    }

    /// Takes orders in through the door.
    pub(crate) fn submit(&self, lines: &str) -> Receipt {
        aside(|| self.door.submit("test", lines.as_bytes()).expect("the log is open").wait().expect("the log is open"))
    }

    pub(crate) fn queries(&self) -> Queries {
        self.limited(QueryLimits::default())
    }

    pub(crate) fn limited(&self, limits: QueryLimits) -> Queries {
        Queries::new(Arc::clone(&self.log), self.publisher.subscribe(), &Functions::default(), limits)
    }
}

/// A clock that stands still.
pub(crate) fn clock() -> Arc<dyn Fn() -> i64 + Send + Sync> {
    Arc::new(|| NOW)
}

/// Does what waits on a thread that runs no async tasks.
fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join()).expect("no panic")
}

/// An order's line.
pub(crate) fn order(id: u64, shop: &str, amount: i64) -> String {
    let at = "2025-09-01T07:59:00Z";
    format!(
        "{{\"event_type\":\"order_placed\",\"tenant\":\"t\",\"occurred_at\":\"{at}\",\"id\":{id},\"shop\":\"{shop}\",\
         \"amount\":{amount},\"tags\":[\"a\",\"b\"]}}\n"
    )
}

pub(crate) fn totals(name: &str, rows: &[Total]) -> ViewRows {
    let schema = Arc::new(Schema::new(vec![
        Field::new("shop", DataType::Utf8, false),
        Field::new("day", DataType::Int64, false),
        Field::new("total", DataType::Int64, true),
    ]));
    let shops: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)));
    let integers = |of: fn(&Total) -> i64| Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let columns = vec![shops, integers(|row| row.1), integers(|row| row.2)];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns of the schema");
    let mut view = ViewRows::new(name, schema).expect("types with an encoding");
    view.apply(&ChangeBatch::inserts(batch)).expect("inserts");
    view
}

/// The answer's rows as CSV, without the names.
pub(crate) async fn rows(queries: &Queries, sql: &str) -> Vec<String> {
    let result = queries.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let text = write(&result, Format::Csv).expect("an answer that can be written");
    text.lines().skip(1).map(str::to_owned).collect()
}

pub(crate) async fn error(queries: &Queries, sql: &str) -> QueryError {
    match queries.run(sql).await {
        Err(error) => error,
        Ok(result) => panic!("{sql}: {result:?}"),
    }
}
