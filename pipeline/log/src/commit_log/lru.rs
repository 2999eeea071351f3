//! Things kept in memory up to a number of bytes: those used last.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A bounded cache.
#[derive(Debug)]
pub(super) struct Lru<K, V> {
    // configuration
    bytes_max: usize,
    // state
    entries: HashMap<K, Entry<V>>,
    /// By when it was used.
    keys: BTreeMap<u64, K>,
    uses: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Copy + Eq + Hash, V: Clone> Lru<K, V> {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, entries: HashMap::new(), keys: BTreeMap::new(), uses: 0, bytes: 0 }
    }

    pub(super) fn get(&mut self, key: K) -> Option<V> {
        let entry = self.entries.get_mut(&key)?;
        self.uses += 1;
        self.keys.remove(&entry.used);
        entry.used = self.uses;
        self.keys.insert(entry.used, key);
        Some(entry.value.clone())
    }

    /// Keeps a value that takes `bytes`, and lets go of those that were not used for longest. One that is larger than
    /// everything that may be kept is not kept.
    pub(super) fn insert(&mut self, key: K, value: V, bytes: usize) {
        self.remove(key);
        if bytes > self.bytes_max {
            return;
        }
        self.uses += 1;
        self.bytes += bytes;
        self.entries.insert(key, Entry { value, bytes, used: self.uses });
        self.keys.insert(self.uses, key);
        while self.bytes > self.bytes_max
            && let Some((_, &oldest)) = self.keys.first_key_value()
        {
            self.remove(oldest);
        }
    }

    /// Lets go of a value, if it is there.
    pub(super) fn remove(&mut self, key: K) {
        if let Some(entry) = self.entries.remove(&key) {
            self.bytes -= entry.bytes;
            self.keys.remove(&entry.used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_is_kept() {
        let mut cache = Lru::new(100);
        cache.insert("a", 1, 40);
        cache.insert("b", 2, 40);
        assert_eq!(cache.get("a"), Some(1));
        cache.insert("c", 3, 40);
        assert_eq!((cache.get("a"), cache.get("b"), cache.get("c")), (Some(1), None, Some(3)));
        cache.insert("a", 4, 60);
        assert_eq!((cache.get("a"), cache.get("c"), cache.bytes), (Some(4), Some(3), 100));
        cache.insert("d", 5, 101);
        assert_eq!((cache.get("d"), cache.get("a"), cache.get("c")), (None, Some(4), Some(3)));
        cache.insert("e", 6, 100);
        assert_eq!((cache.entries.len(), cache.keys.len(), cache.bytes), (1, 1, 100));
    }
}
