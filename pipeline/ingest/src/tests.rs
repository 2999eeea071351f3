//! What the door remembers, through restarts, kills, damage and a full disk.

use crate::{Door, DoorError, DoorOptions, Receipt, event_id};
use arrow::array::AsArray;
use chalk_catalog::{ControlEvent, TopicDef, TopicId, Topics};
use chalk_codec::Reason;
use chalk_event::{CommitSeq, Offset, PartitionId};
use chalk_log::{Append, Commit, CommitLog, EventLog, Frame, FrameToAppend, Holder, LogError, LogOptions, Pending};
use chalk_store::{AppendFile, LocalFiles, ReadFile, Storage, StorageError};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use tempfile::TempDir;
use tokio::sync::watch;

const ENVELOPE: &str = r#"{"type":"record","name":"Envelope","fields":[
    {"name":"event_id","type":{"type":"string","logicalType":"uuid"}},
    {"name":"event_type","type":"string"},
    {"name":"tenant","type":"string"},
    {"name":"occurred_at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"received_at","type":{"type":"long","logicalType":"timestamp-micros"}}]}"#;
const SHOPS: &str = r#"{"type":"record","name":"Shop","event_type":"shop_opened","partitions":1,
    "key":["shop"],"idempotency_key":["shop"],"fields":[{"name":"shop","type":"string"},{"name":"number","type":"long"}]}"#;
const ORDERS: &str = r#"{"type":"record","name":"Order","event_type":"order_placed","partitions":2,
    "key":["shop"],"idempotency_key":["id"],"fields":[
    {"name":"id","type":"long"},
    {"name":"shop","type":"string","references":"shops.shop"},
    {"name":"number","type":["null","long"],"references":"shops.number"},
    {"name":"amount","type":"long"}]}"#;
const RETURNS: &str = r#"{"type":"record","name":"Return","event_type":"order_returned","partitions":1,
    "key":["id"],"idempotency_key":["id"],"fields":[{"name":"id","type":"long","references":"orders.id"}]}"#;

/// 2025-09-01T08:00:00Z.
const NOW: i64 = 1_756_713_600_000_000_000;
/// So few that every test writes runs.
const IN_MEMORY: usize = 50;

/// A data directory.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn ids(&self) -> Arc<dyn Storage> {
        Arc::new(LocalFiles::at(&self.0.path().join("ids")).expect("a folder"))
    }

    fn log(&self) -> Arc<dyn EventLog> {
        let holder = Holder { pid: 1, command: "test".to_owned(), http: None, pg: None };
        // Commits have different times, as they have in life.
        static CLOCK: AtomicI64 = AtomicI64::new(NOW);
        let options = LogOptions::new(Arc::new(|| CLOCK.fetch_add(1, Ordering::Relaxed)));
        let log = CommitLog::open(self.0.path(), &holder, options).expect("a log");
        log.ensure_topic("shops", SHOPS, ENVELOPE).expect("a good schema");
        log.ensure_topic("orders", ORDERS, ENVELOPE).expect("a good schema");
        Arc::new(log)
    }

    fn door(&self) -> Door {
        Door::open(self.log(), self.options()).expect("a log that can be read")
    }

    fn options(&self) -> DoorOptions {
        let options = DoorOptions::new(Arc::new(|| NOW)).keeping_ids_in(self.ids());
        DoorOptions { ids_in_memory_max: IN_MEMORY, ..options }
    }

    /// What a process that is killed now leaves behind, in the order in which its files are looked at.
    fn as_if_killed(&self, folders: [&str; 2]) -> Self {
        let copy = Self::new();
        for folder in folders {
            let (from, to) = (self.0.path().join(folder), copy.0.path().join(folder));
            std::fs::create_dir_all(&to).expect("a folder");
            for file in std::fs::read_dir(from).expect("a folder") {
                let file = file.expect("a file");
                // A file that was removed meanwhile is one that is not there.
                let _ = std::fs::copy(file.path(), to.join(file.file_name()));
            }
        }
        copy
    }
}

fn opened(shop: &str, number: i64) -> String {
    format!(
        "{{\"event_type\":\"shop_opened\",\"tenant\":\"t\",\"occurred_at\":\"2025-09-01T07:00:00Z\",\"shop\":\"{shop}\",\"number\":{number}}}\n"
    )
}

