use crate::error::{Limit, QueryErrorKind};
use crate::queries::{Queries, QueryLimits};
use crate::testing::{Node, Total, error, order, rows};
use chalk_plan::Functions;
use chalk_view::Snapshot;
use std::sync::Arc;
use std::time::Duration;

const MORE_THAN_CAN_BE_COUNTED: &str = "generate_series(1, 1000000000000)";

fn node() -> Node {
    let node = Node::new();
    node.submit(&[order(1, "north", 10), order(2, "south", 20), order(3, "north", 30)].concat());
    node.submit("not an event\n");
    node.publish(1, &[("totals", &[("north", 1, 40), ("south", 1, 20), ("south", 2, 5)])]);
    node
}

#[tokio::test]
async fn views_and_topics_are_tables() {
    let node = node();
    let queries = node.queries();
    let check = async |sql: &str, expected: &[&str]| assert_eq!(rows(&queries, sql).await, expected, "{sql}");
    check("SELECT shop, total FROM totals WHERE day = 1 ORDER BY shop", &["north,40", "south,20"]).await;
    check("SELECT count(*) FROM totals", &["3"]).await;
    check("SELECT shop, sum(amount) FROM orders GROUP BY shop ORDER BY shop", &["north,40", "south,20"]).await;
    check("SELECT count(*) FROM orders", &["3"]).await;
    check("SELECT reason, line FROM dead_letters", &["malformed_json,1"]).await;
    check("SELECT count(*) FROM late_rows", &["0"]).await;
    check(
        "SELECT o.id, t.total FROM orders o JOIN totals t ON o.shop = t.shop AND t.day = 1 ORDER BY o.id",
        &["1,40", "2,20", "3,40"],
    )
    .await;
    check("SHOW TABLES", &["dead_letters,topic", "late_rows,topic", "orders,topic", "totals,view"]).await;
    check("SELECT column_name FROM information_schema.columns WHERE table_name = 'totals'", &["shop", "day", "total"])
        .await;
    let described: Vec<String> = rows(&queries, "DESCRIBE orders").await;
    let names: Vec<&str> = described.iter().filter_map(|row| row.split(',').next()).collect();
    let expected =
        "event_id event_type tenant occurred_at received_at id shop amount tags _rest _partition _offset _commit_seq";
    assert_eq!(names.join(" "), expected);
    assert_eq!(rows(&queries, "SHOW COLUMNS FROM totals").await.len(), 3);
    assert!(!rows(&queries, "EXPLAIN SELECT * FROM totals").await.is_empty());
}

#[tokio::test]
async fn topics_tell_where_each_event_stands() {
    let node = node();
    let shops = ["a", "b", "c", "d", "e", "f"];
    node.submit(&shops.iter().zip(5..).map(|(shop, id)| order(id, shop, 1)).collect::<String>());
    let queries = node.queries();
    let sql = "SELECT _partition, _offset, _commit_seq, id FROM orders WHERE id < 5 ORDER BY _offset";
    assert_eq!(rows(&queries, sql).await, ["0,0,2,1", "0,1,2,2", "0,2,2,3"]);
    let sql = "SELECT count(DISTINCT _partition), min(_offset), max(_commit_seq) FROM orders";
    assert_eq!(rows(&queries, sql).await, ["2,0,4"]);
    let sql = "SELECT count(DISTINCT _offset) = count(*), max(_offset) + 1 = count(*) FROM orders GROUP BY _partition";
    assert_eq!(rows(&queries, sql).await, ["true,true", "true,true"]);
    assert_eq!(rows(&queries, "SELECT _commit_seq FROM orders LIMIT 1").await.len(), 1);
    // The mark of JSON text must not come in the way.
    for sql in [
        "SELECT tags, count(*) FROM orders GROUP BY tags",
        "SELECT tags FROM orders UNION SELECT shop FROM orders ORDER BY 1",
        "SELECT a.tags FROM orders a JOIN orders b ON a.tags = b.tags ORDER BY a.tags",
        "SELECT max(tags), min(_rest) FROM orders",
        "SELECT tags, row_number() OVER (PARTITION BY tags ORDER BY _offset) FROM orders",
        "SELECT coalesce(_rest, tags, 'x') FROM orders",
        "SELECT tags ->> 0 FROM orders",
        "SELECT * FROM orders o WHERE EXISTS (SELECT 1 FROM orders p WHERE p.tags = o.tags)",
    ] {
        assert!(!rows(&queries, sql).await.is_empty(), "{sql}");
    }
}

