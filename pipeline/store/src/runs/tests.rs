//! Runs and sets of them against a map in memory, and against damage.

use super::format::{BlockPlace, FOOTER_BYTES, Footer, HEADER_BYTES, decode_index};
use super::{Change, KEY_BYTES_MAX, OwnedChange, OwnedValue, Run, RunError, RunSet, RunWriter, VALUE_BYTES_MAX};
use crate::{LocalFiles, Storage};
use std::collections::BTreeMap;
use std::sync::Arc;
use tempfile::TempDir;

struct Place {
    folder: TempDir,
    storage: Arc<dyn Storage>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let storage = Arc::new(LocalFiles::at(folder.path()).expect("a folder"));
        Self { folder, storage }
    }

    fn write<'a>(&self, name: &str, changes: impl IntoIterator<Item = (&'a [u8], Change<'a>)>) -> Run {
        let mut writer = RunWriter::create(&*self.storage, name).expect("a new file");
        for (key, change) in changes {
            writer.push(key, change).expect("keys in order");
        }
        let info = writer.finish().expect("a run");
        let run = Run::open(&*self.storage, name).expect("a run");
        assert_eq!(*run.info(), info);
        assert_eq!(self.bytes(name).len() as u64, info.bytes);
        run
    }

    /// Puts bytes in a file that need not last.
    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join(name), bytes).expect("a file");
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        self.storage.read(name).expect("a file that can be read").expect("a file")
    }
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Keys with much in common, and some that begin others; those of the first letters hold weights, others bytes.
    fn key(&mut self) -> Vec<u8> {
        let mut key = vec![b'a' + self.below(4) as u8];
        let length = self.below(6);
        key.extend((0..length).map(|_| b"xyz\0\xff"[self.below(5) as usize]));
        key
    }

    fn change(&mut self, key: &[u8]) -> OwnedChange {
        match (key[0] < b'c', self.below(6)) {
            (_, 0) => OwnedChange::Delete,
            (true, 1) => OwnedChange::Set(self.below(3) as i64),
            (true, _) => OwnedChange::Add(self.below(5) as i64 - 2),
            (false, 1) => OwnedChange::Put(vec![7; self.below(20_000) as usize]),
            (false, _) => OwnedChange::Put(self.next().to_le_bytes()[..self.below(9) as usize].to_vec()),
        }
    }
}

type Model = BTreeMap<Vec<u8>, OwnedValue>;

fn apply(model: &mut Model, key: &[u8], change: &OwnedChange) {
    let before = match model.remove(key) {
        Some(OwnedValue::Weight(weight)) => weight,
        _ => 0,
    };
    let now = match change {
        OwnedChange::Put(bytes) => Some(OwnedValue::Bytes(bytes.clone())),
        OwnedChange::Add(weight) => Some(OwnedValue::Weight(before + weight)),
        OwnedChange::Set(weight) => Some(OwnedValue::Weight(*weight)),
        OwnedChange::Delete => None,
    };
    if let Some(now) = now.filter(|now| *now != OwnedValue::Weight(0)) {
        model.insert(key.to_vec(), now);
    }
}

