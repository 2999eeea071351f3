//! Copies follow a folder of checkpoints, on stores that fail, are cut off, damaged, or another's.

use super::super::SavedTime;
use super::manifest::Part;
use super::*;
use crate::checkpoint::{EngineState, Kept, Manifest, SavedGroups, Saver};
use chalk_catalog::ControlEvent;
use chalk_event::Epoch;
use chalk_graph::{Graph, NodeId};
use chalk_log::{Append, CommitLog, LogOptions};
use chalk_operators::GroupState;
use chalk_store::Storage;
use chalk_store::memory::{EIO, Fault, MemoryFiles};
use chalk_store::objects::Objects;
use chalk_store::runs::{OwnedValue, RunSet};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::channel;

const COMMITS: u64 = 60;

/// Checkpoints after each commit.
fn all() -> Vec<u64> {
    (1..=COMMITS).collect()
}

/// A log of [`COMMITS`] commits, the first of which was made at `from`.
fn log(from: i64) -> Arc<dyn EventLog> {
    let time = AtomicI64::new(from);
    let options = LogOptions::new(Arc::new(move || time.fetch_add(1, Ordering::Relaxed)));
    let log = CommitLog::open_in(Arc::new(MemoryFiles::new()), options).expect("a log");
    let begun = *log.durable().borrow();
    for position in begun.0..COMMITS {
        let read = ControlEvent::SourceRead { table: "notes".to_owned(), position, lines: position };
        let frames = vec![log.control_frame(&read).expect("a frame")];
        log.append(Append { frames }).and_then(|pending| pending.wait()).expect("a durable append");
    }
    Arc::new(log)
}

/// The value under a key from a checkpoint on.
fn value(upto: u64) -> Vec<u8> {
    (0..500).map(|at| (upto * 7919 + at * at) as u8).collect()
}

/// A folder of checkpoints, the store that follows it, and their log.
struct Fixture {
    folder: MemoryFiles,
    store: MemoryFiles,
    log: Arc<dyn EventLog>,
    saver: Saver,
    copier: Copier,
}

impl Fixture {
    fn new() -> Self {
        Self::over(MemoryFiles::new(), log(1000))
    }

    fn over(store: MemoryFiles, log: Arc<dyn EventLog>) -> Self {
        let folder = MemoryFiles::new();
        let manifest = Manifest::new("graph".to_owned());
        let saver = Saver::new(Graph::default(), Arc::new(folder.clone()), manifest).expect("a saver");
        let copier = copier(&folder, &store, &log);
        Self { folder, store, log, saver, copier }
    }

    /// Makes a checkpoint that has one key more.
    fn save(&mut self, upto: u64) {
        let group = GroupState { key: upto.to_be_bytes().into(), state: Some(value(upto)) };
        let (sender, groups) = channel();
        for saved in [SavedGroups::Some(NodeId(0), vec![group]), SavedGroups::Complete] {
            sender.send(saved).expect("it is received later");
        }
        let state = EngineState {
            epoch: Epoch(upto),
            upto: CommitSeq(upto),
            time: SavedTime::default(),
            inputs: BTreeMap::new(),
            groups,
            left: Vec::new(),
            held: None,
        };
        self.saver.save(state, BTreeMap::new(), &|_| false).expect("room");
    }

    fn copy(&mut self) -> Result<Option<u64>, String> {
        let copied = self.copier.copy(&|| true).map_err(|error| error.to_string())?;
        Ok(copied.map(|(_, upto)| upto.0))
    }
}

/// In so small parts that a run has several.
fn copier(folder: &MemoryFiles, store: &MemoryFiles, log: &Arc<dyn EventLog>) -> Copier {
    Copier::new(Arc::new(folder.clone()), Arc::new(store.clone()), Arc::clone(log)).in_parts_of(100)
}

fn keys(store: &MemoryFiles) -> Vec<String> {
    Storage::list(store).expect("memory")
}

fn uptos(store: &MemoryFiles) -> Vec<u64> {
    keys(store).iter().filter_map(|key| CopyManifest::upto_of(key)).collect()
}

