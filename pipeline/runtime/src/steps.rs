//! Where an epoch is cut into steps.
//!
//! A row is judged against the watermark as it stood before its own commit. All rows of a step are judged against the
//! watermark before the step, which gives the same answer as long as no window's end lies between the two. So an
//! epoch is cut between two commits where the watermark, less the lateness, enters another window.
//! And it is cut before a change of what is looked up, when a row of an earlier commit asks.
//!
//! ```text
//! windows of 10, lateness 0      commit      1    2    3    4
//!                                watermark   8    9   12   13    before it
//!                                steps      [ 1    2 ][ 3    4 ]
//! ```

use crate::clocks::Timeline;
use crate::source::TableRows;
use chalk_event::{IngestTime, Watermark};
use chalk_graph::{Aggregate, Forget, Graph, Join, JoinBound, JoinMode, Node, NodeId, NodeKind, WindowKind};
use chalk_operators::ttl_tick;
use std::collections::BTreeMap;
use std::ops::Range;

/// A node whose rows must not all be in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Closer {
    /// It closes windows by its watermark.
    Windows { node: NodeId, kind: WindowKind, lateness: i64 },
    /// It looks up what there is at a row's commit: no later change may come before the row. The sources of both sides.
    Lookup { left: Vec<NodeId>, right: Vec<NodeId> },
    /// It forgets what is old: the rows of a step are of one tick of so many nanoseconds.
    Ticks { tick: i64 },
}

/// All nodes of a graph that close windows, look something up or forget.
pub(crate) fn closers(graph: &Graph) -> Vec<Closer> {
    let of = |(id, node): (NodeId, &Node)| match (&node.kind, node.inputs.as_slice()) {
        (NodeKind::Aggregate(Aggregate { ttl: Some(kept), .. }) | NodeKind::Forget(Forget { kept, .. }), _) => {
            Some(Closer::Ticks { tick: ttl_tick(*kept) })
        }
        (NodeKind::Join(Join { mode: JoinMode::Lookup, .. }), &[left, right]) => {
            Some(Closer::Lookup { left: graph.all_sources_of(left), right: graph.all_sources_of(right) })
        }
        (kind, _) => closes(kind).map(|(kind, lateness)| Closer::Windows { node: id, kind, lateness }),
    };
    graph.iter().filter_map(of).collect()
}

/// What a node closes as event time goes on, and how long after its end, if it does.
pub(crate) fn closes(kind: &NodeKind) -> Option<(WindowKind, i64)> {
    match kind {
        NodeKind::Aggregate(aggregate) => aggregate.close.as_ref().map(|close| (close.kind, close.lateness)),
        NodeKind::Session(session) => {
            session.close.as_ref().map(|close| (WindowKind::Session { gap: session.gap }, close.lateness))
        }
        NodeKind::Join(Join { mode: JoinMode::Closing(close), .. }) => Some(match close.bound {
            JoinBound::Window { kind, .. } => (kind, close.lateness),
            // Any time can be a row's last.
            JoinBound::Interval { .. } => (WindowKind::Session { gap: 0 }, close.lateness),
        }),
        _ => None,
    }
}

/// Cuts a run of commits, which were made at these times, into steps.
pub(crate) fn cut(
    made: &[IngestTime],
    tables: &BTreeMap<NodeId, TableRows>,
    timeline: &Timeline,
    closers: &[Closer],
) -> Vec<Range<usize>> {
    let commits = made.len();
    let has_rows = |sources: &[NodeId], commits: Range<usize>| {
        sources.iter().any(|source| tables.get(source).is_some_and(|table| table.has_rows(&commits)))
    };
    let mut steps = Vec::new();
    let mut start = 0;
    for commit in 1..commits {
        let cuts = |closer: &Closer| match closer {
            Closer::Windows { node, kind, lateness } => {
                let closed = |commit| closed(timeline.before(*node, commit), *kind, *lateness);
                closed(commit - 1) != closed(commit)
            }
            Closer::Lookup { left, right } => has_rows(right, commit..commit + 1) && has_rows(left, start..commit),
            Closer::Ticks { tick } => made[commit - 1].0.div_euclid(*tick) != made[commit].0.div_euclid(*tick),
        };
        if closers.iter().any(cuts) {
            steps.push(start..commit);
            start = commit;
        }
    }
    if start < commits {
        steps.push(start..commits);
    }
    steps
}

