/*
[dependencies]
chalk-grading = { path = "../grading" }
chrono = { version = "=0.4.39", default-features = false }
*/

//! `normalise_answers(answers)` in SQL: see `chalk_grading::normalise_answers`. NULL gives NULL.

use arroyo_udf_plugin::udf;

#[udf]
fn normalise_answers(answers: &str) -> String {
    chalk_grading::normalise_answers(answers)
}
