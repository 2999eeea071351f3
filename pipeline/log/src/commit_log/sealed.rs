//! Sealed segments: all that is kept of each is its first commit; footers are loaded when somebody reads there.

use super::index::Index;
use super::lanes::LaneKey;
use super::lru::Lru;
use super::segment::{SegmentFile, Summary};
use crate::contract::LogError;
use chalk_event::{CommitSeq, IngestTime, Offset};
use chalk_store::Storage;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is counted for an index beside its own size: bounds how many files are open at once.
const FILE_BYTES: usize = 128 << 10;

/// A segment's index, and the file to read frames from.
#[derive(Debug)]
pub(super) struct IndexedSegment {
    pub(super) segment: SegmentFile,
    pub(super) index: Index,
}

/// Footers of sealed segments.
#[derive(Debug)]
pub(super) struct Footers {
    storage: Arc<dyn Storage>,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    summaries: Lru<CommitSeq, Arc<Summary>>,
    indexes: Lru<CommitSeq, Arc<IndexedSegment>>,
}

impl Footers {
    /// Keeps about `bytes_max` of them in memory.
    pub(super) fn new(storage: Arc<dyn Storage>, bytes_max: usize) -> Self {
        let summaries = Lru::new(bytes_max / 4);
        let indexes = Lru::new(bytes_max - bytes_max / 4);
        Self { storage, kept: Mutex::new(Kept { summaries, indexes }) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The summary of the segment that begins with a commit.
    pub(super) fn summary(&self, first: CommitSeq) -> Result<Arc<Summary>, LogError> {
        if let Some(summary) = self.kept().summaries.get(first) {
            return Ok(summary);
        }
        let summary = SegmentFile::open(&*self.storage, first)?.summary()?;
        Ok(self.keep_summary(first, summary))
    }

    fn keep_summary(&self, first: CommitSeq, summary: Summary) -> Arc<Summary> {
        let bytes = size_of::<Summary>() + summary.lanes.held_bytes();
        let summary = Arc::new(summary);
        self.kept().summaries.insert(first, Arc::clone(&summary), bytes);
        summary
    }

    /// The index of the segment that begins with a commit.
    pub(super) fn index(&self, first: CommitSeq) -> Result<Arc<IndexedSegment>, LogError> {
        if let Some(index) = self.kept().indexes.get(first) {
            return Ok(index);
        }
        let segment = SegmentFile::open(&*self.storage, first)?;
        // Not one that is kept: the file may be another by now.
        let summary = self.keep_summary(first, segment.summary()?);
        let index = segment.index(&summary)?;
        Ok(self.keep_index(segment, index))
    }

    /// Keeps the index of a segment that has just been sealed.
    pub(super) fn keep_index(&self, segment: SegmentFile, index: Index) -> Arc<IndexedSegment> {
        let (first, bytes) = (segment.first, index.held_bytes() + FILE_BYTES);
        let index = Arc::new(IndexedSegment { segment, index });
        self.kept().indexes.insert(first, Arc::clone(&index), bytes);
        index
    }

    /// Lets go of a segment that is removed.
    pub(super) fn forget(&self, first: CommitSeq) {
        let mut kept = self.kept();
        kept.summaries.remove(first);
        kept.indexes.remove(first);
    }

    /// Which of the segments has the frame at an offset, when one of them has.
    pub(super) fn of_offset(
        &self,
        sealed: &[CommitSeq],
        key: LaneKey,
        offset: Offset,
    ) -> Result<Option<CommitSeq>, LogError> {
        let after = first_that(sealed, |first| Ok(self.summary(first)?.lanes.get(key).first > offset))?;
        Ok(after.checked_sub(1).map(|place| sealed[place]))
    }

    /// The first of the segments with a commit made at `time` or later.
    pub(super) fn of_time(&self, sealed: &[CommitSeq], time: IngestTime) -> Result<Option<CommitSeq>, LogError> {
        let place = first_that(sealed, |first| Ok(self.summary(first)?.ending.last.1 >= time))?;
        Ok(sealed.get(place).copied())
    }
}

/// The place of the first segment for which a rule holds that holds for all later ones too; or how many there are.
fn first_that(
    sealed: &[CommitSeq],
    mut holds: impl FnMut(CommitSeq) -> Result<bool, LogError>,
) -> Result<usize, LogError> {
    let (mut least, mut end) = (0, sealed.len());
    while least < end {
        let middle = least + (end - least) / 2;
        if holds(sealed[middle])? {
            end = middle;
        } else {
            least = middle + 1;
        }
    }
    Ok(least)
}
