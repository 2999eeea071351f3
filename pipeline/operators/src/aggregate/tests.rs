use crate::testing::{Chance, check, data_type, node, property, schema};
use crate::{GroupState, OperatorError, operator};
use chalk_event::ChangeBatch;
use chalk_graph::{Aggregate, AggregateCall, AggregateFunction, CloseWindows, Node, NodeKind, WindowKind};
use datafusion::functions_aggregate::{array_agg::array_agg_udaf, median::median_udaf};
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_common::sort_expr::PhysicalSortExpr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn call(function: AggregateFunction, args: &[usize], filter: Option<usize>) -> AggregateCall {
    AggregateCall { display: format!("{function:?}"), function, args: args.to_vec(), filter }
}

fn aggregate(keys: &[usize], calls: Vec<AggregateCall>, output: &str) -> Node {
    node(
        NodeKind::Aggregate(Aggregate { keys: keys.to_vec(), calls, close: None, append_only_input: false, ttl: None }),
        output,
    )
}

/// A function of DataFusion over columns of these types.
fn recompute(function: Arc<AggregateUDF>, args: &[&str], order: &[&str]) -> AggregateFunction {
    let names = ["a", "b", "c"];
    let text: Vec<String> = args.iter().chain(order).zip(names).map(|(data, name)| format!("{name}:{data}")).collect();
    let column = |index: usize| Arc::new(Column::new(names[index], index)) as Arc<dyn PhysicalExpr>;
    let order_by = (0..order.len()).map(|index| PhysicalSortExpr::new_default(column(args.len() + index)).desc());
    let expression = AggregateExprBuilder::new(function, (0..args.len()).map(column).collect())
        .schema(schema(&text.join(" ")))
        .order_by(order_by.collect())
        .alias("f")
        .build()
        .expect("the function takes these arguments");
    AggregateFunction::Recompute(Arc::new(expression))
}

#[test]
fn groups_come_change_and_go() {
    use AggregateFunction::{Count, Max, Min, SumInteger};
    check(
        &aggregate(
            &[0],
            vec![
                call(Count, &[], None),
                call(Count, &[1], None),
                call(SumInteger, &[1], None),
                call(Min, &[1], None),
                call(Max, &[1], None),
            ],
            "class:text rows:int marks:int sum:int min:int max:int",
        ),
        &["class:text mark:int"],
        "+ 3A 7
         + 3A 9
         + NULL NULL
         ---
         - 3A 9
         + 3B 1
         - 3B 1
         ---
         - 3A 7
         + NULL 4
         ---
         +3 3C 5
         ---
         -2 3C 5
         ---
         - NULL 4
         + NULL 4",
        "+ 3A 2 2 16 7 9
         + NULL 1 0 NULL NULL NULL
         ---
         - 3A 2 2 16 7 9
         + 3A 1 1 7 7 7
         ---
         - 3A 1 1 7 7 7
         - NULL 1 0 NULL NULL NULL
         + NULL 2 1 4 4 4
         ---
         + 3C 3 3 15 5 5
         ---
         - 3C 3 3 15 5 5
         + 3C 1 1 5 5 5
         ---",
    );
}

#[test]
fn an_aggregate_without_keys_is_there_from_the_beginning() {
    use AggregateFunction::{Count, SumInteger};
    check(
        &aggregate(&[], vec![call(Count, &[], None), call(SumInteger, &[0], None)], "rows:int sum:int"),
        &["mark:int"],
        "---
         ---
         + 3
         ---
         - 3",
        "+ 0 NULL
         ---
         ---
         - 0 NULL
         + 1 3
         ---
         - 1 3
         + 0 NULL",
    );
    check(&aggregate(&[], vec![call(Count, &[], None)], "rows:int"), &["mark:int"], "+ 3", "+ 1");
}

#[test]
fn an_aggregate_without_calls_gives_distinct_keys() {
    check(
        &aggregate(&[0], vec![], "class:text"),
        &["class:text mark:int"],
        "+ 3A 1
         + 3A 2
         ---
         - 3A 1
         ---
         - 3A 2",
        "+ 3A
         ---
         ---
         - 3A",
    );
}

#[test]
fn only_rows_that_pass_the_filter_count() {
    use AggregateFunction::{Count, CountDistinct, SumInteger};
    check(
        &aggregate(
            &[],
            vec![call(Count, &[], Some(1)), call(SumInteger, &[0], Some(1)), call(CountDistinct, &[0], None)],
            "rows:int sum:int values:int",
        ),
        &["mark:int on_time:bool"],
        "+ 3 true
         + 3 false
         + 4 NULL
         + NULL true
         ---
         - 3 true
         - 4 NULL",
        "+ 2 3 2
         ---
         - 2 3 2
         + 1 NULL 1",
    );
}

