//! The contract of an event log, for every log; then what the commit log promises about its files.

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt64Array, new_null_array};
use arrow::datatypes::{DataType, Int64Type};
use chalk_catalog::{TopicDef, TopicId, TopicSchema};
use chalk_event::{CommitSeq, EventTime, Offset, PartitionId};
use chalk_log::{
    Append, Appended, Commit, CommitLog, EventLog, Frame, FrameToAppend, Holder, LogError, LogOptions, read_holder,
};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A topic of two partitions.
const AVSC: &str = r#"{"event_type":"note","partitions":2,"fields":[
    {"name":"n","type":"long"},{"name":"text","type":["null","string"]}]}"#;

fn holder() -> Holder {
    Holder { pid: 7, command: "chalk test".to_owned(), http: None, pg: None }
}

fn options() -> LogOptions {
    LogOptions::new(Arc::new(|| 1_756_684_800_000_000_000))
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

const LOGS: [(&str, Open); 2] = [
    ("commit log", |directory| open(directory, options()) as _),
    // Nothing is found in memory, and every commit begins a segment.
    ("commit log without memory", |directory| {
        open(directory, LogOptions { segment_bytes_max: 1, cache_bytes_max: 0, ..options() }) as _
    }),
];

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
    check_incompatible(&fields(n), "field 'text' is gone");
    check_incompatible(&fields(&format!(r#"{{"name":"n","type":"string"}},{text}"#)), "field 'n' has another type");
    check_incompatible(
        &fields(&format!(r#"{n},{{"name":"text","type":"string"}}"#)),
        "field 'text' was optional and is now required",
    );
    check_incompatible(
        &fields(&format!(r#"{n},{text},{{"name":"who","type":"string"}}"#)),
        "new field 'who' is required, but earlier events do not have it",
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

// The commit log's files

const FIRST: &str = "00000000000000000001.log";

/// The files of a closed log, and how long the first was after each commit.
struct Files {
    directory: TempDir,
    topic: TopicId,
    lengths: Vec<u64>,
    rows: Vec<String>,
}

impl Files {
    /// A log of three commits with rows, after the one that makes the topic.
    fn new(options: LogOptions) -> Self {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let log = open(directory.path(), options);
        let length = || std::fs::metadata(directory.path().join("log").join(FIRST)).expect("a segment").len();
        let topic = notes(&*log);
        let mut lengths = vec![0, length()];
        for n in [0, 10, 20] {
            append(&*log, vec![frame(&topic, 0, n..n + 2), frame(&topic, 1, n + 2..n + 3)]);
            lengths.push(length());
        }
        let rows = commits(&*log, topic.id).expect("readable commits");
        assert_eq!(rows[1], "3: p0@2 [10, 11] p1@1 [12]");
        drop(log);
        Self { directory, topic: topic.id, lengths, rows }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("log").join(FIRST)
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).expect("a segment")
    }

    /// Opens the log with other bytes in its first segment.
    fn open_with(&self, bytes: &[u8]) -> Result<CommitLog, LogError> {
        std::fs::write(self.path(), bytes).expect("a segment");
        CommitLog::open(self.directory.path(), &holder(), options())
    }
}

#[test]
fn a_tail_that_was_not_acknowledged_is_cut_off() {
    let files = Files::new(options());
    let whole = files.bytes();
    let [.., before, after] = files.lengths[..] else { panic!("commits") };
    assert_eq!(after, whole.len() as u64);
    for length in before..after {
        let log = files.open_with(&whole[..length as usize]).unwrap_or_else(|error| panic!("{length}: {error}"));
        assert_eq!(commits(&log, files.topic).expect("readable commits"), files.rows[..2], "cut at {length}");
        let topic = notes(&log);
        append(&log, vec![frame(&topic, 0, 77..78)]);
        drop(log);
        let log = open(files.directory.path(), options());
        let [first, second, last] = &commits(&*log, files.topic).expect("readable commits")[..] else {
            panic!("three commits after a cut at {length}");
        };
        assert_eq!([first, second], [&files.rows[0], &files.rows[1]], "cut at {length}");
        assert_eq!(last, "4: p0@4 [77]", "cut at {length}");
    }
}

#[test]
fn a_segment_that_was_only_begun_is_begun_again() {
    let files = Files::new(options());
    let whole = files.bytes();
    for length in 0..40 {
        let log = files.open_with(&whole[..length]).unwrap_or_else(|error| panic!("{length}: {error}"));
        assert_eq!(*log.durable().borrow(), CommitSeq(0), "cut at {length}");
        let topic = notes(&log);
        append(&log, vec![frame(&topic, 0, 5..6)]);
        drop(log);
        let log = open(files.directory.path(), options());
        assert_eq!(commits(&*log, topic.id).expect("readable commits"), ["2: p0@0 [5]"], "cut at {length}");
    }
}

/// An error's file, commit and byte.
fn damage(error: &LogError) -> Option<(&str, u64, u64)> {
    match error {
        LogError::Damaged { file, commit, position, .. } => Some((file, commit.0, *position)),
        _ => None,
    }
}

#[test]
fn damage_in_an_earlier_commit_is_refused_with_its_place() {
    let files = Files::new(options());
    let whole = files.bytes();
    let (begin, end) = (files.lengths[2], files.lengths[3]);
    for byte in begin..end {
        let mut flipped = whole.clone();
        flipped[byte as usize] ^= 1 << (byte % 8);
        let error = files.open_with(&flipped).map(|_| ()).expect_err("damage");
        assert_eq!(damage(&error), Some((FIRST, 3, begin)), "byte {byte}: {error}");
    }
    let mut flipped = whole;
    flipped[end as usize - 1] ^= 1;
    let error = files.open_with(&flipped).map(|_| ()).expect_err("damage").to_string();
    assert_eq!(error, format!("damaged log: {FIRST}, commit 3, at byte {begin}: a frame's checksum does not match"));
}

#[test]
fn damage_in_a_sealed_segment_never_gives_a_wrong_row() {
    // The next commit begins a segment: the first is sealed with a footer.
    let files = Files::new(LogOptions { segment_bytes_max: 1000, ..options() });
    let segments = std::fs::read_dir(files.directory.path().join("log")).expect("a folder").count();
    assert!(segments > 1, "the log has rolled");
    let whole = files.bytes();
    let (mut refused, mut noticed, mut harmless) = (0, 0, 0);
    for byte in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[byte] ^= 1 << (byte % 8);
        let read = match files.open_with(&flipped) {
            Ok(log) => {
                let read = commits(&log, files.topic);
                if read.is_err() {
                    noticed += 1;
                } else {
                    harmless += 1;
                }
                read
            }
            Err(error) => {
                refused += 1;
                Err(error)
            }
        };
        match read {
            Ok(rows) => assert_eq!(rows, files.rows, "byte {byte}"),
            Err(LogError::NewerFormat { .. }) => assert!((8..10).contains(&byte), "byte {byte}"),
            Err(error) => assert_eq!(damage(&error).map(|(file, ..)| file), Some(FIRST), "byte {byte}: {error}"),
        }
    }
    // Header and footer are checked when opening, bodies when reading; heads are read from the footer.
    assert!(refused > 40 && noticed > 100 && harmless > 0, "{refused} refused, {noticed} noticed, {harmless} harmless");
}

#[test]
fn segments_roll_and_are_opened_by_their_footers() {
    let small = || LogOptions { segment_bytes_max: 1000, ..options() };
    let directory = tempfile::tempdir().expect("a temporary folder");
    let log = open(directory.path(), small());
    let topic = notes(&*log);
    for n in 0..30 {
        append(&*log, vec![frame(&topic, 0, n..n + 1)]);
    }
    let expected = commits(&*log, topic.id).expect("readable commits");
    assert_eq!(expected.len(), 30);
    drop(log);
    let mut names: Vec<PathBuf> = std::fs::read_dir(directory.path().join("log"))
        .expect("a folder")
        .map(|entry| entry.expect("a file").path())
        .collect();
    names.sort();
    assert!(names.len() > 5, "{names:?}");
    for sealed in &names[..names.len() - 1] {
        assert!(std::fs::read(sealed).expect("a segment").ends_with(b"CHALKEND"), "{sealed:?} has a footer");
    }
    let log = open(directory.path(), small());
    assert_eq!(commits(&*log, topic.id).expect("readable commits"), expected);
    assert_eq!(partition(&*log, topic.id, 0, 17, 1), ["19@17 [17]"]);
    drop(log);
    std::fs::remove_file(&names[2]).expect("a segment to lose");
    let error = CommitLog::open(directory.path(), &holder(), small()).map(|_| ()).expect_err("a gap").to_string();
    assert!(error.starts_with("damaged log: ") && error.ends_with("is next: a segment is missing"), "{error}");
}

#[test]
fn a_newer_format_is_refused() {
    let files = Files::new(options());
    let mut newer = files.bytes();
    newer[8] = 2;
    let error = files.open_with(&newer).map(|_| ()).expect_err("a newer format");
    assert_eq!(error.to_string(), format!("{FIRST} has format 2, this build reads up to 1: use a newer chalk"));
    let mut foreign = files.bytes();
    foreign[0] = b'X';
    let error = files.open_with(&foreign).map(|_| ()).expect_err("another file");
    let what = "it does not begin as a log segment does";
    assert_eq!(error.to_string(), format!("damaged log: {FIRST}, commit 1, at byte 0: {what}"));
}

#[test]
fn one_process_writes_to_a_directory() {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let log = open(directory.path(), options());
    let second = || CommitLog::open(directory.path(), &holder(), options()).map(|_| ());
    let held = format!("{} is in use by process 7 (chalk test)", directory.path().display());
    assert_eq!(second().expect_err("a held directory").to_string(), held);
    log.announce(&Holder { http: Some("127.0.0.1:80".to_owned()), ..holder() }).expect("a written lock");
    let listens = format!("{held}, which listens on http://127.0.0.1:80");
    assert_eq!(second().expect_err("a held directory").to_string(), listens);
    assert_eq!(read_holder(directory.path()).and_then(|holder| holder.http).as_deref(), Some("127.0.0.1:80"));
    drop(log);
    assert_eq!(read_holder(directory.path()), None, "whoever is gone holds nothing");
    second().expect("a free directory");
}
