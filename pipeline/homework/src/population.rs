//! Who goes to this school. Nobody is stored: a pupil is a function of the seed and a number, so that a school of a
//! million pupils takes no memory.

use crate::chance::{Chance, mix, mix32};
use crate::rates::Rates;

/// What one pupil is like. Shares are in thousandths unless the name says otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pupil {
    ability: i32,
    /// Gained (or lost) each week: what the improvement board is to see.
    progress_per_week: i32,
    pub(crate) hands_in_per_10k: u32,
}

impl Pupil {
    /// Pupil `number` of the school, from 0.
    pub(crate) fn of(seed: u64, number: u32, rates: &Rates) -> Self {
        let mut chance = Chance::new(seed ^ mix(u64::from(number) + 1));
        // The mean of two draws: most pupils are average.
        let ability = (chance.between(200, 1_000) + chance.between(200, 1_000)) / 2;
        let handed_in = rates.handed_in_per_10k.min(10_000);
        let spread = handed_in.min(10_000 - handed_in);
        Self {
            ability: ability as i32,
            progress_per_week: chance.between(-8, 13) as i32,
            hands_in_per_10k: handed_in - spread + chance.below(u64::from(2 * spread) + 1) as u32,
        }
    }

    /// How likely this pupil is to get an item of average difficulty right in this week, in thousandths.
    pub(crate) fn skill(&self, week: u32) -> i32 {
        self.ability + self.progress_per_week * week as i32
    }
}

/// Of a pupil: pseudonymous and unique in the school, `s` and eight hexadecimal digits.
pub(crate) fn student_id(seed: u64, number: u32) -> String {
    pseudonym('s', mix32(number ^ mix(seed) as u32))
}

/// Of a pupil's guardian: `g` and eight hexadecimal digits.
pub(crate) fn guardian_id(seed: u64, number: u32) -> String {
    pseudonym('g', mix32(number ^ mix(seed ^ 1) as u32))
}

fn pseudonym(letter: char, bits: u32) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut id = String::with_capacity(9);
    id.push(letter);
    for shift in (0..8).rev() {
        id.push(char::from(HEX[(bits >> (shift * 4)) as usize & 15]));
    }
    id
}

/// `c0001` for class 0.
pub(crate) fn class_id(class: u32) -> String {
    format!("c{:04}", class + 1)
}

/// The one teacher of a subject in a class.
pub(crate) fn teacher_id(class: u32, subject: &str) -> String {
    format!("t{:04}-{subject}", class + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn pseudonyms_are_unique() {
        let ids: BTreeSet<String> = (0..9_000).map(|number| student_id(9, number)).collect();
        assert_eq!(ids.len(), 9_000);
    }

    #[test]
    fn hands_in_as_often_as_asked() {
        let rates = Rates::default();
        let sum: u64 = (0..10_000).map(|n| u64::from(Pupil::of(3, n, &rates).hands_in_per_10k)).sum();
        assert!((9_250..9_290).contains(&(sum / 10_000)), "{sum}");
    }
}
