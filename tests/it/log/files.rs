//! What the commit log promises about its files.

use super::{append, commits, frame, holder, notes, open, options, partition};
use chalk_catalog::{CommittedEpoch, ControlEvent, TopicId};
use chalk_event::{CommitSeq, Epoch, Offset, PartitionId};
use chalk_log::{CommitLog, EventLog, Holder, LogError, LogOptions, read_holder};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

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
        Self::of(options, 3)
    }

    fn of(options: LogOptions, with_rows: i64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let log = open(directory.path(), options);
        let length = || std::fs::metadata(directory.path().join("log").join(FIRST)).expect("a segment").len();
        let topic = notes(&*log);
        let mut lengths = vec![0, length()];
        for n in (0..with_rows).map(|n| 10 * n) {
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
    let cut = (0..40).map(|length| whole[..length].to_vec());
    // A file's length can be durable when its bytes are not.
    for begun in cut.chain([vec![0; 17], vec![0; 40]]) {
        let length = begun.len();
        let log = files.open_with(&begun).unwrap_or_else(|error| panic!("{length}: {error}"));
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

/// What became of flipped bits.
#[derive(Debug, Default)]
struct Flips {
    /// The log was not opened.
    refused: usize,
    /// Whoever read the segment was told.
    noticed: usize,
    /// Every row was read.
    harmless: usize,
}

/// Flips bits of each byte of the first segment: it never leads to a wrong row.
fn flips(files: &Files) -> Flips {
    let whole = files.bytes();
    assert!(whole.ends_with(b"CHALKEND"), "the first segment is sealed");
    let mut flips = Flips::default();
    for byte in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[byte] ^= 1 << (byte % 8);
        let read = match files.open_with(&flipped) {
            Ok(log) => {
                let read = commits(&log, files.topic);
                *(if read.is_err() { &mut flips.noticed } else { &mut flips.harmless }) += 1;
                read
            }
            Err(error) => {
                flips.refused += 1;
                Err(error)
            }
        };
        match read {
            Ok(rows) => assert_eq!(rows, files.rows, "byte {byte}"),
            Err(LogError::NewerFormat { .. } | LogError::OlderFormat { .. }) => {
                assert!((8..10).contains(&byte), "byte {byte}");
            }
            Err(error) => assert_eq!(damage(&error).map(|(file, ..)| file), Some(FIRST), "byte {byte}: {error}"),
        }
    }
    flips
}

#[test]
fn damage_in_a_sealed_segment_never_gives_a_wrong_row() {
    // The next commit begins a segment: the first is sealed with a footer.
    let flips = flips(&Files::new(LogOptions { segment_bytes_max: 1000, ..options() }));
    // Header and footer are checked when opening, bodies and the index when reading. Heads are not read again.
    assert!(flips.refused > 200 && flips.noticed > 400 && flips.harmless > 0, "{flips:?}");
}

#[test]
fn damage_in_an_earlier_segment_is_noticed_by_whoever_reads_there() {
    let files = Files::of(LogOptions { segment_bytes_max: 1000, ..options() }, 6);
    let flips = flips(&files);
    assert!(flips.refused == 0 && flips.noticed > 500 && flips.harmless > 0, "{flips:?}");
}

#[test]
fn a_footer_that_was_not_written_to_its_end_is_written_again() {
    let files = Files::new(LogOptions { segment_bytes_max: 1000, ..options() });
    let whole = files.bytes();
    let segments = names(files.directory.path());
    assert_eq!(segments.len(), 2, "{segments:?}");
    assert_eq!(segments[1].file_name().and_then(|name| name.to_str()), Some("00000000000000000003.log"));
    let kept = &files.rows[..1];
    let footer = files.lengths.iter().copied().filter(|&length| length < whole.len() as u64).max().expect("a commit");
    let check = |bytes: &[u8], case: &str| {
        // As after a crash between the footer and the next segment.
        let _ = std::fs::remove_file(&segments[1]);
        std::fs::write(files.path(), bytes).expect("a segment");
        let small = || LogOptions { segment_bytes_max: 1000, ..options() };
        let log = open(files.directory.path(), small());
        assert_eq!(commits(&*log, files.topic).expect("readable commits"), kept, "{case}");
        let topic = notes(&*log);
        append(&*log, vec![frame(&topic, 0, 77..78)]);
        drop(log);
        assert_eq!(files.bytes(), whole, "{case}");
        let log = open(files.directory.path(), small());
        let last = commits(&*log, files.topic).expect("readable commits").pop();
        assert_eq!(last.as_deref(), Some("3: p0@2 [77]"), "{case}");
    };
    for length in (footer as usize..=whole.len()).step_by(23) {
        check(&whole[..length], &format!("{length} bytes"));
    }
    for byte in (footer as usize..whole.len()).step_by(19) {
        let mut torn = whole.clone();
        torn[byte] ^= 1 << (byte % 8);
        check(&torn, &format!("byte {byte}"));
    }
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
    let names = names(directory.path());
    assert!(names.len() > 5, "{names:?}");
    for sealed in &names[..names.len() - 1] {
        assert!(std::fs::read(sealed).expect("a segment").ends_with(b"CHALKEND"), "{sealed:?} has a footer");
    }
    let log = open(directory.path(), small());
    assert_eq!(commits(&*log, topic.id).expect("readable commits"), expected);
    assert_eq!(partition(&*log, topic.id, 0, 17, 1), ["19@17 [17]"]);
    assert_eq!(log.size().segments, names.len() as u64);
    let lengths = names.iter().map(|name| std::fs::metadata(name).expect("a segment").len());
    assert_eq!(log.size().bytes, lengths.sum::<u64>());
}

/// The files of a log, in order.
fn names(directory: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(directory.join("log")).expect("a folder");
    let mut names: Vec<PathBuf> = files.map(|entry| entry.expect("a file").path()).collect();
    names.sort();
    names
}

/// A closed log of small segments, with a pipeline's progress in each commit.
fn many_segments() -> (TempDir, TopicId, Vec<PathBuf>) {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let log = open(directory.path(), LogOptions { segment_bytes_max: 2500, ..options() });
    let topic = notes(&*log);
    for n in 0..60 {
        let (pipeline, upto) = ("main".to_owned(), CommitSeq(n));
        let committed = ControlEvent::EpochCommitted { pipeline, epoch: Epoch(n), upto, views: None };
        let committed = log.control_frame(&committed).expect("a frame");
        append(&*log, vec![frame(&topic, (n % 2) as u16, n as i64..n as i64 + 1), committed]);
    }
    drop(log);
    let names = names(directory.path());
    assert!(names.len() > 15, "{names:?}");
    (directory, topic.id, names)
}

#[test]
fn opening_reads_no_earlier_segment_than_the_last_sealed_one() {
    let (directory, topic, names) = many_segments();
    let [earlier @ .., _sealed, _open] = &names[..] else { panic!("segments") };
    for segment in earlier {
        std::fs::write(segment, "lost").expect("a segment");
    }
    let log = open(directory.path(), options());
    assert_eq!(*log.durable().borrow(), CommitSeq(61));
    assert_eq!(notes(&*log).id, topic);
    let last = CommittedEpoch { epoch: Epoch(59), upto: CommitSeq(59), views: None };
    assert_eq!(log.journal().pipelines["main"], last);
    assert_eq!([log.tail(topic, PartitionId(0)), log.tail(topic, PartitionId(1))], [Offset(30); 2]);
    assert_eq!(log.size().segments, names.len() as u64);
    assert_eq!(partition(&*log, topic, 1, 29, 1), ["61@29 [59]"]);
    // Whoever reads what is lost is told so.
    let file = earlier[0].file_name().and_then(|name| name.to_str()).expect("a name");
    let error = log.read(CommitSeq(0), &[topic], usize::MAX).map(|_| ()).expect_err("damage");
    assert_eq!(damage(&error), Some((file, 1, 0)), "{error}");
    let error = log.read_partition(topic, PartitionId(0), Offset(0), 1).map(|_| ()).expect_err("damage");
    assert!(damage(&error).is_some(), "{error}");
}

#[test]
fn a_segment_that_is_missing_is_named() {
    let (directory, _, names) = many_segments();
    let first = |segment: &PathBuf| {
        let name = segment.file_stem().and_then(|name| name.to_str()).expect("a name");
        name.parse::<u64>().expect("a commit")
    };
    let error = || CommitLog::open(directory.path(), &holder(), options()).map(|_| ()).expect_err("a gap");
    // All but the last, of whose existence nothing else tells.
    for missing in 0..names.len() - 1 {
        let bytes = std::fs::read(&names[missing]).expect("a segment");
        std::fs::remove_file(&names[missing]).expect("a segment to lose");
        let (lost, next) = (first(&names[missing]), first(&names[missing + 1]));
        let expected = format!(
            "damaged log: {next:020}.log, commit {lost}, at byte 0: \
             it begins with commit {next}, but {lost} is next: a segment is missing"
        );
        assert_eq!(error().to_string(), expected);
        std::fs::write(&names[missing], bytes).expect("a segment");
    }
    let stray = directory.path().join("log").join("7.log");
    std::fs::write(&stray, "not ours").expect("a file");
    assert_eq!(damage(&error()), Some(("7.log", 0, 0)));
    std::fs::rename(&stray, stray.with_extension("txt")).expect("a file");
    open(directory.path(), options());
}

#[test]
fn little_memory_for_footers_is_enough() {
    let (directory, topic, _) = many_segments();
    let whole = commits(&*open(directory.path(), options()), topic).expect("readable commits");
    assert_eq!(whole.len(), 60);
    for footers_bytes_max in [0, 200 << 10, 400 << 10] {
        let log = open(directory.path(), LogOptions { footers_bytes_max, ..options() });
        assert_eq!(commits(&*log, topic).expect("readable commits"), whole);
        // Backwards, and back and forth.
        for n in (0..60).rev().chain((0..60).map(|n| n * 37 % 60)) {
            let (partition, offset, after) = ((n % 2) as u16, n / 2, CommitSeq(n + 1));
            assert_eq!(super::partition(&*log, topic, partition, offset, 1), [format!("{}@{offset} [{n}]", n + 2)]);
            let (read, upto) = log.read(after, &[topic], 1).expect("readable commits");
            assert_eq!((read.len(), upto), (1, after.next()));
            assert_eq!(super::shown(&read[0]), whole[n as usize]);
            assert_eq!(log.commit_of(topic, PartitionId(partition), Offset(offset)).expect("readable"), Some(upto));
        }
    }
}

#[test]
fn another_format_is_refused_before_anything_is_written() {
    let files = Files::new(options());
    let whole = files.bytes();
    for (format, expected) in [
        (3, format!("{FIRST} has format 3, this build reads 2: use a newer chalk")),
        (
            1,
            format!(
                "{FIRST} has format 1, this build reads 2: use the chalk that wrote it, or begin in another directory"
            ),
        ),
    ] {
        let mut other = whole.clone();
        other[8] = format;
        // A commit that was not acknowledged would be cut off.
        other.truncate(other.len() - 1);
        for other in [&other[..], &other[..41], &other[..40], &other[..10]] {
            let error = files.open_with(other).map(|_| ()).expect_err("another format");
            assert_eq!(error.to_string(), expected);
            assert_eq!(files.bytes(), other, "nothing is written");
        }
    }
    let mut foreign = whole;
    foreign[0] = b'X';
    let error = files.open_with(&foreign).map(|_| ()).expect_err("another file");
    let what = "it does not begin as a log segment does";
    assert_eq!(error.to_string(), format!("damaged log: {FIRST}, commit 1, at byte 0: {what}"));
    assert_eq!(files.bytes(), foreign);
}

#[test]
fn another_format_of_an_earlier_segment_is_refused_too() {
    let (directory, _, names) = many_segments();
    let [.., sealed, last] = &names[..] else { panic!("segments") };
    let mut older = std::fs::read(sealed).expect("a segment");
    older[8] = 1;
    std::fs::write(sealed, &older).expect("a segment");
    // Begun, but not to the end of its header: it would be begun again.
    std::fs::write(last, b"CHALK").expect("a segment");
    let error = CommitLog::open(directory.path(), &holder(), options()).map(|_| ()).expect_err("an older format");
    assert!(matches!(error, LogError::OlderFormat { found: 1, known: 2, .. }), "{error}");
    assert_eq!(std::fs::read(last).expect("a segment"), b"CHALK", "nothing is written");
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

#[test]
fn a_segment_is_sealed_when_it_is_old() {
    let directory = tempfile::tempdir().expect("a temporary folder");
    // A commit a second: the topic's and nine more.
    let log = open(directory.path(), LogOptions { segment_age_max: Duration::from_secs(4), ..options() });
    let topic = notes(&*log);
    for n in 0..9 {
        append(&*log, vec![frame(&topic, 0, n..n + 1)]);
    }
    let all = commits(&*log, topic.id).expect("readable commits");
    assert_eq!(all.len(), 9);
    drop(log);
    let mut segments = Vec::new();
    chalk_log::verify(directory.path(), |report| segments.push((report.first.0, report.sealed)))
        .expect("readable files");
    assert_eq!(segments, [(1, true), (5, true), (9, false)]);
    assert_eq!(commits(&*open(directory.path(), options()), topic.id).expect("readable commits"), all);
}
