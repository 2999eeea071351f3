//! A running server calls another build of a function from one epoch to the next: no event is lost or graded twice, and replays switch where it did.

use crate::program::{Client, Folder, Ran, Server};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

const SCHEMA: &str = r#"[{"type": "record", "name": "Answered", "event_type": "answered", "key": ["number"],
  "idempotency_key": ["number"], "fields": [{"name": "number", "type": "long"}, {"name": "word", "type": "string"}]}]"#;
const GRADED: &str = r#"[{"type": "record", "name": "Graded", "event_type": "graded", "key": ["number"],
  "idempotency_key": ["number", "grader"], "fields": [{"name": "number", "type": "long"}, {"name": "grade", "type": "long"},
  {"name": "grader", "type": "string"}]}]"#;
const TABLE: &str = "CREATE TABLE answers (tenant TEXT NOT NULL, occurred_at TIMESTAMP NOT NULL, number BIGINT NOT NULL, word TEXT NOT NULL)\n\
    WITH (connector = 'log', topic = 'answers', format = 'json');\n";

const GRADE: &str = "use arroyo_udf_plugin::udf;\n#[udf]\nfn grade(number: i64) -> i64 {\n    number + 1\n}\n";
const SAY: &str = r#"use arroyo_udf_plugin::async_udf::tokio::time::{Duration, sleep};
use arroyo_udf_plugin::udf;

#[udf(unordered, allowed_in_flight = 100, timeout = "60s")]
async fn say(word: &str) -> String {
    while word == "gate" && !std::path::Path::new("open").exists() {
        sleep(Duration::from_millis(5)).await;
    }
    format!("{word} 1")
}
"#;

fn project(queries: &str) -> Folder {
    let folder = Folder::new();
    folder.write("sql/pipeline.sql", format!("{TABLE}{queries}"));
    folder.write("schemas/answers.avsc", SCHEMA);
    folder.write("schemas/graded.avsc", GRADED);
    folder.write("schemas/envelope.avsc", include_str!("../../schemas/envelope.avsc"));
    folder
}

