//! Parquet files to rows, and lines of JSON to files.

use crate::containers::Batches;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use chalk_codec::{split_event, typed_column};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::sync::Arc;

/// So many rows become lines at once.
const BATCH_ROWS: usize = 4096;

/// The rows of a file after so many, and how many were passed over.
///
/// # Errors
/// When it is no Parquet file, or has columns that this build does not read.
pub(crate) fn open_parquet(file: File, after: u64) -> Result<(Batches, u64), ArrowError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
    let passed = after.min(rows);
    let offset = usize::try_from(passed).unwrap_or(usize::MAX);
    Ok((Box::new(builder.with_batch_size(BATCH_ROWS).with_offset(offset).build()?), passed))
}

/// A file of lines of JSON, in these columns. Those whose numbers are in `json` can be any JSON, and become its text.
///
/// # Errors
/// When a line is not of the columns.
pub(crate) fn parquet_of_lines(schema: &Schema, json: &[usize], lines: &str) -> Result<Vec<u8>, ArrowError> {
    let events = lines.lines().map(split_event).collect::<Result<Vec<_>, _>>();
    let events = events.map_err(|bad| ArrowError::ParseError(bad.to_string()))?;
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (number, field) in schema.fields().iter().enumerate() {
        let texts = || events.iter().map(|event| event.value(field.name()));
        let column: ArrayRef = match json.contains(&number) {
            true => Arc::new(texts().map(|text| text.filter(|text| *text != "null")).collect::<StringArray>()),
            false => typed_column(&texts().collect::<StringArray>(), field.data_type())?,
        };
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let compression = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))?;
    writer.write(&RecordBatch::try_new(schema, columns)?)?;
    Ok(writer.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, TimeUnit};
    use chalk_codec::write_json_row;
    use std::io::Write;

    #[test]
    fn what_is_written_is_read() {
        let fields = vec![
            Field::new("n", DataType::Int64, true),
            Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
            Field::new("price", DataType::Decimal128(6, 2), true),
            Field::new("day", DataType::Date32, true),
            Field::new("raw", DataType::Binary, true),
            Field::new("json", DataType::Utf8, true),
            Field::new("list", DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))), true),
        ];
        let line = |n: u32| {
            format!(
                "{{\"n\":{n},\"at\":\"2025-09-01T12:00:00.000000001Z\",\"price\":1.50,\"day\":\"2025-09-01\",\
                 \"raw\":\"00ff\",\"json\":{{\"a\":1}},\"list\":[\"x\",null]}}\n"
            )
        };
        let lines: String = (0..5000).map(line).collect();
        let bytes = parquet_of_lines(&Schema::new(fields), &[5], &lines).expect("lines of the columns");
        assert!(bytes.len() < lines.len() / 20, "{} of {} bytes", bytes.len(), lines.len());
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&bytes).expect("room");
        let read = |after: u64| {
            let (batches, passed) = open_parquet(file.try_clone().expect("a file"), after).expect("a Parquet file");
            assert_eq!(passed, after.min(5000));
            let mut text = String::new();
            for batch in batches {
                let batch = batch.expect("rows");
                for row in 0..batch.num_rows() {
                    write_json_row(&mut text, &batch, row, &|_| false).expect("a row");
                    text.push('\n');
                }
            }
            text
        };
        let expected = lines.replace("{\"a\":1}", "\"{\\\"a\\\":1}\"");
        assert_eq!(read(0), expected);
        assert_eq!(read(4999), expected.lines().last().map(|line| format!("{line}\n")).unwrap_or_default());
        assert_eq!(read(6000), "");
    }
}
