//! Async functions: each row is called once, its result is an event, and whatever the function does, the rest goes on.

use crate::program::{ASK_EVERY, Folder, PATIENCE, Ran, Server};
use std::collections::BTreeMap;
use std::time::Instant;

/// Says what it is called with in a file, and does what the word asks for.
const ASK: &str = r#"use arroyo_udf_plugin::async_udf::tokio::time::sleep;
use arroyo_udf_plugin::udf;
use std::io::Write;
use std::time::Duration;

#[udf(OPTIONS)]
async fn ask(word: &str) -> Option<String> {
    let mut calls = std::fs::OpenOptions::new().append(true).create(true).open("calls.txt").unwrap();
    calls.write_all(format!("{word}\n").as_bytes()).unwrap();
    let (what, rest) = word.split_once(' ').unwrap_or((word, ""));
    match what {
        "panic" => panic!("not today"),
        "abort" => std::process::abort(),
        "exit" => std::process::exit(0),
        "loop" => loop {
            std::hint::spin_loop();
        },
        "never" => std::future::pending().await,
        "none" => return None,
        "slow" => sleep(Duration::from_millis(rest.parse().unwrap())).await,
        // Until somebody opens.
        "gate" => {
            while !std::path::Path::new("open").exists() {
                sleep(Duration::from_millis(5)).await;
            }
        }
        _ => sleep(Duration::from_millis(1)).await,
    }
    Some(word.to_uppercase())
}
"#;

const TABLE: &str = "CREATE TABLE words (id BIGINT NOT NULL, word TEXT)\n\
    WITH (connector = 'single_file', path = 'words.json', format = 'json');\n";
const SAID: &str = "CREATE MATERIALIZED VIEW said AS SELECT id, ask(word) AS said FROM words WHERE id >= 0;\n";

fn project(options: &str, queries: &str, words: &[String]) -> Folder {
    let folder = Folder::new();
    folder.write("sql/pipeline.sql", format!("{TABLE}{queries}"));
    let row = |(id, word): (usize, &String)| format!("{{\"id\":{id},\"word\":\"{word}\"}}\n");
    folder.write("words.json", words.iter().enumerate().map(row).collect::<String>());
    build(&folder, &ASK.replace("OPTIONS", options));
    folder
}

fn build(folder: &Folder, source: &str) {
    folder.write("udfs/ask.rs", source);
    let ran = folder.building(&["udf", "build"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
}

fn words(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("word {number}")).collect()
}

/// How often it was called, by word.
fn calls(folder: &Folder) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    let said = if folder.path("calls.txt").exists() { folder.read("calls.txt") } else { String::new() };
    said.lines().for_each(|word| *calls.entry(word.to_owned()).or_default() += 1);
    calls
}

fn drain(folder: &Folder) -> Ran {
    folder.chalk(&["run", "--drain", "--data", "data"])
}

fn query(folder: &Folder, sql: &str) -> String {
    folder.chalk(&["query", "--data", "data", "-f", "csv", sql]).done()
}

