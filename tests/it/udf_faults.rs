//! Whatever a function does, the engine lives: the rows at fault become dead letters, and the rest go on.

use crate::program::{ASK_EVERY, Folder, PATIENCE};
use std::time::Instant;

/// What a row can make the function do.
const MOODY: &str = r#"use arroyo_udf_plugin::udf;

#[udf]
fn moody(mood: &str) -> String {
    match mood {
        "panic" => panic!("not today"),
        "abort" => std::process::abort(),
        "segfault" => unsafe { std::ptr::read_volatile(std::hint::black_box(8 as *const u8)).to_string() },
        "exit" => std::process::exit(0),
        "loop" => loop {
            std::hint::spin_loop();
        },
        "memory" => std::hint::black_box(vec![1_u8; 4 << 30]).len().to_string(),
        "stack" => deep(1).to_string(),
        "malformed" => unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe]) },
        "network" => match std::net::TcpListener::bind("127.0.0.1:0") {
            Ok(_) => "opened".to_owned(),
            Err(error) => error.kind().to_string(),
        },
        "print" => {
            println!("to the terminal");
            "printed".to_owned()
        }
        "read" => std::io::read_to_string(std::io::stdin()).map_or("unread".to_owned(), |text| format!("read {}", text.len())),
        other => other.to_uppercase(),
    }
}

#[allow(unconditional_recursion)]
fn deep(by: u64) -> u64 {
    let room = std::hint::black_box([by; 512]);
    deep(room[7] + 1) + room[9]
}
"#;

