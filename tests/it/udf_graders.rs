//! The homework graders give the same linked natively, loaded, and loaded in a worker; and they are the same functions.

use crate::loadable::{Loadable, arguments, call, scalar};
use crate::program::{Folder, udf_target};
use arrow::array::{Array, ArrayRef, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use serde_json::Value;
use std::ffi::OsString;
use std::sync::Arc;

/// A generator of numbers (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("a small number")
    }

    /// One of them, mostly as it is; or damaged; or none.
    fn pick(&mut self, texts: &[String]) -> Option<String> {
        let text = &texts[self.below(texts.len())];
        let letters: Vec<char> = text.chars().collect();
        match self.below(10) {
            0 => None,
            1 if !letters.is_empty() => Some(letters[..self.below(letters.len())].iter().collect()),
            2 if letters.len() > 1 => {
                let (mut letters, place) = (letters.clone(), self.below(letters.len()));
                letters[place] = ['"', '}', 'Ａ', '\u{301}', '9', '\\', ' '][self.below(7)];
                Some(letters.into_iter().collect())
            }
            3 => Some(String::new()),
            _ => Some(text.clone()),
        }
    }

    fn time(&mut self) -> Option<i64> {
        match self.below(6) {
            0 => None,
            1 => Some(i64::MIN),
            2 => Some(i64::MAX),
            _ => Some(1_700_000_000 + self.below(1_000_000) as i64),
        }
    }
}

/// What a made-up school hands in, and is graded by.
fn homework() -> (Vec<String>, Vec<String>) {
    let events = Folder::new().chalk(&["generate", "homework", "--events", "2000", "--seed", "5"]).out;
    let events: Vec<Value> = events.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |event_type: &str, field: &str| -> Vec<String> {
        let events = events.iter().filter(|event| event["event_type"] == event_type && !event[field].is_null());
        events.map(|event| event[field].as_str().map_or_else(|| event[field].to_string(), str::to_owned)).collect()
    };
    let (answers, keys) = (of("submission_received", "answers"), of("assignment_published", "key"));
    assert!(answers.len() > 500 && keys.len() > 10, "{} answers, {} keys", answers.len(), keys.len());
    (answers, keys)
}

#[test]
fn native_and_loaded_graders_are_the_same() {
    let loadable = Loadable::build(&udf_target());
    let worker: [OsString; 2] = [env!("CARGO_BIN_EXE_chalk-under-test").into(), "udf-worker".into()];
    let in_process = loadable.load("isolation = 'in_process'", &worker);
    let isolated = loadable.load("", &worker);
    let native = chalk_cli::graders();
    assert_eq!(in_process.len(), 5, "all graders that can be loaded");

    let (answers, keys) = homework();
    let random = &mut Random(0x9E37_79B9_7F4A_7C15);
    let text = |texts: Vec<Option<String>>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
    let rows = 3000;
    let handed_in = text((0..rows).map(|_| random.pick(&answers)).collect());
    let by_key = text((0..rows).map(|_| random.pick(&keys)).collect());
    let received: ArrayRef = Arc::new((0..rows).map(|_| random.time()).collect::<Int64Array>());
    let due: ArrayRef = Arc::new((0..rows).map(|_| random.time()).collect::<Int64Array>());
    let native_of = |name: &str| {
        let function = native.iter().find(|function| function.identity.name == name);
        function.unwrap_or_else(|| panic!("no native {name}"))
    };
    let scorer = &native_of("score_submission").udf;
    let scored = call(scorer, &arguments(scorer, &[handed_in.clone(), by_key.clone()]));
    assert!(scored.null_count() < rows / 2, "most of them can be scored");

    for (loaded, isolated) in in_process.iter().zip(&isolated) {
        let name = loaded.identity.name.as_str();
        let columns: Vec<ArrayRef> = match name {
            "normalise_answer" | "normalise_answers" => vec![handed_in.clone()],
            "score_submission" => vec![handed_in.clone(), by_key.clone()],
            "score_marks" => vec![scored.clone()],
            "late_factor" => vec![received.clone(), due.clone()],
            other => panic!("{other} is not compared"),
        };
        let function = native_of(name);
        assert_eq!(loaded.identity, function.identity, "the same source");
        let plain = |column: ArrayRef| match column.data_type() {
            DataType::Utf8View => cast(&column, &DataType::Utf8).expect("texts"),
            _ => column,
        };
        let expected = plain(call(&function.udf, &arguments(&function.udf, &columns)));
        for way in [loaded, isolated] {
            let found = call(scalar(way), &arguments(scalar(way), &columns));
            assert_eq!(&found, &expected, "{name}, {:?}", way.isolation);
        }
    }
}
