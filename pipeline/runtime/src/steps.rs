//! Where an epoch is cut into steps.
//!
//! A row is judged against the watermark as it stood before its own commit. All rows of a step are judged against the
//! watermark before the step, which gives the same answer as long as no window's end lies between the two. So an
//! epoch is cut between two commits exactly where the watermark, less the lateness, enters another window.
//!
//! ```text
//! windows of 10, lateness 0      commit      1    2    3    4
//!                                watermark   8    9   12   13    before it
//!                                steps      [ 1    2 ][ 3    4 ]
//! ```

use crate::source::TableRows;
use chalk_event::Watermark;
use chalk_graph::{Graph, NodeId, NodeKind, WindowKind};
use std::collections::BTreeMap;
use std::ops::Range;

/// A node that closes windows by the watermark of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closer {
    pub(crate) source: NodeId,
    pub(crate) kind: WindowKind,
    pub(crate) lateness: i64,
}

/// All nodes of a graph that close windows, with each of their sources.
pub(crate) fn closers(graph: &Graph) -> Vec<Closer> {
    let mut closers = Vec::new();
    for (id, node) in graph.iter() {
        let (kind, lateness) = match &node.kind {
            NodeKind::Aggregate(aggregate) => match &aggregate.close {
                Some(close) => (close.kind, close.lateness),
                None => continue,
            },
            NodeKind::Session(session) => match &session.close {
                Some(close) => (WindowKind::Session { gap: session.gap }, close.lateness),
                None => continue,
            },
            _ => continue,
        };
        closers.extend(graph.sources_of(id).into_iter().map(|source| Closer { source, kind, lateness }));
    }
    closers
}

/// Cuts a run of `commits` commits into steps.
pub(crate) fn cut(commits: usize, tables: &BTreeMap<NodeId, TableRows>, closers: &[Closer]) -> Vec<Range<usize>> {
    let window = |closer: &Closer, commit: usize| {
        tables.get(&closer.source).and_then(|rows| closed(rows.watermark_before(commit), closer))
    };
    let mut steps = Vec::new();
    let mut start = 0;
    for commit in 1..commits {
        if closers.iter().any(|closer| window(closer, commit - 1) != window(closer, commit)) {
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
fn closed(watermark: Watermark, closer: &Closer) -> Option<i64> {
    let time = watermark.time()?.0.saturating_sub(closer.lateness);
    Some(match closer.kind {
        WindowKind::Tumble { width } => time.div_euclid(width),
        WindowKind::Hop { slide, width } => time.saturating_sub(width).div_euclid(slide),
        WindowKind::Session { .. } => time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::RecordBatch;
    use arrow::datatypes::Schema;
    use chalk_event::EventTime;
    use std::sync::Arc;

    fn check(kind: WindowKind, watermarks: &[i64], lateness: i64, ends: &[usize]) {
        let commits = watermarks.iter().map(|&mark| (0..0, Watermark::at(EventTime(mark)))).collect();
        let rows = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let table = TableRows { rows, commits, after: Watermark::default() };
        let closer = Closer { source: NodeId(0), kind, lateness };
        let steps = cut(watermarks.len(), &BTreeMap::from([(NodeId(0), table)]), &[closer]);
        assert_eq!(steps.iter().map(|step| step.end).collect::<Vec<_>>(), ends);
        assert!(steps.windows(2).all(|pair| pair[0].end == pair[1].start));
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
