//! Every mistake in a key is found, placed and comes with advice.

use chalk_grading::Key;

/// `expected` is the error's first line.
#[track_caller]
fn check(key: &str, expected: &str) {
    let error = Key::parse(key).expect_err(key);
    let text = error.to_string();
    let (problem, hint) = text.split_once("\nhint: ").expect("a hint on its own line");
    assert_eq!(problem, expected);
    assert_eq!(hint, error.hint());
}

#[track_caller]
fn check_item(item: &str, expected: &str) {
    let key = format!(r#"{{"items":[{{"item":"q0","kind":"single","points":1,"answers":["A"]}},{{{item}}}]}}"#);
    check(&key, expected);
}

#[test]
fn of_the_whole_key() {
    check("", "the key is not readable: EOF while parsing a value at line 1 column 0");
    check("{}", "the key is not readable: missing field `items` at line 1 column 2");
    check(r#"{"items":[]}"#, "the key has no items");
    check(
        r#"{"floor":2,"items":[{"item":"q","kind":"single","points":1,"answers":["A"]}]}"#,
        "the floor 2 is more than all points together, 1",
    );
}

#[test]
fn of_an_item() {
    for (item, expected) in [
        (r#""item":"q1","kind":"essay","points":1,"answers":["A"]"#, r#"item "q1": kind "essay" is not known"#),
        (r#""item":"q0","kind":"single","points":1,"answers":["A"]"#, r#"item "q0": it is there twice"#),
        (r#""item":"","kind":"single","points":1,"answers":["A"]"#, r#"item "": its name is empty"#),
        (r#""item":"q1","kind":"single","points":-1,"answers":["A"]"#, r#"item "q1": points -1 is negative"#),
        (
            r#""item":"q1","kind":"single","points":1000000001,"answers":["A"]"#,
            r#"item "q1": points 1000000001 is too much"#,
        ),
        (
            r#""item":"q1","kind":"single","points":1,"penalty":-5,"answers":["A"]"#,
            r#"item "q1": penalty -5 is negative"#,
        ),
        (r#""item":"q1","kind":"single","points":1,"answers":[]"#, r#"item "q1": it has no answers"#),
        (r#""item":"q1","kind":"text","points":1,"answers":["a"," "]"#, r#"item "q1": answer 2 of 2 is empty"#),
        (
            r#""item":"q1","kind":"text","points":1,"partial":true,"answers":["a"]"#,
            r#"item "q1": it gives partial credit"#,
        ),
        (r#""item":"q1","kind":"text","points":1,"tolerance":"1","answers":["a"]"#, r#"item "q1": it has a tolerance"#),
        (
            r#""item":"q1","kind":"single","points":1,"answers":["A","B"]"#,
            r#"item "q1": 2 answers for a single choice"#,
        ),
        (
            r#""item":"q1","kind":"multiple","points":1,"answers":["A,C"]"#,
            r#"item "q1": choice "A,C" is not one letter or digit"#,
        ),
        (
            r#""item":"q1","kind":"multiple","points":1,"answers":["A","ａ"]"#,
            r#"item "q1": choice "ａ" is there twice"#,
        ),
        (r#""item":"q1","kind":"numeric","points":1,"answers":["1","2"]"#, r#"item "q1": 2 answers for a number"#),
        (r#""item":"q1","kind":"numeric","points":1,"answers":["3 cm"]"#, r#"item "q1": "3 cm" is not a number"#),
        (
            r#""item":"q1","kind":"numeric","points":1,"answers":["1"],"tolerance":"""#,
            r#"item "q1": tolerance "" is not a number"#,
        ),
        (
            r#""item":"q1","kind":"numeric","points":1,"answers":["1"],"tolerance":"a bit""#,
            r#"item "q1": tolerance "a bit" is not a number"#,
        ),
        (
            r#""item":"q1","kind":"numeric","points":1,"answers":["1"],"tolerance":"-1%""#,
            r#"item "q1": tolerance "-1%" is negative"#,
        ),
        (
            r#""item":"q1","kind":"numeric","points":1,"answers":["1e30"],"tolerance":"1e-30""#,
            r#"item "q1": the range that tolerance "1e-30" opens does not fit 128 bits"#,
        ),
        (
            r#""item":"q1","kind":"ordered","points":1,"answers":["a>b","c"]"#,
            r#"item "q1": step "a>b" would be divided or lost"#,
        ),
        (
            r#""item":"q1","kind":"ordered","points":1,"answers":["ab","--"]"#,
            r#"item "q1": step "--" would be divided or lost"#,
        ),
    ] {
        check_item(item, expected);
    }
}

#[test]
fn says_which_item() {
    let key = r#"{"items":[{"item":"q7","kind":"single","points":-1,"answers":["A"]}]}"#;
    assert_eq!(Key::parse(key).expect_err("negative points").item(), Some("q7"));
}
