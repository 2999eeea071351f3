//! Changes of a query to lines of a sink's format.
//!
//! `debezium_json` says of each change what the row was before and is after:
//!
//! | change | line |
//! |---|---|
//! | a row goes | `{"before":{…},"after":null,"op":"d"}` |
//! | a row comes | `{"before":null,"after":{…},"op":"c"}` |
//! | one goes and one comes that is alike in the columns of the key | `{"before":{…},"after":{…},"op":"u"}` |
//!
//! What goes stands before what comes: whoever applies the lines in order has the query's rows, be it by their key or as whole rows.

use crate::error::RuntimeError;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::row::{RowConverter, Rows as Keys, SortField};
use arrow::util::display::array_value_to_string;
use chalk_codec::{JsonStyle, write_json_value, write_styled_row};
use chalk_event::{ChangeBatch, Weights, consolidate};
use chalk_graph::Encoding;
use chalk_graph::options::{Format, TimeFormat};
use hashbrown::HashMap;
use std::collections::VecDeque;

/// Rows as lines. A query that retracts rows has a weight in front of each, where the format has no other word for it and there is
/// somebody to read it. Rows that go to a folder have its name in front, and a tab.
pub(crate) fn lines(changes: &ChangeBatch, encoding: &Encoding, weights: bool) -> Result<String, RuntimeError> {
    let changes = if *changes.weights() == Weights::Inserts { changes.clone() } else { consolidate(changes)? };
    let rows = Rows::new(&changes, encoding)?;
    let mut text = String::new();
    match &encoding.format {
        Format::Json(json) if json.unstructured => {
            let column = rows.written.column(0);
            each_row(&changes, &rows, weights, &mut text, |text, row| {
                Ok(write_json_value(text, column, row, encoding.json.contains(&0), json.times.nanos())?)
            })?;
        }
        // Files of other formats are made of lines of JSON.
        Format::Parquet | Format::Avro(_) => {
            let style = Style::new(&rows.written, encoding, TimeFormat::Rfc3339);
            each_row(&changes, &rows, weights, &mut text, |text, row| style.write(text, &rows.written, row))?;
        }
        Format::Json(json) => {
            let style = Style::new(&rows.written, encoding, json.times);
            each_row(&changes, &rows, weights, &mut text, |text, row| style.write(text, &rows.written, row))?;
        }
        Format::DebeziumJson(json) => {
            let style = Style::new(&rows.written, encoding, json.times);
            debezium(&changes, &rows, encoding, &style, &mut text)?;
        }
        // The planner lets nobody write bytes in lines.
        Format::RawString | Format::RawBytes => each_row(&changes, &rows, weights, &mut text, |text, row| {
            let column = rows.written.column(0);
            if column.is_valid(row) {
                text.push_str(&array_value_to_string(column, row)?);
            }
            Ok(())
        })?,
    }
    Ok(text)
}

/// What is written of rows, and where to.
struct Rows {
    written: RecordBatch,
    folders: Option<StringArray>,
}

impl Rows {
    fn new(changes: &ChangeBatch, encoding: &Encoding) -> Result<Self, RuntimeError> {
        let rows = changes.rows();
        let Some(folder) = encoding.folder else { return Ok(Self { written: rows.clone(), folders: None }) };
        let written: Vec<usize> = (0..folder).collect();
        Ok(Self { written: rows.project(&written)?, folders: Some(rows.column(folder).as_string::<i32>().clone()) })
    }

    fn write_folder(&self, text: &mut String, row: usize) {
        if let Some(folders) = &self.folders {
            text.push_str(folders.value(row));
            text.push('\t');
        }
    }
}

/// Writes each row that is there, as often as it is; with weights also those that go.
fn each_row(
    changes: &ChangeBatch,
    rows: &Rows,
    weights: bool,
    text: &mut String,
    mut write: impl FnMut(&mut String, usize) -> Result<(), RuntimeError>,
) -> Result<(), RuntimeError> {
    for row in 0..changes.len() {
        for _ in 0..if weights { 1 } else { changes.weight(row).max(0) } {
            rows.write_folder(text, row);
            if weights {
                text.push_str(if changes.weight(row) > 0 { "+ " } else { "- " });
            }
            write(text, row)?;
            text.push('\n');
        }
    }
    Ok(())
}

/// How a sink's rows are written.
struct Style {
    /// The names of columns whose text is JSON.
    json: Vec<String>,
    times: TimeFormat,
}

impl Style {
    fn new(rows: &RecordBatch, encoding: &Encoding, times: TimeFormat) -> Self {
        let name = |column: &usize| Some(rows.schema_ref().fields().get(*column)?.name().clone());
        Self { json: encoding.json.iter().filter_map(name).collect(), times }
    }

    fn write(&self, text: &mut String, rows: &RecordBatch, row: usize) -> Result<(), RuntimeError> {
        let is_json = |name: &str| self.json.iter().any(|json| json == name);
        Ok(write_styled_row(text, rows, row, JsonStyle { is_json: &is_json, time_nanos: self.times.nanos() })?)
    }
}

