//! Less to do for the same rows: projections that follow one another become one, and what no sink reads is left out.
//!
//! The optimiser sees one query at a time and plans trees; a project is a graph, in which joins, ranks and views each add a
//! projection of their own. Every node costs a copy of its columns.

use chalk_graph::{Graph, Node, NodeId, NodeKind};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use std::sync::Arc;

type Expressions = Vec<Arc<dyn PhysicalExpr>>;

/// The graph with the same sources and sinks.
pub(crate) fn simplified(graph: Graph) -> Result<Graph> {
    Ok(without_unread(with_joined_projections(graph)?))
}

/// Projections of projections read what those read.
fn with_joined_projections(mut graph: Graph) -> Result<Graph> {
    let mut readers = vec![0; graph.nodes.len()];
    graph.nodes.iter().flat_map(|node| &node.inputs).for_each(|input| readers[input.0] += 1);
    for index in 0..graph.nodes.len() {
        let NodeKind::Project(outer) = &graph.nodes[index].kind else { continue };
        let [input] = graph.nodes[index].inputs[..] else { continue };
        let NodeKind::Project(inner) = &graph.node(input).kind else { continue };
        if !can_be_joined(outer, inner, readers[input.0] == 1)? {
            continue;
        }
        let joined = outer.iter().map(|expression| over(expression, inner)).collect::<Result<Expressions>>()?;
        let inputs = graph.node(input).inputs.clone();
        // It now reads what the inner one reads, too: that is still read for others' sake as well, if not by it.
        inputs.iter().for_each(|input| readers[input.0] += 1);
        readers[input.0] -= 1;
        let node = &mut graph.nodes[index];
        (node.kind, node.inputs) = (NodeKind::Project(joined), inputs);
    }
    Ok(graph)
}

/// Whether nothing would be computed twice: not for another reader, and not within an expression.
fn can_be_joined(outer: &Expressions, inner: &Expressions, only_reader: bool) -> Result<bool> {
    let mut uses = vec![0; inner.len()];
    for expression in outer {
        expression.apply(|part| {
            if let Some(column) = part.downcast_ref::<Column>() {
                uses[column.index()] += 1;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    let mut used = inner.iter().zip(uses).filter(|(_, uses)| *uses > 0);
    Ok(used.all(|(expression, uses)| expression.downcast_ref::<Column>().is_some() || (only_reader && uses == 1)))
}

/// An expression over the columns that `inner` gives, as one over those that `inner` reads.
fn over(expression: &Arc<dyn PhysicalExpr>, inner: &Expressions) -> Result<Arc<dyn PhysicalExpr>> {
    let replaced = Arc::clone(expression).transform_up(|part| {
        let given = part.downcast_ref::<Column>().map(|column| Arc::clone(&inner[column.index()]));
        Ok(given.map_or_else(|| Transformed::no(part), Transformed::yes))
    })?;
    Ok(replaced.data)
}

/// Only sources, sinks, and what leads from those to these.
fn without_unread(graph: Graph) -> Graph {
    let mut read: Vec<bool> =
        graph.nodes.iter().map(|node| matches!(node.kind, NodeKind::Source(_) | NodeKind::Sink(_))).collect();
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if read[index] {
            node.inputs.iter().for_each(|input| read[input.0] = true);
        }
    }
    let mut kept = Graph { stages: graph.stages, ..Graph::default() };
    let mut places = vec![NodeId(0); graph.nodes.len()];
    for (index, node) in graph.nodes.into_iter().enumerate() {
        if read[index] {
            let inputs = node.inputs.iter().map(|input| places[input.0]).collect();
            places[index] = kept.add(Node { inputs, ..node });
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use crate::{Functions, SqlFile, TopicSchemas, plan};

    fn check(queries: &str, graph: &str) {
        let table = "CREATE TABLE t (a BIGINT NOT NULL, b BIGINT NOT NULL) \
                     WITH (connector = 'single_file', path = 't', format = 'json');";
        let file = SqlFile { name: "t.sql".to_owned(), text: format!("{table}\n{queries}") };
        let planned = plan(&[file], &TopicSchemas::new(), &Functions::default()).expect("a project");
        let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
        assert_eq!(lines(&planned.graph.to_string()), lines(graph.trim()), "{}", planned.graph);
    }

    #[test]
    fn projections_of_projections_are_one() {
        let views = "CREATE VIEW v AS SELECT b, a FROM t; CREATE MATERIALIZED VIEW w AS SELECT a + 1 AS c FROM v;";
        check(
            views,
            "0  source t (topic t)  [append-only]
             1  project a@0 + 1  ← 0  [append-only]
             2  view w  ← 1  [append-only]",
        );
    }

    #[test]
    fn nothing_is_computed_twice() {
        let views = "CREATE VIEW v AS SELECT a * b AS c, a FROM t;
            CREATE MATERIALIZED VIEW w AS SELECT c + c AS d FROM v;
            CREATE MATERIALIZED VIEW x AS SELECT c FROM v;
            CREATE MATERIALIZED VIEW y AS SELECT a FROM v;";
        check(
            views,
            "0  source t (topic t)  [append-only]
             1  project a@0 * b@1, a@0  ← 0  [append-only]
             2  project c@0 + c@0  ← 1  [append-only]
             3  view w  ← 2  [append-only]
             4  project c@0  ← 1  [append-only]
             5  view x  ← 4  [append-only]
             6  project a@0  ← 0  [append-only]
             7  view y  ← 6  [append-only]",
        );
    }

    #[test]
    fn what_no_sink_reads_is_left_out() {
        let views =
            "CREATE VIEW v AS SELECT sum(a) AS a FROM t GROUP BY b; CREATE MATERIALIZED VIEW w AS SELECT b FROM t;";
        check(
            views,
            "0  source t (topic t)  [append-only]
             1  project b@1  ← 0  [append-only]
             2  view w  ← 1  [append-only]",
        );
    }
}