/// The next copy that can be taken back, checked to be what the checkpoints up to it `saved`; and how many newer ones could not.
fn taken(store: &MemoryFiles, log: &Arc<dyn EventLog>, saved: &[u64]) -> (Option<u64>, usize) {
    let objects: Arc<dyn Objects> = Arc::new(store.clone());
    let mut copies = Copies::until(&objects, CommitSeq(COMMITS)).expect("a store that works");
    let folder = MemoryFiles::new();
    folder.replace("0000000007.run", b"somebody's").expect("memory");
    let mut failed = 0;
    loop {
        let fetched = copies.fetch_next(&folder, "graph", &**log);
        // What could not be taken whole leaves nothing.
        if !matches!(fetched, Ok(Some(_))) {
            assert_eq!(keys(&folder), ["0000000007.run"]);
        }
        match fetched {
            Err(_) => failed += 1,
            Ok(None) => return (None, failed),
            Ok(Some(manifest)) => {
                assert_eq!(Manifest::read(&folder).expect("memory").as_ref(), Some(&manifest));
                assert!(manifest.next_run > 8 && !manifest.runs.contains(&"0000000007.run".to_owned()));
                let runs = RunSet::open(Arc::new(folder), &manifest.runs).expect("whole runs");
                let found: Vec<_> = runs.scan().collect::<Result<_, _>>().expect("whole runs");
                let key = |upto: u64| [&[0, 0, 0], &upto.to_be_bytes()[..]].concat();
                let saved = saved.iter().filter(|&&upto| upto <= manifest.upto);
                let expected: Vec<_> = saved.map(|&upto| (key(upto), OwnedValue::Bytes(value(upto)))).collect();
                assert!(found == expected, "up to commit {}: {} keys", manifest.upto, found.len());
                return (Some(manifest.upto), failed);
            }
        }
    }
}

/// Every manifest's parts are there, and nothing else is.
fn check_whole(store: &MemoryFiles) {
    let mut named: Vec<String> = Vec::new();
    for upto in uptos(store) {
        let copy = CopyManifest::get(store, upto).expect("a whole manifest").expect("a manifest");
        named.extend(copy.parts().map(|part| part_key(&part.hash)).chain([CopyManifest::key(upto)]));
    }
    named.sort_unstable();
    named.dedup();
    assert_eq!(keys(store), named);
}

#[test]
fn copies_follow_the_folder_on_the_same_ladder() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.copy(), Ok(None), "nothing yet");
    for upto in 1..=40 {
        fixture.save(upto);
        assert_eq!(fixture.copy(), Ok(Some(upto)));
        let newest = Manifest::read(&fixture.folder).expect("memory").expect("a manifest");
        let kept = Kept::read(&fixture.folder, &newest).expect("memory");
        let kept: Vec<u64> = kept.manifests().map(|manifest| manifest.upto).chain([upto]).collect();
        assert_eq!(uptos(&fixture.store), kept);
        check_whole(&fixture.store);
        assert_eq!(taken(&fixture.store, &fixture.log, &all()), (Some(upto), 0));
    }
    // Nothing new is nothing to do, whoever looks.
    let operations = fixture.store.operations();
    assert_eq!(fixture.copy(), Ok(Some(40)));
    fixture.copier = copier(&fixture.folder, &fixture.store, &fixture.log);
    assert_eq!(fixture.copy(), Ok(Some(40)));
    assert_eq!(fixture.store.operations(), operations);
    // Earlier ones are whole as well.
    for upto in uptos(&fixture.store).into_iter().rev() {
        assert_eq!(taken(&fixture.store, &fixture.log, &all()), (Some(upto), 0));
        Objects::delete(&fixture.store, &CopyManifest::key(upto)).expect("memory");
    }
}