fn check(set: &RunSet, model: &Model, chance: &mut Chance) {
    let all: Model = set.scan().collect::<Result<_, _>>().expect("whole runs");
    assert_eq!(all, *model);
    for _ in 0..60 {
        let key = chance.key();
        assert_eq!(set.get(&key).expect("whole runs"), model.get(&key).cloned(), "key {key:?}");
    }
    let mut keys: Vec<Vec<u8>> = (0..60).map(|_| chance.key()).collect();
    for sorted in [false, true] {
        let mut found = Vec::new();
        set.get_each(keys.iter().map(|key| &key[..]), |key, value| found.push((key.to_vec(), value)))
            .expect("whole runs");
        let expected = keys.iter().filter_map(|key| Some((key.clone(), model.get(key)?.clone())));
        assert_eq!(found, expected.collect::<Vec<_>>(), "sorted: {sorted}");
        keys.sort_unstable();
    }
    for (lower, prefix) in [(&b"ax"[..], &b""[..]), (b"ay\0", b"a"), (b"czz", b"cz"), (b"e", b"e")] {
        let found: Vec<_> = set.scan_from(lower, prefix).collect::<Result<_, _>>().expect("whole runs");
        let expected = model.range(lower.to_vec()..).filter(|(key, _)| key.starts_with(prefix));
        let expected: Vec<_> = expected.map(|(key, value)| (key.clone(), value.clone())).collect();
        assert_eq!(found, expected, "from {lower:?}, prefix {prefix:?}");
    }
    for prefix in [&b""[..], b"a", b"bx", b"c\xff", b"d\0", b"e"] {
        let found: Vec<_> = set.scan_prefix(prefix).collect::<Result<_, _>>().expect("whole runs");
        let expected = model.iter().filter(|(key, _)| key.starts_with(prefix));
        let expected: Vec<_> = expected.map(|(key, value)| (key.clone(), value.clone())).collect();
        assert_eq!(found, expected, "prefix {prefix:?}");
    }
}

#[test]
fn sets_say_what_a_map_says() {
    for seed in 0..6 {
        let mut chance = Chance(seed);
        let place = Place::new();
        let mut set = RunSet::open(Arc::clone(&place.storage), &[] as &[&str]).expect("no runs");
        let mut model = Model::new();
        for number in 0..30 {
            let keys = chance.below(400);
            let changes: BTreeMap<Vec<u8>, OwnedChange> = (0..keys)
                .map(|_| {
                    let key = chance.key();
                    let change = chance.change(&key);
                    (key, change)
                })
                .collect();
            changes.iter().for_each(|(key, change)| apply(&mut model, key, change));
            let borrowed = changes.iter().map(|(key, change)| (&key[..], change.as_change()));
            set.push(place.write(&format!("{number}.run"), borrowed));
            check(&set, &model, &mut chance);
            let range = match chance.below(3) {
                0 => set.due(),
                1 => {
                    let (one, other) =
                        (chance.below(1 + set.runs().len() as u64), chance.below(set.runs().len() as u64));
                    Some(one.min(other) as usize..one.max(other) as usize).filter(|range| range.len() > 1)
                }
                _ => None,
            };
            if let Some(range) = range {
                let before = set.clone();
                let merged = set.merge(range.clone(), &format!("{number}.merged.run")).expect("whole runs");
                for name in set.replace(range, merged) {
                    place.storage.remove(&name).expect("a file");
                }
                check(&set, &model, &mut chance);
                check(&before, &model, &mut chance);
            }
        }
        let names: Vec<String> = set.names().map(str::to_owned).collect();
        check(&RunSet::open(Arc::clone(&place.storage), &names).expect("whole runs"), &model, &mut chance);
        let all = set.merge(0..set.runs().len(), "all.run").expect("whole runs");
        assert_eq!(all.info().entries, model.len() as u64, "nothing is kept of what is gone");
    }
}

#[test]
fn a_merge_that_is_stopped_leaves_nothing() {
    let place = Place::new();
    let keys: Vec<[u8; 4]> = (0..5000_u32).map(u32::to_be_bytes).collect();
    let mut set = RunSet::open(Arc::clone(&place.storage), &[] as &[&str]).expect("no runs");
    for name in ["0.run", "1.run"] {
        set.push(place.write(name, keys.iter().map(|key| (&key[..], Change::Add(1)))));
    }
    assert!(set.merge_while(0..2, "2.run", &|| false).expect("whole runs").is_none());
    assert_eq!(place.storage.list().expect("a folder"), ["0.run", "1.run"]);
    let merged = set.merge_while(0..2, "2.run", &|| true).expect("whole runs").expect("a run");
    assert_eq!(merged.get(&keys[7]).expect("a whole run"), Some(OwnedChange::Add(2)));
}

