//! How many calls of all functions a process has in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all functions of a process share: at most so many calls are in flight.
#[derive(Clone, Debug)]
pub struct Permits(Arc<Count>);

#[derive(Debug)]
struct Count {
    max: usize,
    taken: AtomicUsize,
}

/// Unless something else is said.
const IN_FLIGHT_MAX: usize = 10_000;

impl Default for Permits {
    fn default() -> Self {
        Self::new(IN_FLIGHT_MAX)
    }
}

impl Permits {
    /// So many calls, one at least.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Count { max: max.max(1), taken: AtomicUsize::new(0) }))
    }

    /// Takes as many as there are, up to `wanted`.
    pub(crate) fn take(&self, wanted: usize) -> usize {
        let mut got = 0;
        let update = self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            got = wanted.min(self.0.max.saturating_sub(taken));
            Some(taken + got)
        });
        update.map_or(0, |_| got)
    }

    pub(crate) fn give_back(&self, count: usize) {
        self.0.taken.fetch_sub(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_and_no_more() {
        let permits = Permits::new(10);
        let other = permits.clone();
        assert_eq!((permits.take(7), other.take(7), permits.take(1)), (7, 3, 0));
        permits.give_back(2);
        assert_eq!(other.take(5), 2);
    }
}
