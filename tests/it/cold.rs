//! State beyond the memory that it may take: nothing that can be asked is other than without a limit.

use crate::program::{ASK_EVERY, Client, Folder, PATIENCE, Server};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use chalk_cli::{Node, ProjectFiles, system_clock};
use chalk_connect::Lines;
use chalk_ingest::{Door, DoorOptions};
use chalk_log::{CommitLog, EventLog, Holder, LogOptions};
use chalk_runtime::{ColdTier, Handle, Options, Pipeline, StateStatus};
use chalk_store::Storage;
use chalk_store::memory::{EIO, ENOSPC, Fault, MemoryFiles};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// A limit that a few groups go beyond.
const LIMITED: [&str; 7] = ["run", "--data", "data", "--state-memory", "16KiB", "--checkpoint-interval-ms", "100"];

const SCHEMA: &str = r#"[{"type": "record", "name": "Paid", "event_type": "paid", "key": ["customer"],
  "idempotency_key": ["number"], "fields": [
    {"name": "customer", "type": "string"},
    {"name": "number", "type": "long"},
    {"name": "cents", "type": "long"}]}]"#;

/// A view of groups, and one over them of which groups come and go; a join of both, and ranks, whose every row comes and goes.
const SQL: &str = "
CREATE TABLE payments (customer TEXT NOT NULL, number BIGINT NOT NULL, cents BIGINT NOT NULL)
WITH (connector = 'log', topic = 'payments', format = 'json');

CREATE MATERIALIZED VIEW customers AS
SELECT customer, count(*) AS payments, sum(cents) AS cents, max(number) AS last FROM payments GROUP BY customer;

CREATE MATERIALIZED VIEW sizes AS
SELECT payments, count(*) AS customers, avg(cents) AS mean FROM customers GROUP BY payments;

CREATE MATERIALIZED VIEW shares AS
SELECT number, customer, cents, total, row_number() OVER (PARTITION BY customer ORDER BY cents DESC, number) AS place
FROM (
  SELECT p.number, p.customer, p.cents, c.cents AS total
  FROM payments p LEFT JOIN (SELECT customer, cents FROM customers WHERE payments > 1) c ON p.customer = c.customer
);
";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("sql/payments.sql", SQL);
    folder.write("schemas/payments.avsc", SCHEMA);
    folder.write("schemas/envelope.avsc", include_str!("../../schemas/envelope.avsc"));
    folder
}

/// What customers have paid, as `count,sum,last`.
#[derive(Default)]
struct Paid(BTreeMap<String, (i64, i64, i64)>);

impl Paid {
    /// Payments of these numbers, a hundred lines at a time; each customer comes again after 3001 of them.
    fn lines(&mut self, numbers: std::ops::Range<i64>) -> Vec<String> {
        let mut texts = Vec::new();
        for number in numbers {
            if number % 100 == 0 {
                texts.push(String::new());
            }
            let (customer, cents) = (format!("c{}", number * 7919 % 3001), number % 997);
            texts.last_mut().expect("numbers begin with a hundred").push_str(&format!(
                "{{\"event_type\":\"paid\",\"tenant\":\"t\",\"occurred_at\":\"2025-09-01T00:00:00Z\",\"customer\":\"{customer}\",\"number\":{number},\"cents\":{cents}}}\n"
            ));
            let paid = self.0.entry(customer).or_default();
            *paid = (paid.0 + 1, paid.1 + cents, paid.2.max(number));
        }
        texts
    }

    fn pay(&mut self, client: &Client, numbers: std::ops::Range<i64>) {
        for lines in self.lines(numbers) {
            let answer = client.append(&lines).expect("an answer");
            assert_eq!(answer["accepted_total"], 100, "{answer}");
        }
    }

    /// The view's rows as they should be, as CSV.
    fn rows(&self) -> Vec<String> {
        let row =
            |(customer, (count, sum, last)): (&String, &(i64, i64, i64))| format!("{customer},{count},{sum},{last}");
        self.0.iter().map(row).collect()
    }

    fn check(&self, client: &Client) {
        client.caught_up();
        let (all, rows) = (client.query("SELECT * FROM customers ORDER BY customer"), self.rows());
        assert_eq!(all.lines().collect::<Vec<_>>(), rows);
        for customer in ["c0", "c7", "c2999"] {
            let found = client.query(&format!("SELECT * FROM customers WHERE customer = '{customer}'"));
            let expected = rows.iter().find(|row| row.starts_with(&format!("{customer},")));
            assert_eq!(found, expected.cloned().unwrap_or_default(), "a lookup");
        }
        let paid_twice: Vec<&(i64, i64, i64)> = self.0.values().filter(|(count, ..)| *count == 2).collect();
        let twice = client.query("SELECT customers, mean FROM sizes WHERE payments = 2");
        let mean = paid_twice.iter().map(|paid| paid.1).sum::<i64>() as f64 / paid_twice.len() as f64;
        match twice.split_once(',') {
            None => assert!(paid_twice.is_empty()),
            Some((customers, found)) => {
                assert_eq!(customers, paid_twice.len().to_string());
                assert_eq!(found.parse::<f64>().expect("a number"), mean);
            }
        }
    }
}

