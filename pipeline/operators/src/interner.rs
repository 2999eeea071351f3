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
    /// Of all keys in use.
    key_bytes: usize,
}

#[derive(Debug)]
struct Key {
    hash: u64,
    bytes: Box<[u8]>,
}

/// The hash for the table. A shard owns a run of the stable hash's top bits, which would all look alike where the table
/// takes its tags from.
fn table_hash(key: &[u8]) -> u64 {
    hash_key(key).rotate_left(32)
}

impl Interner {
    /// The id of a key, a new one if it has none.
    ///
    /// # Panics
    /// Beyond 2^32 keys at once, which no memory holds with their state.
    pub(crate) fn intern(&mut self, key: &[u8]) -> u32 {
        let hash = table_hash(key);
        let keys = &mut self.keys;
        match self.table.entry(hash, |&id| *keys[id as usize].bytes == *key, |&id| keys[id as usize].hash) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let key = Key { hash, bytes: key.into() };
                self.key_bytes += key.bytes.len();
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
        self.table.find(table_hash(key), |&id| *self.keys[id as usize].bytes == *key).copied()
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
        /// A key's entry, its id in the table, and what an allocation costs beside its bytes.
        const KEY_BYTES: usize = size_of::<Key>() + 8 + 16;
        self.in_use() * KEY_BYTES + self.key_bytes
    }

    /// The key of an id that is in use.
    pub(crate) fn key(&self, id: u32) -> &[u8] {
        &self.keys[id as usize].bytes
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
            self.key_bytes -= key.bytes.len();
            key.bytes = Box::default();
            self.free.push(id);
        }
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
        assert_eq!((interner.len(), interner.in_use(), interner.key_bytes), (4, 4, 4));
    }
}