fn order_of(id: u64, shop: &str, amount: i64) -> String {
    format!(
        "{{\"event_type\":\"order_placed\",\"tenant\":\"t\",\"occurred_at\":\"2025-09-01T07:59:00Z\",\"id\":{id},\"shop\":\"{shop}\",\"amount\":{amount}}}\n"
    )
}

fn order(id: u64) -> String {
    order_of(id, "north", 5)
}

fn orders(ids: impl IntoIterator<Item = u64>) -> String {
    ids.into_iter().map(order).collect()
}

fn submit(door: &Door, lines: &str) -> Receipt {
    door.submit("test", lines.as_bytes()).expect("the log takes it").wait().expect("the log takes it")
}

/// Accepted, duplicates, refused.
fn outcome(receipt: &Receipt) -> (u64, u64, usize) {
    (receipt.accepted_total(), receipt.duplicates, receipt.refused.len())
}

/// Takes in a shop and orders, ten at a time.
fn fill(door: &Door, orders_to: u64) {
    submit(door, &opened("north", 1));
    for first in (0..orders_to).step_by(10) {
        submit(door, &orders(first..(first + 10).min(orders_to)));
    }
}

/// The ids of the orders that a log has.
fn logged(log: &dyn EventLog) -> BTreeSet<String> {
    let topic = log.topics().by_name("orders").expect("a topic").id;
    let durable = *log.durable().borrow();
    let (mut ids, mut after) = (BTreeSet::new(), CommitSeq(0));
    while after < durable {
        let (commits, upto) = log.read(after, &[topic], 1 << 20).expect("a whole log");
        for frame in commits.iter().flat_map(|commit| &commit.frames) {
            let column = frame.rows.column_by_name("event_id").expect("a column").as_string::<i32>();
            ids.extend(column.iter().flatten().map(str::to_owned));
        }
        after = upto;
    }
    ids
}

fn order_id(id: u64) -> String {
    event_id("order_placed", "t", [id.to_string().as_str()].into_iter()).to_string()
}

/// A door knows just what its log has: each of these orders is a duplicate if it is there, a conflict if it comes with another
/// content, and new if it is not.
fn check_exact(door: &Door, upto: u64) {
    let known = logged(&**door.log());
    let (mut old, mut new) = (Vec::new(), Vec::new());
    (0..upto).for_each(|id| if known.contains(&order_id(id)) { old.push(id) } else { new.push(id) });
    assert_eq!(outcome(&submit(door, &orders(old.clone()))), (0, old.len() as u64, 0), "known with the same content");
    let other: String = old.iter().map(|id| order_of(*id, "north", 6)).collect();
    let receipt = submit(door, &other);
    assert_eq!(outcome(&receipt), (0, 0, old.len()), "known with another content");
    assert!(receipt.refused.iter().all(|refused| refused.bad.reason == Reason::IdConflict));
    assert_eq!(outcome(&submit(door, &orders(new.clone()))), (new.len() as u64, 0, 0), "not known");
}

fn runs(ids: &dyn Storage) -> usize {
    ids.list().expect("a folder").iter().filter(|name| name.ends_with(".run")).count()
}

#[test]
fn ids_are_known_after_a_clean_stop_and_a_kill() {
    for upto in [0, 7, 49, 51, 400, 2500] {
        let place = Place::new();
        let door = place.door();
        fill(&door, upto);
        let killed = place.as_if_killed(["ids", "log"]);
        drop(door);
        check_exact(&killed.door(), upto + 10);
        check_exact(&place.door(), upto + 10);
        // And once more, of what was read back and written again.
        check_exact(&place.door(), upto + 20);
    }
}

#[test]
fn a_kill_at_any_moment_leaves_a_door_that_is_exact() {
    let place = Place::new();
    let door = place.door();
    fill(&door, 0);
    let done = AtomicBool::new(false);
    let killed = std::thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            for id in 0..3000 {
                submit(&door, &order(id));
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut killed = Vec::new();
        while !done.load(Ordering::Relaxed) && killed.len() < 200 {
            // The log first: it lacks what the ids beside it say. As if it had been restored from a copy.
            let folders = if killed.len() % 2 == 0 { ["ids", "log"] } else { ["log", "ids"] };
            killed.push(place.as_if_killed(folders));
        }
        feeder.join().expect("a feeder that saw only what it should");
        killed
    });
    assert!(killed.len() > 3, "{} kills", killed.len());
    for place in killed.iter().step_by(killed.len() / 10 + 1) {
        check_exact(&place.door(), 3000);
    }
}

