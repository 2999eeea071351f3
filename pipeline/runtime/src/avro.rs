//! Avro files to rows, and lines of JSON to what such files are made of.
//!
//! | `avro.raw_datums` | a file is |
//! |---|---|
//! | `false` | an object container: a header with the schema, then blocks of datums, compressed with deflate |
//! | `true` | one datum behind the other; their schema is made of the table's columns |
//!
//! Columns are written as Avro's own types, so that any reader has them: instants as `timestamp-micros`, intervals as text, integers of 64 bits
//! without sign as decimals. A column that can be NULL is a union of `null` and its type.

use crate::containers::Batches;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow_avro::compression::CompressionCodec;
use arrow_avro::reader::{Decoder, ReaderBuilder, read_header_info};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use arrow_avro::writer::WriterBuilder;
use arrow_avro::writer::format::{AvroBinaryFormat, AvroOcfFormat};
use chalk_codec::{split_event, typed_column};
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// So many rows become lines at once.
const BATCH_ROWS: usize = 4096;
/// Before each datum when one is decoded: a magic number and which schema it is of.
const PREFIX: [u8; 5] = [0, 0, 0, 0, 0];
/// So many bytes are read at once.
const READ_BYTES: usize = 1 << 16;
/// A container's header ends with this many bytes that stand behind each of its blocks, too.
const SYNC_BYTES: usize = 16;

/// The rows of a container; of an empty file there are none.
///
/// # Errors
/// When it is no Avro file, or has types that this build does not read.
pub(crate) fn container(file: File) -> Result<Batches, ArrowError> {
    let bytes = file.metadata()?.len();
    if bytes == 0 {
        return Ok(Box::new(std::iter::empty()));
    }
    let mut end = [0; SYNC_BYTES];
    if let Some(position) = bytes.checked_sub(SYNC_BYTES as u64) {
        file.read_exact_at(&mut end, position)?;
    }
    let file = BufReader::with_capacity(READ_BYTES, file);
    let reader = ReaderBuilder::new().with_batch_size(BATCH_ROWS).build(file)?;
    // The reader takes a block that is cut off for the end.
    if reader.avro_header().sync() != end {
        return Err(ArrowError::AvroError("the file ends within a block".to_owned()));
    }
    Ok(Box::new(reader))
}

/// The rows of a file of datums in these columns.
///
/// # Errors
/// When a column's type cannot be read.
pub(crate) fn datums(file: File, columns: &[Arc<Field>]) -> Result<Batches, ArrowError> {
    let schema = AvroSchema::try_from(&written_schema(columns, &[]))?;
    let decoder = decoder(&schema)?;
    Ok(Box::new(Datums { file, schema, decoder, bytes: Vec::new(), begin: 0 }))
}

/// A decoder of one datum: only one that is full after a row says where that ends.
fn decoder(schema: &AvroSchema) -> Result<Decoder, ArrowError> {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store.set(Fingerprint::Id(0), schema.clone())?;
    let builder = ReaderBuilder::new().with_batch_size(1).with_writer_schema_store(store);
    builder.with_active_fingerprint(Fingerprint::Id(0)).build_decoder()
}

struct Datums {
    file: File,
    schema: AvroSchema,
    decoder: Decoder,
    bytes: Vec<u8>,
    /// Where the next datum begins in `bytes`.
    begin: usize,
}

impl Datums {
    /// Reads on; gives whether there was something.
    fn read(&mut self) -> Result<bool, ArrowError> {
        self.bytes.drain(..self.begin);
        self.begin = 0;
        Ok((&mut self.file).take(READ_BYTES as u64).read_to_end(&mut self.bytes)? > 0)
    }

    fn row(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        if self.begin == self.bytes.len() && !self.read()? {
            return Ok(None);
        }
        loop {
            self.decoder.decode(&PREFIX).map_err(ArrowError::from)?;
            // A datum that is cut off is no row yet, or an error.
            let decoded = self.decoder.decode(&self.bytes[self.begin..]);
            if let Ok(len) = decoded
                && let Some(row) = self.decoder.flush().map_err(ArrowError::from)?
            {
                self.begin += len;
                return Ok(Some(row));
            }
            if !self.read()? {
                let why = decoded.err().map(|error| format!(", or is none of this table: {error}"));
                let what = format!("the file ends within a datum{}", why.unwrap_or_default());
                return Err(ArrowError::AvroError(what));
            }
            // It keeps the columns of a datum that was cut off.
            self.decoder = decoder(&self.schema)?;
        }
    }

