//! The commands: what they print, what they refuse and where, what they exit with.

use crate::program::{Folder, Ran};
use crate::workspace::read;
use chalk_homework::{School, SchoolConfig, Tally};
use std::net::TcpListener;
use std::process::Stdio;

// chalk run

const READING: &str = "\
CREATE TABLE readings (
  reader  TEXT NOT NULL,
  pages   INT NOT NULL,
  read_at TIMESTAMP NOT NULL,
  WATERMARK FOR read_at AS (read_at - INTERVAL '10 minutes')
) WITH (connector = 'single_file', path = 'readings.json', format = 'json');

CREATE MATERIALIZED VIEW top_readers AS
SELECT DENSE_RANK() OVER (ORDER BY pages DESC) AS place, reader, pages
FROM (SELECT reader, sum(pages) AS pages FROM readings GROUP BY reader);

CREATE TABLE daily (day TIMESTAMP, pages BIGINT)
WITH (connector = 'single_file', path = 'daily.json', type = 'sink', format = 'json');

INSERT INTO daily
SELECT d.start AS day, pages
FROM (SELECT tumble(INTERVAL '1 day') AS d, sum(pages) AS pages FROM readings GROUP BY d);
";

const READINGS: &str = r#"{"reader": "Ada", "pages": 12, "read_at": "2025-09-01T16:30:00Z"}
{"reader": "Ben", "pages": 30, "read_at": "2025-09-01T19:05:00Z"}

{"reader": "Ada", "pages": 25, "read_at": "2025-09-02T17:10:00Z"}
"#;

