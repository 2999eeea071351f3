//! The builds of a function that count, each from a commit on: what is called is the one that counts where the pipeline's timeline stands.

use crate::caller::{CallError, Caller};
use crate::timeline::Timeline;
use arrow::array::ArrayRef;
use chalk_catalog::FunctionIdentity;
use chalk_event::CommitSeq;
use std::sync::{Arc, PoisonError, RwLock};

/// A build.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) identity: FunctionIdentity,
    /// Or why it cannot be called.
    pub(crate) caller: Result<Caller, String>,
}

impl Build {
    pub(crate) fn call(&self, columns: &[ArrayRef]) -> Result<ArrayRef, CallError> {
        match &self.caller {
            Ok(caller) => caller.call(columns),
            Err(why) => Err(CallError::Function(why.clone())),
        }
    }
}

/// Builds, each with the last commit before it.
type Counting = Vec<(CommitSeq, Arc<Build>)>;

/// Builds of one function, the first of which counts from the beginning of the log. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Builds {
    /// Without one, for whoever asks, it is always the last build that counts.
    timeline: Option<Timeline>,
    all: Arc<RwLock<Counting>>,
}

impl Builds {
    pub(crate) fn new(timeline: Option<Timeline>, build: Build) -> Self {
        Self { timeline, all: Arc::new(RwLock::new(vec![(CommitSeq(0), Arc::new(build))])) }
    }

    /// The one that counts now.
    pub(crate) fn current(&self) -> Option<Arc<Build>> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let position = self.timeline.as_ref().map_or(CommitSeq(u64::MAX), Timeline::position);
        let counts = all.partition_point(|(after, _)| *after <= position);
        // The first counts from the beginning on.
        all.get(counts.saturating_sub(1)).map(|(_, build)| Arc::clone(build))
    }

    /// Who counts at the beginning of the log.
    #[must_use]
    pub fn first(&self) -> Option<FunctionIdentity> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.first().map(|(_, build)| build.identity.clone())
    }

    pub(crate) fn last(&self) -> Option<Arc<Build>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).last().map(|(_, build)| Arc::clone(build))
    }

    /// From commits after `after` on, the last build of `newer` counts.
    pub fn switch(&self, newer: &Self, after: CommitSeq) {
        if let Some(build) = newer.last() {
            self.all.write().unwrap_or_else(PoisonError::into_inner).push((after, build));
            if let Some(timeline) = &self.timeline {
                timeline.changes_after(after);
            }
        }
    }

    /// These count instead, each after a commit; the first from the beginning on.
    pub(crate) fn replace(&self, builds: Counting) {
        if let Some(timeline) = &self.timeline {
            builds.iter().skip(1).for_each(|(after, _)| timeline.changes_after(*after));
        }
        *self.all.write().unwrap_or_else(PoisonError::into_inner) = builds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(hash: &str) -> Build {
        let identity = FunctionIdentity { name: "f".to_owned(), content_hash: hash.to_owned() };
        Build { identity, caller: Err(String::new()) }
    }

    fn current(builds: &Builds) -> String {
        builds.current().map(|build| build.identity.content_hash.clone()).unwrap_or_default()
    }

    #[test]
    fn each_counts_from_a_commit_on() {
        let timeline = Timeline::default();
        let builds = Builds::new(Some(timeline.clone()), build("a"));
        let asked = Builds::new(None, build("a"));
        assert_eq!((current(&builds), current(&asked)), ("a".to_owned(), "a".to_owned()));
        let newer = Builds::new(None, build("b"));
        builds.switch(&newer, CommitSeq(20));
        asked.switch(&newer, CommitSeq(20));
        timeline.stand_at(CommitSeq(19));
        assert_eq!((current(&builds), current(&asked)), ("a".to_owned(), "b".to_owned()));
        assert_eq!(timeline.next_end(CommitSeq(19)), Some(CommitSeq(20)));
        timeline.stand_at(CommitSeq(20));
        assert_eq!(current(&builds), "b");
        assert_eq!(builds.first().map(|first| first.content_hash).as_deref(), Some("a"));
    }
}
