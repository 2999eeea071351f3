//! As many submissions as it takes.

use crate::Wanted;
use crate::machine::{cpu, disk, memory, ms, quantile};
use crate::workload::{InFlight, Workload, open, waiter};
use std::time::Instant;

const SUBMISSIONS: u64 = 200_000;
/// Lines of one append, and appends on their way.
const LINES: usize = 500;
const IN_FLIGHT: usize = 48;

pub(crate) fn run(wanted: &Wanted) {
    let workload = Workload::new(wanted.events.unwrap_or(SUBMISSIONS));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (node, _) = open(directory.path(), &wanted.project, &runtime);
    let mean = workload.bytes() / workload.lines.len() as u64;
    println!(
        "throughput: {} submissions of 40 items, {mean} bytes a line, {LINES} lines an append",
        workload.submissions
    );
    let yardstick = parse_all(&workload);
    let (sender, waiting) = waiter(node.pipeline.subscribe(), IN_FLIGHT);
    let (began, cpu_before) = (Instant::now(), cpu());
    for lines in workload.lines.chunks(LINES) {
        let mut text = String::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        let at = Instant::now();
        let submitted = node.door.submit("bench", text.as_bytes()).unwrap();
        sender.send(InFlight { submitted, at, events: lines.len() as u64 }).unwrap();
    }
    drop(sender);
    let times = waiting.join().unwrap();
    let elapsed = began.elapsed().as_secs_f64();
    let used = (cpu() - cpu_before).as_secs_f64();
    let mut latencies: Vec<_> = times.iter().map(|(time, _)| *time).collect();
    latencies.sort_unstable();
    let rate = workload.submissions as f64 / elapsed;
    println!("  {rate:.0} submissions/s, {:.1} MB/s of JSON", workload.bytes() as f64 / elapsed / 1e6);
    println!("  {:.0} per CPU-second ({used:.1} CPU-seconds)", workload.submissions as f64 / used);
    println!("  {:.3} of what one core does that only parses the JSON ({yardstick:.0} lines/s)", rate / yardstick);
    println!("  append to visible: p50 {}, p99 {}", ms(quantile(&latencies, 500)), ms(quantile(&latencies, 990)));
    println!("  memory {} MiB, workload {} MiB", memory() >> 20, workload.bytes() >> 20);
    node.pipeline.stop();
    println!("  disk {} MiB", disk(directory.path()) >> 20);
}

/// Lines that one thread parses into JSON values in a second.
fn parse_all(workload: &Workload) -> f64 {
    let sample = &workload.lines[..workload.lines.len().min(50_000)];
    let began = Instant::now();
    for line in sample {
        std::hint::black_box(serde_json::from_str::<serde_json::Value>(line).unwrap());
    }
    sample.len() as f64 / began.elapsed().as_secs_f64()
}
