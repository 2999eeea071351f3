//! Frames from files, as segments give them.

use super::super::lanes::LaneKey;
use super::super::reader::in_present_schema;
use super::History;
use super::file::{Group, LoadedFile, PlacedRows, RowPlace};
use super::manifest::{Entry, HistoryFile};
use crate::contract::{Commit, Frame, LogError};
use arrow::array::RecordBatch;
use chalk_catalog::{TopicId, Topics};
use chalk_event::{CommitSeq, IngestTime, Offset, PartitionId};
use std::sync::Arc;

/// A frame with its place in the order.
struct Placed {
    place: RowPlace,
    frame: Frame,
}

/// What is read of the files of a segment: whole commits, up to about a number of bytes.
struct Chunk {
    /// In the order of files, then of their rows.
    frames: Vec<Placed>,
    /// The last commit of which everything was read.
    last: CommitSeq,
    /// What the frames take in the log, about.
    bytes: usize,
}

/// One partition from an offset on.
#[derive(Clone, Copy)]
struct OnlyPartition {
    partition: PartitionId,
    from: Offset,
}

impl History {
    /// Frames of `topics` in commits from `from` to `upto`, of one segment that was exported, until they have about `bytes_max`; the last
    /// commit looked at; and how many bytes they have. `None` when `from` is not in it.
    pub(in super::super) fn step(
        &self,
        from: CommitSeq,
        upto: CommitSeq,
        topics: &[TopicId],
        bytes_max: usize,
        known: &Topics,
    ) -> Result<Option<(Vec<Commit>, CommitSeq, usize)>, LogError> {
        let manifest = self.manifest();
        let Some(entry) = manifest.entry_of(from) else { return Ok(None) };
        let files: Vec<&HistoryFile> = entry.files.iter().filter(|file| topics.contains(&file.topic_id)).collect();
        let mut chunk = self.chunk(&files, (from, entry.last.min(upto)), None, bytes_max, known)?;
        chunk.frames.sort_by_key(|placed| (placed.place.commit, placed.place.frame));
        let mut commits: Vec<Commit> = Vec::new();
        for Placed { place, frame } in chunk.frames {
            match commits.last_mut().filter(|commit| commit.seq == place.commit) {
                Some(commit) => commit.frames.push(frame),
                None => commits.push(Commit { seq: place.commit, time: place.time, frames: vec![frame] }),
            }
        }
        Ok(Some((commits, chunk.last, chunk.bytes)))
    }

    /// Frames of a partition from the row at `from` on, of one segment that was exported, until they have about `bytes_max`; and how many
    /// bytes they have. `None` when it does not have that row.
    #[expect(clippy::type_complexity, reason = "frames, and how much they are")]
    pub(in super::super) fn frames_from(
        &self,
        (topic, partition): LaneKey,
        from: Offset,
        bytes_max: usize,
        known: &Topics,
    ) -> Result<Option<(Vec<(CommitSeq, Frame)>, usize)>, LogError> {
        let manifest = self.manifest();
        let has = |file: &HistoryFile, offset: Offset| {
            file.topic_id == topic
                && file.partitions.iter().any(|found| found.partition == partition && found.tail > offset)
        };
        // Offsets grow with commits: the first segment with a later one has this one, or nobody has.
        let has_later = |entry: &&Entry| entry.files.iter().any(|file| has(file, from));
        let Some(entry) = manifest.segments.iter().find(has_later) else { return Ok(None) };
        let files: Vec<&HistoryFile> = entry.files.iter().filter(|file| has(file, from)).collect();
        let only = OnlyPartition { partition, from };
        let mut begin = entry.first;
        while begin <= entry.last {
            let mut chunk = self.chunk(&files, (begin, entry.last), Some(only), bytes_max, known)?;
            begin = chunk.last.next();
            if chunk.frames.is_empty() {
                continue;
            }
            chunk.frames.sort_by_key(|placed| placed.place.offset);
            if chunk.frames[0].place.offset > from {
                return Ok(None);
            }
            let frames = chunk.frames.into_iter().map(|placed| (placed.place.commit, placed.frame));
            return Ok(Some((frames.collect(), chunk.bytes)));
        }
        Ok(None)
    }

