//! The numbers at the end of the demo, and whether they are the school's own.

use crate::demo::{Fed, MadeBySchool};
use crate::node::Node;
use chalk_catalog::SystemTopic;
use chalk_homework::Value;
use chalk_runtime::Status;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

/// What happened.
#[derive(Clone, Debug)]
pub struct Summary {
    accepted: u64,
    duplicates: u64,
    refused: Vec<(String, u64)>,
    graded: u64,
    late: u64,
    status: Status,
    taken_up: u64,
    sent: u64,
    bytes: u64,
    elapsed: Duration,
    opened: Duration,
    latency_p50: Duration,
    latency_p99: Duration,
    commits: u64,
    cpu: Option<Duration>,
    memory_peak: Option<u64>,
}

impl Summary {
    /// Collects the numbers.
    #[must_use]
    pub fn new(node: &Node, fed: &Fed, opened: Duration) -> Self {
        let status = node.pipeline.status();
        let mut latencies = fed.latencies.clone();
        latencies.sort_unstable();
        let quantile = |permille: usize| latencies.get(latencies.len().saturating_sub(1) * permille / 1000).copied();
        Self {
            accepted: fed.accepted.values().sum(),
            duplicates: fed.duplicates,
            refused: fed.refused.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
            graded: node.rows("graded"),
            late: node.rows(SystemTopic::LateRows.name()),
            status,
            taken_up: fed.taken_up,
            sent: fed.sent,
            bytes: fed.bytes,
            elapsed: fed.elapsed,
            opened,
            latency_p50: quantile(500).unwrap_or_default(),
            latency_p99: quantile(990).unwrap_or_default(),
            commits: node.log.durable().borrow().0,
            cpu: process::cpu(),
            memory_peak: process::memory_peak(),
        }
    }

    /// Whether the engine's counts are the school's; says where they are not.
    #[must_use]
    pub fn check(&self, fed: &Fed) -> bool {
        let tally = &fed.tally;
        let mut good = true;
        let mut same = |what: &str, found: u64, made: u64| {
            if found != made {
                eprintln!("NOT AS MADE: {what}: the engine counts {found}, the school made {made}");
                good = false;
            }
        };
        for (event_type, made) in &tally.accepted {
            same(event_type, fed.accepted.get(*event_type).copied().unwrap_or_default(), *made);
        }
        same("accepted", self.accepted, tally.accepted_total());
        same("duplicates", self.duplicates, tally.duplicates);
        for (reject, made) in &tally.rejected {
            same(reject.code(), fed.refused.get(reject.code()).copied().unwrap_or_default(), *made);
        }
        same("refused", fed.refused.values().sum(), tally.rejected_total());
        same("derived events that were refused", self.status.derived_refused, 0);
        same("graded", self.graded, gradings(&fed.made));
        good
    }
}

/// How many marks the school's events lead to: of every submission by every version of its key.
fn gradings(made: &MadeBySchool) -> u64 {
    let mut versions: HashMap<Value, u64> = HashMap::new();
    for key in made.0.iter().filter(|event| event.topic() == "assignments") {
        *versions.entry(key.field("assignment_id")).or_default() += 1;
    }
    let submissions = made.0.iter().filter(|event| event.event_type() == "submission_received");
    submissions.filter_map(|event| versions.get(&event.field("assignment_id"))).sum()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let refused: u64 = self.refused.iter().map(|(_, count)| count).sum();
        let reasons: Vec<String> = self.refused.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        writeln!(f, "accepted   {}", self.accepted)?;
        writeln!(f, "duplicate  {}", self.duplicates)?;
        writeln!(f, "refused    {refused}  ({})", reasons.join(", "))?;
        writeln!(f, "graded     {}", self.graded)?;
        writeln!(f, "late       {}  (after their window had closed: SELECT * FROM late_rows)", self.late)?;
        writeln!(f, "epochs     {} of {} commits", self.status.epochs, self.commits)?;
        if self.taken_up > 0 {
            writeln!(f, "went on    after {} events of an earlier run, and sent {}", self.taken_up, self.sent)?;
        }
        writeln!(
            f,
            "speed      {:.0} events/s, {:.1} MB/s, generator included ({seconds:.1} s)",
            self.sent as f64 / seconds,
            self.bytes as f64 / seconds / 1e6
        )?;
        if let Some(cpu) = self.cpu {
            writeln!(f, "           {:.0} events per CPU-second", self.sent as f64 / cpu.as_secs_f64())?;
        }
        writeln!(
            f,
            "visible    {:.0} ms p50, {:.0} ms p99 from append to view, at full speed",
            self.latency_p50.as_secs_f64() * 1e3,
            self.latency_p99.as_secs_f64() * 1e3
        )?;
        if let Some(bytes) = self.memory_peak {
            writeln!(f, "memory     {} MiB at most, the school's own events for the comparison included", bytes >> 20)?;
        }
        writeln!(f, "start      {:.0} ms to open the directory", self.opened.as_secs_f64() * 1e3)
    }
}

/// What the system says about this process.
mod process {
    use std::fs;
    use std::time::Duration;

    /// User and system time so far (`proc_pid_stat(5)`, fields 14 and 15, in ticks of 1/100 s).
    pub(super) fn cpu() -> Option<Duration> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let after_name = stat.rsplit_once(") ")?.1;
        let mut fields = after_name.split(' ').skip(11);
        let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        Some(Duration::from_millis(ticks * 10))
    }

    /// The greatest resident size so far, in bytes (`VmHWM` of `proc_pid_status(5)`).
    pub(super) fn memory_peak() -> Option<u64> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
    }
}
