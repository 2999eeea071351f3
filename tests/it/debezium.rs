//! What a query writes as changes merges to what the query is: whatever comes, in whatever commits, over restarts.

use crate::engine::{Engine, Run, plan};
use chalk_codec::write_json_row;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const ORDERS: &str = "
CREATE TABLE orders (id INT PRIMARY KEY, product TEXT, quantity INT)
WITH (connector = 'single_file', path = 'orders.json', format = 'debezium_json');
";

/// A query, and the columns of its key, if its sink has one.
const QUERIES: [(&str, &[&str]); 4] = [
    ("SELECT product, count(*) AS orders, sum(quantity) AS quantity FROM orders GROUP BY product", &["product"]),
    ("SELECT id, product, rank() OVER (PARTITION BY product ORDER BY quantity) AS place FROM orders", &[]),
    (
        "SELECT a.id AS a, b.id AS b FROM orders AS a JOIN orders AS b ON a.product = b.product AND a.quantity < b.quantity",
        &[],
    ),
    ("SELECT product, quantity FROM orders", &[]),
];

struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A change of the table by chance.
fn change(table: &mut BTreeMap<u64, Value>, chance: &mut Chance) -> String {
    let id = chance.below(12);
    let product = ["pen", "ink", "nib"][chance.below(3) as usize];
    let row = json!({"id": id, "product": product, "quantity": chance.below(4)});
    let (before, after, op) = match (table.get(&id).cloned(), chance.below(3)) {
        (None, _) => (Value::Null, row, "c"),
        (Some(before), 0) => (before, Value::Null, "d"),
        (Some(before), _) => (before, row, "u"),
    };
    match after.is_null() {
        true => table.remove(&id),
        false => table.insert(id, after.clone()),
    };
    format!("{}\n", json!({"before": before, "after": after, "op": op}))
}

/// The rows that changes leave, as whole rows.
fn merged(changes: &str) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for line in changes.lines() {
        let change: Value = serde_json::from_str(line).expect("JSON");
        if !change["before"].is_null() {
            let gone = change["before"].to_string();
            let place = rows.iter().position(|row| *row == gone);
            rows.remove(place.unwrap_or_else(|| panic!("{line}: the row is not there")));
        }
        if !change["after"].is_null() {
            rows.push(change["after"].to_string());
        }
    }
    rows.sort_unstable();
    rows
}

/// The rows that changes leave for who knows them by a key alone.
fn merged_by_key(changes: &str, key: &[&str]) -> Vec<String> {
    let mut rows: BTreeMap<String, String> = BTreeMap::new();
    let of = |row: &Value| key.iter().map(|column| format!("{},", row[*column])).collect::<String>();
    for line in changes.lines() {
        let change: Value = serde_json::from_str(line).expect("JSON");
        match change["after"].is_null() {
            true => rows.remove(&of(&change["before"])),
            false => rows.insert(of(&change["after"]), change["after"].to_string()),
        };
    }
    let mut rows: Vec<String> = rows.into_values().collect();
    rows.sort_unstable();
    rows
}

fn view(engine: &Engine, name: &str) -> Vec<String> {
    let snapshot = engine.drain().unwrap_or_else(|error| panic!("{error}"));
    let mut rows = Vec::new();
    for batch in snapshot.views[name].batches(1000).expect("rows that decode") {
        for row in 0..batch.num_rows() {
            let mut line = String::new();
            write_json_row(&mut line, &batch, row, &|_| false).expect("rows that JSON has words for");
            rows.push(serde_json::from_str::<Value>(&line).expect("JSON").to_string());
        }
    }
    rows.sort_unstable();
    rows
}

#[test]
fn changes_merge_to_the_querys_rows() {
    let mut sql = ORDERS.to_owned();
    for (number, (query, _)) in QUERIES.iter().enumerate() {
        sql.push_str(&format!(
            "CREATE TABLE s{number} WITH (connector = 'single_file', path = 's{number}.json', type = 'sink', format = 'debezium_json');
             INSERT INTO s{number} {query};
             CREATE MATERIALIZED VIEW v{number} AS {query};"
        ));
    }
    let mut updates = 0;
    for seed in 1..=12 {
        let mut chance = Chance(seed);
        let mut table = BTreeMap::new();
        let project = plan(&sql, &[]).unwrap_or_else(|errors| panic!("{}", errors[0]));
        let mut engine = Engine::start(project, &[], Run::default());
        for _ in 0..12 {
            let changes: String = (0..chance.below(9)).map(|_| change(&mut table, &mut chance)).collect();
            assert_eq!(engine.append("orders", &changes), [], "seed {seed}");
            match chance.below(4) {
                0 => engine.restart(Run { shards: 1 + chance.below(3) as usize, ..Run::default() }),
                1 => drop(engine.caught_up().unwrap_or_else(|error| panic!("{error}"))),
                _ => {}
            }
        }
        for (number, (query, key)) in QUERIES.iter().enumerate() {
            let expected = view(&engine, &format!("v{number}"));
            // What stops has given its sinks all rows.
            engine.restart(Run::default());
            let changes =
                std::fs::read_to_string(engine.folder.path().join(format!("s{number}.json"))).expect("a file");
            assert_eq!(merged(&changes), expected, "seed {seed}: {query}");
            if !key.is_empty() {
                updates += changes.matches("\"op\":\"u\"").count();
                assert_eq!(merged_by_key(&changes, key), expected, "seed {seed}: {query}");
            }
        }
        let row = |row: &Value| json!({"product": row["product"], "quantity": row["quantity"]}).to_string();
        let mut rows: Vec<String> = table.values().map(row).collect();
        rows.sort_unstable();
        assert_eq!(view(&engine, "v3"), rows, "seed {seed}");
    }
    assert!(updates > 50, "changes of a group are updates: {updates}");
}
