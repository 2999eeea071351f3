//! Which rows of a table were late for a query that closes windows, computed one commit after the other.

use super::Mismatch;
use super::compare::{Stored, frames};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::TimestampNanosecondType;
use arrow::row::{RowConverter, SortField};
use chalk_catalog::SystemTopic;
use chalk_graph::{Graph, Node, NodeKind, Source, WindowKind};
use chalk_log::EventLog;
use chalk_plan::{ClosingWindows, tumble};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What became of each row.
pub(super) struct Judged {
    /// Whether it came in time and its window has closed.
    counted: Vec<bool>,
    /// The event times of those that came too late.
    late: Vec<i64>,
}

impl Judged {
    pub(super) fn counted(&self, rows: &RecordBatch) -> Result<RecordBatch, Mismatch> {
        Ok(filter_record_batch(rows, &BooleanArray::from(self.counted.clone()))?)
    }
}

/// Judges the rows of a table that come to a query's windows against the watermark before the commit that each stands in.
pub(super) fn judge(
    log: &dyn EventLog,
    graph: &Graph,
    query: &str,
    source: &Source,
    rows: &RecordBatch,
    closing: &ClosingWindows,
) -> Result<Judged, Mismatch> {
    let WindowKind::Tumble { width } = closing.kind else {
        return Err(Mismatch(format!(
            "{query} has windows that overlap or depend on rows: which rows are late is not verified here"
        )));
    };
    let commits = commits_of(log, source, rows)?;
    let comes = come_to_windows(graph, query, rows)?;
    let times = times(source, rows)?;
    let marks = marks(source, rows)?;
    let mut by_commit: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (row, commit) in commits.iter().enumerate() {
        by_commit.entry(*commit).or_default().push(row);
    }
    let closes = |row: usize| tumble(times[row], width) + width + closing.lateness;
    let mut in_time = vec![true; rows.num_rows()];
    let mut watermark = i64::MIN;
    for of_commit in by_commit.values() {
        for &row in of_commit {
            in_time[row] = !comes[row] || closes(row) > watermark;
        }
        watermark = of_commit.iter().map(|&row| marks[row]).fold(watermark, i64::max);
    }
    let late = (0..rows.num_rows()).filter(|&row| !in_time[row]).map(|row| times[row]).collect();
    let counted = (0..rows.num_rows()).map(|row| comes[row] && in_time[row] && closes(row) <= watermark).collect();
    Ok(Judged { counted, late })
}

/// Which rows of a table come to the aggregate that closes a query's windows: filters before it drop the others.
fn come_to_windows(graph: &Graph, query: &str, rows: &RecordBatch) -> Result<Vec<bool>, Mismatch> {
    let closes = |node: &Node| match &node.kind {
        NodeKind::Aggregate(aggregate) => aggregate.close.as_ref().is_some_and(|close| close.query == query),
        _ => false,
    };
    let aggregate = graph.nodes.iter().find(|node| closes(node));
    let mut before = Vec::new();
    let mut next = aggregate.and_then(|node| node.inputs.first());
    while let Some(&input) = next {
        before.push(graph.node(input));
        next = graph.node(input).inputs.first();
    }
    let (mut left, mut places): (RecordBatch, Vec<usize>) = (rows.clone(), (0..rows.num_rows()).collect());
    for node in before.into_iter().rev() {
        let count = left.num_rows();
        match &node.kind {
            NodeKind::Source(_) => {}
            NodeKind::Project(expressions) => {
                let columns = expressions.iter().map(|expression| expression.evaluate(&left)?.into_array(count));
                let columns = columns.collect::<datafusion::common::Result<Vec<ArrayRef>>>()?;
                let options = RecordBatchOptions::new().with_row_count(Some(count));
                left = RecordBatch::try_new_with_options(Arc::clone(&node.schema), columns, &options)?;
            }
            NodeKind::Filter(predicate) => {
                let verdicts = predicate.evaluate(&left)?.into_array(count)?;
                let verdicts = verdicts.as_boolean();
                let passes = |row: usize| verdicts.is_valid(row) && verdicts.value(row);
                places = (0..count).filter(|&row| passes(row)).map(|row| places[row]).collect();
                left = filter_record_batch(&left, verdicts)?;
            }
            _ => return Err(Mismatch(format!("what {} does before windows close cannot be verified", node.name))),
        }
    }
    let mut comes = vec![false; rows.num_rows()];
    places.into_iter().for_each(|row| comes[row] = true);
    Ok(comes)
}

