//! The paper of one assignment: what is asked, what is right, and what pupils write.
//!
//! What can be written for an item is put together once per assignment, as finished JSON text, and each pupil's sheet
//! is then a choice among these. That keeps a sheet at the price of copying it.
//!
//! Whether an answer *scores* is for a grader to say. Here "right" only means that a benevolent teacher would take it:
//! the pupil may have written it full-width, with stray spaces, or as a different tick.

use crate::chance::Chance;
use crate::json::{write_int, write_string};
use crate::key::{AnswerKey, ItemKind, KeyItem};
use crate::population::Pupil;

/// The key of an assignment and the pens of a class.
#[derive(Debug)]
pub(crate) struct Paper {
    pub(crate) key: AnswerKey,
    written: Vec<Written>,
}

/// Everything that may be written for one item, as `{"item":…,"answer":…}`.
#[derive(Debug)]
struct Written {
    /// Taken off a pupil's chance, in thousandths; negative for an easy item.
    difficulty: i32,
    /// The first is the plain one.
    right: Vec<String>,
    close: Vec<String>,
    wrong: Vec<String>,
    /// The first is `null`, which is what most blanks are.
    blank: Vec<String>,
}

/// The raw texts from which [`Written`] is made, and the item's key.
struct Item {
    answers: Vec<String>,
    tolerance: Option<String>,
    right: Vec<String>,
    close: Vec<String>,
    wrong: Vec<String>,
}

impl Paper {
    /// A paper of `items` items, give or take two, of all five kinds in turn.
    pub(crate) fn set(items: u32, subject: &str, chance: &mut Chance) -> Self {
        let items = (i64::from(items) + chance.between(-2, 3)).max(1) as usize;
        let first_kind = chance.below(ItemKind::ALL.len() as u64) as usize;
        let mut key = AnswerKey { floor: *chance.pick(&[None, None, Some(0), Some(-2_000)]), items: Vec::new() };
        let mut written = Vec::with_capacity(items);
        for n in 0..items {
            let name = (n + 1).to_string();
            let kind = ItemKind::ALL[(first_kind + n) % ItemKind::ALL.len()];
            let item = Item::of(kind, subject, chance);
            written.push(Written::of(&name, &item, chance));
            key.items.push(item.keyed(name, kind, chance));
        }
        Self { key, written }
    }

    /// What `pupil` hands in: a JSON array, one answer for each item. Equal chances give equal sheets.
    pub(crate) fn sheet(&self, pupil: &Pupil, week: u32, chance: &mut Chance) -> String {
        let skill = pupil.skill(week);
        let mut out = String::with_capacity(2 + self.written.len() * 40);
        out.push('[');
        for (n, item) in self.written.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            out.push_str(item.answer(skill, chance));
        }
        out.push(']');
        out
    }

    /// What a reader sees of the items from `first` to before `end` of the [`Self::sheet`] that the same `hand` writes.
    pub(crate) fn read(
        &self,
        (first, end): (usize, usize),
        (skill, hand): (i32, &mut Chance),
        mut confidence: impl FnMut() -> i64,
    ) -> Reading {
        let mut answers_json = String::with_capacity(2 + (end - first) * 60);
        let (mut confidence_min, mut answered, mut doubts) = (1_000, 0, Vec::new());
        answers_json.push('[');
        for (n, item) in self.written.iter().enumerate().take(end) {
            let mut answer = item.answer(skill, hand);
            if n < first {
                continue;
            }
            let confidence = confidence();
            if confidence < CONFIDENCE_UNREADABLE {
                answer = &item.blank[0];
            }
            if n > first {
                answers_json.push(',');
            }
            answers_json.push_str(answer.strip_suffix('}').unwrap_or(answer));
            answers_json.push_str(",\"confidence\":");
            write_int(&mut answers_json, confidence);
            answers_json.push('}');
            answered += i64::from(!item.blank.iter().any(|blank| blank == answer));
            confidence_min = confidence_min.min(confidence);
            if confidence < CONFIDENCE_SURE {
                doubts.push(Doubt { item: n, confidence });
            }
        }
        answers_json.push(']');
        let items = (end - first).max(1) as i64;
        Reading { answers_json, confidence: confidence_min, completion: answered * 1_000 / items, doubts }
    }
}

