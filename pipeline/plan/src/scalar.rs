//! Small functions of the dialect that DataFusion does not have: `row_time`, `multi_hash`, and those that go by a JSON path.
//!
//! | function | gives |
//! |---|---|
//! | `row_time()` | the event time of the row |
//! | `multi_hash(a, …)` | 16 bytes that depend on all arguments, their order and which of them are NULL |
//! | `extract_json(json, path)` | the values at a path, as a list of JSON texts |
//! | `get_first_json_object(json, path)` | the first of them; NULL when there is none |
//! | `extract_json_string(json, path)` | the first of them, if it is a string: its text |

use crate::json_path::JsonPath;
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, ListBuilder, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{DataFusionError, Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// `row_time()`; with the event time as its argument once that is known.
pub(crate) const ROW_TIME: &str = "row_time";

/// The functions that SQL can name.
pub(crate) fn functions() -> [ScalarUDF; 5] {
    [Function::RowTime, Function::MultiHash, Function::Extract, Function::First, Function::FirstString]
        .map(|function| ScalarUDF::from(Scalar::new(function)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Function {
    RowTime,
    MultiHash,
    Extract,
    First,
    FirstString,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Scalar {
    function: Function,
    signature: Signature,
}

impl Scalar {
    fn new(function: Function) -> Self {
        let signature = match function {
            Function::RowTime => TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::Any(1)]),
            Function::MultiHash => TypeSignature::VariadicAny,
            _ => TypeSignature::String(2),
        };
        Self { function, signature: Signature::new(signature, Volatility::Immutable) }
    }
}

fn list_of_texts() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)))
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        match self.function {
            Function::RowTime => ROW_TIME,
            Function::MultiHash => "multi_hash",
            Function::Extract => "extract_json",
            Function::First => "get_first_json_object",
            Function::FirstString => "extract_json_string",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.function {
            Function::RowTime => DataType::Timestamp(TimeUnit::Nanosecond, None),
            Function::MultiHash => DataType::Binary,
            Function::Extract => list_of_texts(),
            Function::First | Function::FirstString => DataType::Utf8,
        })
    }

    /// Sees to it that a path that is the same for all rows can be read.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let is_path = matches!(self.function, Function::Extract | Function::First | Function::FirstString);
        if let (true, [_, Some(path)]) = (is_path, args.scalar_arguments)
            && let Some(text) = path.try_as_str().flatten()
            && let Err(why) = JsonPath::parse(text)
        {
            return plan_err!("{}: path '{text}': {why}", self.name());
        }
        Ok(Arc::new(Field::new(self.name(), self.return_type(&[])?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let count = args.number_rows;
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let result = match (self.function, columns.as_slice()) {
            (Function::RowTime, [time]) => cast(time, &DataType::Timestamp(TimeUnit::Nanosecond, None))?,
            (Function::RowTime, _) => {
                return exec_err!("row_time() stands in a query over a table with a WATERMARK");
            }
            (Function::MultiHash, columns) => multi_hash(columns, count)?,
            (_, [json, path]) => self.at_path(json, path)?,
            _ => return exec_err!("{} takes a JSON text and a path", self.name()),
        };
        Ok(ColumnarValue::Array(result))
    }
}

impl Scalar {
    fn at_path(&self, json: &ArrayRef, path: &ArrayRef) -> Result<ArrayRef> {
        let (json, path) = (cast(json, &DataType::Utf8)?, cast(path, &DataType::Utf8)?);
        let (json, path) = (json.as_string::<i32>(), path.as_string::<i32>());
        // Paths are constants, mostly.
        let mut last: Option<(String, JsonPath)> = None;
        let mut found = |row: usize| -> Result<Option<Vec<String>>> {
            if json.is_null(row) || path.is_null(row) {
                return Ok(None);
            }
            let text = path.value(row);
            let path = match &mut last {
                Some((known, path)) if known == text => path,
                other => {
                    let parsed = JsonPath::parse(text)
                        .map_err(|why| DataFusionError::Execution(format!("{}: path '{text}': {why}", self.name())))?;
                    &mut other.insert((text.to_owned(), parsed)).1
                }
            };
            Ok(Some(path.find(json.value(row))))
        };
        let rows = 0..json.len();
        Ok(match self.function {
            Function::Extract => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                for row in rows {
                    match found(row)? {
                        Some(values) => lists.append_value(values.into_iter().map(Some)),
                        None => lists.append_null(),
                    }
                }
                Arc::new(lists.finish())
            }
            function => {
                let first = |row| Ok(found(row)?.and_then(|values| values.into_iter().next()));
                let text = |value: Option<String>| match function {
                    Function::FirstString => value.and_then(|json| serde_json::from_str::<String>(&json).ok()),
                    _ => value,
                };
                Arc::new(rows.map(first).map(|value| value.map(text)).collect::<Result<StringArray>>()?)
            }
        })
    }
}

/// A hash of each row: of whether there is a value, and of the values as text with their lengths.
fn multi_hash(columns: &[ArrayRef], count: usize) -> Result<ArrayRef> {
    let options = FormatOptions::default();
    let formatters = columns.iter().map(|column| ArrayFormatter::try_new(column, &options));
    let formatters = formatters.collect::<Result<Vec<_>, _>>()?;
    let hash = |row: usize| {
        let mut hash = Xxh3::new();
        for (column, formatter) in columns.iter().zip(&formatters) {
            if column.is_null(row) {
                hash.update(&[0]);
                continue;
            }
            let text = formatter.value(row).to_string();
            hash.update(&[1]);
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        Some(hash.digest128().to_be_bytes())
    };
    Ok(Arc::new((0..count).map(hash).collect::<BinaryArray>()))
}
