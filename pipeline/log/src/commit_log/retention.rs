//! Retention: which segments of the log, and which files of its history, are let go of.
//!
//! A sealed segment is removed when all of these hold, oldest first and without a gap:
//!
//! | rule | otherwise |
//! |---|---|
//! | every topic with rows in it is past its age or its bytes | it is to be kept |
//! | nobody who goes on reading after a restart needs a commit of it | it is held back, and by whom is said |
//! | history, when one is kept, has it | it is held back until the export is done |
//! | it is not the newest sealed one | its footer says how everything is |
//!
//! Topics, schemas and the journal are in every footer: their own rows keep nothing back where other rows are. A topic without a limit is kept for ever, and with it
//! every segment that has rows of it, and all later ones.

use super::sealed::Footers;
use super::segment::Summary;
use super::shared::Shared;
use super::trim::Trim;
use super::{CommitLog, control, lock};
use crate::contract::LogError;
use chalk_catalog::{TopicId, Topics};
use chalk_event::{CommitSeq, IngestTime};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long rows of a topic are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// In the log's segments for so long after their commit. Without this and `log_bytes`, for ever.
    pub log_age: Option<Duration>,
    /// In the log's segments until there are so many newer bytes of the topic.
    pub log_bytes: Option<u64>,
    /// In history for so long after their commit. Without it, for ever.
    pub history_age: Option<Duration>,
}

/// How long rows are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Of topics that are not named.
    pub others: Keep,
    /// By topic.
    pub topics: BTreeMap<String, Keep>,
}

impl Retention {
    fn of(&self, topic: TopicId, topics: &Topics) -> Keep {
        let named = topics.by_id(topic).and_then(|topic| self.topics.get(topic.name()));
        named.copied().unwrap_or(self.others)
    }
}

/// Somebody who reads the log after a commit when it starts again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Who.
    pub who: String,
    /// The commit.
    pub after: CommitSeq,
}

/// What retention has let go of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetGo {
    /// So many segments of the log,
    pub segments: u64,
    /// of so many bytes.
    pub bytes: u64,
    /// Files of history.
    pub history: super::history::Expired,
    /// What holds further segments back.
    pub held_back: Option<String>,
}

/// What a retention comes to, before it is done.
struct Plan {
    /// The segments that can go, with the bytes of their files.
    segments: Vec<(CommitSeq, u64)>,
    held_back: Option<String>,
}

impl CommitLog {
    /// Lets go of what retention says as of a time; history is asked first, and the log's segments go when nobody needs them.
    ///
    /// # Errors
    /// When the log was opened only to look at it, or files cannot be read, written or removed. What was not done can be tried again.
    pub fn retain(&self, retention: &Retention, needs: &[Need], now: IngestTime) -> Result<LetGo, LogError> {
        let Some(archive) = &self.archive else { return Err(self.shared.stopped()) };
        let mut archive = lock(archive);
        let topics = Arc::clone(&self.shared.state().control.topics);
        let mut let_go = LetGo::default();
        if let Some(history) = &self.shared.history {
            let before = |topic: TopicId| {
                let age = retention.of(topic, &topics).history_age.filter(|_| !control::is_control(topic))?;
                Some(IngestTime(now.0.saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX))))
            };
            let_go.history = history.expire(&before)?;
        }
        let Plan { segments, held_back } = plan(&self.shared, retention, needs, now.0, &topics)?;
        self.shared.state_mut().held_back.clone_from(&held_back);
        let_go.held_back = held_back;
        let_go.segments = segments.len() as u64;
        let_go.bytes = segments.iter().map(|(_, bytes)| bytes).sum();
        archive.remove(&self.shared, &segments)?;
        Ok(let_go)
    }

    /// What would hold segments back if retention was applied now; nothing is changed.
    ///
    /// # Errors
    /// When footers cannot be read.
    pub fn held_back(
        &self,
        retention: &Retention,
        needs: &[Need],
        now: IngestTime,
    ) -> Result<Option<String>, LogError> {
        let topics = Arc::clone(&self.shared.state().control.topics);
        Ok(plan(&self.shared, retention, needs, now.0, &topics)?.held_back)
    }
}

