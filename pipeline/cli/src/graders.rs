//! The native graders: the plain grading library over Arrow columns.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Int64Type};
use chalk_catalog::FunctionIdentity;
use chalk_udf_host::{Function, native, version_function};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// All native functions, `udf_version` included.
#[must_use]
pub fn graders() -> Vec<Function> {
    let hash = content_hash();
    let identity = |name: &str| FunctionIdentity { name: name.to_owned(), content_hash: hash.clone() };
    let mut functions = vec![
        text_function(identity("normalise_answer"), chalk_grading::normalise_answer),
        text_function(identity("normalise_answers"), chalk_grading::normalise_answers),
        score_submission(identity("score_submission")),
        late_factor(identity("late_factor")),
    ];
    functions.push(version_function(&functions));
    functions
}

/// A hash of the grading library's source: all graders change together with it.
fn content_hash() -> String {
    let mut hash = Xxh3::new();
    for (name, text) in chalk_grading::SOURCES {
        for part in [name, text] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    format!("{:032x}", hash.digest128())
}

/// Text to text; NULL to NULL.
fn text_function(identity: FunctionIdentity, function: fn(&str) -> String) -> Function {
    native(identity, vec![DataType::Utf8], DataType::Utf8, move |arguments| {
        let texts = arguments[0].as_string::<i32>();
        let mut results = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
        for text in texts {
            results.append_option(text.map(function));
        }
        Ok(Arc::new(results.finish()) as ArrayRef)
    })
}

/// `score_submission(answers, key)`: one row per submission; NULL when the key cannot be used.
fn score_submission(identity: FunctionIdentity) -> Function {
    native(identity, vec![DataType::Utf8, DataType::Utf8], DataType::Utf8, |arguments| {
        let (answers, keys) = (arguments[0].as_string::<i32>(), arguments[1].as_string::<i32>());
        let scores = answers.iter().zip(keys).map(|(answers, key)| chalk_grading::score_submission(answers?, key?));
        Ok(Arc::new(scores.collect::<StringArray>()) as ArrayRef)
    })
}

/// `late_factor(received_s, due_s)`: permille.
fn late_factor(identity: FunctionIdentity) -> Function {
    native(identity, vec![DataType::Int64, DataType::Int64], DataType::Int64, |arguments| {
        let (received, due) = (arguments[0].as_primitive::<Int64Type>(), arguments[1].as_primitive::<Int64Type>());
        let factors = received.iter().zip(due).map(|(received, due)| Some(chalk_grading::late_factor(received?, due?)));
        Ok(Arc::new(factors.collect::<Int64Array>()) as ArrayRef)
    })
}