/// As if the log had been restored from an older copy, and the ids had not: it ends at each of its commits in turn.
#[test]
fn a_log_that_ends_earlier_than_the_ids_is_right() {
    let place = Place::new();
    let door = place.door();
    submit(&door, &opened("north", 1));
    for _ in 0..4 {
        let next = logged(&**door.log()).len() as u64;
        // Not waited for, so that commits have several.
        let submits = (next..next + 40)
            .step_by(5)
            .map(|first| door.submit("test", orders(first..first + 5).as_bytes()).expect("the log takes it"));
        let submits: Vec<_> = submits.collect();
        door.flush().expect("a disk that works");
        submits.into_iter().for_each(|submitted| drop(submitted.wait().expect("the log takes it")));
    }
    let whole = place.as_if_killed(["log", "ids"]);
    let name = "log/00000000000000000001.log";
    let bytes = std::fs::read(whole.0.path().join(name)).expect("a segment");
    let commits: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, four)| four == b"CMT1").map(|(at, _)| at).collect();
    assert!(commits.len() > 5, "{} commits", commits.len());
    for end in &commits[3..] {
        let place = whole.as_if_killed(["log", "ids"]);
        std::fs::write(place.0.path().join(name), &bytes[..*end]).expect("a file");
        check_exact(&place.door(), 160);
    }
}

#[test]
fn memory_is_bounded_and_runs_are_few() {
    let place = Place::new();
    let door = place.door();
    fill(&door, 5000);
    door.flush().expect("a disk that works");
    let memory = door.shared().memory();
    assert!(memory.recent.len() < IN_MEMORY && memory.frozen.is_empty());
    let runs = memory.runs.as_ref().expect("ids are kept").runs().len();
    drop(memory);
    assert!((1..40).contains(&runs), "{runs} runs of {} parts", 5000 / IN_MEMORY);
    drop(door);
    // What is merged is gone.
    assert!(runs_of(&place) < 40, "{} files", runs_of(&place));
    check_exact(&place.door(), 5010);
}

fn runs_of(place: &Place) -> usize {
    runs(&*place.ids())
}

#[test]
fn opening_reads_no_more_than_what_came_since() {
    let place = Place::new();
    let door = place.door();
    fill(&door, 3000);
    door.flush().expect("a disk that works");
    drop(door);
    let log = Counting::of(place.log());
    drop(Door::open(Arc::clone(&log) as _, place.options()).expect("a log that can be read"));
    let read = log.rows.load(Ordering::Relaxed);
    assert!(read <= 10, "{read} rows were read, more than the commit that the ids are told by");
    drop(log);
    submit(&place.door(), &orders(3000..3005));
    let log = Counting::of(place.log());
    let door = Door::open(Arc::clone(&log) as _, place.options()).expect("a log that can be read");
    let read = log.rows.load(Ordering::Relaxed);
    assert!(read <= 30, "{read} rows were read of 3005");
    check_exact(&door, 3010);
}

#[test]
fn looking_writes_nothing() {
    let place = Place::new();
    let door = place.door();
    fill(&door, 2000);
    let killed = place.as_if_killed(["ids", "log"]);
    drop(door);
    for place in [place, killed] {
        let options = || DoorOptions { ids_in_memory_max: 100_000, ..place.options() };
        let files = || {
            let ids = place.ids();
            ids.list()
                .expect("a folder")
                .into_iter()
                .map(|name| (ids.read(&name).expect("a file"), name))
                .collect::<Vec<_>>()
        };
        drop(Door::open(place.log(), options()).expect("a log that can be read"));
        let before = files();
        let door = Door::open(place.log(), options()).expect("a log that can be read");
        assert_eq!(outcome(&submit(&door, &orders(0..2000))), (0, 2000, 0));
        drop(door);
        assert!(files() == before, "files have changed");
    }
}

