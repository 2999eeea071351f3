//! Which topic has a stage's results: each query of a stage has one, and so has each time that calls are made again.
//!
//! ```text
//! _recorded_checked_probe      the first query
//! _recorded_checked_probe.2    the query has changed: results whose arguments are the same are copied, the others called
//! _recorded_checked_probe.3    --rerun-udf probe: all are called
//! ```
//!
//! The last one counts. A new build of the function is no reason for another topic: it is called for rows that come, and each result says who made it.

use super::layout::Layout;
use crate::error::RuntimeError;
use chalk_catalog::{ControlEvent, FunctionIdentity, SystemTopic, TopicSchema};
use chalk_event::hash_key;
use chalk_graph::{Graph, NodeKind, Stage};
use chalk_log::EventLog;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

/// A topic that had, or has, a stage's results.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    pub(super) name: String,
    pub(super) avsc: Value,
}

/// All topics of a stage, in the order in which they were made.
pub(super) fn generations(log: &dyn EventLog, stage: &str) -> Result<Vec<Generation>, RuntimeError> {
    let catalog = log.control_events(SystemTopic::Catalog.id())?;
    let base = Stage::topic(stage);
    let is_one = |name: &str| {
        name == base
            || name
                .strip_prefix(&base)
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|n| n.parse::<u32>().is_ok())
    };
    let generations = catalog.into_iter().filter_map(|event| match event {
        ControlEvent::TopicCreated { name, avsc, .. } if is_one(&name) => {
            Some(Generation { avsc: serde_json::from_str(&avsc).ok()?, name })
        }
        _ => None,
    });
    Ok(generations.collect())
}

/// The graph with the topics that its stages have now. A stage that has never run has none, which whoever reads it says.
///
/// # Errors
/// When the log cannot be read.
pub fn current_stages(graph: &Graph, log: &dyn EventLog) -> Result<Graph, RuntimeError> {
    let mut topics = BTreeMap::new();
    for stage in &graph.stages {
        if let Some(last) = generations(log, &stage.name)?.pop() {
            topics.insert(Stage::topic(&stage.name), last.name);
        }
    }
    Ok(with_topics(graph, &topics))
}

/// The graph with the topics of its stages, which are made if they are not there. `functions` are those that can be called; stages that call one
/// of `rerun` begin anew.
///
/// # Errors
/// When the log fails, or a column is of a type that cannot be kept.
pub fn prepare_stages(
    graph: &Graph,
    log: &dyn EventLog,
    functions: &[FunctionIdentity],
    rerun: &BTreeSet<String>,
) -> Result<Graph, RuntimeError> {
    let mut topics = BTreeMap::new();
    for stage in &graph.stages {
        // Rows of another stage are known by their place in its topic.
        let input = with_topics(&stage.input, &topics);
        let stage = &Stage { input, ..stage.clone() };
        let known = generations(log, &stage.name)?;
        let is_rerun = rerun.contains(&stage.function);
        let query = query_of(stage, functions);
        let is_same = |last: &&Generation| last.avsc["query"] == query.as_str() && !is_rerun;
        let name = match known.last().filter(is_same) {
            Some(last) => last.name.clone(),
            None => {
                let avsc = Layout::avsc(stage, &query, !is_rerun)
                    .map_err(|column| RuntimeError::StageColumn { stage: stage.name.clone(), column })?;
                let base = Stage::topic(&stage.name);
                let name = if known.is_empty() { base } else { format!("{base}.{}", known.len() + 1) };
                log.ensure_topic(&name, &avsc, TopicSchema::NO_ENVELOPE)?;
                name
            }
        };
        topics.insert(Stage::topic(&stage.name), name);
    }
    Ok(with_topics(graph, &topics))
}

fn with_topics(graph: &Graph, topics: &BTreeMap<String, String>) -> Graph {
    let mut graph = graph.clone();
    let inputs = graph.stages.iter_mut().flat_map(|stage| &mut stage.input.nodes);
    for node in graph.nodes.iter_mut().chain(inputs) {
        if let NodeKind::Source(source) = &mut node.kind
            && let Some(topic) = topics.get(&source.topic)
            && source.recorded.is_some()
        {
            source.topic.clone_from(topic);
        }
    }
    graph
}

/// What a stage's rows and arguments depend on, as a hash: its input's nodes, and who the functions in them are.
fn query_of(stage: &Stage, functions: &[FunctionIdentity]) -> String {
    let mut text = format!("{}{stage}", stage.input);
    let mut called = BTreeSet::new();
    for node in &stage.input.nodes {
        let expressions: Vec<&Arc<dyn PhysicalExpr>> = match &node.kind {
            NodeKind::Source(source) => source.expressions.iter().collect(),
            NodeKind::Project(expressions) => expressions.iter().collect(),
            NodeKind::Filter(predicate) => vec![predicate],
            _ => Vec::new(),
        };
        for expression in expressions {
            // Writing to a string cannot fail, nor does looking at an expression.
            let _ = writeln!(text, "{expression}");
            let _ = expression.apply(|part| {
                called.extend(part.downcast_ref::<ScalarFunctionExpr>().map(|call| call.name().to_owned()));
                Ok(TreeNodeRecursion::Continue)
            });
        }
        let _ = writeln!(text, "{:?}", node.schema.fields().iter().map(|field| field.data_type()).collect::<Vec<_>>());
    }
    for function in functions.iter().filter(|function| called.contains(&function.name)) {
        let _ = writeln!(text, "{function}");
    }
    format!("{:016x}", hash_key(text.as_bytes()))
}
