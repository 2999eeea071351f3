//! Views as they were, from their changelogs: equal to what was seen then, across restarts, kills and numbers of shards.

use crate::program::Folder;
use chalk_catalog::TopicDef;
use chalk_cli::{Node, ProjectFiles};
use chalk_event::{ChangeBatch, CommitSeq, Epoch};
use chalk_ingest::{Door, DoorOptions};
use chalk_log::{CommitLog, EventLog, Holder, LogOptions};
use chalk_runtime::{At, Handle, Options, Pipeline, as_of, changes_between};
use chalk_view::{Snapshot, ViewRows};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

const RUN: [&str; 3] = ["run", "--data", "data"];
const BOARDS: [&str; 4] = [
    "SELECT * FROM class_leaderboard",
    "SELECT * FROM completion",
    "SELECT * FROM item_difficulty",
    "SELECT event_type, count(*) FROM submissions GROUP BY event_type",
];

fn sorted(text: &str) -> Vec<String> {
    let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
    rows.sort_unstable();
    rows
}

#[test]
fn queries_see_views_and_topics_as_they_were() {
    let folder = Folder::of_homework();
    let events = folder.chalk(&["generate", "homework", "--events", "5000"]).out;
    let lines: Vec<&str> = events.split_inclusive('\n').collect();
    let mut then = Vec::new();
    for (number, part) in lines.chunks(lines.len().div_ceil(5)).enumerate() {
        let server = folder.serve(&RUN);
        for lines in part.chunks(150) {
            server.client.append(&lines.concat()).expect("an answer");
        }
        server.client.caught_up();
        let epoch = server.client.status()["epoch"].to_string();
        then.push((epoch, BOARDS.map(|sql| sorted(&server.client.query(sql)))));
        if number % 2 == 0 { server.kill() } else { drop(server.stop()) }
    }
    let check = || {
        for (epoch, boards) in &then {
            for (sql, expected) in BOARDS.iter().zip(boards) {
                let ran = folder.chalk(&["query", sql, "--data", "data", "-f", "csv", "--as-of", epoch]);
                assert_eq!(ran.code, Some(0), "{}", ran.err);
                let (_, rows) = ran.out.split_once('\n').expect("a line of names");
                assert_eq!(&sorted(rows), expected, "{sql} as of epoch {epoch}: {}", ran.err);
            }
        }
    };
    check();
    assert_ne!(then[0].1, then[4].1);
    // Other queries begin other changelogs; the past stays.
    let sql = folder.read("sql/boards/completion.sql");
    folder.write("sql/boards/completion.sql", format!("{sql}\n-- as before\n"));
    folder.write("sql/boards/more.sql", "CREATE MATERIALIZED VIEW more AS SELECT count(*) AS marks FROM marks;\n");
    let more = |arguments: &[&str]| {
        folder.chalk(&[&["query", "SELECT * FROM more", "--data", "data", "-f", "csv"], arguments].concat())
    };
    let mut marks = Vec::new();
    for columns in ["count(*) AS marks", "count(*) + 1 AS marks", "'many' AS marks, count(*) AS counted"] {
        folder.write("sql/boards/more.sql", format!("CREATE MATERIALIZED VIEW more AS SELECT {columns} FROM marks;\n"));
        let server = folder.serve(&RUN);
        server.client.caught_up();
        let epoch = server.client.status()["epoch"].to_string();
        marks.push((epoch, more(&[]).done()));
        // Beside a server as well as without one.
        assert_eq!(more(&["--as-of", &marks[0].0]).out, marks[0].1);
        server.stop();
    }
    for (epoch, rows) in &marks {
        assert_eq!(&more(&["--as-of", epoch]).out, rows, "as of epoch {epoch}");
    }
    check();

    // Changelogs are not listed unless one asks for them, and can be read as topics.
    let topics = |arguments: &[&str]| folder.chalk(&[&["topics", "--data", "data"], arguments].concat()).done();
    assert!(!topics(&[]).contains("_changes_"), "{}", topics(&[]));
    assert!(topics(&["--all"]).contains("| _changes_more.2 "), "{}", topics(&["--all"]));
    let tail = folder.chalk(&["tail", "_changes_completion", "--data", "data", "-n", "1"]).done();
    assert!(tail.contains("\"_epoch\":") && tail.contains("\"_weight\":"), "{tail}");
    let tables = folder.chalk(&["query", "SHOW TABLES", "--data", "data", "-f", "csv"]).done();
    assert!(!tables.contains("_changes_"), "{tables}");
}

#[test]
fn a_past_that_the_journal_does_not_know_is_told() {
    let folder = Folder::of_homework();
    folder.serve(&RUN).stop();
    let ask = |point: &str| folder.chalk(&["query", "SELECT 1", "--data", "data", "--as-of", point]);
    let ran = ask("2020-01-01T00:00:00Z");
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{}", ran.err);
    assert!(
        ran.err.starts_with("error: the journal does not say what views were at 2020-01-01T00:00:00Z\n"),
        "{}",
        ran.err
    );
    assert!(ask("soon").err.starts_with("error: 'soon' is no point in a log\n"), "{}", ask("soon").err);
}