#[test]
fn whatever_is_cut_off_each_copy_is_whole_and_the_next_run_goes_on() {
    let mut fixture = Fixture::new();
    for upto in 1..=12 {
        fixture.save(upto);
        fixture.copy().expect("a store that works");
    }
    let mut chance = |below: usize| below - 1;
    for done in 0..=fixture.store.done() {
        let store = fixture.store.after_power_cut(done, &mut chance);
        let newest = uptos(&store).last().copied();
        assert_eq!(taken(&store, &fixture.log, &all()), (newest, 0), "after {done} operations");
        assert_eq!(
            copier(&fixture.folder, &store, &fixture.log)
                .copy(&|| true)
                .expect("a store that works")
                .map(|last| last.1),
            Some(CommitSeq(12))
        );
        check_whole(&store);
        assert_eq!(taken(&store, &fixture.log, &all()), (Some(12), 0));
    }
}

#[test]
fn a_store_that_fails_is_tried_again() {
    let mut operations = 0;
    for from in 0.. {
        let mut fixture = Fixture::new();
        fixture.save(1);
        fixture.copy().expect("a store that works");
        (2..=9).for_each(|upto| fixture.save(upto));
        let begun = fixture.store.operations();
        fixture.store.set_fault(Some(Fault { from: begun + from, count: 1, errno: EIO, half: false }));
        let first = fixture.copy();
        if first.is_ok() {
            operations = from;
            break;
        }
        let newest = uptos(&fixture.store).last().copied();
        assert_eq!(taken(&fixture.store, &fixture.log, &all()), (newest, 0));
        assert_eq!(fixture.copy(), Ok(Some(9)));
        check_whole(&fixture.store);
    }
    assert!(operations > 5, "{operations}");
}

#[test]
fn a_copy_that_was_stopped_does_not_count() {
    let mut fixture = Fixture::new();
    fixture.save(1);
    let mut left = std::cell::Cell::new(2);
    let stopped = fixture.copier.copy(&|| left.replace(left.get() - 1) > 0);
    assert_eq!(stopped.expect("a store that works"), None);
    assert_eq!((*left.get_mut(), keys(&fixture.store).len()), (-1, 2), "two parts");
    assert_eq!(taken(&fixture.store, &fixture.log, &all()), (None, 0));
    assert_eq!(fixture.copy(), Ok(Some(1)));
}

#[test]
fn what_is_damaged_is_never_taken() {
    let mut fixture = Fixture::new();
    for upto in [3, 30, 57] {
        fixture.save(upto);
        fixture.copy().expect("a store that works");
    }
    assert_eq!(uptos(&fixture.store), [3, 30, 57]);
    let mut outcomes = BTreeMap::new();
    for key in keys(&fixture.store) {
        let bytes = Storage::read(&fixture.store, &key).expect("memory").expect("an object").len();
        for bit in [0, bytes * 4 + 3, bytes * 8 - 1] {
            let store = fixture.store.copy();
            store.flip(&key, bit);
            *outcomes.entry(taken(&store, &fixture.log, &[3, 30, 57])).or_insert(0) += 1;
        }
        let store = fixture.store.copy();
        store.replace(&key, b"short").expect("memory");
        taken(&store, &fixture.log, &[3, 30, 57]);
        Objects::delete(&store, &key).expect("memory");
        taken(&store, &fixture.log, &[3, 30, 57]);
    }
    // What all share is lost for all; what only newer ones have, for these; an earlier one is not looked at.
    let kinds: Vec<_> = outcomes.into_keys().collect();
    assert_eq!(kinds, [(None, 3), (Some(3), 2), (Some(30), 1), (Some(57), 0)]);
}

#[test]
fn another_logs_copies_are_neither_used_nor_touched() {
    let mut fixture = Fixture::new();
    fixture.save(20);
    fixture.copy().expect("a store that works");
    let before = keys(&fixture.store);
    let mut other = Fixture::over(fixture.store.clone(), log(5000));
    assert_eq!(taken(&other.store, &other.log, &[20]), (None, 0));
    for upto in [10, 30] {
        other.save(upto);
        let refused = other.copy().expect_err("the place is another's");
        assert!(refused.contains("has the checkpoints of another log\n  hint"), "{refused}");
    }
    assert_eq!(keys(&fixture.store), before);
    // A log that ends before is another, too, or a part of it is lost.
    let mut ahead = Manifest::new("graph".to_owned());
    ahead.upto = COMMITS + 1;
    CopyManifest::new(ahead, 0, Vec::new()).put(&fixture.store).expect("memory");
    let refused = Fixture::over(fixture.store.clone(), Arc::clone(&fixture.log)).copy().expect_err("it is ahead");
    assert!(refused.contains("knows commit 61, but the log ends with 60"), "{refused}");
}