/// Compares the late table's rows of a query with those that should be in it.
pub(super) fn check_late_table(
    log: &dyn EventLog,
    query: &str,
    judged: &Judged,
    late: &mut usize,
) -> Result<(), Mismatch> {
    let mut found = Vec::new();
    for Stored { rows, .. } in frames(log, SystemTopic::LateRows.name())? {
        let queries = rows.column_by_name("query").map(|column| column.as_string::<i32>());
        let times = rows.column_by_name("event_time").map(|column| column.as_primitive::<TimestampNanosecondType>());
        if let (Some(queries), Some(times)) = (queries, times) {
            found.extend((0..rows.num_rows()).filter(|&row| queries.value(row) == query).map(|row| times.value(row)));
        }
    }
    let mut expected = judged.late.clone();
    expected.sort_unstable();
    found.sort_unstable();
    if expected != found {
        let (found, expected) = (found.len(), expected.len());
        return Err(Mismatch(format!(
            "late_rows has {found} rows of {query}, but {expected} were late (or others were)"
        )));
    }
    *late += found.len();
    Ok(())
}

/// The commit of each row: found in the log by its stored columns.
fn commits_of(log: &dyn EventLog, source: &Source, rows: &RecordBatch) -> Result<Vec<u64>, Mismatch> {
    let stored = &source.columns.stored;
    let types = stored.iter().map(|name| rows.column_by_name(name).map(|column| column.data_type().clone()));
    let types: Option<Vec<_>> = types.collect();
    let types = types.ok_or_else(|| Mismatch(format!("table '{}' hides a stored column", source.table)))?;
    let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
    let columns = |batch: &RecordBatch| -> Result<Vec<ArrayRef>, Mismatch> {
        let column = |(name, data_type): (&String, &_)| {
            let column = batch.column_by_name(name);
            let column = column.ok_or_else(|| Mismatch(format!("topic '{}' has no column '{name}'", source.topic)))?;
            Ok(cast(column, data_type)?)
        };
        stored.iter().zip(&types).map(column).collect()
    };
    let mut places: HashMap<Box<[u8]>, Vec<u64>> = HashMap::new();
    for Stored { commit, rows: batch, .. } in frames(log, &source.topic)? {
        for row in &converter.convert_columns(&columns(&batch)?)? {
            places.entry(row.data().into()).or_default().push(commit);
        }
    }
    let encoded = converter.convert_columns(&columns(rows)?)?;
    let commits: Option<Vec<u64>> = encoded
        .iter()
        .map(|row| places.get_mut(row.data()).and_then(|commits| (!commits.is_empty()).then(|| commits.remove(0))))
        .collect();
    commits.ok_or_else(|| Mismatch(format!("a row of the batch answer is not in topic '{}'", source.topic)))
}

fn times(source: &Source, rows: &RecordBatch) -> Result<Vec<i64>, Mismatch> {
    let column = source.event_time.map(|column| rows.column(column).as_primitive::<TimestampNanosecondType>());
    let column = column.ok_or_else(|| Mismatch(format!("table '{}' has no event time", source.table)))?;
    Ok(column.values().to_vec())
}

fn marks(source: &Source, rows: &RecordBatch) -> Result<Vec<i64>, Mismatch> {
    let Some(watermark) = &source.watermark else {
        return Err(Mismatch(format!("table '{}' has no watermark", source.table)));
    };
    let marks = watermark.evaluate(rows)?.into_array(rows.num_rows())?;
    let marks = marks.as_primitive::<TimestampNanosecondType>();
    Ok((0..marks.len()).map(|row| if marks.is_null(row) { i64::MIN } else { marks.value(row) }).collect())
}
