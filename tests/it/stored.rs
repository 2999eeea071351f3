//! What earlier builds have stored is read: small files of each format, as they were written then.
//!
//! `CHALK_BLESS=1 cargo test --release --test it -- stored` writes those of the present formats where there are none; what is there is
//! never written again.

use crate::workspace::root;
use arrow::array::RecordBatch;
use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray, UInt64Array, new_null_array};
use arrow::datatypes::{DataType, Int64Type};
use chalk_catalog::{
    ChangelogPlace, ControlEvent, EpochViews, Journal, SystemTopic, TopicDef, TopicId, TopicSchema, ViewRecord,
};
use chalk_event::{CommitSeq, Epoch, EventTime, IngestTime, Offset, PartitionId};
use chalk_log::{Append, CommitLog, EventLog, FrameToAppend, Holder, Keep, LogOptions, Retention};
use chalk_store::LocalFiles;
use chalk_store::objects::LocalObjects;
use chalk_store::runs::{Change, RunSet, RunWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const AVSC: &str = r#"{"event_type":"note","partitions":2,"fields":[
    {"name":"n","type":"long"},{"name":"text","type":["null","string"]}]}"#;

fn golden(name: &str) -> PathBuf {
    root().join("tests/golden").join(name)
}

/// Copies a log's files to where golden files are.
fn keep_log(made: &Path, folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder");
    for file in std::fs::read_dir(made.join("log")).expect("a log").flatten() {
        std::fs::copy(file.path(), folder.join(file.file_name())).expect("a copy");
    }
}

/// Copies a folder of golden files to where it can be written to; makes it first when that is asked for and it is not there.
fn copied(name: &str, make: impl Fn(&Path)) -> tempfile::TempDir {
    let from = golden(name);
    if std::env::var_os("CHALK_BLESS").is_some() && !from.exists() {
        make(&from);
    }
    let copy = tempfile::tempdir().expect("a temporary folder");
    let files = std::fs::read_dir(&from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    for file in files.flatten() {
        let to = copy.path().join("log").join(file.file_name());
        std::fs::create_dir_all(copy.path().join("log")).expect("a folder");
        std::fs::copy(file.path(), to).expect("a copy");
    }
    copy
}

fn options() -> LogOptions {
    let time = AtomicI64::new(1_756_684_800_000_000_000);
    let clock = Arc::new(move || time.fetch_add(1_000_000_000, Ordering::Relaxed));
    LogOptions { segment_bytes_max: 3000, ..LogOptions::new(clock) }
}

fn open(directory: &Path) -> CommitLog {
    let holder = Holder { pid: 7, command: "chalk test".to_owned(), http: None, pg: None };
    CommitLog::open(directory, &holder, options()).expect("a log of an earlier build")
}

/// Rows from `first` on: some with text, some without, of both partitions in turn.
fn notes(topic: &TopicDef, first: i64, count: i64) -> Append {
    let numbers = first..first + count;
    let text = numbers.clone().map(|n| (n % 3 > 0).then(|| format!("note {n}: {}", "good ".repeat((n % 7) as usize))));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(numbers)),
        Arc::new(text.collect::<StringArray>()),
        new_null_array(&DataType::Utf8, count as usize),
        Arc::new(UInt64Array::from(vec![0; count as usize])),
    ];
    let rows = RecordBatch::try_new(Arc::clone(topic.schema.arrow()), columns).expect("rows of the topic");
    let event_times = (count > 1).then_some((EventTime(first), EventTime(first + count - 1)));
    let partition = PartitionId((first % 2) as u16);
    Append { frames: vec![FrameToAppend { topic: topic.id, partition, schema: topic.schema_id, event_times, rows }] }
}

/// How many rows each append of the golden log has: as few as are stored plainly, and as many as are compressed.
const COUNTS: [i64; 8] = [1, 40, 3, 100, 15, 16, 60, 2];

fn append_all(log: &CommitLog, first: i64) -> i64 {
    let topic = log.ensure_topic("notes", AVSC, TopicSchema::NO_ENVELOPE).expect("a topic");
    COUNTS.iter().fold(first, |first, &count| {
        log.append(notes(&topic, first, count)).and_then(|pending| pending.wait()).expect("a durable append");
        first + count
    })
}

