//! A run that ends, however it ends, is gone on with: views, marks, late rows and dead letters are as if it had not.
//!
//! More than the default: `CHALK_SEEDS=20 CHALK_EVENTS=200000 CHALK_KILLS=3 cargo test --release --test it -- restart`.

use crate::program::{ASK_EVERY, Folder, PATIENCE};
use std::process::{Child, Stdio};
use std::time::Instant;

fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// Waits until the log of a running demo holds a commit; `false` when the demo ended before.
fn reached(folder: &Folder, demo: &mut Child, commit: u64) -> bool {
    let began = Instant::now();
    loop {
        if demo.try_wait().expect("a child").is_some() {
            return false;
        }
        let address = chalk_log::read_holder(&folder.path("data")).and_then(|holder| holder.http);
        let status = address.and_then(|address| folder.client(address).try_status());
        if status.is_some_and(|status| status["durable"].as_u64() >= Some(commit)) {
            return true;
        }
        assert!(began.elapsed() < PATIENCE, "commit {commit} is never reached");
        std::thread::sleep(ASK_EVERY);
    }
}

#[test]
fn a_demo_that_is_killed_goes_on_and_verifies() {
    let (seeds, events) = (setting("CHALK_SEEDS", 1), setting("CHALK_EVENTS", 12_000));
    let (first, kills) = (setting("CHALK_SEED", 1), setting("CHALK_KILLS", 3));
    for seed in first..first + seeds {
        let folder = Folder::of_homework();
        let (seed_text, events_text) = (seed.to_string(), events.to_string());
        let arguments = ["demo", "--events", &events_text, "--seed", &seed_text, "--exit", "--data", "data"];
        // A commit for each append of 500 events, and more for what they lead to.
        let appends = events / 500;
        for kill in 1..=kills {
            let mut demo = folder.command(&arguments);
            let mut demo = demo.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
            // Not at the same moments for each seed.
            let commit = (appends * kill / (kills + 1) + seed * 7 % 11).max(1);
            let running = reached(&folder, &mut demo, commit);
            demo.kill().expect("it can be killed");
            demo.wait().expect("it ends");
            assert!(running, "seed {seed}: the demo ended before kill {kill}");
        }
        let out = folder.chalk(&arguments).done();
        assert!(out.contains("\nwent on"), "seed {seed}: nothing was left to go on with: {out}");
        assert!(out.contains("\nverified   every row equals the batch answer"), "seed {seed}: {out}");
    }
}

#[test]
fn a_start_after_a_stop_reads_nothing_again() {
    let folder = Folder::of_homework();
    let run = ["run", "--data", "data"];
    folder.write("events.json", folder.chalk(&["generate", "homework", "--events", "4000"]).out);
    let server = folder.serve(&run);
    let appended = folder.chalk_reading(&["append", "--data", "data"], "events.json");
    assert!(appended.out.contains("accepted"), "{}{}", appended.out, appended.err);
    server.client.caught_up();
    let boards = |client: &crate::program::Client| {
        ["class_leaderboard", "completion", "item_difficulty", "late_rows", "dead_letters"].map(|table| {
            let rows = client.query(&format!("SELECT * FROM {table}"));
            let mut rows: Vec<String> = rows.lines().map(str::to_owned).collect();
            rows.sort_unstable();
            rows
        })
    };
    let before = boards(&server.client);
    let durable = server.client.status()["durable"].as_u64().expect("a number");
    server.stop();
    let server = folder.serve(&run);
    server.client.caught_up();
    let checkpoint = &server.client.status()["pipeline"]["checkpoint"];
    assert_eq!(checkpoint["started_after"].as_u64(), Some(durable), "{checkpoint}");
    assert_eq!(boards(&server.client), before);
    // And it goes on from there, on the other side of a kill.
    folder.write("more.json", folder.chalk(&["generate", "homework", "--events", "4000", "--seed", "2"]).out);
    server.kill();
    let server = folder.serve(&run);
    folder.chalk_reading(&["append", "--data", "data"], "more.json");
    server.client.caught_up();
    assert_ne!(boards(&server.client), before);
}

#[test]
fn a_checkpoint_that_is_damaged_or_of_another_pipeline_only_costs_time() {
    let folder = Folder::of_homework();
    let run = ["run", "--data", "data"];
    folder.write("events.json", folder.chalk(&["generate", "homework", "--events", "2000"]).out);
    let server = folder.serve(&run);
    folder.chalk_reading(&["append", "--data", "data"], "events.json");
    server.client.caught_up();
    let before = server.client.query("SELECT * FROM completion");
    server.stop();
    let runs: Vec<_> = std::fs::read_dir(folder.path("data/checkpoints")).expect("checkpoints").flatten().collect();
    let run_file =
        runs.iter().find(|entry| entry.path().extension().is_some_and(|end| end == "run")).expect("a run").path();
    let mut bytes = std::fs::read(&run_file).expect("a run");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&run_file, bytes).expect("a file");
    let discarded = |server: &crate::program::Server| {
        server.client.caught_up();
        assert_eq!(server.client.query("SELECT * FROM completion"), before);
        let checkpoint = server.client.status()["pipeline"]["checkpoint"].clone();
        assert_eq!(checkpoint["started_after"].as_u64(), Some(0), "{checkpoint}");
        checkpoint["discarded"].as_str().expect("a reason").to_owned()
    };
    let server = folder.serve(&run);
    assert!(discarded(&server).starts_with("damaged run"));
    server.stop();
    folder.write("sql/boards/more.sql", "CREATE MATERIALIZED VIEW more AS SELECT count(*) AS marks FROM marks;\n");
    let server = folder.serve(&run);
    assert_eq!(discarded(&server), "it was made by another version of the pipeline");
}

#[test]
fn a_sinks_file_has_each_row_once_whatever_ends_the_run() {
    let folder = Folder::of_homework();
    folder.write(
        "sql/boards/received.sql",
        "CREATE TABLE received (submission_id TEXT, log_offset BIGINT)\n\
         WITH (connector = 'single_file', path = 'received.json', type = 'sink', format = 'json');\n\
         INSERT INTO received SELECT submission_id, log_offset FROM commands;\n",
    );
    let events = folder.chalk(&["generate", "homework", "--events", "9000"]).out;
    let lines: Vec<&str> = events.lines().collect();
    let run = ["run", "--data", "data"];
    // The first kill comes before any checkpoint; the second after one, with more in the file than it knows.
    for (third, part) in lines.chunks(lines.len().div_ceil(3)).enumerate() {
        let server = folder.serve(&run);
        folder.write("part.json", part.join("\n"));
        folder.chalk_reading(&["append", "--data", "data"], "part.json");
        server.client.caught_up();
        if third == 1 {
            server.stop();
            let server = folder.serve(&run);
            let checkpoint = &server.client.status()["pipeline"]["checkpoint"];
            assert!(checkpoint["started_after"].as_u64() > Some(0), "{checkpoint}");
            server.kill();
        } else {
            server.kill();
        }
    }
    let server = folder.serve(&run);
    server.client.caught_up();
    let expected: usize = server.client.query("SELECT count(*) FROM submissions").parse().expect("a number");
    server.stop();
    let file = folder.read("received.json");
    let rows: Vec<&str> = file.lines().collect();
    let once: std::collections::BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!((rows.len(), once.len()), (expected, expected));
}
