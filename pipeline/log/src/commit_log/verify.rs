//! Reading all of a log, to say whether it is as it was written; and cutting off the end of one that is not.

use super::body;
use super::control::{Control, is_control};
use super::fence::{Fence, Holder};
use super::footer::Segments;
use super::format::{CommitHead, HEADER_BYTES};
use super::index::Index;
use super::lanes::Lanes;
use super::recovery::{Scan, firsts};
use super::segment::{SegmentFile, Summary};
use super::trim::Trim;
use crate::contract::LogError;
use chalk_catalog::{SchemaId, TopicId};
use chalk_event::{CommitSeq, EventTime, IngestTime, Offset, PartitionId};
use chalk_store::{LocalFiles, Storage};
use std::path::Path;

/// What is found in a segment.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// The file.
    pub name: String,
    /// The commit in its name.
    pub first: CommitSeq,
    /// Whether it has a footer.
    pub sealed: bool,
    /// How long the file is.
    pub bytes: u64,
    /// Whole commits.
    pub commits: u64,
    /// Their rows.
    pub rows: u64,
    /// When the first and the last of them were made.
    pub times: Option<(IngestTime, IngestTime)>,
    /// Bytes after the last commit that were never acknowledged: opening the log to write cuts them off.
    pub unacknowledged: u64,
    /// What is wrong with it. Nothing after that place was looked at.
    pub damage: Option<LogError>,
}

/// A commit of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitReport {
    /// Its number.
    pub seq: CommitSeq,
    /// When it was made.
    pub time: IngestTime,
    /// Where it stands in the file.
    pub position: u64,
    /// How long it is.
    pub bytes: u64,
    /// Its frames.
    pub frames: Vec<FrameReport>,
}

/// A frame of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameReport {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The offset of its first row.
    pub base_offset: Offset,
    /// How many rows it has.
    pub rows: u32,
    /// The schema that they were written in.
    pub schema: SchemaId,
    /// The least and greatest event time among them.
    pub event_times: Option<(EventTime, EventTime)>,
    /// How long its body is.
    pub bytes: u32,
}

/// What was cut off a log, and where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// The segment.
    pub segment: String,
    /// From this byte on.
    pub position: u64,
    /// So many bytes.
    pub bytes: u64,
    /// The file beside the segment that has them now.
    pub kept_in: String,
}

/// Reads every byte of the log of a data directory, segment by segment: headers, commits, bodies, footers, and whether they follow on
/// each other. Takes no lock and writes nothing; what a server appends meanwhile may be seen as not acknowledged.
///
/// # Errors
/// When a file cannot be read. Damage is no error: it is in the reports, the last of which has it.
pub fn verify(directory: &Path, mut each: impl FnMut(&SegmentReport)) -> Result<(), LogError> {
    let storage = LocalFiles::existing(&directory.join("log"))?;
    verify_in(&storage, &mut each)
}

/// The commits of a segment, given by the name of its file; what comes before it is not read.
///
/// # Errors
/// When there is no such segment, or it cannot be read.
pub fn inspect(directory: &Path, name: &str) -> Result<(SegmentReport, Vec<CommitReport>), LogError> {
    let storage = LocalFiles::existing(&directory.join("log"))?;
    let all = firsts(&storage)?;
    let first = super::segment::first_of(name).filter(|first| all.contains(first));
    let first = first.ok_or_else(|| LogError::Damaged {
        file: name.to_owned(),
        commit: CommitSeq(0),
        position: 0,
        what: "there is no such segment".to_owned(),
    })?;
    let mut commits = Vec::new();
    let walk = Walk { control: None, lanes: None, segments: None };
    let (report, _) = walk.segment(&storage, first, all.last() == Some(&first), &mut |commit| commits.push(commit))?;
    Ok((report, commits))
}

/// Cuts the log of a data directory off where its last segment is damaged, so that it can be opened. What is cut off is kept beside it.
/// Everything after the damage is lost to the log, appends that were acknowledged among it. `None` when nothing is damaged.
///
/// # Errors
/// When a process holds the directory, when a sealed segment is damaged, or when a file cannot be written.
pub fn repair_tail(directory: &Path, holder: &Holder) -> Result<Option<CutOff>, LogError> {
    let _fence = Fence::take(directory, holder)?;
    let storage = LocalFiles::existing(&directory.join("log"))?;
    let mut last = None;
    verify_in(&storage, &mut |report| last = Some(report.clone()))?;
    let Some(SegmentReport { name, sealed, bytes, damage: Some(damage), first, .. }) = last else { return Ok(None) };
    let LogError::Damaged { position, .. } = damage else { return Err(damage) };
    if sealed || firsts(&storage)?.last() != Some(&first) || position < HEADER_BYTES as u64 {
        return Err(damage);
    }
    let segment = SegmentFile::open(&storage, first)?;
    let kept_in = format!("{name}.from-{position}.cut");
    let cut_off = segment.read(position, (bytes - position) as usize)?;
    storage.replace(&kept_in, &cut_off)?;
    let mut file = storage.reopen(&name, position)?;
    file.sync()?;
    Ok(Some(CutOff { segment: name, position, bytes: cut_off.len() as u64, kept_in }))
}