/// The last day is not over by the watermark, but by the end of the file.
const DAILY: &str = "\
{\"day\":\"2025-09-01T00:00:00Z\",\"pages\":42}
{\"day\":\"2025-09-02T00:00:00Z\",\"pages\":25}
";

fn reading(sql: &str, readings: &str) -> Folder {
    let folder = Folder::new();
    folder.write("reading.sql", sql);
    folder.write("readings.json", readings);
    folder
}

const DRAIN: [&str; 5] = ["run", "reading.sql", "--drain", "--data", "data"];

fn ask(folder: &Folder, project: &str, format: &str, sql: &str) -> String {
    folder.chalk(&["query", "-f", format, "--data", "data", "--project", project, sql]).done()
}

#[test]
fn a_file_runs_through_a_pipeline_into_a_file() {
    let folder = reading(READING, READINGS);
    folder.chalk(&["run", "reading.sql", "--drain"]).check(0, "", "");
    assert_eq!(folder.read("daily.json"), DAILY);
}

#[test]
fn it_is_the_pipeline_that_the_readme_shows() {
    assert!(read("README.md").contains(READING), "README.md shows another pipeline than the one that is tested");
}

#[test]
fn a_file_is_read_once_and_its_output_made_anew() {
    let folder = reading(READING, READINGS);
    for _ in 0..2 {
        folder.chalk(&DRAIN).check(0, "", "");
        assert_eq!(folder.read("daily.json"), DAILY);
    }
    let sql = "SELECT * FROM top_readers ORDER BY place";
    assert_eq!(ask(&folder, "reading.sql", "csv", sql), "place,reader,pages\n1,Ada,37\n2,Ben,30\n");
}

#[test]
fn asking_changes_no_file() {
    let folder = reading(READING, READINGS);
    folder.chalk(&DRAIN).check(0, "", "");
    ask(&folder, "reading.sql", "csv", "SELECT 1");
    assert_eq!(folder.read("daily.json"), DAILY);
}

#[test]
fn a_bare_select_is_a_preview() {
    let sql = format!("{READING}\nSELECT reader, pages FROM readings WHERE pages > 20;");
    let folder = reading(&sql, READINGS);
    let rows = "{\"reader\":\"Ben\",\"pages\":30}\n{\"reader\":\"Ada\",\"pages\":25}\n";
    folder.chalk(&DRAIN).check(0, rows, "");
    // Nothing but the answer: others read it.
    assert_eq!(ask(&folder, "reading.sql", "csv", "SELECT 1 AS one"), "one\n1\n");
}

#[test]
fn a_preview_of_an_updating_query_shows_what_is_taken_back() {
    let folder = reading(&format!("{READING}\nSELECT count(*) AS readings FROM readings;"), "");
    folder.chalk(&DRAIN).check(0, "+ {\"readings\":0}\n", "");
    folder.write("readings.json", READINGS);
    folder.chalk(&DRAIN).check(0, "- {\"readings\":0}\n+ {\"readings\":3}\n", "");
}

#[test]
fn bad_lines_of_a_file_are_refused_with_their_place() {
    let bad = r#"{"reader": "Ben", "pages": "12", "read_at": "2025-09-02T17:11:00Z"}
{"reader": "Ben", "pages": 1, "read_at": "2025-09-02T17:12:00Z"
{"reader": "Cyd", "pages": 8}
{"reader": "Cyd", "pages": 8, "read_at": "yesterday"}
"#;
    let folder = reading(READING, &format!("{READINGS}{bad}"));
    let err = r#"4 rows were refused:
+----------+------+----------+----------------+---------------------------------------------------------------------------------------------------+
| source   | line | position | reason         | message                                                                                           |
+----------+------+----------+----------------+---------------------------------------------------------------------------------------------------+
| readings | 8    | 42       | wrong_type     | field 'read_at': expected an RFC 3339 timestamp such as "2025-09-01T08:00:00Z", found "yesterday" |
| readings | 7    | NULL     | missing_field  | field 'read_at' is missing: readings needs an RFC 3339 timestamp such as "2025-09-01T08:00:00Z"   |
| readings | 6    | 63       | malformed_json | not a JSON object: EOF while parsing an object                                                    |
| readings | 5    | 28       | wrong_type     | field 'pages': expected an integer of 32 bits, found "12"                                         |
+----------+------+----------+----------------+---------------------------------------------------------------------------------------------------+
(4 rows)
"#;
    folder.chalk(&DRAIN).check(1, "", err);
    // The rest was taken.
    assert_eq!(folder.read("daily.json"), DAILY);
    // They are refused once.
    folder.chalk(&DRAIN).check(0, "", "");
}

#[test]
fn late_rows_are_kept_and_not_counted() {
    let folder = reading(READING, READINGS);
    folder.chalk(&DRAIN).check(0, "", "");
    let late = "{\"reader\": \"Cyd\", \"pages\": 7, \"read_at\": \"2025-09-01T12:00:00Z\"}\n";
    folder.write("readings.json", format!("{READINGS}{late}"));
    folder.chalk(&DRAIN).check(0, "", "");
    assert_eq!(folder.read("daily.json"), DAILY);
    let sql = "SELECT query, event_time, watermark, window_end FROM late_rows";
    let row = "insert_into_daily,2025-09-01T12:00:00Z,2025-09-02T17:00:00Z,2025-09-02T00:00:00Z\n";
    assert_eq!(ask(&folder, "reading.sql", "csv", sql), format!("query,event_time,watermark,window_end\n{row}"));
    // A view takes them.
    let sql = "SELECT place, pages FROM top_readers WHERE reader = 'Cyd'";
    assert_eq!(ask(&folder, "reading.sql", "csv", sql), "place,pages\n3,7\n");
}

#[test]
fn a_late_row_is_kept_with_the_names_of_its_columns() {
    let folder = reading(READING, READINGS);
    folder.chalk(&DRAIN).check(0, "", "");
    let late = "{\"reader\": \"Cyd\", \"pages\": 7, \"read_at\": \"2025-09-01T12:00:00Z\"}\n";
    folder.write("readings.json", format!("{READINGS}{late}"));
    folder.chalk(&DRAIN).check(0, "", "");
    let sql = "SELECT json_get_int(row, 'pages') AS pages FROM late_rows";
    assert_eq!(ask(&folder, "reading.sql", "csv", sql), "pages\n7\n");
}

#[test]
fn a_cut_file_is_not_read_again() {
    let folder = reading(READING, READINGS);
    folder.chalk(&DRAIN).check(0, "", "");
    folder.write("readings.json", "{}\n");
    let err = format!(
        "error: ./readings.json is 3 bytes long, but {} were read before: it was cut or replaced\n  \
         hint: use another data directory to read it anew\n",
        READINGS.len()
    );
    folder.chalk(&DRAIN).check(2, "", &err);
}

#[test]
fn what_is_not_there_is_named() {
    let folder = Folder::new();
    let hint = "hint: run this in a project's directory, or name a .sql file or a directory of them";
    folder.chalk(&["run", "reading.sql"]).check(2, "", &format!("error: there is no reading.sql\n  {hint}\n"));
    folder.write("reading.sql", READING);
    let err = "error: cannot open ./readings.json: No such file or directory (os error 2)\n";
    folder.chalk(&DRAIN).check(2, "", err);
    let err = "error: cannot open events.json: No such file or directory (os error 2)\n";
    folder.chalk(&["append", "events.json", "--data", "data"]).check(2, "", err);
    let hint = "hint: name it with --data, or start one with chalk demo or chalk run";
    let err = format!("error: there is no data directory nowhere\n  {hint}\n");
    folder.chalk(&["query", "SELECT 1", "--data", "nowhere"]).check(2, "", &err);
    assert!(!folder.path("nowhere").exists(), "asking made a directory");
}

// chalk append

const PUBLISHED: &str = r#"{"event_type":"assignment_published","tenant":"s","occurred_at":"2025-09-01T00:00:00Z","received_at":"2025-09-01T00:00:01Z","assignment_id":"a1","class_id":"c1","subject":"math","due_at":"2025-09-03T12:00:00Z","pupils":2,"key":{"items":[{"item":"1","kind":"single","points":1000,"answers":["B"]}]}}"#;
const HANDED_IN: &str = r#"{"event_type":"submission_received","tenant":"s","occurred_at":"2025-09-01T08:00:00Z","received_at":"2025-09-01T08:00:01Z","student_id":"p1","submission_id":"a1.p1.1","class_id":"c1","assignment_id":"a1","attempt":1,"answers":[{"item":"1","answer":" ｂ"}]}"#;
/// As [`HANDED_IN`], received again an hour later, its default spelt out.
const HANDED_IN_AGAIN: &str = r#"{"event_type":"submission_received","pages":0,"tenant":"s","occurred_at":"2025-09-01T08:00:00Z","received_at":"2025-09-01T09:00:01Z","student_id":"p1","submission_id":"a1.p1.1","class_id":"c1","assignment_id":"a1","attempt":1,"answers":[{"item":"1","answer":" ｂ"}]}"#;
const OTHER: &str = r#"{"event_type":"submission_received","tenant":"s","occurred_at":"2025-09-01T09:00:00Z","received_at":"2025-09-01T09:00:01Z","student_id":"p2","submission_id":"a1.p2.1","class_id":"c1","assignment_id":"a1","attempt":1,"answers":[{"item":"1","answer":"A"}]}"#;

/// Good events around each kind of bad one.
fn events() -> Vec<u8> {
    let head = r#"{"event_type":"submission_received","tenant":"s","occurred_at":"#;
    let body = r#""student_id":"p9","submission_id":"x","class_id":"c1","attempt":1"#;
    let lines: [String; 15] = [
        PUBLISHED.to_owned(),
        HANDED_IN.to_owned(),
        HANDED_IN_AGAIN.to_owned(),
        HANDED_IN.replace(" ｂ", "C"),
        r#"{"event_type":"submission_received","tenant":"s","#.to_owned(),
        r#"{"event_type":"submission_sent","tenant":"s"}"#.to_owned(),
        r#"{"tenant":"s"}"#.to_owned(),
        r#"{"event_type":"submission_withdrawn","tenant":"s","occurred_at":"2025-09-01T08:00:00Z","student_id":"p1","submission_id":"x"}"#.to_owned(),
        format!(r#"{head}"2025-09-01T08:00:00Z","attempt":"first"}}"#),
        format!(r#"{head}"1970-01-01T08:00:00Z",{body},"assignment_id":"a1","answers":[]}}"#),
        format!(r#"{head}"2025-09-01T08:00:00Z",{body},"assignment_id":"a9","answers":[]}}"#),
        format!(r#"{head}"2025-09-01T08:00:00Z",{body},"assignment_id":"a1","answers":[{{"item":"1","answr":"b"}}]}}"#),
        "[1, 2]".to_owned(),
        format!(r#"{{"scan":"{}"}}"#, "x".repeat(1 << 20)),
        OTHER.to_owned(),
    ];
    lines.join("\n").into_bytes()
}

/// What is said about [`events`]; `NAME` is where they were read from.
const REFUSED: &str = r#"NAME:4: id_conflict: event efe3942a-c7ee-5c2f-89d4-f540c307db1f was accepted before with other content: to say something else, use another idempotency key
NAME:5:49: malformed_json: not a JSON object: EOF while parsing a value
NAME:6:15: unknown_event_type: no schema has event type 'submission_sent': known are assignment_published, answer_key_revised, rubric_revised, copy_suspected, copy_dismissed, submission_graded, photo_stored, photo_rejected, class_week_closed, review_queued, review_resolved, sheet_read, class_enrolment_changed, consent_given, consent_withdrawn, student_erased, submission_received, submission_withdrawn, teacher_overrode, override_cleared, late_excused, regrade_requested
NAME:7: missing_field: field 'event_type' is missing: it says what the event is
NAME:8: missing_field: field 'command_id' is missing: submission_withdrawn needs a string
NAME:9:97: wrong_type: field 'attempt': expected an integer of 32 bits, found "first"
NAME:10:64: absurd_timestamp: field 'occurred_at' is before 2000: see to the device's clock
NAME:11:169: unknown_reference: field 'assignment_id': no event of topic 'assignments' has assignment_id 'a9': append that first, then send this again
NAME:12:209: wrong_type: field 'answers'[0].answer: it is missing
NAME:13:1: malformed_json: not a JSON object: invalid type: sequence, expected a JSON object
NAME:14: too_large: an event of 1048587 bytes is larger than 1048576: send less
refused events are kept: chalk query "SELECT * FROM dead_letters"
"#;

const DEAD_LETTERS: &str = "\
+--------------------+------+----------+---------------+
| reason             | line | position | field         |
+--------------------+------+----------+---------------+
| id_conflict        | 4    | NULL     | NULL          |
| malformed_json     | 5    | 49       | NULL          |
| unknown_event_type | 6    | 15       | event_type    |
| missing_field      | 7    | NULL     | event_type    |
| missing_field      | 8    | NULL     | command_id    |
| wrong_type         | 9    | 97       | attempt       |
| absurd_timestamp   | 10   | 64       | occurred_at   |
| unknown_reference  | 11   | 169      | assignment_id |
| wrong_type         | 12   | 209      | answers       |
| malformed_json     | 13   | 1        | NULL          |
| too_large          | 14   | NULL     | NULL          |
+--------------------+------+----------+---------------+
(11 rows)
";

const APPEND: [&str; 4] = ["append", "events.json", "--data", "data"];

/// Appends [`events`] in this way; whoever takes them, says the same.
fn check_append(folder: &Folder, name: &str, append: impl Fn() -> Ran) {
    append().check(1, "3 accepted, 1 duplicates, 11 refused\n", &REFUSED.replace("NAME", name));
    let sql = "SELECT reason, line, position, field FROM dead_letters ORDER BY _offset";
    assert_eq!(ask(folder, "sql", "table", sql), DEAD_LETTERS);
    // What was accepted is a duplicate now, and what was refused is refused as before.
    append().check(1, "0 accepted, 4 duplicates, 11 refused\n", &REFUSED.replace("NAME", name));
    let sql = "SELECT count(*) AS kept, min(length(raw)) AS shortest, max(length(raw)) AS longest FROM dead_letters";
    assert_eq!(ask(folder, "sql", "csv", sql), "kept,shortest,longest\n22,6,1048587\n");
}

#[test]
fn events_are_appended_to_a_directory_from_a_file() {
    let folder = Folder::of_homework();
    folder.write("events.json", events());
    check_append(&folder, "events.json", || folder.chalk(&APPEND));
    let graded = "SELECT submission_id, points, points_max, late_permille FROM graded ORDER BY submission_id";
    let rows = "submission_id,points,points_max,late_permille\na1.p1.1,1000,1000,1000\na1.p2.1,0,1000,1000\n";
    assert_eq!(ask(&folder, "sql", "csv", graded), rows);
}

#[test]
fn events_are_appended_through_a_server_from_the_standard_input() {
    let folder = Folder::of_homework();
    folder.write("events.json", events());
    let server = folder.serve(&["run", "--data", "data"]);
    check_append(&folder, "-", || folder.chalk_reading(&["append", "--data", "data"], "events.json"));
    // What clients sent is their exit code's business.
    assert_eq!(server.stop(), (Some(0), String::new()));
}

#[test]
fn nothing_refused_is_exit_code_0() {
    let folder = Folder::of_homework();
    folder.write("events.json", format!("{PUBLISHED}\r\n\n{HANDED_IN}\n{HANDED_IN_AGAIN}"));
    folder.chalk(&APPEND).check(0, "2 accepted, 1 duplicates, 0 refused\n", "");
    folder.chalk(&APPEND).check(0, "0 accepted, 3 duplicates, 0 refused\n", "");
    folder.chalk(&["append", "--data", "data"]).check(0, "0 accepted, 0 duplicates, 0 refused\n", "");
}

#[test]
fn lines_are_counted_across_the_parts_that_are_sent() {
    let folder = Folder::of_homework();
    let scan = format!("{},\"scan\":\"{}\"}}\n", HANDED_IN.trim_end_matches('}'), "x".repeat(1_000_000));
    folder.write("events.json", format!("{PUBLISHED}\n{}{{\n", scan.repeat(9)));
    let ran = folder.chalk(&APPEND);
    let err = "events.json:11:1: malformed_json: not a JSON object: EOF while parsing an object\n\
        refused events are kept: chalk query \"SELECT * FROM dead_letters\"\n";
    ran.check(1, "2 accepted, 8 duplicates, 1 refused\n", err);
}

// chalk query

#[test]
fn answers_come_as_table_json_or_csv() {
    let folder = Folder::of_homework();
    folder.write("events.json", events());
    folder.chalk(&APPEND);
    let sql = "SELECT class_id, week_of, expected, handed_in, 'a,\"b\"' AS text, NULL AS nothing FROM completion";
    let check = |format: &str, expected: &str| assert_eq!(ask(&folder, "sql", format, sql), expected);
    check(
        "table",
        "\
+----------+------------+----------+-----------+-------+---------+
| class_id | week_of    | expected | handed_in | text  | nothing |
+----------+------------+----------+-----------+-------+---------+
| c1       | 2025-09-01 | 2        | 2         | a,\"b\" | NULL    |
+----------+------------+----------+-----------+-------+---------+
(1 row)
",
    );
    check(
        "json",
        "{\"class_id\":\"c1\",\"week_of\":\"2025-09-01\",\"expected\":2,\"handed_in\":2,\"text\":\"a,\\\"b\\\"\",\"nothing\":null}\n",
    );
    check("csv", "class_id,week_of,expected,handed_in,text,nothing\nc1,2025-09-01,2,2,\"a,\"\"b\"\"\",\n");
}

/// What a query is answered with, with a server and without.
fn check_query(sql: &str, expected: &str) {
    let folder = Folder::of_homework();
    let server = folder.serve(&["run", "--data", "data"]);
    let query = ["query", "--data", "data", sql];
    folder.chalk(&query).check(2, "", expected);
    assert_eq!(server.stop().0, Some(0));
    folder.chalk(&query).check(2, "", expected);
}

#[test]
fn an_unknown_table_is_named_with_its_place() {
    let err = "error: 1:22: there is no view or topic 'class_leaderbord'\n  hint: did you mean 'class_leaderboard'?\n";
    check_query("SELECT count(*) FROM class_leaderbord", err);
}

#[test]
fn an_unknown_column_is_named_with_its_place() {
    let err = "error: 2:3: there is no column 'rnk'\n  hint: did you mean 'rank'?\n";
    check_query("SELECT class_id,\n  rnk FROM class_leaderboard", err);
}

#[test]
fn a_query_that_breaks_off_is_told_where() {
    check_query("SELECT rank FROM", "error: 1:17: Expected: identifier, found: EOF\n");
}

#[test]
fn queries_only_read() {
    let err = "error: queries are read-only: DELETE FROM is not one\n  \
        hint: a query is SELECT, WITH, VALUES, EXPLAIN, DESCRIBE, SHOW TABLES or SHOW COLUMNS\n";
    check_query("DELETE FROM submissions", err);
}

// Who is there already

#[test]
fn a_locked_directory_says_who_holds_it() {
    let folder = Folder::of_homework();
    let server = folder.serve(&["run", "--data", "data"]);
    let held = format!(
        "data is in use by process {} (chalk run), which listens on http://{}",
        server.pid(),
        server.client.address
    );
    folder.chalk(&["run", "--data", "data"]).check(2, "", &format!("error: {held}\n"));
    let hint = "hint: stop that, or name another directory with --data";
    folder.chalk(&["demo", "--exit", "--data", "data"]).check(2, "", &format!("error: {held}\n  {hint}\n"));
    server.kill();
    // A dead process holds nothing.
    let server = folder.serve(&["run", "--data", "data"]);
    assert_eq!(server.stop(), (Some(0), String::new()));
}

#[test]
fn a_taken_port_is_named() {
    let folder = Folder::of_homework();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    let ran = folder.chalk(&["run", "--data", "data", "--http-port", &address.port().to_string()]);
    let err = format!(
        "running sql on data\nerror: {address} is taken\n  hint: choose another port with --http-port, \
         or 0 for any that is free\n"
    );
    ran.check(2, "", &err);
}

// chalk generate

fn generate(events: u64, seed: u64) -> String {
    let (events, seed) = (events.to_string(), seed.to_string());
    Folder::new().chalk(&["generate", "homework", "--events", &events, "--seed", &seed]).done()
}

#[test]
fn a_seed_generates_the_same_again() {
    let first = generate(1000, 7);
    assert_eq!(first.lines().count(), 1000);
    assert!(first == generate(1000, 7), "seed 7 gave two schools");
    assert!(first != generate(1000, 8), "seeds 7 and 8 gave one school");
}

#[test]
fn generated_events_can_be_appended() {
    let folder = Folder::of_homework();
    let mut tally = Tally::default();
    let sent: Vec<_> = School::new(SchoolConfig { seed: 3, events: 4000, ..SchoolConfig::default() }).collect();
    tally.extend(&sent);
    let generate = ["generate", "homework", "--events", "4000", "--seed", "3"];
    let [generated, appended] = folder.chalk_piped(&generate, &["append", "--data", "data"]);
    generated.check(0, "", "");
    let (accepted, refused) = (tally.accepted_total(), tally.rejected_total());
    assert!(refused > 0, "the school makes mistakes");
    assert_eq!(appended.out, format!("{accepted} accepted, {} duplicates, {refused} refused\n", tally.duplicates));
    assert_eq!((appended.code, appended.err.lines().count() as u64), (Some(1), refused + 1), "{}", appended.err);
}

/// As `chalk generate … | head` does: whoever reads goes away.
fn check_unread(events: &str) {
    let mut child = Folder::new()
        .command(&["generate", "homework", "--events", events])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn a_generator_that_nobody_reads_ends_quietly() {
    check_unread("1");
    check_unread("1000");
}
