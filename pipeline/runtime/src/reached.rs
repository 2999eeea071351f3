//! How far a topic elsewhere was read, for those who wait for it.

use chalk_connect::Place;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How far a topic's partitions were read, durably.
#[derive(Debug)]
pub(crate) struct Reached {
    now: Mutex<Now>,
    changed: Condvar,
}

#[derive(Debug)]
struct Now {
    positions: BTreeMap<u32, u64>,
    /// Nobody reads any more.
    ended: bool,
}

/// Why something was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotReached {
    /// Not in time.
    Late,
    /// Nobody reads any more.
    Ended,
}

impl Reached {
    pub(crate) fn new(places: &BTreeMap<u32, Place>) -> Self {
        let positions = places.iter().map(|(&partition, place)| (partition, place.position)).collect();
        Self { now: Mutex::new(Now { positions, ended: false }), changed: Condvar::new() }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, partition: u32, position: u64) {
        self.now().positions.insert(partition, position);
        self.changed.notify_all();
    }

    pub(crate) fn end(&self) {
        self.now().ended = true;
        self.changed.notify_all();
    }

    /// Waits until every partition was read up to a position.
    pub(crate) fn wait(&self, positions: &BTreeMap<u32, u64>, patience: Duration) -> Result<(), NotReached> {
        let until = Instant::now() + patience;
        let mut now = self.now();
        loop {
            let is_there =
                |(partition, wanted): (&u32, &u64)| now.positions.get(partition).is_some_and(|at| at >= wanted);
            if positions.iter().all(is_there) {
                return Ok(());
            }
            if now.ended {
                return Err(NotReached::Ended);
            }
            let left = until.checked_duration_since(Instant::now()).ok_or(NotReached::Late)?;
            now = self.changed.wait_timeout(now, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
