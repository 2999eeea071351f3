//! Functions by name, and who they are.

use std::fmt;

/// Who a function is: its name and the hash of its source. It stands on every result that the function made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FunctionIdentity {
    /// The name in SQL.
    pub name: String,
    /// A hash of the source, as hexadecimal digits.
    pub content_hash: String,
}

impl fmt::Display for FunctionIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.content_hash)
    }
}
