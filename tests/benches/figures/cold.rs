//! Many more keys than fit in memory: the program with a limit to state and without, each fed over HTTP until its views show all.

use crate::Wanted;
use crate::machine::disk;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const KEYS: u64 = 20_000_000;
/// Of so many keys one is paid for once more.
const AGAIN: u64 = 10;
const LIMIT: &str = "512MiB";
const LINES: u64 = 5_000;
const CLIENTS: usize = 2;
const LOOKUPS: u64 = 200;

const SQL: &str = "
CREATE TABLE payments (customer TEXT NOT NULL, number BIGINT NOT NULL, cents BIGINT NOT NULL)
WITH (connector = 'log', topic = 'payments', format = 'json');

CREATE MATERIALIZED VIEW customers AS
SELECT customer, count(*) AS payments, sum(cents) AS cents FROM payments GROUP BY customer;
";

const SCHEMA: &str = r#"[{"type": "record", "name": "Paid", "event_type": "paid", "key": ["customer"],
  "idempotency_key": ["number"], "fields": [
    {"name": "customer", "type": "string"},
    {"name": "number", "type": "long"},
    {"name": "cents", "type": "long"}]}]"#;

pub(crate) fn run(wanted: &Wanted) {
    let keys = wanted.events.unwrap_or(KEYS);
    println!("cold: {keys} keys in a view of counts and sums, then {} events for keys by chance", keys / AGAIN);
    for limit in [Some(LIMIT), None] {
        measure(keys, limit);
    }
}

/// The program at work.
struct Served {
    child: Child,
    address: String,
    data: PathBuf,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn measure(keys: u64, limit: Option<&str>) {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(directory.path(), limit);
    println!("  {}:", limit.map_or("no limit".to_owned(), |limit| format!("--state-memory {limit}")));
    let new = served.feed(0..keys, |number| number);
    served.report("new keys", keys, new);
    // Multiplied by a number that has no factor in common with theirs, numbers come in an order that looks like chance.
    let again = served.feed(keys..keys + keys / AGAIN, |number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys);
    served.report("known keys", keys / AGAIN, again);
    let began = Instant::now();
    for lookup in 0..LOOKUPS {
        let key = lookup.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys;
        let rows =
            served.post("/query?format=csv", &format!("SELECT * FROM customers WHERE customer = '{}'", name(key)));
        assert_eq!(rows.lines().count(), 2, "{rows}");
    }
    println!("    a lookup: {:.2} ms", began.elapsed().as_secs_f64() * 1e3 / LOOKUPS as f64);
}

fn name(key: u64) -> String {
    format!("customer-{key:010}")
}

impl Served {
    fn start(directory: &Path, limit: Option<&str>) -> Self {
        let project = directory.join("project");
        fs::create_dir_all(project.join("schemas")).unwrap();
        fs::write(project.join("payments.sql"), SQL).unwrap();
        fs::write(project.join("schemas/payments.avsc"), SCHEMA).unwrap();
        let envelope = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/envelope.avsc");
        fs::copy(envelope, project.join("schemas/envelope.avsc")).unwrap();
        let data = directory.join("data");
        let mut command = Command::new(env!("CARGO_BIN_EXE_chalk-under-test"));
        command.args(["run", "payments.sql", "--http-port", "0", "--pg-port", "0", "--data"]).arg(&data);
        if let Some(limit) = limit {
            command.args(["--state-memory", limit]);
        }
        let mut child = command.current_dir(&project).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let serving = lines.find(|line| line.starts_with("serving on http://")).unwrap();
        let address = serving.trim_start_matches("serving on http://").split(' ').next().unwrap().to_owned();
        Self { child, address, data }
    }

    fn post(&self, path: &str, body: &str) -> String {
        let url = format!("http://{}{path}", self.address);
        ureq::post(&url).send(body).unwrap().body_mut().read_to_string().unwrap()
    }

    fn status(&self) -> Value {
        let url = format!("http://{}/status", self.address);
        serde_json::from_str(&ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap()).unwrap()
    }

    /// Sends payments of these numbers; gives the time until the view shows them.
    fn feed(&self, numbers: std::ops::Range<u64>, key: impl Fn(u64) -> u64 + Sync) -> Duration {
        let (next, began) = (AtomicU64::new(numbers.start), Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut text = String::new();
                    loop {
                        let from = next.fetch_add(LINES, Ordering::Relaxed);
                        if from >= numbers.end {
                            break;
                        }
                        text.clear();
                        for number in from..(from + LINES).min(numbers.end) {
                            let (customer, cents) = (name(key(number)), number % 997);
                            writeln!(
                                text,
                                r#"{{"event_type":"paid","tenant":"t","occurred_at":"2025-09-01T00:00:00Z","customer":"{customer}","number":{number},"cents":{cents}}}"#
                            )
                            .unwrap();
                        }
                        let receipt = self.post("/events", &text);
                        assert!(receipt.contains(r#""refused_total":0"#), "{receipt}");
                    }
                });
            }
        });
        loop {
            let status = self.status();
            assert!(status["failure"].is_null(), "{status}");
            if status["upto"] == status["durable"] {
                return began.elapsed();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn report(&self, what: &str, events: u64, time: Duration) {
        let state = &self.status()["pipeline"]["state"];
        let mib = |name: &str| state[name].as_u64().unwrap_or(0) >> 20;
        println!(
            "    {what}: {:.0} events/s; peak {} MiB resident, {} MiB of data on disk{}",
            events as f64 / time.as_secs_f64(),
            self.peak() >> 20,
            disk(&self.data) >> 20,
            if state.is_null() {
                String::new()
            } else {
                let (groups, views, waiting) = (mib("groups_bytes"), mib("views_bytes"), mib("waiting_bytes"));
                format!(
                    "; state: groups {groups}, views {views}, waiting {waiting} MiB in memory, groups {}, views {} MiB on disk",
                    mib("groups_disk_bytes"),
                    mib("views_disk_bytes"),
                )
            }
        );
    }

    /// The most that was ever resident, in bytes.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}
