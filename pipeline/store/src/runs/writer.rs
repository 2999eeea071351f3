//! Writing a run.

use super::filter::{Filter, hash};
use super::format::{BlockBuilder, Footer, encode_header};
use super::{Change, KEY_BYTES_MAX, RunError, RunInfo, VALUE_BYTES_MAX, readable};
use crate::storage::{AppendFile, Storage};

/// Handed to the file at once.
const WRITE_BYTES: usize = 256 << 10;
/// Synced at once: a large run is written in the background, and the log's own small syncs must not wait for hundreds of megabytes
/// of it.
const SYNC_BYTES: u64 = 16 << 20;

/// Writes a run: [`RunWriter::push`] in ascending order of keys, then [`RunWriter::finish`]. A run that is not finished is
/// refused when it is opened; its owner's manifest does not name it.
#[derive(Debug)]
pub struct RunWriter<'s> {
    storage: &'s dyn Storage,
    name: String,
    file: Box<dyn AppendFile>,
    /// Not yet handed to the file.
    bytes: Vec<u8>,
    position: u64,
    synced: u64,
    block: BlockBuilder,
    /// The beginning of the block's first key that tells it from the block before.
    separator: Vec<u8>,
    last_key: Vec<u8>,
    index: Vec<u8>,
    blocks: u32,
    entries: u64,
    filter: KeysSeen,
}

/// What the filter is made of.
#[derive(Debug)]
enum KeysSeen {
    /// Their hashes, when nobody said how many there would be.
    Hashes(Vec<u64>),
    Filter(Filter),
}

impl<'s> RunWriter<'s> {
    /// Begins a run in a file that must not exist yet. Keeps 8 bytes a key until it is finished.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(storage: &'s dyn Storage, name: &str) -> Result<Self, RunError> {
        Self::begin(storage, name, KeysSeen::Hashes(Vec::new()))
    }

    /// As [`RunWriter::create`], for about `keys` keys: its filter is made for so many at once, and nothing else is kept a key.
    /// When far fewer come, the filter is made smaller; when more come, more absent keys pass it.
    ///
    /// # Errors
    /// As for [`RunWriter::create`].
    pub fn create_for(storage: &'s dyn Storage, name: &str, keys: u64) -> Result<Self, RunError> {
        Self::begin(storage, name, KeysSeen::Filter(Filter::for_keys(keys.max(1))))
    }

    fn begin(storage: &'s dyn Storage, name: &str, filter: KeysSeen) -> Result<Self, RunError> {
        let file = storage.create(name)?;
        let bytes = encode_header();
        Ok(Self {
            storage,
            name: name.to_owned(),
            file,
            position: bytes.len() as u64,
            bytes,
            synced: 0,
            block: BlockBuilder::default(),
            separator: Vec::new(),
            last_key: Vec::new(),
            index: Vec::new(),
            blocks: 0,
            entries: 0,
            filter,
        })
    }

    /// Adds a key, which must come after the one before it (as bytes compare).
    ///
    /// # Errors
    /// When it does not, it or its value is too large, or the storage fails. The run cannot be gone on with after the last.
    pub fn push(&mut self, key: &[u8], change: Change<'_>) -> Result<(), RunError> {
        self.check(key, change)?;
        if self.block.is_empty() && self.entries > 0 {
            let shared = key.iter().zip(&self.last_key).take_while(|(one, other)| one == other).count();
            self.separator = key[..=shared].to_vec();
        }
        self.block.push(key, change);
        match &mut self.filter {
            KeysSeen::Hashes(hashes) => hashes.push(hash(key)),
            KeysSeen::Filter(filter) => filter.insert(hash(key)),
        }
        self.entries += 1;
        self.last_key.clear();
        self.last_key.extend(key);
        if self.block.is_full() {
            self.end_block()?;
        }
        Ok(())
    }

    fn check(&self, key: &[u8], change: Change<'_>) -> Result<(), RunError> {
        let too_large = |what, bytes, limit| Err(RunError::TooLarge { file: self.name.clone(), what, bytes, limit });
        match change {
            _ if key.len() > KEY_BYTES_MAX => too_large("key", key.len(), KEY_BYTES_MAX),
            Change::Put(bytes) if bytes.len() > VALUE_BYTES_MAX => too_large("value", bytes.len(), VALUE_BYTES_MAX),
            _ if self.entries > 0 && *key <= *self.last_key => {
                Err(RunError::Order { file: self.name.clone(), key: readable(key) })
            }
            _ => Ok(()),
        }
    }

    fn end_block(&mut self) -> Result<(), RunError> {
        let (place, stored) = self.block.finish(self.position);
        place.encode(&self.separator, &mut self.index);
        self.blocks += 1;
        self.write(&stored)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RunError> {
        self.bytes.extend(bytes);
        self.position += bytes.len() as u64;
        if self.bytes.len() >= WRITE_BYTES {
            self.file.append(&self.bytes)?;
            self.bytes.clear();
            if self.position - self.synced >= SYNC_BYTES {
                self.file.sync()?;
                self.synced = self.position;
            }
        }
        Ok(())
    }

    /// Writes index, filter and footer, and syncs the file and its folder: the run is durable when this returns.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn finish(mut self) -> Result<RunInfo, RunError> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let filter = match std::mem::replace(&mut self.filter, KeysSeen::Hashes(Vec::new())) {
            KeysSeen::Hashes(hashes) => {
                let mut filter = Filter::for_keys(self.entries);
                hashes.into_iter().for_each(|hash| filter.insert(hash));
                filter
            }
            KeysSeen::Filter(mut filter) => {
                filter.fold(self.entries);
                filter
            }
        };
        let (index, filter) = (std::mem::take(&mut self.index), filter.encode());
        let footer = Footer {
            entries: self.entries,
            index_at: self.position,
            index_bytes: index.len() as u64,
            filter_bytes: filter.len() as u64,
            index_crc: crc32c::crc32c(&index),
            filter_crc: crc32c::crc32c(&filter),
            blocks: self.blocks,
        };
        for part in [index, filter, footer.encode()] {
            self.write(&part)?;
        }
        self.file.append(&self.bytes)?;
        self.file.sync()?;
        self.storage.sync_directory()?;
        Ok(RunInfo { name: self.name, entries: self.entries, bytes: self.position })
    }
}
