//! Columns and parameters: Arrow's types and PostgreSQL's.
//!
//! | here | there |
//! |---|---|
//! | integers up to 64 bits, unsigned ones in the next larger type | `smallint`, `integer`, `bigint`, also for unsigned 64 bits |
//! | floats, booleans, text, bytes, dates, times, timestamps, intervals, decimals | their namesakes |
//! | lists of these | arrays |
//! | all else: structs, maps, unions, lists of lists | `text`, written as in JSON answers |

use super::answer::Told;
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_pg::datatypes::df::deserialize_parameters;
use arrow_pg::datatypes::field_into_pg_type;
use chalk_codec::write_json_row;
use datafusion::common::{ParamValues, ScalarValue};
use pgwire::api::Type;
use pgwire::api::portal::Portal;
use pgwire::api::results::{FieldFormat, FieldInfo};
use pgwire::api::stmt::StoredStatement;
use pgwire::error::PgWireError;
use pgwire::messages::extendedquery::Bind;
use std::sync::Arc;

/// How the columns of an answer are sent.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub(super) fields: Arc<Vec<FieldInfo>>,
    /// What they have been made to be before they are encoded.
    schema: SchemaRef,
}

impl Columns {
    /// The columns of `schema`, in the formats that a client asks for: none, one for all, or one for each.
    pub(super) fn new(schema: &Schema, formats: &[i16]) -> Result<Self, Told> {
        let count = schema.fields().len();
        if formats.len() > 1 && formats.len() != count {
            let message = format!("bind message has {} result formats but query has {count} columns", formats.len());
            return Err(Told::error("08P01", message));
        }
        let sent: Vec<FieldRef> = schema.fields().iter().map(sent).collect();
        let field = |(index, field): (usize, &FieldRef)| {
            let code = formats.get(index).or(formats.first().filter(|_| formats.len() == 1)).copied().unwrap_or(0);
            let pg_type = field_into_pg_type(field).unwrap_or(Type::TEXT);
            let size = size_of(&pg_type);
            FieldInfo::new(field.name().clone(), None, None, pg_type, FieldFormat::from(code)).with_type_size(size)
        };
        let fields = Arc::new(sent.iter().enumerate().map(field).collect());
        Ok(Self { fields, schema: Arc::new(Schema::new(sent)) })
    }

    /// Rows as they are sent.
    pub(super) fn rows(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let sent = batch.columns().iter().zip(self.schema.fields());
        if sent.clone().all(|(column, field)| column.data_type() == field.data_type()) {
            return Ok(batch.clone());
        }
        let column = |(column, field): (&ArrayRef, &FieldRef)| match (column.data_type(), field.data_type()) {
            (from, to) if from == to => Ok(Arc::clone(column)),
            (from, _) if !is_sent(from) => json(column),
            (_, to) => cast_with_options(column, to, &CastOptions { safe: false, ..CastOptions::default() }),
        };
        let columns = sent.map(column).collect::<Result<Vec<_>, _>>()?;
        let nullable = |field: &FieldRef| Arc::new(field.as_ref().clone().with_nullable(true));
        // Answers may hold NULL where the planner knew better.
        let fields: Vec<FieldRef> = self.schema.fields().iter().map(nullable).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }
}

/// The field as it is sent.
pub(super) fn sent(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::List(item) if is_sent(field.data_type()) => {
            DataType::List(Arc::new(item.as_ref().clone().with_data_type(widened(item.data_type()))))
        }
        data_type if is_sent(data_type) => widened(data_type),
        _ => DataType::Utf8,
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// The integer type that there is.
fn widened(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        // Ranks and numbers of rows are unsigned: nobody has more than 63 bits of them.
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        other => other.clone(),
    }
}

/// Whether the encoder knows a type.
fn is_sent(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            is_scalar(item.data_type())
        }
        DataType::Dictionary(_, value) => is_scalar(value),
        other => is_scalar(other),
    }
}

fn is_scalar(data_type: &DataType) -> bool {
    match data_type {
        DataType::Null
        | DataType::Decimal128(..)
        | DataType::Boolean
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Utf8View
        | DataType::LargeUtf8
        | DataType::Binary
        | DataType::BinaryView
        | DataType::LargeBinary
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(..)
        | DataType::Interval(_)
        | DataType::Duration(_) => true,
        other => other.is_integer(),
    }
}

