//! What the commit log promises of its history and its retention: wherever rows are, they are read as from a log that never let go of anything.
//!
//! More than the default: `CHALK_STATES=1000 CHALK_SEEDS=200 cargo test --release --test it -- log::history --nocapture`.

use super::faults::{Chance, say, setting};
use super::{AVSC, BEGIN, SECOND, append, frame, holder, notes, numbers, options, shown};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt64Array, new_null_array};
use chalk_catalog::{ControlEvent, Journal, SystemTopic, TopicDef, TopicId, TopicSchema, Topics};
use chalk_event::{CommitSeq, IngestTime, Offset, PartitionId};
use chalk_log::{
    Append, Commit, CommitLog, EventLog, Frame, FrameToAppend, Keep, LogError, LogOptions, LogSize, Need, Pending,
    Retention,
};
use chalk_store::memory::{EIO, ENOSPC, Fault, MemoryFiles};
use chalk_store::objects::LocalObjects;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Everything is old by then.
const LATER: IngestTime = IngestTime(i64::MAX);

/// The log keeps nothing that it need not.
fn at_once() -> Retention {
    let others = Keep { log_age: Some(Duration::ZERO), ..Keep::default() };
    Retention { others, ..Retention::default() }
}

/// A log that lets go of whatever it can before each read: all but the newest sealed segment is read from history.
pub(super) struct Archived(CommitLog);

impl Archived {
    /// Every commit begins a segment.
    pub(super) fn open(directory: &Path) -> Self {
        let history: Arc<LocalObjects> = Arc::new(LocalObjects::at(&directory.join("history")));
        let options = LogOptions { history: Some(history), ..super::without_memory() };
        Self(CommitLog::open(directory, &holder(), options).expect("a log"))
    }

    fn log(&self) -> &CommitLog {
        self.0.export(&mut || true).expect("an export");
        self.0.retain(&at_once(), &[], LATER).expect("retention");
        &self.0
    }
}

impl EventLog for Archived {
    fn append(&self, append: Append) -> Result<Pending, LogError> {
        self.0.append(append)
    }
    fn ensure_topic(&self, name: &str, avsc: &str, envelope: &str) -> Result<TopicDef, LogError> {
        self.0.ensure_topic(name, avsc, envelope)
    }
    fn control_frame(&self, event: &ControlEvent) -> Result<FrameToAppend, LogError> {
        self.0.control_frame(event)
    }
    fn control_events(&self, topic: TopicId) -> Result<Vec<ControlEvent>, LogError> {
        self.log().control_events(topic)
    }
    fn topics(&self) -> Arc<Topics> {
        self.0.topics()
    }
    fn journal(&self) -> Journal {
        self.0.journal()
    }
    fn durable(&self) -> watch::Receiver<CommitSeq> {
        self.0.durable()
    }
    fn read(
        &self,
        after: CommitSeq,
        topics: &[TopicId],
        bytes_max: usize,
    ) -> Result<(Vec<Commit>, CommitSeq), LogError> {
        self.log().read(after, topics, bytes_max)
    }
    fn read_partition(
        &self,
        topic: TopicId,
        partition: PartitionId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Vec<(CommitSeq, Frame)>, LogError> {
        self.log().read_partition(topic, partition, from, bytes_max)
    }
    fn first(&self, topic: TopicId, partition: PartitionId) -> Result<Offset, LogError> {
        self.log().first(topic, partition)
    }
    fn let_go(&self, topics: &[TopicId]) -> CommitSeq {
        self.log().let_go(topics)
    }
    fn tail(&self, topic: TopicId, partition: PartitionId) -> Offset {
        self.0.tail(topic, partition)
    }
    fn commit_at(&self, time: IngestTime) -> Result<Option<CommitSeq>, LogError> {
        self.log().commit_at(time)
    }
    fn commit_of(&self, topic: TopicId, partition: PartitionId, offset: Offset) -> Result<Option<CommitSeq>, LogError> {
        self.log().commit_of(topic, partition, offset)
    }
    fn stalled(&self) -> Option<String> {
        self.0.stalled()
    }
    fn size(&self) -> LogSize {
        // Not what there is: how it would be told without having let go of anything.
        self.0.size()
    }
}

/// The topic's second schema.
const MORE: &str = r#"{"event_type":"note","partitions":2,"fields":[
    {"name":"n","type":"long"},{"name":"text","type":["null","string"]},{"name":"extra","type":["null","long"]}]}"#;

