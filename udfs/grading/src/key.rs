//! The answer key: read once, checked, and prepared so that scoring only compares.
//!
//! ```text
//! { "floor": 0,                      least total that penalties can lead to; absent or null = 0
//!   "items": [ {
//!     "item":      "q01",            unique
//!     "kind":      "single" | "multiple" | "numeric" | "text" | "ordered",
//!     "points":    1000,             thousandths, 0 or more
//!     "penalty":   250,              thousandths taken off for a wrong answer; absent or null = 0
//!     "partial":   true,             partial credit, `multiple` and `ordered` only
//!     "answers":   ["B"],            the letter | all letters | the value | accepted wordings | the steps
//!     "tolerance": "0.01" | "1%"     `numeric` only, absolute or relative
//!   }, … ] }
//! ```
//!
//! Other fields are ignored, so that a key may carry what graders need not know.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;

use crate::normalise::normalised;
use crate::score::Verdict;
use crate::score::multiple::Multiple;
use crate::score::numeric::Numeric;
use crate::score::ordered::Ordered;
use crate::score::single::Single;
use crate::score::text::Text;

/// A million points for an item or as its penalty: sums and shares of these stay far inside 64 bits.
const POINTS_MAX: i64 = 1_000_000_000;

/// An answer key, ready to score any number of submissions.
#[derive(Debug)]
pub struct Key {
    pub(crate) items: Box<[Item]>,
    names: Names,
    by_name: HashMap<Box<str>, usize>,
    pub(crate) floor: i64,
    pub(crate) max: i64,
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) points: i64,
    pub(crate) penalty: i64,
    pub(crate) rule: Rule,
}

#[derive(Debug)]
pub(crate) enum Rule {
    Single(Single),
    Multiple(Multiple),
    Numeric(Numeric),
    Text(Text),
    Ordered(Ordered),
}

/// Texts one behind the other, since every submission reads the names of all items.
#[derive(Debug)]
struct Names {
    text: String,
    ends: Vec<usize>,
}

impl Names {
    fn push(&mut self, name: &str) {
        self.text.push_str(name);
        self.ends.push(self.text.len());
    }

    fn get(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)?;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.text[start..end])
    }
}

impl Rule {
    /// How right a normalised answer is that is not empty.
    pub(crate) fn judge(&self, answer: &str) -> Verdict {
        match self {
            Rule::Single(rule) => rule.judge(answer),
            Rule::Multiple(rule) => rule.judge(answer),
            Rule::Numeric(rule) => rule.judge(answer),
            Rule::Text(rule) => rule.judge(answer),
            Rule::Ordered(rule) => rule.judge(answer),
        }
    }
}

impl Key {
    /// Reads a key in the shape above.
    ///
    /// # Errors
    ///
    /// The first thing in it that cannot be meant. All of them are mistakes in the key: trying again does not help,
    /// publishing a corrected one does.
    pub fn parse(key: &str) -> Result<Self, KeyError> {
        let text: KeyText = serde_json::from_str(key).map_err(|error| KeyError::whole(not_readable(&error)))?;
        if text.items.is_empty() {
            return Err(KeyError::whole(Fault::new("the key has no items", "list at least one under `items`")));
        }
        let mut items = Vec::with_capacity(text.items.len());
        let mut names = Names { text: String::new(), ends: Vec::with_capacity(text.items.len()) };
        let mut by_name = HashMap::with_capacity(text.items.len());
        for item in text.items {
            let name: Box<str> = item.item.as_str().into();
            names.push(&name);
            let checked = match by_name.insert(name.clone(), items.len()) {
                Some(_) => Err(Fault::new("it is there twice", "give every item a name of its own")),
                None => Item::from_key(item),
            };
            items.push(checked.map_err(|fault| KeyError { item: Some(name), fault })?);
        }
        let max = items.iter().map(|item| item.points).sum();
        let floor = text.floor.unwrap_or(0);
        if floor > max {
            let problem = format!("the floor {floor} is more than all points together, {max}");
            return Err(KeyError::whole(Fault::new(
                problem,
                "leave it out, or give thousandths of a point up to that",
            )));
        }
        Ok(Key { items: items.into(), names, by_name, floor, max })
    }

    /// What an all-correct submission gets, in thousandths of a point.
    #[must_use]
    pub fn max(&self) -> i64 {
        self.max
    }

    /// The items' names in the key's order.
    pub fn items(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.items.len()).map(|at| self.name(at))
    }

    /// The name of the item at `at`.
    pub(crate) fn name(&self, at: usize) -> &str {
        self.names.get(at).unwrap_or_default()
    }

    /// Where `item` is, looking at `guess` first.
    pub(crate) fn position(&self, item: &str, guess: usize) -> Option<usize> {
        if self.names.get(guess) == Some(item) { Some(guess) } else { self.by_name.get(item).copied() }
    }
}