#[test]
fn both_zeros_are_one_key() {
    check(
        &aggregate(&[0], vec![call(AggregateFunction::Count, &[], None)], "x:float rows:int"),
        &["x:float"],
        "+ 0.0
         + -0.0",
        "+ 0 2",
    );
}

#[test]
fn float_sums_forget_what_is_retracted() {
    use AggregateFunction::{AvgFloat, SumFloat};
    check(
        &aggregate(&[], vec![call(SumFloat, &[0], None), call(AvgFloat, &[0], None)], "sum:float mean:float"),
        &["x:float"],
        "+ 1
         ---
         + 1e300
         ---
         - 1e300
         ---
         + NaN
         ---
         - NaN
         + 0.5
         ---
         - 1
         - 0.5",
        &format!(
            "+ 1 1
             ---
             - 1 1
             + {} {}
             ---
             - {} {}
             + 1 1
             ---
             - 1 1
             + NaN NaN
             ---
             - NaN NaN
             + 1.5 0.75
             ---
             - 1.5 0.75
             + NULL NULL",
            1e300, 5e299, 1e300, 5e299
        ),
    );
    check(
        &aggregate(&[], vec![call(SumFloat, &[0], None)], "sum:float"),
        &["x:float"],
        "+ 1e300
         + 1
         + -1e300",
        "+ 1",
    );
}

#[test]
fn least_and_greatest_text_and_window() {
    use AggregateFunction::{Max, Min};
    check(
        &aggregate(&[], vec![call(Min, &[0], None), call(Max, &[1], None)], "min:text max:window"),
        &["name:text window:window"],
        "+ bob 0..10
         + ann 10..20
         + NULL NULL
         ---
         - ann 10..20",
        "+ ann 10..20
         ---
         - ann 10..20
         + bob 0..10",
    );
}

#[test]
fn other_functions_are_recomputed() {
    check(
        &aggregate(
            &[0],
            vec![
                call(recompute(median_udaf(), &["int"], &[]), &[1], None),
                call(recompute(array_agg_udaf(), &["int"], &[]), &[1], Some(2)),
                call(recompute(array_agg_udaf(), &["int"], &["int"]), &[1, 3], None),
            ],
            "class:text median:int marks:ints late_first:ints",
        ),
        &["class:text mark:int on_time:bool hour:int"],
        "+ 3A 7 true 1
         + 3A 1 true 2
         + 3A 3 false 3
         +2 3B NULL true 1
         ---
         - 3A 7 true 1",
        "+ 3A 3 [1,7] [3,1,7]
         + 3B NULL [NULL,NULL] [NULL,NULL]
         ---
         - 3A 3 [1,7] [3,1,7]
         + 3A 2 [1] [3,1]",
    );
}

fn closing(lateness: i64, append: Vec<AggregateCall>) -> Node {
    let close = CloseWindows {
        window: 1,
        kind: WindowKind::Tumble { width: 10 },
        event_time: Some(2),
        lateness,
        query: "weekly".into(),
    };
    let calls = [call(AggregateFunction::Count, &[], None)].into_iter().chain(append).collect();
    let output = "class:text window:window rows:int min:int max:int";
    let mut node = node(
        NodeKind::Aggregate(Aggregate {
            keys: vec![0, 1],
            calls,
            close: Some(close),
            append_only_input: true,
            ttl: None,
        }),
        output,
    );
    node.append_only = true;
    node
}

fn extremes() -> Vec<AggregateCall> {
    vec![call(AggregateFunction::Min, &[3], None), call(AggregateFunction::Max, &[3], None)]
}

const TIMED: &str = "class:text window:window at:time mark:int";

#[test]
fn windows_close_once() {
    check(
        &closing(5, extremes()),
        &[TIMED],
        "+ 3A 10..20 12 7
         + 3A 0..10 2 4
         + 3A 0..10 3 9
         watermark 12
         ---
         + 3A 0..10 9 1
         watermark 14
         ---
         + 3B 0..10 1 1
         watermark 15
         ---
         + 3A 0..10 8 8
         + 3A NULL NULL 8
         + 3A 10..20 16 8
         watermark 15
         ---
         watermark 30
         ---
         + 3A 10..20 16 8
         + 3A 20..30 29 8
         watermark 30
         ---
         watermark 40",
        // In the third step the rows are judged by 14, so the window is open still; then it closes at 10 + 5.
        "---
         ---
         + 3A 0..10 3 1 9
         + 3B 0..10 1 1 1
         ---
         late row 0 of weekly: time 8, watermark 15, end 10
         ---
         + 3A 10..20 2 7 8
         ---
         late row 0 of weekly: time 16, watermark 30, end 20
         ---
         + 3A 20..30 1 8 8",
    );
}

