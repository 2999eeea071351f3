//! A multiset of encoded rows.

use std::collections::BTreeMap;

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