/// Rows of either schema.
fn rows(topic: &TopicDef, numbers: Range<i64>) -> RecordBatch {
    let len = (numbers.end - numbers.start) as usize;
    let column = |name: &String| -> ArrayRef {
        match name.as_str() {
            "n" => Arc::new(Int64Array::from_iter_values(numbers.clone())),
            "extra" => Arc::new(Int64Array::from_iter(numbers.clone().map(|n| (n % 3 > 0).then_some(n * 2)))),
            "text" => {
                Arc::new(numbers.clone().map(|n| (n % 5 > 0).then(|| format!("note {n}"))).collect::<StringArray>())
            }
            "_content" => Arc::new(UInt64Array::from_iter_values(numbers.clone().map(|n| n as u64 * 7919))),
            _ => new_null_array(&arrow::datatypes::DataType::Utf8, len),
        }
    };
    let schema = topic.schema.arrow();
    let columns = schema.fields().iter().map(|field| column(field.name())).collect();
    RecordBatch::try_new(Arc::clone(schema), columns).expect("rows of the topic")
}

/// Two logs that are given the same; the second lets go of segments.
struct Twins {
    now: Arc<AtomicI64>,
    plain: CommitLog,
    files: MemoryFiles,
    history: MemoryFiles,
    archived: Option<CommitLog>,
    appended: i64,
}

impl Twins {
    fn new() -> Self {
        let now = Arc::new(AtomicI64::new(BEGIN));
        let plain =
            CommitLog::open_in(Arc::new(MemoryFiles::new()), LogOptions { segment_bytes_max: 2500, ..clocked(&now) });
        let (files, history) = (MemoryFiles::new(), MemoryFiles::new());
        let mut twins = Self { now, plain: plain.expect("a log"), files, history, archived: None, appended: 0 };
        twins.reopen();
        twins
    }

    fn reopen(&mut self) {
        self.archived = None;
        let options = LogOptions {
            segment_bytes_max: 2500,
            cache_bytes_max: 0,
            footers_bytes_max: 300 << 10,
            history: Some(Arc::new(self.history.clone())),
            ..clocked(&self.now)
        };
        self.archived = Some(CommitLog::open_in(Arc::new(self.files.clone()), options).expect("a log"));
    }

    fn archived(&self) -> &CommitLog {
        self.archived.as_ref().expect("an open log")
    }

    fn topics(&self, avsc: &str) -> Vec<TopicDef> {
        let ensure = |log: &CommitLog, name| log.ensure_topic(name, avsc, TopicSchema::NO_ENVELOPE).expect("a topic");
        ["notes", "others"].map(|name| (ensure(&self.plain, name), ensure(self.archived(), name)).0).to_vec()
    }

    fn append(&mut self, topics: &[TopicDef], chance: &mut Chance) {
        // Now and then a day goes by.
        let step = if chance.below(12) == 0 { 43_200 } else { 1 };
        self.now.fetch_add(step * SECOND, Ordering::Relaxed);
        let mut frames = Vec::new();
        for _ in 0..1 + chance.below(3) {
            let topic = &topics[chance.below(topics.len())];
            let count = 1 + chance.below(40) as i64;
            let rows = rows(topic, self.appended..self.appended + count);
            self.appended += count;
            let partition = PartitionId(chance.below(2) as u16);
            frames.push(FrameToAppend { topic: topic.id, partition, schema: topic.schema_id, event_times: None, rows });
        }
        let twin = append(&self.plain, frames.clone());
        assert_eq!(append(self.archived(), frames), twin);
    }

