//! The byte layout of a run, format 1. Numbers of fixed length are little-endian; a varint is LEB128, 7 bits a byte, least first.
//!
//! ```text
//! limits   key ≤ 16 MiB · value ≤ 16 MiB · entries in a block < 2^16 · blocks < 2^32
//!          a block is closed when its entries have 32 KiB: larger only by the entry that closed it
//!
//! run      = header block* index filter footer
//!
//! header   =  0  8 magic "CHALKRUN"            16 bytes
//!             8  2 format
//!            10  2 zero
//!            12  4 CRC32C of bytes 0..12
//!
//! block    =  as the index says: plain where its stored length is its plain length, else one LZ4 block without a length
//! plain    =  entry*
//!             2 offset of each entry           for binary search
//! entry    =  varint length of key
//!             varint 4 × length of value + kind
//!             . key
//!             . value
//! kind     =  0 Put: the value is the bytes    1 Add  2 Set: the value is a zigzag varint    3 Delete: no value
//!
//! index    =  of each block:
//!             4 stored length     4 plain length
//!             4 CRC32C of the stored bytes     2 number of entries
//!             varint length of separator
//!             . separator: the shortest beginning of the block's first key that comes after all keys of the block before; empty
//!               for the first block
//!             The first block stands at 16, each after the one before, the index after the last.
//!
//! filter   =  64 × lines: a Bloom filter in lines of 512 bits, 10 bits a key (see `filter.rs`); stands after the index
//!
//! footer   =  0  8 number of entries           56 bytes, the file's last
//!             8  8 position of the index
//!            16  8 length of the index
//!            24  8 length of the filter
//!            32  4 CRC32C of the index
//!            36  4 CRC32C of the filter
//!            40  4 number of blocks
//!            44  4 CRC32C of bytes 0..44
//!            48  8 magic "RUNENDED"
//! ```

use super::Change;
use std::cmp::Ordering;
use std::ops::Range;

pub(super) const FORMAT: u16 = 1;
pub(super) const HEADER_BYTES: usize = 16;
pub(super) const FOOTER_BYTES: usize = 56;
pub(super) const BLOCK_BYTES: usize = 32 << 10;

const MAGIC: &[u8; 8] = b"CHALKRUN";
const END_MAGIC: &[u8; 8] = b"RUNENDED";
const OFFSET_BYTES: usize = 2;
/// Entries are small and many: a block with more could not count them.
const ENTRIES_MAX: usize = u16::MAX as usize;

const PUT: u64 = 0;
const ADD: u64 = 1;
const SET: u64 = 2;
const DELETE: u64 = 3;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// They are not what was written.
    Wrong(&'static str),
    /// They were written by a newer build.
    Newer(u16),
}

/// The file's last bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) entries: u64,
    pub(super) index_at: u64,
    pub(super) index_bytes: u64,
    pub(super) filter_bytes: u64,
    pub(super) index_crc: u32,
    pub(super) filter_crc: u32,
    pub(super) blocks: u32,
}

/// Where a block stands, and what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockPlace {
    pub(super) position: u64,
    pub(super) stored_bytes: u32,
    pub(super) plain_bytes: u32,
    pub(super) crc: u32,
    pub(super) entries: u16,
}

/// An entry's place in the plain bytes of its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    key: Range<usize>,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Put(Range<usize>),
    Add(i64),
    Set(i64),
    Delete,
}

/// Reads what was written; `None` where the bytes end too early or no number is.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<Range<usize>> {
        let range = self.at..self.at.checked_add(bytes)?;
        self.bytes.get(range.clone())?;
        self.at = range.end;
        Some(range)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let range = self.take(N)?;
        self.bytes[range].try_into().ok()
    }
    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
    fn bytes(&mut self, bytes: usize) -> Option<&'a [u8]> {
        self.take(bytes).map(|range| &self.bytes[range])
    }
}

fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

