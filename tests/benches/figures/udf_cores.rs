//! A function that computes for long, over one partition: with one worker, and with one for each core.

use crate::CHALK;
use crate::udf_async::project;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const ROWS: usize = 200_000;
const TURNS: usize = 3;

/// About 25 microseconds a row.
const WORK: &str = "use arroyo_udf_plugin::udf;

#[udf]
fn work(id: i64) -> i64 {
    (0..20_000).fold(id, |hash, step| (hash ^ step).wrapping_mul(0x100_0000_01b3).rotate_left(7))
}
";

const SQL: &str = "CREATE TABLE rows (id BIGINT NOT NULL)\n\
    WITH (connector = 'single_file', path = 'rows.json', format = 'json');\n\
    CREATE MATERIALIZED VIEW answers AS SELECT sum(work(id) % 1000) AS answers FROM rows;\n";

pub(crate) fn run() {
    let folder = project(SQL, "work", WORK, ROWS);
    let settings = folder.path().join("udfs/udfs.toml");
    let (mut one, mut all) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        std::fs::write(&settings, "[work]\nworkers = 1\n").unwrap();
        one.push(drained(folder.path()));
        std::fs::write(&settings, "").unwrap();
        all.push(drained(folder.path()));
    }
    let faster = |(one, all): (&f64, &f64)| one / all;
    println!(
        "\nCPU-bound: {ROWS} rows of one partition, `chalk run --drain`: {:.2} s with one worker, {:.2} s with one for each core: {:.2} times as fast",
        crate::udf::median(one.iter().copied()),
        crate::udf::median(all.iter().copied()),
        crate::udf::median(one.iter().zip(&all).map(faster)),
    );
}

/// The seconds that a run over all rows takes.
fn drained(folder: &Path) -> f64 {
    let began = Instant::now();
    let mut run = Command::new(std::env::current_exe().unwrap());
    let output = run.args([CHALK, "run", "sql", "--drain"]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    began.elapsed().as_secs_f64()
}
