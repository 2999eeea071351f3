//! Figures of the commit log, each with what it must keep to. They take minutes and gigabytes of the temporary folder:
//!
//! ```sh
//! cargo test --release --test it -- --ignored --nocapture --test-threads 1 log::figures
//! ```

use super::{append, frame_of, notes, open};
use arrow::array::{ArrayRef, StringArray};
use chalk_catalog::TopicDef;
use chalk_event::{EventTime, Offset, PartitionId};
use chalk_log::{Append, CommitLog, EventLog, FrameToAppend, LogOptions, Pending};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn options() -> LogOptions {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64);
    LogOptions::new(Arc::new(now))
}

#[expect(clippy::print_stdout, reason = "the figures")]
fn say(text: &str) {
    println!("{text}");
}

/// About 600 bytes a row.
fn rows(topic: &TopicDef, first: i64, count: i64) -> FrameToAppend {
    let answers = |n: i64| (0..50).map(|item| format!("\"{}\",", (n * 50 + item) * 7919 % 99_991)).collect::<String>();
    let text: ArrayRef = Arc::new((first..first + count).map(|n| Some(answers(n))).collect::<StringArray>());
    let times = Some((EventTime(first), EventTime(first + count - 1)));
    frame_of(topic, (first % 2) as u16, first..first + count, text, times)
}

/// The process's own memory, in MiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("its memory");
    line.trim_end_matches("kB").trim().parse::<u64>().expect("a number") / 1024
}

fn open_timed(directory: &Path) -> (Arc<CommitLog>, Duration) {
    let begun = Instant::now();
    (open(directory, options()), begun.elapsed())
}

#[test]
#[ignore = "it takes minutes and 6 GiB"]
fn memory_stays_flat_over_ten_million_events_in_a_million_commits() {
    const COMMITS: i64 = 1_000_000;
    const ROWS: i64 = 10;
    let directory = tempfile::tempdir().expect("a temporary folder");
    let log = open(directory.path(), options());
    let topic = notes(&*log);
    let (begun, mut memories) = (Instant::now(), Vec::new());
    for n in 0..COMMITS {
        append(&*log, vec![rows(&topic, n * ROWS, ROWS)]);
        if (n + 1) % (COMMITS / 10) == 0 {
            memories.push(memory());
            say(&format!("{:>8} commits in {:>4} s, {} MiB", n + 1, begun.elapsed().as_secs(), memory()));
        }
    }
    let size = log.size();
    drop(log);
    let before = memory();
    let (log, took) = open_timed(directory.path());
    let (mib, opened) = (size.bytes >> 20, memory().saturating_sub(before));
    say(&format!("opened {mib} MiB in {} segments in {took:.1?}; that took {opened} MiB of memory", size.segments));
    assert_eq!(log.size(), size);
    let [.., half, _, _, _, _, whole] = memories[..] else { panic!("ten figures") };
    assert!(whole <= half + half / 5, "{whole} MiB in the end, {half} MiB half-way");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
#[ignore = "it takes a minute"]
fn opening_does_not_take_longer_with_ten_thousand_segments() {
    const SEGMENTS: u64 = 10_000;
    let directory = tempfile::tempdir().expect("a temporary folder");
    let small = LogOptions { segment_bytes_max: 4000, ..options() };
    let log = open(directory.path(), small);
    let topic = notes(&*log);
    let mut n = 0;
    while log.size().segments < SEGMENTS {
        append(&*log, vec![rows(&topic, n, 10)]);
        n += 10;
    }
    let (size, tail) = (log.size(), log.tail(topic.id, PartitionId(0)));
    drop(log);
    for _ in 0..3 {
        let (log, took) = open_timed(directory.path());
        assert_eq!((log.size(), log.tail(topic.id, PartitionId(0))), (size.clone(), tail));
        let begun = Instant::now();
        let places = 200;
        for place in 0..places {
            let offset = Offset(tail.0 * place / places);
            log.read_partition(topic.id, PartitionId(0), offset, 1).expect("readable frames");
        }
        let each = begun.elapsed() / places as u32;
        say(&format!("opened {} segments in {took:.1?}; a row somewhere in them is read in {each:.0?}", size.segments));
        assert!(took < Duration::from_millis(500), "{took:?}");
    }
}

#[test]
#[ignore = "it takes a minute"]
fn one_sync_serves_whatever_has_arrived() {
    const EVENTS_PER_SECOND: f64 = 10_000.0;
    const SECONDS: f64 = 20.0;
    let directory = tempfile::tempdir().expect("a temporary folder");
    let log = open(directory.path(), options());
    let topic = notes(&*log);
    let first = *log.durable().borrow();
    let (sent, waiting) = channel::<(Instant, Pending)>();
    let waiter = std::thread::spawn(move || {
        let waited = waiting.iter().map(|(due, pending)| {
            pending.wait().expect("a durable append");
            due.elapsed()
        });
        let mut waited: Vec<Duration> = waited.collect();
        waited.sort();
        waited
    });
    let begun = Instant::now();
    let (mut events, mut appends) = (0, 0);
    while begun.elapsed().as_secs_f64() < SECONDS {
        // An open loop: what is due is sent, however long the last took.
        let due = begun + Duration::from_secs_f64(events as f64 / EVENTS_PER_SECOND);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let count = 1 + events * 7919 % 20;
        let append = Append { frames: vec![rows(&topic, events, count)] };
        sent.send((due, log.append(append).expect("a place in the order"))).expect("somebody who waits");
        (events, appends) = (events + count, appends + 1);
    }
    drop(sent);
    let waited = waiter.join().expect("a thread that waits");
    let (seconds, syncs) = (begun.elapsed().as_secs_f64(), log.durable().borrow().0 - first.0);
    let at = |part: usize| waited[waited.len() * part / 100];
    say(&format!(
        "{:.0} events/s in appends of 1 to 20: {:.0} syncs/s, {:.1} events and {:.1} appends a sync, {:.1} syncs for 1,000 \
         events; acknowledged after {:.1?} p50, {:.1?} p99",
        events as f64 / seconds,
        syncs as f64 / seconds,
        events as f64 / syncs as f64,
        appends as f64 / syncs as f64,
        1000.0 * syncs as f64 / events as f64,
        at(50),
        at(99),
    ));
    assert!(syncs < appends, "{syncs} syncs for {appends} appends");
}
