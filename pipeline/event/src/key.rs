//! The stable hash of a key, its key group, and which shard owns that.
//!
//! State is kept in 256 fixed key groups; a shard owns a contiguous run of them. The hash is XXH3-64, whose
//! values are fixed by its specification, so that stored state can be read by a later build and by another number of
//! shards.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// How many key groups there are, for ever: it is part of stored formats.
pub const KEY_GROUPS: usize = 256;

/// The stable hash of a key's row encoding.
#[must_use]
pub fn hash_key(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The hash that stands for a whole row: 128 bits of XXH3, so that two rows that differ do not meet.
#[must_use]
pub fn hash_row(row: &[u8]) -> u128 {
    xxh3_128(row)
}

/// The key group of a hash: its top eight bits, since hash tables use the low ones.
#[must_use]
pub fn key_group(hash: u64) -> usize {
    (hash >> 56) as usize
}

/// The shard of `shards` that owns a hash.
#[must_use]
pub fn shard_of(hash: u64, shards: usize) -> usize {
    key_group(hash) * shards / KEY_GROUPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_specified_ones() {
        // From the XXH3 reference: the empty input with seed 0.
        assert_eq!(hash_key(b""), 0x2d06_8005_38d3_94c2);
    }

    #[test]
    fn every_shard_owns_a_contiguous_run_of_key_groups() {
        for shards in 1..=8 {
            let owners: Vec<usize> = (0..KEY_GROUPS as u64).map(|group| shard_of(group << 56, shards)).collect();
            assert!(owners.is_sorted());
            assert_eq!(owners[0], 0);
            assert_eq!(owners[KEY_GROUPS - 1], shards - 1);
        }
    }
}
