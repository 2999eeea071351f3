//! The contract of the weighted accumulators, and which one computes which function.

use super::count::{Count, CountDistinct};
use super::extreme::{End, Extreme};
use super::recompute::Recompute;
use super::sum::{FloatResult, SumFloat, SumInteger};
use crate::OperatorError;
use crate::output::Output;
use crate::state::{NotSavedState, StateReader};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use chalk_event::{ChangeBatch, Weights};
use chalk_graph::{AggregateCall, AggregateFunction};

/// One aggregate of every group.
///
/// # Contract
///
/// - State is arrays by group id. [`reserve`](Self::reserve) comes before a group id is first used; a new group, and one
///   that was cleared, has no values.
/// - What [`evaluate`](Self::evaluate) gives depends only on the sum of the weighted rows, never on their order or on what was
///   retracted again.
pub(crate) trait Accumulator: Send {
    /// Makes room for group ids below `groups`.
    fn reserve(&mut self, groups: usize);

    /// Adds weighted rows.
    fn update(&mut self, rows: &CallRows<'_>) -> Result<(), ArrowError>;

    /// The result of each of `groups`, of which there is at least one.
    ///
    /// # Errors
    /// [`AccumulatorError::Groups`] names all groups that have no result because of their values.
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, AccumulatorError>;

    /// Forgets the values of a group.
    fn clear(&mut self, group: u32);

    /// About how much memory one group takes, in bytes, but for what [`rows_bytes`](Self::rows_bytes) says.
    fn group_bytes(&self) -> usize;

    /// About how much memory the rows take that groups keep, in bytes.
    fn rows_bytes(&self) -> usize {
        0
    }

    /// Appends what it knows of a group.
    fn save(&self, group: u32, out: &mut Vec<u8>);

    /// Takes back what was saved of a group, which has no values yet.
    fn restore(&mut self, group: u32, saved: &mut StateReader<'_>) -> Result<(), NotSavedState>;
}

/// Why a result could not be computed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccumulatorError {
    /// Arrow refused.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// A function of DataFusion failed.
    #[error(transparent)]
    Function(#[from] datafusion::error::DataFusionError),
    /// A function fails for the values of these groups, and what it said.
    #[error("a function fails for {} groups", .0.len())]
    Groups(Vec<(u32, String)>),
}

impl AccumulatorError {
    /// The same, with the node's name.
    pub(crate) fn of(self, output: &Output) -> OperatorError {
        match self {
            Self::Arrow(error) => output.arrow(error),
            Self::Function(error) => output.expression(&error),
            Self::Groups(_) => output.misuse(self.to_string()),
        }
    }
}

/// The rows of one step as one aggregate sees them.
pub(crate) struct CallRows<'a> {
    /// The call's arguments.
    pub(crate) args: Vec<&'a ArrayRef>,
    groups: &'a [u32],
    weights: &'a Weights,
    /// Rows that its filter lets pass; `None` is all of them.
    passed: Option<BooleanBuffer>,
}

impl<'a> CallRows<'a> {
    /// The rows of `input`, whose groups are `groups`, for `call`.
    pub(crate) fn new(call: &AggregateCall, input: &'a ChangeBatch, groups: &'a [u32]) -> Result<Self, ArrowError> {
        let rows: &RecordBatch = input.rows();
        let passed = call.filter.map(|column| true_rows(rows.column(column))).transpose()?;
        let args = call.args.iter().map(|&column| rows.column(column)).collect();
        Ok(Self { args, groups, weights: input.weights(), passed })
    }

    /// Calls `visit` with the row, group and weight of every row that passed the filter.
    pub(crate) fn each(&self, visit: impl FnMut(usize, usize, i64)) {
        self.each_of(self.passed.as_ref(), visit);
    }

    /// The same, without the rows of which an argument is NULL.
    pub(crate) fn each_non_null(&self, visit: impl FnMut(usize, usize, i64)) {
        let nulls = self.args.iter().fold(None, |nulls: Option<NullBuffer>, arg| {
            NullBuffer::union(nulls.as_ref(), arg.logical_nulls().as_ref())
        });
        match (nulls.filter(|nulls| nulls.null_count() > 0), &self.passed) {
            (None, passed) => self.each_of(passed.as_ref(), visit),
            (Some(nulls), None) => self.each_of(Some(nulls.inner()), visit),
            (Some(nulls), Some(passed)) => self.each_of(Some(&(nulls.inner() & passed)), visit),
        }
    }

    fn each_of(&self, mask: Option<&BooleanBuffer>, mut visit: impl FnMut(usize, usize, i64)) {
        match (mask, self.weights) {
            (None, Weights::Inserts) => {
                for (row, &group) in self.groups.iter().enumerate() {
                    visit(row, group as usize, 1);
                }
            }
            (None, Weights::PerRow(weights)) => {
                for (row, (&group, &weight)) in self.groups.iter().zip(weights).enumerate() {
                    visit(row, group as usize, weight);
                }
            }
            (Some(mask), Weights::Inserts) => {
                for row in mask.set_indices() {
                    visit(row, self.groups[row] as usize, 1);
                }
            }
            (Some(mask), Weights::PerRow(weights)) => {
                for row in mask.set_indices() {
                    visit(row, self.groups[row] as usize, weights[row]);
                }
            }
        }
    }
}

fn true_rows(filter: &ArrayRef) -> Result<BooleanBuffer, ArrowError> {
    let verdicts = filter.as_boolean_opt().ok_or_else(|| {
        ArrowError::InvalidArgumentError(format!("an aggregate's filter must be boolean, it is {}", filter.data_type()))
    })?;
    Ok(match verdicts.nulls() {
        None => verdicts.values().clone(),
        Some(valid) => verdicts.values() & valid.inner(),
    })
}

/// An accumulator for a call whose input columns have these types.
pub(crate) fn accumulator(
    call: &AggregateCall,
    types: &[&DataType],
    append_only: bool,
) -> Result<Box<dyn Accumulator>, ArrowError> {
    let args: Vec<&DataType> = call.args.iter().map(|&column| types[column]).collect();
    let one = || match args[..] {
        [only] => Ok(only),
        _ => Err(ArrowError::InvalidArgumentError(format!("{} takes one argument, not {}", call.display, args.len()))),
    };
    Ok(match &call.function {
        AggregateFunction::Count => Box::new(Count::default()),
        AggregateFunction::CountDistinct => Box::new(CountDistinct::new(one()?)?),
        AggregateFunction::SumInteger => one().map(|_| Box::new(SumInteger::default()))?,
        AggregateFunction::SumFloat => one().map(|_| Box::new(SumFloat::new(FloatResult::Sum)))?,
        AggregateFunction::AvgFloat => one().map(|_| Box::new(SumFloat::new(FloatResult::Mean)))?,
        AggregateFunction::Min => Box::new(Extreme::new(one()?, End::Least, append_only)?),
        AggregateFunction::Max => Box::new(Extreme::new(one()?, End::Greatest, append_only)?),
        AggregateFunction::Recompute(function) => Box::new(Recompute::new(function, &args)?),
    })
}
