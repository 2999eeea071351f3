//! The planner's session, and the functions that are ours.

use arrow::array::{Array, ArrayRef, AsArray, StructArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Fields, IntervalMonthDayNanoType, TimeUnit, TimestampNanosecondType};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::prelude::{SessionConfig, SessionContext};
use std::sync::Arc;

const DAY: i64 = 86_400_000_000_000;

/// Functions beside DataFusion's.
#[derive(Clone, Debug, Default)]
pub struct Functions {
    /// Those that give a value for each row.
    pub scalar: Vec<Arc<ScalarUDF>>,
    /// Those that give a value for each group.
    pub aggregate: Vec<Arc<AggregateUDF>>,
}

/// A session with our dialect's settings and functions: for planning, for queries, and for the batch answer.
///
/// `partitions` is how many threads a batch query may use.
///
/// # Panics
/// Never: registering DataFusion's own JSON functions cannot fail in a new session.
#[must_use]
pub fn session(functions: &Functions, partitions: usize) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(partitions).with_information_schema(true);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    let mut context = SessionContext::new_with_config(config);
    datafusion_functions_json::register_all(&mut context).expect("a new session takes every function");
    context.register_udf(ScalarUDF::from(Tumble::new()));
    for function in &functions.scalar {
        context.register_udf(ScalarUDF::clone(function));
    }
    for function in &functions.aggregate {
        context.register_udaf(AggregateUDF::clone(function));
    }
    context
}

/// The name of the window function.
pub(crate) const TUMBLE: &str = "tumble";

/// `tumble(width)`: the window `[start, end)` of a row's event time. The planner adds the second argument, the time.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Tumble {
    signature: Signature,
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

impl Tumble {
    fn new() -> Self {
        let arity = vec![TypeSignature::Any(1), TypeSignature::Any(2)];
        Self { signature: Signature::new(TypeSignature::OneOf(arity), Volatility::Immutable) }
    }
}

fn window_fields() -> Fields {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    Fields::from(vec![Field::new("start", time.clone(), true), Field::new("end", time, true)])
}

/// A window's width in nanoseconds.
pub(crate) fn width_of(width: &ScalarValue) -> Option<i64> {
    let nanos = match width {
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            i64::from(interval.days) * DAY + interval.nanoseconds
        }
        ScalarValue::IntervalDayTime(Some(interval)) => {
            i64::from(interval.days) * DAY + i64::from(interval.milliseconds) * 1_000_000
        }
        _ => return None,
    };
    (nanos > 0).then_some(nanos)
}

impl ScalarUDFImpl for Tumble {
    fn name(&self) -> &str {
        TUMBLE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(window_fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [width, time] = args.args.as_slice() else {
            return plan_err!(
                "tumble(width) stands in the select list and GROUP BY of a query over a table with a WATERMARK"
            );
        };
        let width = match width {
            ColumnarValue::Scalar(width) => width_of(width),
            ColumnarValue::Array(widths) => widths
                .as_primitive_opt::<IntervalMonthDayNanoType>()
                .filter(|widths| !widths.is_empty() && widths.iter().all(|width| width == Some(widths.value(0))))
                .and_then(|widths| width_of(&ScalarValue::IntervalMonthDayNano(Some(widths.value(0))))),
        };
        let Some(width) = width else {
            return exec_err!("tumble: the width is a constant, positive INTERVAL of days or less");
        };
        let time = time.to_array(args.number_rows)?;
        let time = arrow::compute::cast(&time, &DataType::Timestamp(TimeUnit::Nanosecond, None))?;
        let time = time.as_primitive::<TimestampNanosecondType>();
        let start: TimestampNanosecondArray = time.unary(|time| tumble(time, width));
        let end: TimestampNanosecondArray = start.unary(|start| start + width);
        let nulls = time.nulls().cloned();
        let columns: Vec<ArrayRef> = vec![Arc::new(start), Arc::new(end)];
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new(window_fields(), columns, nulls)?)))
    }
}
