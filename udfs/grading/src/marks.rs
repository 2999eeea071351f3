//! Marks, read back: `[{"item":"q01","points":1000,"max":1000,"mark":"correct"}, …]`, as
//! [`Score::write_json`](crate::Score::write_json) writes them.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use crate::json_text::plain_text;

/// One mark, as it was written.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct WrittenMark<'a> {
    /// The item's name in the key.
    #[serde(borrow)]
    pub item: Cow<'a, str>,
    /// Thousandths of a point.
    pub points: i64,
    /// What a correct answer gets, in thousandths.
    pub max: i64,
    /// The name of its [`MarkKind`](crate::MarkKind).
    #[serde(borrow)]
    pub mark: Cow<'a, str>,
}

/// Calls `each` for every mark in order. `false` when `marks` are no such array; `each` may have been called for some of
/// them by then.
///
/// ```
/// let marks = r#"[{"item":"q01","points":-250,"max":1000,"mark":"wrong"},{"item":"q02","points":0,"max":500,"mark":"blank"}]"#;
/// let mut points = Vec::new();
/// assert!(chalk_grading::for_each_mark(marks, |mark| points.push((mark.item.to_string(), mark.points, mark.max))));
/// assert_eq!(points, [("q01".to_owned(), -250, 1000), ("q02".to_owned(), 0, 500)]);
/// assert!(!chalk_grading::for_each_mark("{}", |_| ()));
/// ```
pub fn for_each_mark(marks: &str, mut each: impl FnMut(&WrittenMark<'_>)) -> bool {
    let mut count = 0;
    let mut rest = marks.strip_prefix('[').unwrap_or_default();
    while let Some((mark, after)) = as_we_write_it(rest) {
        each(&mark);
        count += 1;
        match after.as_bytes() {
            b"]" => return true,
            [b',', ..] => rest = &after[1..],
            _ => break,
        }
    }
    // With escapes, or spelt by somebody else: once more, without those that have been read.
    let mut json = serde_json::Deserializer::from_str(marks);
    json.deserialize_seq(EachMark { each, read: count }).and_then(|()| json.end()).is_ok()
}

/// The marks of a score, as [`Score::write_json`](crate::Score::write_json) writes one: the array alone. `None` when it is no score.
///
/// ```
/// let score = r#"{"points":0,"max":500,"marks":[{"item":"q02","points":0,"max":500,"mark":"blank"}]}"#;
/// assert_eq!(
///     chalk_grading::score_marks(score),
///     Some(r#"[{"item":"q02","points":0,"max":500,"mark":"blank"}]"#),
/// );
/// assert_eq!(chalk_grading::score_marks("[]"), None);
/// ```
#[must_use]
pub fn score_marks(score: &str) -> Option<&str> {
    let (_, rest) = integer(score.strip_prefix("{\"points\":")?)?;
    let (_, rest) = integer(rest.strip_prefix(",\"max\":")?)?;
    rest.strip_prefix(",\"marks\":")?.strip_suffix('}').filter(|marks| marks.starts_with('[') && marks.ends_with(']'))
}

/// A mark in just the spelling of [`Score::write_json`](crate::Score::write_json), and what follows it: four times as fast as
/// reading any JSON.
fn as_we_write_it(text: &str) -> Option<(WrittenMark<'_>, &str)> {
    let (item, rest) = plain_text(text.strip_prefix("{\"item\":\"")?)?;
    let (points, rest) = integer(rest.strip_prefix(",\"points\":")?)?;
    let (max, rest) = integer(rest.strip_prefix(",\"max\":")?)?;
    let (mark, rest) = plain_text(rest.strip_prefix(",\"mark\":\"")?)?;
    Some((WrittenMark { item: item.into(), points, max, mark: mark.into() }, rest.strip_prefix('}')?))
}

/// An integer, and what follows it.
fn integer(text: &str) -> Option<(i64, &str)> {
    let end = text.bytes().position(|byte| !matches!(byte, b'-' | b'0'..=b'9'))?;
    Some((text[..end].parse().ok()?, &text[end..]))
}

struct EachMark<F> {
    each: F,
    /// So many have been read before.
    read: usize,
}

impl<'de, F: FnMut(&WrittenMark<'_>)> Visitor<'de> for EachMark<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of marks")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let mut count = 0;
        while let Some(mark) = seq.next_element()? {
            count += 1;
            if count > self.read {
                (self.each)(&mark);
            }
        }
        Ok(())
    }
}