#[test]
fn a_scan_begins_where_it_is_told() {
    let place = Place::new();
    let keys: Vec<[u8; 8]> = (0..20_000_u64).map(|number| (2 * number).to_be_bytes()).collect();
    let run = place.write("a.run", keys.iter().map(|key| (&key[..], Change::Put(key))));
    for lower in (0..40_010_u64).step_by(97).chain([0, 1, 39_998, 39_999, 40_000]) {
        let mut scan = run.scan_from(&lower.to_be_bytes());
        for number in lower.div_ceil(2)..(lower.div_ceil(2) + 3).min(20_000) {
            let key = (2 * number).to_be_bytes();
            assert_eq!(scan.advance().expect("a whole run"), Some((&key[..], Change::Put(&key))), "from {lower}");
        }
    }
    assert_eq!(run.scan().count(), 20_000);
    assert_eq!(run.scan_from(&[0xff]).count(), 0);
}

#[test]
fn the_largest_keys_and_values_are_kept_and_larger_ones_refused() {
    let place = Place::new();
    let (long, large) = (vec![b'k'; KEY_BYTES_MAX], vec![b'v'; VALUE_BYTES_MAX]);
    let run = place
        .write("a.run", [(&b""[..], Change::Put(&large)), (&long[..], Change::Put(&large)), (b"z", Change::Delete)]);
    assert_eq!(run.get(b"").expect("a whole run"), Some(OwnedChange::Put(large.clone())));
    assert_eq!(run.get(&long).expect("a whole run"), Some(OwnedChange::Put(large.clone())));
    assert_eq!(run.get(b"z").expect("a whole run"), Some(OwnedChange::Delete));
    let mut writer = RunWriter::create(&*place.storage, "b.run").expect("a new file");
    let error = writer.push(&[&long[..], b"k"].concat(), Change::Delete).expect_err("a long key");
    assert_eq!(error.to_string(), "b.run: a key of 16777217 bytes is larger than the 16777216 that one can have");
    let error = writer.push(b"k", Change::Put(&[&large[..], b"v"].concat())).expect_err("a large value");
    assert_eq!(error.to_string(), "b.run: a value of 16777217 bytes is larger than the 16777216 that one can have");
}

#[test]
fn keys_must_ascend() {
    let place = Place::new();
    let mut writer = RunWriter::create(&*place.storage, "a.run").expect("a new file");
    writer.push(b"", Change::Delete).expect("the first key");
    writer.push(b"b", Change::Delete).expect("a later key");
    for key in [&b"b"[..], b"a", b""] {
        assert!(matches!(writer.push(key, Change::Delete), Err(RunError::Order { .. })), "{key:?}");
    }
    let error = writer.push(b"a\n", Change::Delete).expect_err("an earlier key");
    assert_eq!(error.to_string(), "a.run: key 'a\\n' does not come after the one before it");
}

#[test]
fn what_does_not_go_together_is_an_error() {
    let place = Place::new();
    let mut set = RunSet::open(Arc::clone(&place.storage), &[] as &[&str]).expect("no runs");
    set.push(place.write("0.run", [(&b"a"[..], Change::Put(b"x")), (b"b", Change::Add(i64::MAX))]));
    set.push(place.write("1.run", [(&b"a"[..], Change::Add(1)), (b"b", Change::Add(1))]));
    let error = set.get(b"a").expect_err("bytes and a weight");
    assert_eq!(error.to_string(), "0.run: a weight is added to bytes at key 'a'");
    let error = set.get(b"b").expect_err("more than 64 bits");
    assert_eq!(error.to_string(), "0.run: the sum of the weights is beyond 64 bits at key 'b'");
    assert!(matches!(set.merge(0..2, "2.run"), Err(RunError::Mixed { .. })));
    let mut scan = set.scan();
    assert!(matches!(scan.next(), Some(Err(RunError::Mixed { .. }))));
    assert!(scan.next().is_none(), "a scan ends with its error");
    set.push(place.write("3.run", [(&b"a"[..], Change::Delete), (b"b", Change::Set(2))]));
    assert_eq!(set.scan().collect::<Result<Vec<_>, _>>().expect("hidden"), [(b"b".to_vec(), OwnedValue::Weight(2))]);
}