    /// Compares everything, and places by chance.
    fn compare(&self, topics: &[TopicDef], chance: &mut Chance) {
        let (plain, archived) = (&self.plain, self.archived());
        let ids: Vec<TopicId> = topics.iter().map(|topic| topic.id).chain([SystemTopic::Catalog.id()]).collect();
        let durable = plain.durable().borrow().0;
        assert_eq!(archived.durable().borrow().0, durable);
        let after = CommitSeq(chance.below(durable as usize) as u64);
        for (after, ids, bytes_max) in [
            (CommitSeq(0), &ids[..], usize::MAX),
            (CommitSeq(0), &ids[..1], 1),
            (after, &ids[chance.below(3)..], 1 + chance.below(5000)),
        ] {
            assert_eq!(all(archived, after, ids, bytes_max), all(plain, after, ids, bytes_max), "after {after}");
        }
        for topic in topics {
            for partition in [PartitionId(0), PartitionId(1)] {
                let tail = plain.tail(topic.id, partition);
                assert_eq!(archived.first(topic.id, partition).expect("a footer"), Offset(0));
                let from = Offset(chance.below(tail.0 as usize + 1) as u64);
                for (from, bytes_max) in [(Offset(0), usize::MAX), (from, 1 + chance.below(5000))] {
                    let (archived, plain) = (
                        lane(archived, topic.id, partition, from, bytes_max),
                        lane(plain, topic.id, partition, from, bytes_max),
                    );
                    assert_eq!(archived, plain, "partition {partition} from {from}");
                }
                let commit_of = |log: &CommitLog| log.commit_of(topic.id, partition, from).expect("a readable log");
                assert_eq!(commit_of(archived), commit_of(plain), "offset {from}");
            }
        }
        let time = IngestTime(BEGIN + chance.below((self.now.load(Ordering::Relaxed) - BEGIN) as usize + 1) as i64);
        let commit_at = |log: &CommitLog| log.commit_at(time).expect("a readable log");
        assert_eq!(commit_at(archived), commit_at(plain), "at {time:?}");
    }
}

fn clocked(now: &Arc<AtomicI64>) -> LogOptions {
    let now = Arc::clone(now);
    LogOptions::new(Arc::new(move || now.load(Ordering::Relaxed)))
}

/// Every commit after one, with its frames, read in parts.
fn all(log: &CommitLog, mut after: CommitSeq, topics: &[TopicId], bytes_max: usize) -> Vec<String> {
    let durable = *log.durable().borrow();
    let mut all = Vec::new();
    while after < durable {
        let (commits, upto) = log.read(after, topics, bytes_max).expect("a readable log");
        assert!(upto > after, "reading goes on");
        for commit in commits {
            assert!(commit.seq > after && commit.seq <= upto);
            all.extend(commit.frames.iter().map(|frame| {
                let (topic, partition, offset) = (frame.topic.0, frame.partition, frame.base_offset);
                format!("{} {} {topic} {partition} {offset} {:?}", commit.seq, commit.time.0, frame.rows)
            }));
        }
        after = upto;
    }
    all
}

/// Every row of a partition from an offset on, read in parts.
fn lane(log: &CommitLog, topic: TopicId, partition: PartitionId, mut from: Offset, bytes_max: usize) -> Vec<String> {
    let mut rows = Vec::new();
    loop {
        let frames = log.read_partition(topic, partition, from, bytes_max).expect("a readable log");
        let Some((_, last)) = frames.last() else { return rows };
        let next = Offset(last.base_offset.0 + last.rows.num_rows() as u64);
        for (commit, frame) in &frames {
            let before = from.0.saturating_sub(frame.base_offset.0) as usize;
            for row in before..frame.rows.num_rows() {
                rows.push(format!("{commit} {} {:?}", frame.base_offset.0 + row as u64, frame.rows.slice(row, 1)));
            }
        }
        from = next;
    }
}

#[test]
fn a_log_that_lets_go_is_read_as_one_that_never_did() {
    let begin = setting("CHALK_SEED", 1);
    for seed in begin..begin + setting("CHALK_SEEDS", 4) {
        say(&format!("CHALK_SEED={seed}"));
        let mut chance = Chance(seed);
        let mut twins = Twins::new();
        let old = twins.topics(AVSC);
        let (mut topics, mut compared_trimmed) = (old.clone(), false);
        for step in 0..100 {
            match chance.below(12) {
                0 => twins.archived().seal().expect("a sealed segment"),
                1 | 2 => drop(twins.archived().export(&mut || true).expect("an export")),
                // One that is given up counts for nothing.
                3 => {
                    let mut steps = 0..chance.below(4);
                    twins.archived().export(&mut || steps.next().is_some()).expect("an export");
                }
                4 => drop(twins.archived().retain(&at_once(), &[], LATER).expect("retention")),
                5 => twins.reopen(),
                6 => twins.compare(&topics, &mut chance),
                _ => {
                    // Writers of the earlier schema go on for a while.
                    let of = if chance.below(3) == 0 { &old } else { &topics };
                    twins.append(&of.clone(), &mut chance);
                }
            }
            if step == 50 {
                topics = twins.topics(MORE);
            }
            compared_trimmed |= twins.archived().size().first > CommitSeq(1);
        }
        twins.compare(&topics, &mut chance);
        assert!(compared_trimmed, "seed {seed} never lets go of a segment");
        let history = twins.archived().history().expect("a history");
        for file in history.files() {
            history.verify(&file, &twins.archived().topics()).expect("a whole file");
        }
    }
}