/// Builds a function; gives who it is.
fn build(folder: &Folder, name: &str, source: &str) -> String {
    folder.write(&format!("udfs/{name}.rs"), source);
    let ran = folder.building(&["udf", "build", &format!("udfs/{name}.rs")]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    ran.out.split_whitespace().last().expect("an identity").to_owned()
}

fn promote(folder: &Folder, name: &str) -> Ran {
    folder.chalk(&["udf", "promote", name, "--data", "data"])
}

/// The last commit before a promotion.
fn after(promoted: &str) -> u64 {
    let rest = promoted.split("after commit ").nth(1).expect("a commit");
    rest.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

fn lines(numbers: std::ops::Range<u64>, word: &str) -> String {
    let line = |number| {
        format!(
            "{{\"event_type\":\"answered\",\"tenant\":\"t\",\"occurred_at\":\"2025-09-01T00:00:00Z\",\"number\":{number},\"word\":\"{word}\"}}\n"
        )
    };
    numbers.map(line).collect()
}

/// What views come to, by name.
fn hashes(client: &Client) -> BTreeMap<String, Value> {
    client.caught_up();
    let views = client.status()["views"].clone();
    views.as_object().expect("views").iter().map(|(name, view)| (name.clone(), view["hash"].clone())).collect()
}

/// Every start and replay comes to these views.
fn check_again(folder: &Folder, expected: &BTreeMap<String, Value>) {
    for remove in [false, true] {
        if remove {
            std::fs::remove_dir_all(folder.path("data/checkpoints")).expect("checkpoints");
        }
        let server = folder.serve(&["run", "--data", "data"]);
        assert_eq!(&hashes(&server.client), expected, "checkpoints removed: {remove}");
        server.stop();
    }
    let verified = folder.chalk(&["replay", "--data", "data", "--verify"]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.out, verified.err);
    let replayed = folder.chalk(&["replay", "--data", "data", "--hash", "--from-start", "-f", "json"]).out;
    for line in replayed.lines() {
        let view: Value = serde_json::from_str(line).expect("a line of JSON");
        let name = view["view"].as_str().expect("a name");
        assert_eq!(view["hash"], expected[name], "{name}");
    }
}

#[test]
fn a_promoted_build_is_called_from_one_epoch_to_the_next() {
    let folder = project(
        "CREATE TABLE graded (tenant TEXT NOT NULL, occurred_at TIMESTAMP NOT NULL, number BIGINT NOT NULL, grade BIGINT NOT NULL, grader TEXT NOT NULL)\n\
         WITH (connector = 'log', topic = 'graded', format = 'json');\n\
         INSERT INTO graded SELECT tenant, occurred_at, number, grade(number) AS grade, udf_version('grade') AS grader FROM answers;\n\
         CREATE MATERIALIZED VIEW grades AS SELECT number, grade(number) AS grade, udf_version('grade') AS grader FROM answers;\n\
         CREATE MATERIALIZED VIEW graders AS SELECT grader, count(*) AS grades, sum(grade) AS sum FROM graded GROUP BY grader;\n",
    );
    let old = build(&folder, "grade", GRADE);
    let server = folder.serve(&["run", "--data", "data"]);
    let (client, ends) = (&server.client, AtomicBool::new(false));
    let (sent, new, promoted) = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut sent = 0;
            while !ends.load(Ordering::Relaxed) || sent < 2000 {
                client.append(&lines(sent..sent + 20, "a")).expect("an acknowledgement");
                sent += 20;
            }
            // Some are certain to come behind it.
            client.append(&lines(sent..sent + 200, "a")).expect("an acknowledgement");
            sent + 200
        });
        client.shows("SELECT count(*) > 100 FROM grades", "true");
        let new = build(&folder, "grade", &GRADE.replace("number + 1", "number + 1000000"));
        let promoted = promote(&folder, "grade").done();
        ends.store(true, Ordering::Relaxed);
        (load.join().expect("no failure"), new, promoted)
    });
    let after = after(&promoted);
    assert!(promoted.starts_with(&format!("{old} → {new}, for all that comes after commit ")), "{promoted}");
    let expected = hashes(client);
    assert_eq!(client.query("SELECT count(*), count(DISTINCT number) FROM grades"), format!("{sent},{sent}"));
    assert_eq!(client.query("SELECT count(*), count(DISTINCT number) FROM graded"), format!("{sent},{sent}"));
    let by_build = |which: &str, wanted: &str| {
        let sql = format!(
            "SELECT count(*) > 0, min(a._commit_seq) > {after}, max(a._commit_seq) <= {after}, min(g.grade - g.number), max(g.grade - g.number) \
             FROM answers a JOIN grades g ON a.number = g.number WHERE g.grader = '{which}'"
        );
        assert_eq!(client.query(&sql), wanted);
    };
    by_build(&old, "true,false,true,1,1");
    by_build(&new, "true,true,false,1000000,1000000");
    assert_eq!(client.query("SELECT grader FROM graders ORDER BY grader"), {
        let mut both = [old.as_str(), new.as_str()];
        both.sort_unstable();
        both.join("\n")
    });
    assert_eq!(client.query("SELECT udf_version('grade'), grade(0)"), format!("{new},1000000"), "whoever asks, too");
    server.kill();
    check_again(&folder, &expected);

    // A source that was not promoted computes everything, as it always has; and what was promoted before does not count any more.
    build(&folder, "grade", GRADE);
    let server = folder.serve(&["run", "--data", "data"]);
    server.client.caught_up();
    assert_eq!(server.client.query("SELECT DISTINCT grader FROM grades"), old);
    let by_old = hashes(&server.client);
    server.stop();
    check_again(&folder, &by_old);
}

