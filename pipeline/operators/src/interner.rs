//! Keys as small dense numbers, so that state is arrays and a key is looked up once per row.

use chalk_event::hash_key;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Gives each key a group id, dense from 0; ids of released keys are used again.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    table: HashTable<u32>,
    /// By group id; the key of a released id is empty.
    keys: Vec<Key>,
    free: Vec<u32>,
    /// What keys take beside their entries.
    boxed_bytes: usize,
}

#[derive(Debug)]
struct Key {
    hash: u64,
    bytes: KeyBytes,
}

/// Most keys are short: they lie in the entry, where the next look finds them without another.
#[derive(Debug)]
enum KeyBytes {
    Inline { length: u8, bytes: [u8; Self::INLINE_MAX] },
    Boxed(Box<[u8]>),
}

impl KeyBytes {
    const INLINE_MAX: usize = 30;
    const NONE: Self = Self::Inline { length: 0, bytes: [0; Self::INLINE_MAX] };

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Self::Boxed(bytes) => bytes,
        }
    }

    /// What it takes beside its entry, about.
    fn boxed_bytes(&self) -> usize {
        /// What an allocation costs.
        const BOX_BYTES: usize = 16;
        match self {
            Self::Inline { .. } => 0,
            Self::Boxed(bytes) => bytes.len() + BOX_BYTES,
        }
    }
}

impl From<&[u8]> for KeyBytes {
    fn from(key: &[u8]) -> Self {
        let mut bytes = [0; Self::INLINE_MAX];
        match bytes.get_mut(..key.len()) {
            Some(room) => {
                room.copy_from_slice(key);
                Self::Inline { length: key.len() as u8, bytes }
            }
            None => Self::Boxed(key.into()),
        }
    }
}

const TABLE_ROTATION: u32 = 32;

/// The hash for the table. A shard owns a run of the stable hash's top bits, which would all look alike where the table
/// takes its tags from.
fn table_hash(key: &[u8]) -> u64 {
    hash_key(key).rotate_left(TABLE_ROTATION)
}

impl Interner {
    /// The id of a key, a new one if it has none.
    ///
    /// # Panics
    /// Beyond 2^32 keys at once, which no memory holds with their state.
    pub(crate) fn intern(&mut self, key: &[u8]) -> u32 {
        self.intern_hashed(key, table_hash(key))
    }