impl Item {
    fn from_key(text: ItemText) -> Result<Self, Fault> {
        if text.item.is_empty() {
            return Err(Fault::new("its name is empty", "name it as the answers do"));
        }
        let points = thousandths("points", text.points)?;
        let penalty = thousandths("penalty", text.penalty.unwrap_or(0))?;
        let rule = Rule::from_key(&text)?;
        Ok(Item { points, penalty, rule })
    }
}

impl Rule {
    fn from_key(text: &ItemText) -> Result<Self, Fault> {
        let kind = Kind::named(&text.kind)?;
        let partial = text.partial.unwrap_or(false);
        if partial && !matches!(kind, Kind::Multiple | Kind::Ordered) {
            return Err(Fault::new(
                "it gives partial credit",
                "leave `partial` out; only the kinds `multiple` and `ordered` have parts",
            ));
        }
        if text.tolerance.is_some() && kind != Kind::Numeric {
            return Err(Fault::new("it has a tolerance", "leave `tolerance` out; only the kind `numeric` has one"));
        }
        if text.answers.is_empty() {
            return Err(Fault::new("it has no answers", "list at least one under `answers`"));
        }
        if let Some(at) = text.answers.iter().position(|answer| normalised(answer).is_empty()) {
            return Err(Fault::new(
                format!("answer {} of {} is empty", at + 1, text.answers.len()),
                "fill it in or leave it out; a blank answer is never right",
            ));
        }
        Ok(match kind {
            Kind::Single => Rule::Single(Single::from_key(&text.answers)?),
            Kind::Multiple => Rule::Multiple(Multiple::from_key(&text.answers, partial)?),
            Kind::Numeric => Rule::Numeric(Numeric::from_key(&text.answers, text.tolerance.as_deref())?),
            Kind::Text => Rule::Text(Text::from_key(&text.answers)),
            Kind::Ordered => Rule::Ordered(Ordered::from_key(&text.answers, partial)?),
        })
    }
}

fn thousandths(what: &str, value: i64) -> Result<i64, Fault> {
    const HINT: &str = "give thousandths of a point from 0 to 1000000000";
    match value {
        0..=POINTS_MAX => Ok(value),
        ..0 => Err(Fault::new(format!("{what} {value} is negative"), HINT)),
        _ => Err(Fault::new(format!("{what} {value} is too much"), HINT)),
    }
}

#[derive(Deserialize)]
struct KeyText {
    floor: Option<i64>,
    items: Vec<ItemText>,
}

#[derive(Deserialize)]
struct ItemText {
    item: String,
    kind: String,
    points: i64,
    penalty: Option<i64>,
    partial: Option<bool>,
    answers: Vec<String>,
    tolerance: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Single,
    Multiple,
    Numeric,
    Text,
    Ordered,
}

impl Kind {
    /// By hand and not by `serde`, which would not say which item it is that has an unknown one.
    fn named(name: &str) -> Result<Self, Fault> {
        Ok(match name {
            "single" => Kind::Single,
            "multiple" => Kind::Multiple,
            "numeric" => Kind::Numeric,
            "text" => Kind::Text,
            "ordered" => Kind::Ordered,
            other => {
                return Err(Fault::new(
                    format!("kind {other:?} is not known"),
                    "use single, multiple, numeric, text or ordered",
                ));
            }
        })
    }
}

/// Why a key cannot be used, and what its author should do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyError {
    item: Option<Box<str>>,
    fault: Fault,
}

/// What is wrong with an item, said by whoever knows; [`Key::parse`] adds which item it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    problem: String,
    hint: &'static str,
}

impl Fault {
    pub(crate) fn new(problem: impl Into<String>, hint: &'static str) -> Self {
        Fault { problem: problem.into(), hint }
    }
}

fn not_readable(error: &serde_json::Error) -> Fault {
    Fault::new(
        format!("the key is not readable: {error}"),
        "it must be {\"items\":[{\"item\":…,\"kind\":…,\"points\":…,\"answers\":[…]},…]}",
    )
}

impl KeyError {
    fn whole(fault: Fault) -> Self {
        KeyError { item: None, fault }
    }

    /// The item that is wrong; `None` when it is the key as a whole.
    #[must_use]
    pub fn item(&self) -> Option<&str> {
        self.item.as_deref()
    }

    /// What the key's author should do.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.fault.hint
    }
}

/// The problem on one line, the hint on the next.
impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(item) = &self.item {
            write!(f, "item {item:?}: ")?;
        }
        write!(f, "{}\nhint: {}", self.fault.problem, self.fault.hint)
    }
}

impl std::error::Error for KeyError {}
