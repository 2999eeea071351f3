//! Rows that an expression fails for: taken out, with the reason, so that the others go on.
//!
//! An expression fails for a whole batch. Which rows are at fault is found by halving it:
//!
//! ```text
//! rows 0..8 fails ─┬─ 0..4 fails ─┬─ 0..2
//!                  │              └─ 2..4 fails ─┬─ 2        row 3 is refused
//!                  │                             └─ 3 fails
//!                  └─ 4..8
//! ```
//!
//! That an expression is pure makes a row's delete fail as its insert did: neither is seen downstream.

use crate::output::Output;
use crate::{OperatorError, RefusedRow};
use arrow::array::UInt32Array;
use arrow::error::ArrowError;
use chalk_event::ChangeBatch;
use datafusion::error::{DataFusionError, Result};
use std::borrow::Cow;

/// What `evaluate` gives for the rows that it does not fail for, those rows, and the others.
///
/// # Errors
/// When it fails for another reason than a row's values.
pub(crate) fn without_refused<'i, T>(
    input: &'i ChangeBatch,
    output: &Output,
    evaluate: impl Fn(&ChangeBatch) -> Result<T>,
) -> Result<(T, Cow<'i, ChangeBatch>, Vec<RefusedRow>), OperatorError> {
    let failed = match evaluate(input) {
        Ok(value) => return Ok((value, Cow::Borrowed(input), Vec::new())),
        Err(error) => error,
    };
    let mut refused = Vec::new();
    find(input, 0, failed, &|rows| evaluate(rows).map(drop), &mut refused)
        .map_err(|error| output.expression(&error))?;
    let mut at_fault = refused.iter().map(|refused| refused.row).peekable();
    let kept = (0..input.len()).filter(|&row| at_fault.next_if_eq(&row).is_none());
    let kept = UInt32Array::from_iter_values(kept.filter_map(|row| u32::try_from(row).ok()));
    let kept = input.take(&kept).map_err(|error| output.arrow(error))?;
    let value = evaluate(&kept).map_err(|error| output.expression(&error))?;
    Ok((value, Cow::Owned(kept), refused))
}

/// Finds the rows of `part`, which begins with row `first` and failed, that fail alone; in order.
fn find(
    part: &ChangeBatch,
    first: usize,
    failed: DataFusionError,
    evaluate: &dyn Fn(&ChangeBatch) -> Result<()>,
    refused: &mut Vec<RefusedRow>,
) -> Result<()> {
    if !is_of_a_row(&failed) {
        return Err(failed);
    }
    let rows = part.len();
    if rows <= 1 {
        refused.push(RefusedRow { row: first, message: message_of(&failed) });
        return Ok(());
    }
    for (start, length) in [(0, rows / 2), (rows / 2, rows - rows / 2)] {
        let half = part.slice(start, length);
        if let Err(error) = evaluate(&half) {
            find(&half, first + start, error, evaluate, refused)?;
        }
    }
    Ok(())
}

/// What is said of a row or a group that an error is about: what failed says itself what it is, and needs no kind before it.
pub(crate) fn message_of(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::Execution(text) => {
            text.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default().to_owned()
        }
        DataFusionError::ArrowError(error, _) => error.to_string(),
        _ => error.strip_backtrace(),
    }
}

/// Whether an error is about the values of a row, or of a group. All others are about the plan or the machine, and another row would fail the
/// same way.
pub(crate) fn is_of_a_row(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::Execution(_) => true,
        DataFusionError::ArrowError(error, _) => matches!(
            **error,
            ArrowError::CastError(_)
                | ArrowError::ParseError(_)
                | ArrowError::ComputeError(_)
                | ArrowError::DivideByZero
                | ArrowError::ArithmeticOverflow(_)
                | ArrowError::InvalidArgumentError(_)
        ),
        _ => false,
    }
}
