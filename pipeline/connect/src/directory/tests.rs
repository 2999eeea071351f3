//! Power cuts at every operation, and what readers see afterwards.

use super::*;
use crate::FileSink;
use chalk_store::Storage;
use chalk_store::memory::{EIO, ENOSPC, Fault, MemoryFiles};

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// The rows of an epoch, some of them longer than a sector.
fn rows(epoch: u64) -> String {
    (0..1 + epoch * 7 % 23)
        .map(|row| format!("{{\"epoch\":{epoch},\"row\":{row},\"text\":\"{epoch:040}\"}}\n"))
        .collect()
}

const EPOCHS: u64 = 11;

/// The last word of the journal: an epoch and the sink's state.
type Record = (u64, String);

/// What is journalled when so many operations were done on the sink's files.
#[derive(Clone, Debug, Default)]
struct Journal(Vec<(usize, Record)>);

impl Journal {
    /// The last record of those that are certain to be there after a cut, and of those that can be.
    fn at(&self, operations: usize) -> [Option<Record>; 2] {
        let last = |is_there: &dyn Fn(usize) -> bool| {
            self.0.iter().filter(|(at, _)| is_there(*at)).map(|(_, record)| record.clone()).next_back()
        };
        [last(&|at| at < operations), last(&|at| at <= operations)]
    }
}

/// A sink of a disk, and what it is given for an epoch.
#[derive(Clone, Copy)]
struct Make {
    open: fn(&MemoryFiles) -> Box<dyn Sink>,
    rows: fn(u64) -> String,
}

fn in_directory(files: &MemoryFiles) -> DirectorySink {
    DirectorySink::within(Arc::new(files.clone()), "part-", ".json")
}

const DIRECTORY: Make = Make { open: |files| Box::new(in_directory(files)), rows };
const FOLDERS: Make = Make { open: |files| Box::new(in_directory(files).in_folders()), rows: rows_of_folders };
const FILE: Make = Make { open: |files| Box::new(FileSink::within(Arc::new(files.clone()), "rows.json")), rows };

/// The rows of an epoch, each with its folder: of one, two or three that come and go.
fn rows_of_folders(epoch: u64) -> String {
    let folder = |row: usize| ["a=1", "a=1/b=x", ""][(row * epoch as usize) % 3];
    rows(epoch).split_inclusive('\n').enumerate().map(|(row, line)| format!("{}\t{line}", folder(row))).collect()
}

fn directory(files: &MemoryFiles) -> Box<dyn Sink> {
    (DIRECTORY.open)(files)
}

/// Recovers with the journal's last record, and gives all epochs after it, as the runtime does.
fn run(make: Make, files: &MemoryFiles, record: Option<&Record>) -> Result<Journal, ConnectError> {
    let (mut sink, mut journal) = ((make.open)(files), Journal::default());
    let mut epoch = record.map_or(0, |(epoch, _)| *epoch);
    if let Recovered::Anew(state) = sink.recover(record.map(|(_, state)| state.as_str()))? {
        journal.0.push((files.done(), (0, state)));
        epoch = 0;
    }
    while epoch < EPOCHS {
        epoch += 1;
        let state = sink.prepare(Epoch(epoch), &(make.rows)(epoch))?;
        assert!(state.len() <= crate::STATE_BYTES_MAX, "{state}");
        journal.0.push((files.done(), (epoch, state)));
        sink.commit(Epoch(epoch))?;
    }
    Ok(journal)
}

/// All files, with their text.
fn contents(files: &MemoryFiles) -> Vec<(String, String)> {
    let bytes = |name: &String| files.read(name).expect("memory").expect("a file");
    let text = |name: &String| String::from_utf8_lossy(&bytes(name)).into_owned();
    files.list_folders().expect("memory").iter().map(|name| (name.clone(), text(name))).collect()
}

/// What readers of the names see.
fn seen_by_names(files: &MemoryFiles) -> String {
    let mut files = contents(files);
    files.retain(|(name, _)| !name.starts_with(['.', '_']));
    // Names of files in folders have the order, too.
    files.sort_by(|(a, _), (b, _)| file_name(a).cmp(file_name(b)));
    files.into_iter().map(|(_, text)| text).collect()
}

