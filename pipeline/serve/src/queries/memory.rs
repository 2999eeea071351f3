//! The memory of queries: so much for each, and so much for all of them.

use datafusion::common::Result;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool, MemoryReservation};
use std::fmt;
use std::sync::Arc;

/// What one query may use of what all may use.
#[derive(Debug)]
pub(super) struct Share {
    own: GreedyMemoryPool,
    all: Arc<GreedyMemoryPool>,
}

impl Share {
    pub(super) fn new(bytes_max: usize, all: &Arc<GreedyMemoryPool>) -> Self {
        Self { own: GreedyMemoryPool::new(bytes_max), all: Arc::clone(all) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "share of {}", self.all)
    }
}

impl MemoryPool for Share {
    fn name(&self) -> &str {
        "share"
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.all.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.all.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.own.try_grow(reservation, additional)?;
        self.all.try_grow(reservation, additional).inspect_err(|_| self.own.shrink(reservation, additional))
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::MemoryConsumer;

    #[test]
    fn queries_share_what_there_is_and_give_it_back() {
        let all = Arc::new(GreedyMemoryPool::new(100));
        let query = || Arc::new(Share::new(80, &all)) as Arc<dyn MemoryPool>;
        let (first, second) = (query(), query());
        let held = MemoryConsumer::new("first").register(&first);
        assert!(held.try_grow(81).is_err());
        held.try_grow(70).expect("70 of 80");
        let other = MemoryConsumer::new("second").register(&second);
        assert!(other.try_grow(40).is_err());
        assert_eq!((second.reserved(), all.reserved()), (0, 70));
        drop(held);
        other.try_grow(40).expect("40 of 80");
        assert_eq!((first.reserved(), second.reserved(), all.reserved()), (0, 40, 40));
    }
}