fn verify_in(storage: &dyn Storage, each: &mut dyn FnMut(&SegmentReport)) -> Result<(), LogError> {
    let trim = Trim::read(storage)?;
    let firsts: Vec<CommitSeq> = firsts(storage)?.into_iter().filter(|&first| first >= trim.first).collect();
    let mut walk = match trim.removed.count {
        0 => Walk {
            control: Some(Control::default()),
            lanes: Some(Lanes::default()),
            segments: Some(Segments::default()),
        },
        _ => Walk::of_first_kept(storage, &trim)?,
    };
    let mut expected = trim.first;
    for &first in &firsts {
        let is_last = firsts.last() == Some(&first);
        let (mut report, after) = walk.segment(storage, first, is_last, &mut |_| {})?;
        if report.damage.is_none() && first != expected {
            let what = format!("it begins with commit {first}, but {expected} is next: a segment is missing");
            let (file, position) = (report.name.clone(), 0);
            report.damage = Some(LogError::Damaged { file, commit: expected, position, what });
        }
        each(&report);
        if report.damage.is_some() {
            return Ok(());
        }
        (walk, expected) = (after, CommitSeq(first.0 + report.commits));
    }
    Ok(())
}

/// What is known of the log before a segment; nothing when that was not read.
struct Walk {
    control: Option<Control>,
    lanes: Option<Lanes>,
    segments: Option<Segments>,
}

impl Walk {
    /// What its footer says of the log before the first segment that is kept. What cannot be read there is found by reading the segment.
    fn of_first_kept(storage: &dyn Storage, trim: &Trim) -> Result<Self, LogError> {
        let mut walk = Self { control: None, lanes: None, segments: Some(trim.removed) };
        let segment = SegmentFile::open(storage, trim.first)?;
        if let Ok(summary) = segment.summary() {
            let mut control = Control::default();
            if segment.control(&summary).and_then(|body| control.apply_body(&body)).is_ok() {
                walk.control = Some(control);
            }
            walk.lanes = segment.index(&summary).ok().map(|index| summary.lanes.before(&index));
        }
        Ok(walk)
    }

    /// Reads a segment, and says what is known after it.
    fn segment(
        mut self,
        storage: &dyn Storage,
        first: CommitSeq,
        is_last: bool,
        each: &mut dyn FnMut(CommitReport),
    ) -> Result<(SegmentReport, Self), LogError> {
        let segment = SegmentFile::open(storage, first)?;
        let len = segment.file.len()?;
        let mut report = SegmentReport {
            name: segment.name.clone(),
            first,
            sealed: false,
            bytes: len,
            commits: 0,
            rows: 0,
            times: None,
            unacknowledged: 0,
            damage: None,
        };
        match self.read(&segment, len, is_last, &mut report, each) {
            Err(damage @ (LogError::Damaged { .. } | LogError::NewerFormat { .. } | LogError::OlderFormat { .. })) => {
                report.damage = Some(damage);
            }
            other => other?,
        }
        Ok((report, self))
    }

