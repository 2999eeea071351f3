//! Pipelines as they are written for Arroyo run unchanged: those of `tests/arroyo/`, and tables whose rows are in many files.

use crate::program::Folder;
use crate::workspace::root;

/// Runs a pipeline of `tests/arroyo/` beside its inputs.
fn run(pipeline: &str, inputs: &[&str]) -> Folder {
    let folder = Folder::new();
    for name in [&[pipeline], inputs].concat() {
        let text = std::fs::read_to_string(root().join("tests/arroyo").join(name)).expect("a file of the pipeline");
        folder.write(name, &text);
    }
    folder.chalk(&["run", pipeline, "--drain"]).check(0, "", "");
    folder
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn windows_with_the_older_options() {
    let folder = run("rides.sql", &["rides.json"]);
    assert_eq!(
        sorted(&folder.read("busiest.json")),
        [
            r#"{"start":"2023-09-25T20:00:00Z","end":"2023-09-25T21:00:00Z","driver_id":104,"count":2,"row_number":1}"#,
            r#"{"start":"2023-09-25T21:00:00Z","end":"2023-09-25T22:00:00Z","driver_id":105,"count":1,"row_number":1}"#,
        ]
    );
    assert_eq!(
        sorted(&folder.read("by_type.json")),
        [
            r#"{"kind":"dropoff","hour":"2023-09-25T20:00:00Z","rides":"1"}"#,
            r#"{"kind":"dropoff","hour":"2023-09-25T20:30:00Z","rides":"2"}"#,
            r#"{"kind":"dropoff","hour":"2023-09-25T21:00:00Z","rides":"1"}"#,
            r#"{"kind":"pickup","hour":"2023-09-25T20:00:00Z","rides":"2"}"#,
            r#"{"kind":"pickup","hour":"2023-09-25T20:30:00Z","rides":"2"}"#,
        ]
    );
}

#[test]
fn changes_of_a_table() {
    let folder = run("orders.sql", &["orders.json"]);
    let text = folder.read("output.json");
    // How many changes there are in between depends on where epochs end; what they merge to does not.
    let mut rows: Vec<String> = Vec::new();
    for line in text.lines() {
        let change: serde_json::Value = serde_json::from_str(line).expect("JSON");
        if !change["before"].is_null() {
            let gone = change["before"].to_string();
            let place = rows.iter().position(|row| *row == gone).expect("a row that is there");
            rows.remove(place);
        }
        if !change["after"].is_null() {
            rows.push(change["after"].to_string());
        }
    }
    assert_eq!(rows, [r#"{"c":2,"id":"p_ink","q":23}"#]);
}

#[test]
fn json_of_any_shape_and_a_table_in_memory() {
    let folder = run("memory.sql", &["events.json", "counters.json"]);
    assert_eq!(
        folder.read("kinds.json"),
        "{\"a\":\"test\",\"b\":\"104\",\"c\":\"pickup\"}\n{\"a\":\"test\",\"b\":\"106\",\"c\":\"dropoff\"}\n"
    );
    let counters = folder.read("apart.json");
    assert_eq!(sorted(&counters), [r#"{"counter":0}"#, r#"{"counter":18446744073709551615}"#, r#"{"counter":1}"#]);
}

const COPY: &str = "
CREATE TABLE days (day TEXT, n BIGINT) WITH (connector = 'filesystem', path = 'in', type = 'source', 'source.regex-pattern' = '[.]json$');
CREATE TABLE copies (day TEXT, n BIGINT)
WITH (connector = 'filesystem', path = 'file://out', type = 'sink', 'filename.prefix' = 'part-', 'filename.suffix' = '.jsonl',
      'rolling_policy.interval' = INTERVAL '1 hour', 'rolling_policy.inactivity_interval' = '1 minute');
INSERT INTO copies SELECT day, n FROM days;
";

#[test]
fn a_directory_is_read_where_it_was_left() {
    let folder = Folder::new();
    folder.write("copy.sql", COPY);
    folder.write("in/2025-09-01.json", "{\"day\":\"1\",\"n\":1}\n{\"day\":\"1\",\"n\":2}");
    folder.write("in/2025-09-01.txt", "not of it");
    folder.write("in/_temporary.json", "not of it");
    folder.write("in/week/1.json", "{\"day\":\"w\",\"n\":3}\n");
    let run = ["run", "copy.sql", "--drain", "--data", "data"];
    folder.chalk(&run).check(0, "", "");
    let first = "{\"day\":\"1\",\"n\":1}\n{\"day\":\"1\",\"n\":2}\n{\"day\":\"w\",\"n\":3}\n";
    assert_eq!(folder.read("out/part-0000000000.jsonl"), first);
    folder.write("in/week/2.json", "{\"day\":\"w\",\"n\":4}\n");
    folder.chalk(&run).check(0, "", "");
    let all: String = ["out/part-0000000000.jsonl", "out/part-0000000001.jsonl"].map(|name| folder.read(name)).concat();
    assert_eq!(all, format!("{first}{{\"day\":\"w\",\"n\":4}}\n"));
}

#[test]
fn a_bad_row_can_be_the_end_or_be_dropped() {
    let folder = Folder::new();
    folder.write("in.json", "{\"n\":1}\n{\"n\":\"x\"}\n");
    let sql = |bad_data: &str| {
        format!(
            "CREATE TABLE t (n BIGINT) WITH (connector = 'single_file', path = 'in.json', bad_data = '{bad_data}');
             SELECT n FROM t;"
        )
    };
    folder.write("fail.sql", sql("fail"));
    let error = "error: the pipeline has stopped: table 't', line 2: field 'n': expected an integer of 64 bits, found \"x\"\n  \
                 hint: it has bad_data = 'fail'; 'dead_letter' keeps such rows apart and goes on, 'drop' only counts them\n";
    folder.chalk(&["run", "fail.sql", "--drain"]).check(2, "", error);
    folder.write("drop.sql", sql("drop"));
    let said = "1 rows could not be read and were dropped, as bad_data = 'drop' has it\n";
    folder.chalk(&["run", "drop.sql", "--drain"]).check(0, "{\"n\":1}\n", said);
}

#[test]
fn what_has_no_end_is_not_drained() {
    let folder = Folder::new();
    folder.write(
        "ticks.sql",
        "CREATE TABLE ticks WITH (connector = 'impulse', event_rate = '1'); SELECT counter FROM ticks;",
    );
    let error = "error: table 'ticks' has no end, so that the pipeline cannot be drained\n  \
                 hint: give it a message_count or a runtime, or run without --drain\n";
    folder.chalk(&["run", "ticks.sql", "--drain"]).check(2, "", error);
}

const PARQUET: &str = "
CREATE TABLE readings (reader TEXT, pages INT, price DECIMAL(6, 2), read_at TIMESTAMP, tags TEXT[], more JSON)
WITH (connector = 'single_file', path = 'readings.json');
CREATE TABLE kept (reader TEXT, pages INT, price DECIMAL(6, 2), read_at TIMESTAMP, tags TEXT[], more JSON)
WITH (connector = 'filesystem', path = 'kept', type = 'sink', format = 'parquet');
INSERT INTO kept SELECT * FROM readings;
";

const PARQUET_READ: &str = "
CREATE TABLE kept (reader TEXT, pages INT, price DECIMAL(6, 2), read_at TIMESTAMP, tags TEXT[], more TEXT)
WITH (connector = 'filesystem', path = 'kept', type = 'source', format = 'parquet');
CREATE TABLE back WITH (connector = 'single_file', path = 'back.json', type = 'sink');
INSERT INTO back SELECT * FROM kept;
";

#[test]
fn rows_are_kept_as_parquet_and_read_again() {
    let folder = Folder::new();
    let row = |reader: &str| {
        format!(
            "{{\"reader\":\"{reader}\",\"pages\":3,\"price\":1.50,\"read_at\":\"2025-09-01T16:30:00Z\",\
             \"tags\":[\"a\",null],\"more\":{{\"x\":[1]}}}}\n"
        )
    };
    folder.write("keep.sql", PARQUET);
    folder.write("readings.json", format!("{}{}{{}}\n", row("Ada"), row("Ben")));
    folder.chalk(&["run", "keep.sql", "--drain"]).check(0, "", "");
    assert!(folder.path("kept/0000000000.parquet").exists());
    folder.write("read.sql", PARQUET_READ);
    folder.chalk(&["run", "read.sql", "--drain"]).check(0, "", "");
    let nothing = "{\"reader\":null,\"pages\":null,\"price\":null,\"read_at\":null,\"tags\":null,\"more\":null}\n";
    let expected = format!("{}{}", row("Ada"), row("Ben")).replace("{\"x\":[1]}", "\"{\\\"x\\\":[1]}\"");
    assert_eq!(folder.read("back.json"), format!("{expected}{nothing}"));
    folder.write("kept/0000000001.parquet", "not Parquet");
    let ran = folder.chalk(&["run", "read.sql", "--drain"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("cannot read ./kept/0000000001.parquet: "), "{}", ran.err);
}

const AVRO_COLUMNS: &str = "reader TEXT NOT NULL, pages SMALLINT, price DECIMAL(6, 2), read_at TIMESTAMP, day DATE, raw BYTEA, large BIGINT UNSIGNED, tags TEXT[], \
     place STRUCT<town TEXT, floor INT>";

/// A pipeline that copies `from` to `to`, each said as options of its table.
fn copy(from: &str, to: &str) -> String {
    format!(
        "CREATE TABLE source ({AVRO_COLUMNS}) WITH (type = 'source', {from});
         CREATE TABLE sink ({AVRO_COLUMNS}) WITH (type = 'sink', {to});
         INSERT INTO sink SELECT * FROM source;"
    )
}

#[test]
fn rows_are_kept_as_avro_and_read_again() {
    let folder = Folder::new();
    let row = |reader: &str| {
        format!(
            "{{\"reader\":\"{reader}\",\"pages\":3,\"price\":1.50,\"read_at\":\"2025-09-01T16:30:00.000001Z\",\"day\":\"2025-09-01\",\"raw\":\"00ff\",\
             \"large\":18446744073709551615,\"tags\":[\"a\",null],\"place\":{{\"town\":\"Ulm\",\"floor\":null}}}}\n"
        )
    };
    let nothing = "{\"reader\":\"\",\"pages\":null,\"price\":null,\"read_at\":null,\"day\":null,\"raw\":null,\"large\":null,\"tags\":null,\"place\":null}\n";
    let rows = format!("{}{}{nothing}", row("Ada"), row("Ben"));
    let lines = |path: &str| format!("connector = 'single_file', path = '{path}'");
    let places = [
        ("connector = 'filesystem', path = 'kept', format = 'avro'", "kept/0000000000.avro"),
        (
            "connector = 'filesystem', path = 'raw', format = 'avro', 'avro.raw_datums' = 'true', 'filename.suffix' = '.bin'",
            "raw/0000000000.bin",
        ),
        ("connector = 'single_file', path = 'one.avro', format = 'avro'", "one.avro"),
        ("connector = 'single_file', path = 'one.bin', format = 'avro', 'avro.raw_datums' = 'true'", "one.bin"),
    ];
    for (number, (place, file)) in places.into_iter().enumerate() {
        let read = place.replace(", 'filename.suffix' = '.bin'", "");
        folder.write("in.json", &rows);
        folder.write("keep.sql", copy(&lines("in.json"), place));
        let keep = ["run", "keep.sql", "--drain", "--data", &format!("kept{number}")];
        folder.chalk(&keep).check(0, "", "");
        assert!(folder.path(file).exists(), "{file}");
        // It goes on with what comes later, in another run.
        folder.write("in.json", format!("{rows}{}", row("Cy")));
        folder.chalk(&keep).check(0, "", "");
        folder.write("read.sql", copy(&read, &lines(&format!("back{number}.json"))));
        folder.chalk(&["run", "read.sql", "--drain", "--data", &format!("read{number}")]).check(0, "", "");
        assert_eq!(folder.read(&format!("back{number}.json")), format!("{rows}{}", row("Cy")), "{place}");
    }
}

#[test]
fn avro_that_does_not_fit() {
    let folder = Folder::new();
    folder.write("in.json", "{\"n\":1,\"at\":\"soon\"}\n");
    folder.write(
        "keep.sql",
        "CREATE TABLE source (n BIGINT, at TEXT) WITH (connector = 'single_file', path = 'in.json');
         CREATE TABLE sink (n BIGINT, at TEXT) WITH (connector = 'single_file', path = 'rows.avro', type = 'sink', format = 'avro');
         INSERT INTO sink SELECT n, at FROM source;",
    );
    folder.chalk(&["run", "keep.sql", "--drain", "--data", "kept"]).check(0, "", "");
    let read = |bad_data: &str| {
        format!(
            "CREATE TABLE rows (n BIGINT, at TIMESTAMP) WITH (connector = 'single_file', path = 'rows.avro', format = 'avro', bad_data = '{bad_data}');
             SELECT n FROM rows;"
        )
    };
    folder.write("read.sql", read("fail"));
    let ran = folder.chalk(&["run", "read.sql", "--drain"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("table 'rows', line 1: field 'at': "), "{}", ran.err);
    folder.write("read.sql", read("drop"));
    let said = "1 rows could not be read and were dropped, as bad_data = 'drop' has it\n";
    folder.chalk(&["run", "read.sql", "--drain"]).check(0, "", said);
    // Rows of other columns do not go where these are.
    folder.write(
        "keep.sql",
        "CREATE TABLE source (n BIGINT, at TEXT) WITH (connector = 'single_file', path = 'in.json');
         CREATE TABLE sink (n BIGINT) WITH (connector = 'single_file', path = 'rows.avro', type = 'sink', format = 'avro');
         INSERT INTO sink SELECT n FROM source;",
    );
    folder.write("in.json", "{\"n\":1,\"at\":\"soon\"}\n{\"n\":2}\n");
    let ran = folder.chalk(&["run", "keep.sql", "--drain", "--data", "kept"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("the file has rows of other columns"), "{}", ran.err);
    let whole = std::fs::read(folder.path("rows.avro")).expect("a file");
    std::fs::write(folder.path("rows.avro"), &whole[..whole.len() - 17]).expect("a file");
    let ran = folder.chalk(&["run", "read.sql", "--drain"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("rows.avro: ") && ran.err.contains("the file ends within a block"), "{}", ran.err);
    folder.write("rows.avro", "not Avro");
    let ran = folder.chalk(&["run", "read.sql", "--drain"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("cannot read ./rows.avro: "), "{}", ran.err);
}

#[test]
fn files_of_lines_are_compressed() {
    let folder = Folder::new();
    let rows: String = (0..2000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    folder.write("in.json", &rows);
    for (compression, file) in [("gzip", "out-gzip/0000000000.json.gz"), ("zstd", "out-zstd/0000000000.json.zst")] {
        folder.write(
            "keep.sql",
            format!(
                "CREATE TABLE source (n BIGINT) WITH (connector = 'single_file', path = 'in.json');
                 CREATE TABLE sink (n BIGINT) WITH (connector = 'filesystem', path = 'out-{compression}', type = 'sink', 'json.compression' = '{compression}');
                 INSERT INTO sink SELECT n FROM source;"
            ),
        );
        folder.chalk(&["run", "keep.sql", "--drain"]).check(0, "", "");
        let bytes = std::fs::read(folder.path(file)).expect("a file");
        assert!(bytes.len() < rows.len() / 3, "{} of {} bytes", bytes.len(), rows.len());
        let magic: &[u8] = if compression == "gzip" { &[0x1f, 0x8b] } else { &[0x28, 0xb5, 0x2f, 0xfd] };
        assert!(bytes.starts_with(magic), "{:?}", &bytes[..4]);
    }
}
