//! A graph as text.

use crate::node::{CloseJoin, Graph, JoinBound, JoinMode, Node, NodeId, NodeKind, SinkTarget};
use crate::options::Partitioning;
use crate::stage::Stage;
use std::fmt;

impl Graph {
    /// A node's number, what it does, and its inputs.
    pub(crate) fn line(&self, id: NodeId) -> String {
        let node = self.node(id);
        let inputs: Vec<String> = node.inputs.iter().map(|input| input.0.to_string()).collect();
        let inputs = if inputs.is_empty() { String::new() } else { format!("  ← {}", inputs.join(", ")) };
        format!("{:>3}  {}{inputs}", id.0, Line(node))
    }
}

impl fmt::Display for Graph {
    /// One line per node: number, what it does, inputs, and whether it is append-only or updating.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, node) in self.iter() {
            let state = if node.append_only { "append-only" } else { "updating" };
            writeln!(f, "{}  [{state}]", self.line(id))?;
        }
        for stage in &self.stages {
            writeln!(f, "{stage}")?;
            for (id, _) in stage.input.iter() {
                writeln!(f, "{}", stage.input.line(id))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Stage {
    /// One line: what is called with which columns of its input's last node, and where results go.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.kept.fields().len();
        let arguments: Vec<String> = (first..first + self.arguments).map(|column| column.to_string()).collect();
        let (name, function, topic) = (&self.name, &self.function, Self::topic(&self.name));
        write!(
            f,
            "stage {name}: {function}(columns [{}]) of {}, recorded in topic {topic}",
            arguments.join(", "),
            self.last().0
        )
    }
}

/// Nanoseconds as seconds.
pub(crate) fn seconds(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}

struct Line<'a>(&'a Node);

/// An expression in one line: of a long one, such as a list of constants, the beginning.
fn short(expression: &impl fmt::Display) -> String {
    const CHARS_MAX: usize = 300;
    let text = expression.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |columns: &[usize]| columns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match &self.0.kind {
            NodeKind::Source(source) if source.recorded.is_some() => {
                write!(f, "results of stage {} (topic {})", source.table, source.topic)
            }
            NodeKind::Source(source) => {
                write!(f, "source {} (topic {})", source.table, source.topic)?;
                match &source.watermark {
                    Some(watermark) => write!(f, " watermark {watermark}"),
                    None => Ok(()),
                }
            }
            NodeKind::Project(expressions) => {
                let shown: Vec<String> = expressions.iter().map(short).collect();
                write!(f, "project {}", shown.join(", "))
            }
            NodeKind::Filter(predicate) => write!(f, "filter {}", short(predicate)),
            NodeKind::Unnest(unnest) if unnest.lists.len() > 1 => write!(f, "unnest columns {}", names(&unnest.lists)),
            NodeKind::Unnest(unnest) => write!(f, "unnest column {}", names(&unnest.lists)),
            NodeKind::Session(session) => {
                let gap = session.gap / 1_000_000_000;
                write!(f, "session {gap} s of column {} by columns [{}]", session.time, names(&session.keys))?;
                match &session.close {
                    Some(close) => write!(f, ", each once, {} s after its end", close.lateness / 1_000_000_000),
                    None => Ok(()),
                }
            }
            NodeKind::Aggregate(aggregate) => {
                let calls: Vec<String> = aggregate.calls.iter().map(|call| short(&call.display)).collect();
                write!(f, "aggregate {} by columns [{}]", calls.join(", "), names(&aggregate.keys))?;
                match &aggregate.close {
                    Some(close) => write!(f, ", each pane once, {} s after its end", close.lateness / 1_000_000_000),
                    None => Ok(()),
                }
            }
            NodeKind::Join(join) => {
                write!(f, "{:?} join on [{}] = [{}]", join.kind, names(&join.left_keys), names(&join.right_keys))?;
                match &join.mode {
                    JoinMode::Live => Ok(()),
                    JoinMode::Forgetting => f.write_str(", each pair once"),
                    JoinMode::Lookup => f.write_str(", with what the right side has at the left row's commit"),
                    JoinMode::Closing(CloseJoin { bound: JoinBound::Window { .. }, .. }) => {
                        f.write_str(", each window once")
                    }
                    JoinMode::Closing(CloseJoin {
                        bound: JoinBound::Interval { left, right, least, most }, ..
                    }) => {
                        let (least, most) = (seconds(*least), seconds(*most));
                        write!(f, ", {least} s <= column {left} - column {right} <= {most} s")
                    }
                }
            }
            NodeKind::Forget(_) => f.write_str("forget old rows"),
            NodeKind::Rank(rank) => {
                let functions: Vec<String> = rank.functions.iter().map(ToString::to_string).collect();
                write!(f, "{} over partitions by [{}]", functions.join(", "), names(&rank.partition))
            }
            NodeKind::Over(over) => {
                let functions: Vec<&str> = over.functions.iter().map(|function| function.name()).collect();
                write!(f, "{} over partitions by [{}]", functions.join(", "), names(&over.partition))
            }
            NodeKind::Union => f.write_str("union"),
            NodeKind::Sink(sink) => match &sink.target {
                SinkTarget::View(name) => write!(f, "view {name}"),
                SinkTarget::Topic(name) => write!(f, "append to topic {name}"),
                SinkTarget::File(options) => write!(f, "write file {}", options.path.display()),
                SinkTarget::Directory(options) => {
                    write!(f, "write files in {}", options.path.display())?;
                    let Partitioning { time_pattern, fields } = &options.partitioning;
                    let names = time_pattern.iter().cloned().chain(fields.iter().map(|field| format!("{field}=…")));
                    let folders: Vec<String> = names.collect();
                    if folders.is_empty() { Ok(()) } else { write!(f, ", in folders {}", folders.join("/")) }
                }
                SinkTarget::Fluvio(options) => write!(f, "write Fluvio topic {}", options.topic),
                SinkTarget::Stdout => f.write_str("print"),
                SinkTarget::Blackhole => f.write_str("drop"),
            },
        }
    }
}