#[test]
fn whatever_is_wrong_with_the_files_the_log_is_right() {
    let place = Place::new();
    let door = place.door();
    fill(&door, 300);
    door.flush().expect("a disk that works");
    drop(door);
    let other = Place::new();
    let door = other.door();
    submit(&door, &opened("south", 1));
    submit(&door, &orders_in("south", 1000..1300));
    door.flush().expect("a disk that works");
    drop(door);
    let (ids, manifest) = (place.ids(), "manifest");
    let whole = ids.read(manifest).expect("a file").expect("a file");
    let run = ids.list().expect("a folder").into_iter().find(|name| name.ends_with(".run")).expect("a run");
    let run_bytes = ids.read(&run).expect("a file").expect("a file");
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    type Damage<'a> = Box<dyn Fn(&dyn Storage) + 'a>;
    let put = |name: &str, bytes: Vec<u8>| -> Damage<'_> {
        let name = name.to_owned();
        Box::new(move |ids: &dyn Storage| ids.replace(&name, &bytes).expect("a file"))
    };
    let mut damages: Vec<Damage<'_>> = Vec::new();
    damages.extend((0..whole.len()).step_by(11).map(|at| put(manifest, flipped(&whole, at))));
    damages.push(put(manifest, whole[..whole.len() / 2].to_vec()));
    damages.push(put(manifest, Vec::new()));
    damages.push(put(manifest, newer(&whole)));
    damages.push(Box::new(|ids| ids.remove(manifest).expect("a file")));
    damages.push(Box::new(|ids| ids.remove(&run).expect("a file")));
    damages.push(put(&run, run_bytes[..run_bytes.len() - 1].to_vec()));
    damages.push(put(&run, flipped(&run_bytes, run_bytes.len() - 20)));
    damages.push(put("stranger.run", run_bytes));
    damages.push(put("manifest.new", whole));
    damages.push(Box::new(|ids| {
        for name in ids.list().expect("a folder") {
            ids.remove(&name).expect("a file");
        }
        let foreign = other.ids();
        for name in foreign.list().expect("a folder") {
            ids.replace(&name, &foreign.read(&name).expect("a file").expect("a file")).expect("a file");
        }
    }));
    for (number, damage) in damages.iter().enumerate() {
        let copy = place.as_if_killed(["ids", "log"]);
        damage(&*copy.ids());
        let door = copy.door();
        assert_eq!(copy.ids().list().expect("a folder").iter().filter(|name| name.starts_with("stranger")).count(), 0);
        let receipt = submit(&door, &orders(0..300));
        assert_eq!(outcome(&receipt), (0, 300, 0), "damage {number}");
        let receipt = submit(&door, &orders(1000..1300));
        assert_eq!(outcome(&receipt), (300, 0, 0), "damage {number}");
        door.flush().expect("a disk that works");
        drop(door);
        check_exact(&copy.door(), 10);
    }
}

fn orders_in(shop: &str, ids: std::ops::Range<u64>) -> String {
    ids.map(|id| order_of(id, shop, 5)).collect()
}

/// A manifest as a later build might write it, with a checksum that matches.
fn newer(manifest: &[u8]) -> Vec<u8> {
    let text = str::from_utf8(manifest).expect("text");
    let json = text.lines().next().expect("a line").replace("\"format\":1", "\"format\":2");
    assert!(json.contains("\"format\":2"), "{json}");
    format!("{json}\n{:016x}\n", xxhash_rust::xxh3::xxh3_64(json.as_bytes())).into_bytes()
}

#[test]
fn a_damaged_block_stops_the_door_and_the_next_one_is_right() {
    let place = Place::new();
    let door = place.door();
    fill(&door, 300);
    door.flush().expect("a disk that works");
    drop(door);
    for name in place.ids().list().expect("a folder").iter().filter(|name| name.ends_with(".run")) {
        let path = place.0.path().join("ids").join(name);
        let mut bytes = std::fs::read(&path).expect("a file");
        bytes[100] ^= 1;
        std::fs::write(&path, bytes).expect("a file");
    }
    let door = place.door();
    let before = *door.log().durable().borrow();
    let error = door.submit("test", orders(0..300).as_bytes()).expect_err("a damaged run");
    let text = error.to_string();
    assert!(matches!(error, DoorError::IdsUnreadable(_)) && text.contains("damaged run: "), "{text}");
    assert_eq!(*door.log().durable().borrow(), before, "nothing was appended");
    drop(door);
    check_exact(&place.door(), 310);
}

