//! Submissions that come when they come, whether or not the last ones are done.

use crate::Wanted;
use crate::machine::{fdatasyncs, ms, quantile};
use crate::workload::{InFlight, Workload, open, waiter};
use std::time::{Duration, Instant};

/// An append every millisecond.
const TICK: Duration = Duration::from_millis(1);

pub(crate) fn run(wanted: &Wanted) {
    let per_tick = usize::try_from(wanted.rate / 1000).unwrap().max(1);
    let workload = Workload::new(wanted.rate * wanted.seconds);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (node, _) = open(directory.path(), &wanted.project, &runtime);
    println!(
        "open loop: {} submissions/s for {} s, {per_tick} an append, timed from when each was due",
        wanted.rate, wanted.seconds
    );
    let before = fdatasyncs(directory.path(), 500);
    let (sender, waiting) = waiter(node.pipeline.subscribe(), 1 << 20);
    let began = Instant::now();
    let mut due = began;
    for lines in workload.lines.chunks(per_tick) {
        if let Some(left) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(left);
        }
        let submitted = node.door.submit("bench", lines.join("\n").as_bytes()).unwrap();
        sender.send(InFlight { submitted, at: due, events: lines.len() as u64 }).unwrap();
        due += TICK;
    }
    drop(sender);
    let times = waiting.join().unwrap();
    let elapsed = began.elapsed();
    let after = fdatasyncs(directory.path(), 500);
    let mut latencies: Vec<Duration> = times.iter().map(|(time, _)| *time).collect();
    latencies.sort_unstable();
    let (p50, p99) = (quantile(&latencies, 500), quantile(&latencies, 990));
    let disk = quantile(&before, 990).max(quantile(&after, 990));
    let bound = (disk * 4).max(Duration::from_millis(50));
    println!(
        "  p50 {}, p99 {}, p999 {}, most {}",
        ms(p50),
        ms(p99),
        ms(quantile(&latencies, 999)),
        ms(quantile(&latencies, 1000))
    );
    println!(
        "  fdatasync p50 {}, p99 {} (before), {} (after)",
        ms(quantile(&before, 500)),
        ms(quantile(&before, 990)),
        ms(quantile(&after, 990))
    );
    println!("  bound max(50 ms, 4 × fdatasync p99) = {}: {}", ms(bound), if p99 <= bound { "held" } else { "MISSED" });
    println!("  {:.1} s in all, {} commits", elapsed.as_secs_f64(), node.log.durable().borrow().0);
    node.pipeline.stop();
}
