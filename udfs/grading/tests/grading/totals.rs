//! How marks add up, and which answers count.

use chalk_grading::{Key, MarkKind};

const KEY: &str = r#"{"items":[
    {"item":"q1","kind":"single","points":1000,"penalty":600,"answers":["A"]},
    {"item":"q2","kind":"single","points":1000,"penalty":600,"answers":["B"]},
    {"item":"q3","kind":"single","points":500,"answers":["C"]}]}"#;

#[track_caller]
fn check(floor: &str, answers: &str, points: i64, marks: &str) {
    let key = Key::parse(&KEY.replacen('{', &format!("{{\"floor\":{floor},"), 1)).expect("a sound key");
    let score = key.score(answers);
    let letter = |kind: MarkKind| kind.as_str().chars().next().expect("a mark has a name");
    let found: String = score.marks.iter().map(|mark| letter(mark.kind)).collect();
    assert_eq!((score.points, found.as_str(), score.max), (points, marks, 2500), "{answers}");
}

#[test]
fn penalties_stop_at_the_floor() {
    let two_wrong = r#"[{"item":"q1","answer":"X"},{"item":"q2","answer":"X"}]"#;
    check("null", two_wrong, 0, "wwb");
    check("0", two_wrong, 0, "wwb");
    check("-1000", two_wrong, -1000, "wwb");
    check("-2000", two_wrong, -1200, "wwb");
    check("0", r#"[{"item":"q1","answer":"A"},{"item":"q2","answer":"X"}]"#, 400, "cwb");
}

#[test]
fn the_last_answer_to_an_item_counts() {
    check("0", r#"[{"item":"q1","answer":"X"},{"item":"q1","answer":"A"}]"#, 1000, "cbb");
    check("0", r#"[{"item":"q1","answer":"A"},{"item":"q2","answer":"B"},{"item":"q1","answer":null}]"#, 1000, "bcb");
}

#[test]
fn order_and_unknown_items_do_not_matter() {
    let answers = r#"[{"answer":"C","item":"q3"},{"item":"q9","answer":"A"},{"item":"q2","answer":"B"},
                      {"item":"q\u0031","answer":"\u0041","page":[1,{"x":2}]}]"#;
    check("0", answers, 2500, "ccc");
}

#[test]
fn what_is_no_array_of_answers_is_a_blank_submission() {
    for answers in [
        "",
        "null",
        "{}",
        "[",
        "[1]",
        r#""A""#,
        r#"[{"answer":"A"}]"#,
        r#"[{"item":"q1","answer":"A"}"#,
        r#"[{"item":"q1","answer":"A"}] x"#,
        r#"[{"item":"q1","answer":"A"},{"item":"q2","answer":2}]"#,
        "[]",
    ] {
        check("0", answers, 0, "bbb");
    }
}

#[test]
fn json_is_escaped() {
    let key = Key::parse(r#"{"items":[{"item":"a\"\\\n\u0001é","kind":"single","points":1,"answers":["A"]}]}"#);
    let mut out = String::from("before ");
    key.expect("a sound key").score("[]").write_json(&mut out);
    let expected =
        r#"before {"points":0,"max":1,"marks":[{"item":"a\"\\\n\u0001é","points":0,"max":1,"mark":"blank"}]}"#;
    assert_eq!(out, expected);
}
