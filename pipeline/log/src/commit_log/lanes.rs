//! Partitions that have rows, and how things are with each at a place in the log.

use super::format::{FrameHead, HAS_EVENT_TIMES, Reader, Unreadable};
use super::index::Index;
use chalk_catalog::TopicId;
use chalk_event::{CommitSeq, EventTime, IngestTime, Offset, PartitionId};
use std::collections::BTreeMap;

pub(super) const LANE_BYTES: usize = 64;

/// A partition of a topic.
pub(super) type LaneKey = (TopicId, PartitionId);

/// How things are with one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    /// The first offset that the segment at hand has, or will have.
    pub(super) first: Offset,
    /// The next offset.
    pub(super) tail: Offset,
    /// Of all its bodies.
    pub(super) bytes: u64,
    pub(super) last_commit: CommitSeq,
    pub(super) last_time: IngestTime,
    /// Least and greatest in the segment at hand.
    pub(super) event_times: Option<(EventTime, EventTime)>,
}

impl Lane {
    /// Of a partition without rows.
    pub(super) const EMPTY: Self = Self {
        first: Offset(0),
        tail: Offset(0),
        bytes: 0,
        last_commit: CommitSeq(0),
        last_time: IngestTime(0),
        event_times: None,
    };
}

/// All partitions that have rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lanes(BTreeMap<LaneKey, Lane>);

impl Lanes {
    pub(super) fn get(&self, key: LaneKey) -> Lane {
        self.0.get(&key).copied().unwrap_or(Lane::EMPTY)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (LaneKey, &Lane)> {
        self.0.iter().map(|(&key, lane)| (key, lane))
    }

    /// A frame has become part of the segment at hand.
    pub(super) fn add(&mut self, frame: &FrameHead, commit: CommitSeq, time: IngestTime) {
        let lane = self.0.entry((frame.topic, frame.partition)).or_insert(Lane::EMPTY);
        lane.tail = Offset(frame.base_offset.0 + u64::from(frame.rows));
        lane.bytes += u64::from(frame.body_bytes);
        lane.last_commit = commit;
        lane.last_time = time;
        lane.event_times = match (lane.event_times, frame.event_times) {
            (Some((least, greatest)), Some((first, last))) => Some((least.min(first), greatest.max(last))),
            (known, new) => known.or(new),
        };
    }

    /// As they were when the segment of an index began whose end these are of; when their partitions last had rows before is not known.
    pub(super) fn before(&self, index: &Index) -> Self {
        let mut lanes = self.clone();
        for (key, lane) in &mut lanes.0 {
            lane.tail = lane.first;
            lane.bytes -= index.bytes_of(*key).min(lane.bytes);
            lane.event_times = None;
        }
        lanes
    }

    /// Whether they are the same but for when partitions last had rows in an earlier segment.
    pub(super) fn same_rows(&self, other: &Self) -> bool {
        let plain = |(key, lane): (&LaneKey, &Lane)| {
            let had_rows = lane.first < lane.tail;
            (
                *key,
                lane.first,
                lane.tail,
                lane.bytes,
                lane.event_times,
                had_rows.then_some((lane.last_commit, lane.last_time)),
            )
        };
        self.0.iter().map(plain).eq(other.0.iter().map(plain))
    }

    /// The next segment begins.
    pub(super) fn begin_segment(&mut self) {
        for lane in self.0.values_mut() {
            lane.first = lane.tail;
            lane.event_times = None;
        }
    }

    /// About how much memory they take.
    pub(super) fn held_bytes(&self) -> usize {
        self.0.len() * 2 * LANE_BYTES
    }

    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        for (&(topic, partition), lane) in &self.0 {
            let (least, greatest) = lane.event_times.map_or((0, 0), |(least, greatest)| (least.0, greatest.0));
            into.extend(topic.0.to_le_bytes());
            into.extend(partition.0.to_le_bytes());
            into.extend((if lane.event_times.is_some() { HAS_EVENT_TIMES } else { 0 }).to_le_bytes());
            into.extend(lane.first.0.to_le_bytes());
            into.extend(lane.tail.0.to_le_bytes());
            into.extend(lane.bytes.to_le_bytes());
            into.extend(lane.last_commit.0.to_le_bytes());
            into.extend(lane.last_time.0.to_le_bytes());
            into.extend(least.to_le_bytes());
            into.extend(greatest.to_le_bytes());
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(bytes);
        let mut lanes = BTreeMap::new();
        while !reader.0.is_empty() {
            let key = (TopicId(reader.u32()?), PartitionId(reader.u16()?));
            let flags = reader.u16()?;
            let lane = Lane {
                first: Offset(reader.u64()?),
                tail: Offset(reader.u64()?),
                bytes: reader.u64()?,
                last_commit: CommitSeq(reader.u64()?),
                last_time: IngestTime(reader.i64()?),
                event_times: {
                    let times = (EventTime(reader.i64()?), EventTime(reader.i64()?));
                    (flags & HAS_EVENT_TIMES != 0).then_some(times)
                },
            };
            lanes.insert(key, lane);
        }
        Ok(Self(lanes))
    }
}
