//! What teachers correct in an answer key.

use crate::chance::Chance;
use crate::key::{AnswerKey, ItemKind, KeyItem};
use crate::paper::near_miss;

const TOLERANCES: [Option<&str>; 5] = [None, Some("0.01"), Some("0.5"), Some("1%"), Some("5%")];

const ANSWERS_REASONS: [&str; 3] =
    ["the printed key was wrong", "another answer is right too", "misprint in the question"];

const POINTS_REASONS: [&str; 3] =
    ["too hard for its points", "partial credit as in the other class", "no more marks off for guessing"];

/// Makes other answers right; says why.
pub(crate) fn revise_answers(key: &mut AnswerKey, chance: &mut Chance) -> &'static str {
    let Some(item) = any_item(key, chance) else {
        return "nothing to revise";
    };
    match item.kind {
        ItemKind::Single => another_choice(&mut item.answers, chance),
        ItemKind::Multiple => one_letter_more_or_less(&mut item.answers),
        ItemKind::Numeric if chance.per_10k(5_000) => return another_tolerance(item, chance),
        ItemKind::Numeric => other_sign(&mut item.answers),
        ItemKind::Text => near_miss_counts_or_not(&mut item.answers),
        ItemKind::Ordered => item.answers.reverse(),
    }
    chance.word(&ANSWERS_REASONS)
}

/// Makes the same answers worth something else; says why.
pub(crate) fn revise_points(key: &mut AnswerKey, chance: &mut Chance) -> &'static str {
    let Some(item) = any_item(key, chance) else {
        return "nothing to revise";
    };
    // One to nine further of ten steps, so that it is never the same.
    let steps = item.points / 500 - 1;
    item.points = ((steps + chance.between(1, 10)).rem_euclid(10) + 1) * 500;
    item.penalty = match item.kind {
        ItemKind::Single | ItemKind::Multiple => chance.per_10k(4_000).then_some(item.points / 4),
        ItemKind::Numeric | ItemKind::Text | ItemKind::Ordered => None,
    };
    if matches!(item.kind, ItemKind::Multiple | ItemKind::Ordered) && chance.per_10k(5_000) {
        item.partial = Some(!item.partial.unwrap_or(false));
    }
    chance.word(&POINTS_REASONS)
}

fn any_item<'a>(key: &'a mut AnswerKey, chance: &mut Chance) -> Option<&'a mut KeyItem> {
    let chosen = chance.below(key.items.len() as u64) as usize;
    key.items.get_mut(chosen)
}

/// Another letter, or the cross instead of the tick.
fn another_choice(answers: &mut [String], chance: &mut Chance) {
    const LETTERS: [&str; 4] = ["A", "B", "C", "D"];
    for answer in answers {
        let other = match answer.as_str() {
            "✓" => "✗",
            "✗" => "✓",
            letter => {
                let place = LETTERS.iter().position(|it| *it == letter).unwrap_or(0);
                LETTERS[(place + chance.between(1, 4) as usize) % LETTERS.len()]
            }
        };
        other.clone_into(answer);
    }
}

fn one_letter_more_or_less(answers: &mut Vec<String>) {
    if answers.len() > 2 {
        answers.pop();
    } else {
        let missing = ["A", "B", "C"].iter().find(|letter| !answers.iter().any(|it| it == *letter));
        answers.extend(missing.map(|letter| (*letter).to_owned()));
    }
}

fn near_miss_counts_or_not(answers: &mut Vec<String>) {
    let near_miss = answers.first().and_then(|plain| near_miss(plain)).unwrap_or("see the book");
    match answers.iter().position(|answer| answer == near_miss) {
        Some(place) => drop(answers.remove(place)),
        None => answers.push(near_miss.to_owned()),
    }
}

fn another_tolerance(item: &mut KeyItem, chance: &mut Chance) -> &'static str {
    let place = TOLERANCES.iter().position(|it| *it == item.tolerance.as_deref()).unwrap_or(0);
    let further = chance.between(1, TOLERANCES.len() as i64) as usize;
    item.tolerance = TOLERANCES[(place + further) % TOLERANCES.len()].map(str::to_owned);
    "rounding"
}

fn other_sign(answers: &mut [String]) {
    for answer in answers {
        *answer = match answer.strip_prefix('-') {
            Some(positive) => positive.to_owned(),
            None => format!("-{answer}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::Paper;

    #[test]
    fn every_revision_changes_the_key() {
        let mut chance = Chance::new(3);
        for _ in 0..500 {
            let mut key = Paper::set(8, "math", &mut chance).key;
            for _ in 0..4 {
                let before = key.clone();
                revise_answers(&mut key, &mut chance);
                assert_ne!(key, before);
                assert!(key.items.iter().zip(&before.items).all(|(now, before)| now.points == before.points));
                let before = key.clone();
                revise_points(&mut key, &mut chance);
                assert_ne!(key.points_max(), before.points_max());
                assert!(key.items.iter().zip(&before.items).all(|(now, before)| now.answers == before.answers));
            }
        }
    }
}