/// A log whose history is on the same disk.
fn on_one_disk(files: &MemoryFiles) -> Result<CommitLog, LogError> {
    let options = LogOptions {
        segment_bytes_max: 2000,
        cache_bytes_max: 0,
        footers_bytes_max: 0,
        full_disk_pause: Duration::from_millis(1),
        history: Some(Arc::new(files.clone())),
        ..options()
    };
    CommitLog::open_in(Arc::new(files.clone()), options)
}

const COMMITS: i64 = 20;

/// Appends, exports, lets go, until something fails; gives how many operations were done before each acknowledgement.
fn run(files: &MemoryFiles) -> (Vec<usize>, Option<LogError>) {
    let mut acknowledged = Vec::new();
    let mut try_all = || {
        let log = on_one_disk(files)?;
        let topic = log.ensure_topic("notes", AVSC, TopicSchema::NO_ENVELOPE)?;
        for n in 0..COMMITS {
            let frames = vec![frame(&topic, (n % 2) as u16, n * 100..n * 100 + 1 + n * 7 % 60)];
            log.append(Append { frames })?.wait()?;
            acknowledged.push(files.done());
            if n % 3 == 2 {
                log.export(&mut || true)?;
                log.retain(&at_once(), &[], LATER)?;
            }
        }
        Ok(())
    };
    let error = try_all().err();
    (acknowledged, error)
}

/// All rows from the first commit on, in order, and after having let go of all that can go; once more after opening it again.
fn check_rows(files: &MemoryFiles, at_least: usize, of: &str) {
    let mut expected = Vec::new();
    for opened in 0..2 {
        let log = on_one_disk(files).unwrap_or_else(|error| panic!("{of}: {error}"));
        let read = || {
            let topics = log.topics();
            let topic = topics.by_name("notes").map_or(TopicId(16), |topic| topic.id);
            let (commits, _) =
                log.read(CommitSeq(0), &[topic], usize::MAX).unwrap_or_else(|error| panic!("{of}: {error}"));
            commits.iter().map(|commit| (shown(commit), commit.frames.iter().flat_map(numbers).collect())).unzip()
        };
        let (commits, rows): (Vec<String>, Vec<Vec<i64>>) = read();
        assert!(commits.len() >= at_least, "{of}: {at_least} were acknowledged, there are {}", commits.len());
        for (n, rows) in (0..).zip(&rows) {
            assert!(rows.iter().copied().eq(n * 100..n * 100 + 1 + n * 7 % 60), "{of}: append {n} has {rows:?}");
        }
        assert!(opened == 0 || commits == expected, "{of}: other rows after opening it again");
        expected = commits;
        log.export(&mut || true).unwrap_or_else(|error| panic!("{of}: {error}"));
        log.retain(&at_once(), &[], LATER).unwrap_or_else(|error| panic!("{of}: {error}"));
        assert_eq!(read().0, expected, "{of}: other rows after letting go");
        let counts = log.history().expect("a history").size().files as usize;
        let there = chalk_store::objects::Objects::list(files).expect("memory");
        let there = there.iter().filter(|object| object.key.ends_with(".parquet")).count();
        assert_eq!(there, counts, "{of}: files that do not count");
    }
}

#[test]
fn power_cuts_between_history_and_the_log_lose_nothing_and_double_nothing() {
    let files = MemoryFiles::new();
    let (acknowledged, error) = run(&files);
    assert!(error.is_none(), "{error:?}");
    check_rows(&files.copy(), COMMITS as usize, "without a cut");
    let mut chance = Chance::seeded();
    for _ in 0..setting("CHALK_STATES", 100) {
        let cut = chance.below(files.done() + 1);
        let after = files.after_power_cut(cut, &mut |below| chance.below(below));
        let at_least = acknowledged.iter().filter(|&&done| done <= cut).count();
        check_rows(&after, at_least, &format!("cut after operation {cut}"));
    }
}

#[test]
fn a_disk_that_fails_anywhere_between_history_and_the_log_loses_nothing() {
    let whole = MemoryFiles::new();
    run(&whole);
    let tried = whole.operations();
    let every = if setting("CHALK_STATES", 100) > 100 { 1 } else { 3 };
    for errno in [EIO, ENOSPC] {
        for from in (0..tried).step_by(every) {
            let files = MemoryFiles::new();
            files.set_fault(Some(Fault { from, count: 1, errno, half: true }));
            let (acknowledged, _) = run(&files);
            files.set_fault(None);
            check_rows(&files, acknowledged.len(), &format!("error {errno} at operation {from}"));
        }
    }
}

