//! The commit log alone. A million commits are a million syncs: with `TMPDIR` in memory that takes minutes, on a disk an hour.

use crate::Wanted;
use crate::machine::{anonymous_memory, ms, quantile};
use arrow::array::RecordBatch;
use arrow::array::{ArrayRef, Int64Array, StringArray, UInt64Array, new_null_array};
use arrow::datatypes::DataType;
use chalk_catalog::{TopicDef, TopicSchema};
use chalk_event::{EventTime, Offset, PartitionId};
use chalk_log::{Append, CommitLog, EventLog, FrameToAppend, Holder, LogOptions, Pending};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// A topic of two partitions.
const AVSC: &str = r#"{"event_type":"note","partitions":2,"fields":[
    {"name":"n","type":"long"},{"name":"text","type":["null","string"]}]}"#;

pub(crate) fn options() -> LogOptions {
    LogOptions::new(chalk_cli::system_clock())
}

pub(crate) fn open(directory: &Path, options: LogOptions) -> (CommitLog, Duration) {
    let holder = Holder { pid: std::process::id(), command: "figures".to_owned(), http: None, pg: None };
    let began = Instant::now();
    (CommitLog::open(directory, &holder, options).unwrap(), began.elapsed())
}

pub(crate) fn notes(log: &dyn EventLog) -> TopicDef {
    log.ensure_topic("notes", AVSC, TopicSchema::NO_ENVELOPE).unwrap()
}

/// Rows of about 600 bytes.
fn rows(topic: &TopicDef, first: i64, count: usize) -> Append {
    append_of(topic, first, topic_rows(topic, first, count, answers))
}

/// Fifty answers, which LZ4 makes a third of.
pub(crate) fn answers(n: i64) -> String {
    (0..50).map(|item| format!("\"{}\",", (n * 50 + item) * 7919 % 99_991)).collect()
}

/// Rows with numbers from `first` on, each with its text.
pub(crate) fn topic_rows(topic: &TopicDef, first: i64, count: usize, text: fn(i64) -> String) -> RecordBatch {
    let numbers = first..first + count as i64;
    let columns = vec![
        Arc::new(Int64Array::from_iter_values(numbers.clone())) as ArrayRef,
        Arc::new(numbers.map(|n| Some(text(n))).collect::<StringArray>()),
        new_null_array(&DataType::Utf8, count),
        Arc::new(UInt64Array::from(vec![0; count])),
    ];
    RecordBatch::try_new(Arc::clone(topic.schema.arrow()), columns).unwrap()
}

/// An append of rows whose numbers begin with `first`.
pub(crate) fn append_of(topic: &TopicDef, first: i64, rows: RecordBatch) -> Append {
    let event_times = Some((EventTime(first), EventTime(first + rows.num_rows() as i64 - 1)));
    let partition = PartitionId((first % 2) as u16);
    Append { frames: vec![FrameToAppend { topic: topic.id, partition, schema: topic.schema_id, event_times, rows }] }
}

/// Memory while commits go by that the log does not keep, and how long it then takes to open it.
pub(crate) fn memory_over_commits(wanted: &Wanted) {
    const ROWS: usize = 10;
    let commits = wanted.events.unwrap_or(100_000) as i64;
    let directory = tempfile::tempdir().unwrap();
    // Caches that are full early on: whatever grows afterwards is something else.
    let small = LogOptions { footers_bytes_max: 4 << 20, cache_bytes_max: 8 << 20, ..options() };
    let (log, _) = open(directory.path(), small);
    let topic = notes(&log);
    println!("log-memory: {commits} commits of {ROWS} rows of 600 bytes, each synced");
    let began = Instant::now();
    for n in 0..commits {
        log.append(rows(&topic, n * ROWS as i64, ROWS)).unwrap().wait().unwrap();
        if (n + 1) % (commits / 10).max(1) == 0 {
            println!(
                "  {:>8} commits: {:>4} MiB anonymous, {:.0} s",
                n + 1,
                anonymous_memory() >> 20,
                began.elapsed().as_secs_f64()
            );
        }
    }
    let size = log.size();
    drop(log);
    let (_log, took) = open(directory.path(), options());
    println!("  opening {} MiB in {} segments: {}", size.bytes >> 20, size.segments, ms(took));
}

/// How long opening takes, by the number of segments.
pub(crate) fn opening_many_segments(_: &Wanted) {
    println!("log-segments: opening, and reading a row somewhere");
    for segments in [100, 10_000] {
        let directory = tempfile::tempdir().unwrap();
        let (log, _) = open(directory.path(), LogOptions { segment_bytes_max: 4000, ..options() });
        let topic = notes(&log);
        let mut n = 0;
        while log.size().segments < segments {
            log.append(rows(&topic, n, 10)).unwrap().wait().unwrap();
            n += 10;
        }
        let tail = log.tail(topic.id, PartitionId(0)).0;
        drop(log);
        let mut times: Vec<Duration> = Vec::new();
        let mut reads: Vec<Duration> = Vec::new();
        for _ in 0..5 {
            let (log, took) = open(directory.path(), options());
            times.push(took);
            for place in 0..200 {
                let began = Instant::now();
                log.read_partition(topic.id, PartitionId(0), Offset(tail * place / 200), 1).unwrap();
                reads.push(began.elapsed());
            }
        }
        times.sort_unstable();
        reads.sort_unstable();
        println!(
            "  {segments:>6} segments: {} to open (median of 5), a row in {}",
            ms(times[2]),
            ms(quantile(&reads, 500))
        );
    }
}

/// How many syncs small appends take that come when they come.
pub(crate) fn syncs_under_load(wanted: &Wanted) {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = open(directory.path(), options());
    let topic = notes(&log);
    let first = log.durable().borrow().0;
    let (sent, waiting) = channel::<(Instant, Pending)>();
    let waiter = std::thread::spawn(move || {
        let mut waited: Vec<Duration> = waiting
            .iter()
            .map(|(due, pending)| {
                pending.wait().unwrap();
                due.elapsed()
            })
            .collect();
        waited.sort_unstable();
        waited
    });
    println!("log-syncs: {} events/s of 600 bytes for {} s in appends of 1 to 20", wanted.rate, wanted.seconds);
    let began = Instant::now();
    let (mut events, mut appends) = (0_usize, 0_u64);
    while began.elapsed().as_secs() < wanted.seconds {
        let due = began + Duration::from_secs_f64(events as f64 / wanted.rate as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let count = 1 + events * 7919 % 20;
        sent.send((due, log.append(rows(&topic, events as i64, count)).unwrap())).unwrap();
        (events, appends) = (events + count, appends + 1);
    }
    drop(sent);
    let waited = waiter.join().unwrap();
    let (seconds, syncs) = (began.elapsed().as_secs_f64(), log.durable().borrow().0 - first);
    println!(
        "  {:.0} events/s; {:.0} syncs/s, {:.1} appends and {:.1} events a sync; acknowledged after {} p50, {} p99",
        events as f64 / seconds,
        syncs as f64 / seconds,
        appends as f64 / syncs as f64,
        events as f64 / syncs as f64,
        ms(quantile(&waited, 500)),
        ms(quantile(&waited, 990)),
    );
}