/// Waits until a query of a server gives this.
fn wait_for(server: &Server, sql: &str, wanted: &str) {
    let began = Instant::now();
    loop {
        let found = server.client.query(sql);
        if found == wanted {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{sql} gives {found} and not {wanted}");
        std::thread::sleep(ASK_EVERY);
    }
}

#[test]
fn each_row_is_called_once_and_a_replay_calls_nothing() {
    let queries = "CREATE MATERIALIZED VIEW said AS\n\
        SELECT id, lower(ask(word)) AS said, udf_version('ask') AS version FROM words WHERE id <> 3;\n\
        CREATE MATERIALIZED VIEW lengths AS SELECT length(said) AS length, count(*) AS words FROM said GROUP BY length(said);\n";
    let mut all = words(500);
    all[7] = "none at all".to_owned();
    let folder = project("unordered, allowed_in_flight = 100", queries, &all);
    assert_eq!(drain(&folder).err, "");
    let expected = calls(&folder);
    assert_eq!((expected.len(), expected.values().sum::<usize>()), (499, 499), "each once, and not what is filtered");
    assert_eq!(query(&folder, "SELECT count(*) AS rows, count(said) AS said FROM said"), "rows,said\n499,498\n");
    assert_eq!(query(&folder, "SELECT said FROM said WHERE id = 444"), "said\nword 444\n");
    assert_eq!(query(&folder, "SELECT words FROM lengths WHERE length = 8"), "words\n400\n");
    let built: serde_json::Value =
        serde_json::from_str(&folder.chalk(&["udf", "list", "-f", "json"]).done()).expect("a line of JSON");
    let hash = built["hash"].as_str().expect("a hash").to_owned();
    let versions = query(&folder, "SELECT DISTINCT version FROM said");
    assert_eq!(versions, format!("version\nask@{hash}\n"));

    let verified = folder.chalk(&["replay", "--data", "data", "--verify"]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.out, verified.err);
    let replayed = folder.chalk(&["replay", "--data", "data", "--from-start", "--view", "said", "-f", "csv"]);
    assert_eq!(replayed.out.lines().count(), 500, "{}", replayed.err);
    assert_eq!(drain(&folder).err, "");
    assert_eq!(calls(&folder), expected, "nothing is called again");

    // Who else was called is visible on each row.
    build(&folder, &ASK.replace("OPTIONS", "unordered").replace("not today", "not now"));
    folder.write("words.json", format!("{}{{\"id\":1000,\"word\":\"later\"}}\n", folder.read("words.json")));
    assert_eq!(drain(&folder).err, "");
    assert_eq!(calls(&folder).values().sum::<usize>(), 500, "a new build is called for new rows alone");
    let versions = query(&folder, "SELECT count(DISTINCT version) AS versions FROM said");
    assert_eq!(versions, "versions\n2\n");
}

#[test]
fn a_stage_is_shown_where_it_is_cut() {
    let folder = project("unordered", SAID, &words(1));
    let explained = folder.chalk(&["explain"]).done();
    for line in [
        "results of stage said_ask (topic _recorded_said_ask)",
        "stage said_ask: ask(columns [1]) of 3, recorded in topic _recorded_said_ask",
        "  0  source words (topic words)",
        "  2  filter id@0 >= 0  ← 1",
    ] {
        assert!(explained.contains(line), "{line} is not in\n{explained}");
    }
}

#[test]
fn what_was_recorded_before_a_kill_is_not_called_again() {
    let mut all = words(150);
    all.extend((0..150).map(|number| format!("gate {number}")));
    // Those that wait come first and in between.
    all.sort_by_key(|word| word.len() % 5);
    let folder = project("unordered, allowed_in_flight = 300, timeout = \"60s\"", SAID, &all);
    let server = folder.serve(&["run", "--data", "data"]);
    wait_for(&server, "SELECT count(*) FROM said", "150");
    server.kill();
    let before = calls(&folder);
    folder.write("open", "");
    assert_eq!(drain(&folder).err, "");
    assert_eq!(query(&folder, "SELECT count(*) AS rows, count(DISTINCT id) AS ids FROM said"), "rows,ids\n300,300\n");
    let after = calls(&folder);
    assert_eq!(after.len(), 300);
    for (word, times) in &after {
        let expected = if word.starts_with("word") { 1 } else { before.get(word).map_or(1, |before| before + 1) };
        assert_eq!(*times, expected, "{word}");
    }
    let verified = folder.chalk(&["replay", "--data", "data", "--verify"]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.out, verified.err);
    assert_eq!(drain(&folder).err, "");
    assert_eq!(calls(&folder), after);
}

#[test]
fn the_rest_goes_on_whatever_a_row_does() {
    let mut all = words(120);
    let faults = ["panic", "abort", "exit", "loop", "never"];
    for (index, fault) in faults.iter().enumerate() {
        all[11 + 20 * index] = (*fault).to_owned();
    }
    let folder = project("unordered, timeout = \"2s\"", SAID, &all);
    let ran = drain(&folder);
    assert_eq!(ran.code, Some(1), "some rows were refused: {}", ran.err);
    assert_eq!(query(&folder, "SELECT count(*) AS rows FROM said WHERE said LIKE 'WORD %'"), "rows\n115\n");
    let letters = query(&folder, "SELECT raw, reason, source, message FROM dead_letters ORDER BY raw");
    let letters: Vec<&str> = letters.lines().skip(1).collect();
    assert_eq!(letters.len(), faults.len(), "{letters:#?}");
    let why = [
        ("panic", "panicked: "),
        ("panic", "not today"),
        ("abort", "its worker died: aborted"),
        ("exit", "its worker ended by itself with exit code 0"),
        ("never", "it took longer than 2000 ms"),
        ("loop", "it blocks its thread"),
    ];
    for (fault, reason) in why {
        let letter = letters.iter().find(|letter| letter.contains(&format!("\"\"{fault}\"\"")));
        let letter = letter.unwrap_or_else(|| panic!("no letter for {fault}: {letters:#?}"));
        assert!(letter.contains(reason) && letter.contains(",not_computed,query said,"), "{fault}: {letter}");
    }
    // What was found out is recorded: it is not tried again.
    let before = calls(&folder);
    drain(&folder);
    assert_eq!(calls(&folder), before);
    assert_eq!(query(&folder, "SELECT count(*) AS letters FROM dead_letters"), "letters\n5\n");
}

/// The ids of rows, in the order in which their results were recorded.
fn recorded(folder: &Folder) -> Vec<u64> {
    let rows = folder.chalk(&["tail", "_recorded_said_ask", "--data", "data", "--from", "earliest"]).done();
    let rows = rows.lines().map(|line| serde_json::from_str(line).expect("a line of JSON"));
    rows.filter_map(|row: serde_json::Value| row["id"].as_u64()).collect()
}

#[test]
fn results_come_in_the_order_of_rows_if_that_is_asked_for() {
    let all: Vec<String> = (0..60).map(|number| format!("slow {}", if number % 20 == 0 { 500 } else { 1 })).collect();
    for (options, in_order) in [("ordered", true), ("unordered", false)] {
        let folder = project(options, SAID, &all);
        assert_eq!(drain(&folder).err, "");
        let ids = recorded(&folder);
        assert_eq!(ids.len(), 60, "{options}");
        assert_eq!(ids.is_sorted(), in_order, "{options}: {ids:?}");
    }
}

#[test]
fn a_query_that_changes_keeps_what_was_recorded_and_a_rerun_does_not() {
    let folder = project("unordered", SAID, &words(50));
    assert_eq!(drain(&folder).err, "");
    let once = calls(&folder);
    let changed = SAID.replace("SELECT id,", "SELECT id, id + 1 AS next,");
    folder.write("sql/pipeline.sql", format!("{TABLE}{changed}"));
    assert_eq!(drain(&folder).err, "");
    assert_eq!(query(&folder, "SELECT next, said FROM said WHERE id = 9"), "next,said\n10,WORD 9\n");
    assert_eq!(calls(&folder), once, "the function would be given the same");

    let other = SAID.replace("ask(word)", "ask(CASE WHEN id < 10 THEN word ELSE word || '!' END)");
    folder.write("sql/pipeline.sql", format!("{TABLE}{other}"));
    assert_eq!(drain(&folder).err, "");
    assert_eq!(calls(&folder).values().sum::<usize>(), 90, "forty are asked something else");

    let ran = folder.chalk(&["run", "--drain", "--data", "data", "--rerun-udf", "ask"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(calls(&folder).values().sum::<usize>(), 140, "all of them");
    assert_eq!(query(&folder, "SELECT count(*) AS rows FROM said"), "rows\n50\n");
    assert_eq!(drain(&folder).err, "");
    assert_eq!(calls(&folder).values().sum::<usize>(), 140);
    let ran = folder.chalk(&["run", "--drain", "--data", "data", "--rerun-udf", "asked"]);
    ran.check(2, "", "error: no query calls an async function 'asked'\n  hint: called are ask\n");
}

#[test]
fn slow_answers_make_nothing_late() {
    let folder = Folder::new();
    folder.write(
        "sql/pipeline.sql",
        "CREATE TABLE words (id BIGINT NOT NULL, word TEXT NOT NULL, at TIMESTAMP NOT NULL, WATERMARK FOR at)\n\
         WITH (connector = 'single_file', path = 'words.json', format = 'json');\n\
         CREATE TABLE counts WITH (connector = 'single_file', path = 'counts.json', format = 'json');\n\
         INSERT INTO counts SELECT w.start AS minute, words FROM (\n\
         SELECT tumble(INTERVAL '1 minute') AS w, count(said) AS words\n\
         FROM (SELECT at, ask(word) AS said FROM words) GROUP BY tumble(INTERVAL '1 minute'));\n",
    );
    // Within each minute the first is the slowest.
    let word = |second: usize| if second.is_multiple_of(60) { "slow 400".to_owned() } else { format!("word {second}") };
    let row = |second: usize| {
        let at = format!("2025-09-01T08:{:02}:{:02}Z", second / 60, second % 60);
        format!("{{\"id\":{second},\"word\":\"{}\",\"at\":\"{at}\"}}\n", word(second))
    };
    folder.write("words.json", (0..300).map(row).collect::<String>());
    build(&folder, &ASK.replace("OPTIONS", "unordered"));
    let ran = drain(&folder);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(query(&folder, "SELECT count(*) AS late FROM late_rows"), "late\n0\n");
    let counts = folder.read("counts.json");
    assert_eq!(counts.lines().count(), 5, "{counts}");
    assert!(counts.lines().all(|line| line.contains("\"words\":60")), "{counts}");
}

#[test]
fn results_can_be_asked_about_again() {
    let queries = "CREATE MATERIALIZED VIEW said AS\n\
        SELECT id, ask(first) AS second FROM (SELECT id, ask(word) AS first FROM words) WHERE first <> 'WORD 5';\n";
    let folder = project("unordered", queries, &words(20));
    assert_eq!(drain(&folder).err, "");
    let calls_made = calls(&folder);
    assert_eq!(calls_made.values().sum::<usize>(), 39, "{calls_made:?}");
    assert_eq!(query(&folder, "SELECT count(*) AS rows FROM said WHERE second LIKE 'WORD %'"), "rows\n19\n");
    assert_eq!(drain(&folder).err, "");
    assert_eq!(calls(&folder), calls_made);
}

/// Answers the third time that it is asked about a word, if at all.
const SHY: &str = r#"use arroyo_udf_plugin::async_udf::tokio::time::sleep;
use arroyo_udf_plugin::udf;
use std::io::Write;

#[udf(unordered, timeout = "5s")]
async fn ask(word: &str) -> Option<String> {
    let mut calls = std::fs::OpenOptions::new().append(true).create(true).open("calls.txt").unwrap();
    calls.write_all(format!("{word}\n").as_bytes()).unwrap();
    let times = std::fs::read_to_string("calls.txt").unwrap().lines().filter(|line| *line == word).count();
    sleep(std::time::Duration::from_millis(1)).await;
    match word {
        "shy" if times < 3 => None,
        "away" if times < 3 => panic!("the service is unavailable"),
        "gone" => panic!("the service is unavailable"),
        "mute" => None,
        "bad" => panic!("not today"),
        _ => Some(word.to_uppercase()),
    }
}
"#;

#[test]
fn errors_that_may_pass_are_tried_again() {
    let folder = project("unordered", SAID, &["shy", "away", "gone", "mute", "bad", "calm"].map(str::to_owned));
    build(&folder, SHY);
    folder.write(
        "udfs/udfs.toml",
        "[ask]\nretries = 3\nback_off = '20ms'\ntransient = ['unavailable']\nnull_is_transient = true\n",
    );
    let ran = drain(&folder);
    assert_eq!(ran.code, Some(1), "some rows were refused: {}", ran.err);
    assert_eq!(query(&folder, "SELECT said FROM said ORDER BY said"), "said\nAWAY\nCALM\nSHY\n");
    let letters = query(&folder, "SELECT raw, message FROM dead_letters ORDER BY raw");
    for (word, why) in [
        ("gone", "the service is unavailable (tried 4 times)"),
        ("mute", "it gave NULL, which stands for an error that may pass (tried 4 times)"),
        ("bad", "not today"),
    ] {
        let is_it = |letter: &&str| letter.contains(&format!("\"\"{word}\"\"")) && letter.contains(why);
        assert!(letters.lines().any(|letter| is_it(&letter)), "{word}: {letters}");
    }
    assert_eq!(letters.lines().count(), 4, "{letters}");
    let asked = calls(&folder);
    // A panic makes others be asked again, too.
    assert!(asked["shy"] >= 3 && asked["mute"] >= 4, "{asked:?}");
    drain(&folder);
    assert_eq!(calls(&folder), asked, "what was found out is recorded");
}

#[test]
fn what_cannot_be_cut_is_refused_by_name() {
    let cases = [
        ("SELECT id FROM words WHERE ask(word) = 'A'", "async function 'ask' can only be called in a select list"),
        (
            "SELECT ask(word) AS said, count(*) FROM words GROUP BY ask(word)",
            "async function 'ask' can only be called in a select list",
        ),
        ("SELECT CASE WHEN id > 3 THEN ask(word) END AS said FROM words", "async function 'ask' stands in a CASE"),
        ("SELECT ask(word) AS a, ask(word || '!') AS b FROM words", "'ask' and 'ask': one async call at a time"),
        ("SELECT ask(max(word)) AS said FROM words", "async function 'ask' is called over Aggregate"),
        (
            "SELECT said FROM (SELECT ask(word) AS said FROM words) WHERE udf_version('ask') = 'x'",
            "udf_version('ask') has to stand in the select list that calls ask",
        ),
    ];
    let folder = Folder::new();
    folder.write("udfs/ask.rs", ASK.replace("OPTIONS", "unordered"));
    for (select, why) in cases {
        folder.write("sql/pipeline.sql", format!("{TABLE}CREATE MATERIALIZED VIEW v AS {select};\n"));
        let ran = folder.chalk(&["explain"]);
        assert_eq!(ran.code, Some(2), "{select}: {}", ran.out);
        assert!(ran.err.contains(why), "{select}: {}", ran.err);
    }
    let ran = folder.chalk(&["query", "--data", "data", "SELECT ask('x')"]);
    assert_ne!(ran.code, Some(0), "{}", ran.out);
}
