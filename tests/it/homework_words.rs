//! The engine does not know what it is used for: only the generator and the program that wires things name homework.

use crate::workspace::root;
use std::path::Path;

/// Crates that may name homework.
const MAY_NAME_IT: [&str; 2] = ["pipeline/cli", "pipeline/homework"];

/// Parts of names and words of prose. Those that mean something else too (class, mark, score, key) are not here.
#[rustfmt::skip]
const WORDS: [&[&str]; 29] = [
    &["assignment"], &["assignments"], &["class", "id"], &["class", "ids"],
    &["grade"], &["graded"], &["grader"], &["graders"], &["grades"], &["grading"], &["homework"],
    &["leaderboard"], &["leaderboards"], &["overrode"], &["pupil"], &["pupils"],
    &["regrade"], &["regraded"], &["regrading"], &["rubric"], &["rubrics"], &["school"], &["schools"],
    &["student"], &["students"], &["submission"], &["submissions"], &["teacher"], &["teachers"],
];

#[test]
fn the_engine_does_not_name_homework() {
    let mut files = Vec::new();
    rust_files("pipeline", &mut files);
    assert!(!files.is_empty(), "no Rust files under pipeline/");
    let found: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            findings(path, &text)
        })
        .collect();
    assert!(found.is_empty(), "homework is named where only the engine should be:\n{}", found.join("\n"));
}

/// Paths below the root.
fn rust_files(folder: &str, into: &mut Vec<String>) {
    let entries = std::fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("{folder}: {error}"));
        let path = format!("{folder}/{}", entry.file_name().display());
        if MAY_NAME_IT.contains(&path.as_str()) {
            continue;
        }
        if entry.path().is_dir() {
            rust_files(&path, into);
        } else if Path::new(&path).extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
}

/// `path:line: word` for each word of homework; a file's name counts as its line 0.
fn findings(path: &str, text: &str) -> Vec<String> {
    let lines = std::iter::once(path).chain(text.lines()).enumerate();
    lines.flat_map(|(line, text)| named(text).into_iter().map(move |word| format!("{path}:{line}: {word}"))).collect()
}

fn named(line: &str) -> Vec<String> {
    let parts = parts(line);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let words = (0..parts.len()).flat_map(|start| WORDS.iter().find(|word| parts[start..].starts_with(word)));
    words.map(|word| word.join("_")).collect()
}

/// Words in lower case; names are taken apart: `class_id`, `ClassId` and `class id` are all two words.
fn parts(line: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before = ' ';
    let mut rest = line.chars().peekable();
    while let Some(letter) = rest.next() {
        let next_is_lower = rest.peek().is_some_and(|next| next.is_lowercase());
        let begins_hump = letter.is_uppercase() && (!before.is_uppercase() || next_is_lower);
        if (begins_hump || !letter.is_alphanumeric()) && parts.last().is_some_and(|part| !part.is_empty()) {
            parts.push(String::new());
        }
        if letter.is_alphanumeric()
            && let Some(part) = parts.last_mut()
        {
            part.extend(letter.to_lowercase());
        }
        before = letter;
    }
    parts
}

#[test]
fn planted_words_are_found_and_others_left() {
    let bad = "\
//! Counts submissions per pupil.
fn by_class(class_id: &str, StudentIds: X) {}
let x = \"teacher_overrode\"; // HTTPGrader
";
    assert_eq!(
        findings("pipeline/view/src/leaderboard.rs", bad),
        [
            "pipeline/view/src/leaderboard.rs:0: leaderboard",
            "pipeline/view/src/leaderboard.rs:1: submissions",
            "pipeline/view/src/leaderboard.rs:1: pupil",
            "pipeline/view/src/leaderboard.rs:2: class_id",
            "pipeline/view/src/leaderboard.rs:2: student",
            "pipeline/view/src/leaderboard.rs:3: teacher",
            "pipeline/view/src/leaderboard.rs:3: overrode",
            "pipeline/view/src/leaderboard.rs:3: grader",
        ]
    );
    let good = "an upgrade of class Key degraded the example; Submitted { watermark, score, key, identity }";
    assert_eq!(findings("pipeline/view/src/rows.rs", good), [""; 0]);
}
