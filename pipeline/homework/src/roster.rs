//! Which pupils are in which class. Only those are stored who are not where they began. A pupil changes classes once at most,
//! so that whether something was done before or after says which class it was done for.

use std::collections::{BTreeMap, BTreeSet};

/// Pupils by class. Pupil `n` begins in class `n / pupils_per_class`.
#[derive(Debug)]
pub(crate) struct Roster {
    // configuration
    pupils_per_class: u32,

    // state
    moved: BTreeMap<u32, Seat>,
    /// By class: pupils who came from others, in the order of their coming.
    joined: BTreeMap<u32, Vec<u32>>,
    erased: BTreeSet<u32>,
}

/// Where a pupil is who changed classes.
#[derive(Debug, Clone, Copy)]
struct Seat {
    class: u32,
    since_ms: i64,
}

impl Roster {
    pub(crate) fn new(pupils_per_class: u32) -> Self {
        Self { pupils_per_class, moved: BTreeMap::new(), joined: BTreeMap::new(), erased: BTreeSet::new() }
    }

    pub(crate) fn class_of(&self, pupil: u32) -> u32 {
        self.moved.get(&pupil).map_or(pupil / self.pupils_per_class, |seat| seat.class)
    }

    pub(crate) fn is_erased(&self, pupil: u32) -> bool {
        !self.erased.is_empty() && self.erased.contains(&pupil)
    }

    /// All who are in a class now.
    pub(crate) fn members(&self, class: u32) -> Vec<u32> {
        let first = class * self.pupils_per_class;
        let natives = first..first + self.pupils_per_class;
        if self.moved.is_empty() && self.erased.is_empty() {
            return natives.collect();
        }
        let joined = self.joined.get(&class).into_iter().flatten().copied();
        let native = |pupil: &u32| self.class_of(*pupil) == class;
        natives.filter(native).chain(joined).filter(|pupil| !self.erased.contains(pupil)).collect()
    }

    pub(crate) fn has_moved(&self, pupil: u32) -> bool {
        self.moved.contains_key(&pupil)
    }

    /// Whether a pupil hands in what was done for a class at a time: after a change of class, only what was done before it.
    pub(crate) fn hands_in(&self, pupil: u32, class: u32, done_ms: i64) -> bool {
        let seat = self.moved.get(&pupil);
        let here = self.class_of(pupil) == class || seat.is_some_and(|seat| done_ms < seat.since_ms);
        here && !self.is_erased(pupil)
    }

    /// A pupil who has not moved before does so now.
    pub(crate) fn change_class(&mut self, pupil: u32, class: u32, now_ms: i64) {
        self.joined.entry(class).or_default().push(pupil);
        self.moved.insert(pupil, Seat { class, since_ms: now_ms });
    }

    pub(crate) fn erase(&mut self, pupil: u32) {
        self.erased.insert(pupil);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pupil_moves() {
        let mut roster = Roster::new(3);
        roster.change_class(1, 1, 100);
        assert_eq!((roster.members(0), roster.members(1)), (vec![0, 2], vec![3, 4, 5, 1]));
        assert!(roster.hands_in(1, 0, 99) && !roster.hands_in(1, 0, 100) && roster.hands_in(1, 1, 100));
        assert!(roster.has_moved(1) && !roster.has_moved(0));
    }

    #[test]
    fn the_erased_hand_in_nothing() {
        let mut roster = Roster::new(2);
        roster.erase(3);
        assert_eq!(roster.members(1), [2]);
        assert!(!roster.hands_in(3, 1, 0));
    }
}
