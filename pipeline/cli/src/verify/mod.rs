//! The oracle: every view equals DataFusion's batch answer to the same SQL over the events that were made.
//!
//! The events come from whoever made them, as typed values: this shares no decoding, deduplication or lateness code with the
//! engine. Queries are evaluated in order of what they read. A topic that a query fills is compared with the batch answer to
//! that query, and then is read by the queries that read it, with the offsets that its events have. Where a query closes windows, which rows were
//! late is computed again, one commit after the other, from the commit that each row stands in.
//!
//! Nothing here names a table or a column: a view added as a `.sql` file is verified without a change.

mod compare;
mod lateness;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
    StringViewArray, TimestampNanosecondArray,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use chalk_event::Provenance;
use chalk_graph::Source;
use chalk_log::EventLog;
use chalk_plan::{ClosingWindows, Functions, PlannedQuery, Project, QueryKind, batch_plan, session};
use chalk_view::Snapshot;
use compare::{Stored, compare, distinct, frames, topic_rows};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// One value of an event that was made.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    /// None.
    Null,
    /// A whole number.
    Int(i64),
    /// Text, or JSON as text.
    Text(String),
    /// Nanoseconds since the Unix epoch.
    Time(i64),
}

/// Events that were made and should have been accepted, by topic and in order: `column(topic, name)` gives one value per event.
pub trait MadeEvents {
    /// The topics that events were made for.
    fn topics(&self) -> BTreeSet<String>;

    /// The values of a column of a topic, one per event.
    fn column(&self, topic: &str, name: &str) -> Vec<Made>;

    /// How many events of a topic there are.
    fn count(&self, topic: &str) -> usize;
}

/// What was compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Rows by view.
    pub views: BTreeMap<String, usize>,
    /// Rows by derived topic.
    pub topics: BTreeMap<String, usize>,
    /// Late rows.
    pub late: usize,
}

/// Why it is not as it should be.
#[derive(Debug)]
pub struct Mismatch(pub String);

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Mismatch {
    fn from(error: E) -> Self {
        Self(format!("the batch answer could not be computed: {error}"))
    }
}

/// Compares every view of `snapshot`, and every topic that a query fills, with the batch answer.
///
/// # Errors
/// The first difference, with a few of the rows that differ.
pub async fn verify(
    project: &Project,
    functions: &Functions,
    made: &dyn MadeEvents,
    log: &dyn EventLog,
    snapshot: &Snapshot,
) -> Result<Verified, Mismatch> {
    let mut oracle = Oracle {
        project,
        log,
        snapshot,
        context: session(functions, std::thread::available_parallelism().map_or(1, usize::from)),
        derived: BTreeSet::new(),
        verified: Verified::default(),
    };
    oracle.made_tables(made)?;
    let mut waiting: Vec<&PlannedQuery> = project.queries.iter().collect();
    while !waiting.is_empty() {
        let (mut ready, mut blocked) = (Vec::new(), Vec::new());
        for query in waiting {
            if oracle.can_read(query)? { ready.push(query) } else { blocked.push(query) }
        }
        if ready.is_empty() {
            let names: Vec<&str> = blocked.iter().map(|query| query.name.as_str()).collect();
            return Err(Mismatch(format!(
                "cannot be verified, since nobody made the events they read: {}",
                names.join(", ")
            )));
        }
        for query in ready {
            oracle.query(query).await?;
        }
        waiting = blocked;
        let open: BTreeSet<&str> = waiting.iter().filter_map(|query| project.topic_of(query)).collect();
        oracle.derived_tables(&open)?;
    }
    Ok(oracle.verified)
}

struct Oracle<'a> {
    project: &'a Project,
    log: &'a dyn EventLog,
    snapshot: &'a Snapshot,
    context: SessionContext,
    /// Topics that queries fill, as they should.
    derived: BTreeSet<String>,
    verified: Verified,
}

