//! What is durable, as the writer makes it known and readers see it; and where in it to look.

use super::control::Control;
use super::footer::Segments;
use super::index::FrameToRead;
use super::lanes::{LaneKey, Lanes};
use super::reader::read_frames;
use super::sealed::{Footers, IndexedSegment};
use super::segment::{SegmentFile, name_of};
use super::tail_cache::TailCache;
use crate::contract::{Commit, LogError};
use chalk_catalog::{TopicId, Topics};
use chalk_event::{CommitSeq, Offset};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

/// What writer and readers share.
pub(super) struct Shared {
    state: RwLock<State>,
    pub(super) footers: Footers,
    pub(super) durable: watch::Sender<CommitSeq>,
}

/// What is durable.
pub(super) struct State {
    /// The first commits of sealed segments.
    pub(super) sealed: Arc<Vec<CommitSeq>>,
    /// The sealed segments taken together.
    pub(super) segments: Segments,
    /// The segment that is written to. Whatever else there is was sealed before.
    pub(super) open: Option<IndexedSegment>,
    pub(super) lanes: Lanes,
    pub(super) control: Control,
    pub(super) cache: TailCache,
    pub(super) stopped: Option<String>,
    /// Why the writer waits, if it does.
    pub(super) stalled: Option<String>,
}

impl Shared {
    pub(super) fn new(state: State, footers: Footers, durable: watch::Sender<CommitSeq>) -> Self {
        Self { state: RwLock::new(state), footers, durable }
    }

    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stop(&self, error: &LogError) {
        self.state_mut().stopped = Some(error.to_string());
    }

    pub(super) fn stopped(&self) -> LogError {
        LogError::Stopped(self.state().stopped.clone().unwrap_or_else(|| "it was closed".to_owned()))
    }

    /// Frames of `topics` in commits from `from` to `upto`, of one place where they are kept, until they have `bytes_max`;
    /// the last commit looked at; and how many bytes they have.
    pub(super) fn step(
        &self,
        from: CommitSeq,
        upto: CommitSeq,
        topics: &[TopicId],
        bytes_max: usize,
    ) -> Result<(Vec<Commit>, CommitSeq, usize), LogError> {
        let (known, sealed) = {
            let state = self.state();
            let known = Arc::clone(&state.control.topics);
            if let Some((cached, bytes)) = state.cache.commits_from(from, upto, topics, bytes_max) {
                drop(state);
                let last = cached.last().map_or(from, |cached| cached.seq);
                let commits = cached.iter().filter_map(|cached| cached.read(topics, &known).transpose());
                return Ok((commits.collect::<Result<_, _>>()?, last, bytes));
            }
            if let Some(open) = state.open.as_ref().filter(|open| open.index.first() <= from) {
                let (frames, last) = open.index.frames_after(from, upto, topics, bytes_max);
                let segment = open.segment.clone();
                drop(state);
                return read_commits(&segment, &frames, last, &known);
            }
            (known, Arc::clone(&state.sealed))
        };
        let place = sealed.partition_point(|&first| first <= from);
        let Some(&first) = place.checked_sub(1).and_then(|place| sealed.get(place)) else {
            return Err(LogError::Damaged {
                file: name_of(from),
                commit: from,
                position: 0,
                what: "no segment has this commit".to_owned(),
            });
        };
        let summary = self.footers.summary(first)?;
        if !summary.lanes.iter().any(|((topic, _), lane)| lane.first < lane.tail && topics.contains(&topic)) {
            return Ok((Vec::new(), summary.ending.last.0.min(upto), 0));
        }
        let segment = self.footers.index(first)?;
        let (frames, last) = segment.index.frames_after(from, upto, topics, bytes_max);
        read_commits(&segment.segment, &frames, last, &known)
    }

    /// Frames of a partition that stand in the segment that has `from`, as [`EventLog::read_partition`]; and the topics that
    /// say how to read them.
    #[expect(clippy::type_complexity, reason = "where to read, what, and how")]
    pub(super) fn frames_from(
        &self,
        key: LaneKey,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Option<(SegmentFile, Vec<FrameToRead>, Arc<Topics>)>, LogError> {
        let (sealed, topics) = {
            let state = self.state();
            let topics = Arc::clone(&state.control.topics);
            let lane = state.lanes.get(key);
            if from >= lane.tail {
                return Ok(None);
            }
            if let Some(open) = state.open.as_ref().filter(|_| lane.first <= from) {
                return Ok(Some((open.segment.clone(), open.index.frames_from(key, from, bytes_max), topics)));
            }
            (Arc::clone(&state.sealed), topics)
        };
        let Some(first) = self.footers.of_offset(&sealed, key, from)? else {
            return Ok(None);
        };
        let segment = self.footers.index(first)?;
        Ok(Some((segment.segment.clone(), segment.index.frames_from(key, from, bytes_max), topics)))
    }
}

/// Reads frames of whole commits; gives `last` back, and how many bytes that were.
fn read_commits(
    segment: &SegmentFile,
    frames: &[FrameToRead],
    last: CommitSeq,
    topics: &Topics,
) -> Result<(Vec<Commit>, CommitSeq, usize), LogError> {
    let bytes = frames.iter().map(|frame| frame.body_bytes as usize).sum();
    let mut read = read_frames(segment, frames, topics)?.into_iter();
    let commits = frames.chunk_by(|one, next| one.commit == next.commit).map(|commit| Commit {
        seq: commit[0].commit,
        time: commit[0].time,
        frames: read.by_ref().take(commit.len()).collect(),
    });
    Ok((commits.collect(), last, bytes))
}
