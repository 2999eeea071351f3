//! The contract of an event log, for every log; in the folder, what the commit log promises about its files.

mod faults;
mod files;
mod history;
mod kill;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt64Array, new_null_array};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use chalk_catalog::{CommittedEpoch, ControlEvent, SourcePosition, SystemTopic, TopicDef, TopicId, TopicSchema};
use chalk_event::{CommitSeq, Epoch, EventTime, IngestTime, Offset, PartitionId};
use chalk_log::{
    Append, Appended, Commit, CommitLog, EventLog, Frame, FrameToAppend, Holder, LogError, LogOptions, PartitionSize,
};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A topic of two partitions.
const AVSC: &str = r#"{"event_type":"note","partitions":2,"fields":[
    {"name":"n","type":"long"},{"name":"text","type":["null","string"]}]}"#;

fn holder() -> Holder {
    Holder { pid: 7, command: "chalk test".to_owned(), http: None, pg: None }
}

/// When a log's first commit is made.
const BEGIN: i64 = 1_756_684_800_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// Every second a commit.
fn options() -> LogOptions {
    let time = AtomicI64::new(BEGIN);
    LogOptions::new(Arc::new(move || time.fetch_add(SECOND, Ordering::Relaxed)))
}

fn notes(log: &dyn EventLog) -> TopicDef {
    log.ensure_topic("notes", AVSC, TopicSchema::NO_ENVELOPE).expect("a topic")
}

/// Rows whose `n` are these numbers.
fn frame(topic: &TopicDef, partition: u16, numbers: Range<i64>) -> FrameToAppend {
    let times = Some((EventTime(numbers.start), EventTime(numbers.end - 1)));
    let text: ArrayRef = Arc::new(numbers.clone().map(|n| Some(format!("note {n}"))).collect::<StringArray>());
    frame_of(topic, partition, numbers, text, times)
}

fn frame_of(
    topic: &TopicDef,
    partition: u16,
    numbers: Range<i64>,
    text: ArrayRef,
    event_times: Option<(EventTime, EventTime)>,
) -> FrameToAppend {
    let len = text.len();
    let mut columns = vec![Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef, text];
    columns.push(new_null_array(&DataType::Utf8, len));
    columns.push(Arc::new(UInt64Array::from(vec![0; len])));
    let rows = RecordBatch::try_new(Arc::clone(topic.schema.arrow()), columns).expect("rows of the topic");
    FrameToAppend { topic: topic.id, partition: PartitionId(partition), schema: topic.schema_id, event_times, rows }
}

fn append(log: &dyn EventLog, frames: Vec<FrameToAppend>) -> Appended {
    log.append(Append { frames }).and_then(|pending| pending.wait()).expect("a durable append")
}

fn numbers(frame: &Frame) -> Vec<i64> {
    let column = frame.rows.column_by_name("n").expect("a column");
    column.as_primitive::<Int64Type>().values().to_vec()
}

/// `2: p0@0 [0, 1] p1@0 [5]`: a commit, its frames, where they begin and what is in them.
fn shown(commit: &Commit) -> String {
    let mut text = format!("{}:", commit.seq);
    for frame in &commit.frames {
        text.push_str(&format!(" p{}@{} {:?}", frame.partition.0, frame.base_offset.0, numbers(frame)));
    }
    text
}

/// Every commit of the topic, read in parts of one commit.
fn commits(log: &dyn EventLog, topic: TopicId) -> Result<Vec<String>, LogError> {
    let (mut all, mut after) = (Vec::new(), CommitSeq(0));
    let durable = *log.durable().borrow();
    while after < durable {
        let (commits, upto) = log.read(after, &[topic], 1)?;
        assert!(upto > after, "reading goes on");
        all.extend(commits.iter().map(shown));
        after = upto;
    }
    Ok(all)
}

