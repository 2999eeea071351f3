//! What runs say of keys, and how what several say becomes one.

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// A weight; never 0.
    Weight(i64),
}

/// A [`Value`] that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedValue {
    /// As [`Value::Bytes`].
    Bytes(Vec<u8>),
    /// As [`Value::Weight`].
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

impl<'a> Value<'a> {
    /// What a change makes of a key that nothing older is said of; `None` when it is not there then.
    pub(super) fn of(change: Change<'a>) -> Option<Self> {
        match change {
            Change::Put(bytes) => Some(Value::Bytes(bytes)),
            Change::Add(0) | Change::Set(0) | Change::Delete => None,
            Change::Add(weight) | Change::Set(weight) => Some(Value::Weight(weight)),
        }
    }

    /// A copy that owns its bytes.
    #[must_use]
    pub fn to_owned(&self) -> OwnedValue {
        match *self {
            Value::Bytes(bytes) => OwnedValue::Bytes(bytes.to_vec()),
            Value::Weight(weight) => OwnedValue::Weight(weight),
        }
    }
}

/// What several runs say of one key, heard from the newest to the oldest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    /// The sum of the weights that were added.
    added: Option<i64>,
}

/// Changes that do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfit(pub(super) &'static str);

impl Sum {
    /// Hears the next older change. `Some` is the last word: what is older still does not matter.
    pub(super) fn hear<'a>(&mut self, older: Change<'a>) -> Result<Option<Change<'a>>, Unfit> {
        let added = self.added;
        let sum = |weight: i64| {
            added.unwrap_or(0).checked_add(weight).ok_or(Unfit("the sum of the weights is beyond 64 bits"))
        };
        match older {
            Change::Add(weight) => {
                self.added = Some(sum(weight)?);
                Ok(None)
            }
            Change::Put(_) if added.is_some() => Err(Unfit("a weight is added to bytes")),
            Change::Delete if added.is_none() => Ok(Some(older)),
            Change::Set(weight) => Ok(Some(Change::Set(sum(weight)?))),
            Change::Delete => Ok(Some(Change::Set(sum(0)?))),
            Change::Put(_) => Ok(Some(older)),
        }
    }

    /// What the changes heard are together, none of which was the last word.
    pub(super) fn end(self) -> Change<'static> {
        Change::Add(self.added.unwrap_or(0))
    }
}