/// A log of ten segments, a commit of both topics in each, a second apart; the first commits make the topics.
fn ten_segments(history: Option<MemoryFiles>) -> (CommitLog, [TopicDef; 2]) {
    let options = LogOptions {
        segment_bytes_max: 1,
        cache_bytes_max: 0,
        history: history.map(|files| Arc::new(files) as _),
        ..options()
    };
    let log = CommitLog::open_in(Arc::new(MemoryFiles::new()), options).expect("a log");
    let topics =
        ["notes", "others"].map(|name| log.ensure_topic(name, AVSC, TopicSchema::NO_ENVELOPE).expect("a topic"));
    for n in 0..8 {
        append(&log, topics.iter().map(|topic| frame(topic, 0, n * 10..n * 10 + 10)).collect());
    }
    (log, topics)
}

fn keep(topic: &str, keep: Keep) -> Retention {
    Retention { topics: BTreeMap::from([(topic.to_owned(), keep)]), ..at_once() }
}

#[test]
fn segments_go_when_all_their_topics_say_so_and_nobody_needs_them() {
    let (log, [notes, _]) = ten_segments(None);
    assert_eq!(log.size().segments, 10);
    let for_ever = Retention::default();
    assert_eq!(log.retain(&for_ever, &[], LATER).expect("retention").segments, 0);
    // Commits 1 and 2 made the topics; 3 has rows of both.
    let kept = log.retain(&keep("others", Keep::default()), &[], LATER).expect("retention");
    assert_eq!((kept.segments, kept.held_back), (2, None), "rows of one topic are to be kept");
    let need = Need { who: "somebody".to_owned(), after: CommitSeq(4) };
    let kept = log.retain(&at_once(), &[need], LATER).expect("retention");
    let held = "segments from commit 5 on are past their retention, but somebody needs everything after commit 4";
    assert_eq!((kept.segments, kept.held_back.as_deref()), (2, Some(held)));
    assert_eq!(log.size().held_back.as_deref(), Some(held));
    // Newer bytes than two of the frames have.
    let two_frames = log.size().partitions.iter().find(|size| size.topic == notes.id).expect("rows").bytes / 4;
    let limits = Keep { log_bytes: Some(two_frames), ..Keep::default() };
    let kept = log.retain(&Retention { others: limits, ..Retention::default() }, &[], LATER).expect("retention");
    assert_eq!((kept.segments, log.size().first), (4, CommitSeq(9)));
    let newest = log.retain(&at_once(), &[], LATER).expect("retention");
    assert_eq!((newest.segments, log.size().segments), (0, 2), "the newest sealed one is kept, and the open one");
    let error = log.read(CommitSeq(0), &[notes.id], 1).expect_err("it is gone").to_string();
    assert!(error.starts_with("commit 1 is not kept any more: what is kept begins with commit 9"), "{error}");
    let error = log.read_partition(notes.id, PartitionId(0), Offset(3), 1).expect_err("it is gone").to_string();
    assert!(
        error.starts_with(
            "offset 3 of partition 0 of topic 'notes' is not kept any more: what is kept begins with offset 60"
        ),
        "{error}"
    );
    assert_eq!(
        (log.let_go(&[notes.id]), log.first(notes.id, PartitionId(0)).expect("a footer")),
        (CommitSeq(8), Offset(60))
    );
    let (commits, _) = log.read(CommitSeq(8), &[notes.id], usize::MAX).expect("what is kept");
    assert_eq!(commits.iter().map(shown).collect::<Vec<_>>()[0], "9: p0@60 [60, 61, 62, 63, 64, 65, 66, 67, 68, 69]");
}

