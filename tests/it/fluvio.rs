//! Tables that are topics of a Fluvio cluster, in a build with them: `.ci/fluvio full`.

use crate::program::Folder;
use chalk_connector_tests::fluvio_peer::Cluster;
use std::collections::BTreeMap;

const DRAIN: [&str; 5] = ["run", "readings.sql", "--drain", "--data", "data"];

fn project(endpoint: &str) -> Folder {
    let folder = Folder::new();
    let sql = format!(
        "CREATE TABLE readings (event_id TEXT, reader TEXT NOT NULL, pages BIGINT NOT NULL)
         WITH (connector = 'fluvio', endpoint = '{endpoint}', topic = 'readings', type = 'source', format = 'json');
         CREATE TABLE large (reader TEXT NOT NULL, pages BIGINT NOT NULL)
         WITH (connector = 'fluvio', endpoint = '{endpoint}', topic = 'large', 'sink.key_field' = 'reader', type = 'sink', format = 'json');
         INSERT INTO large SELECT reader, pages FROM readings WHERE pages >= 50;
         CREATE TABLE again (event_id TEXT NOT NULL, reader TEXT NOT NULL, pages BIGINT NOT NULL)
         WITH (connector = 'fluvio', endpoint = '{endpoint}', topic = 'large', type = 'source', format = 'json');
         CREATE MATERIALIZED VIEW pages AS SELECT reader, sum(pages) AS pages, count(*) AS readings FROM readings GROUP BY reader;
         CREATE MATERIALIZED VIEW larger AS SELECT count(*) AS rows, sum(pages) AS pages FROM again;"
    );
    folder.write("readings.sql", sql);
    folder
}

fn readings(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(|n| format!("{{\"reader\":\"r{}\",\"pages\":{}}}", n % 3, n % 100).into_bytes()).collect()
}

fn ask(folder: &Folder, sql: &str) -> String {
    folder.chalk(&["query", "-f", "csv", "--data", "data", "--project", "readings.sql", sql]).done()
}

fn cluster() -> Cluster {
    let cluster = Cluster::start().expect("a port");
    cluster.create_topic("readings", 3);
    cluster.create_topic("large", 2);
    cluster
}

/// Pages and how often, by reader, of what was given.
fn expected(counts: &[std::ops::Range<u64>]) -> String {
    let mut sums: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for n in counts.iter().cloned().flatten() {
        let sum = sums.entry(n % 3).or_default();
        *sum = (sum.0 + n % 100, sum.1 + 1);
    }
    let rows = sums.iter().map(|(reader, (pages, count))| format!("r{reader},{pages},{count}\n"));
    format!("reader,pages,readings\n{}", rows.collect::<String>())
}

#[test]
fn a_pipeline_reads_and_writes_topics_and_is_replayed_without_them() {
    let cluster = cluster();
    let folder = project(cluster.endpoint());
    for partition in 0..3 {
        let from = u64::from(partition) * 1000;
        cluster.add("readings", partition, &readings(from..from + 1000), 70);
    }
    cluster.add("readings", 1, &[b"no row".to_vec()], 1);
    let ran = folder.chalk(&DRAIN);
    assert_eq!(ran.code, Some(1), "one record was refused: {}", ran.err);
    let sums = "SELECT * FROM pages ORDER BY reader";
    let parts = [0..1000, 1000..2000, 2000..3000];
    assert_eq!(ask(&folder, sums), expected(&parts));
    let dead = "SELECT source, line, raw FROM dead_letters";
    assert_eq!(ask(&folder, dead), "source,line,raw\nreadings/1,1000,no row\n");
    let written: usize = (0..2).map(|partition| cluster.values("large", partition).len()).sum();
    assert_eq!(written, 1500);
    // Rows of ours come back once, and once only.
    folder.chalk(&DRAIN).check(0, "", "");
    let larger = "SELECT * FROM larger";
    let pages: u64 = parts.into_iter().flatten().map(|n| n % 100).filter(|pages| *pages >= 50).sum();
    assert_eq!(ask(&folder, larger), format!("rows,pages\n1500,{pages}\n"));
    // The cluster lets go of everything, and goes on: what was read is ours.
    for partition in 0..3 {
        cluster.trim("readings", partition, i64::MAX);
    }
    cluster.add("readings", 0, &readings(3000..3100), 70);
    folder.chalk(&DRAIN).check(0, "", "");
    let parts = [0..1000, 1000..2000, 2000..3000, 3000..3100];
    assert_eq!(ask(&folder, sums), expected(&parts));
    drop(cluster);
    let verified = folder.chalk(&["replay", "readings.sql", "--data", "data", "--verify"]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.out, verified.err);
}

