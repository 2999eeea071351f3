//! Whether a batch follows what was read: the guard against records that the client leaves out without a word.
//!
//! A fetch is a slice of the partition's log, cut off after so many bytes. The released client takes what it can decode of the last batch,
//! gives it as if it were whole, and goes on behind the batch: the rest of it never comes. So nothing is believed but offsets:
//!
//! ```text
//! next 100   batch 100…109, all ten decoded      take 10, next 110
//! next 110   batch 110…119, six of them decoded  take 6, next 116, and ask again from there
//! next 116   batch 110…119, all decoded          leave out 6, take 4, next 120
//! next 120   batch 130…139                       take none, and ask again from 120
//! ```

use std::ops::Range;

/// What of a batch is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Follows {
    /// Which of its decoded records come next.
    pub(super) take: Range<usize>,
    /// Whether something is missing before it or at its end, so that it has to be asked for.
    pub(super) gap: bool,
}

/// Compares a batch with the offset that is to be read next: its first offset, how many records its header says that it has, and how
/// many of them were decoded.
pub(super) fn follows(next: u64, base: u64, said: usize, decoded: usize) -> Follows {
    let Some(known) = next.checked_sub(base) else { return Follows { take: 0..0, gap: true } };
    // Beyond what memory can hold nothing is new.
    let known = usize::try_from(known).unwrap_or(usize::MAX);
    // A client that decodes more than there is would be wrong in another way: what is beyond has no offset.
    let decoded = decoded.min(said);
    Follows { take: known.min(decoded)..decoded, gap: decoded < said && known < said }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(next: u64, base: u64, said: usize, decoded: usize, take: Range<usize>, gap: bool) {
        assert_eq!(follows(next, base, said, decoded), Follows { take, gap });
    }

    #[test]
    fn the_table_above_is_true() {
        check(100, 100, 10, 10, 0..10, false);
        check(110, 110, 10, 6, 0..6, true);
        check(116, 110, 10, 10, 6..10, false);
        check(120, 130, 10, 10, 0..0, true);
    }

    #[test]
    fn a_batch_that_is_known_is_left_out() {
        check(120, 110, 10, 10, 10..10, false);
        check(500, 110, 10, 10, 10..10, false);
        check(500, 110, 10, 3, 3..3, false);
        check(118, 110, 10, 6, 6..6, true);
        check(110, 110, 10, 0, 0..0, true);
        check(0, 0, 0, 0, 0..0, false);
    }
}