impl Oracle<'_> {
    /// Tables over topics that events were made for.
    fn made_tables(&mut self, made: &dyn MadeEvents) -> Result<(), Mismatch> {
        let topics = made.topics();
        for table in &self.project.tables {
            let Some(source) = table.source.as_ref().filter(|source| topics.contains(&source.topic)) else { continue };
            let column = |name: &str, data_type: &DataType| array(&made.column(&source.topic, name), data_type);
            let count = made.count(&source.topic);
            let rows = table_rows(source, &table.schema, count, column, |kind| made_provenance(source, kind, count))?;
            self.register(&table.name, vec![rows])?;
        }
        Ok(())
    }

    /// Tables over topics that only queries fill, once all of those are evaluated.
    fn derived_tables(&mut self, open: &BTreeSet<&str>) -> Result<(), Mismatch> {
        let done: Vec<String> = self.derived.iter().filter(|topic| !open.contains(topic.as_str())).cloned().collect();
        for topic in done {
            self.derived.remove(&topic);
            let frames = frames(self.log, &topic)?;
            for table in &self.project.tables {
                let Some(source) = table.source.as_ref().filter(|source| source.topic == topic) else { continue };
                let mut parts = vec![RecordBatch::new_empty(Arc::clone(&table.schema))];
                for frame in &frames {
                    let column = |name: &str, data_type: &DataType| match frame.rows.column_by_name(name) {
                        Some(column) => Ok(cast(column, data_type)?),
                        None => Err(Mismatch(format!("topic '{topic}' has no column '{name}'"))),
                    };
                    let provenance = |kind| Ok(stored_provenance(&topic, frame, kind));
                    parts.push(table_rows(source, &table.schema, frame.rows.num_rows(), column, provenance)?);
                }
                self.register(&table.name, parts)?;
            }
        }
        Ok(())
    }

    fn register(&self, name: &str, batches: Vec<RecordBatch>) -> Result<(), Mismatch> {
        let Some(first) = batches.first() else { return Ok(()) };
        let table = MemTable::try_new(first.schema(), vec![batches])?;
        self.context.register_table(name, Arc::new(table))?;
        Ok(())
    }

    fn can_read(&self, query: &PlannedQuery) -> Result<bool, Mismatch> {
        for name in &query.reads {
            if !self.context.table_exist(name.as_str())? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn query(&mut self, query: &PlannedQuery) -> Result<(), Mismatch> {
        let rows = match &query.closing {
            None => self.answer(&query.sql).await?,
            Some(closing) => self.closed_answer(query, closing).await?,
        };
        match &query.kind {
            QueryKind::View => {}
            QueryKind::Preview => return Ok(()),
            QueryKind::MaterialisedView => {
                let view = self.snapshot.views.get(&query.name);
                let view = view.ok_or_else(|| Mismatch(format!("view '{}' is not there", query.name)))?;
                let count = compare(&format!("view '{}'", query.name), &rows, &view.batches(8192)?, view.schema())?;
                self.verified.views.insert(query.name.clone(), count);
            }
            QueryKind::Insert(_) => {
                if let Some(topic) = self.project.topic_of(query) {
                    let schema = Arc::clone(&query.schema);
                    let stored = topic_rows(topic, &frames(self.log, topic)?, &schema)?;
                    let rows = if self.has_identities(topic) { distinct(&rows)? } else { rows };
                    let count = compare(&format!("topic '{topic}'"), &rows, &stored, &schema)?;
                    self.verified.topics.insert(topic.to_owned(), count);
                    self.derived.insert(topic.to_owned());
                }
                return Ok(());
            }
        }
        let rows = if rows.is_empty() { vec![RecordBatch::new_empty(Arc::clone(&query.schema))] } else { rows };
        self.register(&query.name, with_schema(&rows, &query.schema)?)
    }

    /// Whether the door knows a topic's events again.
    fn has_identities(&self, topic: &str) -> bool {
        let topics = self.log.topics();
        let records = topics.by_name(topic).map(|topic| &topic.schema.records);
        records.is_some_and(|records| records.iter().all(|record| !record.idempotency_key.is_empty()))
    }

    async fn answer(&self, sql: &str) -> Result<Vec<RecordBatch>, Mismatch> {
        let plan = batch_plan(&self.context, sql).await?;
        Ok(self.context.execute_logical_plan(plan).await?.collect().await?)
    }

    /// The answer over the rows that came in time, in windows that have closed.
    async fn closed_answer(
        &mut self,
        query: &PlannedQuery,
        closing: &ClosingWindows,
    ) -> Result<Vec<RecordBatch>, Mismatch> {
        let [name] = closing.tables.as_slice() else {
            return Err(Mismatch(format!(
                "{} closes windows by the time of several tables: which rows are late is not verified here",
                query.name
            )));
        };
        let table = self.project.table(name).and_then(|table| Some((table, table.source.as_ref()?)));
        let (table, source) = table.ok_or_else(|| Mismatch(format!("there is no table '{name}'")))?;
        let sql = format!("SELECT * FROM \"{name}\"");
        let all = concat_batches(&table.schema, &with_schema(&self.answer(&sql).await?, &table.schema)?)?;
        let judged = lateness::judge(self.log, &self.project.graph, &query.name, source, &all, closing)?;
        let kept = lateness::check_late_table(self.log, &query.name, &judged, &mut self.verified.late)
            .map(|()| judged.counted(&all))??;
        self.context.deregister_table(name.as_str())?;
        self.register(name, vec![kept])?;
        let answer = self.answer(&query.sql).await;
        self.context.deregister_table(name.as_str())?;
        self.register(name, vec![all])?;
        answer
    }
}

/// A table's rows: stored and hidden columns as given, then the table's expressions.
fn table_rows(
    source: &Source,
    schema: &SchemaRef,
    count: usize,
    column: impl Fn(&str, &DataType) -> Result<ArrayRef, Mismatch>,
    provenance: impl Fn(Provenance) -> Result<ArrayRef, Mismatch>,
) -> Result<RecordBatch, Mismatch> {
    let over = &source.columns.schema;
    let mut columns = Vec::new();
    for (name, field) in source.columns.stored.iter().zip(over.fields()) {
        columns.push(column(name, field.data_type())?);
    }
    for kind in &source.columns.provenance {
        columns.push(provenance(*kind)?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let rows = RecordBatch::try_new_with_options(Arc::clone(over), columns, &options)?;
    let columns: datafusion::common::Result<Vec<ArrayRef>> = source
        .expressions
        .iter()
        .map(|expression| expression.evaluate(&rows).and_then(|value| value.into_array(count)))
        .collect();
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns?, &options)?)
}

/// Where events that were made come from, as far as whoever made them can know it.
fn made_provenance(source: &Source, kind: Provenance, count: usize) -> Result<ArrayRef, Mismatch> {
    match kind {
        // Made in order, so that numbers in that order compare as offsets of one partition do.
        Provenance::Offset => {
            Ok(Arc::new(Int64Array::from_iter_values(0..i64::try_from(count).unwrap_or(i64::MAX))) as ArrayRef)
        }
        Provenance::Topic => Ok(Arc::new(StringArray::from(vec![source.topic.as_str(); count]))),
        Provenance::Partition | Provenance::CommitSeq => {
            let message = format!(
                "table '{}' names {}, which whoever made the events cannot know: queries over it cannot be verified",
                source.table,
                kind.metadata_key()
            );
            Err(Mismatch(message))
        }
    }
}

/// Where events of the log come from.
fn stored_provenance(topic: &str, frame: &Stored, kind: Provenance) -> ArrayRef {
    let count = frame.rows.num_rows();
    match kind {
        Provenance::Topic => Arc::new(StringArray::from(vec![topic; count])),
        Provenance::Partition => Arc::new(Int64Array::from(vec![i64::from(frame.partition.0); count])),
        Provenance::Offset => {
            Arc::new(Int64Array::from_iter_values((0..count as u64).map(|row| (frame.base_offset.0 + row) as i64)))
        }
        Provenance::CommitSeq => Arc::new(Int64Array::from(vec![frame.commit as i64; count])),
    }
}

fn array(values: &[Made], data_type: &DataType) -> Result<ArrayRef, Mismatch> {
    let int = |value: &Made| match value {
        Made::Int(value) | Made::Time(value) => Some(*value),
        _ => None,
    };
    let text = |value: &Made| match value {
        Made::Text(text) => Some(text.clone()),
        _ => None,
    };
    let ints = values.iter().map(int);
    Ok(match data_type {
        DataType::Boolean => {
            Arc::new(ints.map(|value| value.map(|value| value != 0)).collect::<BooleanArray>()) as ArrayRef
        }
        DataType::Int32 => Arc::new(ints.map(|value| i32::try_from(value?).ok()).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(ints.collect::<Int64Array>()),
        DataType::Float64 => Arc::new(ints.map(|value| value.map(|value| value as f64)).collect::<Float64Array>()),
        DataType::Timestamp(_, _) => Arc::new(ints.collect::<TimestampNanosecondArray>()),
        DataType::Utf8 => Arc::new(values.iter().map(text).collect::<StringArray>()),
        DataType::Utf8View => Arc::new(values.iter().map(text).collect::<StringViewArray>()),
        other => return Err(Mismatch(format!("columns of type {other} cannot be verified"))),
    })
}

/// The same rows under a schema that differs in names, metadata or nullability at most.
fn with_schema(batches: &[RecordBatch], schema: &SchemaRef) -> Result<Vec<RecordBatch>, Mismatch> {
    batches
        .iter()
        .map(|batch| {
            let columns: Result<Vec<ArrayRef>, _> = batch
                .columns()
                .iter()
                .zip(schema.fields())
                .map(|(column, field)| cast(column, field.data_type()))
                .collect();
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            Ok(RecordBatch::try_new_with_options(Arc::new(Schema::clone(schema)), columns?, &options)?)
        })
        .collect()
}