/// Small numbers in no order, the same for a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// The homework pipelines on a data directory, in this process.
struct Running {
    pipeline: Handle,
    door: Arc<Door>,
    log: Arc<dyn EventLog>,
}

impl Running {
    fn start(project: &Path, data: &Path, chance: &mut Chance) -> Self {
        let files = ProjectFiles::read(&project.join("sql")).expect("a project");
        let (planned, _) = Node::plan(&files).expect("a good project");
        let time = Arc::new(AtomicI64::new(1_756_700_000_000_000_000));
        let clock: Arc<dyn Fn() -> i64 + Send + Sync> = Arc::new(move || time.fetch_add(1_000_000, Ordering::Relaxed));
        let holder = Holder { pid: std::process::id(), command: "a test".to_owned(), http: None, pg: None };
        let log = CommitLog::open(data, &holder, LogOptions::new(Arc::clone(&clock))).expect("a log");
        let log: Arc<dyn EventLog> = Arc::new(log);
        for (topic, avsc) in &files.schemas {
            log.ensure_topic(topic, avsc, &files.envelope).expect("a topic");
        }
        let door = Arc::new(Door::open(Arc::clone(&log), DoorOptions::new(clock)).expect("a door"));
        let options = Options {
            shards: 1 + chance.below(5) as usize,
            epoch_bytes_max: 1 << (8 + chance.below(14)),
            stdout: Box::new(|| unreachable!("the homework pipelines print nothing")),
            directory: project.to_owned(),
            quiet: true,
            snapshot_changes_min: 1 + chance.below(200),
            checkpoints: None,
            cold: None,
            functions: chalk_runtime::Functions::default(),
            generators: chalk_runtime::Generators::default(),
        };
        let pipeline = Pipeline { name: "p".to_owned(), graph: planned.graph, identity: String::new() };
        Self { pipeline: chalk_runtime::start(&pipeline, &door, &options).expect("a pipeline"), door, log }
    }
}

/// Rows as text, in order.
fn rows_of(view: &ViewRows) -> Vec<String> {
    view.batches(1_000).expect("rows").iter().map(|batch| format!("{batch:?}")).collect()
}

/// A view after changes are applied to it.
fn followed(view: &ViewRows, changes: &ChangeBatch) -> ViewRows {
    let mut view = view.clone();
    view.apply(changes).expect("changes of this view");
    view
}

/// All epochs that the journal knows: each view is what was seen then, and any two are joined by the changes between.
fn check_past(log: &dyn EventLog, seen: &BTreeMap<u64, Arc<Snapshot>>, chance: &mut Chance) -> u64 {
    let (mut compared, mut before): (u64, Option<(At, Snapshot)>) = (0, None);
    let last = *seen.keys().last().expect("an epoch");
    for epoch in 1..=last {
        let at = At::Epoch(Epoch(epoch));
        let Some(past) = as_of(log, "p", at).expect("a readable past") else { continue };
        assert_eq!(past.unkept, [] as [&str; 0]);
        // What an epoch without a record showed is what the one before it had.
        if let Some(then) = seen.get(&epoch) {
            for (name, view) in &then.views {
                assert_eq!(rows_of(view), rows_of(&past.snapshot.views[name]), "{name} at epoch {epoch}");
            }
            let by_commit = as_of(log, "p", At::Commit(then.upto)).expect("a readable past").expect("an epoch");
            for (name, view) in &then.views {
                assert_eq!(by_commit.snapshot.views[name].hash(), view.hash(), "{name} at commit {}", then.upto);
            }
            compared += 1;
        }
        if let Some((from, old)) = &before {
            for (name, view) in &past.snapshot.views {
                let changes = changes_between(log, "p", name, *from, at).expect("readable changes").expect("both");
                assert_eq!(followed(&old.views[name], &changes).hash(), view.hash(), "{name}, {from:?} to {at:?}");
            }
        }
        if before.is_none() || chance.below(4) == 0 {
            before = Some((at, past.snapshot));
        }
    }
    compared
}

fn copy_log(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("log")).expect("a folder");
    for entry in std::fs::read_dir(from.join("log")).expect("a log").flatten() {
        std::fs::copy(entry.path(), to.join("log").join(entry.file_name())).expect("a segment");
    }
}

