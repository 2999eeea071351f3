//! Groups that nothing has touched for some time are forgotten, by the time of commits.
//!
//! Time is counted in ticks, an eighth of how long a group is kept, and a step's rows are all of one tick: so it does not matter how
//! epochs are cut into steps. A group lives for eight ticks after the one that touched it last.

use chalk_event::IngestTime;
use std::collections::BTreeMap;

/// Ticks that a group is kept for.
const KEPT: i64 = 8;

/// When groups are forgotten.
#[derive(Debug)]
pub(crate) struct Expiry {
    // Configuration: nanoseconds.
    tick: i64,
    // State.
    /// Never goes back.
    now: i64,
    /// By group id: the tick of its last row.
    touched: Vec<i64>,
    /// By group id: whether it is in `due`.
    is_due: Vec<bool>,
    /// Groups by the tick to look at them.
    due: BTreeMap<i64, Vec<u32>>,
}

/// How long a tick is, in nanoseconds, for groups that are kept for so long.
#[must_use]
pub fn tick(kept: i64) -> i64 {
    (kept / KEPT).max(1)
}

impl Expiry {
    /// For groups that are kept for so many nanoseconds.
    pub(crate) fn new(kept: i64) -> Self {
        Self { tick: tick(kept), now: i64::MIN, touched: Vec::new(), is_due: Vec::new(), due: BTreeMap::new() }
    }

    /// Makes room for group ids below `groups`.
    pub(crate) fn reserve(&mut self, groups: usize) {
        self.touched.resize(groups, 0);
        self.is_due.resize(groups, false);
    }

    /// A step whose commits were made at this time begins: gives the groups that are forgotten, in no order.
    pub(crate) fn begin(&mut self, time: IngestTime) -> Vec<u32> {
        self.now = self.now.max(time.0.div_euclid(self.tick));
        let mut forgotten = Vec::new();
        while let Some(first) = self.due.first_entry()
            && *first.key() <= self.now
        {
            for group in first.remove() {
                let last = self.touched[group as usize].saturating_add(KEPT);
                if last < self.now {
                    self.is_due[group as usize] = false;
                    forgotten.push(group);
                } else {
                    self.due.entry(last + 1).or_default().push(group);
                }
            }
        }
        forgotten
    }

    /// A group has a new row.
    pub(crate) fn touch(&mut self, group: u32) {
        self.put_back(group, self.now);
    }

    /// The tick of a group's last row.
    pub(crate) fn touched(&self, group: u32) -> i64 {
        self.touched[group as usize]
    }

    /// A group's last row was in this tick.
    pub(crate) fn put_back(&mut self, group: u32, tick: i64) {
        self.touched[group as usize] = tick;
        if !std::mem::replace(&mut self.is_due[group as usize], true) {
            self.due.entry(tick.saturating_add(KEPT + 1)).or_default().push(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_live_for_as_long_after_their_last_row() {
        let mut expiry = Expiry::new(80);
        expiry.reserve(2);
        assert_eq!(expiry.begin(IngestTime(5)), [0_u32; 0]);
        expiry.touch(0);
        expiry.touch(1);
        assert_eq!(expiry.begin(IngestTime(40)), [0_u32; 0]);
        expiry.touch(1);
        assert_eq!(expiry.begin(IngestTime(89)), [0_u32; 0], "eight ticks after the first");
        assert_eq!(expiry.begin(IngestTime(90)), [0]);
        expiry.touch(0);
        assert_eq!(expiry.begin(IngestTime(20)), [0_u32; 0], "time does not go back");
        assert_eq!(expiry.begin(IngestTime(1000)), [1, 0]);
    }
}
