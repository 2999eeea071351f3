//! What the door remembers of accepted events: their ids, and the values that others point at.
//!
//! ```text
//!            recent ──too many──▶ frozen ──written──▶ runs ──merged──▶ fewer runs
//!            a map                at most two,        in ids/
//!                                 still read
//! ```

use crate::error::DoorError;
use crate::identity::push_plain;
use crate::keeper::Kept;
use crate::rules::{KeptUnder, Rules};
use chalk_codec::Cell;
use chalk_event::CommitSeq;
use chalk_log::Pending;
use chalk_store::runs::{OwnedValue, RunSet};
use hashbrown::{HashMap, HashSet};
use std::collections::VecDeque;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// An event's id.
pub(crate) type Id = [u8; 16];

/// Before an id's bytes.
const ID: u8 = 1;
/// Before a value that others point at.
const VALUE: u8 = 2;
/// Before the beginning of such a value, its length and its hash, where it is too long for a key.
const LONG_VALUE: u8 = 3;

/// Values' keys with more bytes than this are shortened.
const VALUE_KEY_BYTES_MAX: usize = 1024;
/// How many parts may wait to be written.
const FROZEN_MAX: usize = 2;
/// How many values that were found in runs are kept at hand, twice.
const FOUND_MAX: usize = 8192;

/// What the door remembers of accepted events.
#[derive(Debug)]
pub(crate) struct Memory {
    // configuration
    /// [`Memory::recent`] is frozen when it has so many entries.
    pub(crate) recent_max: usize,
    // state
    pub(crate) recent: Part,
    /// Oldest first.
    pub(crate) frozen: VecDeque<Frozen>,
    /// What is on disk; `None` when nothing is to be kept there.
    pub(crate) runs: Option<RunSet>,
    /// The topics' rules that all values are remembered by.
    pub(crate) rules: Arc<Rules>,
    /// Entries of `recent` that are not in the log's order yet.
    unsettled: Vec<Entry>,
    /// Values that were found in runs lately: reading a block for each event would take longer than all else.
    found: Found,
    /// How many ids were accepted since the last part was frozen.
    pub(crate) accepted: usize,
    /// Why the last attempt to write failed; `None` when it is worth trying.
    pub(crate) failure: Option<Arc<str>>,
    /// The door is closing: what is frozen is still written, then the keeper ends.
    pub(crate) closing: bool,
    key: Vec<u8>,
}

/// Ids and values of a stretch of the log.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// Content hash by id.
    pub(crate) ids: HashMap<Id, u64>,
    /// Values, as keys.
    pub(crate) values: HashSet<Box<[u8]>>,
}

/// A part that changes no more and waits to be written.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) part: Arc<Part>,
    /// It and all before it are all that the log has up to a commit.
    pub(crate) upto: Upto,
    /// The rules by which values were remembered.
    pub(crate) rules: Arc<Rules>,
}

/// How far a part goes.
#[derive(Debug)]
pub(crate) enum Upto {
    Known(Extent),
    /// To be known once this empty append is durable, which took its place after all of the part's events; `None` while that is waited
    /// for, and when it failed.
    Barrier(Option<Pending>),
}

impl Frozen {
    /// The part for writing it; it stays where it is until it is written.
    pub(crate) fn at_work(&mut self) -> Self {
        let upto = std::mem::replace(&mut self.upto, Upto::Barrier(None));
        Self { part: Arc::clone(&self.part), upto, rules: Arc::clone(&self.rules) }
    }
}

/// How far a part and all before it go in the log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    /// They have everything of the commits up to this one,
    pub(crate) covers: CommitSeq,
    /// and nothing of commits after this one.
    pub(crate) within: CommitSeq,
}

impl Extent {
    /// All commits up to one.
    pub(crate) fn upto(commit: CommitSeq) -> Self {
        Self { covers: commit, within: commit }
    }

    /// All appends before one that is in this commit: it has more that came before, and may have some that came after.
    pub(crate) fn before(commit: CommitSeq) -> Self {
        Self { covers: CommitSeq(commit.0.saturating_sub(1)), within: commit }
    }
}

#[derive(Debug)]
enum Entry {
    Id(Id),
    Value(Box<[u8]>),
}

impl Part {
    pub(crate) fn len(&self) -> usize {
        self.ids.len() + self.values.len()
    }
}

/// The key of an id in a run.
pub(crate) fn id_key(id: &Id) -> [u8; 17] {
    let mut key = [ID; 17];
    key[1..].copy_from_slice(id);
    key
}

/// The key of a value that others point at: its column, its tenant, itself.
fn value_key(key: &mut Vec<u8>, kept_under: &KeptUnder, tenant: &str, value: &Cell<'_>) {
    key.clear();
    key.push(VALUE);
    key.extend(kept_under.topic.0.to_be_bytes());
    for part in [&kept_under.column, tenant] {
        key.extend((part.len() as u32).to_be_bytes());
        key.extend(part.as_bytes());
    }
    if let Cell::Text(value) = value {
        key.extend(value.as_bytes());
    } else {
        let mut plain = String::new();
        push_plain(&mut plain, value);
        key.extend(plain.as_bytes());
    }
    if key.len() > VALUE_KEY_BYTES_MAX {
        key[0] = LONG_VALUE;
        let (length, hash) = (key.len() as u64, xxh3_128(key));
        key.truncate(VALUE_KEY_BYTES_MAX);
        key.extend(length.to_be_bytes());
        key.extend(hash.to_be_bytes());
    }
}

