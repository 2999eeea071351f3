//! `connector = 'homework'`: the made-up school as a source of tables.

use crate::program::Folder;
use chalk_homework::{Expect, School, SchoolConfig};

const EVENTS: u64 = 1500;

fn pipeline(topic: &str) -> String {
    format!(
        "CREATE TABLE lines (event_type TEXT NOT NULL, student_id TEXT, received_at TIMESTAMP NOT NULL, WATERMARK FOR received_at)
         WITH (connector = 'homework', events = {EVENTS}, seed = 5{topic});
         CREATE TABLE kept WITH (connector = 'single_file', path = 'kept.json', type = 'sink');
         INSERT INTO kept SELECT event_type, student_id FROM lines;
         CREATE TABLE bad WITH (connector = 'single_file', path = 'weeks.json', type = 'sink');
         INSERT INTO bad SELECT w.start AS week, n FROM (SELECT tumble(INTERVAL '7 days') AS w, count(*) AS n FROM lines GROUP BY w);"
    )
}

fn school() -> School {
    School::new(SchoolConfig { seed: 5, events: EVENTS, ..SchoolConfig::default() })
}

#[test]
fn a_school_is_a_table() {
    let folder = Folder::new();
    folder.write("one.sql", pipeline(", topic = 'submissions'"));
    let run = ["run", "one.sql", "--drain", "--data", "one"];
    folder.chalk(&run).check(0, "", "");
    let sent = school().filter_map(|sent| match sent.expect {
        Expect::Accepted(event) if event.topic() == "submissions" => Some(event.event_type().to_owned()),
        _ => None,
    });
    let expected: Vec<String> = sent.collect();
    assert!(expected.len() > 500, "{}", expected.len());
    let types = |text: &str| -> Vec<String> {
        let of = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["event_type"].clone();
        text.lines().map(|line| of(line).as_str().expect("text").to_owned()).collect()
    };
    let kept = folder.read("kept.json");
    assert_eq!(types(&kept), expected);
    let weeks = folder.read("weeks.json");
    assert!(weeks.lines().count() > 1, "{weeks}");
    // All of it has been read.
    folder.chalk(&run).check(0, "", "");
    assert_eq!(folder.read("kept.json"), kept);
}

#[test]
fn a_school_with_all_that_goes_wrong() {
    let folder = Folder::new();
    folder.write("all.sql", pipeline(", event_rate = 1000000, bad_data = 'drop'"));
    let ran = folder.chalk(&["run", "all.sql", "--drain"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let kept = folder.read("kept.json").lines().count() as u64;
    assert!(kept < EVENTS && kept > EVENTS * 9 / 10, "{kept}");
    let dropped = format!("{} rows could not be read and were dropped", EVENTS - kept);
    assert!(ran.err.contains(&dropped), "{kept}: {}", ran.err);
}

#[test]
fn what_a_school_does_not_take() {
    let folder = Folder::new();
    folder.write("wrong.sql", pipeline(", event = 5"));
    let ran = folder.chalk(&["run", "wrong.sql", "--drain"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("connector 'homework' has no option 'event'"), "{}", ran.err);
    assert!(ran.err.contains("did you mean 'events'?"), "{}", ran.err);
}