/// A reading with less confidence is for a person to review, in thousandths.
pub(crate) const CONFIDENCE_SURE: i64 = 800;
/// With less confidence, a reader sees nothing at all.
const CONFIDENCE_UNREADABLE: i64 = 500;

/// What a reader sees of a page.
#[derive(Debug)]
pub(crate) struct Reading {
    /// A JSON array, one answer for each item of the page.
    pub(crate) answers_json: String,
    /// The least of the items, in thousandths.
    pub(crate) confidence: i64,
    /// Items with an answer, in thousandths.
    pub(crate) completion: i64,
    pub(crate) doubts: Vec<Doubt>,
}

/// An item that was read with less confidence than [`CONFIDENCE_SURE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// Counted from 0.
    pub(crate) item: usize,
    pub(crate) confidence: i64,
}

impl Written {
    fn of(name: &str, item: &Item, chance: &mut Chance) -> Self {
        let all = |texts: &[String]| texts.iter().map(|text| answer_json(name, Some(text))).collect();
        Self {
            difficulty: chance.between(-250, 200) as i32,
            right: all(&item.right),
            close: all(&item.close),
            wrong: all(&item.wrong),
            blank: vec![answer_json(name, None), answer_json(name, Some("")), answer_json(name, Some(" \u{3000}"))],
        }
    }

    /// One draw decides: its halves are used for "how good" and "which".
    fn answer(&self, skill: i32, chance: &mut Chance) -> &str {
        let bits = chance.bits();
        let (quality, which) = ((bits as u32 % 1_000) as i32, (bits >> 32) as usize);
        let blank = 10 + (1_000 - skill).clamp(0, 1_000) / 25;
        let right = blank + (skill - self.difficulty).clamp(50, 970) * (1_000 - blank) / 1_000;
        let mostly_first = |texts: &'_ [String]| {
            if which % 8 < 7 { 0 } else { which / 8 % texts.len() }
        };
        if quality < blank {
            &self.blank[mostly_first(&self.blank)]
        } else if quality < right {
            &self.right[mostly_first(&self.right)]
        } else if quality % 3 == 0 && !self.close.is_empty() {
            &self.close[which % self.close.len()]
        } else {
            &self.wrong[which % self.wrong.len()]
        }
    }
}

/// `{"item":"1","answer":"B"}`.
pub(crate) fn answer_json(item: &str, answer: Option<&str>) -> String {
    let mut out = String::with_capacity(32);
    out.push_str("{\"item\":");
    write_string(&mut out, item);
    out.push_str(",\"answer\":");
    match answer {
        Some(answer) => write_string(&mut out, answer),
        None => out.push_str("null"),
    }
    out.push('}');
    out
}

impl Item {
    fn of(kind: ItemKind, subject: &str, chance: &mut Chance) -> Self {
        match kind {
            ItemKind::Single if chance.per_10k(2_500) => Self::tick(chance),
            ItemKind::Single => Self::single(chance),
            ItemKind::Multiple => Self::multiple(chance),
            ItemKind::Numeric => Self::numeric(chance),
            ItemKind::Text => Self::text(subject, chance),
            ItemKind::Ordered => Self::ordered(chance),
        }
    }

    fn keyed(self, item: String, kind: ItemKind, chance: &mut Chance) -> KeyItem {
        let points = chance.between(1, 11) * 500;
        let penalty = match kind {
            ItemKind::Single | ItemKind::Multiple => chance.per_10k(3_000).then_some(points / 4),
            ItemKind::Numeric | ItemKind::Text | ItemKind::Ordered => None,
        };
        let partial = match kind {
            ItemKind::Multiple | ItemKind::Ordered => *chance.pick(&[Some(true), Some(true), Some(false), None]),
            ItemKind::Single | ItemKind::Numeric | ItemKind::Text => None,
        };
        KeyItem { item, kind, points, penalty, partial, answers: self.answers, tolerance: self.tolerance }
    }

