//! How far event time has come for each node that acts by it.
//!
//! A node over several tables goes by the least of their watermarks; a table that is idle is left out. Where all of a node's tables are idle it
//! goes by the nodes behind it: what it holds would be too late for them.
//!
//! ```text
//! orders   ─▶ windows ─┐
//!                      ├─▶ join      payments are idle: the join goes by the orders alone,
//! payments ─▶ windows ─┘             and so do the windows of payments
//! ```
//!
//! All of it follows from commits and when they were made, and is the same in each replay.

use crate::source::{SourceTable, SourceTime, TableRows};
use crate::steps::closes;
use chalk_event::{EventTime, IngestTime, Watermark};
use chalk_graph::{Graph, NodeId, NodeKind};
use chalk_operators::StepTime;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The event time of a graph's nodes.
pub(crate) struct Clocks(Vec<Clock>);

/// The event time of a node.
struct Clock {
    // configuration
    node: NodeId,
    /// Whose watermarks it goes by, and after how many nanoseconds without rows each is idle.
    sources: Vec<(NodeId, Option<i64>)>,
    /// The clocks of nodes that get what it gives.
    behind: Vec<usize>,
    /// Its sources, and those of the clocks behind it: their commits alone let time pass, so that no other query has a say in that.
    listens: Vec<NodeId>,
    // state
    time: ClockTime,
}

/// How far a node's event time has come, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClockTime {
    watermark: Watermark,
    /// When the first and the last commit that it listens to were made.
    heard: Option<(IngestTime, IngestTime)>,
}

impl ClockTime {
    /// Whether a source has had no rows for longer than it may.
    fn is_idle(&self, rows_at: Option<IngestTime>, idle_after: Option<i64>) -> bool {
        let (Some((first, last)), Some(idle_after)) = (self.heard, idle_after) else { return false };
        last.0.saturating_sub(rows_at.unwrap_or(first).0) > idle_after
    }
}

/// The watermark of each node that acts by one, before each commit of a run and after the last.
#[derive(Default)]
pub(crate) struct Timeline(BTreeMap<NodeId, Vec<Watermark>>);

impl Timeline {
    /// As it stood before a commit of the run, or after its last.
    pub(crate) fn before(&self, node: NodeId, commit: usize) -> Watermark {
        self.0.get(&node).and_then(|marks| marks.get(commit)).copied().unwrap_or_default()
    }

    /// The nodes' times around some commits.
    pub(crate) fn around(&self, commits: &Range<usize>) -> BTreeMap<NodeId, StepTime> {
        let around = |&node: &NodeId| {
            let (before, after) = (self.before(node, commits.start), self.before(node, commits.end));
            (node, StepTime { before, after, committed: None })
        };
        self.0.keys().map(around).collect()
    }

    #[cfg(test)]
    pub(crate) fn of(node: NodeId, marks: Vec<Watermark>) -> Self {
        Self(BTreeMap::from([(node, marks)]))
    }
}

/// The nodes that act by event time, in order.
pub(crate) fn timed_nodes(graph: &Graph) -> impl Iterator<Item = NodeId> {
    graph.iter().filter(|(_, node)| closes(&node.kind).is_some()).map(|(id, _)| id)
}

impl Clocks {
    pub(crate) fn new(graph: &Graph) -> Self {
        let nodes: Vec<NodeId> = timed_nodes(graph).collect();
        let before: Vec<BTreeSet<NodeId>> = nodes.iter().map(|&node| before(graph, node)).collect();
        let idle_after = |source| match &graph.node(source).kind {
            NodeKind::Source(source) => source.idle_after,
            _ => None,
        };
        let clock = |&node: &NodeId| {
            let behind: Vec<usize> = (0..nodes.len()).filter(|&other| before[other].contains(&node)).collect();
            // What is behind has all sources of a node among its own.
            let last = behind.iter().map(|&behind| nodes[behind]).chain([node]);
            let listens: BTreeSet<NodeId> = last.flat_map(|node| graph.sources_of(node)).collect();
            let sources = graph.sources_of(node).into_iter().map(|source| (source, idle_after(source))).collect();
            Clock { node, sources, behind, listens: listens.into_iter().collect(), time: ClockTime::default() }
        };
        Self(nodes.iter().map(clock).collect())
    }

