//! What a graph's nodes do with time and memory, in words: what `chalk explain` shows.

use crate::explain::seconds;
use crate::node::{
    Aggregate, AggregateFunction, CloseJoin, Graph, Join, JoinBound, JoinMode, Node, NodeId, NodeKind, SinkTarget,
};
use std::fmt;

/// A graph with the time, state and shards of each node: see [`Graph::explain`].
#[derive(Clone, Copy, Debug)]
pub struct Explained<'a>(&'a Graph);

impl Graph {
    /// The graph as text: under each node whether it retracts rows, whose watermark it goes by, what it keeps until when, and how its
    /// work is split.
    ///
    /// ```text
    ///   2  aggregate count(*) by columns [0, 1], each pane once, 0 s after its end  ← 1
    ///        append-only; watermark of orders
    ///        keeps a pane of each (window, shop), until the watermark passes the window's end
    ///        sharded by (window, shop)
    /// ```
    #[must_use]
    pub fn explain(&self) -> Explained<'_> {
        Explained(self)
    }
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, node) in self.0.iter() {
            writeln!(f, "{}", self.0.line(id))?;
            let changes = if node.append_only { "append-only" } else { "updating: it retracts rows" };
            writeln!(f, "       {changes}; {}", watermark(self.0, id))?;
            for kept in kept(self.0, node) {
                writeln!(f, "       keeps {kept}")?;
            }
            if let Some(sharded) = sharded(self.0, node) {
                writeln!(f, "       {sharded}")?;
            }
        }
        for stage in &self.0.stages {
            writeln!(f, "\n{stage}")?;
            write!(f, "{}", stage.input.explain())?;
        }
        Ok(())
    }
}