#[test]
fn a_run_that_was_not_finished_is_refused() {
    let place = Place::new();
    let mut writer = RunWriter::create(&*place.storage, "a.run").expect("a new file");
    let value = [1; 1000];
    for number in 0..2000_u32 {
        writer.push(&number.to_be_bytes(), Change::Put(&value[..(number % 1000) as usize])).expect("keys in order");
    }
    drop(writer);
    assert!(matches!(Run::open(&*place.storage, "a.run"), Err(RunError::Damaged { .. })));
    assert!(matches!(Run::open(&*place.storage, "b.run"), Err(RunError::Storage(_))), "there is none");
    assert!(matches!(RunWriter::create(&*place.storage, "a.run"), Err(RunError::Storage(_))), "it exists");
}

/// A run of many blocks and few bytes.
fn small_run(place: &Place, name: &str) -> BTreeMap<Vec<u8>, OwnedChange> {
    let changes: BTreeMap<Vec<u8>, OwnedChange> = (0..120_i64)
        .map(|number| {
            let change = match number % 4 {
                0 => OwnedChange::Add(number * 1000),
                1 => OwnedChange::Delete,
                2 => OwnedChange::Set(-number),
                _ => OwnedChange::Put(vec![number as u8; 5000]),
            };
            (format!("key {number:03}").into_bytes(), change)
        })
        .collect();
    place.write(name, changes.iter().map(|(key, change)| (&key[..], change.as_change())));
    changes
}

/// What a damaged run gives: all of what was written, or an error.
fn read_all(place: &Place, name: &str, keys: &BTreeMap<Vec<u8>, OwnedChange>) -> Result<(), RunError> {
    let run = Run::open(&*place.storage, name)?;
    let scanned = run.scan().collect::<Result<BTreeMap<_, _>, _>>();
    for (key, change) in keys.iter().step_by(7) {
        assert!(run.get(key)?.as_ref() == Some(change), "another change than was written");
    }
    let scanned = scanned?;
    assert!(scanned == *keys, "other changes than were written");
    Ok(())
}

#[test]
fn every_damaged_byte_is_noticed() {
    let place = Place::new();
    let changes = small_run(&place, "a.run");
    read_all(&place, "a.run", &changes).expect("a whole run");
    let bytes = place.bytes("a.run");
    assert!(bytes.len() < 10_000, "{} bytes take too long", bytes.len());
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        place.put("b.run", &damaged);
        match read_all(&place, "b.run", &changes) {
            Err(RunError::Damaged { file, position, .. }) => {
                assert_eq!(file, "b.run");
                assert!(position <= at as u64, "noticed at {position}, damaged at {at}");
            }
            Err(RunError::NewerFormat { .. }) => assert!((8..10).contains(&at), "byte {at}"),
            other => panic!("byte {at}: {other:?}"),
        }
    }
    for length in 0..bytes.len() {
        place.put("b.run", &bytes[..length]);
        assert!(matches!(read_all(&place, "b.run", &changes), Err(RunError::Damaged { .. })), "{length} bytes");
    }
}

