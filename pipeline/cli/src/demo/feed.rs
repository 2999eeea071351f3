//! The school's events, through the door that clients use.

use crate::demo::{Config, MadeBySchool};
use crate::error::CliError;
use crate::node::Node;
use chalk_homework::{Expect, School, SchoolConfig, Tally};
use chalk_ingest::{Door, Receipt, Submitted};
use chalk_view::Snapshot;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// So many events are appended at once.
const BATCH_EVENTS: usize = 500;
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
    /// Bytes of events.
    pub bytes: u64,
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
    let school = School::new(SchoolConfig { seed: config.seed, events: config.events, ..SchoolConfig::default() });
    let mut lines = String::new();
    let mut count = 0;
    let send = |lines: &mut String, door: &Door| -> Result<(), CliError> {
        let at = Instant::now();
        let submitted = door.submit("chalk demo", lines.as_bytes())?;
        lines.clear();
        // The receiver ends only when an append or the pipeline failed, which is found when it is joined.
        let _ = in_flight.send(InFlight { submitted, at });
        Ok(())
    };
    for sent in school {
        fed.tally.add(&sent);
        fed.bytes += sent.line.len() as u64;
        lines.push_str(&sent.line);
        lines.push('\n');
        if let Expect::Accepted(event) = sent.expect {
            fed.made.0.push(event);
        }
        count += 1;
        if count % BATCH_EVENTS == 0 {
            send(&mut lines, &node.door)?;
            show(Progress { events: count as u64 });
        }
    }
    if !lines.is_empty() {
        send(&mut lines, &node.door)?;
    }
    drop(in_flight);
    show(Progress { events: count as u64 });
    runtime.block_on(node.pipeline.caught_up())?;
    fed.elapsed = started.elapsed();
    let (receipts, latencies) =
        waiter.join().map_err(|_| CliError::other("waiting for appends failed"))?.map_err(CliError::Log)?;
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
) -> Result<(Vec<Receipt>, Vec<Duration>), chalk_log::LogError> {
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