/// What is read from one partition, from an offset on: `commit@first offset [rows]`.
fn partition(log: &dyn EventLog, topic: TopicId, partition: u16, from: u64, bytes_max: usize) -> Vec<String> {
    let frames = log.read_partition(topic, PartitionId(partition), Offset(from), bytes_max).expect("readable frames");
    let shown = |(seq, frame): &(CommitSeq, Frame)| format!("{seq}@{} {:?}", frame.base_offset.0, numbers(frame));
    frames.iter().map(shown).collect()
}

// What holds for every log

/// A kind of log: opens the one of a directory.
type Open = fn(&Path) -> Arc<dyn EventLog>;

const LOGS: [(&str, Open); 4] = [
    ("commit log", |directory| open(directory, options()) as _),
    ("commit log without memory", |directory| open(directory, without_memory()) as _),
    ("commit log with little memory", |directory| open(directory, with_little_memory()) as _),
    ("commit log that is read from history", |directory| Arc::new(history::Archived::open(directory)) as _),
];

/// Nothing is found in memory, and every commit begins a segment.
fn without_memory() -> LogOptions {
    LogOptions { segment_bytes_max: 1, cache_bytes_max: 0, footers_bytes_max: 0, ..options() }
}

/// Footers of two segments stay in memory, and segments are small.
fn with_little_memory() -> LogOptions {
    LogOptions { segment_bytes_max: 3000, cache_bytes_max: 2000, footers_bytes_max: 400 << 10, ..options() }
}

fn open(directory: &Path, options: LogOptions) -> Arc<CommitLog> {
    Arc::new(CommitLog::open(directory, &holder(), options).expect("a log"))
}

/// Holds a rule against each kind of log.
fn check(rule: impl Fn(&Arc<dyn EventLog>)) {
    check_reopened(|open| rule(&open()));
}

/// As [`check`], with a log that can be opened again.
fn check_reopened(rule: impl Fn(&dyn Fn() -> Arc<dyn EventLog>)) {
    for (name, open) in LOGS {
        let directory = tempfile::tempdir().expect("a temporary folder");
        say(name);
        rule(&|| open(directory.path()));
    }
}

#[expect(clippy::print_stderr, reason = "shown when a test fails: which log it was")]
fn say(name: &str) {
    eprintln!("{name}");
}

#[test]
fn offsets_are_dense_in_each_partition() {
    check(|log| {
        let topic = notes(&**log);
        let appended = append(&**log, vec![frame(&topic, 0, 0..3), frame(&topic, 1, 10..11), frame(&topic, 0, 3..5)]);
        assert_eq!(appended.base_offsets, [Offset(0), Offset(0), Offset(3)]);
        let appended = append(&**log, vec![frame(&topic, 1, 11..13)]);
        assert_eq!(appended.base_offsets, [Offset(1)]);
        assert_eq!(log.tail(topic.id, PartitionId(0)), Offset(5));
        assert_eq!(log.tail(topic.id, PartitionId(1)), Offset(3));
        let expected = ["2: p0@0 [0, 1, 2] p1@0 [10] p0@3 [3, 4]", "3: p1@1 [11, 12]"];
        assert_eq!(commits(&**log, topic.id).expect("readable commits"), expected);
    });
}

#[test]
fn a_partition_is_read_from_any_offset() {
    check(|log| {
        let topic = notes(&**log);
        for start in [0, 4, 8] {
            append(&**log, vec![frame(&topic, 0, start..start + 4), frame(&topic, 1, 100 + start..101 + start)]);
        }
        let all = usize::MAX;
        assert_eq!(
            partition(&**log, topic.id, 0, 0, all),
            ["2@0 [0, 1, 2, 3]", "3@4 [4, 5, 6, 7]", "4@8 [8, 9, 10, 11]"]
        );
        // The frame that has the offset in its middle comes whole.
        assert_eq!(partition(&**log, topic.id, 0, 6, all), ["3@4 [4, 5, 6, 7]", "4@8 [8, 9, 10, 11]"]);
        assert_eq!(partition(&**log, topic.id, 0, 6, 1), ["3@4 [4, 5, 6, 7]"]);
        assert_eq!(partition(&**log, topic.id, 0, 8, all), ["4@8 [8, 9, 10, 11]"]);
        assert_eq!(partition(&**log, topic.id, 1, 2, all), ["4@2 [108]"]);
        assert_eq!(partition(&**log, topic.id, 0, 12, all), [""; 0]);
        assert_eq!(partition(&**log, TopicId(99), 0, 0, all), [""; 0]);
    });
}