#[test]
fn copies_of_a_newer_build_are_refused() {
    let mut fixture = Fixture::new();
    fixture.save(20);
    fixture.copy().expect("a store that works");
    let json = r#"{"format":2,"whatever":"it has"}"#;
    let newer = format!("{:08x}\n{json}", crc32c::crc32c(json.as_bytes()));
    fixture.store.replace(&CopyManifest::key(25), newer.as_bytes()).expect("memory");
    let operations = fixture.store.operations();
    let mut again = Fixture::over(fixture.store.clone(), Arc::clone(&fixture.log));
    again.save(30);
    assert!(again.copy().expect_err("it is newer").contains("have format 2, this build reads 1: use a newer chalk"));
    assert_eq!(fixture.store.operations(), operations);
    assert_eq!(taken(&fixture.store, &fixture.log, &[20]), (Some(20), 1));
}

#[test]
fn what_the_folder_gave_up_is_given_up() {
    let mut fixture = Fixture::new();
    for upto in [10, 20, 30] {
        fixture.save(upto);
        fixture.copy().expect("a store that works");
    }
    // A start that went on from less.
    let mut again = Fixture::over(fixture.store.clone(), Arc::clone(&fixture.log));
    again.save(25);
    assert_eq!(again.copy(), Ok(Some(25)));
    assert!(!uptos(&again.store).contains(&30));
    // And one at the beginning, of other SQL.
    let mut anew = Fixture::over(fixture.store.clone(), Arc::clone(&fixture.log));
    Manifest::new("other graph".to_owned()).begin_anew(&anew.folder).expect("memory");
    assert_eq!(anew.copy(), Ok(None));
    assert_eq!(keys(&anew.store), [] as [&str; 0]);
}

#[test]
fn a_copy_of_format_1_is_read() {
    let json = concat!(
        r#"{"format":1,"commit_time":1756684800000000000,"checkpoint":{"format":PRESENT,"fingerprint":"00ff00ff00ff00ff","epoch":7,"#,
        r#""upto":21,"time":{"sources":{},"clocks":{"2":{"watermark":-5,"heard":null}}},"runs":["0000000003.run"],"next_run":4},"runs":[[{"hash":"#,
        r#""000102030405060708090a0b0c0d0e0f","bytes":33554432},{"hash":"f0000000000000000000000000000000","bytes":17}]]}"#,
    );
    // Which checkpoints can be used is another question.
    let present = serde_json::to_value(Manifest::new(String::new())).expect("JSON")["format"].to_string();
    let json = json.replace("PRESENT", &present);
    let text = format!("{:08x}\n{json}", crc32c::crc32c(json.as_bytes()));
    let store = MemoryFiles::new();
    store.replace(&CopyManifest::key(21), text.as_bytes()).expect("memory");
    let mut checkpoint = Manifest::new("00ff00ff00ff00ff".to_owned());
    (checkpoint.epoch, checkpoint.upto, checkpoint.next_run) = (7, 21, 4);
    checkpoint.time =
        serde_json::from_str(r#"{"sources":{},"clocks":{"2":{"watermark":-5,"heard":null}}}"#).expect("JSON");
    checkpoint.runs = vec!["0000000003.run".to_owned()];
    let part = |hash: &str, bytes| Part { hash: hash.to_owned(), bytes };
    let parts =
        vec![part("000102030405060708090a0b0c0d0e0f", 33_554_432), part("f0000000000000000000000000000000", 17)];
    let expected = CopyManifest::new(checkpoint, 1_756_684_800_000_000_000, vec![parts]);
    assert_eq!(CopyManifest::get(&store, 21).expect("a whole manifest"), Some(expected.clone()));
    // And it is written like this.
    expected.put(&store).expect("memory");
    assert_eq!(Storage::read(&store, &CopyManifest::key(21)).expect("memory").as_deref(), Some(text.as_bytes()));
}
