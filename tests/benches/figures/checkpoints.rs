//! What checkpoints cost: the same submissions with one begun every second and with none, in turns.

use crate::Wanted;
use crate::machine::cpu;
use crate::workload::{InFlight, Workload, waiter};
use chalk_cli::{Node, ProjectFiles, shards, system_clock};
use chalk_connect::Lines;
use chalk_ingest::{Door, DoorOptions};
use chalk_log::{CommitLog, EventLog, Holder, LogOptions};
use chalk_runtime::{Checkpoints, Options, Pipeline};
use chalk_store::LocalFiles;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SUBMISSIONS: u64 = 60_000;
const ROUNDS: usize = 3;
const LINES: usize = 500;
const IN_FLIGHT: usize = 16;

pub(crate) fn run(wanted: &Wanted) {
    let workload = Workload::new(wanted.events.unwrap_or(SUBMISSIONS));
    println!("checkpoints: {} submissions of 40 items, in turns", workload.submissions);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(rates(wanted, &workload, None));
        with.push(rates(wanted, &workload, Some(Duration::from_secs(1))));
    }
    let [without, with] = [&without, &with].map(|runs| {
        let median = |of: fn(&(f64, f64)) -> f64| {
            let mut rates: Vec<f64> = runs.iter().map(of).collect();
            rates.sort_unstable_by(f64::total_cmp);
            rates[rates.len() / 2]
        };
        (median(|run| run.0), median(|run| run.1))
    });
    println!("  none:         {:.0} submissions/s, {:.0} per CPU-second", without.0, without.1);
    println!("  every second: {:.0} submissions/s, {:.0} per CPU-second", with.0, with.1);
    println!("  {:.3} of the submissions/s, {:.3} of those per CPU-second", with.0 / without.0, with.1 / without.1);
}

/// Submissions in a second, and in a CPU-second.
fn rates(wanted: &Wanted, workload: &Workload, interval: Option<Duration>) -> (f64, f64) {
    let directory = tempfile::tempdir().unwrap();
    let (door, pipeline) = start(directory.path(), &wanted.project, interval);
    let (sender, waiting) = waiter(pipeline.subscribe(), IN_FLIGHT);
    let (began, cpu_before) = (Instant::now(), cpu());
    for lines in workload.lines.chunks(LINES) {
        let submitted = door.submit("bench", lines.join("\n").as_bytes()).unwrap();
        sender.send(InFlight { submitted, at: Instant::now(), events: lines.len() as u64 }).unwrap();
    }
    drop(sender);
    waiting.join().unwrap();
    let submissions = workload.submissions as f64;
    let rates = (submissions / began.elapsed().as_secs_f64(), submissions / (cpu() - cpu_before).as_secs_f64());
    pipeline.stop();
    rates
}

fn start(directory: &Path, project: &Path, interval: Option<Duration>) -> (Arc<Door>, chalk_runtime::Handle) {
    let files = ProjectFiles::read(project).unwrap();
    let (planned, _) = Node::plan(&files).unwrap();
    let holder = Holder { pid: std::process::id(), command: "bench".to_owned(), http: None, pg: None };
    let log: Arc<dyn EventLog> =
        Arc::new(CommitLog::open(directory, &holder, LogOptions::new(system_clock())).unwrap());
    for (topic, avsc) in &files.schemas {
        log.ensure_topic(topic, avsc, &files.envelope).unwrap();
    }
    let door = Arc::new(Door::open(Arc::clone(&log), DoorOptions::new(system_clock())).unwrap());
    let checkpoints = interval.map(|interval| {
        let storage = Arc::new(LocalFiles::at(&directory.join("checkpoints")).unwrap());
        Checkpoints { storage, interval, write: true, copies: None }
    });
    let options = Options {
        shards: shards(),
        epoch_bytes_max: 4 << 20,
        stdout: Box::new(|| Lines::new("the terminal", std::io::stdout())),
        directory: directory.to_owned(),
        quiet: true,
        snapshot_changes_min: 20_000,
        checkpoints,
        cold: None,
        functions: chalk_runtime::Functions::default(),
        generators: chalk_runtime::Generators::default(),
    };
    let pipeline = Pipeline { name: "bench".to_owned(), graph: planned.graph, identity: String::new() };
    let pipeline = chalk_runtime::start(&pipeline, &door, &options).unwrap();
    (door, pipeline)
}
