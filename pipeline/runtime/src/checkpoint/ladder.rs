//! Which earlier checkpoints are worth keeping: the further back, the fewer.
//!
//! What counts is how far a checkpoint is from the newest one, in commits. Of neighbours on the ladder each next one is at most
//! twice as far away, as long as there were checkpoints to choose from, so that going back by some distance means reading about
//! that distance again at most; and each one after the next is more than twice as far, so that there are few.
//!
//! ```text
//! log        0 ───────────────────────────────────────────────── newest
//! kept       │            ▲                 ▲         ▲    ▲  ▲▲ │
//! distance   1000        750               400       200  90 40 20
//! ```

/// Of ascending positions before `newest`, those to keep, ascending. The last one is always among them.
pub(super) fn kept(positions: &[u64], newest: u64) -> Vec<u64> {
    let distance = |position: u64| newest.saturating_sub(position);
    let mut kept: Vec<u64> = Vec::new();
    for (index, &position) in positions.iter().enumerate().rev() {
        // Before the first one the log itself begins.
        let older = index.checked_sub(1).map_or(0, |older| positions[older]);
        let spare = kept.last().is_some_and(|&newer| distance(older) <= distance(newer).saturating_mul(2));
        if !spare {
            kept.push(position);
        }
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_ones_are_thinned() {
        assert_eq!(kept(&[], 10), [] as [u64; 0]);
        assert_eq!(kept(&[900], 1000), [900]);
        assert_eq!(kept(&[100, 200, 300, 400, 500, 600, 700, 800, 900], 1000), [200, 600, 800, 900]);
        assert_eq!(kept(&[200, 600, 800, 900, 1000], 1100), [200, 600, 800, 900, 1000]);
        assert_eq!(kept(&[200, 600, 800, 900, 1000], 1200), [600, 800, 1000]);
    }

    /// Checkpoints after so many commits each, thinned each time.
    fn check(steps: impl Iterator<Item = u64>) {
        let (mut positions, mut newest, mut longest) = (Vec::new(), 0, 0);
        for step in steps {
            positions = kept(&positions, newest + step);
            if newest > 0 {
                positions.push(newest);
            }
            (newest, longest) = (newest + step, longest.max(step));
            positions = kept(&positions, newest);
            assert!(positions.len() <= 2 * newest.ilog2() as usize + 2, "{newest}: {positions:?}");
            for target in 0..newest {
                let from = positions.iter().rev().copied().find(|&position| position <= target).unwrap_or(0);
                let back = newest - target;
                assert!(target - from <= back + longest, "{newest}: back to {target} from {from}: {positions:?}");
            }
        }
    }

    #[test]
    fn going_back_costs_about_the_distance() {
        check(std::iter::repeat_n(1, 700));
        check((0..300).map(|number| number * 37 % 11 + 1));
        check((0..200).map(|number| if number % 50 == 0 { 400 } else { 1 }));
    }
}