pub(super) fn encode_header() -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend([0, 0]);
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

pub(super) fn check_header(bytes: &[u8; HEADER_BYTES]) -> Result<(), Unreadable> {
    if !bytes.starts_with(MAGIC) {
        return Err(Unreadable::Wrong("it does not begin as a run does"));
    }
    let format = u16::from_le_bytes([bytes[8], bytes[9]]);
    if format > FORMAT {
        return Err(Unreadable::Newer(format));
    }
    if *bytes != *encode_header() {
        return Err(Unreadable::Wrong("the header is not one that was ever written"));
    }
    Ok(())
}

impl Footer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        bytes.extend(self.entries.to_le_bytes());
        bytes.extend(self.index_at.to_le_bytes());
        bytes.extend(self.index_bytes.to_le_bytes());
        bytes.extend(self.filter_bytes.to_le_bytes());
        bytes.extend(self.index_crc.to_le_bytes());
        bytes.extend(self.filter_crc.to_le_bytes());
        bytes.extend(self.blocks.to_le_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes.extend(END_MAGIC);
        bytes
    }

    /// The footer of a file of `file_bytes`.
    pub(super) fn decode(bytes: &[u8; FOOTER_BYTES], file_bytes: u64) -> Result<Self, &'static str> {
        if !bytes.ends_with(END_MAGIC) {
            return Err("it does not end as a run does: it was not finished, or is cut off");
        }
        let mut reader = Reader { bytes, at: 44 };
        if reader.u32() != Some(crc32c::crc32c(&bytes[..44])) {
            return Err("the footer's checksum does not match");
        }
        reader.at = 0;
        let mut read = || {
            Some(Self {
                entries: reader.u64()?,
                index_at: reader.u64()?,
                index_bytes: reader.u64()?,
                filter_bytes: reader.u64()?,
                index_crc: reader.u32()?,
                filter_crc: reader.u32()?,
                blocks: reader.u32()?,
            })
        };
        let footer = read().ok_or("the footer is too short")?;
        let parts = [footer.index_at, footer.index_bytes, footer.filter_bytes, FOOTER_BYTES as u64];
        if parts.into_iter().try_fold(0_u64, u64::checked_add) != Some(file_bytes) {
            return Err("the parts that the footer names do not fit the file's length");
        }
        Ok(footer)
    }
}

impl BlockPlace {
    pub(super) fn encode(&self, separator: &[u8], into: &mut Vec<u8>) {
        into.extend(self.stored_bytes.to_le_bytes());
        into.extend(self.plain_bytes.to_le_bytes());
        into.extend(self.crc.to_le_bytes());
        into.extend(self.entries.to_le_bytes());
        put_varint(into, separator.len() as u64);
        into.extend(separator);
    }
}

/// The blocks of an index whose checksum matches, with their separators; `None` when it does not fit the footer all the same.
pub(super) fn decode_index<'a>(bytes: &'a [u8], footer: &Footer) -> Option<Vec<(BlockPlace, &'a [u8])>> {
    let mut reader = Reader { bytes, at: 0 };
    let mut position = HEADER_BYTES as u64;
    let mut entries = 0;
    let mut blocks: Vec<(BlockPlace, &[u8])> = Vec::new();
    for _ in 0..footer.blocks {
        let place = BlockPlace {
            position,
            stored_bytes: reader.u32()?,
            plain_bytes: reader.u32()?,
            crc: reader.u32()?,
            entries: reader.u16()?,
        };
        let length = usize::try_from(reader.varint()?).ok()?;
        let separator = reader.bytes(length)?;
        let ascending = blocks.last().is_none_or(|(_, before)| *before < separator);
        if place.stored_bytes > place.plain_bytes || place.entries == 0 || !ascending {
            return None;
        }
        position += u64::from(place.stored_bytes);
        entries += u64::from(place.entries);
        blocks.push((place, separator));
    }
    let fits = reader.at == bytes.len() && position == footer.index_at && entries == footer.entries;
    fits.then_some(blocks)
}

