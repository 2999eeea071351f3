//! What runs say of keys, and how what several say becomes one.

use super::RunError;

/// What a run says of a key.
///
/// A key holds either bytes (`Put`) or a weight (`Add`, `Set`); `Delete` goes with both. To add to bytes is the caller's
/// mistake, and an error wherever the two meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// The key has these bytes, whatever older runs say.
    Put(&'a [u8]),
    /// This much is added to the weight that older runs give the key; without one, to 0.
    Add(i64),
    /// The key has this weight, whatever older runs say.
    Set(i64),
    /// The key is not there, whatever older runs say.
    Delete,
}

/// A [`Change`] that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedChange {
    /// As [`Change::Put`].
    Put(Vec<u8>),
    /// As [`Change::Add`].
    Add(i64),
    /// As [`Change::Set`].
    Set(i64),
    /// As [`Change::Delete`].
    Delete,
}

/// What a key has, once all runs are heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Bytes.
    Bytes(Vec<u8>),
    /// A weight; never 0.
    Weight(i64),
}

impl Change<'_> {
    /// A copy that owns its bytes.
    #[must_use]
    pub fn to_owned(&self) -> OwnedChange {
        match *self {
            Change::Put(bytes) => OwnedChange::Put(bytes.to_vec()),
            Change::Add(weight) => OwnedChange::Add(weight),
            Change::Set(weight) => OwnedChange::Set(weight),
            Change::Delete => OwnedChange::Delete,
        }
    }
}

impl OwnedChange {
    /// The change, borrowed.
    #[must_use]
    pub fn as_change(&self) -> Change<'_> {
        match self {
            OwnedChange::Put(bytes) => Change::Put(bytes),
            OwnedChange::Add(weight) => Change::Add(*weight),
            OwnedChange::Set(weight) => Change::Set(*weight),
            OwnedChange::Delete => Change::Delete,
        }
    }
}