#[test]
fn commits_are_read_after_any_other() {
    check(|log| {
        let topic = notes(&**log);
        let other = log.ensure_topic("others", AVSC, TopicSchema::NO_ENVELOPE).expect("a topic");
        append(&**log, vec![frame(&topic, 0, 0..1)]);
        append(&**log, vec![frame(&other, 0, 50..51)]);
        append(&**log, vec![frame(&other, 1, 51..52), frame(&topic, 1, 1..2)]);
        let read = |after: u64, topics: &[TopicId]| {
            let (commits, upto) = log.read(CommitSeq(after), topics, usize::MAX).expect("readable commits");
            (commits.iter().map(shown).collect::<Vec<_>>(), upto.0)
        };
        let of = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        assert_eq!(read(0, &[topic.id]), (of(&["3: p0@0 [0]", "5: p1@0 [1]"]), 5));
        assert_eq!(read(3, &[topic.id]), (of(&["5: p1@0 [1]"]), 5));
        assert_eq!(read(3, &[topic.id, other.id]), (of(&["4: p0@0 [50]", "5: p1@0 [51] p1@0 [1]"]), 5));
        assert_eq!(read(5, &[topic.id]), (Vec::new(), 5));
        assert_eq!(read(0, &[]), (Vec::new(), 5));
    });
}

#[test]
fn appends_are_atomic_and_in_one_order() {
    const WRITERS: i64 = 4;
    const APPENDS: i64 = 40;
    check(|log| {
        let topic = notes(&**log);
        let write = |writer: i64| {
            let pending: Vec<_> = (0..APPENDS)
                .map(|number| {
                    let n = writer * 1000 + number;
                    let frames = vec![frame(&topic, 0, n..n + 1), frame(&topic, 1, n..n + 1)];
                    (n, log.append(Append { frames }).expect("a place in the order"))
                })
                .collect();
            pending.into_iter().map(|(n, pending)| (n, pending.wait().expect("a durable append"))).collect::<Vec<_>>()
        };
        let appended: Vec<(i64, Appended)> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
            writers.into_iter().flat_map(|writer| writer.join().expect("a writer")).collect()
        });
        let (read, _) = log.read(CommitSeq(0), &[topic.id], usize::MAX).expect("readable commits");
        let mut order = Vec::new();
        for commit in &read {
            let (first, second): (Vec<&Frame>, Vec<&Frame>) =
                commit.frames.iter().partition(|frame| frame.partition == PartitionId(0));
            let of = |frames: &[&Frame]| frames.iter().flat_map(|frame| numbers(frame)).collect::<Vec<_>>();
            assert_eq!(of(&first), of(&second), "commit {} has one half of an append", commit.seq);
            for frame in first {
                assert_eq!(frame.base_offset.0, order.len() as u64, "offsets are dense");
                order.extend(numbers(frame).into_iter().map(|n| (n, commit.seq)));
            }
        }
        assert_eq!(order.len() as i64, WRITERS * APPENDS);
        for (n, appended) in appended {
            assert_eq!(appended.base_offsets[0], appended.base_offsets[1]);
            let place = appended.base_offsets[0].0 as usize;
            assert_eq!(order[place], (n, appended.commit_seq), "it stands where its writer was told");
        }
        for writer in 0..WRITERS {
            let own: Vec<i64> = order.iter().map(|&(n, _)| n).filter(|n| n / 1000 == writer).collect();
            assert!(own.is_sorted(), "writer {writer} appended in another order: {own:?}");
        }
    });
}

