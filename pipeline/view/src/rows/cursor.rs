//! Reading a range of a view's rows in parts.

use super::{ViewError, ViewRows};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::row::{RowConverter, SortField};
use std::sync::Arc;

/// A place in the rows whose first columns have given values. Reading goes on from it.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// The encoding of the values.
    pub(super) prefix: Box<[u8]>,
    /// The row that was read last, and how many of its copies.
    last: Option<(Arc<[u8]>, i64)>,
}

impl ViewRows {
    /// The place before all rows whose first columns equal `prefix`: one array of one value each, or none for all rows.
    ///
    /// # Errors
    /// When a value's type has no row encoding.
    pub fn cursor(&self, prefix: &[ArrayRef]) -> Result<Cursor, ViewError> {
        if prefix.is_empty() {
            return Ok(Cursor { prefix: Box::default(), last: None });
        }
        let fields = prefix.iter().map(|value| SortField::new(value.data_type().clone())).collect();
        let converter = RowConverter::new(fields).map_err(self.arrow())?;
        let encoded = converter.convert_columns(prefix).map_err(self.arrow())?;
        Ok(Cursor { prefix: encoded.row(0).data().into(), last: None })
    }

    /// The next rows, `rows_max` at most, in order; `None` after the last.
    ///
    /// # Errors
    /// When Arrow refuses, or rows on disk cannot be read.
    pub fn read(&self, cursor: &mut Cursor, rows_max: usize) -> Result<Option<RecordBatch>, ViewError> {
        let (from, given) = match &cursor.last {
            Some((row, given)) => (&**row, *given),
            None => (&*cursor.prefix, 0),
        };
        let mut range = self.range(from, &cursor.prefix);
        let (mut rows, mut last) = (Vec::new(), None);
        while rows.len() < rows_max
            && let Some((row, count)) = range.next()?
        {
            let left = if *row == *from { count - given } else { count };
            let room = i64::try_from(rows_max - rows.len()).unwrap_or(i64::MAX);
            let taken = left.clamp(0, room);
            rows.extend((0..taken).map(|_| Arc::clone(&row)));
            last = Some((row, count - left + taken));
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let parser = self.converter.parser();
        let count = rows.len();
        let columns = self.converter.convert_rows(rows.iter().map(|row| parser.parse(row))).map_err(self.arrow())?;
        cursor.last = last;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
        batch.map(Some).map_err(self.arrow())
    }
}

#[cfg(test)]
mod tests {
    use crate::rows::tests::{scores, view};
    use arrow::array::{ArrayRef, StringArray};
    use std::sync::Arc;

    fn check(prefix: Option<&str>, rows_max: usize, expected: &[&[i64]]) {
        let view = view(&[&[("a", 1, 1), ("a", 2, 3), ("ab", 3, 1), ("b", 4, 2)]]);
        let prefix: Vec<ArrayRef> =
            prefix.into_iter().map(|class| Arc::new(StringArray::from(vec![class])) as ArrayRef).collect();
        let mut cursor = view.cursor(&prefix).expect("a value with an encoding");
        let mut found = Vec::new();
        while let Some(batch) = view.read(&mut cursor, rows_max).expect("rows") {
            found.push(scores(&[batch]));
        }
        assert_eq!(found, expected, "{prefix:?}, {rows_max} at a time");
    }

    #[test]
    fn rows_come_in_parts_each_as_often_as_it_is_there() {
        check(None, 100, &[&[1, 2, 2, 2, 3, 4, 4]]);
        check(None, 2, &[&[1, 2], &[2, 2], &[3, 4], &[4]]);
        check(None, 1, &[&[1], &[2], &[2], &[2], &[3], &[4], &[4]]);
        check(Some("a"), 3, &[&[1, 2, 2], &[2]]);
        check(Some("b"), 2, &[&[4, 4]]);
        check(Some(""), 2, &[]);
    }
}
