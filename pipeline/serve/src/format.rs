//! An answer as text.

use crate::error::QueryError;
use crate::queries::QueryResult;
use crate::topic_table::JSON_TEXT;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_options;
use chalk_codec::write_json_row;
use serde::de::IgnoredAny;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: lines and boxes, and how many rows there are.
    #[default]
    Table,
    /// One JSON object a line.
    Json,
    /// A line of names, then one line a row, quoted as RFC 4180 says. NULL is nothing, the empty string is `""`.
    Csv,
}

/// A format's name that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no format '{0}': it is table, json or csv")]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            other => Err(UnknownFormat(other.to_owned())),
        }
    }
}

impl Format {
    /// Its name on the web.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Table => "text/plain; charset=utf-8",
            Self::Json => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Csv => "csv",
        })
    }
}

/// Timestamps look the same in every format.
fn options<'a>() -> FormatOptions<'a> {
    FormatOptions::new().with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.fZ"))
}

/// Writes an answer. The text ends with a new line.
///
/// # Errors
/// When a column's values cannot be written.
pub fn write(result: &QueryResult, format: Format) -> Result<String, QueryError> {
    let written = match format {
        Format::Table => table(result),
        Format::Json => json(result),
        Format::Csv => csv(result),
    };
    written.map_err(|error| QueryError::internal(format!("the answer cannot be written: {error}")))
}

fn table(result: &QueryResult) -> Result<String, ArrowError> {
    let none = [RecordBatch::new_empty(result.schema.clone())];
    let batches = if result.batches.is_empty() { &none } else { result.batches.as_slice() };
    let table = pretty_format_batches_with_options(batches, &options().with_null("NULL"))?;
    let count = result.rows();
    Ok(format!("{table}\n({count} {})\n", if count == 1 { "row" } else { "rows" }))
}

fn json(result: &QueryResult) -> Result<String, ArrowError> {
    let mut text = String::new();
    for batch in &result.batches {
        let json_text = json_text_columns(batch);
        for row in 0..batch.num_rows() {
            write_json_row(&mut text, batch, row, &|name| json_text.contains(name))?;
            text.push('\n');
        }
    }
    Ok(text)
}

/// The columns that are marked as JSON text. An expression may have kept the mark and changed the text: so that is checked.
pub(crate) fn json_text_columns(batch: &RecordBatch) -> HashSet<&str> {
    let (key, value) = JSON_TEXT;
    let fields = batch.schema_ref().fields().iter().zip(batch.columns());
    let marked = fields.filter(|(field, column)| {
        field.metadata().get(key).is_some_and(|found| found == value)
            && *column.data_type() == DataType::Utf8
            && column.as_string::<i32>().iter().flatten().all(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
    });
    marked.map(|(field, _)| field.name().as_str()).collect()
}

fn csv(result: &QueryResult) -> Result<String, ArrowError> {
    let mut text = String::new();
    for (index, field) in result.schema.fields().iter().enumerate() {
        cell(&mut text, index, Some(field.name()));
    }
    text.push('\n');
    let options = options();
    for batch in &result.batches {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            for (index, (formatter, column)) in columns.iter().zip(batch.columns()).enumerate() {
                // A column of NULL alone has no validity of its own.
                let valid = column.is_valid(row) && *column.data_type() != DataType::Null;
                let value = valid.then(|| formatter.value(row).try_to_string()).transpose()?;
                cell(&mut text, index, value.as_deref());
            }
            text.push('\n');
        }
    }
    Ok(text)
}

fn cell(text: &mut String, index: usize, value: Option<&str>) {
    if index > 0 {
        text.push(',');
    }
    match value {
        None => {}
        Some(value) if value.is_empty() || value.contains([',', '"', '\n', '\r']) => {
            text.push('"');
            text.push_str(&value.replace('"', "\"\""));
            text.push('"');
        }
        Some(value) => text.push_str(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Node, order};

    #[tokio::test]
    async fn answers_look_like_this() {
        let node = Node::new();
        node.submit(&order(1, "no,rth", 10));
        let sql = "SELECT id, shop, occurred_at, tags, _rest, '' AS empty, 'a \"b\"' AS quoted, 1.5 AS half, true AS yes, \
                   [1, 2] AS list, tags || 'x' AS changed FROM orders";
        let result = node.queries().run(sql).await.expect("an answer");
        let check = |format, expected: &str| assert_eq!(write(&result, format).expect("text"), expected);
        check(
            Format::Csv,
            "id,shop,occurred_at,tags,_rest,empty,quoted,half,yes,list,changed\n\
             1,\"no,rth\",2025-09-01T07:59:00Z,\"[\"\"a\"\",\"\"b\"\"]\",,\"\",\"a \"\"b\"\"\",1.5,true,\"[1, 2]\",\
             \"[\"\"a\"\",\"\"b\"\"]x\"\n",
        );
        check(
            Format::Json,
            "{\"id\":1,\"shop\":\"no,rth\",\"occurred_at\":\"2025-09-01T07:59:00Z\",\"tags\":[\"a\",\"b\"],\"_rest\":null,\
             \"empty\":\"\",\"quoted\":\"a \\\"b\\\"\",\"half\":1.5,\"yes\":true,\"list\":[1,2],\
             \"changed\":\"[\\\"a\\\",\\\"b\\\"]x\"}\n",
        );
        let result = node.queries().run("SELECT id, _rest, occurred_at FROM orders").await.expect("an answer");
        assert_eq!(
            write(&result, Format::Table).expect("text"),
            "\
+----+-------+----------------------+
| id | _rest | occurred_at          |
+----+-------+----------------------+
| 1  | NULL  | 2025-09-01T07:59:00Z |
+----+-------+----------------------+
(1 row)
"
        );
    }

    #[tokio::test]
    async fn no_rows_still_have_names() {
        let node = Node::new();
        let result = node.queries().run("SELECT id, shop FROM orders").await.expect("an answer");
        let texts = [Format::Table, Format::Json, Format::Csv].map(|format| write(&result, format).expect("text"));
        let table = "+----+------+\n| id | shop |\n+----+------+\n+----+------+\n(0 rows)\n";
        assert_eq!(texts, [table, "", "id,shop\n"]);
    }

    #[test]
    fn names_of_formats_are_read_as_they_are_written() {
        for format in [Format::Table, Format::Json, Format::Csv] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("xml".parse::<Format>(), Err(UnknownFormat("xml".to_owned())));
    }
}