/// Collects the entries of a block.
#[derive(Debug, Default)]
pub(super) struct BlockBuilder {
    bytes: Vec<u8>,
    offsets: Vec<u16>,
}

impl BlockBuilder {
    pub(super) fn push(&mut self, key: &[u8], change: Change<'_>) {
        // Entries begin before the block is full, so that 16 bits hold every offset.
        self.offsets.push(self.bytes.len() as u16);
        put_varint(&mut self.bytes, key.len() as u64);
        let number = |kind: u64, weight: i64| {
            let mut bytes = Vec::with_capacity(10);
            put_varint(&mut bytes, zigzag(weight));
            (kind, bytes)
        };
        let (kind, owned) = match change {
            Change::Put(bytes) => {
                put_varint(&mut self.bytes, ((bytes.len() as u64) << 2) | PUT);
                self.bytes.extend(key);
                self.bytes.extend(bytes);
                return;
            }
            Change::Add(weight) => number(ADD, weight),
            Change::Set(weight) => number(SET, weight),
            Change::Delete => (DELETE, Vec::new()),
        };
        put_varint(&mut self.bytes, ((owned.len() as u64) << 2) | kind);
        self.bytes.extend(key);
        self.bytes.extend(owned);
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BLOCK_BYTES || self.offsets.len() == ENTRIES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The block's place if it stood at `position`, and its stored bytes; the builder is empty again.
    pub(super) fn finish(&mut self, position: u64) -> (BlockPlace, Vec<u8>) {
        let mut plain = std::mem::take(&mut self.bytes);
        plain.extend(self.offsets.iter().flat_map(|offset| offset.to_le_bytes()));
        let (entries, plain_bytes) = (self.offsets.len() as u16, plain.len() as u32);
        self.offsets.clear();
        let packed = lz4_flex::block::compress(&plain);
        // Unpacking costs time at every read: it has to be worth something.
        let stored = if packed.len() + plain.len() / 16 < plain.len() { packed } else { plain };
        let crc = crc32c::crc32c(&stored);
        (BlockPlace { position, stored_bytes: stored.len() as u32, plain_bytes, crc, entries }, stored)
    }
}

/// The plain bytes of a block.
#[derive(Debug, Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    entries: usize,
    /// Where the entries end and their offsets begin.
    entries_end: usize,
}

