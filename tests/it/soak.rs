//! Kills at random moments and at every named point, under load, and a checker that knows each event: nothing that was acknowledged is lost,
//! nothing is there twice or out of order, and views, derived events, a file and directories are what the events give.
//!
//! `CHALK_KILLS` says how often the server is killed (50), `CHALK_SEED` when and where (1).

use crate::program::{ASK_EVERY, Client, Folder, PATIENCE, Server};
use crate::workspace::root;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread::scope;
use std::time::Instant;

/// What makes a process end at a named point.
const FAIL_AT: &str = "CHALK_FAIL_AT";
/// So many clients send at once, each its own events.
const PRODUCERS: usize = 4;
/// What a client sends at once.
const LINES_MAX: u64 = 12;
/// The server is killed after so many acknowledged requests at most.
const REQUESTS_MAX: u64 = 25;
/// A point is passed so often at most before it ends the process.
const PASSES_MAX: u64 = 3;

/// Small segments, few ids in memory, many checkpoints: what is rare otherwise happens all the time.
const RUN: [&str; 9] =
    ["run", "--data", "data", "--segment-bytes", "20000", "--ids-in-memory", "300", "--checkpoint-interval-ms", "50"];

const TICKS: &str = r#"{
  "type": "record", "name": "Ticked", "namespace": "soak", "event_type": "ticked",
  "key": ["producer"], "idempotency_key": ["producer", "sequence"],
  "fields": [
    { "name": "producer", "type": "string" },
    { "name": "sequence", "type": "long" },
    { "name": "hash", "type": "string" },
    { "name": "text", "type": "string" }
  ]
}"#;

const ECHOES: &str = r#"{
  "type": "record", "name": "Echoed", "namespace": "soak", "event_type": "echoed",
  "key": ["producer"], "idempotency_key": ["producer", "sequence"],
  "fields": [
    { "name": "producer", "type": "string" },
    { "name": "sequence", "type": "long" },
    { "name": "hash", "type": "string" }
  ]
}"#;

const SQL: &str = "\
CREATE TABLE ticks (
  tenant TEXT NOT NULL, occurred_at TIMESTAMP NOT NULL, received_at TIMESTAMP NOT NULL,
  producer TEXT NOT NULL, sequence BIGINT NOT NULL, hash TEXT NOT NULL, text TEXT NOT NULL
) WITH (connector = 'log', topic = 'ticks', type = 'source', format = 'json');

CREATE MATERIALIZED VIEW totals AS
SELECT producer, count(*) AS events, sum(sequence) AS sequences, max(sequence) AS last FROM ticks GROUP BY producer;

CREATE TABLE echoes (
  tenant TEXT NOT NULL, occurred_at TIMESTAMP NOT NULL, received_at TIMESTAMP NOT NULL,
  producer TEXT NOT NULL, sequence BIGINT NOT NULL, hash TEXT NOT NULL
) WITH (connector = 'log', topic = 'echoes', type = 'sink', format = 'json');
INSERT INTO echoes SELECT tenant, occurred_at, received_at, producer, sequence, hash FROM ticks;

CREATE TABLE listed (producer TEXT, sequence BIGINT, hash TEXT)
WITH (connector = 'single_file', path = 'listed.json', type = 'sink', format = 'json');
INSERT INTO listed SELECT producer, sequence, hash FROM ticks;

CREATE TABLE filed (producer TEXT, sequence BIGINT, hash TEXT)
WITH (connector = 'filesystem', path = 'filed', type = 'sink', format = 'json',
      'rolling_policy.file_size' = '20000', 'rolling_policy.inactivity' = '0 seconds');
INSERT INTO filed SELECT producer, sequence, hash FROM ticks;

CREATE TABLE foldered (producer TEXT, sequence BIGINT, hash TEXT)
WITH (connector = 'filesystem', path = 'foldered', type = 'sink', format = 'json',
      'rolling_policy.file_size' = '20000', 'rolling_policy.inactivity' = '0 seconds') PARTITIONED BY (producer);
INSERT INTO foldered SELECT producer, sequence, hash FROM ticks;
";

/// Directories that have all rows; the second has a folder for each producer.
const DIRECTORIES: [&str; 2] = ["filed", "foldered"];

fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

#[expect(clippy::print_stderr, reason = "shown when the test fails, and the soak's report")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0) % end
    }
}