fn plan(shared: &Shared, retention: &Retention, needs: &[Need], now: i64, topics: &Topics) -> Result<Plan, LogError> {
    let mut plan = Plan { segments: Vec::new(), held_back: None };
    let (sealed, total) = {
        let state = shared.state();
        let mut total: BTreeMap<TopicId, u64> = BTreeMap::new();
        state.lanes.iter().for_each(|((topic, _), lane)| *total.entry(topic).or_default() += lane.bytes);
        (Arc::clone(&state.sealed), total)
    };
    let Some((_, candidates)) = sealed.split_last() else { return Ok(plan) };
    for &first in candidates {
        let summary = shared.footers.summary(first)?;
        if !is_past(&summary, retention, now, topics, &total) {
            return Ok(plan);
        }
        plan.held_back = why_needed(shared, &summary, needs);
        if plan.held_back.is_some() {
            return Ok(plan);
        }
        plan.segments.push((first, summary.len));
    }
    Ok(plan)
}

/// Whether all topics with rows in a segment are past what they are kept for.
fn is_past(
    summary: &Summary,
    retention: &Retention,
    now: i64,
    topics: &Topics,
    total: &BTreeMap<TopicId, u64>,
) -> bool {
    let age = Duration::from_nanos(u64::try_from(now.saturating_sub(summary.ending.last.1.0)).unwrap_or(0));
    let is_past = |topic: TopicId| {
        let keep = retention.of(topic, topics);
        let newer = || total.get(&topic).copied().unwrap_or(0).saturating_sub(summary.bytes_of(topic));
        keep.log_age.is_some_and(|limit| age >= limit) || keep.log_bytes.is_some_and(|limit| newer() >= limit)
    };
    let (control, others): (Vec<TopicId>, Vec<TopicId>) =
        summary.with_rows().map(|((topic, _), _)| topic).partition(|&topic| control::is_control(topic));
    if others.is_empty() { control.into_iter().all(is_past) } else { others.into_iter().all(is_past) }
}

fn why_needed(shared: &Shared, summary: &Summary, needs: &[Need]) -> Option<String> {
    let last = summary.ending.last.0;
    if let Some(need) = needs.iter().find(|need| need.after < last) {
        return Some(format!(
            "segments from commit {} on are past their retention, but {} needs everything after commit {}",
            summary.ending.first.0, need.who, need.after
        ));
    }
    let exported = shared.history.as_ref().map(super::history::History::upto).filter(|&upto| upto < last)?;
    Some(format!(
        "segments from commit {} on are past their retention, but history has them only up to commit {exported}",
        summary.ending.first.0
    ))
}

/// What is done with sealed segments, one thing at a time.
pub(super) struct Archive {
    pub(super) storage: Arc<dyn chalk_store::Storage>,
}

impl Archive {
    /// Removes the first sealed segments. A crash in between leaves files that do not count.
    fn remove(&mut self, shared: &Shared, segments: &[(CommitSeq, u64)]) -> Result<(), LogError> {
        if segments.is_empty() {
            return Ok(());
        }
        let (sealed, mut removed) = {
            let state = shared.state();
            (Arc::clone(&state.sealed), state.trim.removed)
        };
        segments.iter().for_each(|&(first, bytes)| removed.add(first, bytes));
        // The newest sealed one is never among them.
        let Some(&first) = sealed.get(segments.len()) else { return Ok(()) };
        let trim = Trim::new(first, removed);
        trim.write(&*self.storage)?;
        {
            let mut state = shared.state_mut();
            // More can have been sealed meanwhile.
            state.sealed = Arc::new(state.sealed[segments.len()..].to_vec());
            state.trim = trim;
        }
        forget(&shared.footers, segments);
        for &(first, _) in segments {
            self.storage.remove(&super::segment::name_of(first))?;
        }
        Ok(self.storage.sync_directory()?)
    }

    /// Removes segments that do not count any more, which a crash has left.
    pub(super) fn finish(&self, trim: &Trim) -> Result<(), LogError> {
        let left: Vec<CommitSeq> =
            super::recovery::firsts(&*self.storage)?.into_iter().filter(|&first| first < trim.first).collect();
        for &first in &left {
            self.storage.remove(&super::segment::name_of(first))?;
        }
        if left.is_empty() { Ok(()) } else { Ok(self.storage.sync_directory()?) }
    }
}

fn forget(footers: &Footers, segments: &[(CommitSeq, u64)]) {
    segments.iter().for_each(|&(first, _)| footers.forget(first));
}