/// What readers of the manifest see.
fn seen_by_manifest(files: &MemoryFiles) -> String {
    let read = |name: &str| files.read(name).expect("memory").map(|bytes| String::from_utf8(bytes).expect("text"));
    let Some(manifest) = read("_manifest") else { return String::new() };
    let head: serde_json::Value = serde_json::from_str(manifest.lines().next().expect("a line")).expect("JSON");
    let parts = head["parts"].as_u64().expect("a number");
    let mut seen = String::new();
    for list in (0..parts).map(|part| read(&format!("_manifest.{part:06}")).expect("a part")).chain([manifest]) {
        for line in list.lines().skip(1) {
            let entry: serde_json::Value = serde_json::from_str(line).expect("JSON");
            seen.push_str(&read(entry["file"].as_str().expect("a name")).expect("a file that is listed"));
        }
    }
    seen
}

/// The lines in order, whatever folders they are in.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn undisturbed(make: Make) -> (MemoryFiles, Journal) {
    let files = MemoryFiles::new();
    let journal = run(make, &files, None).expect("a run without faults");
    (files, journal)
}

fn given(epochs: u64) -> String {
    (1..=epochs).map(rows).collect()
}

/// Cuts the power after so many operations, lets the next run begin, cuts it again in the middle of that, and lets a third end.
fn cut_twice(
    make: Make,
    files: &MemoryFiles,
    journal: &Journal,
    operations: usize,
    chance: &mut Chance,
) -> MemoryFiles {
    let record = journal.at(operations)[chance.below(2)].clone();
    let left = files.after_power_cut(operations, &mut |below| chance.below(below));
    // The trace of a disk begins when its power comes back.
    let second = run(make, &left, record.as_ref()).unwrap_or_else(|error| panic!("cut after {operations}: {error}"));
    let again = chance.below(left.done() + 1);
    let record = second.at(again)[chance.below(2)].clone().or(record);
    let left = left.after_power_cut(again, &mut |below| chance.below(below));
    run(make, &left, record.as_ref()).unwrap_or_else(|error| panic!("cut after {operations}, then {again}: {error}"));
    left
}

#[test]
fn power_cuts_at_every_operation_change_nothing() {
    for make in [DIRECTORY, FOLDERS, FILE] {
        let (files, journal) = undisturbed(make);
        assert_eq!(sorted(&seen_by_names(&files)), sorted(&given(EPOCHS)));
        for operations in 0..=files.done() {
            for seed in 0..12 {
                let mut chance = Chance(operations as u64 * 100 + seed);
                let left = cut_twice(make, &files, &journal, operations, &mut chance);
                assert_eq!(contents(&left), contents(&files), "cut after {operations}, seed {seed}");
            }
        }
    }
}

#[test]
fn what_is_there_after_a_power_cut_is_what_was_committed() {
    for make in [DIRECTORY, FOLDERS] {
        let (files, journal) = undisturbed(make);
        assert_eq!(sorted(&seen_by_manifest(&files)), sorted(&given(EPOCHS)));
        for operations in 0..=files.done() {
            for record in journal.at(operations) {
                let mut chance = Chance(operations as u64);
                let left = files.after_power_cut(operations, &mut |below| chance.below(below));
                let state = record.as_ref().map(|(_, state)| state.as_str());
                let recovered = (make.open)(&left).recover(state).expect("a directory that can be recovered");
                let epochs = if recovered == Recovered::GoesOn { record.expect("a record").0 } else { 0 };
                let (names, manifest) = (seen_by_names(&left), seen_by_manifest(&left));
                assert_eq!(sorted(&names), sorted(&given(epochs)), "cut after {operations}");
                assert_eq!(manifest, names, "cut after {operations}");
            }
        }
    }
}

#[test]
fn files_of_folders_have_the_rows_of_their_folder_in_order() {
    let (files, _) = undisturbed(FOLDERS);
    let mut by_folder = BTreeMap::<String, String>::new();
    for epoch in 1..=EPOCHS {
        for line in rows_of_folders(epoch).split_inclusive('\n') {
            let (folder, line) = line.split_once('\t').expect("a folder");
            by_folder.entry(folder.to_owned()).or_default().push_str(line);
        }
    }
    let mut found = BTreeMap::<String, String>::new();
    for (name, text) in contents(&files).into_iter().filter(|(name, _)| !name.starts_with(['.', '_'])) {
        found.entry(folder(&name).to_owned()).or_default().push_str(&text);
    }
    assert_eq!(found, by_folder);
}

