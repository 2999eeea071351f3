/*
[dependencies]
chalk-grading = { path = "../grading" }
chrono = { version = "=0.4.39", default-features = false }
*/

//! `normalise_answer(raw)` in SQL: see `chalk_grading::normalise_answer`. NULL gives NULL.

use arroyo_udf_plugin::udf;

#[udf]
fn normalise_answer(raw: &str) -> String {
    chalk_grading::normalise_answer(raw)
}