/// Late × open or closed window: every row of the table, each against the same watermark of 20 before the step.
#[test]
fn rows_are_judged_by_their_window_and_the_watermark_before() {
    for (lateness, row, verdict) in [
        // The row's time is ahead of the watermark: its window cannot have ended.
        (0, "+ 3A 20..30 25 1", ""),
        // Behind it, in a window that has not ended.
        (0, "+ 3A 15..25 18 1", ""),
        // Behind it, the window has ended, but the lateness has not.
        (1, "+ 3A 10..20 18 1", ""),
        // Behind it, and the window and lateness end just at the watermark.
        (0, "+ 3A 10..20 18 1", "late row 0 of weekly: time 18, watermark 20, end 20"),
        (10, "+ 3A 0..10 8 1", "late row 0 of weekly: time 8, watermark 20, end 10"),
        // A watermark that the step itself brings does not matter to its rows, but it closes their pane.
        (0, "+ 3A 20..30 25 1\nwatermark 99", "+ 3A 20..30 1 1 1"),
        (0, "+ 3A 10..20 18 1\nwatermark 99", "late row 0 of weekly: time 18, watermark 20, end 20"),
    ] {
        check(
            &closing(lateness, extremes()),
            &[TIMED],
            &format!("watermark 20\n---\n{row}"),
            &format!("---\n{verdict}"),
        );
    }
}

#[test]
fn without_a_watermark_nothing_is_late_and_nothing_closes() {
    check(&closing(0, extremes()), &[TIMED], "+ 3A 0..10 1 1\n---\n+ 3A 0..10 1 1", "---");
}

#[test]
fn windows_that_close_refuse_deletes() {
    let (node, input) = (closing(0, extremes()), schema(TIMED));
    let mut operator = operator(&node, std::slice::from_ref(&input)).expect("the node can be run");
    let delete = crate::testing::batch(&input, &[("3A 0..10 1 1".into(), -1)]);
    let error = operator.step(&[delete], crate::StepTime::default()).map(|_| ()).expect_err("deletes are refused");
    assert!(matches!(error, OperatorError::Misuse { .. }), "{error}");
    let nothing: &[ChangeBatch] = &[];
    assert!(operator.step(nothing, crate::StepTime::default()).is_err());
}

/// The values of a group, by the naive code below.
fn from_scratch(rows: &[&Vec<&str>]) -> String {
    let texts = |of: fn(&Vec<&str>) -> bool| {
        rows.iter().copied().filter(move |row| row[1] != "NULL" && of(row)).map(|row| row[1])
    };
    let ints: Vec<i64> = texts(|_| true).map(|mark| mark.parse().expect("an integer")).collect();
    let floats: Vec<f64> = ints.iter().map(|&mark| mark as f64).collect();
    let or_null = |value: Option<String>| value.unwrap_or("NULL".into());
    let sum: f64 = floats.iter().sum();
    let mut sorted = rows.iter().map(|row| row[1].parse::<i64>().ok()).collect::<Vec<_>>();
    sorted.sort_unstable();
    let all: Vec<String> = sorted.iter().map(|mark| or_null(mark.map(|mark| mark.to_string()))).collect();
    [
        rows.len().to_string(),
        ints.len().to_string(),
        ints.iter().collect::<BTreeSet<_>>().len().to_string(),
        or_null((!ints.is_empty()).then(|| ints.iter().sum::<i64>().to_string())),
        texts(|row| row[2] == "true").count().to_string(),
        or_null((!ints.is_empty()).then(|| sum.to_string())),
        or_null((!ints.is_empty()).then(|| (sum / floats.len() as f64).to_string())),
        or_null(ints.iter().min().map(ToString::to_string)),
        or_null(ints.iter().max().map(ToString::to_string)),
        format!("[{}]", all.join(",")),
    ]
    .join(" ")
}

fn everything(keys: &[usize]) -> Node {
    use AggregateFunction::{AvgFloat, Count, CountDistinct, Max, Min, SumFloat, SumInteger};
    let calls = vec![
        call(Count, &[], None),
        call(Count, &[1], None),
        call(CountDistinct, &[1], None),
        call(SumInteger, &[1], None),
        call(Count, &[1], Some(2)),
        call(SumFloat, &[1], None),
        call(AvgFloat, &[1], None),
        call(Min, &[1], None),
        call(Max, &[1], None),
        call(recompute(array_agg_udaf(), &["int"], &[]), &[1], None),
    ];
    let results = "rows:int marks:int distinct:int sum:int passed:int fsum:float mean:float min:int max:int all:ints";
    let key = if keys.is_empty() { "" } else { "class:text " };
    aggregate(keys, calls, &format!("{key}{results}"))
}

