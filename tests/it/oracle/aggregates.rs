//! Every aggregate of DataFusion, over rows that are taken back: what is left is what the batch engine says of the rows that are left.

use super::{chance::Chance, lines};
use crate::engine::{Engine, Run, batch_session, plan};
use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use chalk_plan::batch_plan;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateDefaults;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

/// Calls, by function. `n`, `x` and `k` grow with one another, so that there is just one order that rows can come in: NULLs, then the others.
const CALLS: [(&str, &[&str]); 39] = [
    ("any_value", &["any_value(n)"]),
    (
        "array_agg",
        &[
            "array_agg(n)",
            "array_agg(n ORDER BY n DESC)",
            "array_agg(k ORDER BY x) FILTER (WHERE b)",
            "array_agg(n) IGNORE NULLS",
        ],
    ),
    ("first_value", &["first_value(n ORDER BY n)", "first_value(k ORDER BY n DESC NULLS LAST) FILTER (WHERE b)"]),
    ("last_value", &["last_value(n ORDER BY n)", "last_value(k ORDER BY x DESC) IGNORE NULLS"]),
    ("nth_value", &["nth_value(n, 2 ORDER BY n)", "nth_value(k, 3 ORDER BY n DESC)"]),
    ("covar_samp", &["round(covar_samp(x, n), 9)"]),
    ("covar_pop", &["round(covar_pop(x, n), 9)", "round(covar_pop(x, n) FILTER (WHERE b), 9)"]),
    ("corr", &["round(corr(x, n), 9)"]),
    ("sum", &["sum(n)", "sum(x)", "sum(DISTINCT n)", "sum(n) FILTER (WHERE b)", "sum(DISTINCT x)"]),
    ("max", &["max(n)", "max(k)", "max(b)", "max(x) FILTER (WHERE b)"]),
    ("min", &["min(n)", "min(k)", "min(b)", "min(x) FILTER (WHERE b)"]),
    ("median", &["median(n)", "median(x)", "median(DISTINCT x)", "median(x) FILTER (WHERE b)"]),
    ("count", &["count(*)", "count(n)", "count(DISTINCT n)", "count(DISTINCT k) FILTER (WHERE b)", "count(n, k)"]),
    ("regr_slope", &["round(regr_slope(x, n), 9)"]),
    ("regr_intercept", &["round(regr_intercept(x, n), 9)"]),
    ("regr_count", &["regr_count(x, n)"]),
    ("regr_r2", &["round(regr_r2(x, n), 9)"]),
    ("regr_avgx", &["round(regr_avgx(x, n), 9)"]),
    ("regr_avgy", &["round(regr_avgy(x, n), 9)"]),
    ("regr_sxx", &["round(regr_sxx(x, n), 9)"]),
    ("regr_syy", &["round(regr_syy(x, n), 9)"]),
    ("regr_sxy", &["round(regr_sxy(x, n), 9)"]),
    ("var", &["round(var(x), 9)", "round(var(n) FILTER (WHERE b), 9)"]),
    ("var_pop", &["round(var_pop(x), 9)"]),
    ("stddev", &["round(stddev(x), 9)"]),
    ("stddev_pop", &["round(stddev_pop(x), 9)"]),
    ("approx_median", &["approx_median(n)", "approx_median(x)"]),
    ("approx_distinct", &["approx_distinct(n)", "approx_distinct(k) FILTER (WHERE b)"]),
    ("approx_percentile_cont", &["approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY x)"]),
    (
        "approx_percentile_cont_with_weight",
        &["approx_percentile_cont_with_weight(n + 1, 0.5) WITHIN GROUP (ORDER BY x)"],
    ),
    ("percentile_cont", &["percentile_cont(0.25) WITHIN GROUP (ORDER BY x)"]),
    ("string_agg", &["string_agg(k, ' ')", "string_agg(k, ',' ORDER BY n DESC)"]),
    ("bit_and", &["bit_and(n)"]),
    ("bit_or", &["bit_or(n)", "bit_or(n) FILTER (WHERE b)"]),
    ("bit_xor", &["bit_xor(n)", "bit_xor(DISTINCT n)"]),
    ("bool_and", &["bool_and(b)"]),
    ("bool_or", &["bool_or(b)"]),
    ("avg", &["avg(n)", "avg(x)", "avg(x) FILTER (WHERE b)", "round(avg(DISTINCT x), 9)"]),
    ("grouping", &["grouping(g)"]),
];

/// An item's last row counts; its group and value, if it has one.
#[derive(Clone, Copy)]
struct Item {
    group: &'static str,
    n: Option<i64>,
}

