//! `format = '…'` and what belongs to it.

use super::OptionError;
use super::reader::{Reader, refused};

/// What rows look like where they come from or go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// `json`: an object for each row.
    Json(JsonOptions),
    /// `debezium_json`: an object for each change of a row, with what it was before and is after.
    DebeziumJson(JsonOptions),
    /// `raw_string`: the one column's text.
    RawString,
    /// `raw_bytes`: the one column's bytes.
    RawBytes,
    /// `parquet`: files with the columns.
    Parquet,
    /// `avro`: files with the columns.
    Avro(AvroOptions),
}

/// Options of `format = 'avro'`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AvroOptions {
    /// `avro.raw_datums`: files have neither header nor blocks, and are of the table's columns.
    pub raw_datums: bool,
}

impl Default for Format {
    fn default() -> Self {
        Self::Json(JsonOptions::default())
    }
}

/// Options of the formats that are JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonOptions {
    /// `json.unstructured`: the table has one column, which is the whole value.
    pub unstructured: bool,
    /// `json.timestamp_format`.
    pub times: TimeFormat,
}

/// How instants are written, and what numbers of them count where they are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339; numbers are in the unit of the column's type, which is microseconds for `TIMESTAMP`.
    #[default]
    Rfc3339,
    /// Seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMillis,
    /// Microseconds since 1970.
    UnixMicros,
    /// Nanoseconds since 1970.
    UnixNanos,
}

impl TimeFormat {
    /// How many nanoseconds a number counts; `None` when instants are text.
    #[must_use]
    pub fn nanos(self) -> Option<i64> {
        match self {
            Self::Rfc3339 => None,
            Self::UnixSeconds => Some(1_000_000_000),
            Self::UnixMillis => Some(1_000_000),
            Self::UnixMicros => Some(1000),
            Self::UnixNanos => Some(1),
        }
    }
}

/// What becomes of a row that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadData {
    /// It is kept in `dead_letters`.
    #[default]
    DeadLetter,
    /// It is counted, and nothing else.
    Drop,
    /// The pipeline stops.
    Fail,
}

/// Reads `format` and the options that belong to it, when it is one of `allowed`.
pub(super) fn format(options: &mut Reader<'_>, allowed: &[&'static str]) -> Result<Format, OptionError> {
    let words: Vec<(&str, &str)> = allowed.iter().map(|&word| (word, word)).collect();
    let format = options.one_of("format", &words)?.or(allowed.first().copied()).unwrap_or("json");
    for (registry, instead) in [
        ("json.confluent_schema_registry", "columns are those of CREATE TABLE"),
        ("avro.confluent_schema_registry", "the schema is made of CREATE TABLE's columns"),
    ] {
        if format == registry.split('.').next().unwrap_or_default() && options.given(registry) == Some("true") {
            return Err(refused(registry, format!("option {registry}: this build asks no schema registry: {instead}")));
        }
    }
    Ok(match format {
        "debezium_json" => Format::DebeziumJson(json(options, false)?),
        "raw_string" => Format::RawString,
        "raw_bytes" => Format::RawBytes,
        "parquet" => {
            // Files are compressed so in any case.
            options.one_of("parquet.compression", &[("zstd", ())])?;
            Format::Parquet
        }
        "avro" => Format::Avro(AvroOptions { raw_datums: options.boolean("avro.raw_datums")?.unwrap_or_default() }),
        _ => Format::Json(json(options, true)?),
    })
}

fn json(options: &mut Reader<'_>, can_be_unstructured: bool) -> Result<JsonOptions, OptionError> {
    let unstructured = can_be_unstructured && options.boolean("json.unstructured")?.unwrap_or_default();
    let times = options.one_of(
        "json.timestamp_format",
        &[
            ("rfc3339", TimeFormat::Rfc3339),
            ("unix_seconds", TimeFormat::UnixSeconds),
            ("unix_millis", TimeFormat::UnixMillis),
            ("unix_micros", TimeFormat::UnixMicros),
            ("unix_nanos", TimeFormat::UnixNanos),
        ],
    )?;
    Ok(JsonOptions { unstructured, times: times.unwrap_or_default() })
}

/// Reads `framing` and `bad_data`.
pub(super) fn framing_and_bad_data(options: &mut Reader<'_>) -> Result<BadData, OptionError> {
    options.one_of("framing", &[("newline", ())])?;
    let bad_data = options.one_of(
        "bad_data",
        &[("dead_letter", BadData::DeadLetter), ("drop", BadData::Drop), ("fail", BadData::Fail)],
    )?;
    Ok(bad_data.unwrap_or_default())
}