#[test]
fn nothing_is_read_before_it_is_durable() {
    check(|log| {
        let topic = notes(&**log);
        for n in 0..50 {
            let pending = log.append(Append { frames: vec![frame(&topic, 0, n..n + 1)] }).expect("a place");
            let (read, _) = log.read(CommitSeq(0), &[topic.id], usize::MAX).expect("readable commits");
            // Read after the commits were, so that it can only be too great.
            let durable = *log.durable().borrow();
            assert!(read.iter().all(|commit| commit.seq <= durable));
            let appended = pending.wait().expect("a durable append");
            assert!(appended.commit_seq <= *log.durable().borrow(), "it is durable when its writer is told");
            assert_eq!(partition(&**log, topic.id, 0, n as u64, usize::MAX).len(), 1, "and can be read");
        }
    });
}

#[test]
fn an_empty_append_waits_for_those_before_it() {
    check(|log| {
        let topic = notes(&**log);
        let before = log.append(Append { frames: vec![frame(&topic, 0, 0..1)] }).expect("a place");
        let barrier = append(&**log, Vec::new());
        assert_eq!(partition(&**log, topic.id, 0, 0, usize::MAX), ["2@0 [0]"]);
        let before = before.wait().expect("a durable append");
        assert_eq!((barrier.commit_seq, before.commit_seq), (CommitSeq(2), CommitSeq(2)));
        assert_eq!(append(&**log, Vec::new()).commit_seq, CommitSeq(2), "a barrier is no commit");
        assert_eq!(append(&**log, vec![frame(&topic, 0, 1..2)]).commit_seq, CommitSeq(3));
    });
}

#[test]
fn an_append_that_is_too_large_leaves_nothing() {
    check(|log| {
        let topic = notes(&**log);
        // A single row is not compressed.
        let text = Arc::new(StringArray::from(vec!["x".repeat(65 << 20)]));
        let frames = vec![frame(&topic, 0, 0..1), frame_of(&topic, 1, 0..1, text, None)];
        let error = log.append(Append { frames }).expect_err("too large");
        assert!(matches!(error, LogError::TooLarge { limit: 67_108_864, .. }), "{error}");
        append(&**log, vec![frame(&topic, 0, 1..2)]);
        assert_eq!(commits(&**log, topic.id).expect("readable commits"), ["2: p0@0 [1]"]);
    });
}

#[test]
fn a_topic_is_made_once() {
    check_reopened(|open| {
        let log = open();
        let topic = notes(&*log);
        let durable = *log.durable().borrow();
        let check = |log: &dyn EventLog| {
            let again = notes(log);
            assert_eq!((again.id, again.schema_id, again.partitions), (topic.id, topic.schema_id, 2));
            assert_eq!(*log.durable().borrow(), durable, "nothing was written");
        };
        check(&*log);
        drop(log);
        check(&*open());
    });
}

