//! Numbers that order things. Each is its own type so that they cannot be mixed up.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The number of a group commit in a node's commit log, dense from 1. Commit 0 is "before everything".
    CommitSeq(u64)
}
number! {
    /// An event's number in its partition, dense from 0.
    Offset(u64)
}
number! {
    /// One ordered lane of a topic, dense from 0.
    PartitionId(u16)
}
number! {
    /// The unit of a pipeline's progress: a run of whole commits, all or nothing. Dense from 1.
    Epoch(u64)
}
