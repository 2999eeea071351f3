//! Tests of the operators without state, of the exchange and of building.

use crate::testing::{batch, check, node, rows, schema};
use crate::{OperatorError, exchange, key_columns, operator};
use arrow::datatypes::DataType;
use chalk_event::Weights;
use chalk_graph::{Aggregate, Encoding, Join, JoinKind, JoinMode, Node, NodeKind, Rank, Sink, SinkTarget, Unnest};
use datafusion::logical_expr::Operator as Symbol;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal, cast};
use datafusion::scalar::ScalarValue;
use std::sync::Arc;

fn column(index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(["a", "b"][index], index))
}

fn literal(value: ScalarValue) -> Arc<dyn PhysicalExpr> {
    Arc::new(Literal::new(value))
}

fn binary(left: Arc<dyn PhysicalExpr>, symbol: Symbol, right: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(left, symbol, right))
}

const INPUT: &str = "a:text b:int";

#[test]
fn project_computes_columns() {
    let expressions = vec![
        binary(column(1), Symbol::Plus, literal(ScalarValue::from(1_i64))),
        literal(ScalarValue::Utf8View(Some("x".into()))),
        cast(column(0), &schema(INPUT), DataType::Utf8View).expect("text is text"),
    ];
    check(
        &node(NodeKind::Project(expressions), "b1:int x:text a:text"),
        &[INPUT],
        "+ ann 1
         -3 bob NULL
         ---",
        "+ 2 x ann
         -3 NULL x bob
         ---",
    );
}

#[test]
fn project_may_have_no_columns() {
    check(&node(NodeKind::Project(vec![]), ""), &[INPUT], "+ ann 1\n-2 bob 3", "+\n-2");
}

fn over_two() -> Node {
    node(NodeKind::Filter(binary(column(1), Symbol::Gt, literal(ScalarValue::from(2_i64)))), INPUT)
}

#[test]
fn filter_keeps_what_is_true() {
    check(
        &over_two(),
        &[INPUT],
        "+ ann 1
         +2 bob 3
         - cy NULL
         - dan 4
         ---
         ---
         + eve 5
         ---
         + eve 0",
        "+2 bob 3
         - dan 4
         ---
         ---
         + eve 5
         ---",
    );
}

#[test]
fn stateless_operators_keep_the_append_only_path() {
    let input = schema(INPUT);
    let inserts = batch(&input, &[("ann 1".into(), 1), ("bob 3".into(), 1)]);
    let project = node(NodeKind::Project(vec![column(0), column(1)]), INPUT);
    for (node, length) in [(over_two(), 1), (project, 2), (node(NodeKind::Union, INPUT), 2)] {
        let mut operator = operator(&node, std::slice::from_ref(&input)).expect("the node can be run");
        let out = operator
            .step(std::slice::from_ref(&inserts), crate::StepTime::default())
            .expect("the step is sound")
            .changes;
        assert_eq!((out.len(), out.weights()), (length, &Weights::Inserts));
    }
}

#[test]
fn unnest_gives_each_element_a_row() {
    check(
        &node(NodeKind::Unnest(Unnest { output: vec![0, 1, 0], lists: vec![1] }), "a:text item:int again:text"),
        &["a:text items:ints"],
        "+ ann [1,2]
         + bob []
         + cy NULL
         -2 dan [NULL,3]
         ---
         + eve []",
        "+ ann 1 ann
         + ann 2 ann
         -2 dan NULL dan
         -2 dan 3 dan
         ---",
    );
}

#[test]
fn union_gives_all_rows_of_all_inputs() {
    check(
        &node(NodeKind::Union, INPUT),
        &[INPUT, "c:text d:int"],
        "+ ann 1
         right - bob 2
         ---
         ---
         right + bob 2",
        "+ ann 1
         - bob 2
         ---
         ---
         + bob 2",
    );
}

#[test]
fn the_exchange_keeps_keys_together_and_order_within_them() {
    let input = schema("b:int a:text");
    let all: Vec<(String, i64)> = (0..200).map(|i| (format!("{i} k{}", i % 17), 1 - 2 * (i % 2))).collect();
    for shards in [1, 2, 3, 8] {
        let split = exchange::split(&batch(&input, &all), &[1], shards).expect("text encodes");
        assert_eq!(split.len(), shards);
        let owner = |key: &str| split.iter().position(|shard| rows(shard).iter().any(|(row, _)| row.ends_with(key)));
        for key in 0..17 {
            let key = format!(" k{key}");
            let expected: Vec<_> = all.iter().filter(|(row, _)| row.ends_with(&key)).cloned().collect();
            let shard = rows(&split[owner(&key).expect("every key is somewhere")]);
            assert_eq!(shard.into_iter().filter(|(row, _)| row.ends_with(&key)).collect::<Vec<_>>(), expected);
        }
        assert_eq!(split.iter().map(chalk_event::ChangeBatch::len).sum::<usize>(), all.len());
        let whole = exchange::split(&batch(&input, &all), &[], shards).expect("there is nothing to encode");
        assert_eq!(rows(&whole[0]), all);
    }
}

#[test]
fn keys_say_how_to_shard() {
    let aggregate =
        |keys| NodeKind::Aggregate(Aggregate { keys, calls: vec![], close: None, append_only_input: false, ttl: None });
    let join = Join { kind: JoinKind::Inner, left_keys: vec![1], right_keys: vec![0], mode: JoinMode::Live };
    let rank = Rank { partition: vec![1], order: vec![], functions: vec![], whole: false, most: None };
    for (kind, keys) in [
        (aggregate(vec![1, 0]), Some(vec![vec![1, 0]])),
        (aggregate(vec![]), Some(vec![vec![]])),
        (NodeKind::Join(join), Some(vec![vec![1], vec![0]])),
        (NodeKind::Rank(rank), Some(vec![vec![1]])),
        (NodeKind::Union, None),
    ] {
        assert_eq!(key_columns(&node(kind, INPUT)), keys);
    }
}

#[test]
fn sinks_are_not_operators() {
    let sink = NodeKind::Sink(Sink { query: "q".into(), target: SinkTarget::Blackhole, encoding: Encoding::default() });
    let error = operator(&node(sink, INPUT), &[schema(INPUT)]).map(|_| ()).expect_err("the runtime runs sinks");
    assert!(matches!(error, OperatorError::Misuse { .. }));
    assert_eq!(error.to_string(), "test/node/0: sources and sinks are not operators, the runtime runs them itself");
}
