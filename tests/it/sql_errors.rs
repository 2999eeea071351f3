//! Mistakes in `.sql` files: what is said, where it points, and what to do.

use crate::program::Folder;

/// A table over a topic of the homework schemas; four lines.
const GRADED: &str = "\
CREATE TABLE graded (tenant TEXT NOT NULL, occurred_at TIMESTAMP NOT NULL, class_id TEXT NOT NULL,
  student_id TEXT NOT NULL, points BIGINT NOT NULL, WATERMARK FOR occurred_at)
WITH (connector = 'log', topic = 'graded');

";

const REPORTS: &str = "\
CREATE TABLE reports (tenant TEXT NOT NULL, occurred_at TIMESTAMP NOT NULL, class_id TEXT NOT NULL, points BIGINT NOT NULL)
WITH (connector = 'log', topic = 'reports', type = 'sink');

";

fn check(sql: &str, expected: &str) {
    let folder = Folder::of_homework();
    folder.write("mine.sql", sql);
    let expected = format!("{}\n\n1 mistake: nothing was run\n", expected.trim_matches('\n'));
    folder.chalk(&["run", "mine.sql", "--data", "data"]).check(2, "", &expected);
    assert!(!folder.path("data").exists(), "something was run");
}

/// As [`check`], for what comes after [`GRADED`]: line 5 is its first.
fn check_query(sql: &str, expected: &str) {
    check(&format!("{GRADED}{sql}"), expected);
}

/// As [`check_query`], for all that is said.
fn check_all(sql: &str, expected: &str) {
    let folder = Folder::of_homework();
    folder.write("mine.sql", format!("{GRADED}{sql}"));
    folder.chalk(&["run", "mine.sql", "--data", "data"]).check(2, "", expected.trim_start_matches('\n'));
}

#[test]
fn an_unknown_table() {
    check_query(
        "\
CREATE MATERIALIZED VIEW best AS
SELECT class_id, max(points) AS points
FROM gradde GROUP BY class_id;",
        "
error: there is no table or view 'gradde'
 --> mine.sql:7:6
  |
7 | FROM gradde GROUP BY class_id;
  |      ^^^^^^
  |
  = help: did you mean 'graded'?",
    );
    check_query(
        "CREATE MATERIALIZED VIEW best AS SELECT * FROM pupils;",
        "
error: there is no table or view 'pupils'
 --> mine.sql:5:48
  |
5 | CREATE MATERIALIZED VIEW best AS SELECT * FROM pupils;
  |                                                ^^^^^^
  |
  = help: known are graded",
    );
}

#[test]
fn an_unknown_column() {
    check_query(
        "\
CREATE MATERIALIZED VIEW best AS
SELECT class_id, max(point) AS points
FROM graded GROUP BY class_id;",
        "
error: No field named point
 --> mine.sql:6:22
  |
6 | SELECT class_id, max(point) AS points
  |                      ^^^^^
  |
  = help: did you mean 'graded.points'?",
    );
}

#[test]
fn an_unknown_function() {
    check_query(
        "\
CREATE MATERIALIZED VIEW best AS
SELECT class_id, maxi(points) AS points
FROM graded GROUP BY class_id;",
        "
error: Invalid function 'maxi'
 --> mine.sql:6:18
  |
6 | SELECT class_id, maxi(points) AS points
  |                  ^^^^
  |
  = help: did you mean 'max'?",
    );
}

#[test]
fn a_column_that_the_schema_does_not_have() {
    check(
        "\
CREATE TABLE graded (
  tenant TEXT NOT NULL,
  pointz BIGINT NOT NULL
) WITH (connector = 'log', topic = 'graded');",
        "
error: column 'pointz': topic 'graded' has no such field
 --> mine.sql:3:3
  |
3 |   pointz BIGINT NOT NULL
  |   ^^^^^^
  |
  = help: did you mean 'points'?",
    );
}

