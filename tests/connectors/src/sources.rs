//! The suite of sources.

use chalk_connect::{Chunk, Place, Polled, Source};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Whatever is waited for comes sooner, or never.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place that a source reads from, with two partitions or one.
pub trait SourcePeer {
    /// How many partitions it has.
    fn partitions(&self) -> u32;
    /// Adds records to a partition.
    fn add(&mut self, partition: u32, records: &[Vec<u8>]);
    /// Opens a source at these places.
    fn open(&self, places: &BTreeMap<u32, Place>) -> Box<dyn Source>;
    /// The place after so many records of a partition, of which `records` are all.
    fn place_after(&self, records: &[Vec<u8>], count: usize) -> Place;
}

/// A place that is a server: it goes on for ever, and away.
pub trait ServerPeer: SourcePeer {
    /// Goes away, with all connections, and comes back with all that it had.
    fn restart(&mut self);
    /// Has one partition more.
    fn add_partition(&mut self);
    /// Sends nothing until it is told to go on.
    fn hold(&mut self, held: bool);
    /// Bytes of records that it has sent.
    fn sent_bytes(&self) -> u64;
    /// What a source asks for at once is about so many bytes.
    fn fetch_bytes(&self) -> u64;
}

/// What was read: records by partition, and the chunks that they came in.
#[derive(Debug, Default)]
pub struct Read {
    /// Records by partition.
    pub records: BTreeMap<u32, Vec<Vec<u8>>>,
    /// Chunks, as they came.
    pub chunks: Vec<Chunk>,
}

impl Read {
    fn add(&mut self, chunk: Chunk) {
        let lines: Vec<Vec<u8>> =
            chunk.bytes.split_inclusive(|&byte| byte == b'\n').map(|line| line.trim_ascii_end().to_vec()).collect();
        assert_eq!(lines.len() as u64, chunk.records, "a chunk says how many records it has");
        self.records.entry(chunk.partition).or_default().extend(lines);
        self.chunks.push(chunk);
    }

    fn len(&self) -> usize {
        self.records.values().map(Vec::len).sum()
    }
}

/// Polls until there are so many records.
///
/// # Panics
/// When they do not come, or the source fails or ends.
pub fn read_records(source: &mut dyn Source, count: usize) -> Read {
    let (mut read, began) = (Read::default(), Instant::now());
    while read.len() < count {
        match source.poll(Duration::from_millis(50)).expect("the source goes on") {
            Polled::Chunk(chunk) => read.add(chunk),
            Polled::Nothing => {
                assert!(began.elapsed() < PATIENCE, "{} of {count} records came: {:?}", read.len(), source.health());
            }
            Polled::End => panic!("the source has ended after {} of {count} records", read.len()),
        }
    }
    read
}

/// Drains a source and polls until it ends.
///
/// # Panics
/// When it does not end, or fails.
pub fn read_all(source: &mut dyn Source) -> Read {
    source.drain().expect("the place says what there is");
    let (mut read, began) = (Read::default(), Instant::now());
    loop {
        match source.poll(Duration::from_millis(50)).expect("the source goes on") {
            Polled::Chunk(chunk) => read.add(chunk),
            Polled::Nothing => {
                assert!(began.elapsed() < PATIENCE, "{} records, then no end: {:?}", read.len(), source.health());
            }
            Polled::End => return read,
        }
    }
}

