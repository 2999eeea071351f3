//! `chalk check`: mistakes, and places that are not there.

use crate::program::Folder;

#[test]
fn places_that_are_not_there_are_told_and_nothing_is_run() {
    let folder = Folder::new();
    folder.write(
        "sql/words.sql",
        "CREATE TABLE words (word TEXT NOT NULL) WITH (connector = 'single_file', path = 'words.json', format = 'json');\n\
         CREATE TABLE long (word TEXT) WITH (connector = 'single_file', path = 'out/long.json', format = 'json', type = 'sink');\n\
         CREATE TABLE seen (word TEXT) WITH (connector = 'filesystem', path = 'seen', format = 'json', type = 'source');\n\
         CREATE MATERIALIZED VIEW lengths AS SELECT length(word) AS length, count(*) AS words FROM words GROUP BY 1;\n\
         CREATE MATERIALIZED VIEW again AS SELECT word FROM seen;\n\
         INSERT INTO long SELECT word FROM words WHERE length(word) > 9;\n",
    );
    let first = "sql: 3 tables, 2 views, 1 sinks: no mistakes\n";
    folder.chalk(&["check"]).check(0, first, "");
    let nothing = format!(
        "{first}  query insert_into_long: . can be written to\n  \
         table seen: NOT THERE: ./seen: No such file or directory (os error 2)\n  \
         table words: NOT THERE: ./words.json: No such file or directory (os error 2)\n"
    );
    folder.chalk(&["check", "--connect"]).check(1, &nothing, "");
    folder.write("words.json", "{\"word\":\"chalk\"}\n");
    folder.write("seen/a.json", "");
    let all = format!(
        "{first}  query insert_into_long: . can be written to\n  table seen: ./seen, 1 files\n  table words: ./words.json, 17 bytes\n"
    );
    folder.chalk(&["check", "--connect"]).check(0, &all, "");
    assert!(!folder.path("chalk-data").exists());
    folder.write("sql/words.sql", "CREATE MATERIALIZED VIEW v AS SELECT nothing FROM nowhere;\n");
    let ran = folder.chalk(&["check"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{}", ran.err);
}
