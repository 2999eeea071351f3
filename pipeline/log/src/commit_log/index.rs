//! Where each commit and frame stands: rebuilt at open from footers and heads, extended by the writer.

use super::format::CommitHead;
use chalk_catalog::TopicId;
use chalk_event::{CommitSeq, Offset, PartitionId};
use chalk_store::ReadFile;
use std::collections::HashMap;
use std::sync::Arc;

/// A segment and its commits.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) file: Arc<dyn ReadFile>,
    /// Position in the file and head, by commit.
    pub(super) commits: Vec<(u64, Arc<CommitHead>)>,
}

/// A frame's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FramePlace {
    pub(super) commit: CommitSeq,
    pub(super) frame: u32,
    pub(super) base_offset: Offset,
}

/// All durable commits, and the tails of partitions.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) segments: Vec<Segment>,
    partitions: HashMap<(TopicId, PartitionId), Partition>,
}

#[derive(Debug, Default)]
struct Partition {
    frames: Vec<FramePlace>,
    tail: Offset,
}

impl Index {
    /// Adds a commit to the last segment.
    pub(super) fn add(&mut self, position: u64, head: CommitHead) {
        for (number, frame) in head.frames.iter().enumerate() {
            let partition = self.partitions.entry((frame.topic, frame.partition)).or_default();
            partition.frames.push(FramePlace {
                commit: head.seq,
                frame: number as u32,
                base_offset: frame.base_offset,
            });
            partition.tail = Offset(frame.base_offset.0 + u64::from(frame.rows));
        }
        if let Some(segment) = self.segments.last_mut() {
            segment.commits.push((position, Arc::new(head)));
        }
    }

    pub(super) fn last_commit(&self) -> CommitSeq {
        let last = self.segments.iter().rev().find_map(|segment| segment.commits.last());
        last.map_or(CommitSeq(0), |(_, head)| head.seq)
    }

    pub(super) fn tail(&self, topic: TopicId, partition: PartitionId) -> Offset {
        self.partitions.get(&(topic, partition)).map_or(Offset(0), |partition| partition.tail)
    }

    /// The segment and commit of a number.
    pub(super) fn commit(&self, seq: CommitSeq) -> Option<(&Segment, u64, &Arc<CommitHead>)> {
        let after =
            self.segments.partition_point(|segment| segment.commits.first().is_some_and(|(_, head)| head.seq <= seq));
        let segment = self.segments.get(after.checked_sub(1)?)?;
        let first = segment.commits.first()?.1.seq;
        let (position, head) = segment.commits.get((seq.0 - first.0) as usize)?;
        Some((segment, *position, head))
    }

    /// The frames of a partition from the one that holds `from` on.
    pub(super) fn frames_from(&self, topic: TopicId, partition: PartitionId, from: Offset) -> &[FramePlace] {
        let Some(partition) = self.partitions.get(&(topic, partition)) else {
            return &[];
        };
        if from >= partition.tail {
            return &[];
        }
        let after = partition.frames.partition_point(|place| place.base_offset <= from);
        &partition.frames[after.saturating_sub(1)..]
    }
}
