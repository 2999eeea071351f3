//! Rows of which one may be why a worker died: tried again among themselves, by halves, until the one at fault is alone.
//!
//! ```text
//! worker dies with 1 2 3 4      all again: dies with 2 3 4      (1 was answered)
//!                               2 | 3 4                         two groups
//!                               2: answered     3 4: dies with 3 4
//!                                               3 | 4           …
//! ```

use std::collections::{BTreeSet, VecDeque};

/// How often a row alone is tried again after its worker died.
pub(super) const RETRIES: u32 = 2;

/// Groups of rows to be tried, one after the other.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    groups: VecDeque<Vec<u64>>,
    /// What is left of the group that is being tried.
    tried: BTreeSet<u64>,
}

impl Suspects {
    /// Rows that a worker had when it died; `are_own` when these were being tried alone.
    pub(super) fn add(&mut self, rows: Vec<u64>, are_own: bool) {
        self.tried.retain(|row| !rows.contains(row));
        match rows.len() {
            0 => {}
            length if are_own && length > 1 => {
                let (first, second) = rows.split_at(length / 2);
                self.groups.push_front(second.to_vec());
                self.groups.push_front(first.to_vec());
            }
            _ => self.groups.push_back(rows),
        }
    }

    /// These rows have an answer, or are given up.
    pub(super) fn answered(&mut self, rows: &[u64]) {
        if !self.tried.is_empty() {
            self.tried.retain(|row| !rows.contains(row));
        }
    }

    /// Whether there is a group that can be tried.
    pub(super) fn wait(&self) -> bool {
        self.tried.is_empty() && !self.groups.is_empty()
    }

    /// The group to be tried now; none while another is.
    pub(super) fn next(&mut self) -> Vec<u64> {
        if !self.tried.is_empty() {
            return Vec::new();
        }
        let group = self.groups.pop_front().unwrap_or_default();
        self.tried.extend(&group);
        group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries groups of rows, of which some kill; gives how many tries it took to find these alone.
    fn tries(rows: u64, killers: &[u64]) -> usize {
        let (mut suspects, mut found, mut tries) = (Suspects::default(), Vec::new(), 0);
        suspects.add((0..rows).collect(), false);
        while suspects.wait() {
            let group = suspects.next();
            tries += 1;
            assert!(!suspects.wait() && suspects.next().is_empty(), "one group at a time");
            match group.iter().position(|row| killers.contains(row)) {
                None => suspects.answered(&group),
                Some(_) if group.len() == 1 => {
                    suspects.answered(&group);
                    found.extend(group);
                }
                Some(place) => {
                    suspects.answered(&group[..place]);
                    suspects.add(group[place..].to_vec(), true);
                }
            }
        }
        assert_eq!(found, killers);
        tries
    }

    #[test]
    fn rows_at_fault_are_found_by_halving() {
        assert_eq!(tries(8, &[]), 1);
        assert!(tries(1000, &[0]) <= 21);
        assert!(tries(1000, &[999]) <= 4, "what comes before is answered");
        assert!(tries(1000, &[500, 501, 900]) <= 40);
    }
}