#[test]
fn a_column_of_another_type_than_in_the_schema() {
    check(
        "\
CREATE TABLE graded (
  tenant TEXT NOT NULL,
  points TEXT NOT NULL
) WITH (connector = 'log', topic = 'graded');",
        "
error: column 'points' is TEXT here, but BIGINT in the schema of topic 'graded'
 --> mine.sql:3:3
  |
3 |   points TEXT NOT NULL
  |   ^^^^^^",
    );
    check(
        "\
CREATE TABLE submissions (
  tenant TEXT NOT NULL,
  points BIGINT NOT NULL
) WITH (connector = 'log', topic = 'submissions');",
        "
error: column 'points' is NOT NULL here, but optional in the schema of topic 'submissions'
 --> mine.sql:3:3
  |
3 |   points BIGINT NOT NULL
  |   ^^^^^^
  |
  = help: not every event of the topic has it",
    );
}

#[test]
fn a_topic_without_a_schema() {
    check(
        "CREATE TABLE marks (tenant TEXT NOT NULL) WITH (connector = 'log', topic = 'gradedd');",
        "
error: table 'marks': there is no topic 'gradedd'
 --> mine.sql:1:14
  |
1 | CREATE TABLE marks (tenant TEXT NOT NULL) WITH (connector = 'log', topic = 'gradedd');
  |              ^^^^^
  |
  = help: did you mean 'graded'?",
    );
}

#[test]
fn an_unknown_option() {
    check(
        "CREATE TABLE graded (tenant TEXT NOT NULL) WITH (connector = 'log', topics = 'graded');",
        "
error: table 'graded': connector 'log' has no option 'topics': it knows connector, type, event_time_field, watermark_field, lateness, idle_micros, topic, format
 --> mine.sql:1:14
  |
1 | CREATE TABLE graded (tenant TEXT NOT NULL) WITH (connector = 'log', topics = 'graded');
  |              ^^^^^^
  |
  = help: did you mean 'topic'?",
    );
}

#[test]
fn an_unknown_connector() {
    check(
        "CREATE TABLE graded (tenant TEXT NOT NULL) WITH (connector = 'carrier_pigeon');",
        "
error: table 'graded': connector 'carrier_pigeon' is not known: this build has log, single_file, filesystem, impulse, nexmark, stdout, preview, blackhole, homework
 --> mine.sql:1:14
  |
1 | CREATE TABLE graded (tenant TEXT NOT NULL) WITH (connector = 'carrier_pigeon');
  |              ^^^^^^",
    );
}

/// In a build with it, other tests tell of it.
#[cfg(not(feature = "fluvio"))]
#[test]
fn a_connector_of_another_build() {
    check(
        "CREATE TABLE graded (tenant TEXT NOT NULL) WITH (connector = 'fluvio', topic = 'graded');",
        "
error: table 'graded': connector 'fluvio' is not in this build: build chalk with --features chalk-cli/fluvio
 --> mine.sql:1:14
  |
1 | CREATE TABLE graded (tenant TEXT NOT NULL) WITH (connector = 'fluvio', topic = 'graded');
  |              ^^^^^^",
    );
}

#[test]
fn an_updating_query_into_a_topic() {
    let query = "\
INSERT INTO reports
SELECT tenant, max(occurred_at) AS occurred_at, class_id, sum(points) AS points FROM graded GROUP BY tenant, class_id;";
    check_query(
        &format!("{REPORTS}{query}"),
        "
error: insert_into_reports: the query retracts rows (it is updating), but its sink only takes new ones
 --> mine.sql:8:1
  |
8 | INSERT INTO reports
  | ^^^^^^
  |
  = help: make it a MATERIALIZED VIEW, or aggregate over a window of an append-only table",
    );
}

