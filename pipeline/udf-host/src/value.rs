//! The types that functions take and give.

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A type that Arroyo's interface passes between SQL and Rust.
///
/// `bool` is not among them: what `#[udf]` makes of it does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "their names say it")]
pub enum ValueType {
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
    /// `&str` in, `String` out.
    Text,
    /// `&[u8]` in, `Vec<u8>` out.
    Bytes,
}

impl ValueType {
    /// Every type.
    pub const ALL: [Self; 12] = [
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::F32,
        Self::F64,
        Self::Text,
        Self::Bytes,
    ];

    /// As Arrow has it.
    #[must_use]
    pub fn arrow(self) -> DataType {
        match self {
            Self::I8 => DataType::Int8,
            Self::I16 => DataType::Int16,
            Self::I32 => DataType::Int32,
            Self::I64 => DataType::Int64,
            Self::U8 => DataType::UInt8,
            Self::U16 => DataType::UInt16,
            Self::U32 => DataType::UInt32,
            Self::U64 => DataType::UInt64,
            Self::F32 => DataType::Float32,
            Self::F64 => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::Bytes => DataType::Binary,
        }
    }

    /// Its name in SQL.
    #[must_use]
    pub fn sql(self) -> &'static str {
        match self {
            Self::I8 => "TINYINT",
            Self::I16 => "SMALLINT",
            Self::I32 => "INT",
            Self::I64 => "BIGINT",
            Self::U8 => "TINYINT UNSIGNED",
            Self::U16 => "SMALLINT UNSIGNED",
            Self::U32 => "INT UNSIGNED",
            Self::U64 => "BIGINT UNSIGNED",
            Self::F32 => "FLOAT",
            Self::F64 => "DOUBLE",
            Self::Text => "TEXT",
            Self::Bytes => "BYTEA",
        }
    }

    /// The number's type of this name in Rust.
    pub(crate) fn number(name: &str) -> Option<Self> {
        Some(match name {
            "i8" => Self::I8,
            "i16" => Self::I16,
            "i32" => Self::I32,
            "i64" => Self::I64,
            "u8" => Self::U8,
            "u16" => Self::U16,
            "u32" => Self::U32,
            "u64" => Self::U64,
            "f32" => Self::F32,
            "f64" => Self::F64,
            _ => return None,
        })
    }
}

/// What an argument or a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Value {
    /// Its type.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// Whether it is an `Option`: of an argument, that the function wants to see NULLs; of a result, that it may be NULL whatever
    /// the arguments are.
    pub nullable: bool,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.value_type.sql())
    }
}
