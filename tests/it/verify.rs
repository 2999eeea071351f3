//! `chalk replay --verify`: views are what the journal says they were, whatever happened in between; and what differs is named.
//! A replay from a checkpoint gives what one from the log's beginning gives.

use crate::program::{Folder, Ran};
use chalk_catalog::{ControlEvent, EpochViews, ViewRecord};
use chalk_event::Epoch;
use chalk_log::{Append, CommitLog, EventLog, Holder, LogOptions};
use serde_json::Value;
use std::collections::BTreeMap;

const RUN: [&str; 3] = ["run", "--data", "data"];

fn verify(folder: &Folder, arguments: &[&str]) -> Ran {
    folder.chalk(&[&["replay", "--data", "data", "--verify", "-f", "json"], arguments].concat())
}

/// Verdicts by view.
fn verdicts(ran: &Ran) -> BTreeMap<String, String> {
    let parsed = |line: &str| -> Value { serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")) };
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    ran.out.lines().map(parsed).map(|view| (text(&view["view"]), text(&view["verdict"]))).collect()
}

/// That all views are what they were.
fn check_equal(folder: &Folder, arguments: &[&str]) {
    let ran = verify(folder, arguments);
    assert_eq!(ran.code, Some(0), "{arguments:?}: {}{}", ran.out, ran.err);
    assert!(ran.err.contains("; views are what they were\n"), "{}", ran.err);
    let verdicts = verdicts(&ran);
    assert!(verdicts.contains_key("completion") && verdicts.values().all(|verdict| verdict == "equal"), "{verdicts:?}");
}

/// The views that are not what they were, with the epochs since which; and the exit code says so.
fn differing(ran: &Ran) -> Vec<(String, u64)> {
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("; views are not what they were\n"), "{}", ran.err);
    let differs = |(view, verdict): (String, String)| {
        Some((view, verdict.strip_prefix("differs since epoch ")?.parse().expect("a number")))
    };
    verdicts(ran).into_iter().filter_map(differs).collect()
}

/// A folder of homework with so many events, appended a few at a time; gives the epoch after each of these many parts.
fn appended(events: usize, parts: usize) -> (Folder, Vec<u64>) {
    let folder = Folder::of_homework();
    let events = folder.chalk(&["generate", "homework", "--events", &events.to_string()]).out;
    let lines: Vec<&str> = events.split_inclusive('\n').collect();
    let server = folder.serve(&RUN);
    let mut epochs = Vec::new();
    for part in lines.chunks(lines.len().div_ceil(parts)) {
        for lines in part.chunks(50) {
            server.client.append(&lines.concat()).expect("an answer");
        }
        server.client.caught_up();
        epochs.push(server.client.status()["epoch"].as_u64().expect("a number"));
    }
    server.stop();
    (folder, epochs)
}

#[test]
fn views_are_what_they_were_after_kills_and_for_any_number_of_shards() {
    let folder = Folder::of_homework();
    let events = folder.chalk(&["generate", "homework", "--events", "6000"]).out;
    let lines: Vec<&str> = events.split_inclusive('\n').collect();
    let mut epochs = Vec::new();
    for (number, part) in lines.chunks(lines.len().div_ceil(4)).enumerate() {
        let server = folder.serve(&RUN);
        for lines in part.chunks(40 + number) {
            server.client.append(&lines.concat()).expect("an answer");
        }
        if number % 2 == 1 {
            server.client.caught_up();
            epochs.push(server.client.status()["epoch"].to_string());
            server.stop();
        } else {
            // In the middle of whatever it does.
            server.kill();
        }
    }
    for shards in ["1", "3", "8"] {
        check_equal(&folder, &["--shards", shards]);
    }
    assert_eq!(epochs.len(), 2);
    for epoch in &epochs {
        check_equal(&folder, &["--until", epoch]);
    }
}