/// SQL that no longer divides rows among folders takes back what the last run had in them without a record.
#[test]
fn a_directory_goes_on_without_folders_and_with_them_again() {
    let (files, journal) = undisturbed(FOLDERS);
    let record = journal.0[EPOCHS as usize - 4].1.clone();
    let after = run(DIRECTORY, &files, Some(&record)).expect("a run");
    assert_eq!(sorted(&seen_by_names(&files)), sorted(&given(EPOCHS)));
    let record = after.0[1].1.clone();
    run(FOLDERS, &files, Some(&record)).expect("a run");
    assert_eq!(sorted(&seen_by_names(&files)), sorted(&given(EPOCHS)));
    assert_eq!(seen_by_manifest(&files), seen_by_names(&files));
}

#[test]
fn a_list_of_prepared_files_that_is_damaged_is_refused() {
    let (files, journal) = undisturbed(FOLDERS);
    // The power is cut when the last commit is recorded, and nobody has told the sink.
    let operations = journal.0.last().expect("a record").0;
    let (_, state) = &journal.0.last().expect("a record").1;
    let left = files.after_power_cut(operations, &mut |below| below - 1);
    let list = left.read("_prepared").expect("memory").expect("a list");
    for bit in 0..list.len() * 8 {
        let damaged = left.copy();
        damaged.flip("_prepared", bit);
        let before = contents(&damaged);
        assert!((FOLDERS.open)(&damaged).recover(Some(state)).is_err(), "bit {bit} turned over");
        assert_eq!(contents(&damaged), before, "bit {bit} turned over");
    }
    let newer = String::from_utf8(list).expect("text").replacen("\"format\":1", "\"format\":2", 1);
    left.replace("_prepared", newer.as_bytes()).expect("memory");
    let error = (FOLDERS.open)(&left).recover(Some(state)).expect_err("a newer format").to_string();
    assert!(error.contains("_prepared has format 2; this build knows 1"), "{error}");
}

#[test]
fn rows_without_a_record_are_taken_back() {
    for make in [DIRECTORY, FOLDERS, FILE] {
        let (files, journal) = undisturbed(make);
        let all = contents(&files);
        // The journal knows nothing of the last four.
        let record = journal.0[EPOCHS as usize - 4].1.clone();
        assert_eq!(record.0, EPOCHS - 4);
        (make.open)(&files).recover(Some(&record.1)).expect("a sink");
        assert_eq!(sorted(&seen_by_names(&files)), sorted(&given(EPOCHS - 4)));
        run(make, &files, Some(&record)).expect("a run");
        assert_eq!(contents(&files), all);
    }
}

#[test]
fn what_is_removed_is_written_anew() {
    for make in [DIRECTORY, FOLDERS, FILE] {
        let (files, journal) = undisturbed(make);
        let record = journal.0.last().expect("a record").1.clone();
        let all = contents(&files);
        for (name, _) in &all {
            files.remove(name).expect("memory");
        }
        run(make, &files, Some(&record)).expect("a run");
        assert_eq!(contents(&files), all);
    }
}

#[test]
fn a_directory_that_others_have_changed_is_refused_and_left_as_it_is() {
    let (files, journal) = undisturbed(DIRECTORY);
    let (_, state) = &journal.0.last().expect("a record").1;
    let manifest = files.read("_manifest").expect("memory").expect("a manifest");
    let refused = |bytes: &[u8], state: Option<&str>| {
        files.replace("_manifest", bytes).expect("memory");
        let before = contents(&files);
        let error = directory(&files).recover(state).expect_err("a directory that was changed").to_string();
        assert_eq!(contents(&files), before, "{error}");
        error
    };
    for bit in 0..manifest.len() * 8 {
        let mut damaged = manifest.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        files.replace("_manifest", &damaged).expect("memory");
        assert!(directory(&files).recover(Some(state)).is_err(), "bit {bit} turned over");
    }
    let newer = String::from_utf8(manifest.clone()).expect("text").replacen("\"format\":1", "\"format\":2", 1);
    assert_eq!(
        refused(newer.as_bytes(), Some(state)),
        "_manifest has format 2; this build knows 1\n  hint: use the build that wrote it, or a newer one"
    );
    assert!(refused(b"notes of somebody else\n", None).contains("damaged first line"));
    let (_, early) = &journal.0[3].1;
    files.replace("_manifest", &manifest).expect("memory");
    directory(&files).recover(Some(early)).expect("the earlier state");
    let error = directory(&files).recover(Some(state)).expect_err("files are missing").to_string();
    assert!(error.contains("lists 3 files, but 11 were committed"), "{error}");
}