    fn rows(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        let mut rows = Vec::new();
        while rows.len() < BATCH_ROWS {
            match self.row()? {
                Some(row) => rows.push(row),
                None => break,
            }
        }
        rows.first().map(RecordBatch::schema).map(|schema| concat_batches(&schema, &rows)).transpose()
    }
}

impl Iterator for Datums {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows().transpose()
    }
}

/// How a sink's rows become Avro.
pub(crate) struct AvroRows {
    schema: SchemaRef,
    raw_datums: bool,
}

impl AvroRows {
    /// For rows in these columns; the text of those whose numbers are in `json` is JSON already.
    pub(crate) fn new(schema: &Schema, json: &[usize], raw_datums: bool) -> Self {
        Self { schema: Arc::new(written_schema(schema.fields(), json)), raw_datums }
    }

    /// Lines of JSON as a file, or as what goes on the end of one that begins with `before`. The same lines give the same bytes.
    ///
    /// # Errors
    /// When a line is not of the columns, or the file before is of others.
    pub(crate) fn encode(&self, lines: &str, before: Option<&[u8]>) -> Result<Vec<u8>, ArrowError> {
        let rows = self.rows(lines)?;
        let builder = WriterBuilder::new(self.schema.as_ref().clone());
        if self.raw_datums {
            let mut encoder = builder.build_encoder::<AvroBinaryFormat>().map_err(ArrowError::from)?;
            encoder.encode(&rows).map_err(ArrowError::from)?;
            return Ok(encoder.flush().bytes().to_vec());
        }
        let builder = builder.with_compression(Some(CompressionCodec::Deflate));
        let mut writer = builder.build::<_, AvroOcfFormat>(Vec::new()).map_err(ArrowError::from)?;
        writer.write(&rows).map_err(ArrowError::from)?;
        let mut bytes = writer.into_inner();
        let header = header_len(&bytes)?;
        // What stands behind each block is made by chance; here it is the schema's, so that a file goes on as it began.
        let sync = xxh3_128(&bytes[..header - SYNC_BYTES]).to_le_bytes();
        let end = bytes.len() - SYNC_BYTES;
        bytes[header - SYNC_BYTES..header].copy_from_slice(&sync);
        bytes[end..].copy_from_slice(&sync);
        match before {
            None => Ok(bytes),
            Some(before) if before.starts_with(&bytes[..header]) => Ok(bytes.split_off(header)),
            Some(_) => Err(ArrowError::SchemaError(
                "the file has rows of other columns: remove it, or give the table another path".to_owned(),
            )),
        }
    }

