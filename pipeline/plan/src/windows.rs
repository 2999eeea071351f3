//! Windows as functions: `tumble`, `hop` and `session` give a struct of `start` and `end`.
//!
//! | in SQL | is |
//! |---|---|
//! | `tumble(width)` | a scalar function of the event time |
//! | `hop(slide, width)` | a row for each window that the event time is in: the unnested result of `hop_windows` |
//! | `session(gap)` in GROUP BY | a window function over the rows of a group, in order of event time |
//!
//! `event_time.rs` makes the second column of the first. A column with windows has a mark, as event time has: which kind they are of.

use arrow::array::{
    Array, ArrayRef, AsArray, ListBuilder, NullBufferBuilder, StructArray, StructBuilder, TimestampNanosecondArray,
    TimestampNanosecondBuilder,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, IntervalMonthDayNanoType, TimeUnit, TimestampNanosecondType,
};
use chalk_graph::WindowKind;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    ColumnarValue, PartitionEvaluator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility, WindowUDF, WindowUDFImpl,
};
use std::sync::Arc;

const DAY: i64 = 86_400_000_000_000;
const MARK: &str = "chalk.window";

/// `tumble(width)`; with the event time as second argument once it is resolved.
pub(crate) const TUMBLE: &str = "tumble";
/// `hop(slide, width)`; with the event time as third argument once it is known.
pub(crate) const HOP: &str = "hop";
/// `session(gap)`; with the event time as second argument once it is known.
pub(crate) const SESSION: &str = "session";
/// What `session` becomes.
pub(crate) const SESSION_WINDOW: &str = "session_window";

/// A row may be in so many windows at once.
const HOPS_MAX: i64 = 10_000;

/// The functions that SQL can name.
pub(crate) fn functions() -> [ScalarUDF; 3] {
    [Function::Tumble, Function::Hop, Function::Session].map(|function| ScalarUDF::from(WindowOf::new(function)))
}

/// The list of windows that a time is in: `hop_windows(slide, width, time)`.
pub(crate) fn hop_windows() -> ScalarUDF {
    ScalarUDF::from(WindowOf::new(Function::Hops))
}

/// `session_window(time, gap) OVER (PARTITION BY … ORDER BY time)`.
pub(crate) fn session_window() -> WindowUDF {
    WindowUDF::from(SessionWindow { signature: Signature::any(2, Volatility::Immutable) })
}

/// The start of the window of `width` nanoseconds that holds `time`; windows are aligned to the Unix epoch.
///
/// ```
/// assert_eq!(chalk_plan::tumble(25, 10), 20);
/// assert_eq!(chalk_plan::tumble(-1, 10), -10);
/// ```
#[must_use]
pub fn tumble(time: i64, width: i64) -> i64 {
    time - time.rem_euclid(width)
}

/// The starts of the windows of `width` nanoseconds that hold `time`, first to last; one begins every `slide`.
///
/// ```
/// assert_eq!(chalk_plan::hop(25, 5, 10).collect::<Vec<_>>(), [20, 25]);
/// assert_eq!(chalk_plan::hop(25, 10, 25).collect::<Vec<_>>(), [10, 20], "any width, whatever the slide");
/// assert_eq!(chalk_plan::hop(25, 10, 5).next(), None, "between two windows");
/// ```
pub fn hop(time: i64, slide: i64, width: i64) -> impl Iterator<Item = i64> {
    let last = tumble(time, slide);
    let first = last - (width - 1 - (time - last)).div_euclid(slide) * slide;
    (0..).map(move |number| first + number * slide).take_while(move |&start| start <= last)
}

fn window_fields() -> Fields {
    chalk_graph::Session::window_fields()
}

fn window_type() -> DataType {
    DataType::Struct(window_fields())
}

/// The field, marked as one of windows.
pub(crate) fn window_field(field: Field, kind: WindowKind) -> Field {
    let mark = match kind {
        WindowKind::Tumble { width } => format!("{width}"),
        WindowKind::Hop { slide, width } => format!("{slide} {width}"),
        WindowKind::Session { gap } => format!("session {gap}"),
    };
    let mut metadata = field.metadata().clone();
    metadata.insert(MARK.to_owned(), mark);
    field.with_metadata(metadata)
}