/// Values as in a line of JSON; text without quotation marks.
fn json(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let schema = Arc::new(Schema::new(vec![Field::new("v", column.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(schema, vec![Arc::clone(column)])?;
    let value = |row: usize| {
        if column.is_null(row) {
            return Ok(None);
        }
        let mut line = String::new();
        write_json_row(&mut line, &batch, row, &|_| false)?;
        let value = line.strip_prefix("{\"v\":").and_then(|rest| rest.strip_suffix('}')).unwrap_or(&line);
        Ok(match value {
            "null" => None,
            value => Some(serde_json::from_str::<String>(value).unwrap_or_else(|_| value.to_owned())),
        })
    };
    Ok(Arc::new((0..column.len()).map(value).collect::<Result<StringArray, ArrowError>>()?))
}

/// The bytes of a type's values, or -1.
fn size_of(pg_type: &Type) -> i16 {
    match *pg_type {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE | Type::OID | Type::REGCLASS | Type::REGTYPE | Type::REGPROC => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME => 8,
        Type::INTERVAL => 16,
        _ => -1,
    }
}

/// The type that a client gives a parameter, by its id; `None` for 0 and those that are sent as text.
pub(super) fn hint(oid: u32) -> Option<Type> {
    match Type::from_oid(oid)? {
        Type::UNKNOWN | Type::BPCHAR | Type::NAME | Type::XML => None,
        Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY => Some(Type::TEXT_ARRAY),
        known => Some(known),
    }
}

/// Arrow's type for a parameter of that type.
pub(super) fn arrow_type(hint: &Type) -> Option<DataType> {
    use arrow::datatypes::{IntervalUnit, TimeUnit};
    Some(match *hint {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 | Type::OID => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::TEXT | Type::VARCHAR | Type::JSON | Type::UUID => DataType::Utf8,
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIMESTAMP | Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        Type::NUMERIC => DataType::Decimal128(38, 10),
        _ => {
            let item = match *hint {
                Type::BOOL_ARRAY => DataType::Boolean,
                Type::INT2_ARRAY => DataType::Int16,
                Type::INT4_ARRAY => DataType::Int32,
                Type::INT8_ARRAY => DataType::Int64,
                Type::FLOAT4_ARRAY => DataType::Float32,
                Type::FLOAT8_ARRAY => DataType::Float64,
                Type::TEXT_ARRAY | Type::VARCHAR_ARRAY => DataType::Utf8,
                _ => return None,
            };
            DataType::new_list(item, true)
        }
    })
}

/// PostgreSQL's type for a parameter of a statement.
pub(super) fn parameter_type(field: Option<&FieldRef>, hint: Option<&Type>) -> Type {
    hint.cloned().or_else(|| field.and_then(|field| field_into_pg_type(&sent(field)).ok())).unwrap_or(Type::TEXT)
}

/// The values that a client sends for parameters.
pub(super) fn values(
    bind: &Bind,
    hints: &[Option<Type>],
    parameters: &[Option<FieldRef>],
) -> Result<Vec<ScalarValue>, Told> {
    let (given, wanted) = (bind.parameters.len(), parameters.len());
    if given != wanted {
        let message = format!("bind message supplies {given} parameters, but the statement requires {wanted}");
        return Err(Told::error("08P01", message));
    }
    let formats = bind.parameter_format_codes.len();
    if formats > 1 && formats != given {
        let message = format!("bind message has {formats} parameter formats but {given} parameters");
        return Err(Told::error("08P01", message));
    }
    let types = parameters
        .iter()
        .enumerate()
        .map(|(index, field)| Some(parameter_type(field.as_ref(), hints.get(index).and_then(Option::as_ref))));
    let types: Vec<Option<Type>> = types.collect();
    let binary = |index: usize| {
        let codes = &bind.parameter_format_codes;
        codes.get(index).or(codes.first().filter(|_| codes.len() == 1)).is_some_and(|code| *code == 1)
    };
    for (index, value) in bind.parameters.iter().enumerate() {
        if let (Some(value), Some(Some(Type::TEXT | Type::VARCHAR))) = (value, types.get(index))
            && std::str::from_utf8(value).is_err()
        {
            return Err(Told::error("22021", format!("parameter ${} is not UTF-8", index + 1)));
        }
    }
    let statement = StoredStatement::new(String::new(), (), types);
    let portal = Portal::try_new(bind, Arc::new(statement)).map_err(|error| Told::error("08P01", error.to_string()))?;
    let decoded = deserialize_parameters(&portal, &[]).map_err(|error| not_a_value(error, &binary))?;
    let ParamValues::List(values) = decoded else {
        return Err(Told::error("XX000", "parameters without numbers"));
    };
    let values = values.into_iter().zip(parameters);
    Ok(values.map(|(value, field)| fitting(value.value, field.as_ref())).collect())
}

/// The value in the type that the statement expects, where that is the same value; otherwise as it is.
fn fitting(value: ScalarValue, field: Option<&FieldRef>) -> ScalarValue {
    let Some(field) = field.filter(|field| *field.data_type() != value.data_type()) else { return value };
    let converted = value
        .cast_to(field.data_type())
        .ok()
        .filter(|converted| converted.cast_to(&value.data_type()).is_ok_and(|back| back == value));
    converted.unwrap_or(value)
}

fn not_a_value(error: PgWireError, binary: &dyn Fn(usize) -> bool) -> Told {
    match error {
        PgWireError::UserError(info) => Told::error("22023", info.message),
        PgWireError::FailedToParseParameter(error) => {
            let code = if (0..1).any(binary) { "22P03" } else { "22P02" };
            Told::error(code, format!("a parameter cannot be read: {error}"))
        }
        other => Told::error("22023", format!("a parameter cannot be read: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StructArray};
    use bytes::Bytes;

    fn bind(parameters: Vec<Option<&'static [u8]>>, formats: Vec<i16>) -> Bind {
        let parameters = parameters.into_iter().map(|value| value.map(Bytes::from_static)).collect();
        Bind::new(None, None, formats, parameters, Vec::new())
    }

    fn parameter(data_type: DataType) -> Option<FieldRef> {
        Some(Arc::new(Field::new("", data_type, true)))
    }

    #[test]
    fn a_value_keeps_its_meaning() {
        let check = |text: &'static [u8], hint: Option<Type>, data_type: DataType, expected: ScalarValue| {
            let values = values(&bind(vec![Some(text)], vec![]), &[hint], &[parameter(data_type)]);
            assert_eq!(values, Ok(vec![expected]));
        };
        check(b"5", None, DataType::Int64, ScalarValue::from(5_i64));
        check(b"5", Some(Type::INT2), DataType::Int64, ScalarValue::from(5_i64));
        check(b"70000", Some(Type::INT8), DataType::Int16, ScalarValue::from(70_000_i64));
        check(b"2025-09-01", None, DataType::Date32, ScalarValue::Date32(Some(20_332)));
        check(b"3A", Some(Type::VARCHAR), DataType::Utf8, ScalarValue::from("3A"));
        // 1.5 is not 1.
        let values = values(&bind(vec![Some(b"1.5")], vec![]), &[Some(Type::NUMERIC)], &[parameter(DataType::Int64)]);
        assert!(matches!(values.expect("a number").as_slice(), [ScalarValue::Decimal128(..)]));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let check = |bind: &Bind, code: &str| {
            let error = values(bind, &[], &[parameter(DataType::Int64)]).expect_err("no value");
            assert_eq!(error.code, code, "{}", error.message);
        };
        check(&bind(vec![Some(b"five")], vec![]), "22P02");
        check(&bind(vec![Some(b"12")], vec![1]), "22P03");
        check(&bind(vec![], vec![]), "08P01");
        check(&bind(vec![Some(b"1")], vec![0, 0]), "08P01");
        let text = values(&bind(vec![Some(b"\xff")], vec![]), &[], &[parameter(DataType::Utf8)]);
        assert_eq!(text.expect_err("no text").code, "22021");
        assert_eq!(
            values(&bind(vec![None], vec![]), &[], &[parameter(DataType::Int64)]),
            Ok(vec![ScalarValue::Int64(None)])
        );
    }

    #[test]
    fn what_postgresql_has_no_type_for_is_json() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let column: ArrayRef =
            Arc::new(StructArray::from(vec![(Arc::new(Field::new("a", DataType::Int64, true)), numbers)]));
        let schema = Schema::new(vec![Field::new("s\":x", column.data_type().clone(), true)]);
        let columns = Columns::new(&schema, &[1]).expect("one format");
        assert_eq!(*columns.fields[0].datatype(), Type::TEXT);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![column]).expect("a batch");
        let rows = columns.rows(&batch).expect("rows");
        let texts: Vec<Option<&str>> = arrow::array::AsArray::as_string::<i32>(rows.column(0)).iter().collect();
        assert_eq!(texts, [Some(r#"{"a":1}"#), Some(r#"{"a":null}"#)]);
        assert_eq!(Columns::new(&Schema::empty(), &[0, 1]).expect_err("two formats").code, "08P01");
    }
}
