//! The types of a table's columns: what SQL calls them, what the log keeps them as, what queries see.

use crate::error::{Mistake, sql_location};
use crate::statement::ColumnDef;
use arrow::datatypes::DataType;
use chalk_catalog::{AvroField, AvroType, Column, ColumnType, EpochUnit};
use chalk_graph::options::{Format, TimeFormat};
use sqlparser::ast::{self, ArrayElemTypeDef, ExactNumberInfo, TimezoneInfo};

/// A stored column of a table whose rows look like this outside.
pub(crate) fn column_of(column: &ColumnDef, format: &Format) -> Result<Column, Mistake> {
    let column_type = stored_type(column, format)?;
    Ok(Column { name: column.name.value.clone(), column_type, nullable: !column.not_null })
}

/// What the log keeps a column as.
fn stored_type(column: &ColumnDef, format: &Format) -> Result<ColumnType, Mistake> {
    let avro = avro_type(column)?;
    let times = match format {
        Format::Json(json) | Format::DebeziumJson(json) => json.times,
        _ => TimeFormat::Rfc3339,
    };
    Ok(match with_times(avro, times) {
        AvroType::Boolean => ColumnType::Boolean,
        AvroType::Int => ColumnType::Int,
        AvroType::Long => ColumnType::Long,
        AvroType::Float => ColumnType::Float,
        AvroType::Double => ColumnType::Double,
        AvroType::String => ColumnType::Text,
        AvroType::Timestamp => ColumnType::Timestamp,
        AvroType::EpochTime(unit) => ColumnType::EpochTime(unit),
        nested => ColumnType::Json(nested),
    })
}

/// The type that queries see a column as.
pub(crate) fn arrow_type(column: &ColumnDef) -> Result<DataType, Mistake> {
    stored_type(column, &Format::default()).map(|column_type| seen_as(&column_type))
}

/// The type that queries see a stored column as.
pub(crate) fn seen_as(column_type: &ColumnType) -> DataType {
    match column_type {
        ColumnType::Json(avro) => avro.arrow().unwrap_or(DataType::Utf8),
        plain => plain.arrow(),
    }
}

/// What JSON numbers of instants count, where an option says so.
fn with_times(avro: AvroType, times: TimeFormat) -> AvroType {
    match (avro, times) {
        (avro, TimeFormat::Rfc3339) => avro,
        (AvroType::Timestamp | AvroType::EpochTime(_), times) => match times {
            TimeFormat::UnixSeconds => AvroType::EpochTime(EpochUnit::Seconds),
            TimeFormat::UnixMillis => AvroType::EpochTime(EpochUnit::Millis),
            TimeFormat::UnixNanos => AvroType::EpochTime(EpochUnit::Nanos),
            TimeFormat::UnixMicros | TimeFormat::Rfc3339 => AvroType::Timestamp,
        },
        (AvroType::Array(inner), times) => AvroType::Array(Box::new(with_times(*inner, times))),
        (AvroType::Union(branches), times) => {
            AvroType::Union(branches.into_iter().map(|branch| with_times(branch, times)).collect())
        }
        (AvroType::Record(fields), times) => {
            let field = |field: AvroField| AvroField { avro: with_times(field.avro, times), ..field };
            AvroType::Record(fields.into_iter().map(field).collect())
        }
        (avro, _) => avro,
    }
}

fn avro_type(column: &ColumnDef) -> Result<AvroType, Mistake> {
    avro(&column.data_type).map_err(|unknown| {
        let message = format!("column '{}': type {unknown} is not supported in this build", column.name);
        let known = "BOOLEAN, SMALLINT, INT, BIGINT and these UNSIGNED, REAL, DOUBLE, DECIMAL(p, s), TEXT, BYTEA, TIMESTAMP(0, 3, 6 or 9), \
                     DATE, TIME, INTERVAL, JSON, T[] and STRUCT<name T, …> are";
        Mistake::new(message).hint(known).at(sql_location(column.name.span))
    })
}

