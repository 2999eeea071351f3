//! One choice: the letter of the key, whatever its case, with or without brackets and full stop: `b`, `(B)`, `B.`.
//! A word does as well, so that true-or-false questions are single choices between `true` and `false`.

use super::Verdict;
use crate::folded::{folded, has_form, without_enumeration};
use crate::key::Fault;
use crate::normalise::normalised;

#[derive(Debug)]
pub(crate) struct Single {
    form: Box<str>,
}

impl Single {
    pub(crate) fn from_key(answers: &[String]) -> Result<Self, Fault> {
        match answers {
            [letter] => Ok(Single { form: folded(without_enumeration(&normalised(letter))).into() }),
            more => Err(Fault::new(
                format!("{} answers for a single choice", more.len()),
                "give the one right letter, or make it kind `multiple`",
            )),
        }
    }

    pub(crate) fn judge(&self, answer: &str) -> Verdict {
        Verdict::right_if(has_form(without_enumeration(answer), &self.form))
    }
}
