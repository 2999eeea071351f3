//! Partial credit for steps against the textbook definition, for every short answer.

use chalk_grading::Key;

const POINTS: usize = 1_000_000;

/// Longest common subsequence by trying both ways at every difference.
fn common(a: &[u8], b: &[u8]) -> usize {
    match (a, b) {
        ([x, a_rest @ ..], [y, b_rest @ ..]) if x == y => 1 + common(a_rest, b_rest),
        ([_, a_rest @ ..], [_, b_rest @ ..]) => common(a_rest, b).max(common(a, b_rest)),
        _ => 0,
    }
}

fn every_answer(letters: &[u8], length_max: usize) -> Vec<Vec<u8>> {
    let mut all = vec![vec![]];
    let mut from = 0;
    for _ in 0..length_max {
        let to = all.len();
        for at in from..to {
            for letter in letters {
                let longer = [all[at].as_slice(), &[*letter]].concat();
                all.push(longer);
            }
        }
        from = to;
    }
    all
}

#[test]
fn common_subsequences() {
    for steps in ["A", "AB", "ABA", "BCAD", "ABCAB"] {
        let list = steps.chars().map(|step| format!("\"{step}\"")).collect::<Vec<_>>().join(",");
        let item = format!(r#""item":"q","kind":"ordered","points":{POINTS},"partial":true,"answers":[{list}]"#);
        let key = Key::parse(&format!(r#"{{"items":[{{{item}}}]}}"#)).expect("a sound key");
        for answer in every_answer(b"ABCD", 6) {
            let text = String::from_utf8(answer.clone()).expect("letters");
            let score = key.score(&format!(r#"[{{"item":"q","answer":"{text}"}}]"#));
            let whole = steps.len().max(answer.len());
            let expected = (2 * POINTS * common(steps.as_bytes(), &answer) + whole) / (2 * whole);
            assert_eq!(score.points, expected as i64, "{text} for {steps}");
        }
    }
}

#[test]
fn as_many_steps_as_there_may_be() {
    let list = (0..64).map(|step| format!("\"s{step}\"")).collect::<Vec<_>>();
    let item = format!(r#""item":"q","kind":"ordered","points":64,"partial":true,"answers":[{}]"#, list.join(","));
    let key = Key::parse(&format!(r#"{{"items":[{{{item}}}]}}"#)).expect("a sound key");
    let points = |steps: &[String]| {
        let text = steps.join(" ").replace('"', "");
        key.score(&format!(r#"[{{"item":"q","answer":"{text}"}}]"#)).points
    };
    assert_eq!(points(&list), 64);
    assert_eq!(points(&list[1..]), 63);
    assert_eq!(points(&[&list[32..], &list[..32]].concat()), 32);
}
