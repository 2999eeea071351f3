//! Submissions of 40 items, made before the clock starts.

use chalk_cli::{Node, ProjectFiles};
use chalk_homework::{Expect, Rates, School, SchoolConfig};
use chalk_ingest::Submitted;
use chalk_view::Snapshot;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Lines of assignments and submissions, in order.
pub(crate) struct Workload {
    pub(crate) lines: Vec<String>,
    pub(crate) submissions: u64,
}

impl Workload {
    /// So many submissions, and the assignments that they answer.
    pub(crate) fn new(submissions: u64) -> Self {
        let config = SchoolConfig {
            seed: 7,
            events: submissions * 2,
            items: 40,
            rates: Rates::faultless(),
            ..SchoolConfig::default()
        };
        let mut workload = Self { lines: Vec::new(), submissions: 0 };
        for sent in School::new(config) {
            let Expect::Accepted(event) = &sent.expect else { continue };
            match event.event_type() {
                "assignment_published" => {}
                "submission_received" => workload.submissions += 1,
                _ => continue,
            }
            workload.lines.push(sent.line);
            if workload.submissions == submissions {
                break;
            }
        }
        workload
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.lines.iter().map(|line| line.len() as u64 + 1).sum()
    }
}

/// A node on a directory, caught up, and how long that took.
pub(crate) fn open(directory: &Path, project: &Path, runtime: &tokio::runtime::Runtime) -> (Node, Duration) {
    let began = Instant::now();
    let files = ProjectFiles::read(project).unwrap();
    let node = Node::open(&files, directory, "bench").unwrap();
    runtime.block_on(node.pipeline.caught_up()).unwrap();
    (node, began.elapsed())
}

/// An append on its way, and when its clock began.
pub(crate) struct InFlight {
    pub(crate) submitted: Submitted,
    pub(crate) at: Instant,
    pub(crate) events: u64,
}

/// Waits for appends to be visible, in order; gives the time of each, weighted by its events.
pub(crate) fn waiter(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    in_flight_max: usize,
) -> (std::sync::mpsc::SyncSender<InFlight>, JoinHandle<Vec<(Duration, u64)>>) {
    let (sender, appends): (_, Receiver<InFlight>) = sync_channel(in_flight_max);
    let thread = std::thread::spawn(move || {
        let mut times = Vec::new();
        while let Ok(append) = appends.recv() {
            let receipt = append.submitted.wait().unwrap();
            assert!(receipt.refused.is_empty(), "refused: {:?}", receipt.refused.first());
            futures::executor::block_on(snapshots.wait_for(|snapshot| snapshot.settled >= receipt.commit)).unwrap();
            times.push((append.at.elapsed(), append.events));
        }
        times
    });
    (sender, thread)
}
