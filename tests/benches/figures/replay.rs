//! What a replay costs for each submission, however long the history is: from segments, and from Parquet.

use crate::Wanted;
use crate::machine::cpu;
use crate::start::fill;
use chalk_cli::{Node, ProjectFiles, shards, system_clock};
use chalk_event::IngestTime;
use chalk_graph::Graph;
use chalk_log::{CommitLog, EventLog, Holder, Keep, LogOptions, Retention};
use chalk_runtime::{ReplayOptions, replay};
use chalk_store::objects::LocalObjects;
use chalk_udf_host::Timeline;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const SUBMISSIONS: u64 = 20_000;
/// How much longer the second history is.
const TIMES: u64 = 10;
/// What is computed at once.
const EPOCH_BYTES: usize = 4 << 20;

pub(crate) fn run(wanted: &Wanted) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (project, _) = Node::plan(&ProjectFiles::read(&wanted.project).unwrap()).unwrap();
    println!("replay: all boards from the first commit on, without a checkpoint");
    let short = wanted.events.unwrap_or(SUBMISSIONS);
    let mut costs = Vec::new();
    for submissions in [short, short * TIMES] {
        let directory = tempfile::tempdir().unwrap();
        fill(wanted, directory.path(), submissions, &runtime);
        let log = archived(directory.path());
        let segments = cost(&project.graph, &log, submissions);
        let at_once =
            Retention { others: Keep { log_age: Some(Duration::ZERO), ..Keep::default() }, ..Retention::default() };
        log.retain(&at_once, &[], IngestTime(i64::MAX)).unwrap();
        let history = cost(&project.graph, &log, submissions);
        println!(
            "  {submissions} submissions: {segments:.0} µs of CPU time each from segments, {history:.0} from Parquet"
        );
        costs.push((segments, history));
    }
    let [short, long] = costs[..] else { return };
    println!("  {TIMES} times as many: {:.2} and {:.2} of the cost", long.0 / short.0, long.1 / short.1);
}

/// The log of a directory, all of which is in its history.
fn archived(directory: &Path) -> CommitLog {
    let holder = Holder { pid: std::process::id(), command: "figures".to_owned(), http: None, pg: None };
    let history = Some(Arc::new(LocalObjects::at(&directory.join("history"))) as _);
    let log = CommitLog::open(directory, &holder, LogOptions { history, ..LogOptions::new(system_clock()) }).unwrap();
    log.seal().unwrap();
    log.export(&mut || true).unwrap();
    log
}

/// Microseconds of CPU time for each submission.
fn cost(graph: &Graph, log: &CommitLog, submissions: u64) -> f64 {
    let before = cpu();
    let options = ReplayOptions { until: *log.durable().borrow(), shards: shards(), epoch_bytes_max: EPOCH_BYTES };
    let replayed = replay(graph, log, None, &Timeline::default(), options).unwrap();
    assert!(replayed.rows_in >= submissions);
    (cpu() - before).as_secs_f64() * 1e6 / submissions as f64
}
