//! Where the commits and frames of one segment stand.
//!
//! The writer extends the open segment's index; a sealed segment's is decoded from its footer when somebody reads there.

use super::format::{COMMIT_HEAD_BYTES, CommitHead, FRAME_HEAD_BYTES, HEADER_BYTES, Reader, Unreadable};
use super::lanes::{LaneKey, Lanes};
use chalk_catalog::{SchemaId, TopicId};
use chalk_event::{CommitSeq, IngestTime, Offset, PartitionId};
use std::collections::HashMap;
use std::ops::Range;

/// A commit's place in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CommitPlace {
    /// Of its head, in the file.
    position: u64,
    time: IngestTime,
    /// The number of its first frame in the segment.
    first_frame: u32,
}

/// A frame's place in its segment, and what is needed to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FramePlace {
    base_offset: Offset,
    rows: u32,
    schema: SchemaId,
    body_bytes: u32,
    body_crc: u32,
    /// From the commit's position to the body.
    body_at: u32,
    /// The number of its commit in the segment.
    commit: u32,
    /// The number of its partition in the index.
    lane: u32,
}

/// A partition's frames in the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LaneFrames {
    key: LaneKey,
    frames: Vec<u32>,
}

/// The commits of one segment.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// The segment's first commit.
    first: CommitSeq,
    commits: Vec<CommitPlace>,
    frames: Vec<FramePlace>,
    lanes: Vec<LaneFrames>,
    lane_numbers: HashMap<LaneKey, u32>,
    /// Where the next commit will stand in the file.
    end: u64,
}

/// A frame to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameToRead {
    pub(super) commit: CommitSeq,
    pub(super) time: IngestTime,
    /// Its number in its commit.
    pub(super) number: u32,
    pub(super) topic: TopicId,
    pub(super) partition: PartitionId,
    pub(super) base_offset: Offset,
    pub(super) rows: u32,
    pub(super) schema: SchemaId,
    /// Where its body stands in the file.
    pub(super) position: u64,
    pub(super) body_bytes: u32,
    pub(super) body_crc: u32,
}

impl Index {
    /// Of a segment without commits.
    pub(super) fn new(first: CommitSeq) -> Self {
        Self {
            first,
            commits: Vec::new(),
            frames: Vec::new(),
            lanes: Vec::new(),
            lane_numbers: HashMap::new(),
            end: HEADER_BYTES as u64,
        }
    }

    pub(super) fn first(&self) -> CommitSeq {
        self.first
    }

    /// The commit after the last.
    pub(super) fn next(&self) -> CommitSeq {
        CommitSeq(self.first.0 + self.commits.len() as u64)
    }

    /// Where the next commit will stand in the file.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// When the first and the last commit were made.
    pub(super) fn times(&self) -> Option<(IngestTime, IngestTime)> {
        Some((self.commits.first()?.time, self.commits.last()?.time))
    }

    /// How much memory it takes.
    pub(super) fn held_bytes(&self) -> usize {
        size_of::<Self>()
            + self.commits.capacity() * size_of::<CommitPlace>()
            + self.frames.capacity() * (size_of::<FramePlace>() + size_of::<u32>())
            + self.lanes.len() * 2 * size_of::<LaneFrames>()
    }

    /// Adds a commit at the end.
    pub(super) fn add(&mut self, head: &CommitHead) {
        self.begin_commit(head.time);
        let mut body_at = head.head_bytes() as u32;
        for frame in &head.frames {
            let lane = self.lane_number((frame.topic, frame.partition));
            self.push(FramePlace {
                base_offset: frame.base_offset,
                rows: frame.rows,
                schema: frame.schema,
                body_bytes: frame.body_bytes,
                body_crc: frame.body_crc,
                body_at,
                commit: self.commits.len() as u32 - 1,
                lane,
            });
            body_at += frame.body_bytes;
        }
        self.end += u64::from(body_at);
    }

    fn begin_commit(&mut self, time: IngestTime) {
        self.commits.push(CommitPlace { position: self.end, time, first_frame: self.frames.len() as u32 });
    }