    fn single(chance: &mut Chance) -> Self {
        let right = *chance.pick(&["A", "B", "C", "D"]);
        let wrong = ["A", "B", "C", "D"].iter().filter(|letter| **letter != right);
        Self {
            answers: vec![right.to_owned()],
            tolerance: None,
            right: vec![
                right.to_owned(),
                right.to_lowercase(),
                full_width(right),
                format!(" {right} "),
                format!("（{right}）"),
                format!("√{right}"),
            ],
            close: Vec::new(),
            wrong: wrong.map(|letter| (*letter).to_owned()).chain(strayed(chance)).collect(),
        }
    }

    fn tick(chance: &mut Chance) -> Self {
        const TICKS: [&str; 5] = ["✓", "√", "✔", "☑", " ✓"];
        const CROSSES: [&str; 5] = ["✗", "×", "✘", "X", "✗ "];
        let (right, wrong) = if chance.per_10k(5_000) { (TICKS, CROSSES) } else { (CROSSES, TICKS) };
        Self {
            answers: vec![right[0].to_owned()],
            tolerance: None,
            right: right.map(str::to_owned).to_vec(),
            close: Vec::new(),
            wrong: wrong.map(str::to_owned).to_vec(),
        }
    }

    fn multiple(chance: &mut Chance) -> Self {
        const SETS: [(&str, &str); 6] =
            [("AC", "BD"), ("ABD", "C"), ("BC", "AD"), ("CD", "AB"), ("ABC", "D"), ("BDE", "AC")];
        let (right, wrong) = *chance.pick(&SETS);
        let letters: Vec<String> = right.chars().map(String::from).collect();
        Self {
            tolerance: None,
            right: vec![
                right.to_owned(),
                letters.join(","),
                letters.join("、"),
                letters.join(" "),
                right.chars().rev().collect(),
                right.to_lowercase(),
                full_width(right),
                format!("\t{right}"),
            ],
            close: vec![letters[0].clone(), right[1..].to_owned(), format!("{right}{wrong}")],
            wrong: vec![wrong.to_owned(), format!("{}{wrong}", letters[0])],
            answers: letters,
        }
    }

    fn numeric(chance: &mut Chance) -> Self {
        let hundredths = match chance.below(4) {
            0 => chance.between(1, 100),
            1 => chance.between(1, 200) * 50,
            2 => chance.between(-50, 0) * 100,
            _ => chance.between(1_000, 5_000) * 100,
        };
        let plain = decimal(hundredths);
        Self {
            answers: vec![plain.clone()],
            tolerance: chance.pick(&[None, Some("0.01"), Some("0.5"), Some("1%"), Some("5%")]).map(str::to_owned),
            right: vec![
                plain.clone(),
                format!("{}.{:02}0", sign_and_whole(hundredths), hundredths.abs() % 100),
                format!(" {plain}  "),
                full_width(&plain),
                format!("{plain} "),
            ],
            close: vec![decimal(hundredths + 1), decimal(hundredths - 40), decimal(hundredths + hundredths / 50)],
            wrong: vec![
                decimal(-hundredths),
                decimal(hundredths * 10),
                decimal(hundredths + chance.between(100, 900)),
                format!("{plain}/2"),
            ]
            .into_iter()
            .chain(strayed(chance))
            .collect(),
        }
    }

    fn text(subject: &str, chance: &mut Chance) -> Self {
        let words = match subject {
            "math" => chance.pick(&MATH_WORDS),
            "chinese" => chance.pick(&CHINESE_WORDS),
            _ => chance.pick(&ENGLISH_WORDS),
        };
        let plain = words.accepted[0];
        let variants = [
            plain.to_uppercase(),
            full_width(plain),
            format!("  {plain}"),
            plain.replace(' ', "  "),
            format!("{plain}\u{3000}"),
        ];
        Self {
            answers: words.accepted.iter().map(|it| (*it).to_owned()).collect(),
            tolerance: None,
            right: words.accepted.iter().map(|it| (*it).to_owned()).chain(variants).collect(),
            close: vec![words.close.to_owned()],
            wrong: words.wrong.iter().map(|it| (*it).to_owned()).chain(strayed(chance)).collect(),
        }
    }