#[test]
fn a_full_disk_is_got_over_and_a_broken_one_is_not() {
    for make in [DIRECTORY, FOLDERS, FILE] {
        let (whole, _) = undisturbed(make);
        for from in 0..whole.operations() {
            for errno in [ENOSPC, EIO] {
                let files = MemoryFiles::new();
                files.set_fault(Some(Fault { from, count: 1, errno, half: true }));
                let (mut sink, mut retried) = ((make.open)(&files), 0);
                let mut again = |attempt: &mut dyn FnMut() -> Result<(), ConnectError>| match attempt() {
                    Err(error) if error.is_full() => {
                        retried += 1;
                        attempt()
                    }
                    done => done,
                };
                let mut all = || {
                    again(&mut || sink.recover(None).map(drop))?;
                    for epoch in 1..=EPOCHS {
                        again(&mut || sink.prepare(Epoch(epoch), &(make.rows)(epoch)).map(drop))?;
                        again(&mut || sink.commit(Epoch(epoch)))?;
                    }
                    Ok::<(), ConnectError>(())
                };
                match all() {
                    Ok(()) => {
                        assert_eq!(contents(&files), contents(&whole), "operation {from}");
                        assert!(retried <= 1);
                    }
                    Err(error) => assert!(errno == EIO || error.to_string().contains("sync"), "{from}: {error}"),
                }
            }
        }
    }
}

/// Written by the first build that had such sinks; not to be written again.
#[test]
fn a_directory_of_an_earlier_build_is_gone_on_with() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/sink-1");
    let files = MemoryFiles::new();
    for entry in std::fs::read_dir(&golden).expect("golden files").flatten() {
        let name = entry.file_name().into_string().expect("a name");
        files.replace(&name, &std::fs::read(entry.path()).expect("a golden file")).expect("memory");
    }
    let before = contents(&files);
    let state =
        r#"{"files":2,"last":{"file":"day-0000000001.json","epoch":9,"rows":1,"bytes":27,"crc32c":"3949fc7d"}}"#;
    let mut sink = DirectorySink::within(Arc::new(files.clone()), "day-", ".json");
    assert_eq!(sink.recover(Some(state)).expect("a directory of format 1"), Recovered::GoesOn);
    assert_eq!(contents(&files), before);
    sink.prepare(Epoch(10), "{\"reader\":\"Dot\",\"pages\":1}\n").expect("memory");
    sink.commit(Epoch(10)).expect("memory");
    let seen = seen_by_manifest(&files);
    assert_eq!((seen.lines().count(), seen.lines().last()), (4, Some("{\"reader\":\"Dot\",\"pages\":1}")));
    assert_eq!(seen_by_names(&files), seen);
}

/// Written by the first build that had folders; not to be written again. The last commit is prepared, and recorded.
#[test]
fn folders_of_an_earlier_build_are_gone_on_with() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/sink-folders-1");
    let files = MemoryFiles::new();
    let on_disk = chalk_store::LocalFiles::existing(&golden).expect("golden files");
    for name in on_disk.list_folders().expect("golden files") {
        files.replace(&name, &on_disk.read(&name).expect("a golden file").expect("a golden file")).expect("memory");
    }
    let state = r#"{"folders":{"files":6,"with_last":3,"list_crc32c":"3eadba87","last_crc32c":"342acc8a"}}"#;
    let mut sink = in_directory(&files).in_folders();
    assert_eq!(sink.recover(Some(state)).expect("folders of format 1"), Recovered::GoesOn);
    assert_eq!(sorted(&seen_by_names(&files)), sorted(&given(2)));
    assert_eq!(seen_by_manifest(&files), seen_by_names(&files));
}