    fn rows(&self, lines: &str) -> Result<RecordBatch, ArrowError> {
        let events = lines.lines().map(split_event).collect::<Result<Vec<_>, _>>();
        let events = events.map_err(|bad| ArrowError::ParseError(bad.to_string()))?;
        let column = |field: &Arc<Field>| -> Result<ArrayRef, ArrowError> {
            let texts = events.iter().map(|event| event.value(field.name()));
            match field.metadata().contains_key(JSON) {
                true => Ok(Arc::new(texts.map(|text| text.filter(|text| *text != "null")).collect::<StringArray>())),
                false => typed_column(&texts.collect::<StringArray>(), field.data_type()),
            }
        };
        let columns = self.schema.fields().iter().map(column).collect::<Result<_, _>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

/// Marks columns that take JSON as text.
const JSON: &str = "json";

fn header_len(container: &[u8]) -> Result<usize, ArrowError> {
    let info = read_header_info(Cursor::new(container)).map_err(ArrowError::from)?;
    usize::try_from(info.header_len()).map_err(|error| ArrowError::AvroError(error.to_string()))
}

/// Columns in types that Avro has.
fn written_schema(columns: &[Arc<Field>], json: &[usize]) -> Schema {
    let column = |(number, field): (usize, &Arc<Field>)| {
        let is_json = json.contains(&number);
        let data_type = if is_json { DataType::Utf8 } else { written(field.data_type()) };
        let marks = is_json.then(|| (JSON.to_owned(), String::new()));
        Field::new(field.name(), data_type, field.is_nullable()).with_metadata(marks.into_iter().collect())
    };
    Schema::new(columns.iter().enumerate().map(column).collect::<Fields>())
}

fn written(data_type: &DataType) -> DataType {
    let nested = |field: &Arc<Field>| Field::new(field.name(), written(field.data_type()), true);
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Timestamp(_, _) => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        DataType::Interval(_) | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::List(item) => DataType::List(Arc::new(nested(item))),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(nested).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::IntervalUnit;
    use chalk_codec::write_json_row;
    use std::io::{Seek, Write};

    fn columns() -> Schema {
        let item = DataType::Struct(vec![Field::new("a", DataType::Int16, true)].into());
        Schema::new(vec![
            Field::new("n", DataType::Int64, false),
            Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
            Field::new("price", DataType::Decimal128(6, 2), true),
            Field::new("day", DataType::Date32, true),
            Field::new("time", DataType::Time64(TimeUnit::Microsecond), true),
            Field::new("raw", DataType::Binary, true),
            Field::new("large", DataType::UInt64, true),
            Field::new("gap", DataType::Interval(IntervalUnit::MonthDayNano), true),
            Field::new("json", DataType::Utf8View, true),
            Field::new("list", DataType::List(Arc::new(Field::new("item", item, true))), true),
        ])
    }

    const LINE: &str = "{\"n\":7,\"at\":\"2025-09-01T12:00:00.000001Z\",\"price\":1.50,\"day\":\"2025-09-01\",\"time\":\"08:30:00.500\",\"raw\":\"00ff\",\
                        \"large\":18446744073709551615,\"gap\":\"1 day\",\"json\":{\"a\":1},\"list\":[{\"a\":-3},null]}\n";
    const NULLS: &str = "{\"n\":8,\"at\":null,\"price\":null,\"day\":null,\"time\":null,\"raw\":null,\"large\":null,\"gap\":null,\"json\":null,\"list\":null}\n";

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("room");
        file.rewind().expect("a file");
        file
    }

    /// All rows as lines, or what is wrong.
    fn lines(batches: Result<Batches, ArrowError>) -> Result<String, ArrowError> {
        let mut text = String::new();
        for batch in batches? {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                write_json_row(&mut text, &batch, row, &|_| false)?;
                text.push('\n');
            }
        }
        Ok(text)
    }

    fn expected(lines: &str) -> String {
        lines.replace("{\"a\":1}", "\"{\\\"a\\\":1}\"")
    }

    #[test]
    fn a_container_goes_on() {
        let rows = AvroRows::new(&columns(), &[8], false);
        let first: String = format!("{LINE}{NULLS}").repeat(3000);
        let mut bytes = rows.encode(&first, None).expect("lines of the columns");
        assert!(bytes.len() < first.len() / 20, "{} of {} bytes", bytes.len(), first.len());
        assert_eq!(rows.encode(&first, None).expect("the same"), bytes);
        let more = rows.encode(LINE, Some(&bytes)).expect("lines of the columns");
        bytes.extend(more);
        assert_eq!(lines(container(file(&bytes))).expect("a container"), expected(&(first + LINE)));
        let others = AvroRows::new(&Schema::new(vec![Field::new("n", DataType::Int64, false)]), &[], false);
        let error = others.encode("{\"n\":1}\n", Some(&bytes)).expect_err("another schema").to_string();
        assert!(error.contains("the file has rows of other columns"), "{error}");
    }

    #[test]
    fn a_container_that_is_none() {
        assert_eq!(lines(container(file(b""))).expect("no rows"), "");
        assert!(lines(container(file(b"not Avro"))).is_err());
        let rows = AvroRows::new(&columns(), &[8], false);
        let bytes = rows.encode(LINE, None).expect("lines of the columns");
        let error = lines(container(file(&bytes[..bytes.len() - 20]))).expect_err("a part of a block").to_string();
        assert!(error.contains("the file ends within a block"), "{error}");
    }

    #[test]
    fn datums_are_read_one_by_one() {
        let rows = AvroRows::new(&columns(), &[8], true);
        let text = format!("{LINE}{NULLS}").repeat(2500);
        let bytes = rows.encode(&text, None).expect("lines of the columns");
        let read = |bytes: &[u8]| lines(datums(file(bytes), columns().fields()));
        assert_eq!(read(&bytes).expect("datums"), expected(&text));
        assert_eq!(read(b"").expect("no rows"), "");
        let error = read(&bytes[..bytes.len() - 1]).expect_err("a part of a datum").to_string();
        assert!(error.contains("the file ends within a datum"), "{error}");
    }
}