    fn ordered(chance: &mut Chance) -> Self {
        let mut steps = ["A", "B", "C", "D"];
        for last in (1..steps.len()).rev() {
            steps.swap(last, chance.below(last as u64 + 1) as usize);
        }
        let plain = steps.concat();
        let [first, second, third, fourth] = steps;
        Self {
            answers: steps.map(str::to_owned).to_vec(),
            tolerance: None,
            right: vec![
                plain.clone(),
                steps.join(","),
                steps.join(" "),
                steps.join("→"),
                full_width(&plain),
                plain.to_lowercase(),
            ],
            close: vec![
                [first, second, fourth, third].concat(),
                [first, third, second, fourth].join(","),
                [first, second, third].concat(),
            ],
            wrong: vec![[fourth, third, second, first].concat(), [second, first, fourth, third].concat()],
        }
    }
}

/// What a pupil writes who has no answer at hand. Now and then it needs escaping.
fn strayed(chance: &mut Chance) -> Option<String> {
    const STRAY: [&str; 8] =
        ["?", "不会", "\"same as Li\"", "see \\ above", "I forgot 🙂", "题目\n看不清", "N/A\t", "略"];
    chance.per_10k(3_000).then(|| (*chance.pick(&STRAY)).to_owned())
}

/// The words of one text item.
struct Words {
    accepted: &'static [&'static str],
    close: &'static str,
    wrong: &'static [&'static str],
}

const MATH_WORDS: [Words; 4] = [
    Words { accepted: &["isosceles"], close: "isoceles", wrong: &["scalene", "equilateral"] },
    Words { accepted: &["right angle", "90 degrees"], close: "rightangle", wrong: &["acute angle"] },
    Words { accepted: &["x+y=1", "y=1-x"], close: "x + y = 1.", wrong: &["x-y=1", "xy=1"] },
    Words { accepted: &["直径"], close: "直经", wrong: &["半径", "周长"] },
];

const CHINESE_WORDS: [Words; 4] = [
    Words { accepted: &["李白"], close: "李太白", wrong: &["杜甫", "白居易"] },
    Words { accepted: &["疑是地上霜"], close: "疑似地上霜", wrong: &["低头思故乡"] },
    Words { accepted: &["比喻", "明喻"], close: "比喻句", wrong: &["拟人", "排比"] },
    Words { accepted: &["《论语》", "论语"], close: "“论语”", wrong: &["孟子", "大学"] },
];

const ENGLISH_WORDS: [Words; 4] = [
    Words { accepted: &["went to", "had gone to"], close: "wents to", wrong: &["goed to", "go to"] },
    Words { accepted: &["don't", "do not"], close: "dont", wrong: &["doesn't", "not"] },
    Words { accepted: &["photosynthesis"], close: "fotosynthesis", wrong: &["photograph"] },
    Words { accepted: &["café", "coffee shop"], close: "cafe", wrong: &["canteen"] },
];

/// What pupils write who nearly have the wording of a text item's key.
pub(crate) fn near_miss(plain: &str) -> Option<&'static str> {
    let all = [&MATH_WORDS, &CHINESE_WORDS, &ENGLISH_WORDS].into_iter().flatten();
    all.into_iter().find(|words| words.accepted[0] == plain).map(|words| words.close)
}

/// ASCII in the full-width forms that Chinese input methods produce.
fn full_width(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            ' ' => '\u{3000}',
            '!'..='~' => char::from_u32(letter as u32 + 0xfee0).unwrap_or(letter),
            other => other,
        })
        .collect()
}