/// Changes as pairs of what a row was and is. A row that moves to another folder goes from the one and comes to the other.
fn debezium(
    changes: &ChangeBatch,
    rows: &Rows,
    encoding: &Encoding,
    style: &Style,
    text: &mut String,
) -> Result<(), RuntimeError> {
    let keys = keys(changes.rows(), encoding)?;
    let mut comes: Vec<(usize, i64)> =
        (0..changes.len()).map(|row| (row, changes.weight(row))).filter(|(_, weight)| *weight > 0).collect();
    // By key, the places in `comes` of rows that have it.
    let mut partners: HashMap<&[u8], VecDeque<usize>> = HashMap::new();
    if let Some(keys) = &keys {
        for (place, (row, _)) in comes.iter().enumerate() {
            partners.entry(keys.row(*row).data()).or_default().push_back(place);
        }
    }
    let mut updates = Vec::new();
    for row in (0..changes.len()).filter(|&row| changes.weight(row) < 0) {
        for _ in changes.weight(row)..0 {
            let places = keys.as_ref().and_then(|keys| partners.get_mut(keys.row(row).data()));
            let place = places.and_then(|places| {
                while places.front().is_some_and(|&place| comes[place].1 == 0) {
                    places.pop_front();
                }
                places.front().copied()
            });
            match place {
                Some(place) => {
                    comes[place].1 -= 1;
                    updates.push((row, comes[place].0));
                }
                None => change(text, rows, style, Some(row), None, 'd')?,
            }
        }
    }
    for (before, after) in updates {
        change(text, rows, style, Some(before), Some(after), 'u')?;
    }
    for (row, weight) in comes {
        for _ in 0..weight {
            change(text, rows, style, None, Some(row), 'c')?;
        }
    }
    Ok(())
}

/// The key of each row; `None` when there is no key.
fn keys(rows: &RecordBatch, encoding: &Encoding) -> Result<Option<Keys>, RuntimeError> {
    if encoding.key.is_empty() {
        return Ok(None);
    }
    let columns: Vec<usize> = encoding.key.iter().copied().chain(encoding.folder).collect();
    let rows = rows.project(&columns)?;
    let fields = rows.columns().iter().map(|column| SortField::new(column.data_type().clone()));
    Ok(Some(RowConverter::new(fields.collect())?.convert_columns(rows.columns())?))
}

fn change(
    text: &mut String,
    rows: &Rows,
    style: &Style,
    before: Option<usize>,
    after: Option<usize>,
    op: char,
) -> Result<(), RuntimeError> {
    before.or(after).into_iter().for_each(|row| rows.write_folder(text, row));
    for (name, row) in [("{\"before\":", before), (",\"after\":", after)] {
        text.push_str(name);
        match row {
            Some(row) => style.write(text, &rows.written, row)?,
            None => text.push_str("null"),
        }
    }
    text.push_str(",\"op\":\"");
    text.push(op);
    text.push_str("\"}\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};
    use chalk_graph::options::JsonOptions;
    use std::sync::Arc;

    fn check(encoding: &Encoding, changes: &[(i64, &str, i64)], expected: &str) {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(changes.iter().map(|change| change.0)));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(changes.iter().map(|change| change.1)));
        let rows = RecordBatch::try_from_iter([("k", keys), ("v", texts)]).expect("columns of one length");
        let batch = ChangeBatch::weighted(rows, changes.iter().map(|change| change.2).collect());
        assert_eq!(lines(&batch, encoding, false).expect("rows that can be written"), expected);
    }

    #[test]
    fn changes_of_a_row_are_one() {
        let format = Format::DebeziumJson(JsonOptions::default());
        let keyed = Encoding { format: format.clone(), json: vec![1], key: vec![0], folder: None };
        check(
            &keyed,
            &[(1, "[1]", 1), (2, "2", -1), (1, "0", -1), (3, "3", 1), (4, "4", 1), (4, "4", -1)],
            "{\"before\":{\"k\":2,\"v\":2},\"after\":null,\"op\":\"d\"}\n\
             {\"before\":{\"k\":1,\"v\":0},\"after\":{\"k\":1,\"v\":[1]},\"op\":\"u\"}\n\
             {\"before\":null,\"after\":{\"k\":3,\"v\":3},\"op\":\"c\"}\n",
        );
        let unkeyed = Encoding { format, ..Encoding::default() };
        check(
            &unkeyed,
            &[(1, "1", 2), (1, "0", -1)],
            "{\"before\":{\"k\":1,\"v\":\"0\"},\"after\":null,\"op\":\"d\"}\n\
             {\"before\":null,\"after\":{\"k\":1,\"v\":\"1\"},\"op\":\"c\"}\n\
             {\"before\":null,\"after\":{\"k\":1,\"v\":\"1\"},\"op\":\"c\"}\n",
        );
    }

    #[test]
    fn a_row_that_moves_to_another_folder_goes_and_comes() {
        let format = Format::DebeziumJson(JsonOptions::default());
        let in_folders = Encoding { format, key: vec![0], folder: Some(1), ..Encoding::default() };
        check(
            &in_folders,
            &[(1, "a", -1), (1, "b", 1), (2, "a", -1), (2, "a", 1), (3, "b", 1)],
            "a\t{\"before\":{\"k\":1},\"after\":null,\"op\":\"d\"}\n\
             b\t{\"before\":null,\"after\":{\"k\":1},\"op\":\"c\"}\n\
             b\t{\"before\":null,\"after\":{\"k\":3},\"op\":\"c\"}\n",
        );
    }
}
