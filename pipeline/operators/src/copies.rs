//! Groups that leave memory and come back: what is elsewhere.
//!
//! | a group is in memory | a copy is elsewhere | and then                                        |
//! |----------------------|---------------------|-------------------------------------------------|
//! | yes                  | no                  | it leaves: the copy is made                     |
//! | no                   | yes                 | a step touches its key: it is brought back      |
//! | yes                  | yes, of no use      | it leaves again: the copy is replaced           |
//! | yes                  | yes, of no use      | it comes to nothing: the copy must go, too      |

use crate::GroupState;
use crate::interner::Interner;
use std::collections::BTreeSet;

/// What is elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    any: bool,
    /// By group id: whether there is a copy, which is of no use.
    has_one: Vec<bool>,
    /// Keys of groups that were released, but have a copy.
    useless: BTreeSet<Box<[u8]>>,
    useless_bytes: usize,
}

/// What a key of [`Copies::useless`] takes beside its bytes, about.
const USELESS_BYTES: usize = 40;

impl Copies {
    /// Makes room for group ids below `groups`.
    pub(crate) fn reserve(&mut self, groups: usize) {
        self.has_one.resize(groups, false);
    }

    /// Whether there has ever been a copy.
    pub(crate) fn any(&self) -> bool {
        self.any
    }

    /// Those of these keys that may have a copy which is of use: each once, in ascending order.
    pub(crate) fn missing<'a>(&self, groups: &Interner, keys: impl Iterator<Item = &'a [u8]>) -> Vec<Box<[u8]>> {
        let absent = |key: &&[u8]| !groups.contains(key) && !self.useless.contains(*key);
        let mut missing: Vec<&[u8]> = keys.filter(absent).collect();
        missing.sort_unstable();
        missing.dedup();
        missing.into_iter().map(Box::from).collect()
    }

    /// The group is in memory again.
    pub(crate) fn brought_back(&mut self, group: u32) {
        self.has_one[group as usize] = true;
    }

    /// The group is about to be released; says whether it has a copy.
    pub(crate) fn released(&mut self, group: u32, groups: &Interner) -> bool {
        let has_one = std::mem::take(&mut self.has_one[group as usize]);
        if has_one {
            let key = groups.key(group);
            if self.useless.insert(key.into()) {
                self.useless_bytes += key.len() + USELESS_BYTES;
            }
        }
        has_one
    }

    /// Groups whose copies are to be removed.
    pub(crate) fn useless(&self, groups: &Interner) -> impl Iterator<Item = GroupState> {
        let useless = self.useless.iter().filter(|key| !groups.contains(key));
        useless.map(|key| GroupState { key: key.clone(), state: None })
    }

    /// The copy of a key is replaced, or removed.
    pub(crate) fn replaced(&mut self, key: &[u8]) {
        if self.useless.remove(key) {
            self.useless_bytes -= key.len() + USELESS_BYTES;
        }
    }

    /// The group leaves: its copy is of use from here on.
    pub(crate) fn left(&mut self, group: u32) {
        self.any = true;
        self.has_one[group as usize] = false;
    }

    /// About so many bytes of memory, beside one for each group.
    pub(crate) fn bytes(&self) -> usize {
        self.useless_bytes
    }
}

/// Of groups with the last step that touched each, this part: those that no step has touched for longest.
pub(crate) fn coldest(groups: impl Iterator<Item = (u64, u32)>, part: f64) -> Vec<u32> {
    let mut groups: Vec<(u64, u32)> = groups.collect();
    let count = ((groups.len() as f64 * part).ceil() as usize).min(groups.len());
    if count > 0 {
        groups.select_nth_unstable(count - 1);
    }
    groups.truncate(count);
    groups.into_iter().map(|(_, group)| group).collect()
}
