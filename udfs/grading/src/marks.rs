//! Marks, read back: `[{"item":"q01","points":1000,"max":1000,"mark":"correct"}, …]`, as
//! [`Score::write_json`](crate::Score::write_json) writes them.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

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
pub fn for_each_mark(marks: &str, each: impl FnMut(&WrittenMark<'_>)) -> bool {
    let mut json = serde_json::Deserializer::from_str(marks);
    json.deserialize_seq(EachMark(each)).and_then(|()| json.end()).is_ok()
}

struct EachMark<F>(F);

impl<'de, F: FnMut(&WrittenMark<'_>)> Visitor<'de> for EachMark<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of marks")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(mark) = seq.next_element()? {
            (self.0)(&mark);
        }
        Ok(())
    }
}
