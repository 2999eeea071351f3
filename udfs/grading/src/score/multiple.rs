//! A set of choices: `A,C`, `AC`, `a c`, `A、C` are all the set {a, c}.
//!
//! Every letter or digit of the answer is a choice, whatever its case and however often it is named; everything else
//! divides. Exactly the key's set is right. With partial credit, an answer gets
//! (right choices − wrong choices) / choices in the key, when that is positive: marking everything gains nothing.

use super::Verdict;
use crate::folded::folded_chars;
use crate::key::Fault;
use crate::normalise::normalised;

/// So that the chosen ones fit one word of bits.
const CHOICES_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Multiple {
    choices: Box<[char]>,
    partial: bool,
}

impl Multiple {
    pub(crate) fn from_key(answers: &[String], partial: bool) -> Result<Self, Fault> {
        let mut choices = Vec::with_capacity(answers.len());
        for answer in answers {
            let choice = one_choice(&normalised(answer)).ok_or_else(|| {
                Fault::new(format!("choice {answer:?} is not one letter or digit"), "give each right letter by itself")
            })?;
            if choices.contains(&choice) {
                return Err(Fault::new(format!("choice {answer:?} is there twice"), "give each right letter once"));
            }
            choices.push(choice);
        }
        if choices.len() > CHOICES_MAX {
            return Err(Fault::new(format!("{} choices", choices.len()), "at most 64 can be right"));
        }
        Ok(Multiple { choices: choices.into(), partial })
    }

    pub(crate) fn judge(&self, answer: &str) -> Verdict {
        let mut right: u64 = 0;
        let mut wrong = Distinct::default();
        for choice in folded_chars(answer).filter(|c| c.is_alphanumeric()) {
            match self.choices.iter().position(|c| *c == choice) {
                Some(at) => right |= 1 << at,
                None => wrong.add(choice),
            }
        }
        let (right, wrong) = (right.count_ones(), wrong.count());
        let whole = self.choices.len() as u32;
        if right == whole && wrong == 0 {
            Verdict::Right
        } else if self.partial && right > wrong {
            Verdict::Share { part: right - wrong, whole }
        } else {
            Verdict::Wrong
        }
    }
}

fn one_choice(text: &str) -> Option<char> {
    let mut chars = folded_chars(text);
    let choice = chars.next().filter(|c| c.is_alphanumeric())?;
    chars.next().is_none().then_some(choice)
}

/// Counts different characters. ASCII, nearly all there is, takes no memory.
#[derive(Default)]
struct Distinct {
    ascii: u128,
    others: Vec<char>,
}

impl Distinct {
    fn add(&mut self, c: char) {
        if c.is_ascii() {
            self.ascii |= 1 << u32::from(c);
        } else {
            self.others.push(c);
        }
    }

    fn count(mut self) -> u32 {
        self.others.sort_unstable();
        self.others.dedup();
        self.ascii.count_ones() + self.others.len() as u32
    }
}
