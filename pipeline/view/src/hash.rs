//! A hash of a multiset of rows that does not depend on their order and can be kept up to date.

use std::fmt;
use xxhash_rust::xxh3::xxh3_128;

/// The sum, modulo 2^128, of the XXH3-128 hashes of the rows' encodings, each times its weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MultisetHash(u128);

impl MultisetHash {
    /// Adds `weight` times a row; a negative weight takes it away again.
    pub fn add(&mut self, row: &[u8], weight: i64) {
        // Two's complement: multiplying by the weight's bits is right modulo 2^128 for negative ones as well.
        self.0 = self.0.wrapping_add(xxh3_128(row).wrapping_mul(i128::from(weight) as u128));
    }
}

impl fmt::Display for MultisetHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