/// Whether a column has windows: those of `hop` and `session` are marked in the graph alone.
pub(crate) fn is_window(field: &Field) -> bool {
    *field.data_type() == window_type()
}

/// Which windows a column has, if it has any.
pub(crate) fn window_of(field: &Field) -> Option<WindowKind> {
    let mark = field.metadata().get(MARK)?;
    match mark.split_once(' ') {
        None => Some(WindowKind::Tumble { width: mark.parse().ok()? }),
        Some(("session", gap)) => Some(WindowKind::Session { gap: gap.parse().ok()? }),
        Some((slide, width)) => Some(WindowKind::Hop { slide: slide.parse().ok()?, width: width.parse().ok()? }),
    }
}

/// A positive duration in nanoseconds.
pub(crate) fn nanoseconds(interval: &ScalarValue) -> Option<i64> {
    signed_nanoseconds(interval).filter(|&nanos| nanos > 0)
}

/// A duration in nanoseconds, if it has no months.
pub(crate) fn signed_nanoseconds(interval: &ScalarValue) -> Option<i64> {
    match interval {
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            i64::from(interval.days).checked_mul(DAY)?.checked_add(interval.nanoseconds)
        }
        ScalarValue::IntervalDayTime(Some(interval)) => {
            Some(i64::from(interval.days) * DAY + i64::from(interval.milliseconds) * 1_000_000)
        }
        _ => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Function {
    Tumble,
    Hop,
    Hops,
    Session,
}

/// A scalar function of durations and, once that is known, the event time.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowOf {
    function: Function,
    signature: Signature,
}

impl WindowOf {
    fn new(function: Function) -> Self {
        let durations = function.durations();
        let arity = vec![TypeSignature::Any(durations), TypeSignature::Any(durations + 1)];
        Self { function, signature: Signature::new(TypeSignature::OneOf(arity), Volatility::Immutable) }
    }
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Self::Tumble => TUMBLE,
            Self::Hop => HOP,
            Self::Hops => "hop_windows",
            Self::Session => SESSION,
        }
    }

    fn durations(self) -> usize {
        match self {
            Self::Tumble | Self::Session => 1,
            Self::Hop | Self::Hops => 2,
        }
    }

    fn kind(self, durations: &[Option<i64>]) -> Result<WindowKind> {
        let kind = match (self, durations) {
            (Self::Tumble, [Some(width)]) => WindowKind::Tumble { width: *width },
            (Self::Hop | Self::Hops, [Some(slide), Some(width)]) => WindowKind::Hop { slide: *slide, width: *width },
            (Self::Session, [Some(gap)]) => WindowKind::Session { gap: *gap },
            _ => {
                let arguments = match self {
                    Self::Tumble => "the width is",
                    Self::Hop | Self::Hops => "slide and width are",
                    Self::Session => "the gap is",
                };
                let name = if self == Self::Hops { HOP } else { self.name() };
                return plan_err!("{name}: {arguments} a constant, positive INTERVAL of days or less");
            }
        };
        match kind {
            WindowKind::Hop { slide, width } if width / slide >= HOPS_MAX => {
                plan_err!("hop: each row would be in {} windows, and {HOPS_MAX} is the most", width / slide)
            }
            kind => Ok(kind),
        }
    }
}

/// The duration that an argument has in every row.
fn duration(argument: &ColumnarValue) -> Option<i64> {
    match argument {
        ColumnarValue::Scalar(value) => nanoseconds(value),
        ColumnarValue::Array(values) => values
            .as_primitive_opt::<IntervalMonthDayNanoType>()
            .filter(|values| !values.is_empty() && values.iter().all(|value| value == Some(values.value(0))))
            .and_then(|values| nanoseconds(&ScalarValue::IntervalMonthDayNano(Some(values.value(0))))),
    }
}

