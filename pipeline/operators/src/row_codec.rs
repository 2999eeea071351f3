//! Rows as bytes: what state is kept in.
//!
//! Arrow's row encoding compares like the rows themselves and no encoding is the prefix of another, so that bytes can be
//! looked up, sorted and put one after the other.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, RowParser, Rows, SortField};
use datafusion::common::utils::normalize_float_zero;

/// Encodes columns as rows, and back.
#[derive(Debug)]
pub(crate) struct RowCodec {
    /// `None` without columns: Arrow could not tell how many rows there are.
    converter: Option<(RowConverter, RowParser)>,
}

/// Encoded rows of one batch.
#[derive(Debug)]
pub(crate) struct EncodedRows(Option<Rows>);

impl EncodedRows {
    /// The bytes of a row.
    pub(crate) fn row(&self, index: usize) -> &[u8] {
        self.0.as_ref().map_or(&[], |rows| rows.row(index).data())
    }
}

impl RowCodec {
    /// A codec for columns of these types.
    pub(crate) fn new<'a>(types: impl IntoIterator<Item = &'a DataType>) -> Result<Self, ArrowError> {
        Self::sorted(types.into_iter().map(|data_type| SortField::new(data_type.clone())).collect())
    }

    /// A codec whose bytes compare as the fields say.
    pub(crate) fn sorted(fields: Vec<SortField>) -> Result<Self, ArrowError> {
        if fields.is_empty() {
            return Ok(Self { converter: None });
        }
        let converter = RowConverter::new(fields)?;
        let parser = converter.parser();
        Ok(Self { converter: Some((converter, parser)) })
    }

    /// Encodes all rows at once.
    pub(crate) fn encode(&self, columns: &[ArrayRef]) -> Result<EncodedRows, ArrowError> {
        Ok(EncodedRows(match &self.converter {
            Some((converter, _)) => Some(converter.convert_columns(columns)?),
            None => None,
        }))
    }

    /// Columns of rows that this codec encoded.
    pub(crate) fn decode<'a>(&'a self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, ArrowError> {
        match &self.converter {
            Some((converter, parser)) => converter.convert_rows(rows.into_iter().map(|row| parser.parse(row))),
            None => Ok(Vec::new()),
        }
    }
}

/// Encodes the key columns of batches. Both zeros of floating point are one key, as in the batch engine.
#[derive(Debug)]
pub(crate) struct KeyCodec {
    columns: Vec<usize>,
    codec: RowCodec,
}

impl KeyCodec {
    /// A codec for the columns numbered `columns` of batches whose columns have these types.
    pub(crate) fn new(columns: &[usize], types: &[&DataType]) -> Result<Self, ArrowError> {
        let codec = RowCodec::new(columns.iter().map(|&column| types[column]))?;
        Ok(Self { columns: columns.to_vec(), codec })
    }

    /// The key of each row.
    pub(crate) fn encode(&self, rows: &RecordBatch) -> Result<EncodedRows, ArrowError> {
        self.codec.encode(&self.columns(rows).collect::<Vec<_>>())
    }

    /// The key columns of rows, as they are decoded from keys.
    pub(crate) fn columns(&self, rows: &RecordBatch) -> impl Iterator<Item = ArrayRef> {
        self.columns.iter().map(|&column| normalize_float_zero(rows.column(column)))
    }

    /// Key columns of encoded keys.
    pub(crate) fn decode<'a>(&'a self, keys: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, ArrowError> {
        self.codec.decode(keys)
    }
}