    fn push(&mut self, frame: FramePlace) {
        self.lanes[frame.lane as usize].frames.push(self.frames.len() as u32);
        self.frames.push(frame);
    }

    fn lane_number(&mut self, key: LaneKey) -> u32 {
        *self.lane_numbers.entry(key).or_insert_with(|| {
            self.lanes.push(LaneFrames { key, frames: Vec::new() });
            self.lanes.len() as u32 - 1
        })
    }

    fn frames_of(&self, commit: usize) -> Range<u32> {
        let end = self.commits.get(commit + 1).map_or(self.frames.len() as u32, |next| next.first_frame);
        self.commits[commit].first_frame..end
    }

    fn to_read(&self, number: u32) -> FrameToRead {
        let frame = &self.frames[number as usize];
        let commit = &self.commits[frame.commit as usize];
        let (topic, partition) = self.lanes[frame.lane as usize].key;
        FrameToRead {
            commit: CommitSeq(self.first.0 + u64::from(frame.commit)),
            time: commit.time,
            number: number - commit.first_frame,
            topic,
            partition,
            base_offset: frame.base_offset,
            rows: frame.rows,
            schema: frame.schema,
            position: commit.position + u64::from(frame.body_at),
            body_bytes: frame.body_bytes,
            body_crc: frame.body_crc,
        }
    }

    /// The frames of `topics` in commits from `from` to `upto`, until they have `bytes_max`; and the last commit looked at.
    pub(super) fn frames_after(
        &self,
        from: CommitSeq,
        upto: CommitSeq,
        topics: &[TopicId],
        bytes_max: usize,
    ) -> (Vec<FrameToRead>, CommitSeq) {
        let wanted: Vec<bool> = self.lanes.iter().map(|lane| topics.contains(&lane.key.0)).collect();
        let (mut frames, mut bytes) = (Vec::new(), 0);
        let end = self.next().min(upto.next());
        for seq in from.0..end.0 {
            if bytes >= bytes_max {
                return (frames, CommitSeq(seq - 1));
            }
            for number in self.frames_of((seq - self.first.0) as usize) {
                let frame = &self.frames[number as usize];
                if wanted[frame.lane as usize] {
                    bytes += frame.body_bytes as usize;
                    frames.push(self.to_read(number));
                }
            }
        }
        (frames, CommitSeq(end.0 - 1))
    }

    /// The frames of a partition from the one that holds `from` on, until they have `bytes_max`.
    pub(super) fn frames_from(&self, key: LaneKey, from: Offset, bytes_max: usize) -> Vec<FrameToRead> {
        let Some(&lane) = self.lane_numbers.get(&key) else {
            return Vec::new();
        };
        let numbers = &self.lanes[lane as usize].frames;
        let frame = |number: u32| &self.frames[number as usize];
        // Frames without rows may stand before the one that holds it.
        let before =
            numbers.partition_point(|&number| frame(number).base_offset.0 + u64::from(frame(number).rows) <= from.0);
        let mut bytes = 0;
        numbers[before..]
            .iter()
            .map(|&number| self.to_read(number))
            .take_while(|frame| {
                let more = bytes < bytes_max;
                bytes += frame.body_bytes as usize;
                more
            })
            .collect()
    }

    /// What the bodies of a partition's frames take.
    pub(super) fn bytes_of(&self, key: LaneKey) -> u64 {
        let frames = self.lane_numbers.get(&key).map(|&lane| self.lanes[lane as usize].frames.as_slice());
        let frames = frames.unwrap_or_default().iter();
        frames.map(|&number| u64::from(self.frames[number as usize].body_bytes)).sum()
    }

    /// The first commit made at `time` or later.
    pub(super) fn commit_at(&self, time: IngestTime) -> Option<CommitSeq> {
        let before = self.commits.partition_point(|commit| commit.time < time);
        (before < self.commits.len()).then(|| CommitSeq(self.first.0 + before as u64))
    }