fn mixed(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a producer says of its event: other words for each.
fn text_of(producer: usize, sequence: u64) -> String {
    let word = mixed(sequence * PRODUCERS as u64 + producer as u64);
    format!("{word:x} ").repeat(1 + word as usize % 7)
}

/// FNV-1a, of the producer, its number and the text.
fn hash_of(producer: usize, sequence: u64, text: &str) -> String {
    let of = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("{:016x}", format!("{producer} {sequence} {text}").bytes().fold(0xcbf2_9ce4_8422_2325, of))
}

fn line_of(producer: usize, sequence: u64) -> String {
    let text = text_of(producer, sequence);
    let hash = hash_of(producer, sequence, &text);
    format!(
        "{{\"event_type\":\"ticked\",\"tenant\":\"soak\",\"occurred_at\":\"2025-09-01T08:00:00Z\",\
         \"producer\":\"p{producer}\",\"sequence\":{sequence},\"hash\":\"{hash}\",\"text\":\"{text}\"}}\n"
    )
}

/// How far a producer is.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    /// So many of its events were acknowledged.
    acknowledged: u64,
    /// So many more were sent, and nobody said whether they were taken.
    in_doubt: u64,
}

/// Sends the next events of a producer until the server dies. Those in doubt come first, as they were.
fn produce(client: &Client, producer: usize, sent: &Mutex<Sent>, seed: u64, acknowledged: &Sender<()>) {
    let mut chance = Chance(seed);
    loop {
        let Sent { acknowledged: from, in_doubt } = *sent.lock().expect("a producer of its own");
        let lines = if in_doubt > 0 { in_doubt } else { 1 + chance.below(LINES_MAX) };
        sent.lock().expect("a producer of its own").in_doubt = lines;
        let text: String = (from..from + lines).map(|sequence| line_of(producer, sequence)).collect();
        let Some(answer) = client.append(&text) else { return };
        let count = |name: &str| answer[name].as_u64().unwrap_or(0);
        assert_eq!(answer["refused_total"], 0, "{answer}");
        let (new, known) = (count("accepted_total"), count("duplicates"));
        // All of a request is taken, or nothing of it.
        assert!((new, known) == (lines, 0) || in_doubt > 0 && (new, known) == (0, lines), "{lines} lines: {answer}");
        *sent.lock().expect("a producer of its own") = Sent { acknowledged: from + lines, in_doubt: 0 };
        // Nobody counts any more when the server is to die.
        let _ = acknowledged.send(());
    }
}

/// A row of each place.
type Row = (String, u64, String);

/// Checks that each producer's rows are there once, in order, from its first on; gives how many each has.
fn check_rows(place: &str, rows: impl Iterator<Item = Row>) -> BTreeMap<String, u64> {
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    for (producer, sequence, hash) in rows {
        let expected = next.entry(producer.clone()).or_default();
        assert_eq!(sequence, *expected, "{place}: the next row of {producer}");
        let number: usize = producer.trim_start_matches('p').parse().expect("a producer");
        assert_eq!(hash, hash_of(number, sequence, &text_of(number, sequence)), "{place}: {producer} {sequence}");
        *expected += 1;
    }
    next
}

fn csv_rows(text: &str) -> impl Iterator<Item = Row> {
    text.lines().map(|line| {
        let mut cells = line.splitn(3, ',');
        let mut cell = || cells.next().expect("a column").to_owned();
        (cell(), cell().parse().expect("a number"), cell())
    })
}

fn json_rows(text: &str) -> impl Iterator<Item = Row> {
    text.lines().map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |name: &str| row[name].as_str().expect("a text").to_owned();
        (text("producer"), row["sequence"].as_u64().expect("a number"), text("hash"))
    })
}

/// The files in a folder and those in it.
fn files_in(folder: &Folder, name: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder.path(name)).into_iter().flatten().flatten() {
        let name = format!("{name}/{}", entry.file_name().to_str().expect("a name"));
        match entry.file_type().expect("a file").is_dir() {
            true => files.extend(files_in(folder, &name)),
            false => files.push(name),
        }
    }
    files
}

/// What readers of a directory's names see.
fn named(folder: &Folder, directory: &str) -> String {
    let own_name = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let mut names = files_in(folder, directory);
    names.retain(|name| !own_name(name).starts_with(['.', '_']));
    names.sort_by_key(|name| own_name(name));
    names.iter().map(|name| folder.read(name)).collect()
}

