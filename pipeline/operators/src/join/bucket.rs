//! The rows of one key.

use super::rows::Rows;
use std::collections::BTreeMap;

/// Distinct rows with their weights, in the order of their hashes: the same rows give the same order, however they came. Most
/// keys have one row, which needs no tree.
#[derive(Debug, Default)]
pub(super) enum Bucket {
    /// No row.
    #[default]
    Empty,
    /// One distinct row.
    One(u128, Entry),
    /// Usually more of them.
    Many(BTreeMap<u128, Entry>),
}

/// A row: where it is, and its net weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    slot: u32,
    weight: i64,
}

impl Bucket {
    /// Adds to the weight of the row with a hash, which stands in a chunk of `rows`; rows of weight 0 are not kept.
    pub(super) fn add(&mut self, hash: u128, weight: i64, rows: &mut Rows, chunk: u32, row: usize) {
        let mut keep = || Entry { slot: rows.keep(chunk, row), weight };
        match self {
            Self::Empty => *self = Self::One(hash, keep()),
            Self::One(only, entry) if *only == hash => {
                entry.weight += weight;
                if entry.weight == 0 {
                    rows.release(entry.slot);
                    *self = Self::Empty;
                }
            }
            Self::One(only, entry) => *self = Self::Many(BTreeMap::from([(*only, *entry), (hash, keep())])),
            Self::Many(entries) => match entries.get_mut(&hash) {
                None => {
                    entries.insert(hash, keep());
                }
                Some(entry) => {
                    entry.weight += weight;
                    if entry.weight == 0 {
                        rows.release(entry.slot);
                        entries.remove(&hash);
                        if entries.is_empty() {
                            *self = Self::Empty;
                        }
                    }
                }
            },
        }
    }

    /// Lets go of all rows.
    pub(super) fn clear(&mut self, rows: &mut Rows) {
        std::mem::take(self).iter().for_each(|(slot, _)| rows.release(slot));
    }

    /// Whether there is no row.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// The slot and weight of each row.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, i64)> {
        let (one, many) = match self {
            Self::Empty => (None, None),
            Self::One(_, entry) => (Some(entry), None),
            Self::Many(entries) => (None, Some(entries.values())),
        };
        one.into_iter().chain(many.into_iter().flatten()).map(|entry| (entry.slot, entry.weight))
    }
}
