//! How long a start takes: on an empty directory, after a stop, and after a kill, by length of history.

use crate::Wanted;
use crate::machine::{disk, ms};
use crate::workload::{InFlight, Workload, open, waiter};
use std::path::Path;
use std::time::Duration;

pub(crate) fn run(wanted: &Wanted) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!("start: until everything in the log is visible");
    let mut empty: Vec<Duration> = (0..5)
        .map(|_| {
            let directory = tempfile::tempdir().unwrap();
            let (node, time) = open(directory.path(), &wanted.project, &runtime);
            node.pipeline.stop();
            time
        })
        .collect();
    empty.sort_unstable();
    println!("  empty directory: {} (median of 5; the first of a process {})", ms(empty[2]), ms(empty[4]));
    for submissions in [20_000, 200_000] {
        let directory = tempfile::tempdir().unwrap();
        fill(wanted, directory.path(), submissions, &runtime);
        let (node, time) = open(directory.path(), &wanted.project, &runtime);
        let read = node.pipeline.status().checkpoint.started_after;
        println!(
            "  after a stop, {submissions} submissions: {} ({} MiB on disk; from commit {} of {})",
            ms(time),
            disk(directory.path()) >> 20,
            read.0,
            node.log.durable().borrow().0
        );
        node.pipeline.stop();
    }
}

/// Runs the project with so many submissions in a directory, and stops.
pub(crate) fn fill(wanted: &Wanted, directory: &Path, submissions: u64, runtime: &tokio::runtime::Runtime) {
    let (node, _) = open(directory, &wanted.project, runtime);
    let workload = Workload::new(submissions);
    let (sender, waiting) = waiter(node.pipeline.subscribe(), 16);
    for lines in workload.lines.chunks(500) {
        let submitted = node.door.submit("bench", lines.join("\n").as_bytes()).unwrap();
        sender.send(InFlight { submitted, at: std::time::Instant::now(), events: 0 }).unwrap();
    }
    drop(sender);
    waiting.join().unwrap();
    node.pipeline.stop();
}