#[test]
fn many_submit_while_ids_are_written() {
    let place = Place::new();
    let door = place.door();
    submit(&door, &opened("north", 1));
    let accepted: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let door = &door;
                // Each sends what the next one sends too.
                scope.spawn(move || {
                    let ids = (thread * 1000..(thread + 2) * 1000).step_by(20);
                    ids.map(|first| submit(door, &orders(first..first + 20)).accepted_total()).sum::<u64>()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(accepted, 5000, "each order once");
    assert_eq!(logged(&**door.log()).len(), 5000);
    drop(door);
    check_exact(&place.door(), 5010);
}

#[test]
fn a_full_disk_stops_the_door_until_there_is_space() {
    let place = Place::new();
    let disk = Arc::new(FullDisk { files: place.ids(), full: AtomicBool::new(true) });
    let options = DoorOptions { ids: Some(Arc::clone(&disk) as _), ..place.options() };
    disk.full.store(false, Ordering::Relaxed);
    let door = Door::open(place.log(), options).expect("a log that can be read");
    fill(&door, 100);
    disk.full.store(true, Ordering::Relaxed);
    let mut taken = 100;
    let error = loop {
        match door.submit("test", orders(taken..taken + 10).as_bytes()) {
            Ok(submitted) => assert_eq!(outcome(&submitted.wait().expect("a log that works")), (10, 0, 0)),
            Err(error) => break error,
        }
        taken += 10;
    };
    assert!(matches!(error, DoorError::IdsNotKept(_)), "{error}");
    assert!(error.to_string().contains("No space left"), "{error}");
    assert!(taken <= 100 + 4 * IN_MEMORY as u64 + 10, "{taken} orders in memory");
    assert_eq!(logged(&**door.log()).len() as u64, taken, "nothing was appended");
    disk.full.store(false, Ordering::Relaxed);
    check_exact(&door, taken + 10);
    drop(door);
    check_exact(&place.door(), taken + 20);
}

#[test]
fn what_the_log_did_not_take_is_not_remembered() {
    let place = Place::new();
    let log = Counting::of(place.log());
    let door = Door::open(Arc::clone(&log) as _, place.options()).expect("a log that can be read");
    fill(&door, 5);
    log.refuses.store(true, Ordering::Relaxed);
    let lines = opened("south", 2) + &order_of(7, "south", 5);
    door.submit("test", lines.as_bytes()).expect_err("the log takes nothing");
    log.refuses.store(false, Ordering::Relaxed);
    let receipt = submit(&door, &order_of(7, "south", 5));
    assert_eq!(receipt.refused[0].bad.reason, Reason::UnknownReference, "the shop was not opened");
    assert_eq!(outcome(&submit(&door, &lines)), (2, 0, 0), "neither of them is a duplicate");
}

#[test]
fn a_door_that_cannot_be_opened_lets_go_of_its_log() {
    let place = Place::new();
    fill(&place.door(), 30); // so few that none is on disk, and the log has to be read
    let log = Counting::of(place.log());
    log.unreadable.store(true, Ordering::Relaxed);
    assert!(matches!(Door::open(Arc::clone(&log) as _, place.options()), Err(DoorError::Log(_))));
    assert_eq!(Arc::strong_count(&log), 1, "somebody still holds the log");
    drop(log);
    check_exact(&place.door(), 110);
}

#[test]
fn values_that_are_pointed_at_are_known_after_a_restart() {
    let place = Place::new();
    let door = place.door();
    let shops: String = (0..200).map(|shop| opened(&format!("shop {shop}"), 1000 + shop)).collect();
    assert_eq!(outcome(&submit(&door, &shops)), (200, 0, 0));
    let long = "x".repeat(100_000);
    submit(&door, &opened(&long, 7));
    submit(&door, &opened(&format!("{long}y"), 8));
    let killed = place.as_if_killed(["ids", "log"]);
    door.flush().expect("a disk that works");
    drop(door);
    for place in [place, killed] {
        for _ in 0..2 {
            let door = place.door();
            let with_number = |id: u64, shop: &str, number: i64| {
                order_of(id, shop, 1).replace("\"amount\"", &format!("\"number\":{number},\"amount\""))
            };
            let good: String =
                (0..200).map(|shop| with_number(shop, &format!("shop {shop}"), 1000 + shop as i64)).collect();
            let receipt = submit(&door, &good);
            assert_eq!(receipt.accepted_total() + receipt.duplicates, 200, "{:?}", receipt.refused.first());
            let good = order_of(300, &long, 1) + &with_number(301, &format!("{long}y"), 8);
            assert_eq!(submit(&door, &good).refused.len(), 0);
            let bad = order_of(400, "shop 200", 1) + &with_number(401, "shop 1", 999) + &order_of(402, &long[1..], 1);
            let receipt = submit(&door, &bad);
            assert_eq!(outcome(&receipt), (0, 0, 3));
            assert!(receipt.refused.iter().all(|refused| refused.bad.reason == Reason::UnknownReference));
            door.flush().expect("a disk that works");
        }
    }
}

#[test]
fn a_topic_that_comes_later_may_point_at_what_was_there() {
    let place = Place::new();
    let door = place.door();
    fill(&door, 200);
    let returned = |id: u64| {
        format!(
            "{{\"event_type\":\"order_returned\",\"tenant\":\"t\",\"occurred_at\":\"2025-09-01T07:59:00Z\",\"id\":{id}}}\n"
        )
    };
    assert_eq!(submit(&door, &returned(3)).refused[0].bad.reason, Reason::UnknownEventType);
    door.log().ensure_topic("returns", RETURNS, ENVELOPE).expect("a good schema");
    assert_eq!(outcome(&submit(&door, &(returned(3) + &returned(150) + &returned(200)))), (2, 0, 1));
    submit(&door, &orders(200..210));
    assert_eq!(outcome(&submit(&door, &(returned(200) + &returned(209) + &returned(210)))), (2, 0, 1));
    let killed = place.as_if_killed(["ids", "log"]);
    drop(door);
    for place in [place, killed] {
        let door = place.door();
        let all: String = (0..211).map(returned).collect();
        assert_eq!(outcome(&submit(&door, &all)), (206, 4, 1));
        drop(door);
    }
}

/// A disk without space, as long as it is told so.
#[derive(Debug)]
struct FullDisk {
    files: Arc<dyn Storage>,
    full: AtomicBool,
}

impl FullDisk {
    fn space(&self, name: &str) -> Result<(), StorageError> {
        if self.full.load(Ordering::Relaxed) {
            let source = io::Error::new(io::ErrorKind::StorageFull, "No space left on device");
            return Err(StorageError { operation: "create", path: Path::new(name).to_owned(), source });
        }
        Ok(())
    }
}

impl Storage for FullDisk {
    fn list(&self) -> Result<Vec<String>, StorageError> {
        self.files.list()
    }
    fn create(&self, name: &str) -> Result<Box<dyn AppendFile>, StorageError> {
        self.space(name)?;
        self.files.create(name)
    }
    fn reopen(&self, name: &str, len: u64) -> Result<Box<dyn AppendFile>, StorageError> {
        self.files.reopen(name, len)
    }
    fn open(&self, name: &str) -> Result<Arc<dyn ReadFile>, StorageError> {
        self.files.open(name)
    }
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.files.read(name)
    }
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.space(name)?;
        self.files.replace(name, bytes)
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        self.files.rename(from, to)
    }
    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.files.remove(name)
    }
    fn sync_directory(&self) -> Result<(), StorageError> {
        self.files.sync_directory()
    }
}

