//! The answers of one submission: `[{"item":"q01","answer":"B"},{"item":"q02","answer":null}, …]`.
//!
//! They are read as a stream of borrowed texts; no tree is built and, unless a text holds escapes, nothing is copied.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::json_text::{plain_text, push_string};
use crate::normalise::normalised;

/// `answers` with every `answer` normalised (see [`normalise_answer`](crate::normalise_answer)), as compact JSON.
/// Other fields are kept as they are.
///
/// What is not an array of objects with a text `item` and an `answer` that is a text, null or absent comes back
/// unchanged, so that the row goes on and is judged where it is scored.
#[must_use]
pub fn normalise_answers(answers: &str) -> String {
    let mut out = String::with_capacity(answers.len() + 2);
    let mut json = serde_json::Deserializer::from_str(answers);
    match json.deserialize_seq(NormaliseArray(&mut out)).and_then(|()| json.end()) {
        Ok(()) => out,
        Err(_) => answers.to_owned(),
    }
}

/// Calls `each(item, answer)` for every answer in order. `Err` when `answers` is not such an array; `each` may have
/// been called for some of them by then.
pub(crate) fn for_each_answer(
    answers: &str,
    mut each: impl FnMut(&str, Option<&str>),
) -> Result<(), serde_json::Error> {
    let mut read = 0;
    let mut rest = answers.strip_prefix('[').unwrap_or_default();
    loop {
        let after = if let Some((item, answer, after)) = plainly_written(rest) {
            each(item, answer);
            after
        } else if let Some((Answer { item, answer }, after)) = written_with_escapes(rest) {
            each(&item, answer.as_ref().map(|text| &*text.0));
            after
        } else {
            break;
        };
        read += 1;
        match after.as_bytes() {
            b"]" => return Ok(()),
            [b',', ..] => rest = &after[1..],
            _ => break,
        }
    }
    // With blanks between the answers, or wrong: once more as any JSON, without those that have been read.
    let mut json = serde_json::Deserializer::from_str(answers);
    json.deserialize_seq(EachAnswer { each, read })?;
    json.end()
}

/// An answer in just the spelling `{"item":"q01","answer":"B"}`, and what follows it: several times as fast as reading any JSON.
fn plainly_written(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let (item, rest) = plain_text(text.strip_prefix("{\"item\":\"")?)?;
    let rest = rest.strip_prefix(",\"answer\":")?;
    let (answer, rest) = match rest.strip_prefix('"') {
        Some(rest) => plain_text(rest).map(|(answer, rest)| (Some(answer), rest))?,
        None => (None, rest.strip_prefix("null")?),
    };
    Some((item, answer, rest.strip_prefix('}')?))
}

/// An answer in any spelling, and what follows it.
fn written_with_escapes(text: &str) -> Option<(Answer<'_>, &str)> {
    let mut json = serde_json::Deserializer::from_str(text).into_iter();
    let answer = json.next()?.ok()?;
    Some((answer, &text[json.byte_offset()..]))
}

/// A text that borrows from the JSON unless it has escapes. (A `Cow` inside an `Option` would always be copied.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    item: Cow<'a, str>,
    #[serde(borrow, default)]
    answer: Option<Text<'a>>,
}

const EXPECTED: &str = "an array of answers";

struct EachAnswer<F> {
    each: F,
    /// So many have been read before.
    read: usize,
}

impl<'de, F: FnMut(&str, Option<&str>)> Visitor<'de> for EachAnswer<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let mut count = 0;
        while let Some(Answer { item, answer }) = seq.next_element()? {
            count += 1;
            if count > self.read {
                (self.each)(&item, answer.as_ref().map(|text| &*text.0));
            }
        }
        Ok(())
    }
}

struct NormaliseArray<'o>(&'o mut String);

impl<'de> Visitor<'de> for NormaliseArray<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.push('[');
        let empty = self.0.len();
        loop {
            let before = self.0.len();
            if before > empty {
                self.0.push(',');
            }
            if seq.next_element_seed(NormaliseAnswer(self.0))?.is_none() {
                self.0.truncate(before);
                self.0.push(']');
                return Ok(());
            }
        }
    }
}

struct NormaliseAnswer<'o>(&'o mut String);

impl<'de> DeserializeSeed<'de> for NormaliseAnswer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for NormaliseAnswer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `item` and `answer`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let out = self.0;
        let (mut items, mut answers) = (0, 0);
        let mut divider = '{';
        while let Some(Text(field)) = map.next_key()? {
            out.push(std::mem::replace(&mut divider, ','));
            push_string(out, &field);
            out.push(':');
            match &*field {
                "item" => {
                    items += 1;
                    push_string(out, &map.next_value::<Text<'de>>()?.0);
                }
                "answer" => {
                    answers += 1;
                    match map.next_value::<Option<Text<'de>>>()? {
                        Some(text) => push_string(out, &normalised(&text.0)),
                        None => out.push_str("null"),
                    }
                }
                _ => out.push_str(map.next_value::<&RawValue>()?.get()),
            }
        }
        out.push('}');
        // The same that deriving asks of an `Answer`, so that both readers agree on what an answer is.
        if items == 1 && answers <= 1 { Ok(()) } else { Err(de::Error::custom("not one item with one answer")) }
    }
}