#[test]
fn an_insert_without_a_column_that_is_needed() {
    check_query(
        &format!("{REPORTS}INSERT INTO reports\nSELECT tenant, occurred_at, points FROM graded;"),
        "
error: column 'class_id' of table 'reports' is NOT NULL, but not given
 --> mine.sql:8:1
  |
8 | INSERT INTO reports
  | ^^^^^^",
    );
}

#[test]
fn an_insert_of_a_column_that_is_not_there() {
    let query = "INSERT INTO reports\nSELECT tenant, occurred_at, class_id, points AS pionts FROM graded;";
    check_query(
        &format!("{REPORTS}{query}"),
        "
error: table 'reports' has no column 'pionts'
 --> mine.sql:8:1
  |
8 | INSERT INTO reports
  | ^^^^^^
  |
  = help: did you mean 'points'?",
    );
}

#[test]
fn an_order_of_a_view() {
    check_query(
        "\
CREATE MATERIALIZED VIEW best AS
SELECT class_id, points FROM graded ORDER BY points DESC;",
        "
error: ORDER BY has no meaning in a pipeline: its rows never end
 --> mine.sql:5:1
  |
5 | CREATE MATERIALIZED VIEW best AS
  | ^^^^^^
  |
  = help: put it into the query over the view; for the first n rows add LIMIT, for those of a group use ROW_NUMBER() OVER (…)",
    );
}

#[test]
fn all_mistakes_of_a_file_at_once() {
    check_all(
        "\
CREATE TABLE odd (x UUID) WITH (connector = 'stdout');
SELECT points FROM gradde;
SELEC 1;
SELECT point FROM graded;
SELECT x FROM odd;",
        "
error: Expected: an SQL statement, found: SELEC
 --> mine.sql:7:1
  |
7 | SELEC 1;
  | ^

1 mistake: nothing was run
",
    );
    check_all(
        "\
CREATE TABLE odd (x UUID) WITH (connector = 'stdout');
SELECT points FROM gradde;
SELECT point FROM graded;
SELECT x FROM odd;",
        "
error: column 'x': type UUID is not supported in this build
 --> mine.sql:5:19
  |
5 | CREATE TABLE odd (x UUID) WITH (connector = 'stdout');
  |                   ^
  |
  = help: BOOLEAN, SMALLINT, INT, BIGINT and these UNSIGNED, REAL, DOUBLE, DECIMAL(p, s), TEXT, BYTEA, TIMESTAMP(0, 3, 6 or 9), DATE, TIME, INTERVAL, JSON, T[] and STRUCT<name T, …> are

error: there is no table or view 'gradde'
 --> mine.sql:6:20
  |
6 | SELECT points FROM gradde;
  |                    ^^^^^^
  |
  = help: did you mean 'graded'?

error: No field named point
 --> mine.sql:7:8
  |
7 | SELECT point FROM graded;
  |        ^^^^^
  |
  = help: did you mean 'graded.points'?

3 mistakes: nothing was run
",
    );
}

#[test]
fn a_cross_join() {
    check_query(
        "\
CREATE MATERIALIZED VIEW pairs AS
SELECT a.student_id, b.student_id AS other FROM graded a CROSS JOIN graded b;",
        "
error: a join needs an equality between its sides: cross joins never forget a row
 --> mine.sql:5:1
  |
5 | CREATE MATERIALIZED VIEW pairs AS
  | ^^^^^^
  |
  = help: … JOIN … ON a.key = b.key",
    );
}

#[test]
fn a_window_without_event_time() {
    check(
        "\
CREATE TABLE graded (tenant TEXT NOT NULL, occurred_at TIMESTAMP NOT NULL) WITH (connector = 'log', topic = 'graded');
CREATE MATERIALIZED VIEW weekly AS
SELECT tumble(INTERVAL '7 days') AS week, count(*) AS marks FROM graded GROUP BY week;",
        "
error: tumble: no column here is event time; the table needs WATERMARK FOR, and a subquery or view must select that column, or the window that it is grouped by
 --> mine.sql:2:1
  |
2 | CREATE MATERIALIZED VIEW weekly AS
  | ^^^^^^",
    );
}

