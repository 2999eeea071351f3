//! Choices by chance, the same for a seed; or choices that were made before.

use std::vec::IntoIter;

/// A linear congruential generator (Knuth, MMIX), which notes what it chose.
#[derive(Clone, Debug)]
pub(super) struct Chance {
    state: u64,
    noted: Vec<usize>,
    /// What is chosen instead of by chance; and when there are no more, the first of everything.
    given: Option<IntoIter<usize>>,
}

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        // Seeds that follow one another begin far apart.
        let mut chance = Self { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), noted: Vec::new(), given: None };
        chance.below(2);
        chance.noted.clear();
        chance
    }

    /// Choices that were noted, or others in their place.
    pub(super) fn of(choices: Vec<usize>) -> Self {
        Self { state: 0, noted: Vec::new(), given: Some(choices.into_iter()) }
    }

    /// What was chosen so far.
    pub(super) fn choices(&self) -> &[usize] {
        &self.noted
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let chosen = match &mut self.given {
            Some(given) => given.next().unwrap_or(0) % end,
            None => {
                self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (self.state >> 33) as usize % end
            }
        };
        self.noted.push(chosen);
        chosen
    }

    /// Whether something happens that happens once in `times`.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of some.
    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
