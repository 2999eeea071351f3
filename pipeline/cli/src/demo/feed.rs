//! The school's events, through the door that clients use.

use crate::demo::{Config, MadeBySchool};
use crate::error::CliError;
use crate::node::Node;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use chalk_homework::{Event, Expect, School, Sent, Tally};
use chalk_ingest::{DoorError, Receipt, Submitted};
use chalk_view::Snapshot;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Who brings the events, as dead letters say.
const SOURCE: &str = "chalk demo";
/// So many events are appended at once.
const BATCH_EVENTS: u64 = 500;
/// So many appends may be on their way to the views: a school does not hand in faster than it is graded.
const INVISIBLE_MAX: usize = 16;

/// What was fed, and what came of it.
#[derive(Debug, Default)]
pub struct Fed {
    /// What the school says it made.
    pub tally: Tally,
    /// The events that should have been accepted.
    pub made: MadeBySchool,
    /// Accepted, by event type, as the door says.
    pub accepted: BTreeMap<String, u64>,
    /// Duplicates, as the door says.
    pub duplicates: u64,
    /// Refused by reason, as the door says.
    pub refused: BTreeMap<&'static str, u64>,
    /// From the first append to the last one's visibility.
    pub elapsed: Duration,
    /// From each append to its visibility.
    pub latencies: Vec<Duration>,
    /// Lines that this run sent.
    pub sent: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Lines that an earlier run of the demo sent.
    pub taken_up: u64,
}

/// What an earlier run of the demo left in the log.
struct InLog {
    accepted: u64,
    refused: u64,
}

impl InLog {
    fn of(node: &Node, runtime: &tokio::runtime::Runtime) -> Result<Self, CliError> {
        let topics = node.log.topics();
        let made = topics.user().filter(|topic| Event::columns(topic.name()).next().is_some());
        let sql = format!("SELECT count(*) FROM dead_letters WHERE source = '{SOURCE}'");
        let result = runtime.block_on(node.queries().run(&sql));
        let result = result.map_err(|error| CliError::other(error.to_string()))?;
        let refused = result.batches.first().and_then(|batch| batch.column(0).as_primitive_opt::<Int64Type>());
        let refused = refused.map_or(0, |counts| counts.value(0));
        Ok(Self {
            accepted: made.map(|topic| node.rows(topic.name())).sum(),
            refused: u64::try_from(refused).unwrap_or(0),
        })
    }
}

impl Fed {
    /// Takes note of a line that the school made.
    fn make(&mut self, sent: Sent) {
        self.tally.add(&sent);
        if let Expect::Accepted(event) = sent.expect {
            self.made.0.push(event);
        }
    }

    /// Makes the lines that an earlier run of the demo sent, without sending them again: appends stand in the log wholly and in
    /// order, so it holds what came of the first lines of the school, however that run ended.
    fn take_up(&mut self, school: &mut School, log: &InLog) -> Result<u64, CliError> {
        let (mut accepted, mut refused) = (0, 0);
        while (accepted, refused) != (log.accepted, log.refused) {
            let strangers = || CliError::other("the data directory holds events that this school did not make");
            let sent = school.next().ok_or_else(strangers)?;
            match &sent.expect {
                Expect::Accepted(event) => {
                    accepted += 1;
                    *self.accepted.entry(event.event_type().to_owned()).or_default() += 1;
                }
                Expect::Duplicate => self.duplicates += 1,
                Expect::Rejected(reject) => {
                    refused += 1;
                    *self.refused.entry(reject.code()).or_default() += 1;
                }
            }
            self.make(sent);
            self.taken_up += 1;
            if accepted > log.accepted || refused > log.refused {
                return Err(strangers());
            }
        }
        Ok(self.taken_up)
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Events appended.
    pub events: u64,
}

/// An append on its way.
struct InFlight {
    submitted: Submitted,
    at: Instant,
}

/// Feeds a school to a node and waits until all that it led to is visible.
///
/// # Errors
/// When the door or the pipeline fails.
pub fn feed(
    node: &Node,
    config: &Config,
    runtime: &tokio::runtime::Runtime,
    show: impl Fn(Progress),
) -> Result<Fed, CliError> {
    let started = Instant::now();
    let (in_flight, appended) = sync_channel::<InFlight>(INVISIBLE_MAX);
    let snapshots = node.pipeline.subscribe();
    let waiter = std::thread::spawn(move || wait_for_appends(&appended, snapshots));
    let mut fed = Fed::default();
    let mut school = School::new(config.school());
    let mut lines = String::new();
    let mut count = fed.take_up(&mut school, &InLog::of(node, runtime)?)?;
    show(Progress { events: count });
    let send = |lines: &mut String| -> Result<(), CliError> {
        let at = Instant::now();
        let submitted = node.intake.submit(SOURCE, lines.as_bytes())?;
        lines.clear();
        // The receiver ends only when an append or the pipeline failed, which is found when it is joined.
        let _ = in_flight.send(InFlight { submitted, at });
        Ok(())
    };
    for sent in school {
        fed.bytes += sent.line.len() as u64;
        fed.sent += 1;
        lines.push_str(&sent.line);
        lines.push('\n');
        fed.make(sent);
        count += 1;
        if count % BATCH_EVENTS == 0 {
            send(&mut lines)?;
            show(Progress { events: count });
        }
    }
    if !lines.is_empty() {
        send(&mut lines)?;
    }
    drop(in_flight);
    show(Progress { events: count });
    runtime.block_on(node.pipeline.caught_up())?;
    fed.elapsed = started.elapsed();
    let (receipts, latencies) = waiter.join().map_err(|_| CliError::other("waiting for appends failed"))??;
    fed.latencies = latencies;
    for receipt in receipts {
        fed.duplicates += receipt.duplicates;
        for (event_type, count) in receipt.accepted {
            *fed.accepted.entry(event_type).or_default() += count;
        }
        for refused in receipt.refused {
            *fed.refused.entry(refused.bad.reason.code()).or_default() += 1;
        }
    }
    Ok(fed)
}

/// Waits for each append to be durable, then to be visible: they become so in order.
fn wait_for_appends(
    appends: &Receiver<InFlight>,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
) -> Result<(Vec<Receipt>, Vec<Duration>), DoorError> {
    let (mut receipts, mut latencies) = (Vec::new(), Vec::new());
    while let Ok(append) = appends.recv() {
        let receipt = append.submitted.wait()?;
        let visible = snapshots.wait_for(|snapshot| snapshot.settled >= receipt.commit);
        if futures::executor::block_on(visible).is_err() {
            break; // the pipeline has failed, and says why
        }
        latencies.push(append.at.elapsed());
        receipts.push(receipt);
    }
    Ok((receipts, latencies))
}