impl ScalarUDFImpl for WindowOf {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.function {
            Function::Hops => DataType::new_list(window_type(), true),
            _ => window_type(),
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let durations = args.scalar_arguments.iter().take(self.function.durations());
        let durations: Vec<Option<i64>> = durations.map(|value| value.and_then(nanoseconds)).collect();
        let kind = self.function.kind(&durations)?;
        let field = Field::new(self.name(), self.return_type(&[])?, true);
        Ok(Arc::new(window_field(field, kind)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (durations, time) = args.args.split_at(self.function.durations().min(args.args.len()));
        let kind = self.function.kind(&durations.iter().map(duration).collect::<Vec<_>>())?;
        let ([time], Function::Tumble | Function::Hops) = (time, self.function) else {
            return exec_err!(
                "{}(…) stands in the select list and GROUP BY of a query over a table with a WATERMARK",
                self.name()
            );
        };
        let time = time.to_array(args.number_rows)?;
        let time = arrow::compute::cast(&time, &DataType::Timestamp(TimeUnit::Nanosecond, None))?;
        let time = time.as_primitive::<TimestampNanosecondType>();
        Ok(ColumnarValue::Array(match kind {
            WindowKind::Hop { slide, width } => Arc::new(hops(time, slide, width)),
            WindowKind::Tumble { width } | WindowKind::Session { gap: width } => {
                let start: TimestampNanosecondArray = time.unary(|time| tumble(time, width));
                let end: TimestampNanosecondArray = start.unary(|start| start + width);
                let columns: Vec<ArrayRef> = vec![Arc::new(start), Arc::new(end)];
                Arc::new(StructArray::try_new(window_fields(), columns, time.nulls().cloned())?)
            }
        }))
    }
}

/// The windows that each time is in; what has no time is in no window, which is one window that is NULL.
fn hops(times: &TimestampNanosecondArray, slide: i64, width: i64) -> arrow::array::ListArray {
    let bounds = || Box::new(TimestampNanosecondBuilder::new()) as Box<dyn arrow::array::ArrayBuilder>;
    let mut windows = ListBuilder::new(StructBuilder::new(window_fields(), vec![bounds(), bounds()]));
    for time in times {
        let window = windows.values();
        let mut push = |start: Option<i64>| {
            for (field, value) in [(0, start), (1, start.map(|start| start + width))] {
                if let Some(bound) = window.field_builder::<TimestampNanosecondBuilder>(field) {
                    bound.append_option(value);
                }
            }
            window.append(start.is_some());
        };
        match time {
            None => push(None),
            Some(time) => hop(time, slide, width).for_each(|start| push(Some(start))),
        }
        windows.append(true);
    }
    windows.finish()
}

/// The session of each row of a partition, of which the rows come in order of time, those without one last.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SessionWindow {
    signature: Signature,
}

impl WindowUDFImpl for SessionWindow {
    fn name(&self) -> &str {
        SESSION_WINDOW
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Sessions))
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), window_type(), true)))
    }
}

#[derive(Debug)]
struct Sessions;

impl PartitionEvaluator for Sessions {
    fn evaluate_all(&mut self, values: &[ArrayRef], count: usize) -> Result<ArrayRef> {
        let [times, gap] = values else { return exec_err!("{SESSION_WINDOW} takes a time and a gap") };
        let times = arrow::compute::cast(times, &DataType::Timestamp(TimeUnit::Nanosecond, None))?;
        let times = times.as_primitive::<TimestampNanosecondType>();
        let Some(gap) = duration(&ColumnarValue::Array(Arc::clone(gap))) else {
            return exec_err!("{SESSION}: the gap is a constant, positive INTERVAL of days or less");
        };
        let (mut starts, mut ends, mut nulls) = (vec![0; count], vec![0; count], NullBufferBuilder::new(count));
        let follows = |row: usize| row > 0 && times.is_valid(row - 1) && times.value(row) - times.value(row - 1) < gap;
        for row in 0..count {
            nulls.append(times.is_valid(row));
            if times.is_valid(row) {
                starts[row] = if follows(row) { starts[row - 1] } else { times.value(row) };
            }
        }
        // The last row of a session says when all of it ends.
        for row in (0..count).rev().filter(|&row| times.is_valid(row)) {
            let goes_on = row + 1 < count && times.is_valid(row + 1) && starts[row + 1] == starts[row];
            ends[row] = if goes_on { ends[row + 1] } else { times.value(row) + gap };
        }
        let bounds = |values: Vec<i64>| Arc::new(TimestampNanosecondArray::from(values)) as ArrayRef;
        let nulls: Option<NullBuffer> = nulls.finish();
        Ok(Arc::new(StructArray::try_new(window_fields(), vec![bounds(starts), bounds(ends)], nulls)?))
    }
}