/// Bytes that nobody wrote, under checksums that match.
#[test]
fn nonsense_is_no_reason_to_panic() {
    let place = Place::new();
    let changes = small_run(&place, "a.run");
    let bytes = place.bytes("a.run");
    let footer_at = bytes.len() - FOOTER_BYTES;
    let footer_bytes: [u8; FOOTER_BYTES] = bytes[footer_at..].try_into().expect("a footer's length");
    let footer = Footer::decode(&footer_bytes, bytes.len() as u64).expect("a footer");
    let index_at = footer.index_at as usize;
    let index = &bytes[index_at..index_at + footer.index_bytes as usize];
    let blocks = decode_index(index, &footer).expect("an index");
    assert!(blocks.len() > 3, "{} blocks", blocks.len());
    let mut chance = Chance(1);
    for _ in 0..200 {
        let mut nonsense = bytes.clone();
        for _ in 0..1 + chance.below(4) {
            let at = HEADER_BYTES as u64 + chance.below(footer.index_at - HEADER_BYTES as u64);
            nonsense[at as usize] = chance.next() as u8;
        }
        let mut index = Vec::new();
        for (place, separator) in &blocks {
            let stored = &nonsense[place.position as usize..][..place.stored_bytes as usize];
            BlockPlace { crc: crc32c::crc32c(stored), ..*place }.encode(separator, &mut index);
        }
        nonsense[index_at..index_at + index.len()].copy_from_slice(&index);
        let footer = Footer { index_crc: crc32c::crc32c(&index), ..footer };
        nonsense[footer_at..].copy_from_slice(&footer.encode());
        place.put("b.run", &nonsense);
        let run = Run::open(&*place.storage, "b.run").expect("all but the blocks is whole");
        let _ = run.scan().collect::<Result<Vec<_>, _>>();
        for key in changes.keys() {
            let _ = run.get(key);
        }
    }
}

#[test]
fn a_newer_format_is_refused() {
    let place = Place::new();
    small_run(&place, "a.run");
    let mut bytes = place.bytes("a.run");
    bytes[8] = 2;
    place.put("b.run", &bytes);
    let error = Run::open(&*place.storage, "b.run").expect_err("a newer format");
    assert_eq!(error.to_string(), "b.run has format 2, this build reads up to 1: use a newer chalk");
}

#[test]
fn runs_are_small() {
    let place = Place::new();
    let mut chance = Chance(1);
    let ids: BTreeMap<[u8; 16], [u8; 8]> = (0..50_000)
        .map(|_| {
            ((u128::from(chance.next()) << 64 | u128::from(chance.next())).to_be_bytes(), chance.next().to_le_bytes())
        })
        .collect();
    let run = place.write("a.run", ids.iter().map(|(id, hash)| (&id[..], Change::Put(hash))));
    let each = run.info().bytes as f64 / run.info().entries as f64;
    assert!(each < 30.0, "{each} bytes for 24 that are random");
    let rows: Vec<String> = (0..50_000).map(|row| format!("city 1/street {:04}/house {row:08}", row / 30)).collect();
    let run = place.write("b.run", rows.iter().map(|row| (row.as_bytes(), Change::Add(1))));
    let each = run.info().bytes as f64 / run.info().entries as f64;
    assert!(each < 10.0, "{each} bytes for keys that have all but a few digits in common");
}

/// A run of format 1, byte for byte: what is stored must be readable for ever.
#[test]
fn format_1_is_these_bytes() {
    const BYTES: [&str; 6] = [
        "4348414c4b52554e01000000dff9ae1b",                                     // header
        "030461646137030562656e03040a636c656fd8040403646f7261000006000c001400", // block
        "22000000220000007bde93b8040000",                                       // index
        "0008000000000000000000000080008480000000d00060000080000000120000",     // filter
        "0020000000000000020000006000800800000200004000001008800801084000",
        "040000000000000032000000000000000f000000000000004000000000000000130b189ebcfecbc201000000e690cee352554e454e444544", // footer
    ];
    let place = Place::new();
    let changes = [
        (&b"ada"[..], Change::Put(b"7")),
        (b"ben", Change::Add(-2)),
        (b"cleo", Change::Set(300)),
        (b"dora", Change::Delete),
    ];
    place.write("a.run", changes);
    let hex: String = place.bytes("a.run").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, BYTES.concat());
    let run = Run::open(&*place.storage, "a.run").expect("a whole run");
    for (key, change) in changes {
        assert_eq!(run.get(key).expect("a whole run"), Some(change.to_owned()));
    }
}
