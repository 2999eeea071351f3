//! What the system says about this process and its disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// User and system time so far (`proc_pid_stat(5)`, fields 14 and 15, in ticks of 1/100 s).
pub(crate) fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let mut fields = after_name.split(' ').skip(11).map(|field| field.parse::<u64>().unwrap());
    Duration::from_millis((fields.next().unwrap() + fields.next().unwrap()) * 10)
}

/// The resident size now, in bytes.
pub(crate) fn memory() -> u64 {
    status("VmRSS:")
}

/// The resident size without mapped files, in bytes.
pub(crate) fn anonymous_memory() -> u64 {
    status("RssAnon:")
}

fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// How long appending 4 KiB and `fdatasync` take here: each of `count` times, sorted.
pub(crate) fn fdatasyncs(directory: &Path, count: usize) -> Vec<Duration> {
    let mut file = File::create(directory.join("yardstick")).unwrap();
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            file.write_all(&[7; 4096]).unwrap();
            let began = Instant::now();
            file.sync_data().unwrap();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times
}

/// A quantile of sorted times.
pub(crate) fn quantile(sorted: &[Duration], permille: usize) -> Duration {
    sorted.get(sorted.len().saturating_sub(1) * permille / 1000).copied().unwrap_or_default()
}

/// Milliseconds with as many digits as matter.
pub(crate) fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// Bytes of all files below a directory.
pub(crate) fn disk(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