#[test]
fn any_history_gives_the_aggregates_of_the_rest() {
    assert_eq!(data_type("int"), arrow::datatypes::DataType::Int64);
    for keys in [&[0][..], &[]] {
        property(
            &everything(keys),
            &["class:text mark:int passed:bool"],
            &[|chance| {
                let class = chance.pick(&["3A", "3B", "3C", "NULL"]);
                let mark = chance.pick(&["-2", "-1", "0", "1", "5", "100", "NULL"]);
                format!("{class} {mark} {}", chance.pick(&["true", "false", "NULL"]))
            }],
            |left_over| {
                let rows = &left_over[0];
                if keys.is_empty() {
                    let line = from_scratch(&rows.iter().collect::<Vec<_>>());
                    // Over no rows at all ARRAY_AGG is NULL.
                    return vec![line.replace("[]", "NULL")];
                }
                let mut groups: BTreeMap<&str, Vec<&Vec<&str>>> = BTreeMap::new();
                for row in rows {
                    groups.entry(row[0]).or_default().push(row);
                }
                groups.iter().map(|(class, rows)| format!("{class} {}", from_scratch(rows))).collect()
            },
        );
    }
}

/// Groups leave memory and come back in every way, and not even what is saved differs from what it is without.
#[test]
fn what_leaves_memory_changes_nothing() {
    let (node, input) = (everything(&[0]), schema("class:text mark:int passed:bool"));
    let new = || operator(&node, std::slice::from_ref(&input)).expect("the node can be run");
    for seed in 0..40 {
        let mut chance = Chance(seed);
        let (mut whole, mut spilling) = (new(), new());
        let (mut elsewhere, mut saved) = (BTreeMap::new(), [BTreeMap::new(), BTreeMap::new()]);
        let mut live: Vec<String> = Vec::new();
        for step in 0..60 {
            let mut rows = Vec::new();
            for _ in 0..chance.below(8) {
                if !live.is_empty() && chance.below(2) == 0 {
                    let row = live.swap_remove(chance.below(live.len() as u64) as usize);
                    rows.push((row, -1));
                } else {
                    let row = format!("c{} {} true", chance.below(12), chance.below(3));
                    live.push(row.clone());
                    rows.push((row, 1));
                }
            }
            let inputs = [crate::testing::batch(&input, &rows)];
            let spill = spilling.spill().expect("its groups can leave");
            let missing = spill.missing(&inputs).expect("keys encode");
            assert!(missing.is_sorted());
            let back: Vec<GroupState> = missing
                .into_iter()
                .filter_map(|key| elsewhere.get(&key).map(|state| GroupState { state: Some(Vec::clone(state)), key }))
                .collect();
            spill.bring_back(&back).expect("groups that had left");
            let time = crate::StepTime::default();
            let expected = whole.step(&inputs, time).expect("a sound step").changes;
            let given = spilling.step(&inputs, time).expect("a sound step").changes;
            assert_eq!(crate::testing::rows(&given), crate::testing::rows(&expected), "seed {seed}, step {step}");
            let spill = spilling.spill().expect("its groups can leave");
            let before = spill.memory();
            let leaving = spill.coldest([0, 300, 1000, usize::MAX][chance.below(4) as usize]);
            for GroupState { key, state } in leaving.saved.iter().chain(&leaving.unsaved).cloned() {
                match state {
                    Some(state) => elsewhere.insert(key, state),
                    None => elsewhere.remove(&key),
                };
            }
            for GroupState { key, state } in leaving.unsaved.clone() {
                saved[1].insert(key, state);
            }
            assert_eq!(spill.memory(), before, "nothing leaves before it is forgotten");
            spill.forget(&leaving);
            assert!(leaving.is_empty() || spill.memory().bytes < before.bytes, "seed {seed}, step {step}");
            if chance.below(3) == 0 {
                for (operator, saved) in [&mut whole, &mut spilling].into_iter().zip(&mut saved) {
                    operator.begin_save();
                    saved.extend(operator.save(usize::MAX).into_iter().map(|group| (group.key, group.state)));
                    saved.retain(|_, state| state.is_some());
                }
                assert_eq!(saved[0], saved[1], "seed {seed}, step {step}");
            }
        }
    }
}

#[test]
fn groups_that_cannot_leave_say_so() {
    let marks = schema("class:text mark:int passed:bool");
    let mut keyless = operator(&everything(&[]), &[marks]).expect("the node can be run");
    assert!(keyless.spill().is_none());
    let mut closing = operator(&closing(0, extremes()), &[schema(TIMED)]).expect("the node can be run");
    assert!(closing.spill().is_none());
}
