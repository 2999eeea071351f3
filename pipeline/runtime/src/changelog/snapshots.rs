//! Writing snapshots, on a thread of their own and no faster than leaves most of a core to others: a view as of one epoch stays as
//! it is, whatever the epochs after it do.

use super::SNAPSHOTS;
use super::layout::Layout;
use super::write::{bytes_of, frame};
use crate::error::RuntimeError;
use arrow::array::RecordBatch;
use chalk_catalog::TopicDef;
use chalk_event::{ChangeBatch, Epoch, Offset};
use chalk_log::{Append, EventLog};
use chalk_view::ViewRows;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

/// Rows of a snapshot that are read at once.
const SNAPSHOT_ROWS: usize = 1024;
/// What is appended at once.
const APPEND_BYTES_MAX: usize = 16 << 20;
/// After each read and append the thread rests for so many times as long.
const REST: u32 = 2;

/// A snapshot to be written.
pub(super) struct Job {
    pub(super) topic: TopicDef,
    pub(super) layout: Layout,
    pub(super) epoch: Epoch,
    pub(super) view: ViewRows,
}

/// Where a snapshot is, once it is durable.
type Answer = Result<Range<Offset>, RuntimeError>;

/// The thread that writes snapshots, one after the other. Dropped, it leaves the one at hand.
pub(super) struct Snapshots {
    jobs: Option<Sender<(Job, Sender<Answer>)>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Snapshots {
    /// Starts it.
    pub(super) fn start(log: &Arc<dyn EventLog>) -> Result<Self, RuntimeError> {
        let (jobs, received) = channel::<(Job, Sender<Answer>)>();
        let stopping = Arc::new(AtomicBool::new(false));
        let (log, stop) = (Arc::clone(log), Arc::clone(&stopping));
        let work = move || {
            for (job, answer) in received {
                let mut since = Instant::now();
                let goes_on = || {
                    std::thread::sleep(since.elapsed() * REST);
                    since = Instant::now();
                    !stop.load(Ordering::Acquire)
                };
                let Job { topic, layout, epoch, view } = job;
                // Nobody may want to know any more.
                let _ = answer.send(write(&*log, &topic, &layout, epoch, &view, goes_on));
            }
        };
        let thread = std::thread::Builder::new().name("snapshots".to_owned()).spawn(work);
        let thread = Some(thread.map_err(|error| RuntimeError::Threads(error.to_string()))?);
        Ok(Self { jobs: Some(jobs), stopping, thread })
    }

    /// Lets a snapshot be written; its place comes once it is durable.
    pub(super) fn write(&self, job: Job) -> Receiver<Answer> {
        let (answer, place) = channel();
        if let Some(jobs) = &self.jobs {
            // If the thread has panicked, no place comes.
            let _ = jobs.send((job, answer));
        }
        place
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

/// Appends all rows of a view, as long as `goes_on` says so, and waits for them; gives their places. Nobody else may write a snapshot
/// of the same view meanwhile.
pub(super) fn write(
    log: &dyn EventLog,
    topic: &TopicDef,
    layout: &Layout,
    epoch: Epoch,
    view: &ViewRows,
    mut goes_on: impl FnMut() -> bool,
) -> Answer {
    let start = log.tail(topic.id, SNAPSHOTS);
    let (mut end, mut pending) = (start, Vec::new());
    let mut cursor = view.cursor(&[])?;
    while let Some(rows) = view.read(&mut cursor, SNAPSHOT_ROWS)? {
        let rows = layout.store(&ChangeBatch::inserts(rows), epoch, topic.schema.arrow())?;
        for rows in in_parts(rows) {
            end.0 += rows.num_rows() as u64;
            pending.push(log.append(Append { frames: vec![frame(topic, SNAPSHOTS, rows)] })?);
        }
        if !goes_on() {
            return Err(RuntimeError::Stopped(None));
        }
    }
    for pending in pending {
        pending.wait()?;
    }
    Ok(start..end)
}

/// Rows in parts that one append takes, as far as a single row does.
fn in_parts(rows: RecordBatch) -> Vec<RecordBatch> {
    let count = rows.num_rows();
    if count < 2 || bytes_of(&rows) <= APPEND_BYTES_MAX {
        return vec![rows];
    }
    let halves = [rows.slice(0, count / 2), rows.slice(count / 2, count - count / 2)];
    halves.into_iter().flat_map(in_parts).collect()
}
