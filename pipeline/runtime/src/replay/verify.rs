//! A replay beside the journal: whether views come to what they were when their epochs were committed.
//!
//! The log is computed in large parts, and the views are compared once in each: at the last epoch in it that the journal has. What
//! differs at the end differs since some epoch in between, and a second replay, which compares at each epoch there, finds it.
//!
//! ```text
//! journal      1  2  3  4  5  6  7  8  9      an epoch each, with the hashes of its views
//! first        =        =        ≠     ≠      compared at the end of each part
//! second                =  =  ≠               since epoch 6
//! ```

use super::{ReplayOptions, Run};
use crate::error::RuntimeError;
use crate::journal::{Records, record_of};
use chalk_catalog::{CommittedEpoch, ViewRecord};
use chalk_event::{CommitSeq, Epoch};
use chalk_graph::Graph;
use chalk_log::EventLog;
use chalk_udf_host::Timeline;
use chalk_view::ViewRows;
use std::collections::{BTreeMap, BTreeSet};

/// What a view came to, by the replay and by the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The view.
    pub view: String,
    /// By the replay; `None` when the graph has no such view.
    pub replayed: Option<ViewRecord>,
    /// By the journal; `None` when it had no such view.
    pub journalled: Option<ViewRecord>,
    /// When the two differ: the first epoch since which they do.
    pub differs_since: Option<Epoch>,
}

/// What a verification came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The epoch whose views were compared: the last one that the journal has up to the commit that was asked for.
    pub epoch: Epoch,
    /// Its last commit.
    pub upto: CommitSeq,
    /// The views, by name.
    pub views: Vec<Comparison>,
    /// Rows that sources gave.
    pub rows_in: u64,
}

impl Verified {
    /// Whether some view was compared and none differs.
    #[must_use]
    pub fn holds(&self) -> bool {
        let both = |view: &&Comparison| view.replayed.is_some() && view.journalled.is_some();
        self.views.iter().any(|view| both(&view)) && self.views.iter().all(|view| view.differs_since.is_none())
    }
}

/// Replays a log and compares views with what a pipeline's journal says they were. `None` when it says nothing up to
/// `options.until`.
///
/// # Errors
/// As for [`super::replay`].
pub fn verify(
    graph: &Graph,
    log: &dyn EventLog,
    pipeline: &str,
    timeline: &Timeline,
    options: ReplayOptions,
) -> Result<Option<Verified>, RuntimeError> {
    let (rows_in, compared) = Compared::run(graph, log, pipeline, timeline, options, None)?;
    let Some(last) = &compared.last else { return Ok(None) };
    let since = match compared.doubt() {
        None => BTreeMap::new(),
        Some((after, until)) => {
            let options = ReplayOptions { until, ..options };
            Compared::run(graph, log, pipeline, timeline, options, Some(after))?.1.since
        }
    };
    let names: BTreeSet<&String> = last.journalled.keys().chain(last.replayed.keys()).collect();
    let view = |name: &String| Comparison {
        view: name.clone(),
        replayed: last.replayed.get(name).cloned(),
        journalled: last.journalled.get(name).cloned(),
        differs_since: compared.since.get(name).map(|found| since.get(name).unwrap_or(found).0),
    };
    Ok(Some(Verified { epoch: last.epoch, upto: last.upto, views: names.into_iter().map(view).collect(), rows_in }))
}

/// The views at an epoch, twice.
struct Last {
    epoch: Epoch,
    upto: CommitSeq,
    replayed: BTreeMap<String, ViewRecord>,
    journalled: BTreeMap<String, ViewRecord>,
}

/// What comparing has shown so far.
#[derive(Default)]
struct Compared {
    last: Option<Last>,
    /// The last commit at which each view was equal.
    equal: BTreeMap<String, CommitSeq>,
    /// Views that differ: the first epoch since which they were seen to, and its last commit.
    since: BTreeMap<String, (Epoch, CommitSeq)>,
}

impl Compared {
    /// Compares once in each part; from `each_after` on at each epoch, and only there.
    fn run(
        graph: &Graph,
        log: &dyn EventLog,
        pipeline: &str,
        timeline: &Timeline,
        options: ReplayOptions,
        each_after: Option<CommitSeq>,
    ) -> Result<(u64, Self), RuntimeError> {
        let mut run = Run::new(graph, log, timeline, options)?;
        let (mut records, mut compared) = (Records::new(log, pipeline)?, Self::default());
        let (mut commits, mut upto) = (Vec::new(), CommitSeq(0));
        loop {
            while let Some(next) = records.peek()?.filter(|next| *next <= upto) {
                let end = if each_after.is_some() { next } else { upto };
                let Some(epoch) = records.take_known(end)? else { continue };
                if each_after.is_some_and(|after| epoch.upto < after) {
                    continue;
                }
                let rest =
                    commits.split_off(commits.partition_point(|commit: &chalk_log::Commit| commit.seq <= epoch.upto));
                if epoch.upto > run.position {
                    run.compute(&commits, epoch.upto)?;
                }
                commits = rest;
                compared.at(epoch, &run.views);
            }
            if upto > run.position {
                run.compute(&commits, upto)?;
            }
            let Some(more) = run.read(options.until)? else { return Ok((run.rows_in, compared)) };
            (commits, upto) = more;
        }
    }

    fn at(&mut self, journalled: CommittedEpoch, views: &BTreeMap<String, ViewRows>) {
        let CommittedEpoch { epoch, upto, views: journalled } = journalled;
        let journalled = journalled.unwrap_or_default();
        let replayed: BTreeMap<String, ViewRecord> =
            views.iter().map(|(name, view)| (name.clone(), record_of(view))).collect();
        // A view that only one of the two has cannot differ.
        self.since.retain(|name, _| journalled.contains_key(name));
        for (name, view) in &replayed {
            match journalled.get(name) {
                Some(known) if !known.same_rows(view) => drop(self.since.entry(name.clone()).or_insert((epoch, upto))),
                _ => {
                    self.since.remove(name);
                    self.equal.insert(name.clone(), upto);
                }
            }
        }
        self.last = Some(Last { epoch, upto, replayed, journalled });
    }

    /// The commits between which it has to be found since when views differ; `None` when none does.
    fn doubt(&self) -> Option<(CommitSeq, CommitSeq)> {
        let until = self.since.values().map(|(_, upto)| *upto).max()?;
        let equal = self.since.keys().map(|name| self.equal.get(name).copied().unwrap_or_default());
        Some((equal.min().unwrap_or_default(), until))
    }
}
