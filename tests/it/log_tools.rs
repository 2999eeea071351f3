//! `chalk log`, `chalk checkpoint` and `chalk schema`: what they find in good files and in damaged ones, and what a repair leaves.

use crate::program::Folder;
use serde_json::Value;

const READING: &str = "\
CREATE TABLE readings (
  reader  TEXT NOT NULL,
  pages   BIGINT NOT NULL,
  read_at TIMESTAMP NOT NULL,
  WATERMARK FOR read_at AS (read_at - INTERVAL '10 minutes')
) WITH (connector = 'log', topic = 'readings', format = 'json');

CREATE MATERIALIZED VIEW readers AS SELECT reader, sum(pages) AS pages FROM readings GROUP BY reader;
";

const SCHEMA: &str = r#"{"event_type": "read", "partitions": 1, "idempotency_key": ["reader", "pages"], "fields": [
    {"name": "reader", "type": "string"},
    {"name": "pages", "type": "long"},
    {"name": "read_at", "type": {"type": "long", "logicalType": "timestamp-micros"}}]}"#;

const SEGMENT: &str = "data/log/00000000000000000001.log";

/// A folder with a log of five appends, of a row each, and nobody who serves it.
fn five() -> Folder {
    let folder = Folder::new();
    folder.write("reading.sql", READING);
    folder.write("schemas/readings.avsc", SCHEMA);
    folder.write("schemas/envelope.avsc", crate::workspace::read("schemas/envelope.avsc"));
    let server = folder.serve(&["run", "reading.sql", "--data", "data"]);
    for pages in 1..=5 {
        let line = format!(
            r#"{{"event_type":"read","tenant":"t","occurred_at":"2025-09-01T16:30:00Z","reader":"Ada","pages":{pages},"read_at":"2025-09-01T16:30:00Z"}}"#
        );
        let receipt = server.client.append(&line).expect("a receipt");
        assert_eq!(receipt["accepted"]["read"], 1, "{receipt}");
    }
    server.client.caught_up();
    server.stop();
    folder
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The commits that have readings, by their places in the segment.
fn readings(folder: &Folder) -> Vec<(u64, u64)> {
    let commits = folder.chalk(&["log", "inspect", "00000000000000000001.log", "--data", "data", "-f", "json"]);
    let commits = json_lines(&commits.out);
    let has_readings =
        |commit: &&Value| commit["frames"].as_array().expect("frames").iter().any(|frame| frame["topic"] == "readings");
    let place =
        |commit: &Value| (commit["position"].as_u64().expect("a number"), commit["bytes"].as_u64().expect("a number"));
    commits.iter().filter(has_readings).map(place).collect()
}

fn flip(folder: &Folder, byte: u64) {
    let mut bytes = std::fs::read(folder.path(SEGMENT)).expect("a segment");
    bytes[byte as usize] ^= 0x10;
    std::fs::write(folder.path(SEGMENT), bytes).expect("a segment");
}

#[test]
fn a_good_log_is_found_good() {
    let folder = five();
    let report = json_lines(&folder.chalk(&["log", "verify", "--data", "data", "-f", "json"]).done());
    let [report] = &report[..] else { panic!("{report:?}") };
    assert_eq!((&report["damage"], &report["unacknowledged"]), (&Value::Null, &Value::from(0)));
    assert_eq!(report["bytes"], std::fs::metadata(folder.path(SEGMENT)).expect("a segment").len());
    let table = folder.chalk(&["log", "verify", "--data", "data"]).done();
    assert!(table.contains("00000000000000000001.log") && table.contains("open"), "{table}");
    assert_eq!(readings(&folder).len(), 5);
    let unknown = folder.chalk(&["log", "inspect", "2.log", "--data", "data"]);
    unknown.check(2, "", "error: there is no segment '2.log' in data\n  hint: chalk log verify lists them\n");
}

#[test]
fn a_damaged_end_is_found_refused_and_cut_off() {
    let folder = five();
    let readings = readings(&folder);
    let (third, bytes) = readings[2];
    let before = std::fs::read(folder.path(SEGMENT)).expect("a segment");
    flip(&folder, third + bytes - 3);
    let ran = folder.chalk(&["log", "verify", "--data", "data"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.out.contains("damaged"), "{}", ran.out);
    let at = format!("at byte {third}: a frame's checksum does not match");
    assert!(ran.err.contains(&at) && ran.err.contains("--repair-tail"), "{}", ran.err);
    let refused = folder.chalk(&["run", "reading.sql", "--drain", "--data", "data"]);
    assert_eq!(refused.code, Some(2), "nobody opens it as it is");
    assert!(refused.err.contains(&at), "{}", refused.err);
    let repaired = folder.chalk(&["log", "verify", "--data", "data", "--repair-tail"]);
    assert_eq!(repaired.code, Some(1), "{}", repaired.err);
    assert!(repaired.err.contains("cut off: "), "{}", repaired.err);
    let cut = std::fs::read(folder.path(&format!("{SEGMENT}.from-{third}.cut"))).expect("what was cut off");
    assert_eq!(cut.len() as u64, before.len() as u64 - third, "nothing of it is gone");
    folder.chalk(&["log", "verify", "--data", "data"]).done();
    // What is lost to the log is not in the views either, and can be sent again.
    let server = folder.serve(&["run", "reading.sql", "--data", "data"]);
    server.client.caught_up();
    assert_eq!(server.client.query("SELECT pages FROM readers"), "3");
    let line = r#"{"event_type":"read","tenant":"t","occurred_at":"2025-09-01T16:30:00Z","reader":"Ada","pages":4,"read_at":"2025-09-01T16:30:00Z"}"#;
    let receipt = server.client.append(line).expect("a receipt");
    assert_eq!(receipt["accepted"]["read"], 1, "{receipt}");
    server.client.caught_up();
    assert_eq!(server.client.query("SELECT pages FROM readers"), "7");
}

#[test]
fn a_log_in_use_is_not_cut() {
    let folder = five();
    let server = folder.serve(&["run", "reading.sql", "--data", "data"]);
    folder.chalk(&["log", "verify", "--data", "data"]).done();
    let (third, bytes) = readings(&folder)[2];
    flip(&folder, third + bytes - 3);
    let ran = folder.chalk(&["log", "verify", "--data", "data", "--repair-tail"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("is in use by process"), "{}", ran.err);
    flip(&folder, third + bytes - 3);
    server.stop();
}

#[test]
fn a_checkpoint_is_listed() {
    let folder = five();
    let listed: Value =
        serde_json::from_str(folder.chalk(&["checkpoint", "list", "--data", "data", "-f", "json"]).done().trim())
            .expect("JSON");
    assert!(listed["upto"].as_u64() >= Some(5), "{listed}");
    assert!(listed["runs"].as_array().is_some_and(|runs| !runs.is_empty()), "{listed}");
    let empty = Folder::new();
    std::fs::create_dir(empty.path("data")).expect("a folder");
    assert!(empty.chalk(&["checkpoint", "list", "--data", "data"]).done().contains("there is none"));
    let nowhere = empty.chalk(&["log", "verify", "--data", "data"]);
    assert_eq!(nowhere.code, Some(2));
    assert!(nowhere.err.contains("has no log"), "{}", nowhere.err);
}

#[test]
fn schemas_that_cannot_change_are_named_before_a_run_is_tried() {
    let folder = five();
    let unchanged = folder.chalk(&["schema", "check", "--data", "data"]).done();
    assert_eq!(unchanged, "readings: as it is\n");
    folder.write("schemas/readings.avsc", SCHEMA.replace(r#""pages", "type": "long""#, r#""pages", "type": "double""#));
    let promoted = folder.chalk(&["schema", "check", "--data", "data"]).done();
    assert_eq!(promoted, "readings: can change\n  field 'pages' was an integer of 64 bits and is now a number\n");
    folder.write("schemas/readings.avsc", SCHEMA.replace(r#""pages", "type": "long""#, r#""pages", "type": "int""#));
    let ran = folder.chalk(&["schema", "check", "--data", "data"]);
    assert_eq!(ran.code, Some(1));
    let broken = "readings: cannot change like this\n  cannot: field 'pages' was an integer of 64 bits and is now an integer of 32 bits\n";
    assert_eq!(ran.out, broken);
    assert!(ran.err.contains("1 topic cannot change like this: a run would refuse to start"), "{}", ran.err);
    let refused = folder.chalk(&["run", "reading.sql", "--data", "data", "--drain"]);
    assert_eq!(refused.code, Some(2));
    let nowhere = folder.chalk(&["schema", "check", "--data", "elsewhere"]).done();
    assert_eq!(nowhere, "readings: new\n");
}