/// Records that differ, some of them long.
#[must_use]
pub fn records(partition: u32, range: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    range.map(|n| format!(r#"{{"p":{partition},"n":{n},"text":"{:n$}"}}"#, "", n = n % 97).into_bytes()).collect()
}

type All = BTreeMap<u32, Vec<Vec<u8>>>;

fn filled(peer: &mut dyn SourcePeer, count: usize) -> All {
    let mut all = All::new();
    for partition in 0..peer.partitions() {
        let added = records(partition, 0..count);
        peer.add(partition, &added);
        all.insert(partition, added);
    }
    all
}

/// What any source must do.
///
/// # Panics
/// When it does not.
pub fn check_source<P: SourcePeer>(make: impl Fn() -> P) {
    order_is_kept_and_positions_follow_each_other(make());
    reading_goes_on_from_every_position(make());
    the_same_place_gives_the_same_again(make());
    bytes_that_mean_nothing_are_given(make());
    an_empty_place_ends(&make());
}

/// What a source of a server must do besides.
///
/// # Panics
/// When it does not.
pub fn check_server<P: ServerPeer>(make: impl Fn() -> P) {
    what_is_added_later_comes(make());
    draining_ends_with_what_is_there(make());
    a_peer_that_comes_back_loses_nothing(make());
    a_slow_peer_is_nothing_that_happened(make());
    a_source_that_is_not_polled_asks_for_no_more(make());
    a_new_partition_is_read_from_its_beginning(make());
}

fn order_is_kept_and_positions_follow_each_other<P: SourcePeer>(mut peer: P) {
    let all = filled(&mut peer, 5000);
    let read = read_all(&mut *peer.open(&BTreeMap::new()));
    assert_eq!(read.records, all);
    let mut given: BTreeMap<u32, u64> = BTreeMap::new();
    let mut numbers: BTreeMap<u32, u64> = BTreeMap::new();
    for chunk in &read.chunks {
        let count = given.entry(chunk.partition).or_default();
        *count += chunk.records;
        let expected = peer.place_after(&all[&chunk.partition], usize::try_from(*count).expect("small"));
        assert_eq!((chunk.position, *count), (expected.position, expected.records));
        let next = numbers.entry(chunk.partition).or_insert(chunk.first);
        assert_eq!(chunk.first, *next, "records are called by numbers that follow each other");
        *next += chunk.records;
    }
}

fn reading_goes_on_from_every_position<P: SourcePeer>(mut peer: P) {
    let all = filled(&mut peer, 60);
    for count in [0, 1, 2, 31, 59, 60] {
        let places = all.iter().map(|(&partition, all)| (partition, peer.place_after(all, count))).collect();
        let read = read_all(&mut *peer.open(&places));
        for (partition, all) in &all {
            let rest = read.records.get(partition).map_or(&[][..], Vec::as_slice);
            assert_eq!(rest, &all[count..], "partition {partition} after {count} records");
        }
    }
}

fn the_same_place_gives_the_same_again<P: SourcePeer>(mut peer: P) {
    let all = filled(&mut peer, 500);
    let places = BTreeMap::from([(0, peer.place_after(&all[&0], 17))]);
    let first = read_all(&mut *peer.open(&places));
    let again = read_all(&mut *peer.open(&places));
    assert_eq!(first.records, again.records);
    assert_eq!(first.records[&0], all[&0][17..]);
}

fn bytes_that_mean_nothing_are_given<P: SourcePeer>(mut peer: P) {
    let poison = [b"{\"n\":".to_vec(), vec![0xff, 0xfe, 0x80], b"null".to_vec(), vec![b'x'; 300_000], b"{}".to_vec()];
    peer.add(0, &poison);
    let read = read_all(&mut *peer.open(&BTreeMap::new()));
    assert_eq!(read.records[&0], poison);
}

fn an_empty_place_ends<P: SourcePeer>(peer: &P) {
    assert_eq!(read_all(&mut *peer.open(&BTreeMap::new())).len(), 0);
}

/// Polls until nothing comes: a source may say first where it begins.
fn poll_until_quiet(source: &mut dyn Source) {
    while let Polled::Chunk(chunk) = source.poll(Duration::from_millis(100)).expect("a source") {
        assert_eq!(chunk.records, 0, "there are no records yet");
    }
}

fn what_is_added_later_comes<P: ServerPeer>(mut peer: P) {
    let mut source = peer.open(&BTreeMap::new());
    poll_until_quiet(&mut *source);
    for round in 0..5 {
        let added = records(0, round * 10..(round + 1) * 10);
        peer.add(0, &added);
        assert_eq!(read_records(&mut *source, 10).records[&0], added);
    }
    assert_eq!(source.health().records, 50);
}

fn draining_ends_with_what_is_there<P: ServerPeer>(mut peer: P) {
    let all = filled(&mut peer, 100);
    let mut source = peer.open(&BTreeMap::new());
    let before = read_records(&mut *source, 1);
    let after = read_all(&mut *source);
    for (partition, all) in &all {
        let parts = [&before, &after].map(|read| read.records.get(partition).cloned().unwrap_or_default());
        assert_eq!(&parts.concat(), all);
    }
}

fn a_peer_that_comes_back_loses_nothing<P: ServerPeer>(mut peer: P) {
    let mut all = filled(&mut peer, 1000);
    let mut source = peer.open(&BTreeMap::new());
    let mut read = read_records(&mut *source, 1);
    for round in 1..4 {
        peer.restart();
        for (&partition, all) in &mut all {
            let added = records(partition, round * 1000..(round + 1) * 1000);
            peer.add(partition, &added);
            all.extend(added);
        }
        read_records(&mut *source, 1).chunks.into_iter().for_each(|chunk| read.add(chunk));
    }
    read_all(&mut *source).chunks.into_iter().for_each(|chunk| read.add(chunk));
    assert_eq!(read.records, all);
    // Records that had come before it went away need no connection.
    assert!(source.health().reconnects >= 1, "{:?}", source.health());
}

fn a_slow_peer_is_nothing_that_happened<P: ServerPeer>(mut peer: P) {
    let mut source = peer.open(&BTreeMap::new());
    poll_until_quiet(&mut *source);
    peer.hold(true);
    let added = records(0, 0..100);
    peer.add(0, &added);
    let began = Instant::now();
    assert_eq!(source.poll(Duration::from_millis(200)).expect("a source"), Polled::Nothing);
    assert!(began.elapsed() < Duration::from_secs(5), "a poll waits for about as long as it is told to");
    peer.hold(false);
    assert_eq!(read_records(&mut *source, 100).records[&0], added);
}

fn a_source_that_is_not_polled_asks_for_no_more<P: ServerPeer>(mut peer: P) {
    let bound = 4 * peer.fetch_bytes() * u64::from(peer.partitions());
    let added: Vec<Vec<u8>> = (0..2048).map(|n| format!("{n:0>8192}").into_bytes()).collect();
    let all: u64 = 8 * added.iter().map(|record| record.len() as u64).sum::<u64>();
    assert!(bound < all, "the test is of no use when all fits into what may be sent");
    for _ in 0..8 {
        peer.add(0, &added);
    }
    let before = peer.sent_bytes();
    let mut source = peer.open(&BTreeMap::new());
    read_records(&mut *source, 1);
    // Whatever was on its way has come by now.
    std::thread::sleep(Duration::from_millis(300));
    let sent = peer.sent_bytes() - before;
    assert!(sent <= bound, "{sent} bytes were sent to a source that takes none, {bound} at most should be");
}

fn a_new_partition_is_read_from_its_beginning<P: ServerPeer>(mut peer: P) {
    filled(&mut peer, 10);
    let mut source = peer.open(&BTreeMap::new());
    let partitions = peer.partitions();
    let mut read = read_records(&mut *source, 10 * partitions as usize);
    peer.add_partition();
    let added = records(partitions, 0..50);
    peer.add(partitions, &added);
    read_records(&mut *source, 50).chunks.into_iter().for_each(|chunk| read.add(chunk));
    assert_eq!(read.records[&partitions], added);
    // Places of the others say nothing of it.
    let mut places: BTreeMap<u32, Place> = BTreeMap::new();
    for partition in 0..partitions {
        places.insert(partition, peer.place_after(&read.records[&partition], 10));
    }
    let again = read_all(&mut *peer.open(&places));
    assert_eq!(again.records, BTreeMap::from([(partitions, added)]));
}
