//! What is durable, as the writer makes it known and readers see it; and where in it to look.

use super::control::Control;
use super::footer::Segments;
use super::history::History;
use super::index::FrameToRead;
use super::lanes::{LaneKey, Lanes};
use super::reader::read_frames;
use super::sealed::{Footers, IndexedSegment};
use super::segment::{SegmentFile, name_of};
use super::tail_cache::TailCache;
use super::trim::Trim;
use crate::contract::{Commit, Frame, LogError};
use chalk_catalog::{TopicId, Topics};
use chalk_event::{CommitSeq, Offset};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

/// What writer and readers share.
pub(super) struct Shared {
    state: RwLock<State>,
    pub(super) footers: Footers,
    pub(super) history: Option<History>,
    pub(super) durable: watch::Sender<CommitSeq>,
}

/// Frames of one partition, of one place where they are kept.
pub(super) enum Found {
    /// In a segment: where to read, what, and how.
    InSegment(SegmentFile, Vec<FrameToRead>, Arc<Topics>),
    /// In history; and about how many bytes they have.
    InHistory(Vec<(CommitSeq, Frame)>, usize),
}

/// What is durable.
pub(super) struct State {
    /// The first commits of sealed segments.
    pub(super) sealed: Arc<Vec<CommitSeq>>,
    /// The sealed segments since the beginning of the log, taken together.
    pub(super) segments: Segments,
    /// Where the log begins, and what was before.
    pub(super) trim: Trim,
    /// What keeps segments that retention would let go of.
    pub(super) held_back: Option<String>,
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
    pub(super) fn new(
        state: State,
        footers: Footers,
        history: Option<History>,
        durable: watch::Sender<CommitSeq>,
    ) -> Self {
        Self { state: RwLock::new(state), footers, history, durable }
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
        let in_segment = place.checked_sub(1).and_then(|place| sealed.get(place)).map(|&first| {
            let summary = self.footers.summary(first)?;
            if !summary.with_rows().any(|((topic, _), _)| topics.contains(&topic)) {
                return Ok((Vec::new(), summary.ending.last.0.min(upto), 0));
            }
            let segment = self.footers.index(first)?;
            let (frames, last) = segment.index.frames_after(from, upto, topics, bytes_max);
            read_commits(&segment.segment, &frames, last, &known)
        });
        match in_segment {
            Some(Err(error)) if is_missing(&error) => {
                let in_history = self.step_in_history(from, upto, topics, bytes_max, &known)?;
                in_history.ok_or_else(|| self.trimmed(from).unwrap_or(error))
            }
            Some(read) => read,
            None => {
                let in_history = self.step_in_history(from, upto, topics, bytes_max, &known)?;
                in_history.ok_or_else(|| {
                    self.trimmed(from).unwrap_or_else(|| LogError::Damaged {
                        file: name_of(from),
                        commit: from,
                        position: 0,
                        what: "no segment has this commit".to_owned(),
                    })
                })
            }
        }
    }

    fn step_in_history(
        &self,
        from: CommitSeq,
        upto: CommitSeq,
        topics: &[TopicId],
        bytes_max: usize,
        known: &Topics,
    ) -> Result<Option<(Vec<Commit>, CommitSeq, usize)>, LogError> {
        let Some(history) = &self.history else { return Ok(None) };
        let expired = history.expired(topics);
        if expired >= from {
            return Err(not_kept(from, expired.next(), "history's retention has let go of rows before that"));
        }
        if let Some(found) = history.step(from, upto, topics, bytes_max, known)? {
            return Ok(Some(found));
        }
        // Whoever only looks may have an earlier manifest than the process that writes.
        history.refresh()?;
        history.step(from, upto, topics, bytes_max, known)
    }

    /// Why a commit is not there, if it is because of retention.
    fn trimmed(&self, commit: CommitSeq) -> Option<LogError> {
        let first = self.state().trim.first;
        (commit < first)
            .then(|| not_kept(commit, first, "retention has removed what was before, and no history has it"))
    }

    /// Frames of a partition that stand in the segment that has `from`, as [`EventLog::read_partition`]; and the topics that
    /// say how to read them.
    pub(super) fn frames_from(&self, key: LaneKey, from: Offset, bytes_max: usize) -> Result<Option<Found>, LogError> {
        let (sealed, topics) = {
            let state = self.state();
            let topics = Arc::clone(&state.control.topics);
            let lane = state.lanes.get(key);
            if from >= lane.tail {
                return Ok(None);
            }
            if let Some(open) = state.open.as_ref().filter(|_| lane.first <= from) {
                let frames = open.index.frames_from(key, from, bytes_max);
                return Ok(Some(Found::InSegment(open.segment.clone(), frames, topics)));
            }
            (Arc::clone(&state.sealed), topics)
        };
        let in_segment = self.footers.of_offset(&sealed, key, from).and_then(|first| {
            let segment = first.map(|first| self.footers.index(first)).transpose()?;
            Ok(segment.map(|segment| (segment.segment.clone(), segment.index.frames_from(key, from, bytes_max))))
        });
        let missing = match in_segment {
            Ok(Some((segment, frames))) => return Ok(Some(Found::InSegment(segment, frames, topics))),
            Ok(None) => None,
            Err(error) if is_missing(&error) => Some(error),
            Err(error) => return Err(error),
        };
        if let Some(history) = &self.history {
            if let Some((frames, bytes)) = history.frames_from(key, from, bytes_max, &topics)? {
                return Ok(Some(Found::InHistory(frames, bytes)));
            }
            history.refresh()?;
            if let Some((frames, bytes)) = history.frames_from(key, from, bytes_max, &topics)? {
                return Ok(Some(Found::InHistory(frames, bytes)));
            }
        }
        let first = self.first_offset(key)?;
        if from < first {
            let name = topics.by_id(key.0).map_or_else(|| key.0.0.to_string(), |topic| topic.name().to_owned());
            return Err(LogError::NotKept {
                asked: format!("offset {from} of partition {} of topic '{name}'", key.1),
                kept: format!("offset {first}"),
                why: "retention has let go of what was before".to_owned(),
            });
        }
        Err(missing.unwrap_or_else(|| LogError::Damaged {
            file: name_of(CommitSeq(0)),
            commit: CommitSeq(0),
            position: 0,
            what: format!("no segment has offset {from} of partition {} of topic {}", key.1, key.0.0),
        }))
    }

    /// The first offset of a partition that is kept, in history or in the log.
    pub(super) fn first_offset(&self, key: LaneKey) -> Result<Offset, LogError> {
        let (first, in_open) = {
            let state = self.state();
            (state.sealed.first().copied(), state.lanes.get(key).first)
        };
        let in_log = first.map_or(Ok(in_open), |first| Ok(self.footers.summary(first)?.lanes.get(key).first));
        let in_history = self.history.as_ref().and_then(|history| history.first_offset(key));
        in_log.map(|in_log| in_history.map_or(in_log, |in_history| in_history.min(in_log)))
    }
}

/// Whether a file was not there.
fn is_missing(error: &LogError) -> bool {
    matches!(error, LogError::Storage(failed) if failed.source.kind() == std::io::ErrorKind::NotFound)
}

fn not_kept(asked: CommitSeq, kept: CommitSeq, why: &str) -> LogError {
    let (asked, kept) = (format!("commit {asked}"), format!("commit {kept}"));
    LogError::NotKept { asked, kept, why: why.to_owned() }
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