#[test]
fn a_log_of_format_2_is_read_and_gone_on_with() {
    let copy = copied("log-2", |folder| {
        let made = tempfile::tempdir().expect("a temporary folder");
        append_all(&open(made.path()), 0);
        keep_log(made.path(), folder);
    });
    let mut segments = 0;
    chalk_log::verify(copy.path(), |report| {
        assert!(report.damage.is_none(), "{report:?}");
        segments += 1;
    })
    .expect("readable files");
    assert!(segments > 1, "sealed segments are among them");
    let log = open(copy.path());
    let all = COUNTS.iter().sum::<i64>();
    assert_eq!(append_all(&log, all), 2 * all);
    let topic = log.topics().by_name("notes").expect("a topic").clone();
    let (commits, _) = log.read(CommitSeq(0), &[topic.id], usize::MAX).expect("readable commits");
    let mut next = 0;
    for frame in commits.iter().flat_map(|commit| &commit.frames) {
        let rows = frame.rows.num_rows() as i64;
        let [expected] = &notes(&topic, next, rows).frames[..] else { panic!("one frame") };
        assert_eq!(frame.rows, expected.rows);
        assert_eq!(frame.rows.column(0).as_primitive::<Int64Type>().value(0), next);
        next += rows;
    }
    assert_eq!(next, 2 * all);
}

/// Records of the journal as builds have written them one after the other: without views, with their hashes, with their changelogs; and
/// those of sinks and bounded sources.
fn records() -> Vec<ControlEvent> {
    let epoch = |epoch: u64, views| ControlEvent::EpochCommitted {
        pipeline: "project".to_owned(),
        epoch: Epoch(epoch),
        upto: CommitSeq(epoch * 2),
        views,
    };
    let view = |name: &str, rows: u64, changelog| {
        let hash = format!("{:032x}", rows * 0x9e37_79b9_7f4a_7c15);
        (name.to_owned(), ViewRecord { hash, rows, changelog })
    };
    let place = |from: u64| {
        let (snapshot, changes) = (Offset(from)..Offset(from + 3), Offset(from + 3)..Offset(from + 9));
        Some(ChangelogPlace { topic: TopicId(1001), since: Epoch(2), snapshot, changes })
    };
    let views =
        |complete, views: Vec<(String, ViewRecord)>| Some(EpochViews { complete, views: views.into_iter().collect() });
    vec![
        epoch(1, None),
        ControlEvent::SourceRead { table: "answers".to_owned(), position: 5_000_000_000, lines: 31 },
        epoch(2, views(true, vec![view("marks", 7, None), view("boards", 2, None)])),
        ControlEvent::SinkCommitted {
            pipeline: "project".to_owned(),
            sink: "late \"rows\"".to_owned(),
            epoch: Epoch(2),
            upto: CommitSeq(4),
            state: "{\"files\":3}".to_owned(),
        },
        epoch(3, views(false, vec![view("marks", 9, place(0))])),
        epoch(4, views(true, vec![view("marks", 11, place(9)), view("boards", 2, place(100))])),
        epoch(5, views(false, vec![view("boards", 3, place(200))])),
    ]
}

#[test]
fn a_journal_of_earlier_builds_is_read_and_gone_on_with() {
    // Each record in a segment of its own, so that footers have what the journal came to as well.
    let append = |log: &CommitLog, record: &ControlEvent| {
        let frames = vec![log.control_frame(record).expect("a frame")];
        log.append(Append { frames }).and_then(|pending| pending.wait()).expect("a durable append");
        log.seal().expect("a sealed segment");
    };
    let copy = copied("journal-1", |folder| {
        let made = tempfile::tempdir().expect("a temporary folder");
        let log = open(made.path());
        records().iter().for_each(|record| append(&log, record));
        drop(log);
        keep_log(made.path(), folder);
    });
    let journal = |records: &[ControlEvent]| {
        let mut journal = Journal::default();
        records.iter().for_each(|record| journal.apply(record));
        journal
    };
    let log = open(copy.path());
    assert_eq!(log.control_events(SystemTopic::Journal.id()).expect("records"), records());
    assert_eq!(log.journal(), journal(&records()));
    let boards = &log.journal().pipelines["project"].views.clone().expect("known views")["boards"];
    assert_eq!((boards.rows, boards.changelog.as_ref().map(|place| place.changes.end)), (3, Some(Offset(209))));
    let mut more = records();
    more.push(records().remove(4));
    append(&log, &more[7]);
    drop(log);
    let again = open(copy.path());
    assert_eq!(again.control_events(SystemTopic::Journal.id()).expect("records"), more);
    assert_eq!(again.journal(), journal(&more));
}