    fn read(
        &mut self,
        segment: &SegmentFile,
        len: u64,
        is_last: bool,
        report: &mut SegmentReport,
        each: &mut dyn FnMut(CommitReport),
    ) -> Result<(), LogError> {
        if !segment.check_header(len)? {
            report.unacknowledged = len;
            let cut_off = || segment.damaged(segment.first, 0, "the header is cut off");
            return if is_last { Ok(()) } else { Err(cut_off()) };
        }
        let summary = match segment.footer(len) {
            Err(LogError::Damaged { .. }) if is_last => None,
            other => other?,
        };
        if summary.is_none() && !is_last {
            return Err(segment.damaged(segment.first, len, "it has no footer, but a later segment exists"));
        }
        report.sealed = summary.is_some();
        let end = summary.as_ref().map_or(len, Summary::footer_at);
        let mut index = Index::new(segment.first);
        let mut scan = Scan::new(segment, end);
        while index.end() < end {
            let (position, expected) = (index.end(), index.next());
            let (head, control) = match scan.commit(position)? {
                Ok(found) => found,
                Err(what) if report.sealed || scan.later_commit(position, expected)? => {
                    return Err(segment.damaged(expected, position, what));
                }
                Err(_) => {
                    report.unacknowledged = end - position;
                    return Ok(());
                }
            };
            if head.seq != expected {
                let what = format!("commit {} stands where {expected} should", head.seq);
                return Err(segment.damaged(expected, position, what));
            }
            self.follow(segment, position, &head, &control, &mut scan)?;
            index.add(&head);
            report.commits += 1;
            report.rows += head.frames.iter().map(|frame| u64::from(frame.rows)).sum::<u64>();
            report.times = Some((report.times.map_or(head.time, |(first, _)| first), head.time));
            each(described(&head, position));
        }
        if let Some(summary) = &summary {
            self.check_footer(segment, summary, &index)?;
        }
        Ok(())
    }

    /// Checks that a commit goes on where the ones before ended, and that its rows can be read.
    fn follow(
        &mut self,
        segment: &SegmentFile,
        position: u64,
        head: &CommitHead,
        control: &[Vec<u8>],
        scan: &mut Scan<'_>,
    ) -> Result<(), LogError> {
        let damaged = |what: String| segment.damaged(head.seq, position, what);
        if let Some(known) = &mut self.control {
            control.iter().try_for_each(|body| known.apply_body(body)).map_err(|error| damaged(error.to_string()))?;
        }
        let mut body_at = position + head.head_bytes() as u64;
        for frame in &head.frames {
            if let Some(lanes) = &mut self.lanes {
                let tail = lanes.get((frame.topic, frame.partition)).tail;
                if frame.base_offset != tail {
                    let (topic, partition) = (frame.topic.0, frame.partition.0);
                    return Err(damaged(format!(
                        "rows of topic {topic}, partition {partition} begin at offset {}, but {} is next",
                        frame.base_offset.0, tail.0
                    )));
                }
                lanes.add(frame, head.seq, head.time);
            }
            if let Some(known) = self.control.as_ref().filter(|_| !is_control(frame.topic)) {
                let schema = known.topics.schema(frame.schema);
                let schema = schema.ok_or_else(|| damaged(format!("schema {} is not known", frame.schema.0)))?;
                let body = scan.bytes(body_at, frame.body_bytes as usize)?;
                let rows = body::decode(body, schema.arrow()).map_err(|error| damaged(error.to_string()))?;
                if rows.num_rows() != frame.rows as usize {
                    return Err(damaged(format!("a frame of {} rows has {}", frame.rows, rows.num_rows())));
                }
            }
            body_at += u64::from(frame.body_bytes);
        }
        Ok(())
    }

    /// Checks that a footer says what the segment's commits say.
    fn check_footer(&mut self, segment: &SegmentFile, summary: &Summary, index: &Index) -> Result<(), LogError> {
        let damaged = |what: &str| segment.damaged(segment.first, summary.footer_at(), what);
        let stored = segment.index(summary)?;
        segment.control(summary)?;
        if stored.next() != index.next() || stored.end() != index.end() {
            return Err(damaged("the footer's index is of other commits"));
        }
        let (mut written, mut read) = (Vec::new(), Vec::new());
        stored.encode(&summary.lanes, &mut written);
        index.encode(&summary.lanes, &mut read);
        if written != read {
            return Err(damaged("the footer's index does not find what stands there"));
        }
        if let Some(lanes) = &mut self.lanes {
            if !lanes.same_rows(&summary.lanes) {
                return Err(damaged("the footer's partitions are not those of the commits"));
            }
            lanes.begin_segment();
        }
        if let Some(segments) = &mut self.segments {
            let earlier = summary.ending.earlier;
            if (segments.count, segments.sum) != (earlier.count, earlier.sum) {
                return Err(damaged("the footer counts other segments before it than there are"));
            }
            segments.add(segment.first, summary.len);
        }
        Ok(())
    }
}

fn described(head: &CommitHead, position: u64) -> CommitReport {
    let frame = |frame: &super::format::FrameHead| FrameReport {
        topic: frame.topic,
        partition: frame.partition,
        base_offset: frame.base_offset,
        rows: frame.rows,
        schema: frame.schema,
        event_times: frame.event_times,
        bytes: frame.body_bytes,
    };
    CommitReport {
        seq: head.seq,
        time: head.time,
        position,
        bytes: head.commit_bytes(),
        frames: head.frames.iter().map(frame).collect(),
    }
}
