//! The newest commits in memory, for readers that follow the tail.

use super::body;
use super::reader::in_present_schema;
use crate::contract::{Commit, Frame, LogError};
use arrow::array::RecordBatch;
use chalk_catalog::{SchemaId, TopicId, Topics};
use chalk_event::{CommitSeq, IngestTime, Offset, PartitionId};
use std::collections::VecDeque;
use std::sync::Arc;

/// Rows are kept as they came when they hold no more memory than so many times their body.
const HELD_PER_BODY_MAX: usize = 4;

/// The rows of a frame in memory.
///
/// A batch holds whole buffers: a slice of one row keeps all that it was cut from, and a builder's arrays keep the room that
/// was made for more rows. Where that is out of proportion, the body is kept in their stead, and whoever reads decodes it.
#[derive(Debug)]
pub(super) enum CachedRows {
    Rows(RecordBatch),
    Body(Vec<u8>),
}

/// The rows when they are worth keeping beside their body, and how much memory they hold.
pub(super) fn worth_keeping(rows: RecordBatch, body: &[u8]) -> Option<(RecordBatch, usize)> {
    let held = rows.get_array_memory_size();
    (held <= HELD_PER_BODY_MAX * body.len()).then_some((rows, held))
}

/// A frame in memory.
#[derive(Debug)]
pub(super) struct CachedFrame {
    pub(super) topic: TopicId,
    pub(super) partition: PartitionId,
    pub(super) base_offset: Offset,
    /// The schema that its rows are of.
    pub(super) schema: SchemaId,
    pub(super) body_bytes: usize,
    pub(super) rows: CachedRows,
}

/// A commit in memory.
#[derive(Debug)]
pub(super) struct CachedCommit {
    pub(super) seq: CommitSeq,
    pub(super) time: IngestTime,
    pub(super) frames: Vec<CachedFrame>,
    /// How much memory it takes.
    pub(super) held_bytes: usize,
}

impl CachedCommit {
    /// The commit with the frames of `topics`, if it has any.
    pub(super) fn read(&self, topics: &[TopicId], known: &Topics) -> Result<Option<Commit>, LogError> {
        let frames = self.frames.iter().filter(|frame| topics.contains(&frame.topic));
        let frames = frames.map(|frame| frame.read(known)).collect::<Result<Vec<_>, _>>()?;
        Ok((!frames.is_empty()).then_some(Commit { seq: self.seq, time: self.time, frames }))
    }

    /// How long the bodies of the frames of `topics` are.
    fn body_bytes_of(&self, topics: &[TopicId]) -> usize {
        self.frames.iter().filter(|frame| topics.contains(&frame.topic)).map(|frame| frame.body_bytes).sum()
    }
}

impl CachedFrame {
    fn read(&self, known: &Topics) -> Result<Frame, LogError> {
        let rows = match &self.rows {
            CachedRows::Rows(rows) => rows.clone(),
            CachedRows::Body(body) => {
                let schema = known.schema(self.schema);
                let schema =
                    schema.ok_or_else(|| LogError::Schema(format!("schema {} is not known", self.schema.0)))?;
                body::decode(body, schema.arrow())?
            }
        };
        let rows = in_present_schema(rows, self.topic, self.schema, known)?;
        Ok(Frame { topic: self.topic, partition: self.partition, base_offset: self.base_offset, rows })
    }
}

/// A run of commits that ends with the last durable one.
#[derive(Debug)]
pub(super) struct TailCache {
    // configuration
    bytes_max: usize,
    // state
    commits: VecDeque<Arc<CachedCommit>>,
    bytes: usize,
}

impl TailCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, commits: VecDeque::new(), bytes: 0 }
    }

    /// Adds the commit that has become durable; gives those that had to go, to be dropped where nobody waits.
    pub(super) fn push(&mut self, commit: Arc<CachedCommit>) -> Vec<Arc<CachedCommit>> {
        self.bytes += commit.held_bytes;
        self.commits.push_back(commit);
        let mut gone = Vec::new();
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.commits.pop_front()
        {
            self.bytes -= oldest.held_bytes;
            gone.push(oldest);
        }
        gone
    }

    /// Commits from `next` to `upto`, until those frames of them that are of `topics` have `bytes_max`; and how many bytes
    /// they have. `None` when `next` is not in memory.
    pub(super) fn commits_from(
        &self,
        next: CommitSeq,
        upto: CommitSeq,
        topics: &[TopicId],
        bytes_max: usize,
    ) -> Option<(Vec<Arc<CachedCommit>>, usize)> {
        let oldest = self.commits.front()?.seq;
        let before = usize::try_from(next.0.checked_sub(oldest.0)?).ok()?;
        let (mut commits, mut bytes) = (Vec::new(), 0);
        for commit in self.commits.range(before.min(self.commits.len())..) {
            if bytes >= bytes_max || commit.seq > upto {
                break;
            }
            bytes += commit.body_bytes_of(topics);
            commits.push(Arc::clone(commit));
        }
        (!commits.is_empty()).then_some((commits, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, Int64Builder, StringArray, StringBuilder};

    #[test]
    fn the_newest_commits_that_fit_are_kept() {
        let mut cache = TailCache::new(100);
        let mut push = |seq: u64, held_bytes: usize| {
            let seq = CommitSeq(seq);
            let commit = CachedCommit { seq, time: IngestTime(0), frames: Vec::new(), held_bytes };
            let gone = cache.push(Arc::new(commit));
            let kept = cache.commits_from(cache.commits.front()?.seq, seq, &[], usize::MAX)?.0;
            Some((gone.len(), kept.iter().map(|kept| kept.seq.0).collect::<Vec<_>>()))
        };
        assert_eq!(push(1, 40), Some((0, vec![1])));
        assert_eq!(push(2, 40), Some((0, vec![1, 2])));
        assert_eq!(push(3, 40), Some((1, vec![2, 3])));
        assert_eq!(push(4, 100), Some((2, vec![4])));
        assert_eq!(push(5, 101), None, "one that is too large takes the others with it");
        assert_eq!(push(6, 1), Some((0, vec![6])));
        assert!(cache.commits_from(CommitSeq(5), CommitSeq(6), &[], 1).is_none());
        assert!(cache.commits_from(CommitSeq(7), CommitSeq(7), &[], 1).is_none());
    }

    /// Whether rows are kept, and if so how much memory they are said to hold.
    fn kept(rows: &RecordBatch) -> Option<usize> {
        worth_keeping(rows.clone(), &body::encode(rows).expect("encodes")).map(|(_, held)| held)
    }

    #[test]
    fn rows_that_hold_far_more_memory_than_they_need_are_not_kept() {
        let text: ArrayRef = Arc::new(StringArray::from_iter_values((0..10_000).map(|n| format!("row {}", n * 7919))));
        let number: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_000));
        let whole = RecordBatch::try_from_iter([("text", text), ("number", number)]).expect("columns of one length");
        let held = kept(&whole).expect("rows worth keeping");
        assert!((200_000..500_000).contains(&held), "{held}");
        assert_eq!(kept(&whole.slice(7000, 9)), None, "a slice");

        let mut text = StringBuilder::new();
        text.append_value("one");
        let mut number = Int64Builder::new();
        number.append_value(1);
        let columns: [(&str, ArrayRef); 2] = [("text", Arc::new(text.finish())), ("number", Arc::new(number.finish()))];
        assert_eq!(kept(&RecordBatch::try_from_iter(columns).expect("columns of one length")), None, "room for more");
    }
}
