//! Answer keys.

use crate::json::{write_int, write_string};

/// What is right, and what it is worth. Points are thousandths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerKey {
    /// The least total that penalties can lead to; 0 when absent.
    pub floor: Option<i64>,
    /// In the order of the assignment.
    pub items: Vec<KeyItem>,
}

/// The key of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyItem {
    /// `1`, `2`, …
    pub item: String,
    /// How an answer is compared.
    pub kind: ItemKind,
    /// For a right answer, in thousandths.
    pub points: i64,
    /// Taken off for a wrong answer, in thousandths; a blank costs nothing.
    pub penalty: Option<i64>,
    /// Partial credit for `multiple` and `ordered`.
    pub partial: Option<bool>,
    /// `single`: the letter (or tick); `multiple`: all letters; `numeric`: the value; `text`: accepted wordings;
    /// `ordered`: the steps.
    pub answers: Vec<String>,
    /// `numeric` only: `0.01` absolute, `1%` relative.
    pub tolerance: Option<String>,
}

/// How an answer is compared with the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemKind {
    /// One letter, or a tick or cross.
    Single,
    /// A set of letters.
    Multiple,
    /// A number, with tolerance.
    Numeric,
    /// One of several wordings.
    Text,
    /// Steps in order.
    Ordered,
}

impl ItemKind {
    /// All five.
    pub const ALL: [Self; 5] = [Self::Single, Self::Multiple, Self::Numeric, Self::Text, Self::Ordered];

    /// The name in the schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Multiple => "multiple",
            Self::Numeric => "numeric",
            Self::Text => "text",
            Self::Ordered => "ordered",
        }
    }
}

impl AnswerKey {
    /// The most that can be reached, in thousandths.
    pub fn points_max(&self) -> i64 {
        self.items.iter().map(|item| item.points).sum()
    }

    /// Compact JSON. Absent values are written as `null` or left out, as `spell_out` says of each in turn.
    pub(crate) fn to_json(&self, mut spell_out: impl FnMut() -> bool) -> String {
        let mut out = String::with_capacity(64 + self.items.len() * 96);
        out.push('{');
        if optional(&mut out, "floor", self.floor, &mut spell_out, write_int) {
            out.push(',');
        }
        out.push_str("\"items\":[");
        for (n, item) in self.items.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            item.write_json(&mut out, &mut spell_out);
        }
        out.push_str("]}");
        out
    }
}

impl KeyItem {
    fn write_json(&self, out: &mut String, spell_out: &mut impl FnMut() -> bool) {
        out.push_str("{\"item\":");
        write_string(out, &self.item);
        out.push_str(",\"kind\":");
        write_string(out, self.kind.name());
        out.push_str(",\"points\":");
        write_int(out, self.points);
        out.push(',');
        if optional(out, "penalty", self.penalty, spell_out, write_int) {
            out.push(',');
        }
        let write_bool = |out: &mut String, it| out.push_str(if it { "true" } else { "false" });
        if optional(out, "partial", self.partial, spell_out, write_bool) {
            out.push(',');
        }
        out.push_str("\"answers\":[");
        for (n, answer) in self.answers.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            write_string(out, answer);
        }
        out.push(']');
        if self.tolerance.is_some() || spell_out() {
            out.push(',');
            optional(out, "tolerance", self.tolerance.as_deref(), &mut || true, write_string);
        }
        out.push('}');
    }
}

/// Writes a member that may be absent; false if it was left out.
fn optional<T>(
    out: &mut String,
    name: &str,
    value: Option<T>,
    spell_out: &mut impl FnMut() -> bool,
    write: impl FnOnce(&mut String, T),
) -> bool {
    if value.is_none() && !spell_out() {
        return false;
    }
    write_string(out, name);
    out.push(':');
    match value {
        Some(value) => write(out, value),
        None => out.push_str("null"),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_values_are_null_or_left_out() {
        let key = AnswerKey {
            floor: None,
            items: vec![KeyItem {
                item: "1".to_owned(),
                kind: ItemKind::Numeric,
                points: 2_000,
                penalty: None,
                partial: None,
                answers: vec!["3.5".to_owned()],
                tolerance: Some("1%".to_owned()),
            }],
        };
        assert_eq!(
            key.to_json(|| false),
            r#"{"items":[{"item":"1","kind":"numeric","points":2000,"answers":["3.5"],"tolerance":"1%"}]}"#
        );
        assert_eq!(
            key.to_json(|| true),
            concat!(
                r#"{"floor":null,"items":[{"item":"1","kind":"numeric","points":2000,"penalty":null,"#,
                r#""partial":null,"answers":["3.5"],"tolerance":"1%"}]}"#
            )
        );
    }
}