impl Memory {
    pub(crate) fn new(recent_max: usize, rules: Arc<Rules>, runs: Option<RunSet>) -> Self {
        Self {
            recent_max,
            recent: Part::default(),
            frozen: VecDeque::new(),
            runs,
            rules,
            unsettled: Vec::new(),
            found: Found::default(),
            accepted: 0,
            failure: None,
            closing: false,
            key: Vec::new(),
        }
    }

    /// The content hash of the accepted event with this id.
    pub(crate) fn content_of(&self, id: &Id) -> Result<Option<u64>, DoorError> {
        let parts = std::iter::once(&self.recent).chain(self.frozen.iter().rev().map(|frozen| &*frozen.part));
        for part in parts {
            if let Some(content) = part.ids.get(id) {
                return Ok(Some(*content));
            }
        }
        let Some(runs) = &self.runs else { return Ok(None) };
        match runs.get(&id_key(id))? {
            None => Ok(None),
            Some(OwnedValue::Bytes(bytes)) if bytes.len() == 8 => Ok(bytes.try_into().ok().map(u64::from_le_bytes)),
            Some(_) => Err(DoorError::IdsUnreadable("an id has a content that no door wrote".to_owned())),
        }
    }

    /// Remembers the id of an event that is about to be appended.
    pub(crate) fn remember_id(&mut self, id: Id, content: u64) {
        self.recent.ids.insert(id, content);
        self.unsettled.push(Entry::Id(id));
        self.accepted += 1;
    }

    /// Whether some accepted event of a topic has a value in a column.
    pub(crate) fn knows_value(
        &mut self,
        kept_under: &KeptUnder,
        tenant: &str,
        value: &Cell<'_>,
    ) -> Result<bool, DoorError> {
        value_key(&mut self.key, kept_under, tenant, value);
        let key = &self.key[..];
        if self.recent.values.contains(key)
            || self.frozen.iter().any(|frozen| frozen.part.values.contains(key))
            || self.found.contains(key)
        {
            return Ok(true);
        }
        let Some(runs) = &self.runs else { return Ok(false) };
        let found = runs.get(key)?.is_some();
        if found {
            self.found.insert(key);
        }
        Ok(found)
    }

    /// Remembers a value of an event that is about to be appended.
    pub(crate) fn remember_value(&mut self, kept_under: &KeptUnder, tenant: &str, value: &Cell<'_>) {
        if *value == Cell::Null {
            return;
        }
        value_key(&mut self.key, kept_under, tenant, value);
        if !self.recent.values.contains(&self.key[..]) {
            self.recent.values.insert(self.key[..].into());
            self.unsettled.push(Entry::Value(self.key[..].into()));
        }
    }

    /// What was remembered has its place in the log's order.
    pub(crate) fn settle(&mut self) {
        self.unsettled.clear();
    }

    /// What was remembered since the last [`Memory::settle`] will never be in the log.
    pub(crate) fn forget_unsettled(&mut self) {
        for entry in self.unsettled.drain(..) {
            match entry {
                Entry::Id(id) => {
                    self.recent.ids.remove(&id);
                    self.accepted -= 1;
                }
                Entry::Value(key) => {
                    self.recent.values.remove(&key);
                }
            }
        }
    }

    /// Whether there is more at hand than should be.
    pub(crate) fn is_full(&self) -> bool {
        self.runs.is_some() && self.recent.len() >= self.recent_max
    }

    pub(crate) fn can_freeze(&self) -> bool {
        self.frozen.len() < FROZEN_MAX
    }

    /// Hands what is at hand over to be written.
    pub(crate) fn freeze(&mut self, upto: Upto) {
        let entries = self.recent.ids.len();
        let next = Part { ids: HashMap::with_capacity(entries.min(self.recent_max)), values: HashSet::new() };
        let part = Arc::new(std::mem::replace(&mut self.recent, next));
        self.frozen.push_back(Frozen { part, upto, rules: Arc::clone(&self.rules) });
        self.accepted = 0;
        self.failure = None; // another attempt is worth it
    }

    /// The oldest frozen part stands in a run of what is kept now.
    pub(crate) fn thaw(&mut self, kept: &Kept) {
        self.frozen.pop_front();
        self.runs = Some(kept.runs().clone());
    }
}

/// The values found last: two generations, of which the older is forgotten when the younger is full.
#[derive(Debug, Default)]
struct Found {
    younger: HashSet<Box<[u8]>>,
    older: HashSet<Box<[u8]>>,
}

impl Found {
    fn contains(&mut self, key: &[u8]) -> bool {
        if self.younger.contains(key) {
            return true;
        }
        let found = self.older.contains(key);
        if found {
            self.insert(key);
        }
        found
    }

    fn insert(&mut self, key: &[u8]) {
        if self.younger.len() >= FOUND_MAX {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(key.into());
    }
}