/// Bytes on disk, of groups and of views.
fn on_disk(server: &Server) -> (u64, u64) {
    let state = server.client.status()["pipeline"]["state"].clone();
    let bytes = |name: &str| state[name].as_u64().unwrap_or_else(|| panic!("no {name} in {state}"));
    assert_eq!(bytes("memory_bytes_max"), 16 << 10);
    (bytes("groups_disk_bytes"), bytes("views_disk_bytes"))
}

fn verified(folder: &Folder) {
    let verified = folder.chalk(&["replay", "--data", "data", "--verify", "--from-start"]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.out, verified.err);
}

#[test]
fn groups_and_rows_beyond_the_limit_are_on_disk_and_in_every_answer() {
    let folder = folder();
    let mut paid = Paid::default();
    let server = folder.serve(&LIMITED);
    paid.pay(&server.client, 0..4_000);
    paid.check(&server.client);
    let (groups, views) = on_disk(&server);
    assert!(groups > 0 && views > 0, "{groups} and {views} bytes on disk");
    let status = folder.chalk(&["status", "--data", "data"]).done();
    assert!(status.contains(" of 16.0 KiB in memory, "), "{status}");

    // What was in no checkpoint is computed again, and what was on disk is of no use.
    server.kill();
    let server = folder.serve(&LIMITED);
    paid.check(&server.client);
    paid.pay(&server.client, 4_000..8_000);
    paid.check(&server.client);
    server.stop();

    // All of it is in the checkpoint: whoever has the memory has it there, and a limit makes no difference.
    folder.write("data/cold/0000000000.run", "left behind");
    let server = folder.serve(&["run", "--data", "data"]);
    assert!(!folder.path("data/cold").exists());
    let status = server.client.status();
    assert!(status["pipeline"]["checkpoint"]["started_after"].as_u64() > Some(0), "{status}");
    assert!(status["pipeline"]["state"].is_null(), "{status}");
    paid.check(&server.client);
    server.stop();
    let server = folder.serve(&LIMITED);
    assert!(on_disk(&server).0 > 0, "a start is within the limit, too");
    paid.check(&server.client);
    paid.pay(&server.client, 8_000..9_000);
    paid.check(&server.client);
    server.stop();
    assert_eq!(std::fs::read_dir(folder.path("data/cold")).expect("a folder").count(), 0, "nothing is left behind");
    verified(&folder);
}

#[test]
fn homework_under_a_limit_is_what_it_is_without() {
    let folder = Folder::of_homework();
    for (part, seed) in ["1", "2"].iter().enumerate() {
        folder.write("events.json", folder.chalk(&["generate", "homework", "--events", "4000", "--seed", seed]).out);
        let server = folder.serve(&LIMITED);
        folder.chalk_reading(&["append", "--data", "data"], "events.json");
        server.client.caught_up();
        let (groups, views) = on_disk(&server);
        assert!(groups > 0 && views > 0, "{groups} and {views} bytes on disk");
        if part == 0 { server.kill() } else { drop(server.stop()) }
    }
    verified(&folder);
}

/// The payments' pipeline in this process, with its cold tier on a disk that can fail.
struct Running {
    pipeline: Handle,
    door: Arc<Door>,
}

impl Running {
    fn start(folder: &Folder, cold: &MemoryFiles) -> Self {
        let files = ProjectFiles::read(&folder.path("sql")).expect("a project");
        let (planned, _) = Node::plan(&files).expect("a good project");
        let holder = Holder { pid: std::process::id(), command: "a test".to_owned(), http: None, pg: None };
        let log = CommitLog::open(&folder.path("data"), &holder, LogOptions::new(system_clock())).expect("a log");
        let log: Arc<dyn EventLog> = Arc::new(log);
        for (topic, avsc) in &files.schemas {
            log.ensure_topic(topic, avsc, &files.envelope).expect("a topic");
        }
        let door = Arc::new(Door::open(log, DoorOptions::new(system_clock())).expect("a door"));
        let options = Options {
            shards: 2,
            epoch_bytes_max: 1 << 14,
            stdout: Box::new(|| Lines::new("nothing", std::io::sink())),
            directory: folder.path(""),
            quiet: true,
            snapshot_changes_min: 20_000,
            checkpoints: None,
            cold: Some(ColdTier { storage: Arc::new(cold.clone()), memory_bytes_max: 16 << 10 }),
            functions: chalk_runtime::Functions::default(),
            generators: chalk_runtime::Generators::default(),
        };
        let pipeline = Pipeline { name: "p".to_owned(), graph: planned.graph, identity: String::new() };
        Self { pipeline: chalk_runtime::start(&pipeline, &door, &options).expect("a pipeline"), door }
    }

