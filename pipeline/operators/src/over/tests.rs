use crate::testing::{check, node, property, schema};
use chalk_graph::{Node, NodeKind, Over, SortColumn};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::functions_window::lead_lag::lag_udwf;
use datafusion::logical_expr::{WindowFrame, WindowFunctionDefinition};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::windows::create_window_expr;
use std::collections::BTreeMap;
use std::sync::Arc;

const INPUT: &str = "class:text at:int score:int";

/// `lag(score)` and a running `sum(score)`, by class in order of `at`.
fn functions(whole: bool) -> Node {
    let column = |name: &str, index| Arc::new(Column::new(name, index)) as Arc<dyn PhysicalExpr>;
    let order = [PhysicalSortExpr::new_default(column("at", 1))];
    let function = |definition, name: &str| -> Arc<dyn WindowExpr> {
        let (partition, args) = ([column("class", 0)], [column("score", 2)]);
        let frame = Arc::new(WindowFrame::new(Some(false)));
        create_window_expr(
            &definition,
            name.into(),
            &args,
            &partition,
            &order,
            frame,
            schema(INPUT),
            false,
            false,
            None,
        )
        .expect("the function takes a number")
    };
    let functions = vec![
        function(WindowFunctionDefinition::WindowUDF(lag_udwf()), "before"),
        function(WindowFunctionDefinition::AggregateUDF(sum_udaf()), "sum"),
    ];
    let order = vec![SortColumn { column: 1, descending: false, nulls_first: false }];
    let kind = NodeKind::Over(Over { partition: vec![0], order, functions, whole });
    node(kind, &format!("{INPUT} before:int sum:int"))
}

#[test]
fn what_differs_is_given() {
    check(
        &functions(false),
        &[INPUT],
        "+ a 1 5
         + a 3 9
         + b 1 1
         ---
         + a 2 7
         ---
         - a 1 5
         ---
         + b 1 1
         - b 1 1",
        "+ a 1 5 NULL 5
         + a 3 9 5 14
         + b 1 1 NULL 1
         ---
         - a 3 9 5 14
         + a 2 7 5 12
         + a 3 9 7 21
         ---
         - a 1 5 NULL 5
         - a 2 7 5 12
         - a 3 9 7 21
         + a 2 7 NULL 7
         + a 3 9 7 16
         ---",
    );
}

#[test]
fn partitions_that_come_whole_are_not_kept() {
    check(&functions(true), &[INPUT], "+ a 1 5\n---\n+ a 2 7", "+ a 1 5 NULL 5\n---\n+ a 2 7 NULL 7");
}

#[test]
fn results_are_those_of_the_rows_that_are_left() {
    property(
        &functions(false),
        &[INPUT],
        &[|chance| format!("{} {} {}", chance.pick(&["a", "b"]), chance.below(8), chance.below(3))],
        |ports| {
            let mut classes: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
            for row in &ports[0] {
                let number = |cell: &str| cell.parse().expect("a number");
                classes.entry(row[0]).or_default().push((number(row[1]), number(row[2])));
            }
            let mut rows = Vec::new();
            for (class, mut scores) in classes {
                scores.sort_unstable();
                for (index, (at, score)) in scores.iter().enumerate() {
                    let before = index.checked_sub(1).map_or("NULL".to_owned(), |before| scores[before].1.to_string());
                    // Up to the last row of the same time.
                    let sum: i64 = scores.iter().filter(|(other, _)| other <= at).map(|(_, score)| score).sum();
                    rows.push(format!("{class} {at} {score} {before} {sum}"));
                }
            }
            rows
        },
    );
}
