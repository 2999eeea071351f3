//! From a key and a submission's answers to marks.
//!
//! Each type of question is a rule of its own that says how right one answer is ([`Verdict`]); this file alone turns
//! verdicts into points, so that rounding, penalties and blanks are the same for all of them:
//!
//! | answer | mark | points |
//! |---|---|---|
//! | absent, null or nothing but white space | `blank` | 0 |
//! | right | `correct` | all |
//! | a share of it right, and the item gives partial credit | `partial` | points × share, half a thousandth rounds up |
//! | anything else | `wrong` | − penalty |
//!
//! The total is the sum, or the key's floor when that is more. Answers to items that the key does not have are
//! ignored; of several answers to one item the last counts.

pub(crate) mod multiple;
pub(crate) mod numeric;
pub(crate) mod ordered;
pub(crate) mod single;
pub(crate) mod text;

use crate::answers::for_each_answer;
use crate::json_text::{push_integer, push_string};
use crate::key::{Item, Key};
use crate::normalise::normalised;

/// The marks of one submission, borrowing item names from the key that gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Score<'k> {
    /// Sum of the marks in thousandths of a point, never below the key's floor. Lateness is not in it.
    pub points: i64,
    /// What an all-correct submission gets, in thousandths.
    pub max: i64,
    /// One mark per item of the key, in the key's order.
    pub marks: Vec<Mark<'k>>,
}

/// What one item got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark<'k> {
    /// The item's name in the key.
    pub item: &'k str,
    /// Thousandths of a point; negative when a wrong answer costs something.
    pub points: i64,
    /// What a correct answer gets, in thousandths.
    pub max: i64,
    /// How the answer was judged.
    pub kind: MarkKind,
}

/// How an answer was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MarkKind {
    /// All points.
    Correct,
    /// A share of the points.
    Partial,
    /// No points, less the penalty.
    Wrong,
    /// Not answered: no points, no penalty.
    Blank,
}

impl MarkKind {
    /// The name in events and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            MarkKind::Correct => "correct",
            MarkKind::Partial => "partial",
            MarkKind::Wrong => "wrong",
            MarkKind::Blank => "blank",
        }
    }
}

/// How right one answer is.
pub(crate) enum Verdict {
    Right,
    /// `part` of `whole`, both positive.
    Share {
        part: u32,
        whole: u32,
    },
    Wrong,
}

impl Verdict {
    pub(crate) fn right_if(right: bool) -> Self {
        if right { Verdict::Right } else { Verdict::Wrong }
    }
}

impl Key {
    /// Marks `answers`, a JSON array of `{"item": …, "answer": … or null}`, normalised or not.
    ///
    /// What is not such an array is a submission with nothing in it: every item is blank. (Ingest has rejected such
    /// input before; here one bad row must not stop the batch.)
    #[must_use]
    pub fn score(&self, answers: &str) -> Score<'_> {
        let mut marks = self.blank_marks();
        // Answers mostly come in the key's order, so the next item is the first guess.
        let mut guess = 0;
        let read = for_each_answer(answers, |item, answer| {
            if let Some(at) = self.position(item, guess) {
                guess = at + 1;
                (marks[at].points, marks[at].kind) = self.items[at].mark(answer.unwrap_or_default());
            }
        });
        if read.is_err() {
            marks = self.blank_marks();
        }
        let sum = marks.iter().map(|mark| mark.points).sum::<i64>();
        Score { points: sum.max(self.floor), max: self.max, marks }
    }

    fn blank_marks(&self) -> Vec<Mark<'_>> {
        let items = self.items().zip(&self.items);
        items.map(|(item, of)| Mark { item, points: 0, max: of.points, kind: MarkKind::Blank }).collect()
    }
}

impl Item {
    fn mark(&self, answer: &str) -> (i64, MarkKind) {
        let answer = normalised(answer);
        if answer.is_empty() {
            return (0, MarkKind::Blank);
        }
        match self.rule.judge(&answer) {
            Verdict::Right => (self.points, MarkKind::Correct),
            Verdict::Share { part, whole } => (share(self.points, part, whole), MarkKind::Partial),
            Verdict::Wrong => (-self.penalty, MarkKind::Wrong),
        }
    }
}

/// `points × part / whole`, half a thousandth rounded up. Cannot overflow: a key's points are bounded and
/// `part <= whole` are counts of choices or steps.
fn share(points: i64, part: u32, whole: u32) -> i64 {
    let (part, whole) = (i64::from(part), i64::from(whole));
    (2 * points * part + whole) / (2 * whole)
}

impl Score<'_> {
    /// Appends `{"points":…,"max":…,"marks":[{"item":…,"points":…,"max":…,"mark":"correct"},…]}`.
    pub fn write_json(&self, out: &mut String) {
        const BYTES_PER_MARK: usize = 64;
        // Beside other scores in one text: it grows as texts do, not by as much as this one takes.
        if out.is_empty() {
            out.reserve(BYTES_PER_MARK * (self.marks.len() + 1));
        }
        out.push_str("{\"points\":");
        push_integer(out, self.points);
        out.push_str(",\"max\":");
        push_integer(out, self.max);
        out.push_str(",\"marks\":[");
        for (at, mark) in self.marks.iter().enumerate() {
            out.push_str(if at == 0 { "{\"item\":" } else { ",{\"item\":" });
            push_string(out, mark.item);
            out.push_str(",\"points\":");
            push_integer(out, mark.points);
            out.push_str(",\"max\":");
            push_integer(out, mark.max);
            out.push_str(",\"mark\":\"");
            out.push_str(mark.kind.as_str());
            out.push_str("\"}");
        }
        out.push_str("]}");
    }
}