/// Copies a folder and those in it.
fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    let entries = std::fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    for entry in entries.flatten() {
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a kind").is_dir() {
            true => copy_all(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).expect("a copy")),
        }
    }
}

/// A log that has let go of all but its last segments, and its history.
#[test]
fn a_history_of_format_1_is_read_and_gone_on_with() {
    let open = |directory: &Path| {
        let holder = Holder { pid: 7, command: "chalk test".to_owned(), http: None, pg: None };
        let history = Some(Arc::new(LocalObjects::at(&directory.join("history"))) as _);
        CommitLog::open(directory, &holder, LogOptions { history, ..options() }).expect("a log of an earlier build")
    };
    let archive = |log: &CommitLog| {
        log.seal().expect("a sealed segment");
        log.export(&mut || true).expect("an export");
        let others = Keep { log_age: Some(Duration::ZERO), ..Keep::default() };
        log.retain(&Retention { others, ..Retention::default() }, &[], IngestTime(i64::MAX)).expect("retention");
    };
    let from = golden("history-1");
    if std::env::var_os("CHALK_BLESS").is_some() && !from.exists() {
        let made = tempfile::tempdir().expect("a temporary folder");
        let log = open(made.path());
        append_all(&log, 0);
        archive(&log);
        drop(log);
        ["log", "history"].iter().for_each(|part| copy_all(&made.path().join(part), &from.join(part)));
    }
    let copy = tempfile::tempdir().expect("a temporary folder");
    copy_all(&from, copy.path());
    let log = open(copy.path());
    assert!(log.size().first > CommitSeq(1), "a part is in history alone");
    let all = COUNTS.iter().sum::<i64>();
    let check = |until: i64| {
        let topic = log.topics().by_name("notes").expect("a topic").clone();
        let (commits, _) = log.read(CommitSeq(0), &[topic.id], usize::MAX).expect("readable commits");
        let next = commits.iter().flat_map(|commit| &commit.frames).fold(0, |next, frame| {
            let count = frame.rows.num_rows() as i64;
            assert_eq!(frame.rows, notes(&topic, next, count).frames[0].rows);
            next + count
        });
        assert_eq!(next, until);
    };
    check(all);
    append_all(&log, all);
    archive(&log);
    check(2 * all);
}

#[test]
fn runs_of_format_1_are_read() {
    type Entry = (&'static str, Change<'static>);
    let older: [Entry; 4] =
        [("a", Change::Put(b"one")), ("b", Change::Put(b"two")), ("w1", Change::Add(5)), ("w2", Change::Add(-1))];
    let newer: [Entry; 4] =
        [("b", Change::Delete), ("c", Change::Put(b"")), ("w1", Change::Add(-5)), ("w2", Change::Set(9))];
    let copy = copied("runs-1", |folder| {
        let files = LocalFiles::at(folder).expect("a folder");
        for (name, entries) in [("1.run", older), ("2.run", newer)] {
            let mut writer = RunWriter::create(&files, name).expect("a run");
            for (key, change) in entries {
                writer.push(key.as_bytes(), change).expect("keys in order");
            }
            writer.finish().expect("a run");
        }
    });
    let files = LocalFiles::existing(&copy.path().join("log")).expect("a folder");
    let runs =
        RunSet::open(Arc::new(files), &["1.run".to_owned(), "2.run".to_owned()]).expect("runs of an earlier build");
    let read: Vec<String> = runs
        .scan_prefix(b"")
        .map(|entry| {
            entry.map(|(key, value)| format!("{} {value:?}", String::from_utf8_lossy(&key))).expect("an entry")
        })
        .collect();
    assert_eq!(read, ["a Bytes([111, 110, 101])", "c Bytes([])", "w2 Weight(9)"]);
}
