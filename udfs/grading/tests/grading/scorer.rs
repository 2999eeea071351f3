//! A scorer gives what its parts give, whatever it remembers.

use chalk_grading::{Key, Scorer, score_submission};

fn key(letter: char) -> String {
    format!(r#"{{"items":[{{"item":"q","kind":"single","points":10,"answers":["{letter}"]}}]}}"#)
}

#[test]
fn same_as_parsing_and_scoring() {
    let answers = r#"[{"item":"q","answer":"b"}]"#;
    let mut scorer = Scorer::new();
    for letter in "ABCBA".chars() {
        let (mut expected, mut found) = (String::new(), String::new());
        Key::parse(&key(letter)).expect("a sound key").score(answers).write_json(&mut expected);
        assert!(scorer.score_submission(answers, &key(letter), &mut found));
        assert_eq!(found, expected);
        assert_eq!(score_submission(answers, &key(letter)), Some(expected));
    }
}

#[test]
fn a_key_that_is_not_usable_writes_nothing() {
    let mut scorer = Scorer::new();
    let mut out = String::from("kept");
    for _ in 0..2 {
        assert!(!scorer.score_submission("[]", "{}", &mut out));
    }
    assert_eq!(out, "kept");
    assert_eq!(score_submission("[]", "{}"), None);
}

/// Enough text to go through several generations, some keys used again and again meanwhile.
#[test]
fn forgetting_keys_changes_nothing() {
    let mut scorer = Scorer::new();
    let padding = " ".repeat(64 << 10);
    for round in 0..300_u32 {
        let letter = char::from(b'A' + (round % 26) as u8);
        let fresh = format!("{padding}{}", key(letter).replace("10", &format!("{}", round + 1)));
        for (text, max) in [(fresh, round + 1), (key('Z'), 10)] {
            let mut out = String::new();
            assert!(scorer.score_submission("[]", &text, &mut out));
            assert!(out.starts_with(&format!(r#"{{"points":0,"max":{max},"#)), "{out}");
        }
    }
}
