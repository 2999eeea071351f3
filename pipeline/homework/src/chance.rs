//! A seeded stream of numbers.
//!
//! SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), written out here
//! because a seed must give the same school for ever: a library is free to change how it maps bits to ranges.
//! Everything is integer arithmetic, so every machine agrees.

/// One stream of numbers; its state is all that decides what comes next.
#[derive(Debug, Clone)]
pub(crate) struct Chance {
    state: u64,
}

impl Chance {
    /// Seeds that lie next to each other give unrelated streams.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: mix(seed ^ 0x6368_616c_6b73_7472) }
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number in `0..n`; 0 when `n` is 0. The bias of multiply-and-shift is below 2⁻³² for the ranges used here.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// A number in the half-open range `low..high`.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below(high.abs_diff(low)) as i64
    }

    /// True in `rate` of 10,000 cases.
    pub(crate) fn per_10k(&mut self, rate: u32) -> bool {
        self.below(10_000) < u64::from(rate)
    }

    /// One of `choices`, which must not be empty.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// One of `words`, which must not be empty.
    pub(crate) fn word(&mut self, words: &[&'static str]) -> &'static str {
        self.pick::<&'static str>(words)
    }
}

/// A bijection on 64 bits that scatters neighbours: distinct inputs stay distinct.
pub(crate) fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A bijection on 32 bits (the finaliser of MurmurHash3): short pseudonyms that never collide.
pub(crate) fn mix32(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    let x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_in_range_and_reaches_both_ends() {
        let mut chance = Chance::new(1);
        let drawn: Vec<i64> = (0..1_000).map(|_| chance.between(-3, 4)).collect();
        assert_eq!(drawn.iter().min(), Some(&-3));
        assert_eq!(drawn.iter().max(), Some(&3));
        assert_eq!(chance.below(0), 0);
    }

    #[test]
    fn a_rate_is_kept() {
        let mut chance = Chance::new(2);
        let hits = (0..100_000).filter(|_| chance.per_10k(500)).count();
        assert!((4_700..5_300).contains(&hits), "{hits}");
        assert!(!(0..1_000).any(|_| chance.per_10k(0)));
        assert!((0..1_000).all(|_| chance.per_10k(10_000)));
    }
}
