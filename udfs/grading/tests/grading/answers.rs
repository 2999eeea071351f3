//! Normalising a whole submission keeps its shape.

use chalk_grading::normalise_answers;

#[track_caller]
fn check(answers: &str, expected: &str) {
    assert_eq!(normalise_answers(answers), expected);
    assert!(serde_json::from_str::<serde_json::Value>(expected).is_ok(), "valid JSON: {expected}");
}

#[test]
fn every_answer_is_normalised() {
    check("[]", "[]");
    check(" [ ] ", "[]");
    check(
        r#"[ {"item":"q01","answer":"Ｂ"}, {"item":"q02","answer":null}, {"item":"q03"} ]"#,
        r#"[{"item":"q01","answer":"B"},{"item":"q02","answer":null},{"item":"q03"}]"#,
    );
}

#[test]
fn whatever_is_in_them() {
    check(
        r#"[{"answer":"say \"hi\"\\\n\u0007 “ｙｏ”","item":"q\"1"}]"#,
        r#"[{"answer":"say \"hi\"\\ \"yo\"","item":"q\"1"}]"#,
    );
    check(r#"[{"item":"Ａ ","answer":"\ud83d\ude00"}]"#, r#"[{"item":"Ａ ","answer":"😀"}]"#);
    check(
        r#"[{"item":"q1","answer":"✓","seen":{"page":1, "at":[0.10]}}]"#,
        r#"[{"item":"q1","answer":"true","seen":{"page":1, "at":[0.10]}}]"#,
    );
}

#[test]
fn anything_else_is_left_alone() {
    for other in [
        "",
        "Ｂ",
        "null",
        r#"{"item":"q1","answer":"Ｂ"}"#,
        r#"["Ｂ"]"#,
        r#"[["q1","Ｂ"]]"#,
        r#"[{"answer":"Ｂ"}]"#,
        r#"[{"item":1,"answer":"Ｂ"}]"#,
        r#"[{"item":"q1","answer":2}]"#,
        r#"[{"item":"q1","item":"q2","answer":"Ｂ"}]"#,
        r#"[{"item":"q1","answer":"Ｂ","answer":"Ｃ"}]"#,
        r#"[{"item":"q1","answer":"Ｂ"},]"#,
        r#"[{"item":"q1","answer":"Ｂ"}] []"#,
        r#"[{"item":"q1","answer":"\ud800"}]"#,
        r#"[{"item":"q1","answer":"Ｂ"}"#,
    ] {
        assert_eq!(normalise_answers(other), other);
    }
}