impl Block {
    /// Unpacks what stands at `place`, into the memory of `before`.
    pub(super) fn decode(place: &BlockPlace, stored: &[u8], before: Self) -> Result<Self, &'static str> {
        if crc32c::crc32c(stored) != place.crc {
            return Err("the block's checksum does not match");
        }
        let mut bytes = before.bytes;
        let length = place.plain_bytes as usize;
        if place.stored_bytes == place.plain_bytes {
            bytes.clear();
            bytes.extend(stored);
        } else {
            bytes.resize(length, 0);
            match lz4_flex::block::decompress_into(stored, &mut bytes) {
                Ok(unpacked) if unpacked == length => {}
                _ => return Err("the block cannot be unpacked"),
            }
        }
        let entries = usize::from(place.entries);
        let entries_end = length.checked_sub(entries * OFFSET_BYTES).ok_or("the block is too short")?;
        Ok(Self { bytes, entries, entries_end })
    }

    pub(super) fn len(&self) -> usize {
        self.entries
    }

    /// The entry of a number less than [`Block::len`]; `None` when the bytes there are none.
    pub(super) fn entry(&self, number: usize) -> Option<Entry> {
        let offset = Reader { bytes: &self.bytes, at: self.entries_end + number * OFFSET_BYTES }.u16()?;
        let mut reader = Reader { bytes: self.bytes.get(..self.entries_end)?, at: usize::from(offset) };
        let key = usize::try_from(reader.varint()?).ok()?;
        let head = reader.varint()?;
        let key = reader.take(key)?;
        let value = usize::try_from(head >> 2).ok()?;
        let kind = match head & 3 {
            PUT => Kind::Put(reader.take(value)?),
            ADD => Kind::Add(unzigzag(reader.varint()?)),
            SET => Kind::Set(unzigzag(reader.varint()?)),
            _ => Kind::Delete,
        };
        Some(Entry { key, kind })
    }

    pub(super) fn key(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.key.clone()]
    }

    pub(super) fn change(&self, entry: &Entry) -> Change<'_> {
        match &entry.kind {
            Kind::Put(bytes) => Change::Put(&self.bytes[bytes.clone()]),
            Kind::Add(weight) => Change::Add(*weight),
            Kind::Set(weight) => Change::Set(*weight),
            Kind::Delete => Change::Delete,
        }
    }

    /// The number of the entry with this key, or of the first after it; `None` when an entry cannot be read.
    pub(super) fn search(&self, key: &[u8]) -> Option<Result<usize, usize>> {
        let mut range = 0..self.entries;
        while !range.is_empty() {
            let middle = range.start + range.len() / 2;
            match self.key(&self.entry(middle)?).cmp(key) {
                Ordering::Less => range.start = middle + 1,
                Ordering::Equal => return Some(Ok(middle)),
                Ordering::Greater => range.end = middle,
            }
        }
        Some(Err(range.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, -1, 63, -64, 64, 300, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, zigzag(value));
            let mut reader = Reader { bytes: &bytes, at: 0 };
            assert_eq!(reader.varint().map(unzigzag), Some(value));
            assert_eq!(reader.at, bytes.len());
        }
        assert_eq!(Reader { bytes: &[0xff; 11], at: 0 }.varint(), None, "a number that does not end");
    }

    #[test]
    fn blocks_come_back() {
        let changes = [Change::Put(b"seven"), Change::Put(b""), Change::Add(-3), Change::Set(300), Change::Delete];
        let mut builder = BlockBuilder::default();
        let keys: Vec<String> = (0..changes.len()).map(|number| format!("key {number}")).collect();
        for (key, change) in keys.iter().zip(changes) {
            builder.push(key.as_bytes(), change);
        }
        let (place, stored) = builder.finish(16);
        assert!(builder.is_empty());
        let block = Block::decode(&place, &stored, Block::default()).expect("what was written");
        for (number, (key, change)) in keys.iter().zip(changes).enumerate() {
            let entry = block.entry(number).expect("an entry");
            assert_eq!((block.key(&entry), block.change(&entry)), (key.as_bytes(), change));
            assert_eq!(block.search(key.as_bytes()), Some(Ok(number)));
        }
        assert_eq!(block.search(b"key 2x"), Some(Err(3)));
        assert_eq!(block.search(b"a"), Some(Err(0)));
        assert_eq!(block.search(b"z"), Some(Err(5)));
    }

    #[test]
    fn the_layout_is_the_one_above() {
        let footer = Footer {
            entries: 1,
            index_at: 20,
            index_bytes: 15,
            filter_bytes: 64,
            index_crc: 5,
            filter_crc: 6,
            blocks: 1,
        };
        let bytes: [u8; FOOTER_BYTES] = footer.encode().try_into().expect("a footer's length");
        assert_eq!(Footer::decode(&bytes, 155), Ok(footer));
        assert!(Footer::decode(&bytes, 156).is_err(), "of a longer file");
        let header: [u8; HEADER_BYTES] = encode_header().try_into().expect("a header's length");
        assert_eq!(check_header(&header), Ok(()));
        let mut newer = header;
        newer[8] = 2;
        assert_eq!(check_header(&newer), Err(Unreadable::Newer(2)));
        let mut builder = BlockBuilder::default();
        builder.push(b"ab", Change::Add(-1));
        assert_eq!(builder.finish(16).1, [2, 5, b'a', b'b', 1, 0, 0]);
    }
}