fn json(item: usize, Item { group, n }: Item) -> String {
    let values = n.map(|n| format!(",\"n\":{n},\"x\":{},\"k\":\"k{n:02}\",\"b\":{}", n as f64 / 4.0, n % 3 == 0));
    format!("{{\"item\":{item},\"g\":\"{group}\"{}}}\n", values.unwrap_or_default())
}

/// The rows that are left, in the one order.
fn left(items: &BTreeMap<usize, Item>, schema: &SchemaRef) -> RecordBatch {
    let mut rows: Vec<Item> = items.values().copied().collect();
    rows.sort_by_key(|row| row.n);
    let column = |name: &str| -> ArrayRef {
        let n = || rows.iter().map(|row| row.n);
        match name {
            "g" => Arc::new(rows.iter().map(|row| Some(row.group)).collect::<StringArray>()),
            "n" => Arc::new(n().collect::<Int64Array>()),
            "x" => Arc::new(n().map(|n| n.map(|n| n as f64 / 4.0)).collect::<Float64Array>()),
            "k" => Arc::new(n().map(|n| n.map(|n| format!("k{n:02}"))).collect::<StringArray>()),
            _ => Arc::new(n().map(|n| n.map(|n| n % 3 == 0)).collect::<BooleanArray>()),
        }
    };
    let columns = schema.fields().iter().map(|field| column(field.name())).collect();
    RecordBatch::try_new(Arc::clone(schema), columns).expect("columns of the schema")
}

fn grouped(call: &str, from: &str) -> String {
    let by = if call.starts_with("grouping") { "ROLLUP (g)" } else { "g" };
    format!("SELECT g, {call} AS a FROM {from} GROUP BY {by}")
}

#[test]
fn every_aggregate_forgets_what_is_taken_back() {
    let known: BTreeSet<String> =
        SessionStateDefaults::default_aggregate_functions().iter().map(|function| function.name().to_owned()).collect();
    let tried: BTreeSet<String> = CALLS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(tried, known, "every function of DataFusion has calls here");
    let calls: Vec<&str> = CALLS.iter().flat_map(|(_, calls)| calls.iter().copied()).collect();
    let mut sql = "CREATE TABLE t (item BIGINT, g TEXT, n BIGINT, x DOUBLE, k TEXT, b BOOLEAN, number BIGINT METADATA FROM 'offset_id')
        WITH (connector = 'single_file', path = 't.json', format = 'json');
        CREATE VIEW latest AS SELECT g, n, x, k, b FROM
        (SELECT *, row_number() OVER (PARTITION BY item ORDER BY number DESC) AS newest FROM t) WHERE newest = 1;\n"
        .to_owned();
    for (index, call) in calls.iter().enumerate() {
        writeln!(sql, "CREATE MATERIALIZED VIEW v{index} AS {};", grouped(call, "latest")).expect("a string");
    }
    let project = plan(&sql, &[]).unwrap_or_else(|errors| panic!("{errors:?}"));
    let queries: BTreeMap<String, SchemaRef> =
        project.queries.iter().map(|query| (query.name.clone(), Arc::clone(&query.schema))).collect();
    let latest = Arc::clone(&queries["latest"]);
    let mut engine = Engine::start(project, &[], Run::default());
    let (mut chance, mut items) = (Chance::new(39), BTreeMap::new());
    for commit in 0..12 {
        let mut text = String::new();
        for _ in 0..1 + chance.below(9) {
            let n = (!chance.once_in(6)).then(|| chance.below(12) as i64);
            let (number, group) = (chance.below(14), *chance.pick(&["a", "b", "c"]));
            let item = Item { group, n };
            text.push_str(&json(number, item));
            items.insert(number, item);
        }
        assert!(engine.append("t", &text).is_empty());
        let snapshot = engine.caught_up().expect("it runs");
        if commit == 7 {
            engine.restart(Run { shards: 3, ..Run::default() });
        }
        let rows = left(&items, &latest);
        let context = batch_session();
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).expect("a table");
        context.register_table("latest", Arc::new(table)).expect("a new name");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for (index, call) in calls.iter().enumerate() {
            let (name, schema) = (format!("v{index}"), &queries[&format!("v{index}")]);
            let found = snapshot.views[name.as_str()].batches(1000).expect("rows that decode");
            let expected = runtime.block_on(async {
                let plan = batch_plan(&context, &grouped(call, "latest")).await?;
                context.execute_logical_plan(plan).await?.collect().await
            });
            let [mut found, mut expected] =
                [found, expected.expect("a batch answer")].map(|rows| lines(&rows, schema).expect("rows as lines"));
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{call}, after commit {commit}");
        }
    }
}
