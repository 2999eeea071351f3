//! Cells of one decoded event, and columns built from them.

use arrow::array::{
    ArrayRef, BooleanBuilder, Float32Builder, Float64Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampNanosecondBuilder, UInt64Builder,
};
use arrow::error::ArrowError;
use chalk_catalog::{ColumnType, TopicSchema};
use std::borrow::Cow;
use std::sync::Arc;

/// The value of one column of one event.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// `BOOLEAN`.
    Boolean(bool),
    /// `INT` and `BIGINT`.
    Integer(i64),
    /// `REAL` and `DOUBLE`.
    Float(f64),
    /// `TEXT` and `JSON`.
    Text(Cow<'a, str>),
    /// `TIMESTAMP`, nanoseconds since the Unix epoch.
    Time(i64),
}

/// There is room for so many rows at first: most appends are small, and what they take is kept for readers of the tail.
const ROWS: usize = 16;

#[derive(Debug)]
enum ColumnBuilder {
    Boolean(BooleanBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Text(StringBuilder),
    Time(TimestampNanosecondBuilder),
}

impl ColumnBuilder {
    fn of(column_type: &ColumnType) -> Self {
        match column_type {
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::with_capacity(ROWS)),
            ColumnType::Int => Self::Int(Int32Builder::with_capacity(ROWS)),
            ColumnType::Long => Self::Long(Int64Builder::with_capacity(ROWS)),
            ColumnType::Float => Self::Float(Float32Builder::with_capacity(ROWS)),
            ColumnType::Double => Self::Double(Float64Builder::with_capacity(ROWS)),
            ColumnType::Timestamp | ColumnType::EpochTime(_) => {
                Self::Time(TimestampNanosecondBuilder::with_capacity(ROWS))
            }
            ColumnType::Text | ColumnType::Uuid | ColumnType::Word(_) | ColumnType::Json(_) => {
                Self::Text(StringBuilder::with_capacity(ROWS, 0))
            }
        }
    }

    /// Decoding checks types, so that a cell that does not fit its column cannot come here; it would be stored as NULL and be
    /// refused where the column is required.
    fn append(&mut self, cell: &Cell<'_>) {
        match (self, cell) {
            (Self::Boolean(builder), Cell::Boolean(value)) => builder.append_value(*value),
            (Self::Int(builder), Cell::Integer(value)) => builder.append_option(i32::try_from(*value).ok()),
            (Self::Long(builder), Cell::Integer(value)) => builder.append_value(*value),
            (Self::Float(builder), Cell::Float(value)) => builder.append_value(*value as f32),
            (Self::Double(builder), Cell::Float(value)) => builder.append_value(*value),
            (Self::Text(builder), Cell::Text(value)) => builder.append_value(value),
            (Self::Time(builder), Cell::Time(value)) => builder.append_value(*value),
            (Self::Boolean(builder), _) => builder.append_null(),
            (Self::Int(builder), _) => builder.append_null(),
            (Self::Long(builder), _) => builder.append_null(),
            (Self::Float(builder), _) => builder.append_null(),
            (Self::Double(builder), _) => builder.append_null(),
            (Self::Text(builder), _) => builder.append_null(),
            (Self::Time(builder), _) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Long(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Double(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
        }
    }
}

/// Collects events of one topic as stored rows.
#[derive(Debug)]
pub struct RowsBuilder {
    schema: Arc<TopicSchema>,
    columns: Vec<ColumnBuilder>,
    rest: StringBuilder,
    content: UInt64Builder,
    rows: usize,
}

impl RowsBuilder {
    /// A builder for a topic's stored columns.
    #[must_use]
    pub fn new(schema: Arc<TopicSchema>) -> Self {
        let columns = schema.columns.iter().map(|column| ColumnBuilder::of(&column.column_type)).collect();
        let (rest, content) = (StringBuilder::with_capacity(ROWS, 0), UInt64Builder::with_capacity(ROWS));
        Self { schema, columns, rest, content, rows: 0 }
    }

    /// Adds an event: one cell per column, its unknown fields and its content hash.
    pub fn append(&mut self, cells: &[Cell<'_>], rest: Option<&str>, content: u64) {
        debug_assert_eq!(cells.len(), self.columns.len());
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.append(cell);
        }
        self.rest.append_option(rest);
        self.content.append_value(content);
        self.rows += 1;
    }

    /// How many events were added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether none was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows, in the topic's stored schema. The builder is empty afterwards.
    ///
    /// # Errors
    /// When a required column has no value.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let mut columns: Vec<ArrayRef> = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        columns.push(Arc::new(self.rest.finish()));
        columns.push(Arc::new(self.content.finish()));
        self.rows = 0;
        RecordBatch::try_new(Arc::clone(self.schema.arrow()), columns)
    }
}