/// A log that counts the rows that are read, and refuses appends or cannot be read when it is told so.
struct Counting {
    log: Arc<dyn EventLog>,
    rows: AtomicI64,
    refuses: AtomicBool,
    unreadable: AtomicBool,
}

impl Counting {
    fn of(log: Arc<dyn EventLog>) -> Arc<Self> {
        Arc::new(Self {
            log,
            rows: AtomicI64::new(0),
            refuses: AtomicBool::new(false),
            unreadable: AtomicBool::new(false),
        })
    }

    fn count<'a>(&self, frames: impl Iterator<Item = &'a Frame>) {
        let rows: usize = frames.map(|frame| frame.rows.num_rows()).sum();
        self.rows.fetch_add(rows as i64, Ordering::Relaxed);
    }
}

impl EventLog for Counting {
    fn append(&self, append: Append) -> Result<Pending, LogError> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(LogError::TooLarge { bytes: 2, limit: 1 });
        }
        self.log.append(append)
    }
    fn ensure_topic(&self, name: &str, avsc: &str, envelope: &str) -> Result<TopicDef, LogError> {
        self.log.ensure_topic(name, avsc, envelope)
    }
    fn control_frame(&self, event: &ControlEvent) -> Result<FrameToAppend, LogError> {
        self.log.control_frame(event)
    }
    fn control_events(&self, topic: TopicId) -> Result<Vec<ControlEvent>, LogError> {
        self.log.control_events(topic)
    }
    fn topics(&self) -> Arc<Topics> {
        self.log.topics()
    }
    fn durable(&self) -> watch::Receiver<CommitSeq> {
        self.log.durable()
    }
    fn read(
        &self,
        after: CommitSeq,
        topics: &[TopicId],
        bytes_max: usize,
    ) -> Result<(Vec<Commit>, CommitSeq), LogError> {
        if self.unreadable.load(Ordering::Relaxed) {
            return Err(LogError::Stopped("the disk is gone".to_owned()));
        }
        let read = self.log.read(after, topics, bytes_max)?;
        self.count(read.0.iter().flat_map(|commit| &commit.frames));
        Ok(read)
    }
    fn read_partition(
        &self,
        topic: TopicId,
        partition: PartitionId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Vec<(CommitSeq, Frame)>, LogError> {
        let frames = self.log.read_partition(topic, partition, from, bytes_max)?;
        self.count(frames.iter().map(|(_, frame)| frame));
        Ok(frames)
    }
    fn first(&self, topic: TopicId, partition: PartitionId) -> Result<Offset, LogError> {
        self.log.first(topic, partition)
    }
    fn let_go(&self, topics: &[TopicId]) -> CommitSeq {
        self.log.let_go(topics)
    }
    fn tail(&self, topic: TopicId, partition: PartitionId) -> Offset {
        self.log.tail(topic, partition)
    }
    fn journal(&self) -> chalk_catalog::Journal {
        self.log.journal()
    }
    fn commit_at(&self, time: chalk_event::IngestTime) -> Result<Option<CommitSeq>, LogError> {
        self.log.commit_at(time)
    }
    fn commit_of(&self, topic: TopicId, partition: PartitionId, offset: Offset) -> Result<Option<CommitSeq>, LogError> {
        self.log.commit_of(topic, partition, offset)
    }
    fn stalled(&self) -> Option<String> {
        self.log.stalled()
    }
    fn size(&self) -> chalk_log::LogSize {
        self.log.size()
    }
}

