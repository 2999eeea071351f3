//! Queries as streams over batches in memory, beside DataFusion's batch answer over the same batches on one partition.
//!
//! What is measured is CPU time of the process: a stream's operators in steps of one batch, one shard, without log and views; the batch
//! engine's plan from first to last row. A ratio of 1 says that a stream takes what the batch takes.

use crate::Wanted;
use crate::machine::cpu;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use chalk_codec::typed_column;
use chalk_connect::{Nexmark, NexmarkSettings};
use chalk_event::ChangeBatch;
use chalk_plan::{Functions, Project, QueryKind, SqlFile, TopicSchemas, batch_plan, session};
use chalk_runtime::InMemory;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const BATCH: usize = 8192;
const SECOND: i64 = 1_000_000_000;
/// Each is repeated until it has taken so long.
const MEASURED_SECONDS: f64 = 0.5;

const EVENTS: &str = "CREATE TABLE events (at TIMESTAMP NOT NULL, few BIGINT NOT NULL, many BIGINT NOT NULL, price BIGINT NOT NULL, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'events.json');\n";

/// A query over `events`, whose rows are 10 µs apart.
struct Shape {
    name: &'static str,
    rows: usize,
    /// Whether windows are given once, when they have ended.
    is_final: bool,
    /// Whether every tenth change is the retraction of an earlier row.
    retracts: bool,
    sql: &'static str,
}

const SHAPES: [Shape; 9] = [
    Shape {
        name: "filter and map",
        rows: 4_000_000,
        is_final: true,
        retracts: false,
        sql: "SELECT few, price * 2 AS price FROM events WHERE price % 10 = 0",
    },
    Shape {
        name: "tumble 1 s, count by 10k keys",
        rows: 4_000_000,
        is_final: true,
        retracts: false,
        sql: "SELECT tumble(INTERVAL '1 second') AS w, few, count(*) AS n FROM events GROUP BY w, few",
    },
    Shape {
        name: "tumble 10 s, count by 1M keys",
        rows: 4_000_000,
        is_final: true,
        retracts: false,
        sql: "SELECT tumble(INTERVAL '10 seconds') AS w, many, count(*) AS n FROM events GROUP BY w, many",
    },
    Shape {
        name: "hop 2 s / 10 s, count by 10k keys",
        rows: 2_000_000,
        is_final: true,
        retracts: false,
        sql: "SELECT hop(INTERVAL '2 seconds', INTERVAL '10 seconds') AS w, few, count(*) AS n FROM events GROUP BY w, few",
    },
    Shape {
        name: "hop 1 s / 60 s, count by 10k keys",
        rows: 500_000,
        is_final: true,
        retracts: false,
        sql: "SELECT hop(INTERVAL '1 second', INTERVAL '60 seconds') AS w, few, count(*) AS n FROM events GROUP BY w, few",
    },
    Shape {
        name: "session 5 s, count by 1M keys",
        rows: 1_000_000,
        is_final: true,
        retracts: false,
        sql: "SELECT session(INTERVAL '5 seconds') AS w, many, count(*) AS n FROM events GROUP BY w, many",
    },
    Shape {
        name: "top 10 of each 1 s",
        rows: 4_000_000,
        is_final: true,
        retracts: false,
        sql: "SELECT w, few, n FROM (SELECT *, row_number() OVER (PARTITION BY w ORDER BY n DESC, few) AS place
              FROM (SELECT tumble(INTERVAL '1 second') AS w, few, count(*) AS n FROM events GROUP BY w, few)) WHERE place <= 10",
    },
    Shape {
        name: "windowed join, 1 s, 10k keys",
        rows: 2_000_000,
        is_final: true,
        retracts: false,
        sql: "SELECT a.few, a.n, b.most
              FROM (SELECT w.start AS start, few, n FROM (SELECT tumble(INTERVAL '1 second') AS w, few, count(*) AS n FROM events GROUP BY w, few)) AS a
              JOIN (SELECT w.start AS start, few, most FROM (SELECT tumble(INTERVAL '1 second') AS w, few, max(price) AS most FROM events GROUP BY w, few)) AS b
              ON a.start = b.start AND a.few = b.few",
    },
    Shape {
        name: "updating count and sum by 10k keys, 10 % retractions",
        rows: 2_000_000,
        is_final: false,
        retracts: true,
        sql: "SELECT few, count(*) AS n, sum(price) AS price FROM events GROUP BY few",
    },
];

