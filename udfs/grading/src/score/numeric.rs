//! A number, compared exactly: `0.5`, `1/2`, `50%` and `5e-1` are equal, and nothing is rounded.
//!
//! A tolerance is absolute (`0.01`) or relative to the key's value (`1%`); both ends of the range that it opens are
//! right. What counts as a number is written down in `rational.rs`; anything else, units included, is wrong.

use super::Verdict;
use crate::key::Fault;
use crate::normalise::normalised;
use crate::rational::Rational;

#[derive(Debug)]
pub(crate) struct Numeric {
    least: Rational,
    most: Rational,
}

impl Numeric {
    pub(crate) fn from_key(answers: &[String], tolerance: Option<&str>) -> Result<Self, Fault> {
        let [value] = answers else {
            let problem = format!("{} answers for a number", answers.len());
            return Err(Fault::new(problem, "give the one value, with a tolerance if others are right too"));
        };
        let exact = Rational::parse(&normalised(value)).ok_or_else(|| {
            Fault::new(format!("{value:?} is not a number"), "write it like 3.14, -2, 1/2, 1e3 or 50%")
        })?;
        let Some(tolerance) = tolerance else {
            return Ok(Numeric { least: exact, most: exact });
        };
        let slack = slack(tolerance, exact)?;
        match (exact.checked_sub(slack), exact.checked_add(slack)) {
            (Some(least), Some(most)) => Ok(Numeric { least, most }),
            _ => Err(too_long(tolerance)),
        }
    }

    pub(crate) fn judge(&self, answer: &str) -> Verdict {
        Verdict::right_if(Rational::parse(answer).is_some_and(|value| self.least <= value && value <= self.most))
    }
}

fn slack(tolerance: &str, exact: Rational) -> Result<Rational, Fault> {
    const HINT: &str = "write it like 0.01 (absolute) or 1% (relative), 0 or more";
    let text = normalised(tolerance);
    let size =
        Rational::parse(&text).ok_or_else(|| Fault::new(format!("tolerance {tolerance:?} is not a number"), HINT))?;
    if size.is_negative() {
        return Err(Fault::new(format!("tolerance {tolerance:?} is negative"), HINT));
    }
    if text.ends_with('%') { size.checked_mul(exact.abs()).ok_or_else(|| too_long(tolerance)) } else { Ok(size) }
}

fn too_long(tolerance: &str) -> Fault {
    let problem = format!("the range that tolerance {tolerance:?} opens does not fit 128 bits");
    Fault::new(problem, "use fewer digits in the value or in the tolerance")
}
