//! Files pass the suites.

use chalk_connect::{ConnectError, DirectorySink, FileSink, FileSource, Place, Recovered, Sink, Source};
use chalk_connector_tests::sinks::{SinkPeer, check_sink};
use chalk_connector_tests::sources::{SourcePeer, check_source};
use chalk_event::Epoch;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use tempfile::TempDir;

struct Lines(TempDir);

impl Lines {
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        File::create(directory.path().join("lines")).expect("a file");
        Self(directory)
    }
}

impl SourcePeer for Lines {
    fn partitions(&self) -> u32 {
        1
    }

    fn add(&mut self, _: u32, records: &[Vec<u8>]) {
        let mut file = OpenOptions::new().append(true).open(self.0.path().join("lines")).expect("the file");
        records.iter().for_each(|record| file.write_all(&[record, &b"\n"[..]].concat()).expect("room"));
    }

    fn open(&self, places: &BTreeMap<u32, Place>) -> Box<dyn Source> {
        let place = places.get(&0).copied().unwrap_or_default();
        Box::new(FileSource::open(&self.0.path().join("lines"), place).expect("the file"))
    }

    fn place_after(&self, records: &[Vec<u8>], count: usize) -> Place {
        let position = records[..count].iter().map(|record| record.len() as u64 + 1).sum();
        Place { position, records: count as u64 }
    }
}

#[test]
fn a_file_is_a_source() {
    check_source(Lines::new);
}

struct OneFile(TempDir);

impl SinkPeer for OneFile {
    fn open(&self) -> Box<dyn Sink> {
        Box::new(FileSink::at(&self.0.path().join("rows")).expect("a directory"))
    }

    fn seen(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.path().join("rows")).expect("the file");
        text.lines().map(str::to_owned).collect()
    }
}

struct Directory(TempDir);

impl SinkPeer for Directory {
    fn open(&self) -> Box<dyn Sink> {
        Box::new(DirectorySink::at(&self.0.path().join("rows"), "", ".json").expect("a directory"))
    }

    fn seen(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.0.path().join("rows")).expect("the directory");
        let mut names: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        names.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        names.sort();
        let texts = names.iter().map(|path| std::fs::read_to_string(path).expect("a file"));
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

/// Each row is for one of two folders, that the suite knows nothing of.
struct InFolders(TempDir);

/// A sink that is given the suite's lines, and says which folder each is for.
struct WithFolders(DirectorySink);

impl Sink for WithFolders {
    fn recover(&mut self, committed: Option<&str>) -> Result<Recovered, ConnectError> {
        self.0.recover(committed)
    }

    fn prepare(&mut self, epoch: Epoch, lines: &str) -> Result<String, ConnectError> {
        let folder = |row: usize| ["day=1/hour=2", "day=1"][row % 2];
        let lines = lines.split_inclusive('\n').enumerate();
        self.0.prepare(epoch, &lines.map(|(row, line)| format!("{}\t{line}", folder(row))).collect::<String>())
    }

    fn commit(&mut self, epoch: Epoch) -> Result<(), ConnectError> {
        self.0.commit(epoch)
    }
}

impl SinkPeer for InFolders {
    fn open(&self) -> Box<dyn Sink> {
        let opened = DirectorySink::at(&self.0.path().join("rows"), "", ".json").expect("a directory");
        Box::new(WithFolders(opened.in_folders()))
    }

    /// Rows in order, as they are numbered in their epoch.
    fn seen(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for folder in ["rows/day=1", "rows/day=1/hour=2"] {
            for file in std::fs::read_dir(self.0.path().join(folder)).into_iter().flatten() {
                let path = file.expect("a file").path();
                if path.is_file() {
                    let text = std::fs::read_to_string(path).expect("a file");
                    rows.extend(text.lines().map(str::to_owned));
                }
            }
        }
        // What is in them first is two numbers.
        let numbers = |row: &String| {
            let digits = row.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
            digits.take(2).map(|digits| digits.parse().expect("a number")).collect::<Vec<u64>>()
        };
        rows.sort_by_key(numbers);
        rows
    }
}

#[test]
fn files_are_sinks() {
    check_sink(|| InFolders(TempDir::new().expect("a directory")));
    check_sink(|| OneFile(TempDir::new().expect("a directory")));
    check_sink(|| Directory(TempDir::new().expect("a directory")));
}
