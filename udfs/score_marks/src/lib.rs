/*
[dependencies]
chalk-grading = { path = "../grading" }
chrono = { version = "=0.4.39", default-features = false }
*/

//! `score_marks(score)` in SQL: see `chalk_grading::score_marks`. NULL, or what is not a score, gives NULL.

use arroyo_udf_plugin::udf;

#[udf]
fn score_marks(score: &str) -> Option<String> {
    chalk_grading::score_marks(score).map(str::to_owned)
}
