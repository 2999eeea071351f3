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