/// What readers of a directory's manifest see.
fn manifested(folder: &Folder, directory: &str) -> String {
    if !folder.path(directory).join("_manifest").exists() {
        return String::new();
    }
    let manifest = folder.read(&format!("{directory}/_manifest"));
    let value = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    let parts = value(manifest.lines().next().expect("a line"))["parts"].as_u64().expect("a number");
    let lists = (0..parts).map(|part| folder.read(&format!("{directory}/_manifest.{part:06}"))).chain([manifest]);
    let mut seen = String::new();
    for list in lists {
        for line in list.lines().skip(1) {
            let file = value(line)["file"].as_str().expect("a name").to_owned();
            seen.push_str(&folder.read(&format!("{directory}/{file}")));
        }
    }
    seen
}

/// What a dead server has left in its directories: rows once and in order, by names as by manifest.
fn check_directories(folder: &Folder) {
    for directory in DIRECTORIES {
        let by_names = check_rows("a directory's names", json_rows(&named(folder, directory)));
        let by_manifest = check_rows("a directory's manifest", json_rows(&manifested(folder, directory)));
        let behind = by_names.iter().filter(|(producer, rows)| by_manifest.get(*producer) != Some(*rows)).count();
        // The last files may have their names already, and no place in the manifest yet.
        assert!(by_manifest.values().sum::<u64>() <= by_names.values().sum::<u64>(), "{directory}: {behind} producers");
    }
}

/// Asks a server that has just been started about all that there is.
fn check_server(client: &Client, sent: &[Mutex<Sent>]) -> BTreeMap<String, u64> {
    client.caught_up();
    let topic = |name: &str| {
        let text = client.query(&format!("SELECT producer, sequence, hash FROM {name} ORDER BY _partition, _offset"));
        check_rows(name, csv_rows(&text))
    };
    let ticks = topic("ticks");
    for (producer, sent) in sent.iter().enumerate() {
        let Sent { acknowledged, in_doubt } = *sent.lock().expect("nobody sends");
        let stored = ticks.get(&format!("p{producer}")).copied().unwrap_or(0);
        assert!(
            stored == acknowledged || stored == acknowledged + in_doubt,
            "p{producer}: {stored} are stored, {acknowledged} were acknowledged, {in_doubt} are in doubt"
        );
    }
    assert_eq!(client.query("SELECT message FROM dead_letters"), "", "nothing was refused");
    assert_eq!(topic("echoes"), ticks, "derived events");
    let totals = client.query("SELECT producer, events, sequences, last FROM totals ORDER BY producer");
    let expected: Vec<String> = ticks
        .iter()
        .map(|(producer, events)| format!("{producer},{events},{},{}", events * (events - 1) / 2, events - 1))
        .collect();
    assert_eq!(totals, expected.join("\n"), "the view");
    ticks
}

/// The file and the directories come to have all rows; nothing else is ever in them.
fn check_sinks(folder: &Folder, ticks: &BTreeMap<String, u64>) {
    let began = Instant::now();
    let all: u64 = ticks.values().sum();
    loop {
        // The server writes meanwhile: what is not whole yet is looked at again.
        let text = folder.read("listed.json");
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let listed = check_rows("the file", json_rows(whole));
        let filed = DIRECTORIES.map(|name| check_rows(name, json_rows(&named(folder, name))));
        let manifested = DIRECTORIES.map(|name| check_rows(name, json_rows(&manifested(folder, name))));
        if filed.iter().chain(&manifested).chain([&listed]).all(|rows| rows == ticks) {
            return;
        }
        let given = |rows: &BTreeMap<String, u64>| rows.values().sum::<u64>();
        assert!(filed.iter().chain([&listed]).all(|rows| given(rows) <= all), "more than there is");
        let status = "sinks that do not get all rows";
        assert!(began.elapsed() < PATIENCE, "{status}: {listed:?}, {filed:?}, {manifested:?} of {ticks:?}");
        std::thread::sleep(ASK_EVERY);
    }
}

fn folder() -> Folder {
    let folder = Folder::new();
    let envelope = std::fs::read_to_string(root().join("schemas/envelope.avsc")).expect("a schema");
    for (name, text) in [("envelope", envelope.as_str()), ("ticks", TICKS), ("echoes", ECHOES)] {
        folder.write(&format!("schemas/{name}.avsc"), text);
    }
    folder.write("sql/soak.sql", SQL);
    std::fs::create_dir(folder.path("data")).expect("a folder");
    folder.chalk(&["checkpoint", "keep-in", "copies", "--data", "data"]).done();
    folder
}

