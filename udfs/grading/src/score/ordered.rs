//! Steps in order. How an answer divides into steps depends on the key's:
//!
//! | the key's steps | the answer's steps |
//! |---|---|
//! | all single letters or digits | every letter and digit is one: `ACB`, `A→C→B`, `1. A 2. C` is four |
//! | others | what stands between any of `, ; 、 → ⇒ > \|` (`->` and `=>` are arrows too) |
//! | others, without blanks in them | if the answer has none of those dividers: its words |
//!
//! Steps are compared like texts: without case, white space and punctuation at the end. Empty steps do not count.
//! Exactly the key's steps in its order are right. With partial credit, an answer gets
//! (longest common subsequence) / (steps of the key or of the answer, whichever are more): the second half keeps an
//! answer that repeats all steps over and over from containing every order.

use super::Verdict;
use crate::folded::{folded, folded_chars, has_form, without_full_stop};
use crate::key::Fault;
use crate::normalise::normalised;

/// So that a row of the subsequence table fits one word of bits.
const STEPS_MAX: usize = 64;

const DIVIDERS: [char; 7] = [',', ';', '、', '→', '⇒', '>', '|'];

#[derive(Debug)]
pub(crate) struct Ordered {
    steps: Steps,
    partial: bool,
}

#[derive(Debug)]
enum Steps {
    Letters(Box<[char]>),
    Wordings { forms: Box<[Box<str>]>, words: bool },
}

impl Ordered {
    pub(crate) fn from_key(answers: &[String], partial: bool) -> Result<Self, Fault> {
        if answers.len() > STEPS_MAX {
            return Err(Fault::new(format!("{} steps", answers.len()), "at most 64 can be compared"));
        }
        let answers: Vec<_> = answers.iter().map(|answer| normalised(answer)).collect();
        if let Some(letters) = answers.iter().map(|answer| one_letter(answer)).collect() {
            return Ok(Ordered { steps: Steps::Letters(letters), partial });
        }
        if let Some(step) = answers.iter().find(|step| step.contains(DIVIDERS) || without_marks(step).is_empty()) {
            return Err(Fault::new(
                format!("step {step:?} would be divided or lost"),
                "give each step by itself, without , ; 、 → ⇒ > | and with more than - or =",
            ));
        }
        let words = !answers.iter().any(|step| without_marks(step).contains(' '));
        let forms = answers.iter().map(|step| folded(without_marks(step)).into()).collect();
        Ok(Ordered { steps: Steps::Wordings { forms, words }, partial })
    }

    pub(crate) fn judge(&self, answer: &str) -> Verdict {
        match &self.steps {
            Steps::Letters(letters) => {
                let given = folded_chars(answer).filter(|c| c.is_alphanumeric());
                self.compare(letters.len(), given.map(|c| bits(letters, |letter| *letter == c)))
            }
            Steps::Wordings { forms, words } => {
                let by_words = *words && !answer.contains(DIVIDERS);
                let divides = |c: char| {
                    if by_words { c == ' ' } else { DIVIDERS.contains(&c) }
                };
                let given = answer.split(divides).map(without_marks).filter(|step| !step.is_empty());
                self.compare(forms.len(), given.map(|step| bits(forms, |form| has_form(step, form))))
            }
        }
    }

    /// `given` has, for each step of the answer, the set of the key's steps that it equals.
    ///
    /// The longest common subsequence is found as in H. Hyyrö, "Bit-parallel LCS-length computation revisited" (2004):
    /// a bit of `row` is 0 where the length grows by one in that column of the textbook table.
    fn compare(&self, steps: usize, given: impl Iterator<Item = u64>) -> Verdict {
        let mut row = u64::MAX;
        let mut exact = true;
        let mut count: usize = 0;
        for same in given {
            exact &= count < steps && same >> count & 1 == 1;
            count += 1;
            let matched = row & same;
            row = row.wrapping_add(matched) | (row - matched);
        }
        let common = (!row & (u64::MAX >> (STEPS_MAX - steps))).count_ones();
        if exact && count == steps {
            Verdict::Right
        } else if self.partial && common > 0 {
            let whole = u32::try_from(steps.max(count)).unwrap_or(u32::MAX);
            Verdict::Share { part: common, whole }
        } else {
            Verdict::Wrong
        }
    }
}

/// The set of places in `steps` where `is_same` holds, as bits.
fn bits<T>(steps: &[T], is_same: impl Fn(&T) -> bool) -> u64 {
    steps.iter().enumerate().fold(0, |set, (at, step)| set | u64::from(is_same(step)) << at)
}

fn one_letter(step: &str) -> Option<char> {
    let mut chars = folded_chars(step);
    let letter = chars.next().filter(|c| c.is_alphanumeric())?;
    chars.next().is_none().then_some(letter)
}

/// A step without the shaft of an arrow and the punctuation at its end.
fn without_marks(step: &str) -> &str {
    without_full_stop(step.trim_end_matches(['-', '=', ' '])).trim_start()
}