/// By whose promise a node knows how far event time has come.
fn watermark(graph: &Graph, id: NodeId) -> String {
    let sources = graph.sources_of(id);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for source in sources {
        if let NodeKind::Source(source) = &graph.node(source).kind {
            let tables = if source.has_watermark() { &mut with } else { &mut without };
            tables.push((source.table.as_str(), source.idle_after));
        }
    }
    let or_idle = |(table, idle_after): &(&str, Option<i64>)| match idle_after {
        None => (*table).to_owned(),
        Some(idle_after) => format!("{table} (idle after {} s)", seconds(*idle_after)),
    };
    match (with.as_slice(), without.as_slice()) {
        ([], []) => "no rows come in".to_owned(),
        (_, [(none, _), ..]) => format!("no watermark: {none} has none"),
        ([(one, _)], []) => format!("watermark of {one}"),
        (several, []) => {
            format!("the least watermark of {}", several.iter().map(or_idle).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Names of an input's columns.
fn names(graph: &Graph, node: &Node, port: usize, columns: &[usize]) -> String {
    let schema = node.inputs.get(port).map(|&input| &graph.node(input).schema);
    let name =
        |&column: &usize| schema.map_or_else(|| column.to_string(), |schema| schema.field(column).name().clone());
    columns.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// What a node keeps, and until when.
fn kept(graph: &Graph, node: &Node) -> Vec<String> {
    let until_retracted = |port: usize| {
        let append_only = node.inputs.get(port).is_some_and(|&input| graph.node(input).append_only);
        if append_only { "for good: nothing retracts it" } else { "until it is retracted" }
    };
    match &node.kind {
        NodeKind::Source(_) | NodeKind::Project(_) | NodeKind::Filter(_) | NodeKind::Unnest(_) | NodeKind::Union => {
            Vec::new()
        }
        NodeKind::Session(session) => {
            let of = if session.keys.is_empty() {
                "each row".to_owned()
            } else {
                format!("each row of each ({})", names(graph, node, 0, &session.keys))
            };
            vec![match &session.close {
                Some(_) => format!("{of}, until the watermark passes its session's end; later rows go to late_rows"),
                None => format!("{of}, {}", until_retracted(0)),
            }]
        }
        NodeKind::Aggregate(aggregate) => kept_by_aggregate(graph, node, aggregate),
        NodeKind::Join(Join { mode: JoinMode::Closing(close), .. }) => kept_by_closing_join(close),
        NodeKind::Join(Join { mode: JoinMode::Lookup, .. }) => vec![format!("each right row {}", until_retracted(1))],
        NodeKind::Join(_) => {
            vec![format!("each left row {}", until_retracted(0)), format!("each right row {}", until_retracted(1))]
        }
        NodeKind::Forget(forget) => {
            let kept = seconds(forget.kept);
            vec![format!("each row, for {kept} s of commits after it came; then it is retracted")]
        }
        NodeKind::Rank(crate::Rank { whole: true, .. }) | NodeKind::Over(crate::Over { whole: true, .. }) => Vec::new(),
        NodeKind::Rank(crate::Rank { most: Some(most), functions, .. }) => {
            let function = functions.get(most.function).map(ToString::to_string).unwrap_or_default();
            vec![format!("the rows of each partition whose {function} is at most {}", most.rank)]
        }
        NodeKind::Rank(_) | NodeKind::Over(_) => vec![format!("each row of each partition, {}", until_retracted(0))],
        NodeKind::Sink(sink) => match &sink.target {
            SinkTarget::View(_) => vec![format!("each row, {}", until_retracted(0))],
            _ => Vec::new(),
        },
    }
}

fn kept_by_closing_join(close: &CloseJoin) -> Vec<String> {
    let after = if close.lateness > 0 { format!(" and {} s", seconds(close.lateness)) } else { String::new() };
    match close.bound {
        JoinBound::Window { .. } => {
            vec![format!("each row, until the watermark passes its window's end{after}; later rows go to late_rows")]
        }
        JoinBound::Interval { least, most, .. } => vec![
            format!("each left row until the watermark passes its time{}{after}", plus(-least)),
            format!(
                "each right row until the watermark passes its time{}{after}; rows behind the watermark go to late_rows",
                plus(most)
            ),
        ],
    }
}

fn plus(nanos: i64) -> String {
    let sign = if nanos < 0 { '-' } else { '+' };
    format!(" {sign} {} s", seconds(nanos.abs()))
}

fn kept_by_aggregate(graph: &Graph, node: &Node, aggregate: &Aggregate) -> Vec<String> {
    let keys = names(graph, node, 0, &aggregate.keys);
    let what =
        |of: &str| if aggregate.keys.is_empty() { format!("one {of}") } else { format!("a {of} of each ({keys})") };
    let first = match &aggregate.close {
        Some(close) => {
            let lateness = close.lateness / 1_000_000_000;
            let after = if lateness > 0 { format!(" and {lateness} s") } else { String::new() };
            format!("{}, until the watermark passes the window's end{after}; later rows go to late_rows", what("pane"))
        }
        None if aggregate.keys.is_empty() => "one group, for good".to_owned(),
        None if aggregate.ttl.is_some() => {
            let kept = aggregate.ttl.map_or(0.0, seconds);
            format!("{}, for {kept} s of commits after its last row; then its result is retracted", what("group"))
        }
        None if aggregate.append_only_input => format!("{}, for good: nothing retracts its rows", what("group")),
        None => format!("{}, until its last row is retracted", what("group")),
    };
    let mut kept = vec![first];
    for call in &aggregate.calls {
        let values = match &call.function {
            AggregateFunction::CountDistinct => "distinct value",
            AggregateFunction::Min | AggregateFunction::Max if !aggregate.append_only_input => "distinct value",
            AggregateFunction::Recompute(_) => "value",
            _ => continue,
        };
        kept.push(format!("every {values} of {}, as long as its group", call.display));
    }
    kept
}

/// How a node's work is split, if it has state.
fn sharded(graph: &Graph, node: &Node) -> Option<String> {
    let by = |columns: &[usize], port: usize| match columns {
        [] => "one shard: there is one key".to_owned(),
        columns => format!("sharded by ({})", names(graph, node, port, columns)),
    };
    match &node.kind {
        NodeKind::Session(session) => Some(by(&session.keys, 0)),
        NodeKind::Aggregate(aggregate) => Some(by(&aggregate.keys, 0)),
        NodeKind::Join(join) => Some(by(&join.left_keys, 0)),
        NodeKind::Forget(_) => Some("sharded by all columns".to_owned()),
        NodeKind::Rank(rank) => Some(by(&rank.partition, 0)),
        NodeKind::Over(over) => Some(by(&over.partition, 0)),
        _ => None,
    }
}
