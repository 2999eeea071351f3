//! Every second from the due time until nothing is left.

use chalk_grading::{LATENESS, late_factor};

const DUE_S: i64 = 1_700_000_000;

/// The rule in words, independent of the table: grace of 10 minutes, then a step down after 1, 3 and 7 days.
fn expected(late_s: i64) -> i64 {
    if late_s <= 600 {
        1000
    } else if late_s <= 86_400 {
        900
    } else if late_s <= 259_200 {
        700
    } else if late_s <= 604_800 {
        500
    } else {
        0
    }
}

#[test]
fn every_second() {
    for late_s in -1_000..=700_000 {
        assert_eq!(late_factor(DUE_S + late_s, DUE_S), expected(late_s), "{late_s} s late");
    }
}

#[test]
fn ends_of_the_range() {
    assert_eq!(late_factor(i64::MIN, i64::MAX), 1000);
    assert_eq!(late_factor(i64::MAX, i64::MIN), 0);
}

#[test]
fn the_table_only_goes_down() {
    assert!(LATENESS.is_sorted_by(|a, b| a.0 < b.0 && a.1 > b.1));
}
