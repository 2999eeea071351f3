//! Marks are read back as they were written, however they are spelt.

use chalk_grading::{Key, for_each_mark};

/// What is read of `marks`, as `item points/max mark`, and whether they are marks to their end.
fn read(marks: &str) -> (Vec<String>, bool) {
    let mut read = Vec::new();
    let whole = for_each_mark(marks, |it| read.push(format!("{} {}/{} {}", it.item, it.points, it.max, it.mark)));
    (read, whole)
}

#[track_caller]
fn check(marks: &str, expected: &[&str]) {
    let (read, whole) = read(marks);
    assert_eq!(read, expected, "{marks}");
    assert!(whole, "{marks}");
}

#[test]
fn what_a_score_writes() {
    let key = r#"{"items":[
        {"item":"q1","kind":"single","points":1000,"penalty":250,"answers":["A"]},
        {"item":"q\"2\u00e9","kind":"single","points":500,"answers":["B"]},
        {"item":"三","kind":"single","points":70,"answers":["C"]}]}"#;
    let key = Key::parse(key).expect("a sound key");
    let mut score = String::new();
    key.score(r#"[{"item":"q1","answer":"B"},{"item":"三","answer":"C"}]"#).write_json(&mut score);
    let (_, marks) = score.split_once("\"marks\":").expect("marks come last");
    check(&marks[..marks.len() - 1], &["q1 -250/1000 wrong", "q\"2é 0/500 blank", "三 70/70 correct"]);
}

#[test]
fn other_spellings() {
    check("[]", &[]);
    check(" [ ] ", &[]);
    let plain = r#"{"item":"a","points":1,"max":2,"mark":"partial"}"#;
    check(&format!("[{plain}]\n"), &["a 1/2 partial"]);
    check(
        &format!(r#"[{plain},{{"mark":"wrong", "points":-3,"item":"b","max":4,"note":[1]}},{plain}]"#),
        &["a 1/2 partial", "b -3/4 wrong", "a 1/2 partial"],
    );
}

#[test]
fn what_are_no_marks() {
    let good = r#"{"item":"a","points":1,"max":2,"mark":"blank"}"#;
    for bad in ["", "null", "{}", "[1]", r#"[{"item":"a"}]"#, "[", "[]]"] {
        assert_eq!(read(bad), (vec![], false), "{bad}");
    }
    for bad in
        [format!("[{good}"), format!("[{good},"), format!("[{good},]"), format!("[{good}]x"), format!("[{good}}}")]
    {
        assert_eq!(read(&bad), (vec!["a 1/2 blank".to_owned()], false), "{bad}");
    }
    assert!(!read(r#"[{"item":"a","points":1-2,"max":2,"mark":"blank"}]"#).1);
    assert!(!read(r#"[{"item":"a","points":99999999999999999999,"max":2,"mark":"blank"}]"#).1);
}
