//! A multiset of encoded rows.

use std::collections::BTreeMap;

/// What a row of a set takes beside its bytes, about.
const ROW_BYTES: usize = 48;

/// Encoded rows with their net weights, in the order of their bytes. Most sets of a join or an aggregate are small, so one
/// row needs no tree.
#[derive(Debug, Default)]
pub(crate) enum RowSet {
    /// No row.
    #[default]
    Empty,
    /// One distinct row.
    One(Box<[u8]>, i64),
    /// Usually more of them.
    Many(BTreeMap<Box<[u8]>, i64>),
}

impl RowSet {
    /// Adds to the weight of a row; rows of weight 0 are not kept.
    pub(crate) fn add(&mut self, row: &[u8], weight: i64) {
        self.add_row(row, weight);
    }

    /// As [`RowSet::add`]; gives by how many bytes the set has grown.
    fn add_row(&mut self, row: &[u8], weight: i64) -> isize {
        let before = self.len();
        self.add_weight(row, weight);
        (self.len() as isize - before as isize) * (row.len() + ROW_BYTES) as isize
    }

    fn add_weight(&mut self, row: &[u8], weight: i64) {
        match self {
            Self::Empty => *self = Self::One(row.into(), weight),
            Self::One(only, sum) if **only == *row => {
                *sum += weight;
                if *sum == 0 {
                    *self = Self::Empty;
                }
            }
            Self::One(..) => {
                if let Self::One(only, sum) = std::mem::take(self) {
                    *self = Self::Many(BTreeMap::from([(only, sum), (row.into(), weight)]));
                }
            }
            Self::Many(rows) => match rows.get_mut(row) {
                None => {
                    rows.insert(row.into(), weight);
                }
                Some(sum) => {
                    *sum += weight;
                    if *sum == 0 {
                        rows.remove(row);
                        if rows.is_empty() {
                            *self = Self::Empty;
                        }
                    }
                }
            },
        }
    }

    /// Whether no row has a weight.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// How many distinct rows there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(..) => 1,
            Self::Many(rows) => rows.len(),
        }
    }

    /// About so many bytes of memory.
    fn bytes(&self) -> usize {
        self.iter().map(|(row, _)| row.len() + ROW_BYTES).sum()
    }

    /// The least row.
    pub(crate) fn first(&self) -> Option<&[u8]> {
        match self {
            Self::Empty => None,
            Self::One(row, _) => Some(row),
            Self::Many(rows) => rows.first_key_value().map(|(row, _)| &**row),
        }
    }

    /// The greatest row.
    pub(crate) fn last(&self) -> Option<&[u8]> {
        match self {
            Self::Empty => None,
            Self::One(row, _) => Some(row),
            Self::Many(rows) => rows.last_key_value().map(|(row, _)| &**row),
        }
    }

    /// Each distinct row with its weight, least first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], i64)> {
        let (one, many) = match self {
            Self::Empty => (None, None),
            Self::One(row, weight) => (Some((&**row, *weight)), None),
            Self::Many(rows) => (None, Some(rows.iter().map(|(row, &weight)| (&**row, weight)))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// Row sets by group id, and the memory that they take.
#[derive(Debug, Default)]
pub(crate) struct RowSets {
    sets: Vec<RowSet>,
    bytes: usize,
}

impl RowSets {
    /// Makes room for group ids below `groups`.
    pub(crate) fn reserve(&mut self, groups: usize) {
        self.sets.resize_with(groups, RowSet::default);
    }

    /// Adds to the weight of a row of a group.
    pub(crate) fn add(&mut self, group: usize, row: &[u8], weight: i64) {
        self.bytes = self.bytes.saturating_add_signed(self.sets[group].add_row(row, weight));
    }

    /// The rows of a group.
    pub(crate) fn get(&self, group: usize) -> &RowSet {
        &self.sets[group]
    }

    /// Gives a group other rows.
    pub(crate) fn set(&mut self, group: usize, rows: RowSet) {
        self.bytes = self.bytes + rows.bytes() - self.sets[group].bytes();
        self.sets[group] = rows;
    }

    /// About so many bytes of memory, beside a set's own for each group.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_sets_are_those_of_their_rows() {
        let mut sets = RowSets::default();
        sets.reserve(2);
        for (row, weight) in [("a", 1), ("bb", 2), ("a", 1), ("ccc", 1), ("bb", -2), ("a", -2)] {
            sets.add(1, row.as_bytes(), weight);
            assert_eq!(sets.bytes(), sets.get(1).bytes());
        }
        assert_eq!(sets.bytes(), 3 + ROW_BYTES);
        sets.set(0, RowSet::One(b"dddd".as_slice().into(), 1));
        assert_eq!(sets.bytes(), 7 + 2 * ROW_BYTES);
        sets.set(1, RowSet::Empty);
        sets.set(0, RowSet::Empty);
        assert_eq!(sets.bytes(), 0);
    }
}
