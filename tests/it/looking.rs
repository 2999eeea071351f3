//! Looking: topics, tail, status and replay tell what is, beside a running server as well as without one, and change nothing.

use crate::program::{Client, Folder, PATIENCE};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

const READING: &str = "\
CREATE TABLE readings (
  reader  TEXT NOT NULL,
  pages   INT NOT NULL,
  read_at TIMESTAMP NOT NULL,
  WATERMARK FOR read_at AS (read_at - INTERVAL '10 minutes')
) WITH (connector = 'single_file', path = 'readings.json', format = 'json');

CREATE MATERIALIZED VIEW readers AS SELECT reader, sum(pages) AS pages FROM readings GROUP BY reader;

CREATE MATERIALIZED VIEW readings_counted AS SELECT count(*) AS readings FROM readings;
";

const READINGS: &str = r#"{"reader": "Ada", "pages": 12, "read_at": "2025-09-01T16:30:00Z"}
{"reader": "Ben", "pages": 30, "read_at": "2025-09-01T19:05:00Z"}
{"reader": "Ada", "pages": "many", "read_at": "2025-09-01T19:05:00Z"}
{"reader": "Ada", "pages": 25, "read_at": "2025-09-02T17:10:00Z"}
"#;

/// A folder whose data directory has three rows and a dead letter, and nobody who serves it.
fn read() -> Folder {
    let folder = Folder::new();
    folder.write("reading.sql", READING);
    folder.write("readings.json", READINGS);
    let ran = folder.chalk(&["run", "reading.sql", "--drain", "--data", "data"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    folder
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// All files of a folder, with what is in them.
fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(path).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.insert(path.display().to_string(), std::fs::read(&path).expect("a file"));
        }
    }
    files
}

fn topics(folder: &Folder) -> Value {
    parsed(&folder.chalk(&["topics", "--data", "data", "-f", "json"]).done())
}