pub(crate) fn run(wanted: &Wanted) {
    println!(
        "sql: streams over batches of {BATCH} rows in memory, DataFusion's batch answer beside it; rows per CPU-second"
    );
    println!("{:<54} {:>9} {:>12} {:>12} {:>6}", "query", "rows", "stream", "batch", "ratio");
    for shape in &SHAPES {
        shape.run(wanted.events);
    }
    nexmark(wanted.events.unwrap_or(300_000));
}

impl Shape {
    fn run(&self, rows: Option<u64>) {
        let rows = rows.map_or(self.rows, |rows| self.rows.min(rows as usize));
        let into = match self.is_final {
            true => "CREATE TABLE nowhere WITH (connector = 'blackhole'); INSERT INTO nowhere",
            false => "CREATE MATERIALIZED VIEW answer AS",
        };
        let project = planned(&format!("{EVENTS}{into} {}", self.sql));
        let schema = Arc::clone(&project.table("events").unwrap().schema);
        let (changes, net) = events(rows, self.retracts, &schema);
        let context = session(&Functions::default(), 1);
        register(&context, "events", &schema, net);
        compare(self.name, &project, "events", &changes, &context, self.sql);
    }
}

/// Runs a project as a stream and a query as a batch, and prints what they took.
fn compare(
    name: &str,
    project: &Project,
    table: &str,
    changes: &[(ChangeBatch, i64)],
    context: &SessionContext,
    sql: &str,
) {
    let rows: usize = changes.iter().map(|(batch, _)| batch.len()).sum();
    let (streamed, given) = repeated(|| {
        let mut stream = InMemory::new(&project.graph, 1).unwrap();
        let mut given = 0;
        let mut count = |outputs: Vec<ChangeBatch>| {
            for output in outputs {
                given += (0..output.len()).map(|row| output.weight(row)).sum::<i64>();
            }
        };
        for (batch, watermark) in changes {
            count(stream.step(&BTreeMap::from([(table.to_owned(), batch.clone())]), *watermark).unwrap());
        }
        count(stream.step(&BTreeMap::new(), i64::MAX).unwrap());
        given
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (batched, answered) = repeated(|| {
        let answer = runtime.block_on(async {
            let plan = batch_plan(context, sql).await.unwrap();
            context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap()
        });
        answer.iter().map(RecordBatch::num_rows).sum::<usize>()
    });
    assert_eq!(given, answered as i64, "{name}: both give as many rows");
    let (streamed, batched) = (rows as f64 / streamed, rows as f64 / batched);
    println!("{name:<54} {rows:>9} {streamed:>12.0} {batched:>12.0} {:>6.2}", streamed / batched);
}

/// The CPU seconds that something takes, done so often that the clock's ticks of 10 ms do not matter; and what it gives.
fn repeated<T>(mut run: impl FnMut() -> T) -> (f64, T) {
    let (before, mut times) = (cpu(), 0);
    loop {
        let given = run();
        times += 1;
        let taken = (cpu() - before).as_secs_f64();
        if taken >= MEASURED_SECONDS {
            return (taken / f64::from(times), given);
        }
    }
}

fn planned(sql: &str) -> Project {
    let files = [SqlFile { name: "figures.sql".to_owned(), text: sql.to_owned() }];
    chalk_plan::plan(&files, &TopicSchemas::new(), &Functions::default()).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn register(context: &SessionContext, name: &str, schema: &SchemaRef, batches: Vec<RecordBatch>) {
    let table = MemTable::try_new(Arc::clone(schema), vec![batches]).unwrap();
    context.register_table(name, Arc::new(table)).unwrap();
}

/// Changes with the watermark after each, and the rows that they leave.
fn events(rows: usize, retracts: bool, schema: &SchemaRef) -> (Vec<(ChangeBatch, i64)>, Vec<RecordBatch>) {
    let mixed = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let batch = |numbers: std::ops::Range<usize>| {
        let column = |value: &dyn Fn(u64) -> u64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(numbers.clone().map(|number| value(number as u64) as i64)))
        };
        let at = TimestampNanosecondArray::from_iter_values(numbers.clone().map(|number| number as i64 * 10_000));
        let few = column(&|number| mixed(number) % 10_000);
        let many = column(&|number| mixed(number) % 1_000_000);
        let price = column(&|number| mixed(number) / 7 % 100_000);
        RecordBatch::try_new(Arc::clone(schema), vec![Arc::new(at), few, many, price]).unwrap()
    };
    let (mut changes, mut net) = (Vec::new(), Vec::new());
    let mut earlier: Option<RecordBatch> = None;
    for begin in (0..rows).step_by(BATCH) {
        let rows = batch(begin..(begin + BATCH).min(rows));
        let watermark = (begin + rows.num_rows()) as i64 * 10_000 - SECOND;
        let Some(before) = earlier.take().filter(|_| retracts) else {
            changes.push((ChangeBatch::inserts(rows.clone()), watermark));
            net.push(rows.clone());
            earlier = Some(rows);
            continue;
        };
        // Of ten changes one takes back a row of the batch before.
        let gone = arrow::array::UInt32Array::from_iter_values((0..before.num_rows() as u32).step_by(9));
        let kept = (0..before.num_rows() as u32).filter(|row| row % 9 != 0);
        let kept = take_record_batch(&before, &arrow::array::UInt32Array::from_iter_values(kept)).unwrap();
        let gone = take_record_batch(&before, &gone).unwrap();
        let weights = [vec![1; rows.num_rows()], vec![-1; gone.num_rows()]].concat();
        let both = concat_batches(schema, [&rows, &gone]).unwrap();
        changes.push((ChangeBatch::weighted(both, weights), watermark));
        *net.last_mut().unwrap() = kept;
        net.push(rows.clone());
        earlier = Some(rows);
    }
    (changes, net)
}

/// The queries of `sql/nexmark/`, each by itself.
fn nexmark(count: u64) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sql/nexmark");
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    let tables = text(&folder.join("events.sql"));
    let schema = Arc::clone(&planned(&tables).table("nexmark").unwrap().schema);
    let batches = nexmark_events(count, &schema);
    for number in 0..=22 {
        let path = folder.join(format!("q{number}.sql"));
        let project = planned(&format!("{tables}{}", text(&path)));
        let context = session(&Functions::default(), 1);
        let rows = batches.iter().map(|(batch, _)| batch.rows().clone()).collect();
        register(&context, "nexmark", &schema, rows);
        let views =
            project.queries.iter().filter(|query| query.kind == QueryKind::View).map(|view| (&view.name, &view.sql));
        let views: Vec<String> = views.map(|(name, sql)| format!("{name} AS ({sql})")).collect();
        let query = project.queries.iter().find(|query| query.kind == QueryKind::MaterialisedView).unwrap();
        let sql = format!("WITH {} {}", views.join(", "), query.sql);
        compare(&format!("nexmark q{number}"), &project, "nexmark", &batches, &context, &sql);
    }
}

/// Events, 100 µs apart, with the watermark after each batch of them.
fn nexmark_events(count: u64, schema: &SchemaRef) -> Vec<(ChangeBatch, i64)> {
    let generator = Nexmark::new(&NexmarkSettings { event_rate: 1e4, count: None, seed: 1 }, None, 0);
    let mut batches = Vec::new();
    for begin in (0..count).step_by(BATCH) {
        let text = generator.lines(begin..(begin + BATCH as u64).min(count));
        let events: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let column = |field: &arrow::datatypes::FieldRef| {
            let text = |event: &serde_json::Value| event.get(field.name()).map(ToString::to_string);
            typed_column(&events.iter().map(text).collect::<StringArray>(), field.data_type()).unwrap()
        };
        let rows = RecordBatch::try_new(Arc::clone(schema), schema.fields().iter().map(column).collect()).unwrap();
        let end = begin + events.len() as u64;
        batches.push((ChangeBatch::inserts(rows), end as i64 * 100_000));
    }
    batches
}