#[test]
fn what_is_not_in_history_yet_is_held_back_and_history_lets_go_by_itself() {
    let objects = MemoryFiles::new();
    let (log, [notes, others]) = ten_segments(Some(objects.clone()));
    let kept = log.retain(&at_once(), &[], LATER).expect("retention");
    let held = "segments from commit 1 on are past their retention, but history has them only up to commit 0";
    assert_eq!((kept.segments, kept.held_back.as_deref()), (0, Some(held)));
    log.export(&mut || true).expect("an export");
    assert_eq!(log.retain(&at_once(), &[], LATER).expect("retention").segments, 8);
    assert_eq!((log.let_go(&[notes.id]), log.size().first), (CommitSeq(0), CommitSeq(9)));
    let limits = Keep { history_age: Some(Duration::from_secs(7)), ..at_once().others };
    let last = log.size().partitions.iter().map(|size| size.last_commit_time).max().expect("rows");
    let gone = log.retain(&keep("notes", limits), &[], IngestTime(last.0 + 5 * SECOND)).expect("retention").history;
    // Commits 3 to 7.
    assert_eq!((gone.files, gone.rows), (5, 50));
    assert_eq!(
        chalk_store::objects::Objects::list(&objects).expect("memory").len() as u64,
        log.size().history.expect("a history").files + 1
    );
    let first = log.first(notes.id, PartitionId(0)).expect("a manifest");
    assert_eq!(first, Offset(gone.rows));
    let let_go = log.let_go(&[notes.id]);
    assert_eq!((let_go, log.let_go(&[others.id])), (CommitSeq(2 + gone.files), CommitSeq(0)));
    log.read(CommitSeq(0), &[notes.id, others.id], 1).expect_err("rows of one topic are gone");
    log.read_partition(notes.id, PartitionId(0), Offset(first.0 - 1), 1).expect_err("it is gone");
    let rows = |topic: &TopicDef, after| log.read(after, &[topic.id], usize::MAX).expect("what is kept").0.len() as u64;
    assert_eq!((rows(&notes, let_go), rows(&others, CommitSeq(0))), (8 - gone.files, 8));
}

#[test]
fn a_history_of_another_log_is_refused() {
    let objects = MemoryFiles::new();
    let open = |files: &MemoryFiles, options: LogOptions| {
        let options = LogOptions { segment_bytes_max: 1, history: Some(Arc::new(objects.clone())), ..options };
        CommitLog::open_in(Arc::new(files.clone()), options)
    };
    let error_of = |opened: Result<CommitLog, LogError>| opened.map(drop).expect_err("another log").to_string();
    let first = MemoryFiles::new();
    let log = open(&first, options()).expect("a log");
    let topic = notes(&log);
    (0..5).for_each(|n| drop(append(&log, vec![frame(&topic, 0, n..n + 1)])));
    log.export(&mut || true).expect("an export");
    drop(log);
    let error = error_of(open(&MemoryFiles::new(), options()));
    assert!(error.contains("is of another log: it ends with commit 5, and the log with 0"), "{error}");
    let later = MemoryFiles::new();
    let other = || LogOptions { history: None, ..clocked(&Arc::new(AtomicI64::new(7))) };
    let log =
        CommitLog::open_in(Arc::new(later.clone()), LogOptions { segment_bytes_max: 1, ..other() }).expect("a log");
    let topic = notes(&log);
    (0..7).for_each(|n| drop(append(&log, vec![frame(&topic, 0, n..n + 1)])));
    drop(log);
    let error = error_of(open(&later, other()));
    assert!(error.contains("is of another log: commit 5 was made at another time"), "{error}");
    open(&first, options()).expect("its own log");
}

#[test]
fn a_trimmed_log_verifies_and_says_when_its_first_segment_is_missing() {
    let directory = tempfile::tempdir().expect("a folder");
    let archived = Archived::open(directory.path());
    let topic = notes(&archived);
    (0..9).for_each(|n| drop(append(&archived, vec![frame(&topic, 0, n..n + 1)])));
    archived.log();
    drop(archived);
    let verify = || {
        let mut reports = Vec::new();
        chalk_log::verify(directory.path(), |report| reports.push(report.clone())).expect("readable files");
        reports
    };
    let reports = verify();
    assert_eq!(reports.iter().map(|report| report.first.0).collect::<Vec<_>>(), [9, 10]);
    assert!(reports.iter().all(|report| report.damage.is_none()), "{reports:?}");
    let segment = directory.path().join("log").join(&reports[0].name);
    let bytes = std::fs::read(&segment).expect("a segment");
    for byte in (40..bytes.len()).step_by(7) {
        let mut flipped = bytes.clone();
        flipped[byte] ^= 1;
        std::fs::write(&segment, flipped).expect("a segment");
        assert!(verify()[0].damage.is_some(), "byte {byte}");
    }
    std::fs::remove_file(&segment).expect("a segment");
    let options = || LogOptions { segment_bytes_max: 1, ..options() };
    let error =
        CommitLog::open(directory.path(), &holder(), options()).map(drop).expect_err("it is missing").to_string();
    assert!(
        error.contains("the log begins with this segment, but the first is") && error.contains("a segment is missing"),
        "{error}"
    );
}
