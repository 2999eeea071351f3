//! What is exact after a process was killed: everything that the log keeps beside the commits themselves.

use super::{append, commits, frame, notes, open, options};
use chalk_catalog::{ControlEvent, Journal, SystemTopic};
use chalk_event::{CommitSeq, Epoch, Offset, PartitionId};
use chalk_log::{EventLog, LogOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Tells the process that is to be killed where its log is.
const DIRECTORY: &str = "CHALK_LOG_TO_KILL";
const KILLS: u64 = 12;

/// Small segments: many kills come in the middle of sealing one and beginning the next.
fn small() -> LogOptions {
    LogOptions { segment_bytes_max: 2000, footers_bytes_max: 1 << 20, ..options() }
}

/// The name of a test of this module, as the test program knows it.
fn name_of(test: &str) -> String {
    let module = module_path!().split_once("::").map_or("", |(_, module)| module);
    format!("{module}::{test}")
}

#[test]
#[ignore = "it never ends: another test starts and kills it"]
fn appends_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let log = open(&directory, small());
    let topic = notes(&*log);
    let mut out = std::io::stdout().lock();
    for n in log.tail(topic.id, PartitionId(0)).0.. {
        let (pipeline, upto) = (format!("pipeline {}", n % 3), CommitSeq(n));
        let committed = ControlEvent::EpochCommitted { pipeline, epoch: Epoch(n), upto, views: None };
        let read = ControlEvent::SourceRead { table: "orders".to_owned(), position: 10 * n, lines: n };
        let mut frames = vec![frame(&topic, 0, n as i64..n as i64 + 1)];
        if n % 5 == 0 {
            frames.push(frame(&topic, 1, n as i64..n as i64 + 2));
        }
        for event in [committed, read] {
            frames.push(log.control_frame(&event).expect("a frame"));
        }
        append(&*log, frames);
        writeln!(out, "acknowledged {n}").expect("somebody who reads");
    }
}

/// Starts a process that appends, and kills it some time after so many acknowledgements; gives the last that was read.
fn kill_after(directory: &Path, acknowledgements: u64) -> u64 {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .args([&name_of("appends_until_it_is_killed"), "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let out = BufReader::new(child.stdout.take().expect("its output"));
    let acknowledged = |line: &str| line.strip_prefix("acknowledged ").and_then(|n| n.parse::<u64>().ok());
    let mut read = out.lines().map_while(Result::ok).filter_map(|line| acknowledged(&line));
    let mut last = read.by_ref().take(acknowledgements as usize).last();
    child.kill().expect("a process to kill");
    last = read.last().or(last);
    child.wait().expect("a killed process");
    last.expect("an acknowledgement")
}

/// Everything that is kept beside commits agrees with what is read from them.
fn check(log: &dyn EventLog, acknowledged: u64) {
    let topic = notes(log);
    let (read, _) = log.read(CommitSeq(0), &[topic.id], usize::MAX).expect("readable commits");
    let rows = |partition: u16| {
        let frames = read.iter().flat_map(|commit| commit.frames.iter().map(move |frame| (commit.seq, frame)));
        let frames = frames.filter(|(_, frame)| frame.partition == PartitionId(partition));
        frames.flat_map(|(seq, frame)| super::numbers(frame).into_iter().map(move |n| (seq, n))).collect::<Vec<_>>()
    };
    let first = rows(0);
    assert!(first.len() as u64 > acknowledged, "{} rows, {acknowledged} was acknowledged", first.len());
    assert!(first.iter().map(|(_, n)| *n).eq(0..first.len() as i64), "in order, none missing, none twice");
    for partition in 0..2 {
        let rows = rows(partition);
        assert_eq!(log.tail(topic.id, PartitionId(partition)), Offset(rows.len() as u64));
        for (offset, (seq, _)) in rows.iter().enumerate().step_by(7) {
            let found = log.commit_of(topic.id, PartitionId(partition), Offset(offset as u64)).expect("a readable log");
            assert_eq!(found, Some(*seq), "offset {offset}");
        }
        let size =
            log.size().partitions.into_iter().find(|size| (size.topic, size.partition.0) == (topic.id, partition));
        let size = size.expect("a partition with rows");
        assert_eq!((size.tail.0, Some(size.last_commit)), (rows.len() as u64, rows.last().map(|(seq, _)| *seq)));
    }
    let mut journal = Journal::default();
    let events = log.control_events(SystemTopic::Journal.id()).expect("control events");
    events.iter().for_each(|event| journal.apply(event));
    assert_eq!(log.journal(), journal);
    assert_eq!(journal.sources["orders"].lines, first.len() as u64 - 1, "in the same commit as the rows");
}

#[test]
fn everything_is_exact_after_a_kill() {
    let directory = tempfile::tempdir().expect("a temporary folder");
    for kill in 0..KILLS {
        let acknowledged = kill_after(directory.path(), 1 + kill * 29 % 23);
        let log = open(directory.path(), small());
        check(&*log, acknowledged);
        let before = commits(&*log, notes(&*log).id).expect("readable commits");
        drop(log);
        let log = open(directory.path(), small());
        check(&*log, acknowledged);
        assert_eq!(commits(&*log, notes(&*log).id).expect("readable commits"), before);
        assert!(log.size().segments > kill, "segments are sealed again and again");
    }
}