/// A number that changes with each window that a watermark closes. A session can end at any time.
fn closed(watermark: Watermark, kind: WindowKind, lateness: i64) -> Option<i64> {
    let time = watermark.time()?.0.saturating_sub(lateness);
    Some(match kind {
        WindowKind::Tumble { width } => time.div_euclid(width),
        WindowKind::Hop { slide, width } => time.saturating_sub(width).div_euclid(slide),
        WindowKind::Session { .. } => time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceTime;
    use arrow::array::RecordBatch;
    use arrow::datatypes::{DataType, Field, Schema};
    use chalk_event::EventTime;
    use std::sync::Arc;

    fn check(kind: WindowKind, watermarks: &[i64], lateness: i64, ends: &[usize]) {
        let timeline = Timeline::of(NodeId(0), watermarks.iter().map(|&mark| Watermark::at(EventTime(mark))).collect());
        let closer = Closer::Windows { node: NodeId(0), kind, lateness };
        let made = vec![IngestTime(0); watermarks.len()];
        let steps = cut(&made, &BTreeMap::new(), &timeline, &[closer]);
        assert_eq!(steps.iter().map(|step| step.end).collect::<Vec<_>>(), ends);
        assert!(steps.windows(2).all(|pair| pair[0].end == pair[1].start));
    }

    #[test]
    fn what_is_old_is_forgotten_between_steps() {
        let made: Vec<IngestTime> = [1, 9, 10, 35, 36].map(IngestTime).to_vec();
        let steps = cut(&made, &BTreeMap::new(), &Timeline::default(), &[Closer::Ticks { tick: 10 }]);
        assert_eq!(steps, [0..2, 2..3, 3..5]);
    }

    #[test]
    fn what_is_looked_up_does_not_change_before_the_row_that_asks() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let table = |rows: &[usize]| {
            let mut end = 0;
            let mut commit = |rows: &usize| {
                let start = end;
                end += rows;
                (start..end, SourceTime::default())
            };
            let commits = rows.iter().map(&mut commit).collect();
            TableRows { rows: RecordBatch::new_empty(Arc::clone(&schema)), weights: None, commits }
        };
        let check = |asks: &[usize], changes: &[usize], ends: &[usize]| {
            let tables = BTreeMap::from([(NodeId(0), table(asks)), (NodeId(1), table(changes))]);
            let lookup = Closer::Lookup { left: vec![NodeId(0)], right: vec![NodeId(1)] };
            let steps = cut(&vec![IngestTime(0); asks.len()], &tables, &Timeline::default(), &[lookup]);
            assert_eq!(steps.iter().map(|step| step.end).collect::<Vec<_>>(), ends);
        };
        check(&[1, 0, 1, 0, 0], &[0, 1, 1, 0, 1], &[1, 4, 5]);
        check(&[0, 1, 1, 1], &[1, 1, 0, 0], &[4]);
        check(&[1, 1, 1], &[1, 1, 1], &[1, 2, 3]);
    }

    #[test]
    fn steps_end_where_a_window_closes() {
        let tumble = WindowKind::Tumble { width: 10 };
        check(tumble, &[8, 9, 12, 13], 0, &[2, 4]);
        check(tumble, &[8, 9, 12, 13], 3, &[3, 4]);
        check(tumble, &[1, 2, 3], 0, &[3]);
        check(tumble, &[], 0, &[]);
        // Windows end at 3, 13, 23, …
        let hop = WindowKind::Hop { slide: 10, width: 3 };
        check(hop, &[1, 2, 3, 12, 13], 0, &[2, 4, 5]);
        let session = WindowKind::Session { gap: 10 };
        check(session, &[1, 1, 2, 3], 0, &[2, 3, 4]);
    }
}