    /// The index part of a footer; partitions are numbered by their places in `lanes`.
    pub(super) fn encode(&self, lanes: &Lanes, into: &mut Vec<u8>) {
        let places: HashMap<LaneKey, u64> = (0..).zip(lanes.iter()).map(|(place, (key, _))| (key, place)).collect();
        let numbers: Vec<u64> =
            self.lanes.iter().map(|lane| places.get(&lane.key).copied().unwrap_or(u64::MAX)).collect();
        let mut time = self.commits.first().map_or(0, |commit| commit.time.0);
        for (number, commit) in self.commits.iter().enumerate() {
            let frames = self.frames_of(number);
            leb128(frames.len() as u64, into);
            leb128(commit.time.0.abs_diff(time), into);
            time = commit.time.0;
            for frame in &self.frames[frames.start as usize..frames.end as usize] {
                leb128(numbers[frame.lane as usize], into);
                leb128(frame.rows.into(), into);
                leb128(frame.schema.0.into(), into);
                leb128(frame.body_bytes.into(), into);
                into.extend(frame.body_crc.to_le_bytes());
            }
        }
    }

    /// The index of a sealed segment whose footer begins at `end`, whose first commit was made at `first_time`, and whose
    /// partitions ended as `lanes`.
    pub(super) fn decode(
        bytes: &[u8],
        first: CommitSeq,
        first_time: IngestTime,
        lanes: &Lanes,
        end: u64,
    ) -> Result<Self, Unreadable> {
        let mut reader = Reader(bytes);
        let mut index = Self::new(first);
        let mut tails: Vec<(Offset, LaneKey)> = lanes.iter().map(|(key, lane)| (lane.first, key)).collect();
        let mut time = first_time;
        while !reader.0.is_empty() {
            let frames = read_leb128(&mut reader)?;
            time = IngestTime(time.0.saturating_add_unsigned(read_leb128(&mut reader)?));
            index.begin_commit(time);
            let mut commit_bytes = COMMIT_HEAD_BYTES as u64 + frames.saturating_mul(FRAME_HEAD_BYTES as u64);
            for _ in 0..frames {
                let lane = read_leb128(&mut reader)?;
                let rows = read_u32(&mut reader)?;
                let schema = SchemaId(read_u32(&mut reader)?);
                let body_bytes = read_u32(&mut reader)?;
                let body_crc = reader.u32()?;
                let place = usize::try_from(lane).ok().and_then(|lane| tails.get_mut(lane));
                let (tail, key) = place.ok_or(Unreadable::Wrong("the footer's index names no partition"))?;
                let (base_offset, key) = (*tail, *key);
                *tail = Offset(tail.0 + u64::from(rows));
                let lane = index.lane_number(key);
                index.push(FramePlace {
                    base_offset,
                    rows,
                    schema,
                    body_bytes,
                    body_crc,
                    body_at: u32::try_from(commit_bytes).map_err(|_| Unreadable::Wrong("a commit is too large"))?,
                    commit: index.commits.len() as u32 - 1,
                    lane,
                });
                commit_bytes += u64::from(body_bytes);
            }
            index.end = index.end.saturating_add(commit_bytes);
        }
        let agrees = tails.iter().zip(lanes.iter()).all(|((tail, _), (_, lane))| *tail == lane.tail);
        if index.end != end || !agrees {
            return Err(Unreadable::Wrong("the footer's parts do not fit each other"));
        }
        index.seal();
        Ok(index)
    }

    /// Gives back the room for more commits.
    pub(super) fn seal(&mut self) {
        self.commits.shrink_to_fit();
        self.frames.shrink_to_fit();
        self.lanes.iter_mut().for_each(|lane| lane.frames.shrink_to_fit());
    }
}

fn leb128(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn read_leb128(reader: &mut Reader<'_>) -> Result<u64, Unreadable> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = reader.array()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Unreadable::Wrong("a number is too long"))
}

fn read_u32(reader: &mut Reader<'_>) -> Result<u32, Unreadable> {
    u32::try_from(read_leb128(reader)?).map_err(|_| Unreadable::Wrong("a number is too large"))
}