#[test]
fn a_schema_can_grow() {
    check_reopened(|open| {
        let log = open();
        let topic = notes(&*log);
        append(&*log, vec![frame(&topic, 0, 0..2)]);
        let more = AVSC.replace("}]}", r#"},{"name":"who","type":["null","string"]}]}"#);
        let grown = log.ensure_topic("notes", &more, TopicSchema::NO_ENVELOPE).expect("a schema that has grown");
        assert_eq!(grown.id, topic.id);
        assert!(grown.schema_id > topic.schema_id, "schemas have numbers of their own");
        let check = |log: &dyn EventLog| {
            let frames = log.read_partition(topic.id, PartitionId(0), Offset(0), usize::MAX).expect("readable frames");
            assert_eq!(frames[0].1.rows.schema_ref(), grown.schema.arrow());
            assert_eq!(frames[0].1.rows.column_by_name("who").map(|column| column.null_count()), Some(2));
            assert_eq!(numbers(&frames[0].1), [0, 1]);
            let (commits, _) = log.read(CommitSeq(0), &[topic.id], usize::MAX).expect("readable commits");
            assert_eq!(commits[0].frames[0].rows, frames[0].1.rows);
        };
        check(&*log);
        drop(log);
        check(&*open());
    });
}

/// Written in one schema and read in the next: promoted, left out, filled in.
#[test]
fn earlier_events_are_read_by_the_later_schema() {
    check_reopened(|open| {
        let log = open();
        let topic = notes(&*log);
        append(&*log, vec![frame(&topic, 0, 0..2)]);
        let later = r#"{"event_type":"note","partitions":2,"fields":[
            {"name":"n","type":"double"},{"name":"points","type":"long","default":7},{"name":"tag","type":"string","default":"none"}]}"#;
        let later = log.ensure_topic("notes", later, TopicSchema::NO_ENVELOPE).expect("a schema that can follow");
        let check = |log: &dyn EventLog| {
            let frames = log.read_partition(topic.id, PartitionId(0), Offset(0), usize::MAX).expect("readable frames");
            let rows = &frames[0].1.rows;
            assert_eq!(rows.schema_ref(), later.schema.arrow());
            let column = |name: &str| rows.column_by_name(name).expect("a column");
            assert_eq!(column("n").as_primitive::<Float64Type>().values(), &[0.0, 1.0]);
            assert_eq!(column("points").as_primitive::<Int64Type>().values(), &[7, 7]);
            assert_eq!(column("tag").as_string::<i32>().value(1), "none");
        };
        check(&*log);
        drop(log);
        check(&*open());
    });
}

fn check_incompatible(avsc: &str, why: &str) {
    check(|log| {
        let topic = notes(&**log);
        append(&**log, vec![frame(&topic, 0, 0..1)]);
        let error = log.ensure_topic("notes", avsc, TopicSchema::NO_ENVELOPE).expect_err("an incompatible schema");
        assert_eq!(error.to_string(), format!("the schema of topic 'notes' cannot change like this: {why}"));
        assert_eq!(notes(&**log).schema_id, topic.schema_id, "nothing has changed");
    });
}