#[test]
fn what_cannot_be_reached_is_said_at_the_start() {
    let cluster = cluster();
    cluster.delete_topic("readings");
    let folder = project(cluster.endpoint());
    let ran = folder.chalk(&DRAIN);
    assert_ne!(ran.code, Some(0));
    assert!(ran.err.contains("it has no topic 'readings'\n  hint: fluvio topic create readings"), "{}", ran.err);
}

/// The homework project with its log on a cluster.
fn school(endpoint: &str) -> Folder {
    let folder = Folder::of_homework();
    let settings = format!("[log]\nbackend = \"fluvio\"\nendpoint = \"{endpoint}\"\ntopic = \"school\"\n");
    folder.write("chalkstream.toml", settings);
    folder
}

/// What `chalk generate` makes: events of a school, some of them duplicates or refused.
fn generated(folder: &Folder) -> String {
    folder.chalk(&["generate", "homework", "--events", "3000", "--seed", "5"]).done()
}

#[test]
fn events_of_a_project_go_through_the_cluster_and_come_back_in_their_order() {
    let cluster = Cluster::start().expect("a port");
    let embedded = Folder::of_homework();
    let folder = school(cluster.endpoint());
    let events = generated(&embedded);
    let lines: Vec<&str> = events.lines().collect();
    for folder in [&embedded, &folder] {
        folder.write("events.json", &events);
        folder.write("half.json", lines[..lines.len() / 2].join("\n"));
    }
    // Some by a client alone, the rest through a server that is killed after them; both as the embedded log does it.
    let expected = [embedded.chalk(&["append", "half.json"]), embedded.chalk(&["append", "events.json"])];
    let alone = folder.chalk(&["append", "half.json"]);
    assert_eq!((alone.code, &alone.out), (expected[0].code, &expected[0].out), "{}", alone.err);
    let server = folder.serve(&["run", "--data", "chalk-data"]);
    let through = folder.chalk(&["append", "events.json"]);
    assert_eq!((through.code, &through.out), (expected[1].code, &expected[1].out), "{}", through.err);
    server.client.caught_up();
    server.kill();
    let taken: Vec<Vec<u8>> = cluster.values("school", 0);
    let accepted = |out: &str| out.split(' ').next().and_then(|count| count.parse::<usize>().ok()).expect("a count");
    assert_eq!(taken.len(), accepted(&alone.out) + accepted(&through.out), "only what was accepted, and once");

    // What others write is read, too.
    let other = Folder::of_homework();
    let more = other.chalk(&["generate", "homework", "--events", "4000", "--seed", "5"]).done();
    let more: Vec<Vec<u8>> = more.lines().map(|line| line.as_bytes().to_vec()).collect();
    cluster.add("school", 0, &more, 100);
    let drained = folder.chalk(&["run", "--drain", "--data", "chalk-data"]);
    assert!(drained.code.is_some_and(|code| code < 2), "{}", drained.err);
    let verified = folder.chalk(&["replay", "sql", "--verify"]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.out, verified.err);

    // Another machine has the same from the cluster alone.
    let again = school(cluster.endpoint());
    again.chalk(&["run", "--drain", "--data", "chalk-data"]);
    let leaderboard = ["query", "-f", "csv", "SELECT * FROM class_leaderboard ORDER BY class_id, week_of, student_id"];
    let ranks = folder.chalk(&leaderboard).done();
    assert!(ranks.lines().count() > 10, "{ranks}");
    assert_eq!(again.chalk(&leaderboard).done(), ranks);
}

#[test]
fn a_demo_goes_through_the_cluster() {
    let cluster = Cluster::start().expect("a port");
    let folder = Folder::of_homework();
    let demo = ["demo", "--events", "5000", "--exit", "--log", "fluvio", "--endpoint", cluster.endpoint()];
    let ran = folder.chalk(&demo);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("verified   every row equals the batch answer"), "{}", ran.out);
}

#[test]
fn a_cluster_that_is_not_there_is_said_at_the_start() {
    let folder = school("localhost:1");
    let ran = folder.chalk(&["run", "--drain", "--data", "data"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.starts_with("error: Fluvio at localhost:1: "), "{}", ran.err);
}
