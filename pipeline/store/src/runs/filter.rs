//! Which keys a run cannot have: a Bloom filter whose bits of one key stand in one line of the processor's cache.
//!
//! "Cache-, Hash- and Space-Efficient Bloom Filters" (Putze, Sanders, Singler, 2007), with lines of 512 bits, 10 bits a key and 7
//! bits set for each: a little over 1 % of absent keys pass.
//!
//! With `h` = XXH3-64 of the key and n lines, the line is the upper half of `h × n`; the bits in it are the numbers of 9 bits in
//! a second hash, which is `h` mixed once more.

use xxhash_rust::xxh3::xxh3_64;

const BITS_A_KEY: u64 = 10;
const BITS_SET: usize = 7;
const LINE_BITS: u64 = 512;
const LINE_WORDS: usize = 8;
pub(super) const LINE_BYTES: usize = 64;
/// The number of lines is a multiple of this, so that a filter that came out too large can be folded in half four times.
const LINES_MULTIPLE: u64 = 16;

pub(super) fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// A filter; without lines for a run without keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    lines: Vec<[u64; LINE_WORDS]>,
}

fn lines_for(keys: u64) -> u64 {
    (keys * BITS_A_KEY).div_ceil(LINE_BITS)
}

impl Filter {
    /// An empty filter for so many keys.
    pub(super) fn for_keys(keys: u64) -> Self {
        let lines = match lines_for(keys) {
            few if few < 2 * LINES_MULTIPLE => few,
            lines => lines.next_multiple_of(LINES_MULTIPLE),
        };
        Self { lines: vec![[0; LINE_WORDS]; lines as usize] }
    }

    fn line(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.lines.len() as u128) >> 64) as usize
    }

    /// The bits of a hash in its line, as word and mask.
    fn bits(hash: u64) -> impl Iterator<Item = (usize, u64)> {
        // The last step of MurmurHash3: every bit of what comes out hangs on every bit of what went in.
        let mut mixed = hash;
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        mixed ^= mixed >> 33;
        (0..BITS_SET).map(move |number| {
            let bit = (mixed >> (9 * number)) & (LINE_BITS - 1);
            ((bit / 64) as usize, 1 << (bit % 64))
        })
    }

    pub(super) fn insert(&mut self, hash: u64) {
        let line = self.line(hash);
        if let Some(line) = self.lines.get_mut(line) {
            for (word, mask) in Self::bits(hash) {
                line[word] |= mask;
            }
        }
    }

    /// Whether a key of this hash may have been inserted.
    pub(super) fn may_have(&self, hash: u64) -> bool {
        let line = self.lines.get(self.line(hash));
        line.is_some_and(|line| Self::bits(hash).all(|(word, mask)| line[word] & mask != 0))
    }

    /// Makes a filter that was made for more keys smaller. Half as many lines: each key's line is half its number, so that
    /// neighbours become one.
    pub(super) fn fold(&mut self, keys: u64) {
        while self.lines.len().is_multiple_of(2)
            && self.lines.len() as u64 / 2 >= lines_for(keys)
            && !self.lines.is_empty()
        {
            self.lines = self
                .lines
                .chunks_exact(2)
                .map(|pair| std::array::from_fn(|word| pair[0][word] | pair[1][word]))
                .collect();
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        self.lines.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (lines, rest) = bytes.as_chunks::<LINE_BYTES>();
        let line = |bytes: &[u8; LINE_BYTES]| {
            let (words, _) = bytes.as_chunks::<8>();
            std::array::from_fn(|word| u64::from_le_bytes(words[word]))
        };
        rest.is_empty().then(|| Self { lines: lines.iter().map(line).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(keys: u64, made_for: u64) -> Filter {
        let mut filter = Filter::for_keys(made_for);
        (0..keys).for_each(|key| filter.insert(hash(&key.to_le_bytes())));
        filter
    }

    fn passing(filter: &Filter, keys: std::ops::Range<u64>) -> u64 {
        keys.filter(|key| filter.may_have(hash(&key.to_le_bytes()))).count() as u64
    }

    #[test]
    fn keys_pass_and_few_others_do() {
        for (keys, made_for) in [(1, 1), (60, 60), (10_000, 10_000), (10_000, 200_000)] {
            let mut filter = filter(keys, made_for);
            filter.fold(keys);
            assert_eq!(passing(&filter, 0..keys), keys);
            let others = passing(&filter, 1_000_000..1_100_000);
            assert!(others < 2_000, "{others} of 100,000 other keys pass a filter of {keys}");
            assert!(filter.encode().len() as u64 <= keys * 5 / 2 + 64, "{} bytes for {keys}", filter.encode().len());
            assert_eq!(Filter::decode(&filter.encode()), Some(filter));
        }
    }

    #[test]
    fn a_filter_of_nothing_passes_nothing() {
        assert_eq!(passing(&Filter::for_keys(0), 0..1000), 0);
        assert_eq!(Filter::decode(&[]), Some(Filter::default()));
        assert_eq!(Filter::decode(&[0; 63]), None);
    }
}
