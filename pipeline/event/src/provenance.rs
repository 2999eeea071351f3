//! Where a source row comes from: hidden columns that SQL can name through `METADATA FROM`.

use arrow::datatypes::{DataType, Field};

/// A hidden column of a source row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provenance {
    /// The topic's name.
    Topic,
    /// The partition's number.
    Partition,
    /// The offset in its partition.
    Offset,
    /// The commit that made the row durable.
    CommitSeq,
}

impl Provenance {
    /// Every kind, in the order of the total order's key after the topic.
    pub const ALL: [Self; 4] = [Self::Topic, Self::Partition, Self::Offset, Self::CommitSeq];

    /// The key that `METADATA FROM '…'` uses. `offset_id` is Arroyo's word.
    #[must_use]
    pub fn metadata_key(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Partition => "partition",
            Self::Offset => "offset_id",
            Self::CommitSeq => "commit_seq",
        }
    }

    /// The kind for a `METADATA FROM` key.
    #[must_use]
    pub fn from_metadata_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.metadata_key() == key)
    }

    /// The hidden column's name.
    #[must_use]
    pub fn column(self) -> &'static str {
        match self {
            Self::Topic => "_topic",
            Self::Partition => "_partition",
            Self::Offset => "_offset",
            Self::CommitSeq => "_commit_seq",
        }
    }

    /// The hidden column's Arrow field. Numbers are `BIGINT`, since SQL has no unsigned literals.
    #[must_use]
    pub fn field(self) -> Field {
        let data_type = match self {
            Self::Topic => DataType::Utf8,
            Self::Partition | Self::Offset | Self::CommitSeq => DataType::Int64,
        };
        Field::new(self.column(), data_type, false)
    }
}
