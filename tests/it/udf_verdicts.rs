//! Groups that a function fails for are set aside as rows are; and what time, memory or a crash decided is decided once.

use crate::program::Folder;
use serde_json::Value;

fn build(folder: &Folder, name: &str, source: &str) {
    folder.write(&format!("udfs/{name}.rs"), source);
    let ran = folder.building(&["udf", "build", &format!("udfs/{name}.rs")]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
}

fn query(folder: &Folder, sql: &str) -> String {
    folder.chalk(&["query", "--data", "data", "-f", "csv", sql]).done()
}

/// Runs to the end of the files; the exit code says whether rows were refused.
fn drain(folder: &Folder, code: i32) {
    let ran = folder.chalk(&["run", "--drain", "--data", "data"]);
    assert_eq!(ran.code, Some(code), "{}", ran.err);
}

fn verify(folder: &Folder) {
    let verified = folder.chalk(&["replay", "--data", "data", "--verify"]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.out, verified.err);
}

fn append(folder: &Folder, file: &str, lines: &[String]) {
    let before = if folder.path(file).exists() { folder.read(file) } else { String::new() };
    folder.write(file, before + &lines.iter().map(|line| format!("{line}\n")).collect::<String>());
}

/// The middle value; some values make it fail.
const MIDDLE: &str = r#"use arroyo_udf_plugin::udf;

#[udf]
fn middle(values: Vec<i64>) -> i64 {
    for value in &values {
        match value {
            13 => panic!("unlucky"),
            14 => std::process::exit(0),
            15 => loop {
                std::hint::spin_loop();
            },
            _ => {}
        }
    }
    values[values.len() / 2]
}
"#;

/// A change of the scores: id, class, points.
fn score(op: &str, id: u32, class: &str, points: i64) -> String {
    let row = format!("{{\"id\":{id},\"class\":\"{class}\",\"points\":{points}}}");
    match op {
        "c" => format!("{{\"before\":null,\"after\":{row},\"op\":\"c\"}}"),
        _ => format!("{{\"before\":{row},\"after\":null,\"op\":\"d\"}}"),
    }
}

fn scores(query: &str) -> Folder {
    let folder = Folder::new();
    folder.write(
        "sql/pipeline.sql",
        format!(
            "CREATE TABLE scores (id INT PRIMARY KEY, class TEXT, points BIGINT)\n\
             WITH (connector = 'single_file', path = 'scores.json', format = 'debezium_json');\n\
             CREATE MATERIALIZED VIEW middles AS {query};\n"
        ),
    );
    build(&folder, "middle", MIDDLE);
    folder.write("udfs/udfs.toml", "[middle]\ntime_limit = '1s'\n");
    folder
}

#[test]
fn a_group_that_an_aggregate_fails_for_has_no_result_until_its_rows_change() {
    let folder = scores("SELECT class, count(*) AS scores, middle(points) AS middle FROM scores GROUP BY class");
    let create = |id, class, points| score("c", id, class, points);
    append(
        &folder,
        "scores.json",
        &[
            create(1, "a", 1),
            create(2, "b", 13),
            create(3, "a", 7),
            create(4, "c", 14),
            create(5, "d", 15),
            create(6, "b", 2),
        ],
    );
    drain(&folder, 1);
    let middles = "SELECT class, scores, middle FROM middles ORDER BY class";
    assert_eq!(query(&folder, middles), "class,scores,middle\na,2,7\n");
    let letters = "SELECT raw, source, reason, message FROM dead_letters ORDER BY raw";
    let told = query(&folder, letters);
    let told: Vec<&str> = told.lines().skip(1).collect();
    for (class, why) in
        [("b", "unlucky"), ("c", "ended by itself with exit code 0"), ("d", "it took longer than 1000 ms")]
    {
        let raw = format!("\"{{\"\"class\"\":\"\"{class}\"\"}}\",query middles,not_computed,");
        assert!(told.iter().any(|letter| letter.starts_with(&raw) && letter.contains(why)), "{class}: {told:#?}");
    }
    assert_eq!(told.len(), 3, "{told:#?}");

    // Another run, in which nothing changes, and one in which a row comes that makes nothing better; it is told of once.
    drain(&folder, 0);
    append(&folder, "scores.json", &[create(7, "b", 3), score("d", 4, "c", 14), create(8, "c", 8)]);
    drain(&folder, 0);
    assert_eq!(query(&folder, middles), "class,scores,middle\na,2,7\nc,1,8\n");
    // What was wrong is taken back, and comes back.
    append(&folder, "scores.json", &[score("d", 2, "b", 13), create(9, "a", 13)]);
    drain(&folder, 1);
    assert_eq!(query(&folder, middles), "class,scores,middle\nb,2,3\nc,1,8\n");
    assert_eq!(query(&folder, "SELECT count(*) AS letters FROM dead_letters"), "letters\n4\n");
    verify(&folder);
    std::fs::remove_dir_all(folder.path("data/checkpoints")).expect("checkpoints");
    drain(&folder, 0);
    assert_eq!(query(&folder, middles), "class,scores,middle\nb,2,3\nc,1,8\n");
}

#[test]
fn so_has_a_partition_of_ordered_rows() {
    let folder = scores("SELECT id, middle(points) OVER (PARTITION BY class) AS middle FROM scores");
    append(&folder, "scores.json", &[score("c", 1, "a", 1), score("c", 2, "b", 13), score("c", 3, "a", 7)]);
    drain(&folder, 1);
    let middles = "SELECT id, middle FROM middles ORDER BY id";
    assert_eq!(query(&folder, middles), "id,middle\n1,7\n3,7\n");
    assert_eq!(query(&folder, "SELECT raw FROM dead_letters"), "raw\n\"{\"\"class\"\":\"\"b\"\"}\"\n");
    append(&folder, "scores.json", &[score("d", 2, "b", 13), score("c", 4, "b", 4)]);
    drain(&folder, 0);
    assert_eq!(query(&folder, middles), "id,middle\n1,7\n3,7\n4,4\n");
    verify(&folder);
}

/// Does what the word asks for, as long as there is a file that says so.
const FICKLE: &str = r#"use arroyo_udf_plugin::udf;
use std::io::Write;

#[udf]
fn fickle(word: &str) -> String {
    let mut calls = std::fs::OpenOptions::new().append(true).create(true).open("calls.txt").unwrap();
    calls.write_all(format!("{word}\n").as_bytes()).unwrap();
    if std::path::Path::new("bad day").exists() {
        match word {
            "wait" => std::thread::sleep(std::time::Duration::from_secs(60)),
            "die" => std::process::abort(),
            _ => {}
        }
    }
    word.to_uppercase()
}
"#;

/// How often it was called with a word that can fail.
fn calls(folder: &Folder) -> usize {
    folder.read("calls.txt").lines().filter(|word| ["wait", "die"].contains(word)).count()
}

#[test]
fn what_time_or_a_crash_decided_is_decided_once() {
    let folder = Folder::new();
    folder.write(
        "sql/pipeline.sql",
        "CREATE TABLE words (id BIGINT NOT NULL, word TEXT NOT NULL)\n\
         WITH (connector = 'single_file', path = 'words.json', format = 'json');\n\
         CREATE MATERIALIZED VIEW said AS SELECT id, fickle(word) AS said FROM words;\n\
         CREATE MATERIALIZED VIEW lengths AS SELECT length(said) AS length, count(*) AS words FROM said GROUP BY length(said);\n",
    );
    build(&folder, "fickle", FICKLE);
    let word = |(id, word): (usize, &str)| format!("{{\"id\":{id},\"word\":\"{word}\"}}");
    let words = ["one", "two", "wait", "three", "die", "four"];
    append(&folder, "words.json", &words.into_iter().enumerate().map(word).collect::<Vec<_>>());
    folder.write("bad day", "");
    folder.write("udfs/udfs.toml", "[fickle]\ntime_limit = '300ms'\n");
    let server = folder.serve(&["run", "--data", "data"]);
    server.client.shows("SELECT count(*) FROM said", "4");
    server.client.shows("SELECT count(*) FROM dead_letters", "2");
    let live: Value = server.client.status()["views"].clone();
    server.kill();

    // A better day, and more time.
    std::fs::remove_file(folder.path("bad day")).expect("a file");
    folder.write("udfs/udfs.toml", "[fickle]\ntime_limit = '60s'\n");
    let before = calls(&folder);
    assert!(before >= 6, "each is tried again before it is given up on: {before}");
    let replayed = folder.chalk(&["replay", "--data", "data", "--hash", "--from-start", "-f", "json"]);
    for line in replayed.out.lines() {
        let replayed: Value = serde_json::from_str(line).expect("a line of JSON");
        let view = replayed["view"].as_str().expect("a name");
        assert_eq!((&replayed["rows"], &replayed["hash"]), (&live[view]["rows"], &live[view]["hash"]), "{view}");
    }
    verify(&folder);
    append(&folder, "words.json", &[word((6, "five")), word((7, "wait"))]);
    drain(&folder, 1);
    let said = "SELECT id, said FROM said ORDER BY id";
    let expected = "id,said\n0,ONE\n1,TWO\n3,THREE\n5,FOUR\n6,FIVE\n";
    assert_eq!(query(&folder, said), expected);
    std::fs::remove_dir_all(folder.path("data/checkpoints")).expect("checkpoints");
    drain(&folder, 0);
    assert_eq!(query(&folder, said), expected, "computed from the beginning of the log");
    verify(&folder);
    assert_eq!(calls(&folder), before, "nobody has called it again");
    assert_eq!(
        query(&folder, "SELECT count(*) AS verdicts, count(DISTINCT function) AS functions FROM _verdicts"),
        "verdicts,functions\n2,1\n"
    );

    // It would say something now.
    folder.chalk(&["run", "--drain", "--data", "other"]).check(0, "", "");
    let other = folder.chalk(&["query", "--data", "other", "-f", "csv", "SELECT count(*) AS rows FROM said"]).done();
    assert_eq!(other, "rows\n8\n");
}