    /// The first commit made at `time` or later.
    pub(in super::super) fn commit_at(&self, time: IngestTime) -> Result<Option<CommitSeq>, LogError> {
        let manifest = self.manifest();
        let place = manifest.segments.partition_point(|entry| entry.times.1 < time);
        let Some(entry) = manifest.segments.get(place) else { return Ok(None) };
        if entry.times.0 >= time {
            return Ok(Some(entry.first));
        }
        let later = entry.files.iter().filter(|file| file.commit_times.1 >= time.0);
        let commits = later.map(|file| self.load(file)?.commit_at(file, time)).collect::<Result<Vec<_>, _>>()?;
        // What was let go of had commits too: the last one is certainly there.
        Ok(Some(commits.into_iter().flatten().min().unwrap_or(entry.last)))
    }

    /// Reads from files of one segment. At least one row group is read of each that has something, and whole commits.
    fn chunk(
        &self,
        files: &[&HistoryFile],
        (from, upto): (CommitSeq, CommitSeq),
        only: Option<OnlyPartition>,
        bytes_max: usize,
        known: &Topics,
    ) -> Result<Chunk, LogError> {
        let (mut last, mut loaded) = (upto, Vec::new());
        for &file in files.iter().filter(|file| file.commits.1 >= from && file.commits.0 <= upto) {
            let groups = self.load(file)?;
            last = last.min(end_of(&groups, file, (from, upto), only, bytes_max));
            loaded.push((file, groups));
        }
        let mut chunk = Chunk { frames: Vec::new(), last, bytes: 0 };
        for (file, loaded) in loaded {
            let wanted = |group: &Group| {
                group.commits.1 >= from && group.commits.0 <= last && only.is_none_or(|only| only.is_in(group))
            };
            let groups: Vec<usize> = (0..loaded.groups.len()).filter(|&group| wanted(&loaded.groups[group])).collect();
            if groups.is_empty() {
                continue;
            }
            let written = known.schema(file.schema);
            let written = written.ok_or_else(|| file.damaged(format!("schema {} is not known", file.schema.0)))?;
            let mut placed = loaded.rows(file, groups, written)?;
            let rows = std::mem::replace(&mut placed.rows, RecordBatch::new_empty(Arc::clone(written.arrow())));
            let rows = in_present_schema(rows, file.topic_id, file.schema, known)?;
            let before = chunk.frames.len();
            split(&placed, &rows, file.topic_id, (from, last), only, &mut chunk.frames);
            let count: usize = chunk.frames[before..].iter().map(|placed| placed.frame.rows.num_rows()).sum();
            chunk.bytes += bytes_of(file, count as u64) as usize;
        }
        Ok(chunk)
    }
}

impl OnlyPartition {
    fn is_in(self, group: &Group) -> bool {
        group.can_have(self.partition, self.from)
    }
}

/// What so many rows of a file take in the log, about.
fn bytes_of(file: &HistoryFile, rows: u64) -> u64 {
    (file.log_bytes as u128 * u128::from(rows) / u128::from(file.rows.max(1))) as u64
}

/// The last commit to read so that row groups of about `bytes_max` are decoded.
fn end_of(
    loaded: &LoadedFile,
    file: &HistoryFile,
    (from, upto): (CommitSeq, CommitSeq),
    only: Option<OnlyPartition>,
    bytes_max: usize,
) -> CommitSeq {
    let mut bytes = 0;
    for group in loaded.groups.iter().filter(|group| group.commits.1 >= from) {
        if only.is_none_or(|only| only.is_in(group)) {
            bytes += bytes_of(file, group.rows);
        }
        if bytes >= bytes_max as u64 {
            return group.commits.1.min(upto);
        }
    }
    upto
}

/// Rows to frames: those of the commits from and up to, and of one partition if that is all that is asked for.
fn split(
    placed: &PlacedRows,
    rows: &RecordBatch,
    topic: TopicId,
    (from, last): (CommitSeq, CommitSeq),
    only: Option<OnlyPartition>,
    into: &mut Vec<Placed>,
) {
    let wanted = |place: &RowPlace| {
        (from..=last).contains(&place.commit)
            && only.is_none_or(|only| place.partition == only.partition && place.offset >= only.from)
    };
    let count = rows.num_rows();
    let mut begin = 0;
    while begin < count {
        let place = placed.place(begin);
        let same = |row: usize| {
            let next = placed.place(row);
            (next.commit, next.frame) == (place.commit, place.frame) && wanted(&next) == wanted(&place)
        };
        let end = (begin + 1..count).find(|&row| !same(row)).unwrap_or(count);
        if wanted(&place) {
            let (partition, base_offset) = (place.partition, place.offset);
            let rows = rows.slice(begin, end - begin);
            into.push(Placed { place, frame: Frame { topic, partition, base_offset, rows } });
        }
        begin = end;
    }
}