fn topic(topics: &Value, name: &str) -> Value {
    let found = topics["topics"].as_array().expect("topics").iter().find(|topic| topic["topic"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {topics}")).clone()
}

// chalk topics

#[test]
fn topics_are_told_with_and_without_a_server() {
    let folder = read();
    let alone = topics(&folder);
    let readings = topic(&alone, "readings");
    assert_eq!((&readings["rows"], &readings["system"]), (&json!(3), &json!(false)), "{readings}");
    assert_eq!(readings["schema_version"], json!(1));
    let partitions = readings["partitions"].as_array().expect("partitions");
    let tails: u64 = partitions.iter().filter_map(|partition| partition["tail"].as_u64()).sum();
    assert_eq!(tails, 3, "{readings}");
    let letters = topic(&alone, "dead_letters");
    assert_eq!((&letters["rows"], &letters["system"]), (&json!(1), &json!(true)));
    assert!(alone["log"]["bytes"].as_u64() > readings["bytes"].as_u64(), "{alone}");
    let table = folder.chalk(&["topics", "--data", "data"]).done();
    assert!(table.contains("| readings ") && table.contains(" in 1 segment\n"), "{table}");

    let server = folder.serve(&["run", "reading.sql", "--data", "data"]);
    server.client.caught_up();
    let beside = topics(&folder);
    assert_eq!(topic(&beside, "readings"), readings);
    assert_eq!(topic(&beside, "dead_letters"), letters);
}

#[test]
fn a_topic_tells_its_key() {
    let folder = Folder::of_homework();
    folder.serve(&["run", "--data", "data"]).stop();
    let submissions = topic(&topics(&folder), "submissions");
    assert!(submissions["key"].as_str().is_some_and(|key| !key.is_empty()), "{submissions}");
}

#[test]
fn what_is_no_data_directory_is_named() {
    let folder = Folder::new();
    for command in ["topics", "status"] {
        let hint = "hint: name it with --data, or start one with chalk demo or chalk run";
        let err = format!("error: there is no data directory nowhere\n  {hint}\n");
        folder.chalk(&[command, "--data", "nowhere"]).check(2, "", &err);
        folder.write("empty/readme", "");
        let err = "error: empty has no log: it is no data directory, or nothing was started on it yet\n";
        folder.chalk(&[command, "--data", "empty"]).check(2, "", err);
    }
    assert!(!folder.path("nowhere").exists() && !folder.path("empty/log").exists(), "looking made a directory");
}

// chalk tail

fn tail(folder: &Folder, arguments: &[&str]) -> Vec<Value> {
    let out = folder.chalk(&[&["tail", "readings", "--data", "data"], arguments].concat()).done();
    out.lines().map(parsed).collect()
}

#[test]
fn rows_of_a_topic_are_shown_from_where_one_likes() {
    let folder = read();
    let readers = |rows: &[Value]| rows.iter().map(|row| row["pages"].as_i64().expect("pages")).collect::<Vec<_>>();
    let all = tail(&folder, &[]);
    assert_eq!(readers(&all), [12, 30, 25]);
    assert_eq!((&all[0]["reader"], &all[0]["read_at"]), (&json!("Ada"), &json!("2025-09-01T16:30:00Z")));
    assert!(all[0].get("_content").is_none(), "{}", all[0]);
    for (index, row) in all.iter().enumerate() {
        assert_eq!((&row["_partition"], &row["_offset"]), (&json!(0), &json!(index)), "{row}");
        assert!(row["_commit_seq"].as_u64() > Some(0), "{row}");
    }
    assert_eq!(tail(&folder, &["--from", "earliest"]), all);
    assert_eq!(tail(&folder, &["-n", "2"]), all[1..]);
    assert_eq!(tail(&folder, &["-n", "1", "--from", "earliest"]), all[..1]);
    assert_eq!(tail(&folder, &["--from", "1"]), all[1..]);
    assert_eq!(tail(&folder, &["--from", "latest"]), [] as [Value; 0]);
    assert_eq!(tail(&folder, &["--from", "2020-01-01T00:00:00Z"]), all);
    assert_eq!(tail(&folder, &["--from", "2200-01-01T00:00:00Z"]), [] as [Value; 0]);
    let _server = folder.serve(&["run", "reading.sql", "--data", "data"]);
    assert_eq!(tail(&folder, &["--from", "earliest"]), all);
}

#[test]
fn no_rows_are_shown_of_what_is_not_there() {
    let folder = read();
    let tail = |arguments: &[&str]| folder.chalk(&[&["tail", "--data", "data"], arguments].concat());
    let err =
        "error: there is no topic 'reading'\n  hint: there are _catalog, _journal, dead_letters, late_rows, readings\n";
    tail(&["reading"]).check(2, "", err);
    let err =
        "error: 'readings' has no offset 9 yet: its longest partition ends before 3\n  hint: --follow waits for it\n";
    tail(&["readings", "--from", "9"]).check(2, "", err);
    let ran = tail(&["readings", "--from", "yesterday"]);
    assert!(
        ran.code == Some(2) && ran.err.starts_with("error: 'yesterday' is no place in a topic\n  hint: "),
        "{}",
        ran.err
    );
}

#[test]
fn rows_are_followed_while_a_server_takes_them() {
    let folder = Folder::of_homework();
    let server = folder.serve(&["run", "--data", "data"]);
    let mut follow =
        folder.command(&["tail", "assignments", "--data", "data", "--from", "earliest", "-n", "3", "--follow"]);
    let follow = follow.stdout(Stdio::piped()).spawn().expect("the program starts");
    let event = |number: usize| {
        format!(
            r#"{{"event_type":"assignment_published","tenant":"s","occurred_at":"2025-09-01T00:00:00Z","received_at":"2025-09-01T00:00:01Z","assignment_id":"a{number}","class_id":"c1","subject":"math","due_at":"2025-09-03T12:00:00Z","pupils":2,"key":{{"items":[{{"item":"1","kind":"single","points":1000,"answers":["B"]}}]}}}}"#
        )
    };
    for number in 1..=3 {
        server.client.append(&event(number)).expect("an answer");
    }
    // It ends by itself with the third row.
    let output = follow.wait_with_output().expect("it ends");
    let out = String::from_utf8(output.stdout).expect("UTF-8");
    let rows: Vec<Value> = out.lines().map(parsed).collect();
    let names: Vec<&str> = rows.iter().filter_map(|row| row["assignment_id"].as_str()).collect();
    assert_eq!(names, ["a1", "a2", "a3"], "{out}");
    assert!(rows[0]["key"].is_object(), "JSON is shown as such: {}", rows[0]);
}

// chalk status

#[test]
fn status_is_told_with_and_without_a_server() {
    let folder = read();
    let status = || parsed(&folder.chalk(&["status", "--data", "data", "-f", "json"]).done());
    let alone = status();
    assert_eq!((&alone["server"], &alone["dead_letters"], &alone["late_rows"]), (&Value::Null, &json!(1), &json!(0)));
    assert!(alone["checkpoint"]["upto"].as_u64() > Some(0), "{alone}");
    let text = folder.chalk(&["status", "--data", "data"]).done();
    assert!(text.contains("no server runs on it\n") && text.contains("checkpoint     epoch "), "{text}");

    let server = folder.serve(&["run", "reading.sql", "--data", "data"]);
    server.client.caught_up();
    let beside = status();
    assert_eq!(beside["server"]["pid"], json!(server.pid()));
    assert_eq!(beside["server"]["http"], json!(server.client.address));
    let pipeline = &beside["pipelines"][0];
    assert_eq!((&pipeline["running"], &pipeline["lag"], &pipeline["late"]), (&json!(true), &json!(0), &json!(0)));
    assert_eq!(pipeline["upto"], beside["log"]["last_commit"], "{beside}");
    assert_eq!(pipeline["views"]["readers"]["rows"], json!(2));
    assert!(pipeline["epochs_per_second"].is_number() && pipeline["rows_in_per_second"].is_number(), "{pipeline}");
    assert!(pipeline["checkpoint"]["started_after"].as_u64() > Some(0), "{pipeline}");
    let text = folder.chalk(&["status", "--data", "data"]).done();
    assert!(text.contains(&format!("process {} (chalk run) serves on http://", server.pid())), "{text}");
    assert!(text.contains("readers           2 rows\n"), "{text}");
}

#[test]
fn status_names_what_holds_the_watermark() {
    let folder = Folder::new();
    folder.write("reading.sql", READING);
    folder.write("readings.json", READINGS);
    let server = folder.serve(&["run", "reading.sql", "--data", "data"]);
    let began = Instant::now();
    while server.client.status()["pipeline"]["watermarks"]["readings"].is_null() {
        assert!(began.elapsed() < PATIENCE, "no row is ever read");
        std::thread::sleep(crate::program::ASK_EVERY);
    }
    server.client.caught_up();
    let status = parsed(&folder.chalk(&["status", "--data", "data", "-f", "json"]).done());
    let pipeline = &status["pipelines"][0];
    assert_eq!(pipeline["watermark"], json!("2025-09-02T17:00:00Z"), "{pipeline}");
    assert_eq!(pipeline["held_by"], json!("readings"));
}

// chalk replay

/// Rows and hash by view, as a replay gives them.
fn replayed(folder: &Folder, arguments: &[&str]) -> BTreeMap<String, (u64, String)> {
    let replay = ["replay", "--data", "data", "--from-start", "--hash", "-f", "json"];
    let ran = folder.chalk(&[&replay, arguments].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let view = |line: &str| {
        let view = parsed(line);
        let text = |name: &str| view[name].as_str().expect("text").to_owned();
        (text("view"), (view["rows"].as_u64().expect("a number"), text("hash")))
    };
    ran.out.lines().map(view).collect()
}

/// The same of the live views.
fn live(client: &Client) -> BTreeMap<String, (u64, String)> {
    let status = client.status();
    let view = |(name, view): (&String, &Value)| {
        let hash = view["hash"].as_str().expect("a hash").to_owned();
        (name.clone(), (view["rows"].as_u64().expect("a number"), hash))
    };
    status["views"].as_object().expect("views").iter().map(view).collect()
}

#[test]
fn a_replay_gives_what_the_live_views_were() {
    let folder = Folder::of_homework();
    let events = folder.chalk(&["generate", "homework", "--events", "4000"]).out;
    let lines: Vec<&str> = events.split_inclusive('\n').collect();
    let (first, second) = lines.split_at(lines.len() / 2);
    let run = ["run", "--data", "data"];
    let server = folder.serve(&run);
    let mut states = Vec::new();
    for part in [first, second] {
        // Many commits and epochs.
        for lines in part.chunks(100) {
            server.client.append(&lines.concat()).expect("an answer");
        }
        server.client.caught_up();
        let topics = topics(&folder);
        states.push((live(&server.client), server.client.status()["epoch"].to_string(), topics));
    }
    let [(half, _, half_topics), (whole, whole_epoch, _)] = states.as_slice() else { panic!("two parts") };
    assert!(whole.values().any(|(rows, _)| *rows > 0) && half != whole);

    // Beside the server.
    assert_eq!(&replayed(&folder, &[]), whole);
    assert_eq!(&replayed(&folder, &["--until", whole_epoch]), whole);
    let last_commit = &half_topics["log"]["last_commit"];
    let time = half_topics["log"]["last_commit_time"].as_str().expect("a time");
    assert_eq!(&replayed(&folder, &["--until", time]), half);
    let last = half_topics["topics"].as_array().expect("topics").iter().find_map(|topic| {
        let mut partitions = topic["partitions"].as_array()?.iter();
        let found = partitions.find(|partition| &partition["last_commit"] == last_commit)?;
        let offset = found["tail"].as_u64()? - 1;
        Some(format!("{}:{}:{offset}", topic["topic"].as_str()?, found["partition"]))
    });
    assert_eq!(&replayed(&folder, &["--until", &last.expect("the commit's topic")]), half);
    // The rows too, not only what they come to.
    let rows = |text: &str| {
        let mut rows: Vec<String> = text.trim_end().lines().map(str::to_owned).collect();
        rows.sort_unstable();
        rows
    };
    let shown = folder.chalk(&["replay", "--data", "data", "--view", "completion", "-f", "csv"]);
    let (_, shown) = shown.out.split_once('\n').expect("a line of names");
    assert_eq!(rows(shown), rows(&server.client.query("SELECT * FROM completion")));
    server.stop();

    // Without it, and nothing is changed.
    let before = files(&folder.path("data"));
    assert_eq!(&replayed(&folder, &[]), whole);
    assert_eq!(&replayed(&folder, &["--until", time]), half);
    topics(&folder);
    folder.chalk(&["status", "--data", "data"]).done();
    folder.chalk(&["tail", "graded", "--data", "data"]).done();
    assert!(files(&folder.path("data")) == before, "looking changed the data directory");

    // As if the rest had never come.
    let other = Folder::of_homework();
    let server = other.serve(&run);
    for lines in first.chunks(100) {
        server.client.append(&lines.concat()).expect("an answer");
    }
    server.client.caught_up();
    let status = server.client.status();
    let differ = |name: &&String| status["views"][name.as_str()]["rows"].as_u64() != Some(half[name.as_str()].0);
    assert_eq!(half.keys().filter(differ).collect::<Vec<_>>(), [] as [&String; 0]);
}

#[test]
fn a_replay_says_what_it_cannot_reach() {
    let folder = read();
    let replay = |arguments: &[&str]| folder.chalk(&[&["replay", "reading.sql", "--data", "data"], arguments].concat());
    let err = |arguments: &[&str]| {
        let ran = replay(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{}", ran.err);
        ran.err
    };
    assert!(err(&["--until", "999"]).starts_with("error: epoch 999 is not there yet: the last one known is "));
    assert!(err(&["--until", "soon"]).starts_with("error: 'soon' is no point in a log\n  hint: it is an epoch"));
    assert_eq!(err(&["--until", "readings:0:3"]), "error: 'readings:0' has no offset 3 yet: the next one is 3\n");
    assert!(
        err(&["--until", "readings:99:0"]).starts_with("error: topic 'readings' has no partition 99: its last one is ")
    );
    assert!(
        err(&["--until", "reading:0:0"]).starts_with("error: there is no topic 'reading'\n  hint: there are _catalog")
    );
    let hint = "hint: there are readers, readings_counted";
    assert_eq!(err(&["--view", "writers"]), format!("error: there is no view 'writers'\n  {hint}\n"));
    assert!(err(&["-f", "csv"]).starts_with("error: csv has the columns of one view\n"));
    // What is there is shown.
    let ran = replay(&["--until", "readings:0:0", "--view", "readings_counted", "-f", "csv"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "readings\n3\n"), "{}", ran.err);
    assert!(ran.err.contains(", which has readings:0:0: 3 rows, 0 of them late\n"), "{}", ran.err);
    let before = replay(&["--until", "2020-01-01T00:00:00Z", "--view", "readings_counted", "-f", "csv"]);
    assert_eq!((before.code, before.out.as_str()), (Some(0), "readings\n0\n"), "{}", before.err);
}