/// Hundredths as a decimal without idle zeros: `350` is `3.5`.
fn decimal(hundredths: i64) -> String {
    let whole = sign_and_whole(hundredths);
    match hundredths.abs() % 100 {
        0 => whole,
        fraction if fraction % 10 == 0 => format!("{whole}.{}", fraction / 10),
        fraction => format!("{whole}.{fraction:02}"),
    }
}

/// `-0` for minus a half: the sign must survive.
fn sign_and_whole(hundredths: i64) -> String {
    let sign = if hundredths < 0 { "-" } else { "" };
    format!("{sign}{}", hundredths.abs() / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::Rates;
    use std::collections::BTreeSet;

    #[test]
    fn all_kinds_occur_and_all_values_differ_from_wrong_ones() {
        let mut chance = Chance::new(4);
        for _ in 0..500 {
            let paper = Paper::set(8, "english", &mut chance);
            assert!((6..=10).contains(&paper.key.items.len()));
            let kinds: BTreeSet<ItemKind> = paper.key.items.iter().map(|item| item.kind).collect();
            assert_eq!(kinds.len(), 5);
            for item in &paper.written {
                assert!(item.right.iter().all(|text| !item.wrong.contains(text)), "{item:?}");
                assert!(!item.wrong.is_empty());
            }
        }
    }

    #[test]
    fn the_able_write_more_that_is_right() {
        let mut chance = Chance::new(5);
        let paper = Paper::set(10, "math", &mut chance);
        let plain: Vec<&String> = paper.written.iter().map(|item| &item.right[0]).collect();
        let mut shares: Vec<(i32, usize)> = (0..40)
            .map(|number| Pupil::of(5, number, &Rates::default()))
            .map(|pupil| {
                let sheets: Vec<String> = (0..50).map(|_| paper.sheet(&pupil, 1, &mut chance)).collect();
                let right = sheets.iter().map(|sheet| plain.iter().filter(|it| sheet.contains(**it)).count()).sum();
                (pupil.skill(1), right)
            })
            .collect();
        shares.sort_unstable();
        let weak: usize = shares[..10].iter().map(|(_, right)| right).sum();
        let able: usize = shares[30..].iter().map(|(_, right)| right).sum();
        assert!(able > weak * 5 / 4, "{able} against {weak}");
    }

    #[test]
    fn a_reader_sees_what_was_written() {
        let mut chance = Chance::new(6);
        for _ in 0..100 {
            let paper = Paper::set(8, "chinese", &mut chance);
            let pupil = Pupil::of(6, 1, &Rates::default());
            let items = paper.key.items.len();
            let (hand, middle) = (Chance::new(chance.bits()), items / 2);
            let read = |first, end| paper.read((first, end), (pupil.skill(3), &mut hand.clone()), || 950);
            let pages =
                [read(0, middle), read(middle, items)].map(|page| page.answers_json.replace(",\"confidence\":950", ""));
            let read = pages.join("").replace("][", ",").replace("[,", "[");
            assert_eq!(read, paper.sheet(&pupil, 3, &mut hand.clone()));
        }
    }

    #[test]
    fn what_cannot_be_read_is_blank_and_in_doubt() {
        let mut chance = Chance::new(7);
        let paper = Paper::set(8, "math", &mut chance);
        let mut confidences = [900, 799, 499].into_iter();
        let reading = paper.read((2, 5), (1_000, &mut chance), || confidences.next().unwrap_or(1_000));
        assert_eq!(reading.confidence, 499);
        assert_eq!(reading.doubts, [Doubt { item: 3, confidence: 799 }, Doubt { item: 4, confidence: 499 }]);
        assert!(reading.answers_json.ends_with(r#"{"item":"5","answer":null,"confidence":499}]"#));
        assert!(reading.completion <= 667);
    }

    #[test]
    fn decimals_have_no_idle_zeros() {
        let check = |hundredths, text: &str| assert_eq!(decimal(hundredths), text);
        check(350, "3.5");
        check(5, "0.05");
        check(-50, "-0.5");
        check(-1_200, "-12");
        check(500_000, "5000");
    }
}
