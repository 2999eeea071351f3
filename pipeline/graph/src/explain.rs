//! A graph as text.

use crate::node::{Graph, Node, NodeKind, SinkTarget};
use std::fmt;

impl fmt::Display for Graph {
    /// One line per node: number, what it does, inputs, and whether it is append-only or updating.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, node) in self.iter() {
            write!(f, "{:>3}  {}", id.0, Line(node))?;
            if !node.inputs.is_empty() {
                let inputs: Vec<String> = node.inputs.iter().map(|input| input.0.to_string()).collect();
                write!(f, "  ← {}", inputs.join(", "))?;
            }
            let state = if node.append_only { "append-only" } else { "updating" };
            writeln!(f, "  [{state}]")?;
        }
        Ok(())
    }
}

struct Line<'a>(&'a Node);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |columns: &[usize]| columns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match &self.0.kind {
            NodeKind::Source(source) => {
                write!(f, "source {} (topic {})", source.table, source.topic)?;
                match &source.watermark {
                    Some(watermark) => write!(f, " watermark {watermark}"),
                    None => Ok(()),
                }
            }
            NodeKind::Project(expressions) => {
                let shown: Vec<String> = expressions.iter().map(ToString::to_string).collect();
                write!(f, "project {}", shown.join(", "))
            }
            NodeKind::Filter(predicate) => write!(f, "filter {predicate}"),
            NodeKind::Unnest(unnest) => write!(f, "unnest column {}", unnest.list),
            NodeKind::Aggregate(aggregate) => {
                let calls: Vec<&str> = aggregate.calls.iter().map(|call| call.display.as_str()).collect();
                write!(f, "aggregate {} by columns [{}]", calls.join(", "), names(&aggregate.keys))?;
                match &aggregate.close {
                    Some(close) => write!(f, ", each pane once, {} s after its end", close.lateness / 1_000_000_000),
                    None => Ok(()),
                }
            }
            NodeKind::Join(join) => {
                write!(f, "{:?} join on [{}] = [{}]", join.kind, names(&join.left_keys), names(&join.right_keys))
            }
            NodeKind::Rank(rank) => {
                let functions: Vec<String> = rank.functions.iter().map(ToString::to_string).collect();
                write!(f, "{} over partitions by [{}]", functions.join(", "), names(&rank.partition))
            }
            NodeKind::Union => f.write_str("union"),
            NodeKind::Sink(sink) => match &sink.target {
                SinkTarget::View(name) => write!(f, "view {name}"),
                SinkTarget::Topic(name) => write!(f, "append to topic {name}"),
                SinkTarget::File(options) => write!(f, "write file {}", options.path.display()),
                SinkTarget::Directory(options) => write!(f, "write files in {}", options.path.display()),
                SinkTarget::Stdout => f.write_str("print"),
                SinkTarget::Blackhole => f.write_str("drop"),
            },
        }
    }
}