#[test]
fn rows_that_are_not_called_yet_are_called_by_the_promoted_build() {
    let folder = project(
        "CREATE MATERIALIZED VIEW said AS SELECT number, say(word) AS said, udf_version('say') AS version FROM answers;\n",
    );
    let old = build(&folder, "say", SAY);
    let server = folder.serve(&["run", "--data", "data"]);
    let client = &server.client;
    client.append(&lines(0..10, "gate")).expect("an acknowledgement");
    client.append(&lines(10..60, "word")).expect("an acknowledgement");
    client.shows("SELECT count(*) FROM said", "50");
    let new = build(&folder, "say", &SAY.replace("{word} 1", "{word} 2"));
    promote(&folder, "say").done();
    client.append(&lines(60..100, "word")).expect("an acknowledgement");
    client.shows("SELECT count(*) FROM said", "90");
    folder.write("open", "");
    client.shows("SELECT count(*) FROM said", "100");
    let told = client.query(
        "SELECT version, said, count(*), min(number), max(number) FROM said GROUP BY version, said ORDER BY said",
    );
    let expected = format!("{old},gate 1,10,0,9\n{old},word 1,50,10,59\n{new},word 2,40,60,99");
    assert_eq!(told, expected, "what the earlier build was given it answers");
    let stage = &client.status()["pipeline"]["stages"]["said_say"];
    let counts = ["in_flight", "waiting", "recorded", "failed"].map(|name| stage[name].as_u64());
    assert_eq!((counts, stage["function"].as_str()), ([Some(0), Some(0), Some(100), Some(0)], Some(new.as_str())));
    let shown = folder.chalk(&["status", "--data", "data"]).done();
    assert!(shown.contains(&format!("said_say  {new}: 0 of ")), "{shown}");
    let expected = hashes(client);
    server.kill();
    check_again(&folder, &expected);
}

/// What a promotion is refused with.
fn refused(folder: &Folder, name: &str, why: &str) {
    promote(folder, name).check(2, "", &format!("error: {why}\n"));
}

#[test]
fn what_cannot_be_promoted_is_said() {
    let folder = project(
        "CREATE MATERIALIZED VIEW counts AS SELECT word, count(*) AS words FROM answers GROUP BY word;\n\
         CREATE MATERIALIZED VIEW grades AS SELECT word, grade(words) AS grade FROM counts;\n",
    );
    let first = build(&folder, "grade", GRADE);
    let server: Server = folder.serve(&["run", "--data", "data"]);
    refused(
        &folder,
        "grade",
        &format!("{first} is what is called already\n  hint: change its source, then chalk udf build"),
    );
    refused(&folder, "grades", "the running pipeline has no function 'grades' of udfs/\n  hint: it has grade");
    folder.write("udfs/grade.rs", GRADE.replace("+ 1", "+ 2"));
    refused(
        &folder,
        "grade",
        "function 'grade' (udfs/grade.rs) is not built as it is now\n  hint: chalk udf build udfs/grade.rs",
    );
    build(&folder, "grade", &GRADE.replace("+ 1", "+ 2"));
    refused(
        &folder,
        "grade",
        "query 'grades' takes back results of 'grade', which only the build that gave them can do\n  hint: stop and start: then all \
         of the log is computed by the new build",
    );
    build(&folder, "grade", &GRADE.replace("number: i64", "number: &str").replace("number + 1", "number.len() as i64"));
    refused(
        &folder,
        "grade",
        "grade(number TEXT) → BIGINT cannot take the place of grade(number BIGINT) → BIGINT: other types, or another kind of \
         function\n  hint: a start plans its queries anew",
    );
    server.stop();
    refused(
        &folder,
        "grade",
        "no server runs on data\n  hint: the next start calls functions as their sources are then, for all of the log",
    );
}

#[test]
fn a_switch_is_read_as_it_was_stored() {
    let text = r#"{"kind":"function_switched","pipeline":"project","function":"f","from":"00ff","to":"11ee","after":907,"generation":0}"#;
    let event: chalk_catalog::ControlEvent = serde_json::from_str(text).expect("a control event");
    assert_eq!(serde_json::to_string(&event).expect("JSON"), text);
}
