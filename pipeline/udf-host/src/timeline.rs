//! What of a pipeline's functions depends on where in the log they are called: which build counts, and which rows were given up on.
//!
//! ```text
//! commits      1 … 7     8 … 20                        21 … 30                       31 …
//! build        f@a                                     f@b  (promoted after 20)
//! given up              x: it took longer than 10 s    x: called, f@b is another     …
//! ```
//!
//! That a row panics is found out again by whoever calls the function again. That it took too long, or that its worker died, is not: the
//! machine had a part in it. Such a verdict counts from the epoch on in which it was found, and whoever computes these commits later, with more
//! time or memory too, goes by it. So a part of the log that is computed at once must not go beyond a commit after which something
//! changes ([`Timeline::next_end`]).

use chalk_event::CommitSeq;
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// A row that a function was given up on, for a reason that another run might not find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Who the function is: `name@hash`.
    pub function: String,
    /// A hash of the row's arguments.
    pub arguments: u128,
    /// Why.
    pub reason: String,
    /// It counts for commits after this one.
    pub after: CommitSeq,
}

/// Where a pipeline's functions are called. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Timeline(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The last commit that is computed.
    position: AtomicU64,
    /// Commits after which something changes.
    ends: Mutex<BTreeSet<CommitSeq>>,
    /// By function and arguments: since when, and why.
    verdicts: RwLock<HashMap<String, Given>>,
    /// Verdicts that nobody has recorded.
    found: Mutex<Vec<Verdict>>,
}

/// Since when rows were given up on, and why, by their arguments.
type Given = HashMap<u128, (CommitSeq, Arc<str>)>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Timeline {
    /// What is called from here on is of commits after `position`.
    pub fn stand_at(&self, position: CommitSeq) {
        self.0.position.store(position.0, Ordering::Release);
    }

    /// The last commit that is computed.
    pub(crate) fn position(&self) -> CommitSeq {
        CommitSeq(self.0.position.load(Ordering::Acquire))
    }

    /// The first commit after `position` that a part of the log must end with.
    #[must_use]
    pub fn next_end(&self, position: CommitSeq) -> Option<CommitSeq> {
        lock(&self.0.ends).range((Bound::Excluded(position), Bound::Unbounded)).next().copied()
    }

    /// Something changes after this commit.
    pub(crate) fn changes_after(&self, commit: CommitSeq) {
        lock(&self.0.ends).insert(commit);
    }

    /// Verdicts of earlier runs. Of several about a row the first counts.
    pub fn know(&self, verdicts: impl IntoIterator<Item = Verdict>) {
        // A reason is that of many rows.
        let mut reasons: HashMap<String, Arc<str>> = HashMap::new();
        let mut known = self.0.verdicts.write().unwrap_or_else(PoisonError::into_inner);
        for Verdict { function, arguments, reason, after } in verdicts {
            let reason = Arc::clone(reasons.entry(reason).or_insert_with_key(|reason| reason.as_str().into()));
            known.entry(function).or_default().entry(arguments).or_insert((after, reason));
            self.changes_after(after);
        }
    }

    /// Takes the verdicts that were found since this was last called: they are to be recorded before they are seen to count.
    #[must_use]
    pub fn take_found(&self) -> Vec<Verdict> {
        std::mem::take(&mut lock(&self.0.found))
    }

    /// Whether there are verdicts about a function.
    pub(crate) fn has_verdicts(&self, function: &str) -> bool {
        self.0.verdicts.read().unwrap_or_else(PoisonError::into_inner).contains_key(function)
    }

    /// Why one of these rows was given up on, as far as that counts here.
    pub(crate) fn verdict(&self, function: &str, arguments: &[u128]) -> Option<String> {
        let known = self.0.verdicts.read().unwrap_or_else(PoisonError::into_inner);
        let (known, position) = (known.get(function)?, self.position());
        let counts = |hash: &u128| known.get(hash).filter(|(after, _)| *after <= position);
        arguments.iter().find_map(counts).map(|(_, reason)| reason.to_string())
    }

    /// Gives a row up, from here on.
    pub(crate) fn give_up(&self, function: &str, arguments: u128, reason: &str) {
        let after = self.position();
        let verdict = Verdict { function: function.to_owned(), arguments, reason: reason.to_owned(), after };
        self.know([verdict.clone()]);
        lock(&self.0.found).push(verdict);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_counts_from_its_epoch_on() {
        let timeline = Timeline::default();
        timeline.stand_at(CommitSeq(7));
        timeline.give_up("f@1", 5, "too long");
        assert_eq!(timeline.verdict("f@1", &[4, 5]).as_deref(), Some("too long"));
        assert_eq!(timeline.verdict("f@2", &[5]), None, "it is another function");
        let found = timeline.take_found();
        assert_eq!((found.len(), found[0].after, timeline.take_found().len()), (1, CommitSeq(7), 0));

        let later = Timeline::default();
        later.know(found);
        assert!(later.has_verdicts("f@1") && later.take_found().is_empty());
        assert_eq!(later.verdict("f@1", &[5]), None, "commits up to 7 were computed without it");
        assert_eq!((later.next_end(CommitSeq(0)), later.next_end(CommitSeq(7))), (Some(CommitSeq(7)), None));
        later.stand_at(CommitSeq(7));
        assert_eq!(later.verdict("f@1", &[5]).as_deref(), Some("too long"));
    }
}