/// A table of columns whose rows have ids of their own: what wrote them may give them again.
#[test]
fn rows_with_ids_of_their_own_count_once() {
    let place = Place::new();
    let column =
        |name: &str, column_type| chalk_catalog::Column { name: name.to_owned(), column_type, nullable: false };
    let columns = [column("event_id", chalk_catalog::ColumnType::Text), column("n", chalk_catalog::ColumnType::Long)];
    let avsc = chalk_catalog::TopicSchema::avsc_of_table("rows", &columns, true);
    let row = |id: u128, n: i64| format!("{{\"event_id\":\"{}\",\"n\":{n}}}\n", uuid::Uuid::from_u128(id));
    let submit = |door: &Door, lines: &str| {
        let topic = door.log().topics().by_name("rows").expect("the topic").id;
        let submitted =
            door.submit_rows("rows/0", lines.as_bytes(), &crate::Rows::of(topic, 7), chalk_log::Append::default());
        submitted.expect("the log takes it").wait().expect("the log takes it")
    };
    let door = place.door();
    door.log().ensure_topic("rows", &avsc, chalk_catalog::TopicSchema::NO_ENVELOPE).expect("a good schema");
    let receipt = submit(&door, &[row(1, 1), row(2, 2), row(1, 1)].concat());
    assert_eq!((receipt.accepted["rows"], receipt.duplicates, receipt.refused.len()), (2, 1, 0));
    drop(door);
    let door = place.door();
    let lines = [row(2, 2), row(2, 3), "{\"n\":4}\n".to_owned(), row(3, 3)].concat();
    let receipt = submit(&door, &lines);
    assert_eq!((receipt.accepted["rows"], receipt.duplicates), (1, 1));
    let refused: Vec<(u64, &str)> =
        receipt.refused.iter().map(|refused| (refused.line, refused.bad.reason.code())).collect();
    assert_eq!(refused, [(8, "id_conflict"), (9, "missing_field")]);
}