#[test]
fn a_schema_cannot_change_so_that_earlier_events_could_not_be_read() {
    let fields = |fields: &str| format!(r#"{{"event_type":"note","partitions":2,"fields":[{fields}]}}"#);
    let (n, text) = (r#"{"name":"n","type":"long"}"#, r#"{"name":"text","type":["null","string"]}"#);
    check_incompatible(
        &fields(&format!(r#"{{"name":"n","type":"string"}},{text}"#)),
        "field 'n' was an integer of 64 bits and is now a string",
    );
    check_incompatible(
        &fields(&format!(r#"{n},{{"name":"text","type":"string"}}"#)),
        "field 'text' was optional and is now required",
    );
    check_incompatible(
        &fields(&format!(r#"{n},{text},{{"name":"who","type":"string"}}"#)),
        "new field 'who' is required, but earlier events do not have it: give it a default, or make it optional",
    );
    check_incompatible(
        &fields(&format!(r#"{n},{text}"#)).replace(r#""partitions":2"#, r#""partitions":3"#),
        "partitions were 2 and are now 3: a topic keeps those it was made with",
    );
}

#[test]
fn a_log_that_is_opened_again_goes_on() {
    check_reopened(|open| {
        let log = open();
        let topic = notes(&*log);
        let mut expected = Vec::new();
        for n in 0..20 {
            let appended = append(&*log, vec![frame(&topic, (n % 2) as u16, n..n + 1)]);
            expected.push(format!("{}: p{}@{} [{n}]", appended.commit_seq, n % 2, n / 2));
        }
        drop(log);
        let log = open();
        assert_eq!(commits(&*log, topic.id).expect("readable commits"), expected);
        assert_eq!(append(&*log, vec![frame(&topic, 0, 20..21)]).commit_seq, CommitSeq(22));
        expected.push("22: p0@10 [20]".to_owned());
        assert_eq!(commits(&*log, topic.id).expect("readable commits"), expected);
    });
}

#[test]
fn commits_are_found_by_time() {
    check_reopened(|open| {
        let log = open();
        assert_eq!(log.commit_at(IngestTime(i64::MIN)).expect("a readable log"), None, "an empty log");
        let topic = notes(&*log);
        for n in 0..12 {
            append(&*log, vec![frame(&topic, 0, n..n + 1)]);
        }
        let check = |log: &dyn EventLog, last: u64| {
            let found = |time: i64| log.commit_at(IngestTime(time)).expect("a readable log").map(|commit| commit.0);
            assert_eq!(found(i64::MIN), Some(1));
            for commit in 1..=13 {
                let time = BEGIN + (commit as i64 - 1) * SECOND;
                assert_eq!(found(time), Some(commit));
                assert_eq!(found(time + 1), Some(commit + 1).filter(|&commit| commit <= last));
            }
            assert_eq!(found(i64::MAX), None);
        };
        check(&*log, 13);
        drop(log);
        check(&*open(), 13);
        // The clock is behind the log now, so that several commits have the time of the last before them.
        let log = open();
        append(&*log, vec![frame(&topic, 0, 12..13)]);
        append(&*log, vec![frame(&topic, 0, 13..14)]);
        let found = log.commit_at(IngestTime(BEGIN + 12 * SECOND)).expect("a readable log");
        assert_eq!(found, Some(CommitSeq(13)), "the first of them");
        check(&*log, 13);
    });
}

#[test]
fn commits_are_found_by_offset() {
    check_reopened(|open| {
        let log = open();
        let topic = notes(&*log);
        append(&*log, vec![frame(&topic, 0, 0..3)]);
        append(&*log, vec![frame(&topic, 1, 0..1), frame(&topic, 0, 3..4)]);
        append(&*log, vec![frame(&topic, 1, 1..3), frame(&topic, 1, 3..5)]);
        append(&*log, vec![frame(&topic, 0, 4..6)]);
        let check = |log: &dyn EventLog| {
            let found = |partition: u16, offset: u64| {
                let commit = log.commit_of(topic.id, PartitionId(partition), Offset(offset)).expect("a readable log");
                commit.map(|commit| commit.0)
            };
            let of = |partition: u16, rows: u64| (0..=rows).map(|offset| found(partition, offset)).collect::<Vec<_>>();
            assert_eq!(of(0, 6), [Some(2), Some(2), Some(2), Some(3), Some(5), Some(5), None]);
            assert_eq!(of(1, 5), [Some(3), Some(4), Some(4), Some(4), Some(4), None]);
            assert_eq!(found(2, 0), None, "a partition without rows");
        };
        check(&*log);
        drop(log);
        check(&*open());
    });
}

#[test]
fn progress_is_journalled() {
    let committed = |pipeline: &str, epoch: u64, upto: u64| ControlEvent::EpochCommitted {
        pipeline: pipeline.to_owned(),
        epoch: Epoch(epoch),
        upto: CommitSeq(upto),
        views: None,
    };
    let read = |position: u64, lines: u64| ControlEvent::SourceRead { table: "orders".to_owned(), position, lines };
    check_reopened(|open| {
        let log = open();
        assert_eq!(log.journal(), chalk_catalog::Journal::default());
        let topic = notes(&*log);
        let control = |event: &ControlEvent| log.control_frame(event).expect("a frame");
        let mut all = Vec::new();
        for n in 1..=20 {
            let events = [committed("main", n, 10 * n), read(100 * n, n), committed("other", 2 * n, n)];
            append(&*log, vec![control(&events[0]), frame(&topic, 0, n as i64..n as i64 + 1), control(&events[1])]);
            append(&*log, vec![control(&events[2])]);
            all.extend(events);
        }
        let check = |log: &dyn EventLog| {
            let journal = log.journal();
            let epoch = |pipeline: &str| journal.pipelines.get(pipeline).cloned();
            assert_eq!(epoch("main"), Some(CommittedEpoch { epoch: Epoch(20), upto: CommitSeq(200), views: None }));
            assert_eq!(epoch("other"), Some(CommittedEpoch { epoch: Epoch(40), upto: CommitSeq(20), views: None }));
            assert_eq!(epoch("none"), None);
            assert_eq!(journal.sources["orders"], SourcePosition { position: 2000, lines: 20 });
            assert_eq!(log.control_events(SystemTopic::Journal.id()).expect("control events"), all);
        };
        check(&*log);
        drop(log);
        check(&*open());
    });
}

#[test]
fn system_topics_take_what_belongs_there() {
    check(|log| {
        let topic = notes(&**log);
        let refused = |frame: FrameToAppend| {
            let error = log.append(Append { frames: vec![frame] }).map(|_| ()).expect_err("a refusal");
            assert!(matches!(error, LogError::Schema(_)), "{error}");
            error.to_string()
        };
        let events = log.control_events(SystemTopic::Catalog.id()).expect("control events");
        let by_hand = log.control_frame(&events[0]).expect("a frame");
        assert_eq!(refused(by_hand), "topic '_catalog' is written by making and changing topics");
        let mut no_event =
            log.control_frame(&ControlEvent::SourceRead { table: "t".to_owned(), position: 0, lines: 0 });
        let no_event = no_event.as_mut().expect("a frame");
        let mut columns = no_event.rows.columns().to_vec();
        columns[0] = Arc::new(StringArray::from(vec![r#"{"kind":"to_come"}"#]));
        no_event.rows = RecordBatch::try_new(no_event.rows.schema(), columns).expect("rows");
        assert!(refused(no_event.clone()).starts_with("a control event of a newer build?"));
        assert_eq!(append(&**log, vec![frame(&topic, 0, 0..1)]).commit_seq, CommitSeq(2), "nothing was written");
    });
}

#[test]
fn it_knows_how_large_it_is() {
    check_reopened(|open| {
        let log = open();
        let partitions = |log: &dyn EventLog, topic: TopicId| {
            let size = log.size();
            assert!(size.partitions.is_sorted_by_key(|size| (size.topic, size.partition)));
            size.partitions.into_iter().filter(|size| size.topic == topic).collect::<Vec<_>>()
        };
        let topic = notes(&*log);
        assert_eq!(partitions(&*log, topic.id), []);
        append(&*log, vec![frame(&topic, 0, 0..100), frame(&topic, 1, 0..3)]);
        let [first, second] = partitions(&*log, topic.id)[..] else { panic!("two partitions") };
        assert!(first.bytes > second.bytes && second.bytes > 0, "{first:?}, {second:?}");
        append(&*log, vec![frame(&topic, 0, 0..100)]);
        append(&*log, vec![frame(&topic, 0, 0..100)]);
        let expected = [
            PartitionSize {
                tail: Offset(300),
                bytes: 3 * first.bytes,
                last_commit: CommitSeq(4),
                last_commit_time: IngestTime(BEGIN + 3 * SECOND),
                ..first
            },
            second,
        ];
        assert_eq!((second.first, second.tail, second.last_commit), (Offset(0), Offset(3), CommitSeq(2)));
        assert_eq!(partitions(&*log, topic.id), expected);
        let size = log.size();
        assert!(size.segments > 0 && size.bytes > size.partitions.iter().map(|size| size.bytes).sum());
        drop(log);
        let log = open();
        assert_eq!(partitions(&*log, topic.id), expected);
        assert_eq!(log.size(), size);
    });
}