/// How a server is to end.
#[derive(Clone, Debug)]
enum End {
    /// Killed after so many acknowledged requests.
    After(u64),
    /// At a named point, when it is passed so often.
    At(&'static str, u64),
}

/// A soak at work.
struct Soak {
    folder: Folder,
    sent: Vec<Mutex<Sent>>,
    chance: Chance,
    kills: u64,
}

impl Soak {
    fn new(seed: u64) -> Self {
        let sent = (0..PRODUCERS).map(|_| Mutex::new(Sent::default())).collect();
        Self { folder: folder(), sent, chance: Chance(seed), kills: 0 }
    }

    /// Runs a server under load until it ends in this way, then checks what is left.
    fn kill(&mut self, end: &End) {
        self.kills += 1;
        let environment: Vec<(&str, String)> = match end {
            End::After(_) => Vec::new(),
            End::At(point, pass) => vec![(FAIL_AT, format!("{point}:{pass}"))],
        };
        match self.folder.try_serve(&RUN, &environment) {
            Ok(server) => self.load(server, end),
            // It has ended before it served.
            Err(said) => check_end(end, &said),
        }
        check_directories(&self.folder);
        // Now and then the machine has lost its checkpoints, and the next start takes a copy.
        if self.kills % 5 == 3 {
            std::fs::remove_dir_all(self.folder.path("data/checkpoints")).expect("checkpoints");
        }
        let server = self.folder.serve(&RUN);
        let ticks = check_server(&server.client, &self.sent);
        // All of a directory's files are read for this.
        if self.kills.is_multiple_of(10) {
            check_sinks(&self.folder, &ticks);
        }
        server.kill();
    }

    fn load(&mut self, server: Server, end: &End) {
        let client = server.client.clone();
        let (acknowledged, acknowledgements) = channel();
        let seeds: Vec<u64> = (0..PRODUCERS).map(|_| self.chance.below(u64::MAX)).collect();
        let (sent, client) = (&self.sent, &client);
        let said = scope(|scope| {
            for (producer, seed) in seeds.into_iter().enumerate() {
                let acknowledged = acknowledged.clone();
                scope.spawn(move || produce(client, producer, &sent[producer], seed, &acknowledged));
            }
            drop(acknowledged);
            match end {
                End::After(requests) => {
                    for _ in 0..*requests {
                        acknowledgements.recv().expect("another acknowledgement");
                    }
                    server.kill();
                    String::new()
                }
                End::At(..) => server.ended(),
            }
        });
        check_end(end, &said);
    }

    fn finish(&self) {
        let server = self.folder.serve(&RUN);
        let ticks = check_server(&server.client, &self.sent);
        check_sinks(&self.folder, &ticks);
        let (code, said) = server.stop();
        assert_eq!(code, Some(0), "{said}");
        check_sinks(&self.folder, &ticks);
        say(&format!(
            "{} kills; {} events were stored once and in order, of {} producers; {} files in the directory",
            self.kills,
            ticks.values().sum::<u64>(),
            ticks.len(),
            std::fs::read_dir(self.folder.path("filed")).expect("a directory").count()
        ));
    }
}

fn check_end(end: &End, said: &str) {
    if let End::At(point, pass) = end {
        assert!(said.contains(&format!("{FAIL_AT}: {point}, pass {pass}")), "it ended elsewhere: {said}");
    }
}

fn points() -> Vec<&'static str> {
    chalk_store::fail::Point::ALL.iter().map(|point| point.name()).collect()
}

/// A point that is never passed is never reported, and fails here: the server goes on until nobody's patience is left.
#[test]
fn a_kill_at_every_named_point_changes_nothing() {
    let mut soak = Soak::new(7);
    for point in points() {
        soak.kill(&End::At(point, 1));
    }
    soak.finish();
}

#[test]
fn kills_under_load_change_nothing() {
    let (kills, seed) = (setting("CHALK_KILLS", 50), setting("CHALK_SEED", 1));
    say(&format!("CHALK_KILLS={kills} CHALK_SEED={seed}"));
    let mut soak = Soak::new(seed);
    let (points, mut passed) = (points(), BTreeMap::<&str, u64>::new());
    for kill in 1..=kills {
        let end = if soak.chance.below(2) == 0 {
            End::After(soak.chance.below(REQUESTS_MAX))
        } else {
            let point = points[soak.chance.below(points.len() as u64) as usize];
            *passed.entry(point).or_default() += 1;
            End::At(point, 1 + soak.chance.below(PASSES_MAX))
        };
        say(&format!("kill {kill}: {end:?}"));
        soak.kill(&end);
    }
    soak.finish();
    say(&format!("kills by point, the others at random moments: {passed:?}"));
}