#[test]
fn a_syntax_error() {
    check_query(
        "CREATE MATERIALIZED VIEW best AS SELECT (class_id FROM graded;",
        "
error: Expected: ), found: FROM
 --> mine.sql:5:51
  |
5 | CREATE MATERIALIZED VIEW best AS SELECT (class_id FROM graded;
  |                                                   ^",
    );
}

#[test]
fn a_statement_that_is_none_of_a_pipeline() {
    check_query(
        "DROP TABLE graded;",
        "
error: DROP TABLE … is not a statement of a pipeline
 --> mine.sql:5:1
  |
5 | DROP TABLE graded;
  | ^^^^
  |
  = help: pipelines are made of CREATE TABLE, CREATE VIEW, CREATE MATERIALIZED VIEW, INSERT INTO … SELECT, SELECT and SET",
    );
}

#[test]
fn a_name_that_is_taken() {
    check_query(
        "CREATE MATERIALIZED VIEW graded AS SELECT class_id FROM graded;",
        "
error: there is another table or view 'graded'
 --> mine.sql:5:26
  |
5 | CREATE MATERIALIZED VIEW graded AS SELECT class_id FROM graded;
  |                          ^^^^^^",
    );
    check_query(
        "CREATE VIEW best AS SELECT class_id FROM graded;\nCREATE VIEW best AS SELECT tenant FROM graded;",
        "
error: there is another table or view 'best'
 --> mine.sql:6:1
  |
6 | CREATE VIEW best AS SELECT tenant FROM graded;
  | ^^^^^^",
    );
    check_query(
        "CREATE VIEW late_rows AS SELECT class_id FROM graded;",
        "
error: there is another table or view 'late_rows'
 --> mine.sql:5:13
  |
5 | CREATE VIEW late_rows AS SELECT class_id FROM graded;
  |             ^^^^^^^^^",
    );
}

#[test]
fn several_mistakes_in_several_files() {
    let folder = Folder::new();
    folder.write("mine/a.sql", "CREATE TABLE a (x UUID) WITH (connector = 'stdout');\n");
    folder.write("mine/b.sql", "CREATE TABLE b (y TEXT) WITH (connector = 'nowhere');\n");
    let err = "\
error: column 'x': type UUID is not supported in this build
 --> mine/a.sql:1:17
  |
1 | CREATE TABLE a (x UUID) WITH (connector = 'stdout');
  |                 ^
  |
  = help: BOOLEAN, SMALLINT, INT, BIGINT and these UNSIGNED, REAL, DOUBLE, DECIMAL(p, s), TEXT, BYTEA, TIMESTAMP(0, 3, 6 or 9), DATE, TIME, INTERVAL, JSON, T[] and STRUCT<name T, …> are

error: table 'b': connector 'nowhere' is not known: this build has log, single_file, filesystem, impulse, nexmark, stdout, preview, blackhole, homework
 --> mine/b.sql:1:14
  |
1 | CREATE TABLE b (y TEXT) WITH (connector = 'nowhere');
  |              ^

2 mistakes: nothing was run
";
    folder.chalk(&["run", "mine"]).check(2, "", err);
}

#[test]
fn two_queries_into_one_file() {
    check(
        &format!(
            "{GRADED}CREATE TABLE points (points BIGINT) WITH (connector = 'single_file', path = 'points', type = 'sink');\n\
             INSERT INTO points SELECT points FROM graded;\n\
             INSERT INTO points SELECT 0 - points AS points FROM graded;"
        ),
        "
error: insert_into_points_2: another query writes to 'points' already
 --> mine.sql:7:1
  |
7 | INSERT INTO points SELECT 0 - points AS points FROM graded;
  | ^^^^^^
  |
  = help: write to it with one INSERT INTO … SELECT … UNION ALL SELECT …",
    );
}
