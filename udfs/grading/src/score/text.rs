//! A wording: any of the key's, regardless of case, white space and the punctuation at its end.

use super::Verdict;
use crate::folded::{folded, has_form, without_full_stop};
use crate::normalise::normalised;

#[derive(Debug)]
pub(crate) struct Text {
    wordings: Box<[Box<str>]>,
}

impl Text {
    pub(crate) fn from_key(answers: &[String]) -> Self {
        let form = |answer: &String| folded(without_full_stop(&normalised(answer))).into();
        Text { wordings: answers.iter().map(form).collect() }
    }

    pub(crate) fn judge(&self, answer: &str) -> Verdict {
        let answer = without_full_stop(answer);
        Verdict::right_if(self.wordings.iter().any(|wording| has_form(answer, wording)))
    }
}
