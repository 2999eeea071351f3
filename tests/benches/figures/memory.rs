//! Resident memory while events go by whose state does not grow.

use crate::Wanted;
use crate::machine::{disk, memory};
use crate::workload::{InFlight, open, waiter};
use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

const EVENTS: u64 = 10_000_000;
const LINES: u64 = 2_000;

/// One view with as many rows as there are classes, whatever goes by.
const SQL: &str = "
CREATE TABLE pages (
  class   TEXT NOT NULL,
  page    BIGINT NOT NULL,
  read_at TIMESTAMP NOT NULL,
  WATERMARK FOR read_at AS (read_at - INTERVAL '10 minutes')
) WITH (connector = 'log', topic = 'pages', format = 'json');

CREATE MATERIALIZED VIEW read AS
SELECT class, count(*) AS pages, max(page) % 1000 AS last FROM pages GROUP BY class;
";

const SCHEMA: &str = r#"[{"type": "record", "name": "PageRead", "event_type": "page_read", "key": ["class"],
  "idempotency_key": ["page"], "fields": [
    {"name": "class", "type": "string"},
    {"name": "page", "type": "long"},
    {"name": "read_at", "type": {"type": "long", "logicalType": "timestamp-micros"}}]}]"#;

pub(crate) fn run(wanted: &Wanted) {
    let events = wanted.events.unwrap_or(EVENTS);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let project = directory.path().join("project");
    fs::create_dir_all(project.join("schemas")).unwrap();
    fs::write(project.join("read.sql"), SQL).unwrap();
    fs::write(project.join("schemas/pages.avsc"), SCHEMA).unwrap();
    let envelope = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/envelope.avsc");
    fs::copy(envelope, project.join("schemas/envelope.avsc")).unwrap();
    let data = directory.path().join("data");
    let (node, _) = open(&data, &project.join("read.sql"), &runtime);
    println!("memory: {events} small events with ids of their own, state of 100 groups");
    let (sender, waiting) = waiter(node.pipeline.subscribe(), 16);
    let began = Instant::now();
    let mut text = String::new();
    for event in 0..events {
        let (class, second) = (event % 100, event / 1000 % 86_400);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        writeln!(
            text,
            r#"{{"event_type":"page_read","tenant":"t","occurred_at":"2025-09-01T00:00:00Z","class":"c{class}","page":{event},"read_at":"2025-09-01T{hour:02}:{minute:02}:{second:02}Z"}}"#
        )
        .unwrap();
        if (event + 1) % LINES == 0 || event + 1 == events {
            let submitted = node.door.submit("bench", text.as_bytes()).unwrap();
            text.clear();
            sender.send(InFlight { submitted, at: Instant::now(), events: LINES }).unwrap();
        }
        if (event + 1) % (events / 10).max(1) == 0 {
            println!(
                "  {:>9} events: {:>5} MiB resident, {:>6} MiB on disk, {:.0} s",
                event + 1,
                memory() >> 20,
                disk(&data) >> 20,
                began.elapsed().as_secs_f64()
            );
        }
    }
    drop(sender);
    waiting.join().unwrap();
    node.pipeline.stop();
}