/// More than the default: `CHALK_SEEDS=20 cargo test --release --test it -- changelog`.
#[test]
fn each_epoch_can_be_read_as_it_was() {
    let seeds = std::env::var("CHALK_SEEDS").ok().map_or(2, |text| text.parse().expect("a number"));
    for seed in 1..=seeds {
        let chance = &mut Chance(seed);
        let folder = Folder::of_homework();
        let events = folder.chalk(&["generate", "homework", "--events", "1500", "--seed", &seed.to_string()]).out;
        let mut lines = events.split_inclusive('\n').peekable();
        let (mut seen, mut compared) = (BTreeMap::new(), 0);
        for run in 0_u32.. {
            let data = folder.path(&format!("data-{run}"));
            let running = Running::start(&folder.path(""), &data, chance);
            let mut snapshots = running.pipeline.subscribe();
            // Until then it shows what earlier runs have shown.
            let committed = running.log.journal().pipelines.get("p").map_or(CommitSeq(0), |last| last.upto);
            let mut pending = Vec::new();
            let crash_after = 3 + chance.below(8);
            for _ in 0..crash_after {
                let part: String = lines.by_ref().take(1 + chance.below(120) as usize).collect();
                if part.is_empty() {
                    break;
                }
                pending.push(running.door.submit("a test", part.as_bytes()).expect("taken"));
                if chance.below(3) == 0 {
                    for submitted in pending.drain(..) {
                        submitted.wait().expect("acknowledged");
                    }
                    let snapshot = futures::executor::block_on(running.pipeline.caught_up()).expect("it runs");
                    seen.insert(snapshot.epoch.0, snapshot);
                }
                let snapshot = Arc::clone(&snapshots.borrow_and_update());
                if snapshot.epoch > Epoch(0) && snapshot.upto >= committed {
                    seen.insert(snapshot.epoch.0, snapshot);
                }
            }
            for submitted in pending {
                submitted.wait().expect("acknowledged");
            }
            if lines.peek().is_none() {
                let snapshot = futures::executor::block_on(running.pipeline.caught_up()).expect("it runs");
                seen.insert(snapshot.epoch.0, snapshot);
                compared += check_past(&*running.log, &seen, chance);
                break;
            }
            if !seen.is_empty() {
                compared += check_past(&*running.log, &seen, chance);
            }
            // As a power cut would leave it, in the middle of whatever it does; or as a stop does.
            if chance.below(2) == 0 {
                copy_log(&data, &folder.path(&format!("data-{}", run + 1)));
                let durable = *running.log.durable().borrow();
                assert!(durable > CommitSeq(0));
                running.pipeline.stop();
            } else {
                running.pipeline.stop();
                drop(running.door);
                drop(running.log);
                copy_log(&data, &folder.path(&format!("data-{}", run + 1)));
            }
            // An epoch that has no record was compared just now; its number may come again.
            let next = CommitLog::look(&folder.path(&format!("data-{}", run + 1)), &LogOptions::new(Arc::new(|| 1)));
            let last = next.expect("a log").journal().pipelines.get("p").map_or(Epoch(0), |last| last.epoch);
            seen.retain(|epoch, _| *epoch <= last.0);
        }
        assert!(compared >= 3, "seed {seed}: {compared} epochs were compared");
    }
}

#[test]
fn a_changelog_that_was_tampered_with_is_found_out() {
    let folder = Folder::of_homework();
    let chance = &mut Chance(5);
    let data = folder.path("data-0");
    let running = Running::start(&folder.path(""), &data, chance);
    let events = folder.chalk(&["generate", "homework", "--events", "300"]).out;
    running.door.submit("a test", events.as_bytes()).expect("taken").wait().expect("acknowledged");
    let then = futures::executor::block_on(running.pipeline.caught_up()).expect("it runs");
    running.pipeline.stop();
    let topics = running.log.topics();
    let topic = topics.by_name(&TopicDef::changelog_name("completion", 1)).expect("a changelog");
    let place = running.log.journal().pipelines["p"].views.as_ref().expect("views")["completion"].changelog.clone();
    let place = place.expect("a place");
    assert_eq!(place.topic, topic.id);
    // The journal names one change fewer than there is.
    let journal = running.log.journal();
    let last = &journal.pipelines["p"];
    let mut views = last.views.clone().expect("views");
    let changelog = views.get_mut("completion").and_then(|view| view.changelog.as_mut()).expect("a place");
    if changelog.changes.start < changelog.changes.end {
        changelog.changes.end.0 -= 1;
    } else {
        changelog.snapshot.end.0 -= 1;
    }
    let record = chalk_catalog::ControlEvent::EpochCommitted {
        pipeline: "p".to_owned(),
        epoch: last.epoch.next(),
        upto: last.upto,
        views: Some(chalk_catalog::EpochViews { complete: true, views }),
    };
    let at_last = At::Epoch(last.epoch);
    assert!(as_of(&*running.log, "p", at_last).is_ok_and(|past| past.is_some()));
    let frames = vec![running.log.control_frame(&record).expect("a frame")];
    running.log.append(chalk_log::Append { frames }).expect("taken").wait().expect("durable");
    let error = as_of(&*running.log, "p", At::Commit(then.upto)).map(|_| ()).expect_err("a wrong hash").to_string();
    assert!(error.starts_with("view 'completion' cannot be read as it was: "), "{error}");
    assert!(as_of(&*running.log, "p", at_last).is_ok_and(|past| past.is_some()), "the epoch before is as it was");
}
