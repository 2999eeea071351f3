//! Submissions to history and back: what the export costs, what the files take, and how fast they are read beside segments.

use crate::Wanted;
use crate::machine::cpu;
use crate::workload::Workload;
use chalk_catalog::TopicId;
use chalk_cli::{ProjectFiles, system_clock};
use chalk_event::{CommitSeq, IngestTime};
use chalk_ingest::{Door, DoorOptions};
use chalk_log::{CommitLog, EventLog, Holder, Keep, LogOptions, Retention};
use chalk_store::objects::LocalObjects;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const SUBMISSIONS: u64 = 200_000;
/// Lines of one append.
const LINES: usize = 500;
/// What an epoch reads at once.
const READ_BYTES: usize = 4 << 20;
/// Passes over everything for a figure.
const PASSES: u32 = 5;

pub(crate) fn run(wanted: &Wanted) {
    let workload = Workload::new(wanted.events.unwrap_or(SUBMISSIONS));
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("history");
    let log = filled(directory.path(), &place, wanted, &workload);
    let topic = log.topics().by_name("submissions").unwrap().id;
    let in_log = log.size();
    let rows = workload.lines.len() as f64;
    println!("history: {} submissions of 40 items in {} segments", workload.submissions, in_log.segments);

    let before = cpu();
    let exported = log.export(&mut || true).unwrap();
    let used = (cpu() - before).as_secs_f64();
    println!("  export: {:.0} rows per CPU-second ({used:.2} CPU-seconds)", rows / used);
    let [sealed, parquet, json] = [in_log.bytes, exported.bytes, workload.bytes()].map(|bytes| bytes as f64 / rows);
    println!("  bytes an event: {json:.0} of JSON, {sealed:.0} in segments, {parquet:.0} in Parquet");

    let segments = read_all(&log, topic, workload.submissions);
    println!("  read as commits, from segments: {segments:.0} rows per CPU-second");
    let at_once =
        Retention { others: Keep { log_age: Some(Duration::ZERO), ..Keep::default() }, ..Retention::default() };
    let gone = log.retain(&at_once, &[], IngestTime(i64::MAX)).unwrap();
    assert_eq!(gone.segments + 1, in_log.segments, "all but the newest sealed segment");
    let history = read_all(&log, topic, workload.submissions);
    println!(
        "  read as commits, from Parquet: {history:.0} rows per CPU-second, {:.2} of segments",
        history / segments
    );
    match duckdb(&place, workload.submissions) {
        Some(theirs) => println!(
            "  DuckDB over the same files, every column: {theirs:.0} rows per CPU-second; {:.2} of it",
            history / theirs
        ),
        None => println!("  (no python3 with duckdb here to compare with)"),
    }
}

/// A log with the workload in sealed segments, the last of which has next to nothing.
fn filled(directory: &Path, place: &Path, wanted: &Wanted, workload: &Workload) -> Arc<CommitLog> {
    let holder = Holder { pid: std::process::id(), command: "figures".to_owned(), http: None, pg: None };
    let history = Some(Arc::new(LocalObjects::at(place)) as _);
    let options = LogOptions { cache_bytes_max: 0, history, ..LogOptions::new(system_clock()) };
    let log = Arc::new(CommitLog::open(directory, &holder, options).unwrap());
    let files = ProjectFiles::read(&wanted.project).unwrap();
    for (topic, avsc) in &files.schemas {
        log.ensure_topic(topic, avsc, &files.envelope).unwrap();
    }
    let (last, lines) = workload.lines.split_last().unwrap();
    {
        let door = Door::open(Arc::clone(&log) as _, DoorOptions::new(system_clock())).unwrap();
        let append = |lines: &[String]| {
            let receipt = door.submit("bench", format!("{}\n", lines.join("\n")).as_bytes()).unwrap().wait().unwrap();
            assert!(receipt.refused.is_empty(), "refused: {:?}", receipt.refused.first());
        };
        lines.chunks(LINES).for_each(append);
        log.seal().unwrap();
        append(std::slice::from_ref(last));
        log.seal().unwrap();
    }
    log
}

/// Rows of a topic that are read in a CPU-second, commit by commit.
fn read_all(log: &CommitLog, topic: TopicId, expected: u64) -> f64 {
    let before = cpu();
    for _ in 0..PASSES {
        let (mut after, mut rows) = (CommitSeq(0), 0);
        let durable = *log.durable().borrow();
        while after < durable {
            let (commits, upto) = log.read(after, &[topic], READ_BYTES).unwrap();
            rows +=
                commits.iter().flat_map(|commit| &commit.frames).map(|frame| frame.rows.num_rows() as u64).sum::<u64>();
            after = upto;
        }
        assert_eq!(rows, expected);
    }
    f64::from(PASSES) * expected as f64 / (cpu() - before).as_secs_f64()
}

/// The same for DuckDB on one thread, which looks at every value of every column.
fn duckdb(place: &Path, rows: u64) -> Option<f64> {
    let script = format!(
        "import duckdb, resource\n\
         connection = duckdb.connect(config={{'threads': 1}})\n\
         used = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])\n\
         connection.sql('SELECT 1').fetchall()\n\
         before = used()\n\
         for _ in range({PASSES}):\n\
         \x20   connection.sql(\"SELECT max(hash(COLUMNS(*))) FROM read_parquet('{}/topic=submissions/**/*.parquet')\").fetchall()\n\
         print(used() - before)",
        place.display()
    );
    let output = Command::new("python3").args(["-c", &script]).output().ok()?;
    let seconds: f64 = String::from_utf8(output.stdout).ok()?.trim().parse().ok()?;
    Some(f64::from(PASSES) * rows as f64 / seconds)
}
