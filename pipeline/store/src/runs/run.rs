//! Reading a run.

use super::filter::{Filter, hash};
use super::format::{
    Block, BlockPlace, Entry, FOOTER_BYTES, FORMAT, Footer, HEADER_BYTES, Unreadable, check_header, decode_index,
};
use super::{Change, OwnedChange, RunError};
use crate::storage::{ReadFile, Storage};
use std::sync::Arc;

/// What a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInfo {
    /// Its file.
    pub name: String,
    /// How many keys it has.
    pub entries: u64,
    /// The file's bytes.
    pub bytes: u64,
}

/// An open run. Immutable; cloning it is cheap, and many threads may read it.
#[derive(Clone, Debug)]
pub struct Run(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    info: RunInfo,
    file: Arc<dyn ReadFile>,
    blocks: Vec<BlockPlace>,
    /// The blocks' separators in one piece, and where each ends.
    separators: Vec<u8>,
    separator_ends: Vec<usize>,
    filter: Filter,
}

impl Run {
    /// Opens a run: reads its footer, index and filter, not its blocks.
    ///
    /// # Errors
    /// When it does not exist, was not finished, is damaged or newer than this build.
    pub fn open(storage: &dyn Storage, name: &str) -> Result<Self, RunError> {
        let file = storage.open(name)?;
        let bytes = file.len()?;
        let damaged = |position: u64, what| RunError::Damaged { file: name.to_owned(), position, what };
        let Some(footer_at) = bytes.checked_sub(FOOTER_BYTES as u64).filter(|at| *at >= HEADER_BYTES as u64) else {
            return Err(damaged(bytes, "it is shorter than any run: it was not finished, or is cut off"));
        };
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        check_header(&header).map_err(|error| match error {
            Unreadable::Wrong(what) => damaged(0, what),
            Unreadable::Newer(found) => RunError::NewerFormat { file: name.to_owned(), found, known: FORMAT },
        })?;
        let mut footer = [0; FOOTER_BYTES];
        file.read_exact_at(&mut footer, footer_at)?;
        let footer = Footer::decode(&footer, bytes).map_err(|what| damaged(footer_at, what))?;
        let read = |position: u64, bytes: u64| {
            let mut buffer = vec![0; bytes as usize];
            file.read_exact_at(&mut buffer, position).map(|()| buffer)
        };
        let index = read(footer.index_at, footer.index_bytes)?;
        if crc32c::crc32c(&index) != footer.index_crc {
            return Err(damaged(footer.index_at, "the index's checksum does not match"));
        }
        let filter_at = footer.index_at + footer.index_bytes;
        let filter = read(filter_at, footer.filter_bytes)?;
        if crc32c::crc32c(&filter) != footer.filter_crc {
            return Err(damaged(filter_at, "the filter's checksum does not match"));
        }
        let filter = Filter::decode(&filter).ok_or_else(|| damaged(filter_at, "the filter's length is impossible"))?;
        let index = decode_index(&index, &footer)
            .ok_or_else(|| damaged(footer.index_at, "the index does not fit the footer"))?;
        let mut separators = Vec::with_capacity(index.iter().map(|(_, separator)| separator.len()).sum());
        let mut separator_ends = Vec::with_capacity(index.len());
        let mut blocks = Vec::with_capacity(index.len());
        for (place, separator) in index {
            separators.extend(separator);
            separator_ends.push(separators.len());
            blocks.push(place);
        }
        let info = RunInfo { name: name.to_owned(), entries: footer.entries, bytes };
        Ok(Self(Arc::new(Opened { info, file, blocks, separators, separator_ends, filter })))
    }

    /// Its name and size.
    #[must_use]
    pub fn info(&self) -> &RunInfo {
        &self.0.info
    }

    /// What the run says of a key. Of 100 keys that it does not have, 98 or 99 are told without reading the file.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged.
    pub fn get(&self, key: &[u8]) -> Result<Option<OwnedChange>, RunError> {
        RunLookup::new(self).get(key, hash(key))
    }

    /// All that the run says, in order of keys.
    #[must_use]
    pub fn scan(&self) -> RunScan {
        self.scan_from(&[])
    }

    /// What the run says of `lower` and the keys after it, in order.
    #[must_use]
    pub fn scan_from(&self, lower: &[u8]) -> RunScan {
        RunScan {
            next_block: self.0.block_of(lower),
            lower: Some(lower.to_vec()).filter(|lower| !lower.is_empty()),
            run: self.clone(),
            stored: Vec::new(),
            block: Block::default(),
            next_entry: 0,
            entry: None,
        }
    }
}

