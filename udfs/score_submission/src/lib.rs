/*
[dependencies]
chalk-grading = { path = "../grading" }
chrono = { version = "=0.4.39", default-features = false }
*/

//! `score_submission(answers, key)` in SQL: see `chalk_grading::score_submission`. NULL for either, or a key that is
//! not usable, gives NULL.

use arroyo_udf_plugin::udf;

#[udf]
fn score_submission(answers: &str, key: &str) -> Option<String> {
    chalk_grading::score_submission(answers, key)
}
