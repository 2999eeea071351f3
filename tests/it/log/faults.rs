//! What the commit log promises on disks that fail: what was acknowledged is there, in order and once, whatever happens.
//!
//! More than the default: `CHALK_STATES=1000 CHALK_FLIPS=20000 cargo test --release --test it -- log::faults --nocapture`.

use super::{AVSC, append, commits, frame, options};
use chalk_catalog::{TopicDef, TopicSchema};
use chalk_log::{CommitLog, EventLog, LogError, LogOptions};
use chalk_store::Storage as _;
use chalk_store::memory::{EIO, ENOSPC, Fault, MemoryFiles};
use std::sync::Arc;
use std::time::Duration;

/// How many commits are tried.
const COMMITS: i64 = 24;

pub(super) fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// Numbers below the one asked for, from a seed that a failing test shows.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn seeded() -> Self {
        let seed = setting("CHALK_SEED", 1);
        say(&format!("CHALK_SEED={seed}"));
        Self(seed)
    }

    pub(super) fn below(&mut self, below: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % below as u64) as usize
    }
}

#[expect(clippy::print_stderr, reason = "shown when a test fails")]
pub(super) fn say(text: &str) {
    eprintln!("{text}");
}

/// Some commits a segment, and nothing is found in memory.
fn small() -> LogOptions {
    LogOptions {
        segment_bytes_max: 6000,
        cache_bytes_max: 0,
        footers_bytes_max: 0,
        full_disk_pause: Duration::from_millis(1),
        ..options()
    }
}

fn open(files: &MemoryFiles) -> Result<CommitLog, LogError> {
    CommitLog::open_in(Arc::new(files.clone()), small())
}

/// All rows of the topic; none when there is no topic.
fn rows(log: &CommitLog) -> Result<Vec<String>, LogError> {
    let topics = log.topics();
    topics.by_name("notes").map_or(Ok(Vec::new()), |topic| commits(log, topic.id))
}

/// What became of a run of appends, one after the other.
#[derive(Default)]
struct Outcome {
    /// Operations on the disk before each acknowledgement.
    acknowledged: Vec<usize>,
    /// Operations that were tried in all.
    tried: usize,
    error: Option<LogError>,
}

/// The rows of the n-th append, a few sectors long.
fn nth(log: &CommitLog, topic: &TopicDef, n: i64) -> Result<(), LogError> {
    let (first, count) = (n * 100, 1 + n * 7 % 60);
    let frames = vec![frame(topic, 0, first..first + count), frame(topic, 1, first + 99..first + 100)];
    log.append(chalk_log::Append { frames })?.wait().map(drop)
}

fn run(files: &MemoryFiles) -> Outcome {
    let mut outcome = Outcome::default();
    let mut try_all = || {
        let log = open(files)?;
        let topic = log.ensure_topic("notes", AVSC, TopicSchema::NO_ENVELOPE)?;
        for n in 0..COMMITS {
            let appended = nth(&log, &topic, n);
            if let Err(error) = appended {
                // Who reads goes on reading.
                assert_eq!(rows(&log)?.len(), outcome.acknowledged.len());
                return Err(error);
            }
            outcome.acknowledged.push(files.done());
        }
        Ok(())
    };
    let error = try_all().err();
    Outcome { tried: files.operations(), error, ..outcome }
}

/// The rows of a run without faults, and the disk after it.
fn faultless() -> (MemoryFiles, Outcome, Vec<String>) {
    let files = MemoryFiles::new();
    let outcome = run(&files);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let all = rows(&open(&files).expect("a log")).expect("readable commits");
    assert_eq!(all.len(), COMMITS as usize);
    assert!(files.list().expect("memory").len() > 3, "there is more than one segment");
    (files, outcome, all)
}

/// Opens what is left of a log, and goes on: it has what was acknowledged, at most the append after that, and takes more.
fn check_left(files: &MemoryFiles, all: &[String], acknowledged: usize, what: &str) {
    let log = open(files).unwrap_or_else(|error| panic!("{what}: {error}"));
    let left = rows(&log).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(left.len() >= acknowledged, "{what}: {acknowledged} were acknowledged, {} are left", left.len());
    assert!(left.len() <= acknowledged + 1, "{what}: {} are left of {acknowledged}", left.len());
    assert_eq!(left, all[..left.len()], "{what}");
    let topic = log.ensure_topic("notes", AVSC, TopicSchema::NO_ENVELOPE).expect("a topic");
    append(&log, vec![frame(&topic, 0, 7..9)]);
    drop(log);
    let after = rows(&open(files).expect("a log")).expect("readable commits");
    assert_eq!(after[..left.len()], left, "{what}");
    assert_eq!(after.len(), left.len() + 1, "{what}");
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let (files, outcome, all) = faultless();
    let mut chance = Chance::seeded();
    for state in 0..setting("CHALK_STATES", 100) {
        let operations = chance.below(files.done() + 1);
        let left = files.after_power_cut(operations, &mut |below| chance.below(below));
        let acknowledged = outcome.acknowledged.iter().filter(|&&at| at <= operations).count();
        check_left(&left, &all, acknowledged, &format!("state {state}, cut after operation {operations}"));
    }
}