impl Opened {
    fn separator(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.separator_ends[before]);
        &self.separators[start..self.separator_ends[number]]
    }

    /// The only block that can have this key; 0 when there are no blocks.
    fn block_of(&self, key: &[u8]) -> usize {
        let mut range = 0..self.blocks.len();
        while !range.is_empty() {
            let middle = range.start + range.len() / 2;
            if self.separator(middle) <= key { range.start = middle + 1 } else { range.end = middle }
        }
        range.start.saturating_sub(1)
    }

    fn damaged_block(&self, number: usize) -> RunError {
        self.damaged(number, "an entry of the block cannot be read")
    }

    fn damaged(&self, block: usize, what: &'static str) -> RunError {
        RunError::Damaged { file: self.info.name.clone(), position: self.blocks[block].position, what }
    }

    /// Reads and checks a block, using the memory of `stored` and `before`.
    fn read(&self, number: usize, stored: &mut Vec<u8>, before: Block) -> Result<Block, RunError> {
        let place = &self.blocks[number];
        stored.resize(place.stored_bytes as usize, 0);
        self.file.read_exact_at(stored, place.position)?;
        Block::decode(place, stored, before).map_err(|what| self.damaged(number, what))
    }
}

/// Looks up keys of a run; the block of the last one is kept, so that neighbours are read together.
#[derive(Debug)]
pub(super) struct RunLookup<'r> {
    run: &'r Run,
    number: Option<usize>,
    stored: Vec<u8>,
    block: Block,
}

impl<'r> RunLookup<'r> {
    pub(super) fn new(run: &'r Run) -> Self {
        Self { run, number: None, stored: Vec::new(), block: Block::default() }
    }

    pub(super) fn run(&self) -> &'r Run {
        self.run
    }

    /// What the run says of a key of this hash.
    pub(super) fn get(&mut self, key: &[u8], hash: u64) -> Result<Option<OwnedChange>, RunError> {
        let run = &self.run.0;
        if run.blocks.is_empty() || !run.filter.may_have(hash) {
            return Ok(None);
        }
        let number = run.block_of(key);
        if self.number != Some(number) {
            self.number = None; // unless it can be read
            self.block = run.read(number, &mut self.stored, std::mem::take(&mut self.block))?;
            self.number = Some(number);
        }
        let found = self.block.search(key).ok_or_else(|| run.damaged_block(number))?;
        let Ok(found) = found else { return Ok(None) };
        let entry = self.block.entry(found).ok_or_else(|| run.damaged_block(number))?;
        Ok(Some(self.block.change(&entry).to_owned()))
    }
}

/// Reads a run in order, block by block. As an iterator it gives copies; [`RunScan::advance`] does not. Ends after an error.
#[derive(Debug)]
pub struct RunScan {
    run: Run,
    /// Where to begin, until that is found.
    lower: Option<Vec<u8>>,
    stored: Vec<u8>,
    block: Block,
    next_block: usize,
    next_entry: usize,
    entry: Option<Entry>,
}

impl RunScan {
    /// The next key and what the run says of it; `None` after the last.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged.
    pub fn advance(&mut self) -> Result<Option<(&[u8], Change<'_>)>, RunError> {
        self.step()?;
        Ok(self.current())
    }

    /// The key that the scan stands at, and what the run says of it.
    pub(super) fn current(&self) -> Option<(&[u8], Change<'_>)> {
        self.entry.as_ref().map(|entry| (self.block.key(entry), self.block.change(entry)))
    }

    /// Goes on to the next entry, or to the end.
    pub(super) fn step(&mut self) -> Result<(), RunError> {
        self.entry = None;
        let stepped = self.find_next();
        if stepped.is_err() {
            self.next_entry = self.block.len();
            self.next_block = self.run.0.blocks.len();
        }
        stepped
    }

    fn find_next(&mut self) -> Result<(), RunError> {
        let run = &self.run.0;
        while self.next_entry >= self.block.len() {
            if self.next_block >= run.blocks.len() {
                return Ok(());
            }
            self.block = run.read(self.next_block, &mut self.stored, std::mem::take(&mut self.block))?;
            self.next_entry = match self.lower.take() {
                None => 0,
                Some(lower) => {
                    let found = self.block.search(&lower).ok_or_else(|| run.damaged_block(self.next_block))?;
                    found.unwrap_or_else(|after| after)
                }
            };
            self.next_block += 1;
        }
        let entry = self.block.entry(self.next_entry).ok_or_else(|| run.damaged_block(self.next_block - 1))?;
        self.entry = Some(entry);
        self.next_entry += 1;
        Ok(())
    }
}

impl Iterator for RunScan {
    type Item = Result<(Vec<u8>, OwnedChange), RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().map(|entry| entry.map(|(key, change)| (key.to_vec(), change.to_owned()))).transpose()
    }
}
