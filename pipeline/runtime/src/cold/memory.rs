//! Who has how much of the memory that state may take.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Below this part of the limit neither groups nor views make room for the other.
const FLOOR: usize = 8;

/// State in memory and on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateStatus {
    /// What groups and views' rows may take in memory, in bytes.
    pub memory_bytes_max: usize,
    /// What groups of aggregates take.
    pub groups_bytes: usize,
    /// What views' rows take.
    pub views_bytes: usize,
    /// What waits to be written into a checkpoint takes.
    pub waiting_bytes: usize,
    /// Files of groups that have left memory.
    pub groups_disk_bytes: u64,
    /// Files of views' rows that have left memory.
    pub views_disk_bytes: u64,
    /// Why more than the limit is in memory: the disk is full.
    pub waits: Option<String>,
}

/// Bytes in memory, as their owners last said.
#[derive(Debug)]
pub(crate) struct StateMemory {
    max: usize,
    groups: AtomicUsize,
    views: AtomicUsize,
    waiting: AtomicUsize,
    /// Of `waiting`, what no checkpoint has been begun for: changes of views.
    unsaved_views: AtomicUsize,
    groups_disk: AtomicU64,
    views_disk: AtomicU64,
    waits: Mutex<Option<String>>,
}

impl StateMemory {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            groups: AtomicUsize::new(0),
            views: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            unsaved_views: AtomicUsize::new(0),
            groups_disk: AtomicU64::new(0),
            views_disk: AtomicU64::new(0),
            waits: Mutex::new(None),
        }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    fn over(&self) -> usize {
        let all = [&self.groups, &self.views, &self.waiting].map(|bytes| bytes.load(Ordering::Relaxed));
        all.iter().sum::<usize>().saturating_sub(self.max)
    }

    /// Groups take so many bytes now; gives how many should leave.
    pub(crate) fn groups(&self, bytes: usize) -> usize {
        self.groups.store(bytes, Ordering::Relaxed);
        if bytes > self.max / FLOOR { self.over() } else { 0 }
    }

    /// Views take so many bytes now; says whether some should leave.
    pub(crate) fn views(&self, bytes: usize) -> bool {
        self.views.store(bytes, Ordering::Relaxed);
        bytes > self.max / FLOOR && self.over() > 0
    }

    pub(crate) fn groups_on_disk(&self, bytes: u64) {
        self.groups_disk.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn views_on_disk(&self, bytes: u64) {
        self.views_disk.store(bytes, Ordering::Relaxed);
    }

    /// Changes of views that no checkpoint has been begun for.
    pub(crate) fn unsaved_views(&self) -> usize {
        self.unsaved_views.load(Ordering::Relaxed)
    }

    /// They take so many bytes now.
    pub(crate) fn set_unsaved_views(&self, bytes: usize) {
        self.unsaved_views.store(bytes, Ordering::Relaxed);
    }

    /// Why nothing leaves, or that it does again.
    pub(crate) fn waits(&self, why: Option<String>) {
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    pub(crate) fn status(&self) -> StateStatus {
        StateStatus {
            memory_bytes_max: self.max,
            groups_bytes: self.groups.load(Ordering::Relaxed),
            views_bytes: self.views.load(Ordering::Relaxed),
            waiting_bytes: self.waiting.load(Ordering::Relaxed),
            groups_disk_bytes: self.groups_disk.load(Ordering::Relaxed),
            views_disk_bytes: self.views_disk.load(Ordering::Relaxed),
            waits: self.waits.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// Bytes that wait to be written into a checkpoint, for as long as this is there.
#[derive(Debug)]
pub(crate) struct Held {
    memory: Arc<StateMemory>,
    bytes: usize,
}

impl Held {
    pub(crate) fn new(memory: &Arc<StateMemory>) -> Self {
        Self { memory: Arc::clone(memory), bytes: 0 }
    }

    /// So many more.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.memory.waiting.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_most_makes_room() {
        let memory = Arc::new(StateMemory::new(800));
        assert_eq!(memory.groups(700), 0);
        assert!(!memory.views(100), "no more than there may be");
        let mut held = Held::new(&memory);
        held.add(50);
        assert!(!memory.views(100), "too little to be worth it");
        assert!(memory.views(101));
        assert_eq!(memory.groups(700), 51);
        drop(held);
        assert_eq!((memory.groups(700), memory.status().waiting_bytes), (1, 0));
    }
}
