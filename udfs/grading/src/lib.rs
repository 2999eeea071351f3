//! Homework grading as plain functions: text in, text out; no clock, no I/O, no Arrow.
//!
//! An answer goes through three steps, each usable alone:
//!
//! 1. [`normalise_answer`] removes what depends on the keyboard and not on the pupil's knowledge.
//! 2. [`Key::score`] compares normalised answers with an answer key and gives marks. It normalises again itself
//!    (that is idempotent), so the first step is for storage and display, never a condition of fair marks.
//! 3. [`late_factor`] says what share of the points a late submission keeps.
//!
//! Points are integers in **thousandths of a point** everywhere, shares are **permille**, times are **seconds** since
//! any common epoch. Nothing is computed in floating point: the same key and answers give the same marks anywhere.
//!
//! This crate must not know Arrow, SQL, events or topics. It is linked into the engine as it is, and wrapped by the
//! crates beside it for loading as a library.
//!
//! # Worked case
//!
//! A choice worth one point, where a wrong answer costs a quarter; a set of choices with partial credit; a number.
//!
//! ```
//! let key = r#"{"items":[
//!   {"item":"q01","kind":"single",  "points":1000,"penalty":250, "answers":["B"]},
//!   {"item":"q02","kind":"multiple","points":2000,"partial":true,"answers":["A","C","D"]},
//!   {"item":"q03","kind":"numeric", "points":1500,"answers":["3.14"],"tolerance":"0.01"}]}"#;
//! let answers = r#"[{"item":"q01","answer":"Ｃ"},{"item":"q02","answer":"a、d"},{"item":"q03","answer":"３．１５"}]"#;
//!
//! assert_eq!(
//!     chalk_grading::normalise_answers(answers),
//!     r#"[{"item":"q01","answer":"C"},{"item":"q02","answer":"a、d"},{"item":"q03","answer":"3.15"}]"#,
//! );
//! // q01: C is not B, −0.25. q02: two of three, 2 × 2000 / 3 = 1333. q03: 3.15 is just within 0.01 of 3.14.
//! assert_eq!(
//!     chalk_grading::score_submission(answers, key).as_deref(),
//!     Some(concat!(
//!         r#"{"points":2583,"max":4500,"marks":["#,
//!         r#"{"item":"q01","points":-250,"max":1000,"mark":"wrong"},"#,
//!         r#"{"item":"q02","points":1333,"max":2000,"mark":"partial"},"#,
//!         r#"{"item":"q03","points":1500,"max":1500,"mark":"correct"}]}"#,
//!     )),
//! );
//! // An hour late.
//! assert_eq!(chalk_grading::late_factor(1_700_003_600, 1_700_000_000), 900);
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod answers;
mod folded;
mod json_text;
mod key;
mod lateness;
mod marks;
mod normalise;
mod rational;
mod score;
mod scorer;
mod sources;

pub use answers::normalise_answers;
pub use key::{Key, KeyError};
pub use lateness::{LATENESS, late_factor};
pub use marks::{WrittenMark, for_each_mark, score_marks};
pub use normalise::normalise_answer;
pub use score::{Mark, MarkKind, Score};
pub use scorer::{Scorer, score_submission, score_submission_into};
pub use sources::SOURCES;
