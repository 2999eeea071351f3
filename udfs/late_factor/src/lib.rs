/*
[dependencies]
chalk-grading = { path = "../grading" }
chrono = { version = "=0.4.39", default-features = false }
*/

//! `late_factor(received_s, due_s)` in SQL, in seconds, gives permille: see `chalk_grading::late_factor`. NULL for
//! either gives NULL.

use arroyo_udf_plugin::udf;

#[udf]
fn late_factor(received_s: i64, due_s: i64) -> i64 {
    chalk_grading::late_factor(received_s, due_s)
}