#[test]
fn a_failed_operation_stops_the_log_and_loses_nothing() {
    let (_, outcome, all) = faultless();
    for from in 0..outcome.tried {
        let files = MemoryFiles::new();
        files.set_fault(Some(Fault { from, count: 1, errno: EIO, half: from % 2 == 0 }));
        let outcome = run(&files);
        let error = outcome.error.expect("an operation failed").to_string();
        assert!(error.contains("Input/output error"), "operation {from}: {error}");
        files.set_fault(None);
        check_left(&files, &all, outcome.acknowledged.len(), &format!("operation {from} failed: {error}"));
    }
}

#[test]
fn a_failed_sync_is_not_tried_again() {
    let files = MemoryFiles::new();
    let log = open(&files).expect("a log");
    let topic = log.ensure_topic("notes", AVSC, TopicSchema::NO_ENVELOPE).expect("a topic");
    // The write of the next commit, then its sync.
    files.set_fault(Some(Fault { from: files.operations() + 1, count: 1, errno: EIO, half: false }));
    let error = nth(&log, &topic, 0).expect_err("a sync that fails").to_string();
    assert!(error.contains("cannot sync") && error.contains("nothing acknowledged is lost"), "{error}");
    let (done, again) = (files.operations(), nth(&log, &topic, 1).expect_err("a log that has stopped").to_string());
    assert!(again.contains("cannot sync"), "{again}");
    assert_eq!(files.operations(), done, "nothing is written after it");
}

#[test]
fn a_full_disk_is_waited_for() {
    let (_, outcome, all) = faultless();
    let mut waited = 0;
    for from in 0..outcome.tried {
        let files = MemoryFiles::new();
        files.set_fault(Some(Fault { from, count: 3, errno: ENOSPC, half: from % 2 == 0 }));
        let outcome = run(&files);
        files.set_fault(None);
        let Some(error) = outcome.error else {
            waited += 1;
            assert_eq!(rows(&open(&files).expect("a log")).expect("readable commits"), all, "operation {from}");
            continue;
        };
        // About what was to be synced nothing is known any more.
        assert!(error.to_string().contains("cannot sync"), "operation {from}: {error}");
        check_left(&files, &all, outcome.acknowledged.len(), &format!("operation {from} failed: {error}"));
    }
    assert!(waited >= COMMITS, "only {waited}");
}

#[test]
fn who_waits_for_room_is_told_and_can_leave() {
    let files = MemoryFiles::new();
    let log = open(&files).expect("a log");
    let topic = log.ensure_topic("notes", AVSC, TopicSchema::NO_ENVELOPE).expect("a topic");
    files.set_fault(Some(Fault { from: files.operations(), count: usize::MAX, errno: ENOSPC, half: true }));
    let frames = vec![frame(&topic, 0, 0..3)];
    let pending = log.append(chalk_log::Append { frames }).expect("a place in the order");
    let began = std::time::Instant::now();
    while log.stalled().is_none() {
        assert!(began.elapsed() < crate::program::PATIENCE, "nobody says that the disk is full");
        std::thread::yield_now();
    }
    assert!(log.stalled().expect("a reason").contains("No space left on device"));
    drop(log);
    pending.wait().expect_err("the log was closed");
    files.set_fault(None);
    check_left(&files, &[], 0, "closed while it waited");
}

#[test]
fn a_bit_that_has_turned_over_is_never_taken_for_what_was_written() {
    let (files, _, all) = faultless();
    let mut chance = Chance::seeded();
    let names = files.list().expect("memory");
    let (mut detected, flips) = (0, setting("CHALK_FLIPS", 2000));
    for _ in 0..flips {
        let name = &names[chance.below(names.len())];
        let bytes = files.read(name).expect("memory").expect("a segment").len();
        let bit = chance.below(bytes * 8);
        let damaged = files.copy();
        damaged.flip(name, bit);
        match open(&damaged).and_then(|log| rows(&log)) {
            Err(LogError::Damaged { .. } | LogError::NewerFormat { .. } | LogError::OlderFormat { .. }) => {
                detected += 1;
            }
            Err(other) => panic!("{name}, bit {bit}: {other}"),
            // What is read without the damaged bytes; or the last append, which looks like one that was never acknowledged.
            Ok(rows) => {
                let last = name == names.last().expect("segments");
                assert!(rows == all || last && rows == all[..all.len() - 1], "{name}, bit {bit}: {} rows", rows.len());
            }
        }
    }
    say(&format!("{detected} of {flips} were noticed by reading everything"));
    assert!(detected * 2 > flips, "{detected} of {flips}");
}
