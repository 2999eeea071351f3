//! How long a start takes that reads a gigabyte of state back.

use crate::Wanted;
use crate::machine::{disk, memory, ms};
use crate::workload::{InFlight, open, waiter};
use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

/// As many as make a checkpoint of about a gigabyte.
const PAGES: u64 = 2_500_000;
const LINES: u64 = 2_000;
/// Characters of a page's text.
const TEXT: usize = 200;

/// A group, and a row of a view, for each page.
const SQL: &str = "
CREATE TABLE pages (
  page    BIGINT NOT NULL,
  text    TEXT NOT NULL
) WITH (connector = 'log', topic = 'pages', format = 'json');

CREATE MATERIALIZED VIEW texts AS
SELECT page, max(text) AS text, count(*) AS times FROM pages GROUP BY page;
";

const SCHEMA: &str = r#"[{"type": "record", "name": "PageRead", "event_type": "page_read", "key": ["page"],
  "idempotency_key": ["page"], "fields": [{"name": "page", "type": "long"}, {"name": "text", "type": "string"}]}]"#;

pub(crate) fn run(wanted: &Wanted) {
    let pages = wanted.events.unwrap_or(PAGES);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let project = directory.path().join("project");
    fs::create_dir_all(project.join("schemas")).unwrap();
    fs::write(project.join("texts.sql"), SQL).unwrap();
    fs::write(project.join("schemas/pages.avsc"), SCHEMA).unwrap();
    let envelope = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/envelope.avsc");
    fs::copy(envelope, project.join("schemas/envelope.avsc")).unwrap();
    let (data, sql) = (directory.path().join("data"), project.join("texts.sql"));
    println!("recovery: {pages} groups, and as many rows of a view, with {TEXT} characters each");
    let (node, _) = open(&data, &sql, &runtime);
    let (sender, waiting) = waiter(node.pipeline.subscribe(), 16);
    let (mut text, mut state) = (String::new(), 7_u64);
    for page in 0..pages {
        write!(
            text,
            r#"{{"event_type":"page_read","tenant":"t","occurred_at":"2025-09-01T00:00:00Z","page":{page},"text":""#
        )
        .unwrap();
        for _ in 0..TEXT {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push(char::from(b'A' + (state >> 59) as u8 % 26));
        }
        text.push_str("\"}\n");
        if (page + 1) % LINES == 0 || page + 1 == pages {
            let submitted = node.door.submit("bench", text.as_bytes()).unwrap();
            text.clear();
            sender.send(InFlight { submitted, at: Instant::now(), events: LINES }).unwrap();
        }
    }
    drop(sender);
    waiting.join().unwrap();
    node.pipeline.stop();
    drop(node);
    let before = memory();
    for _ in 0..3 {
        let (node, time) = open(&data, &sql, &runtime);
        let (read, durable) = (node.pipeline.status().checkpoint.started_after, *node.log.durable().borrow());
        println!(
            "  a start: {}, from a checkpoint of {} MiB after commit {read} of {durable}; {} MiB more resident",
            ms(time),
            disk(&data.join("checkpoints")) >> 20,
            memory().saturating_sub(before) >> 20
        );
        node.pipeline.stop();
    }
}