    /// [`Interner::intern`] of many keys. Looks that do not wait for one another are several times as fast where the table is larger than the
    /// processor's cache.
    pub(crate) fn intern_all<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]> + Clone) -> Vec<u32> {
        const ABSENT: u32 = u32::MAX;
        let hashes: Vec<u64> = keys.clone().map(table_hash).collect();
        let found = keys.clone().zip(&hashes).map(|(key, &hash)| {
            let id = self.table.find(hash, |&id| self.keys[id as usize].bytes.as_slice() == key);
            id.copied().unwrap_or(ABSENT)
        });
        let mut ids: Vec<u32> = found.collect();
        for ((id, key), hash) in ids.iter_mut().zip(keys).zip(hashes).filter(|((id, _), _)| **id == ABSENT) {
            *id = self.intern_hashed(key, hash);
        }
        ids
    }

    fn intern_hashed(&mut self, key: &[u8], hash: u64) -> u32 {
        let keys = &mut self.keys;
        match self.table.entry(hash, |&id| keys[id as usize].bytes.as_slice() == key, |&id| keys[id as usize].hash) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let key = Key { hash, bytes: key.into() };
                self.boxed_bytes += key.bytes.boxed_bytes();
                let id = match self.free.pop() {
                    Some(id) => {
                        keys[id as usize] = key;
                        id
                    }
                    None => {
                        keys.push(key);
                        u32::try_from(keys.len() - 1).expect("memory ends before group ids do")
                    }
                };
                entry.insert(id);
                id
            }
        }
    }

    /// The id of a key that has one.
    pub(crate) fn find(&self, key: &[u8]) -> Option<u32> {
        self.table.find(table_hash(key), |&id| self.keys[id as usize].bytes.as_slice() == key).copied()
    }

    /// Whether a key has an id.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    /// How many keys have an id.
    pub(crate) fn in_use(&self) -> usize {
        self.table.len()
    }

    /// About so many bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        /// A key's entry and its id in the table.
        const KEY_BYTES: usize = size_of::<Key>() + 8;
        self.in_use() * KEY_BYTES + self.boxed_bytes
    }

    /// The key of an id that is in use.
    pub(crate) fn key(&self, id: u32) -> &[u8] {
        self.keys[id as usize].bytes.as_slice()
    }

    /// [`hash_key`] of the key of an id that is in use.
    pub(crate) fn hash(&self, id: u32) -> u64 {
        self.keys[id as usize].hash.rotate_right(TABLE_ROTATION)
    }

    /// The ids in use, in no order that means anything.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> {
        self.table.iter().copied()
    }

    /// Gives back an id.
    pub(crate) fn release(&mut self, id: u32) {
        let key = &mut self.keys[id as usize];
        if let Ok(entry) = self.table.find_entry(key.hash, |&other| other == id) {
            entry.remove();
            self.boxed_bytes -= key.bytes.boxed_bytes();
            key.bytes = KeyBytes::NONE;
            self.free.push(id);
        }
    }

    /// Gives back ids in use, each of them once.
    pub(crate) fn release_all(&mut self, ids: &[u32]) {
        /// If it is one of so many or more, going through the table once is less than to find each.
        const ONE_OF: usize = 8;
        if ids.len() < self.table.len() / ONE_OF {
            return ids.iter().for_each(|&id| self.release(id));
        }
        let mut released = vec![false; self.keys.len()];
        for &id in ids {
            released[id as usize] = true;
            let key = &mut self.keys[id as usize];
            self.boxed_bytes -= key.bytes.boxed_bytes();
            key.bytes = KeyBytes::NONE;
        }
        self.table.retain(|id| !released[*id as usize]);
        self.free.extend_from_slice(ids);
    }

    /// One more than the greatest id ever given: how long arrays of state are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_ids_are_used_again() {
        let mut interner = Interner::default();
        assert_eq!([b"a", b"b", b"a", b"c"].map(|key| interner.intern(key)), [0, 1, 0, 2]);
        interner.release(1);
        interner.release(1); // a second time changes nothing
        assert_eq!([b"d", b"b", b"a"].map(|key| interner.intern(key)), [1, 3, 0]);
        assert_eq!(interner.key(1), b"d");
        assert_eq!((interner.len(), interner.in_use(), interner.boxed_bytes), (4, 4, 0));
    }

    #[test]
    fn keys_of_any_length_are_kept_and_given_back() {
        let keys: Vec<Vec<u8>> = (0..100).map(|length| vec![b'k'; length]).collect();
        for kept in [0, 1, 7, 50, 99] {
            let mut interner = Interner::default();
            let ids: Vec<u32> = keys.iter().map(|key| interner.intern(key)).collect();
            assert!(
                ids.iter().zip(&keys).all(|(&id, key)| interner.key(id) == key && interner.hash(id) == hash_key(key))
            );
            interner.release_all(&ids[kept..]);
            assert_eq!(interner.in_use(), kept);
            assert!(keys.iter().enumerate().all(|(index, key)| interner.contains(key) == (index < kept)), "{kept}");
            interner.release_all(&ids[..kept]);
            assert_eq!((interner.in_use(), interner.boxed_bytes), (0, 0));
            let again: Vec<u32> = keys.iter().map(|key| interner.intern(key)).collect();
            assert_eq!(interner.len(), 100, "ids are used again");
            assert!(again.iter().zip(&keys).all(|(&id, key)| interner.key(id) == key));
        }
    }
}