    /// Moves on over a run of commits, made at these times, which the tables have read.
    pub(crate) fn read(&mut self, made: &[IngestTime], tables: &BTreeMap<NodeId, TableRows>) -> Timeline {
        let mut marks: Vec<Vec<Watermark>> = self.0.iter().map(|clock| vec![clock.time.watermark]).collect();
        for (commit, &made) in made.iter().enumerate() {
            for clock in &mut self.0 {
                let has_rows = |source| tables.get(source).is_some_and(|table| table.has_rows(&(commit..commit + 1)));
                if clock.listens.iter().any(has_rows) {
                    clock.time.heard = Some((clock.time.heard.map_or(made, |(first, _)| first), made));
                }
            }
            self.advance(&|source| {
                tables.get(&source).map_or_else(SourceTime::default, |table| table.time_after(commit))
            });
            for (marks, clock) in marks.iter_mut().zip(&self.0) {
                marks.push(clock.time.watermark);
            }
        }
        Timeline(self.0.iter().map(|clock| clock.node).zip(marks).collect())
    }

    /// Moves on to where sources are that have ended; gives the times around that.
    pub(crate) fn end(&mut self, sources: &[SourceTable]) -> BTreeMap<NodeId, StepTime> {
        let before: Vec<Watermark> = self.0.iter().map(|clock| clock.time.watermark).collect();
        let time = |id| sources.iter().find(|source| source.node == id).map(SourceTable::time).unwrap_or_default();
        self.advance(&time);
        let around = |(clock, before): (&Clock, Watermark)| {
            (clock.node, StepTime { before, after: clock.time.watermark, committed: None })
        };
        self.0.iter().zip(before).map(around).collect()
    }

    fn advance(&mut self, of: &dyn Fn(NodeId) -> SourceTime) {
        // Those behind come first.
        for index in (0..self.0.len()).rev() {
            let Clock { sources, behind, time, .. } = &self.0[index];
            let promised = |&(source, idle_after): &(NodeId, Option<i64>)| {
                let SourceTime { watermark, rows_at } = of(source);
                let has_ended = watermark == Watermark::at(EventTime(i64::MAX));
                (has_ended || !time.is_idle(rows_at, idle_after)).then_some(watermark)
            };
            let least = sources.iter().filter_map(promised).reduce(Watermark::and);
            let furthest = || behind.iter().map(|&behind| self.0[behind].time.watermark).max();
            let reached = least.or_else(furthest).unwrap_or_default();
            let watermark = &mut self.0[index].time.watermark;
            *watermark = reached.max(*watermark);
        }
    }

    /// The sources that nodes over several do not wait for at present.
    pub(crate) fn idle(&self, sources: &[SourceTable]) -> BTreeSet<NodeId> {
        let rows_at = |id| sources.iter().find(|source| source.node == id)?.time().rows_at;
        let idle = |clock: &Clock| {
            let time = clock.time;
            let idle = clock.sources.iter().filter(|(id, idle_after)| time.is_idle(rows_at(*id), *idle_after));
            idle.map(|(id, _)| *id).collect::<Vec<_>>()
        };
        self.0.iter().filter(|clock| clock.listens.len() > 1).flat_map(idle).collect()
    }

    /// By node, for a checkpoint.
    pub(crate) fn save(&self) -> BTreeMap<usize, ClockTime> {
        self.0.iter().map(|clock| (clock.node.0, clock.time)).collect()
    }

    /// Goes on from what an earlier run saved.
    pub(crate) fn restore(&mut self, saved: &BTreeMap<usize, ClockTime>) {
        for clock in &mut self.0 {
            clock.time = saved.get(&clock.node.0).copied().unwrap_or_default();
        }
    }
}

/// All nodes whose rows a node gets and goes by, not what it looks up.
fn before(graph: &Graph, node: NodeId) -> BTreeSet<NodeId> {
    let (mut before, mut next) = (BTreeSet::new(), vec![node]);
    while let Some(node) = next.pop() {
        for &input in graph.timely_inputs(node) {
            if before.insert(input) {
                next.push(input);
            }
        }
    }
    before
}
