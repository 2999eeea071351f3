//! Calls of an async function through a whole pipeline: one partition, a service that takes 50 ms.

use crate::CHALK;
use chalk_cli::{Node, ProjectFiles};
use chalk_event::PartitionId;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const LATENCY: Duration = Duration::from_millis(50);
const IN_FLIGHT: usize = 1000;
const ROWS: usize = 200_000;
const BURST: usize = 10_000;
/// For so long that memory shows whether it goes on growing.
const LONG: usize = 1_200_000;

const STUB: &str = r#"use arroyo_udf_plugin::async_udf::tokio::time::{Duration, sleep};
use arroyo_udf_plugin::udf;

#[udf(ORDER, allowed_in_flight = 1000, timeout = "5s")]
async fn stub(id: i64) -> i64 {
    sleep(Duration::from_millis(50)).await;
    id + 1
}
"#;

const SQL: &str = "CREATE TABLE rows (id BIGINT NOT NULL)\n\
    WITH (connector = 'single_file', path = 'rows.json', format = 'json');\n\
    CREATE MATERIALIZED VIEW answers AS SELECT count(answer) AS answers FROM (SELECT stub(id) AS answer FROM rows);\n";

pub(crate) fn run() {
    let ideal = IN_FLIGHT as f64 / LATENCY.as_secs_f64();
    let bare = bare();
    println!(
        "\nasync: a stub of {} ms, {IN_FLIGHT} in flight, one partition: at most {ideal:.0}/s; without an engine {bare:.0}/s, {:.3} of it",
        LATENCY.as_millis(),
        bare / ideal
    );
    for order in ["unordered", "ordered"] {
        let drained = drained(order, ROWS);
        let steady = drained.between(0.2, 0.95);
        println!(
            "{order:<10} {ROWS} rows: {:>6.0}/s between 20 and 95 %, {:.3} of it, {:.3} of what there is without an engine; {:>6.0}/s from start to end; memory at most {} MiB",
            steady,
            steady / ideal,
            steady / bare,
            ROWS as f64 / drained.seconds(1.0),
            drained.memory_mib(1.0),
        );
    }
    let long = drained("unordered", LONG);
    println!(
        "memory: at most {} MiB over {} rows, {} MiB over {}, {} MiB over {LONG}",
        long.memory_mib(1.0 / 3.0),
        LONG / 3,
        long.memory_mib(2.0 / 3.0),
        LONG / 3 * 2,
        long.memory_mib(1.0),
    );
    let burst = drained("unordered", BURST);
    println!(
        "a burst of {BURST}: answered after {:.0} ms (half of it), {:.0} ms (99 %), {:.0} ms (all); memory at most {} MiB",
        1e3 * burst.seconds(0.5),
        1e3 * burst.seconds(0.99),
        1e3 * burst.seconds(1.0),
        burst.memory_mib(1.0),
    );
}

/// Calls per second when nothing but the timers is in between: they count whole milliseconds, and are late by a little.
fn bare() -> f64 {
    const CALLS: usize = 50;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let began = Instant::now();
    runtime.block_on(futures::future::join_all((0..IN_FLIGHT).map(async |_| {
        for _ in 0..CALLS {
            tokio::time::sleep(LATENCY).await;
        }
    })));
    (IN_FLIGHT * CALLS) as f64 / began.elapsed().as_secs_f64()
}

/// How many results were recorded by when, and the most memory in MiB until then.
struct Drained {
    rows: usize,
    recorded: Vec<(Duration, u64, u64)>,
}

impl Drained {
    /// By when so large a part was recorded.
    fn seconds(&self, part: f64) -> f64 {
        self.at(part).map_or(f64::NAN, |(at, ..)| at.as_secs_f64())
    }

    fn memory_mib(&self, part: f64) -> u64 {
        self.at(part).map_or(0, |(.., memory)| *memory)
    }

    fn at(&self, part: f64) -> Option<&(Duration, u64, u64)> {
        let wanted = (part * self.rows as f64) as u64;
        self.recorded.iter().find(|(_, count, _)| *count >= wanted)
    }

    /// Results per second between two parts.
    fn between(&self, from: f64, to: f64) -> f64 {
        (to - from) * self.rows as f64 / (self.seconds(to) - self.seconds(from))
    }
}

fn drained(order: &str, rows: usize) -> Drained {
    let folder = project(SQL, "stub", &STUB.replace("ORDER", order), rows);
    let files = ProjectFiles::read(&folder.path().join("sql")).unwrap();
    let began = Instant::now();
    let node = Node::open(&files, &folder.path().join("data"), "bench").unwrap();
    let topic = node.log.topics().by_name("_recorded_answers_stub").unwrap().id;
    let (mut recorded, mut memory_mib) = (Vec::new(), 0);
    loop {
        let count = node.log.tail(topic, PartitionId(0)).0;
        memory_mib = memory_mib.max(crate::machine::anonymous_memory() >> 20);
        recorded.push((began.elapsed(), count, memory_mib));
        if count >= rows as u64 {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    node.pipeline.stop();
    Drained { rows, recorded }
}

/// A project with one function, built, and a file of so many rows that have ids.
pub(crate) fn project(sql: &str, function: &str, source: &str, rows: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("sql/rows.sql", sql.replace("rows.json", &folder.path().join("rows.json").display().to_string()));
    write(&format!("udfs/{function}.rs"), source.to_owned());
    write("rows.json", (0..rows).map(|id| format!("{{\"id\":{id}}}\n")).collect());
    let program = std::env::current_exe().unwrap();
    let mut target = program.ancestors().nth(3).unwrap().as_os_str().to_owned();
    target.push("-udfs");
    let mut build = Command::new(program);
    build.args([CHALK, "udf", "build"]).current_dir(folder.path()).env("CARGO_TARGET_DIR", target);
    assert!(build.status().unwrap().success(), "the function does not compile");
    folder
}