/// The Avro type of a type of SQL; or the one in it that is not known.
fn avro(sql: &ast::DataType) -> Result<AvroType, ast::DataType> {
    use ast::DataType as Sql;
    let integer = |bits, signed| AvroType::Integer { bits, signed };
    let nullable = |avro| AvroType::Union(vec![AvroType::Null, avro]);
    Ok(match sql {
        Sql::Boolean | Sql::Bool => AvroType::Boolean,
        Sql::TinyInt(None) => integer(8, true),
        Sql::SmallInt(None) | Sql::Int2(None) => integer(16, true),
        Sql::Int(None) | Sql::Integer(None) | Sql::Int4(None) => AvroType::Int,
        Sql::BigInt(None) | Sql::Int8(None) => AvroType::Long,
        Sql::TinyIntUnsigned(None) => integer(8, false),
        Sql::SmallIntUnsigned(None) | Sql::Int2Unsigned(None) => integer(16, false),
        Sql::IntUnsigned(None) | Sql::IntegerUnsigned(None) | Sql::Int4Unsigned(None) => integer(32, false),
        Sql::BigIntUnsigned(None) | Sql::Int8Unsigned(None) => integer(64, false),
        Sql::Real | Sql::Float(ExactNumberInfo::None) | Sql::Float4 => AvroType::Float,
        Sql::Double(ExactNumberInfo::None) | Sql::DoublePrecision | Sql::Float8 => AvroType::Double,
        Sql::Decimal(number) | Sql::Numeric(number) | Sql::Dec(number) => {
            let (precision, scale) = match *number {
                ExactNumberInfo::None => (38, 10),
                ExactNumberInfo::Precision(precision) => (precision, 0),
                ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
            };
            match (u8::try_from(precision), i8::try_from(scale)) {
                (Ok(precision @ 1..=38), Ok(scale @ 0..)) if scale.unsigned_abs() <= precision => {
                    AvroType::Decimal { precision, scale }
                }
                _ => return Err(sql.clone()),
            }
        }
        Sql::Text | Sql::Varchar(None) | Sql::String(None) | Sql::CharacterVarying(None) => AvroType::String,
        Sql::Bytea | Sql::Binary(None) | Sql::Varbinary(None) | Sql::Blob(None) => AvroType::Bytes,
        Sql::Timestamp(None | Some(6), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => AvroType::Timestamp,
        Sql::Timestamp(Some(0), TimezoneInfo::None) => AvroType::EpochTime(EpochUnit::Seconds),
        Sql::Timestamp(Some(3), TimezoneInfo::None) => AvroType::EpochTime(EpochUnit::Millis),
        Sql::Timestamp(Some(9), TimezoneInfo::None) => AvroType::EpochTime(EpochUnit::Nanos),
        Sql::Date => AvroType::Date,
        Sql::Time(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => AvroType::TimeOfDay,
        Sql::Interval { .. } => AvroType::Interval,
        Sql::JSON => AvroType::Any,
        Sql::Array(ArrayElemTypeDef::SquareBracket(element, None) | ArrayElemTypeDef::AngleBracket(element)) => {
            match avro(element)? {
                AvroType::Any => return Err(sql.clone()),
                element => AvroType::Array(Box::new(nullable(element))),
            }
        }
        Sql::Struct(fields, _) => {
            let field = |field: &ast::StructField| {
                let name = field.field_name.as_ref().ok_or_else(|| sql.clone())?.value.clone();
                match avro(&field.field_type)? {
                    AvroType::Any => Err(field.field_type.clone()),
                    inner => Ok(AvroField { name, avro: nullable(inner), has_default: true }),
                }
            };
            AvroType::Record(fields.iter().map(field).collect::<Result<_, _>>()?)
        }
        other => return Err(other.clone()),
    })
}

/// What SQL calls a column of a topic.
pub(crate) fn sql_type(column_type: &ColumnType) -> &'static str {
    match column_type {
        ColumnType::Boolean => "BOOLEAN",
        ColumnType::Int => "INT",
        ColumnType::Long => "BIGINT",
        ColumnType::Float => "REAL",
        ColumnType::Double => "DOUBLE",
        ColumnType::Text | ColumnType::Uuid | ColumnType::Word(_) => "TEXT",
        ColumnType::Timestamp | ColumnType::EpochTime(_) => "TIMESTAMP",
        ColumnType::Json(AvroType::Decimal { .. }) => "DECIMAL",
        ColumnType::Json(AvroType::Bytes) => "BYTEA",
        ColumnType::Json(AvroType::Date) => "DATE",
        ColumnType::Json(AvroType::TimeOfDay) => "TIME",
        ColumnType::Json(AvroType::Interval) => "INTERVAL",
        ColumnType::Json(AvroType::Integer { .. }) => "another integer type",
        ColumnType::Json(_) => "JSON",
    }
}