#[tokio::test]
async fn topics_are_read_in_chunks() {
    let node = Node::new();
    for batch in 0..4 {
        // Text that does not compress well: a chunk is measured by its bytes on disk.
        let shop = |id: u64| {
            (1..40).map(|n| format!("{:x}", (id * 40 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect::<String>()
        };
        let lines: Vec<String> = (batch * 5_000..(batch + 1) * 5_000).map(|id| order(id, &shop(id), 1)).collect();
        node.submit(&lines.concat());
    }
    let queries = node.queries();
    assert_eq!(
        rows(&queries, "SELECT count(*), count(DISTINCT id), max(_offset) > 5000 FROM orders").await,
        ["20000,20000,true"]
    );
    // One batch must not be all there is.
    let result = queries.run("SELECT id, shop FROM orders").await.expect("an answer");
    assert!(result.batches.len() > 4, "{} batches", result.batches.len());
}

#[tokio::test]
async fn a_query_sees_one_snapshot() {
    let node = Node::new();
    let queries = node.queries();
    let before: &[Total] = &[("north", 1, 1)];
    node.publish(1, &[("a", before), ("b", before)]);
    let publishing = async {
        for epoch in 2..200 {
            let rows: &[Total] = if epoch % 2 == 0 { &[("north", 1, 2), ("south", 1, 2)] } else { &[("north", 1, 1)] };
            node.publish(epoch, &[("a", rows), ("b", rows)]);
            tokio::task::yield_now().await;
        }
    };
    let asking = async {
        for _ in 0..20 {
            let sql = "SELECT (SELECT count(*) FROM a) = (SELECT count(*) FROM b), \
                       (SELECT count(*) FROM a FULL JOIN b ON a.shop = b.shop AND a.total = b.total \
                        WHERE a.shop IS NULL OR b.shop IS NULL)";
            assert_eq!(rows(&queries, sql).await, ["true,0"]);
        }
    };
    tokio::join!(publishing, asking);
}

#[tokio::test]
async fn topics_end_where_the_query_began() {
    use crate::tables::{Catalogs, QueryTables};
    use datafusion::prelude::{SessionConfig, SessionContext};
    let node = node();
    let tables = Arc::new(QueryTables::pinned(&node.log, node.queries().snapshot(), None));
    let config = SessionConfig::new().with_default_catalog_and_schema("chalk", "public");
    let context = SessionContext::new_with_config(config.with_create_default_catalog_and_schema(false));
    context.register_catalog_list(Arc::new(Catalogs::of(tables, None)));
    node.submit(&order(9, "north", 1));
    let batches = context.sql("SELECT id FROM orders").await.expect("a plan").collect().await.expect("rows");
    assert_eq!(batches.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 3);
    assert_eq!(rows(&node.queries(), "SELECT count(*) FROM orders").await, ["4"]);
}

#[tokio::test]
async fn a_view_wins_over_a_topic_of_its_name() {
    let node = node();
    node.publish(2, &[("orders", &[("view", 1, 1)])]);
    assert_eq!(rows(&node.queries(), "SELECT shop FROM orders").await, ["view"]);
    assert_eq!(rows(&node.queries(), "SHOW TABLES").await, ["dead_letters,topic", "late_rows,topic", "orders,view"]);
}

#[tokio::test]
async fn without_a_pipeline_there_are_topics() {
    let node = node();
    let nothing = tokio::sync::watch::channel(Arc::new(Snapshot::default())).1;
    let queries = Queries::new(Arc::clone(&node.log), nothing, &Functions::default(), QueryLimits::default());
    assert_eq!(rows(&queries, "SELECT count(*) FROM orders").await, ["3"]);
}

#[tokio::test]
async fn equality_on_the_first_columns_is_a_range() {
    let node = Node::new();
    let shops = ["a", "ab", "b", "", "a'b"];
    let all: Vec<Total> = (0..500).map(|n| (shops[n % 5], (n / 5 % 10) as i64, (n % 7) as i64)).collect();
    node.publish(1, &[("totals", &all)]);
    let queries = node.queries();
    for (condition, keep) in [
        ("shop = 'a'", (|row| row.0 == "a") as fn(&Total) -> bool),
        ("'ab' = shop", |row| row.0 == "ab"),
        ("shop = ''", |row| row.0.is_empty()),
        ("shop = 'a''b' AND day = 3", |row| row.0 == "a'b" && row.1 == 3),
        ("day = 3 AND shop = 'b'", |row| row.0 == "b" && row.1 == 3),
        ("day = 3", |row| row.1 == 3),
        ("shop = 'a' AND total = 2", |row| row.0 == "a" && row.2 == 2),
        ("shop = 'a' AND day = 1 AND total = 2", |row| row.0 == "a" && row.1 == 1 && row.2 == 2),
        ("shop = 'a' AND day > 7", |row| row.0 == "a" && row.1 > 7),
        ("shop = 'a' OR shop = 'b'", |row| row.0 == "a" || row.0 == "b"),
        ("shop = 'a' AND shop = 'b'", |_| false),
        ("shop = NULL", |_| false),
        ("shop = 'none'", |_| false),
        ("shop = 'a' AND day = 1.5", |_| false),
        ("shop = 'a' AND day = '1'", |row| row.0 == "a" && row.1 == 1),
        ("shop IN ('ab')", |row| row.0 == "ab"),
    ] {
        let mut expected: Vec<String> =
            all.iter().filter(|row| keep(row)).map(|row| format!("{},{},{}", quoted(row.0), row.1, row.2)).collect();
        expected.sort();
        let mut found = rows(&queries, &format!("SELECT * FROM totals WHERE {condition}")).await;
        found.sort();
        assert_eq!(found, expected, "{condition}");
    }
}

fn quoted(text: &str) -> &str {
    if text.is_empty() { "\"\"" } else { text }
}

#[tokio::test]
async fn a_range_is_all_that_is_read() {
    use crate::view_table::ViewTable;
    use datafusion::catalog::TableProvider;
    use datafusion::logical_expr::TableProviderFilterPushDown::{Exact, Unsupported};
    use datafusion::prelude::{SessionContext, col, lit};
    let all: Vec<Total> = (0..100).map(|day| (if day < 90 { "a" } else { "b" }, day, 0)).collect();
    let table = ViewTable::new(crate::testing::totals("totals", &all));
    let (shop, day, total) = (col("shop").eq(lit("b")), col("day").eq(lit(95_i64)), col("total").eq(lit(0_i64)));
    let pushed = |filters: &[&datafusion::prelude::Expr]| table.supports_filters_pushdown(filters).expect("an answer");
    assert_eq!(pushed(&[&shop, &total]), [Exact, Unsupported]);
    assert_eq!(pushed(&[&total, &day, &shop]), [Exact, Exact, Exact]);
    assert_eq!(pushed(&[&shop, &col("shop").eq(lit("a"))]), [Exact, Unsupported]);
    assert_eq!(pushed(&[&day]), [Unsupported]);
    assert_eq!(pushed(&[&col("shop").gt(lit("b"))]), [Unsupported]);
    let state = SessionContext::new().state();
    let mut read = Vec::new();
    for (filters, limit) in [(vec![], None), (vec![], Some(7)), (vec![shop.clone()], None), (vec![shop, day], None)] {
        let plan = table.scan(&state, None, &filters, limit).await.expect("a plan");
        let batches = datafusion::physical_plan::collect(plan, state.task_ctx()).await.expect("rows");
        read.push(batches.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>());
    }
    assert_eq!(read, [100, 7, 10, 1]);
}

#[tokio::test]
async fn files_cannot_be_reached() {
    let node = node();
    let queries = node.queries();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("x.csv");
    std::fs::write(&file, "a\n1\n").expect("a file");
    let file = file.display();
    for sql in [
        format!("SELECT * FROM '{file}'"),
        format!("SELECT * FROM \"{file}\""),
        format!("SELECT * FROM 'file://{file}'"),
        format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{file}'"),
        format!("COPY (SELECT 1) TO '{file}' STORED AS CSV"),
        format!("EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}' STORED AS CSV"),
        format!("SELECT * FROM read_csv('{file}')"),
        format!("SELECT * FROM parquet_metadata('{file}')"),
    ] {
        let error = error(&queries, &sql).await;
        assert_eq!(error.kind, QueryErrorKind::Mistake, "{sql}: {error}");
    }
    let local = datafusion::execution::object_store::ObjectStoreUrl::local_filesystem();
    assert!(super::session::no_object_stores().get_store(local.as_ref()).is_err());
    assert_eq!(std::fs::read_to_string(directory.path().join("x.csv")).expect("still there"), "a\n1\n");
}

#[tokio::test]
async fn mistakes_say_where_and_what_was_meant() {
    let node = node();
    let queries = node.queries();
    for (sql, expected) in [
        ("SELECT shop FROM total", "1:18: there is no view or topic 'total'\n  hint: did you mean 'totals'?"),
        (
            "SELECT *\nFROM nowhere",
            "2:6: there is no view or topic 'nowhere'\n  hint: known are dead_letters, late_rows, orders, totals",
        ),
        (
            "SELECT * FROM _journal",
            "1:15: there is no view or topic '_journal'\n  hint: known are dead_letters, late_rows, orders, totals",
        ),
        ("SELECT shp FROM totals", "1:8: there is no column 'shp'\n  hint: did you mean 'shop'?"),
        ("SELECT x FROM totals", "1:8: there is no column 'x'\n  hint: columns here are shop, day, total"),
        ("SELECT t.x FROM totals t", "1:8: there is no column 't.x'\n  hint: columns here are shop, day, total"),
        (
            "SELECT shop, sum(total) FROM totals",
            "1:8: 'totals.shop' must appear in GROUP BY clause because it's not an aggregate expression\n  hint: Either add \
             'totals.shop' to GROUP BY clause, or use an aggregate function like ANY_VALUE(totals.shop)",
        ),
        (
            "SELECT abs(1, 2)",
            "Function 'abs' expects 1 arguments but received 2. No function matches the given name and argument types \
             'abs(Int64, Int64)'. You might need to add explicit type casts\n  hint: Candidate functions:\n\tabs(Numeric(1))",
        ),
        ("SELECT cout(*) FROM totals", "1:8: Invalid function 'cout'\n  hint: Did you mean 'cot'?"),
        ("SELECT *\nFROM totals WHERE ) 1", "2:19: Expected: an expression, found: )"),
        ("SELECT CAST('x' AS INT)", "Cast error: Cannot cast string 'x' to value of Int32 type"),
        ("SELECT 1 / 0", "Divide by zero error"),
        ("SELECT shop + 1 FROM totals", "1:8: Cannot coerce arithmetic expression Utf8 + Int64 to valid types"),
        (
            "SELECT * FROM other.totals",
            "1:15: there is no view or topic 'other.totals'\n  hint: known are dead_letters, late_rows, orders, totals",
        ),
    ] {
        let error = error(&queries, sql).await;
        assert_eq!(error.kind, QueryErrorKind::Mistake, "{sql}: {error}");
        for noise in [
            "Error during planning",
            "Schema error",
            "SQL error",
            "ParserError",
            "Arrow error",
            "DataFusion",
            "chalk.public",
        ] {
            assert!(!error.to_string().contains(noise), "{sql}: {error}");
        }
        assert_eq!(error.to_string(), expected, "{sql}");
    }
}

#[tokio::test]
async fn limits_end_a_query() {
    let node = node();
    let limits = QueryLimits { rows_max: 1_000, memory_bytes_max: 8 << 20, seconds_max: 1, ..QueryLimits::default() };
    let queries = node.limited(limits);
    for (sql, limit) in [
        (format!("SELECT * FROM {MORE_THAN_CAN_BE_COUNTED}"), Limit::Rows),
        ("SELECT * FROM generate_series(1, 1001)".to_owned(), Limit::Rows),
        (format!("SELECT sum(value) FROM {MORE_THAN_CAN_BE_COUNTED}"), Limit::Time),
        (format!("EXPLAIN ANALYZE SELECT sum(value) FROM {MORE_THAN_CAN_BE_COUNTED}"), Limit::Time),
        (format!("SELECT value FROM {MORE_THAN_CAN_BE_COUNTED} WHERE value < 0"), Limit::Time),
        (format!("SELECT value * 7 % 1000000007, count(*) FROM {MORE_THAN_CAN_BE_COUNTED} GROUP BY 1"), Limit::Memory),
        (
            "SELECT value FROM generate_series(1, 10000000) ORDER BY value % 1000 LIMIT 2000000".to_owned(),
            Limit::Memory,
        ),
        (
            "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n".to_owned(),
            Limit::Time,
        ),
    ] {
        let error = error(&queries, &sql).await;
        assert_eq!(error.kind, QueryErrorKind::Limit(limit), "{sql}: {error}");
        assert!(error.hint.is_some(), "{sql}: {error}");
    }
    assert_eq!(rows(&queries, "SELECT * FROM generate_series(1, 1000)").await.len(), 1_000);
    assert_eq!(queries.running(), 0);
}

#[tokio::test]
async fn long_statements_within_the_limits_do_not_harm() {
    let node = node();
    let queries = node.queries();
    for sql in [
        format!("SELECT {}", vec!["1"; 499].join(" + ")),
        format!("SELECT count(*) FROM totals WHERE {}", vec!["day = 1"; 240].join(" OR ")),
        format!("SELECT {}1{}", "abs(".repeat(50), ")".repeat(50)),
        vec!["SELECT 1"; 100].join(" UNION ALL "),
        format!(
            "SELECT count(*) FROM totals WHERE {} > 0",
            vec!["CASE WHEN day = 1 THEN 1 ELSE 0 END"; 150].join(" + ")
        ),
    ] {
        queries.run(&sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }
}

#[tokio::test]
async fn a_dropped_query_frees_what_it_holds() {
    let node = node();
    let queries = node.limited(QueryLimits { concurrent_max: 1, ..QueryLimits::default() });
    let endless = format!("SELECT sum(value) FROM {MORE_THAN_CAN_BE_COUNTED}");
    assert!(tokio::time::timeout(Duration::from_millis(50), queries.run(&endless)).await.is_err());
    assert_eq!(queries.running(), 0);
    // There is one turn: it must have come back.
    assert_eq!(rows(&queries, "SELECT 1").await, ["1"]);
}

/// The answer without the short way, as CSV.
async fn planned(queries: &Queries, sql: &str) -> Result<String, String> {
    let tables = queries.pinned();
    let asked = async {
        let tokens = crate::statement::tokens(sql, &queries.limits)?;
        let planned = queries.plan(sql, tokens, super::Dialect::Plain, &tables, &[]).await?;
        queries.collect(planned, &tables, &[]).await
    };
    let answer: Result<super::QueryResult, crate::error::QueryError> = asked.await;
    let answer = answer.map_err(|error| error.to_string())?;
    Ok(crate::format::write(&answer, crate::format::Format::Csv).expect("text"))
}

#[tokio::test]
async fn lookups_answer_as_plans_do() {
    let node = Node::new();
    let shops = ["a", "ab", "b", "", "a'b"];
    let all: Vec<Total> = (0..5_000).map(|n| (shops[n % 5], (n / 5 % 10) as i64, (n % 700) as i64)).collect();
    node.publish(1, &[("totals", &all)]);
    let queries = node.queries();
    for (sql, is_lookup) in [
        ("SELECT * FROM totals WHERE shop = 'a'", true),
        ("select total, shop from totals where shop = 'a''b' and day = 3;", true),
        ("SELECT * FROM totals WHERE day = 3", true),
        ("SELECT * FROM totals WHERE 3 = day AND shop = 'ab'", true),
        (
            "SELECT t.total AS x, t.shop FROM chalk.public.totals AS t WHERE t.shop = 'b' ORDER BY t.total DESC LIMIT 7",
            true,
        ),
        ("SELECT total FROM totals WHERE shop = 'b' ORDER BY day DESC, total LIMIT 7 OFFSET 3", true),
        ("SELECT * FROM totals WHERE shop = 'b' LIMIT 3", true),
        ("SELECT * FROM totals WHERE shop = 'b' LIMIT 0", true),
        ("SELECT * FROM totals WHERE total = 699 OFFSET 5", true),
        ("SELECT shop, shop AS again FROM totals WHERE shop = 'b' AND day = 1 AND total = 6", true),
        ("SELECT * FROM totals WHERE shop = 'none'", true),
        ("SELECT * FROM totals WHERE shop = 'a' AND shop = 'b'", true),
        ("SELECT * FROM totals WHERE shop = NULL", true),
        ("SELECT * FROM totals WHERE shop = '", false),
        ("SELECT * FROM totals WHERE day = '3'", true),
        ("SELECT * FROM totals WHERE day = 99999999999", true),
        ("SELECT * FROM totals WHERE day = 99999999999999999999", false),
        ("SELECT * FROM totals WHERE day = 3.0", false),
        ("SELECT * FROM totals WHERE day = -3", false),
        ("SELECT * FROM totals WHERE day = 'x'", true),
        ("SELECT * FROM totals WHERE shop = 3", true),
        ("SELECT total + 1 FROM totals WHERE shop = 'a'", false),
        ("SELECT shop = 'a' FROM totals WHERE day = 3", false),
        ("SELECT * FROM totals WHERE shop = 'a' OR shop = 'b'", false),
        ("SELECT * FROM totals WHERE shop = 'a' AND total > 5", false),
        ("SELECT * FROM totals WHERE shop = 'a' AND total <> 'it''s'", false),
        ("SELECT count(*) FROM totals WHERE shop = 'a'", false),
        ("SELECT * FROM orders WHERE shop = 'a'", false),
        ("SELECT table_name FROM information_schema.tables WHERE table_name = 'totals'", false),
        ("SELECT nothing FROM totals WHERE shop = 'a'", false),
        ("SELECT * FROM totals WHERE shop = 'a' AND nothing = 1", false),
    ] {
        let tokens = crate::statement::tokens(sql, &queries.limits);
        let template = tokens.ok().and_then(|tokens| super::template(&tokens));
        let found = match &template {
            Some((text, _)) => queries.lookup(text).await.is_some(),
            None => false,
        };
        assert_eq!(found, is_lookup, "{sql}: {template:?}");
        // Twice: the second time from what is kept.
        for _ in 0..2 {
            let answer = queries.run(sql).await.map_err(|error| error.to_string());
            let answer = answer.map(|answer| crate::format::write(&answer, crate::format::Format::Csv).expect("text"));
            let expected = planned(&queries, sql).await;
            if sql.contains("ORDER BY") || !is_lookup {
                let sorted = |text: String| {
                    let mut lines: Vec<&str> = text.lines().collect();
                    lines.sort_unstable();
                    lines.join("\n")
                };
                assert_eq!(answer.map(sorted), expected.map(sorted), "{sql}");
            } else {
                assert_eq!(answer, expected, "{sql}");
            }
        }
    }
    let few = node.limited(QueryLimits { rows_max: 100, ..QueryLimits::default() });
    let many = "SELECT * FROM totals WHERE shop = 'a'";
    assert_eq!(error(&few, many).await.kind, QueryErrorKind::Limit(Limit::Rows));
    assert_eq!(error(&few, &format!("{many} LIMIT 101")).await.kind, QueryErrorKind::Limit(Limit::Rows));
    assert_eq!(rows(&few, &format!("{many} ORDER BY total LIMIT 100")).await.len(), 100);
    let small = node.limited(QueryLimits { memory_bytes_max: 1_000, ..QueryLimits::default() });
    assert_eq!(error(&small, many).await.kind, QueryErrorKind::Limit(Limit::Memory));
}

#[tokio::test]
async fn a_lookup_knows_that_its_view_has_changed() {
    let node = node();
    let queries = node.queries();
    let sql = "SELECT * FROM totals WHERE shop = 'north'";
    assert_eq!(rows(&queries, sql).await, ["north,1,40"]);
    node.publish(2, &[]);
    assert!(error(&queries, sql).await.message.contains("no view or topic 'totals'"));
    node.publish(3, &[("totals", &[("north", 2, 1)])]);
    assert_eq!(rows(&queries, sql).await, ["north,2,1"]);
}

#[tokio::test]
async fn answers_hold_memory_until_they_are_gone() {
    let node = node();
    let limits = QueryLimits { memory_total_bytes_max: 1 << 20, ..QueryLimits::default() };
    let queries = node.limited(limits);
    let sql = "SELECT * FROM generate_series(1, 100000)";
    let answer = queries.run(sql).await.expect("room");
    assert!(queries.memory_held() >= 800_000);
    assert_eq!(error(&queries, sql).await.kind, QueryErrorKind::Limit(Limit::Memory));
    drop(answer);
    assert_eq!(queries.memory_held(), 0);
    assert_eq!(queries.run(sql).await.expect("room again").rows(), 100_000);
}