    fn pay(&self, paid: &mut Paid, numbers: std::ops::Range<i64>) {
        for lines in paid.lines(numbers) {
            self.door.submit("test", lines.as_bytes()).expect("lines").wait().expect("a disk");
        }
    }

    fn state(&self) -> StateStatus {
        self.pipeline.status().state.expect("a limit")
    }

    fn check(&self, paid: &Paid) {
        let snapshot = futures::executor::block_on(self.pipeline.caught_up()).expect("it goes on");
        let mut rows = Vec::new();
        for batch in snapshot.views["customers"].batches(500).expect("rows") {
            let names = batch.column(0).as_string::<i32>();
            let numbers = [1, 2, 3].map(|column| batch.column(column).as_primitive::<Int64Type>().clone());
            rows.extend((0..batch.num_rows()).map(|row| {
                let [count, sum, last] = numbers.each_ref().map(|column| column.value(row));
                format!("{},{count},{sum},{last}", names.value(row))
            }));
        }
        assert_eq!(rows, paid.rows());
    }

    /// Waits until it has failed.
    fn failure(&self) -> String {
        let began = Instant::now();
        loop {
            if let Some(failure) = self.pipeline.failure() {
                return failure;
            }
            assert!(began.elapsed() < PATIENCE, "it does not fail");
            std::thread::sleep(ASK_EVERY);
        }
    }
}

#[test]
fn without_room_on_the_disk_state_stays_in_memory() {
    let (folder, cold, mut paid) = (folder(), MemoryFiles::new(), Paid::default());
    let running = Running::start(&folder, &cold);
    running.pay(&mut paid, 0..2_000);
    running.check(&paid);
    let before = running.state();
    assert!(before.groups_disk_bytes > 0 && before.views_disk_bytes > 0 && before.waits.is_none(), "{before:?}");
    cold.set_fault(Some(Fault { from: cold.operations(), count: usize::MAX, errno: ENOSPC, half: true }));
    running.pay(&mut paid, 2_000..6_000);
    running.check(&paid);
    let full = running.state();
    assert!(full.waits.as_ref().is_some_and(|why| why.contains("cannot")), "{full:?}");
    assert!(full.groups_bytes + full.views_bytes > 4 * full.memory_bytes_max, "{full:?}");
    cold.set_fault(None);
    let (began, mut next) = (Instant::now(), 6_000);
    loop {
        running.pay(&mut paid, next..next + 100);
        next += 100;
        let state = running.state();
        if state.waits.is_none() && state.groups_bytes + state.views_bytes < state.memory_bytes_max * 3 / 2 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "nothing leaves memory again: {state:?}");
    }
    running.check(&paid);
    assert_eq!(running.pipeline.failure(), None);
}

#[test]
fn a_disk_that_fails_stops_the_pipeline_and_loses_nothing() {
    let (folder, cold, mut paid) = (folder(), MemoryFiles::new(), Paid::default());
    let running = Running::start(&folder, &cold);
    running.pay(&mut paid, 0..2_000);
    running.check(&paid);
    cold.set_fault(Some(Fault { from: cold.operations(), count: usize::MAX, errno: EIO, half: true }));
    running.pay(&mut paid, 2_000..4_000);
    let failure = running.failure();
    assert!(failure.starts_with("state beyond the memory that it may take: cannot "), "{failure}");
    assert!(failure.contains("\n  hint: nothing is lost"), "{failure}");
    drop(running);
    cold.set_fault(None);

    let running = Running::start(&folder, &cold);
    running.check(&paid);
    let names = cold.list().expect("memory");
    assert!(!names.is_empty());
    for name in names {
        // In its first block, if it has been written.
        if cold.read(&name).expect("memory").is_some_and(|bytes| bytes.len() > 40) {
            cold.flip(&name, 8 * 40);
        }
    }
    running.pay(&mut paid, 4_000..8_000);
    let failure = running.failure();
    assert!(failure.contains("damaged run: "), "{failure}");
    drop(running);
    Running::start(&folder, &cold).check(&paid);
}