#[test]
fn other_queries_are_found_out() {
    let (folder, epochs) = appended(3000, 3);
    check_equal(&folder, &[]);
    let sql = "CREATE MATERIALIZED VIEW marked AS SELECT count(*) AS marks FROM marks;\n";
    folder.write("sql/boards/marked.sql", sql);
    let ran = verify(&folder, &[]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert_eq!(verdicts(&ran)["marked"], "not compared", "it was not there then");

    let server = folder.serve(&RUN);
    server.client.caught_up();
    server.stop();
    let ran = verify(&folder, &[]);
    assert_eq!((ran.code, verdicts(&ran)["marked"].as_str()), (Some(0), "equal"), "{}", ran.err);
    folder.write("sql/boards/marked.sql", sql.replace("count(*)", "count(*) + 1"));
    let found = differing(&verify(&folder, &[]));
    assert!(matches!(found.as_slice(), [(view, epoch)] if view == "marked" && *epoch > epochs[1]), "{found:?}");
    // The run with these queries says what views are now.
    let server = folder.serve(&RUN);
    server.client.caught_up();
    server.stop();
    let ran = verify(&folder, &[]);
    assert_eq!((ran.code, verdicts(&ran)["marked"].as_str()), (Some(0), "equal"), "{}", ran.err);
}

#[test]
fn a_journal_that_was_tampered_with_is_found_out() {
    let (folder, epochs) = appended(3000, 3);
    let server_less = |work: &dyn Fn(&CommitLog)| {
        let holder = Holder { pid: std::process::id(), command: "a test".to_owned(), http: None, pg: None };
        let clock = std::sync::Arc::new(|| 1);
        work(&CommitLog::open(&folder.path("data"), &holder, LogOptions::new(clock)).expect("a log"));
    };
    let last = epochs[2] + 1000;
    let record = |log: &CommitLog, epoch: u64, of: &dyn Fn(&mut BTreeMap<String, ViewRecord>)| {
        let journal = log.journal();
        let (pipeline, known) = journal.pipelines.first_key_value().expect("a pipeline");
        let mut views = known.views.clone().expect("known views");
        of(&mut views);
        let views = Some(EpochViews { complete: true, views });
        let (pipeline, epoch) = (pipeline.clone(), Epoch(epoch));
        let event = ControlEvent::EpochCommitted { pipeline, epoch, upto: known.upto, views };
        let frames = vec![log.control_frame(&event).expect("a frame")];
        log.append(Append { frames }).and_then(chalk_log::Pending::wait).expect("appended");
    };
    let flip = |views: &mut BTreeMap<String, ViewRecord>| {
        let hash = &mut views.get_mut("completion").expect("a view").hash;
        let flipped = if hash.starts_with('0') { "1" } else { "0" };
        hash.replace_range(..1, flipped);
    };
    server_less(&|log| record(log, last, &flip));
    let [(view, since)] = &differing(&verify(&folder, &[]))[..] else { panic!("one view") };
    assert_eq!((view.as_str(), *since), ("completion", last));
    check_equal(&folder, &["--until", &epochs[0].to_string()]);
    // A run that goes on sees that its view is not as recorded, and records it as it is.
    let server = folder.serve(&RUN);
    server.client.caught_up();
    server.stop();
    check_equal(&folder, &[]);
}

#[test]
fn a_journal_without_hashes_is_nothing_to_compare_with() {
    let folder = Folder::new();
    folder.write(
        "reading.sql",
        "CREATE TABLE readings (reader TEXT, pages INT) WITH (connector = 'single_file', path = 'readings.json', format = 'json');\n\
         CREATE MATERIALIZED VIEW readers AS SELECT reader, sum(pages) AS pages FROM readings GROUP BY reader;\n",
    );
    folder.write("readings.json", "");
    let replay = ["replay", "reading.sql", "--data", "data", "--verify"];
    folder.chalk(&["run", "reading.sql", "--data", "data", "--drain"]).done();
    let ran = folder.chalk(&replay);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{}", ran.err);
    assert!(ran.err.starts_with("error: the journal says of no epoch up to commit "), "{}", ran.err);
    folder.write("readings.json", "{\"reader\": \"Ada\", \"pages\": 12}\n");
    folder.chalk(&["run", "reading.sql", "--data", "data", "--drain"]).done();
    let ran = folder.chalk(&replay);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
}

/// What a replay prints, and where it says that it began.
fn replayed(folder: &Folder, arguments: &[&str]) -> (String, String) {
    let ran = folder.chalk(&[&["replay", "--data", "data", "--hash", "-f", "csv"], arguments].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    (ran.out, ran.err.split(" up to commit ").next().unwrap_or_default().to_owned())
}

#[test]
fn a_replay_from_a_kept_checkpoint_gives_what_one_from_the_start_gives() {
    let folder = Folder::of_homework();
    let events = folder.chalk(&["generate", "homework", "--events", "4000"]).out;
    let lines: Vec<&str> = events.split_inclusive('\n').collect();
    let mut epochs = Vec::new();
    for part in lines.chunks(lines.len().div_ceil(10)) {
        let server = folder.serve(&RUN);
        server.client.append(&part.concat()).expect("an answer");
        server.client.caught_up();
        epochs.push(server.client.status()["epoch"].as_u64().expect("a number"));
        // Each stop leaves a checkpoint.
        server.stop();
    }
    let list = |format| folder.chalk(&["checkpoint", "list", "--data", "data", "-f", format]).done();
    let listed: Value = serde_json::from_str(&list("json")).expect("JSON");
    let earlier = listed["earlier"].as_array().expect("checkpoints");
    assert!((2..9).contains(&earlier.len()), "{listed}");
    assert!(list("table").contains("\nearlier ones, "), "{}", list("table"));
    let kept: Vec<u64> = earlier.iter().filter_map(|checkpoint| checkpoint["epoch"].as_u64()).collect();
    let mut began = Vec::new();
    for epoch in &epochs {
        let until = ["--until", &epoch.to_string()];
        let (from_checkpoint, how) = replayed(&folder, &until);
        let (from_start, whole) = replayed(&folder, &[until.as_slice(), &["--from-start"]].concat());
        assert_eq!(from_checkpoint, from_start, "up to epoch {epoch}, {how}");
        assert_eq!(whole, "replayed");
        began.push(how);
    }
    // Not each is the last one before some point: a stop's checkpoint knows more than the last epoch that led to something.
    let is_used = |epoch: &&u64| {
        let how = format!("replayed from the checkpoint of epoch {epoch}, ");
        began.iter().any(|began| began.starts_with(&how))
    };
    assert!(kept.iter().filter(is_used).count() >= 3, "{kept:?}: {began:?}");
    // What the manifests name is there, and nothing else; a damaged run only costs time.
    let files: Vec<_> = std::fs::read_dir(folder.path("data/checkpoints")).expect("a folder").flatten().collect();
    for file in files.iter().filter(|file| file.path().extension().is_some_and(|end| end == "run")) {
        let mut bytes = std::fs::read(file.path()).expect("a run");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(file.path(), bytes).expect("a file");
    }
    let until = ["--until", &epochs[8].to_string()];
    let (from_damaged, how) = replayed(&folder, &until);
    let (from_start, _) = replayed(&folder, &[until.as_slice(), &["--from-start"]].concat());
    assert_eq!((from_damaged, how.as_str()), (from_start, "replayed"));
}