fn project(rows: &[String]) -> Folder {
    let folder = Folder::new();
    folder.write(
        "sql/pipeline.sql",
        "CREATE TABLE moods (id BIGINT NOT NULL, mood TEXT NOT NULL)\n\
         WITH (connector = 'single_file', path = 'moods.json', format = 'json');\n\
         CREATE MATERIALIZED VIEW said AS SELECT id, moody(mood) AS said FROM moods;\n",
    );
    let row = |(id, mood): (usize, &String)| format!("{{\"id\":{id},\"mood\":\"{mood}\"}}\n");
    folder.write("moods.json", rows.iter().enumerate().map(row).collect::<String>());
    folder.write("udfs/moody.rs", MOODY);
    let ran = folder.building(&["udf", "build"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    folder
}

fn query(folder: &Folder, sql: &str) -> String {
    folder.chalk(&["query", "--data", "data", "-f", "csv", sql]).done()
}

#[test]
fn the_engine_survives_all_that_a_function_can_do() {
    let faults = ["panic", "abort", "segfault", "exit", "loop", "memory", "stack", "malformed"];
    // Good rows between bad ones, and a good one first and last.
    let mut rows: Vec<String> = (0..200).map(|row| format!("calm {row}")).collect();
    for (index, fault) in faults.iter().enumerate() {
        rows[10 + 20 * index] = (*fault).to_owned();
    }
    let folder = project(&rows);
    folder.write("udfs/udfs.toml", "[moody]\ntime_limit = '1s'\nmemory_limit_mib = 512\n");
    let ran = folder.chalk(&["run", "--drain", "--data", "data"]);
    assert_eq!(ran.code, Some(1), "some rows were refused: {}", ran.err);
    assert_eq!(query(&folder, "SELECT count(*) AS rows FROM said WHERE said LIKE 'CALM %'"), "rows\n192\n");
    assert_eq!(query(&folder, "SELECT count(*) AS rows FROM said"), "rows\n192\n", "and no others");

    let letters = query(&folder, "SELECT raw, reason, source, message FROM dead_letters ORDER BY raw");
    let letters: Vec<&str> = letters.lines().skip(1).collect();
    assert_eq!(letters.len(), faults.len(), "{letters:#?}");
    let why = [
        ("panic", "panicked: "),
        ("panic", "udfs/moody.rs:6:20: not today"),
        ("abort", "its worker died: aborted"),
        ("segfault", "its worker died: segmentation fault"),
        ("exit", "its worker ended by itself with exit code 0"),
        ("loop", "it took longer than 1000 ms"),
        ("memory", "its worker died: aborted: memory allocation of 4294967296 bytes failed"),
        ("stack", "its worker died: aborted: "),
        ("stack", "has overflowed its stack"),
        ("malformed", "what it gave is malformed: "),
    ];
    for (fault, reason) in why {
        let letter =
            letters.iter().find(|letter| letter.contains(fault) && letter.contains(&format!("\"\"{fault}\"\"")));
        let letter = letter.unwrap_or_else(|| panic!("no letter for {fault}: {letters:#?}"));
        assert!(letter.contains(reason), "{fault}: {letter}");
        assert!(
            letter.contains(",not_computed,query said,") && letter.contains("function 'moody' (moody@"),
            "{letter}"
        );
    }
}

#[test]
fn a_worker_has_no_network_no_terminal_and_no_input() {
    let folder = project(&["network".to_owned(), "print".to_owned(), "read".to_owned()]);
    let drain = ["run", "--drain", "--data", "data"];
    folder.chalk(&drain).check(0, "", "");
    let said = "SELECT said FROM said ORDER BY id";
    assert_eq!(query(&folder, said), "said\npermission denied\nprinted\nread 0\n");
    folder.write("udfs/udfs.toml", "[moody]\nnetwork = true\n");
    // How a function runs is no part of who it is: nothing is computed again in the same data.
    folder.chalk(&["run", "--drain", "--data", "declared"]).check(0, "", "");
    let declared = folder.chalk(&["query", "--data", "declared", "-f", "csv", said]).done();
    assert_eq!(declared, "said\nopened\nprinted\nread 0\n");
}

#[test]
fn workers_end_with_their_host() {
    let folder = project(&["calm".to_owned()]);
    let server = folder.serve(&["run", "--data", "data"]);
    server.client.shows("SELECT said FROM said", "CALM");
    let workers = children_of(server.pid());
    assert!(!workers.is_empty(), "the function runs in a worker");
    server.kill();
    let began = Instant::now();
    while workers.iter().any(|&worker| state_and_parent(worker).is_some_and(|(state, _)| state != "Z")) {
        assert!(began.elapsed() < PATIENCE, "workers {workers:?} are still there");
        std::thread::sleep(ASK_EVERY);
    }
}

/// A process's state and its parent; `None` when it is gone.
fn state_and_parent(process: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the name, which can be anything, in parentheses.
    let mut words = stat.rsplit_once(") ")?.1.split(' ');
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

fn children_of(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes.filter(|&process| state_and_parent(process).is_some_and(|(_, found)| found == parent)).collect()
}

#[test]
fn a_row_that_a_cast_fails_for_is_a_dead_letter_too() {
    let folder = Folder::new();
    folder.write(
        "sql/pipeline.sql",
        "CREATE TABLE words (id BIGINT NOT NULL, word TEXT NOT NULL)\n\
         WITH (connector = 'single_file', path = 'words.json', format = 'json');\n\
         CREATE MATERIALIZED VIEW numbers AS SELECT id, CAST(word AS BIGINT) AS number FROM words;\n",
    );
    folder.write(
        "words.json",
        "{\"id\":1,\"word\":\"12\"}\n{\"id\":2,\"word\":\"twelve\"}\n{\"id\":3,\"word\":\"13\"}\n",
    );
    let ran = folder.chalk(&["run", "--drain", "--data", "data"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert_eq!(query(&folder, "SELECT number FROM numbers ORDER BY id"), "number\n12\n13\n");
    let letters = query(&folder, "SELECT reason, source, raw FROM dead_letters");
    assert_eq!(
        letters,
        "reason,source,raw\nnot_computed,query numbers,\"{\"\"id\"\":2,\"\"word\"\":\"\"twelve\"\"}\"\n"
    );
}