/// The lines of a producer's first events.
fn lines_of(producer: usize, sequences: std::ops::Range<u64>) -> String {
    sequences.map(|sequence| line_of(producer, sequence)).collect()
}

#[test]
fn a_stale_writer_cannot_append() {
    let folder = folder();
    let run = ["run", "--data", "data"];
    let stale = folder.serve(&run);
    let new = |answer: Option<serde_json::Value>| answer.and_then(|answer| answer["accepted_total"].as_u64());
    assert_eq!(new(stale.client.append(&lines_of(0, 0..5))), Some(5));
    stale.client.caught_up();
    // A process that is stopped still holds what it holds.
    stale.signal("STOP");
    let second = folder.chalk(&run);
    assert_eq!(second.code, Some(2), "{second:?}");
    assert!(second.err.contains(&format!("is in use by process {}", stale.pid())), "{second:?}");
    stale.signal("CONT");
    assert_eq!(new(stale.client.append(&lines_of(0, 5..10))), Some(5));
    stale.client.caught_up();
    // Somebody takes it from it by force.
    stale.signal("STOP");
    std::fs::remove_file(folder.path("data/lock")).expect("a lock file");
    let server = folder.serve(&run);
    assert_eq!(new(server.client.append(&lines_of(1, 0..7))), Some(7));
    stale.signal("CONT");
    let refused = stale.client.post("/events", "application/x-ndjson", lines_of(2, 0..3).as_bytes());
    let (status, body) = refused.expect("an answer");
    assert!(status >= 500 && body.contains("somebody has removed it"), "{status}: {body}");
    stale.kill();
    assert_eq!(new(server.client.append(&lines_of(1, 7..9))), Some(2));
    let expected = BTreeMap::from([("p0".to_owned(), 10), ("p1".to_owned(), 9)]);
    let sent = |acknowledged| Mutex::new(Sent { acknowledged, in_doubt: 0 });
    assert_eq!(check_server(&server.client, &[sent(10), sent(9), sent(0)]), expected);
    assert_eq!(server.stop().0, Some(0));
    let verified = folder.chalk(&["log", "verify", "--data", "data"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[test]
fn a_replay_leaves_sinks_alone() {
    let folder = folder();
    let server = folder.serve(&["run", "--data", "data"]);
    server.client.append(&lines_of(0, 0..20)).expect("an acknowledgement");
    let ticks = check_server(&server.client, &[Mutex::new(Sent { acknowledged: 20, in_doubt: 0 })]);
    check_sinks(&folder, &ticks);
    server.stop();
    let of_sinks = || {
        let mut found = vec![("listed.json".to_owned(), folder.read("listed.json"))];
        for entry in std::fs::read_dir(folder.path("filed")).expect("a directory").flatten() {
            let name = entry.file_name().into_string().expect("a name");
            found.push((name.clone(), folder.read(&format!("filed/{name}"))));
        }
        found.sort();
        found
    };
    let before = of_sinks();
    assert!(before.iter().any(|(name, text)| name == "0000000000.json" && !text.is_empty()), "{before:?}");
    let shown = folder.chalk(&["replay", "--data", "data", "--view", "totals", "-f", "csv"]);
    assert_eq!((shown.code, shown.out.lines().nth(1)), (Some(0), Some("p0,20,190,19")), "{}", shown.err);
    assert_eq!(of_sinks(), before, "a replay writes nothing");
    // Nor does a replay make what is not there.
    for (name, _) in &before {
        let path = if name == "listed.json" { folder.path(name) } else { folder.path(&format!("filed/{name}")) };
        std::fs::remove_file(path).expect("a sink's file");
    }
    assert_eq!(folder.chalk(&["replay", "--data", "data", "--hash"]).code, Some(0));
    assert!(!folder.path("listed.json").exists());
    assert_eq!(named(&folder, "filed"), "");
    // A run does: what was lost is given again.
    folder.chalk(&["run", "--data", "data", "--drain"]).check(0, "", "");
    let text = |found: Vec<(String, String)>| -> String {
        found.into_iter().filter(|(name, _)| !name.starts_with('_')).map(|(_, text)| text).collect()
    };
    assert_eq!(text(of_sinks()), text(before));
}
