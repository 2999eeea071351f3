//! The queries of Nexmark end where DataFusion's batch answers over the same events do.

use crate::engine::{Engine, Run, batch_session, plan};
use crate::workspace::root;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use chalk_codec::{typed_column, write_json_row};
use chalk_event::{Offset, PartitionId};
use chalk_plan::{QueryKind, batch_plan};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use std::sync::Arc;

/// All files of `sql/nexmark/`.
fn statements() -> String {
    let mut paths: Vec<_> =
        std::fs::read_dir(root().join("sql/nexmark")).expect("a folder").flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).expect("a file")).collect()
}

fn lines(batches: &[RecordBatch], schema: &SchemaRef) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in of_schema(batches, schema) {
        for row in 0..batch.num_rows() {
            let mut line = String::new();
            write_json_row(&mut line, &batch, row, &|_| false).expect("rows that JSON has words for");
            lines.push(line);
        }
    }
    lines.sort_unstable();
    lines
}

fn of_schema(batches: &[RecordBatch], schema: &SchemaRef) -> Vec<RecordBatch> {
    let convert = |batch: &RecordBatch| {
        let columns = batch.columns().iter().zip(schema.fields());
        let columns =
            columns.map(|(column, field)| cast(column, field.data_type()).expect("a column that can be cast"));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect(), &options)
            .expect("the schema's columns")
    };
    batches.iter().map(convert).collect()
}

fn register(context: &SessionContext, name: &str, schema: &SchemaRef, batches: Vec<RecordBatch>) {
    let table = MemTable::try_new(Arc::clone(schema), vec![batches]).expect("batches of the schema");
    context.register_table(name, Arc::new(table)).expect("a new table");
}

/// The events of the log, as the table has them.
fn events(engine: &Engine) -> Vec<RecordBatch> {
    let table = engine.project.table("nexmark").expect("a table");
    let source = table.source.as_ref().expect("a source");
    let topic = engine.log.topics().by_name("nexmark").expect("a topic").id;
    let frames = engine.log.read_partition(topic, PartitionId(0), Offset(0), 1 << 30).expect("a log that can be read");
    let rows = |rows: &RecordBatch| {
        let column = |(name, field): (&String, &arrow::datatypes::FieldRef)| -> ArrayRef {
            let column = rows.column_by_name(name).expect("a stored column");
            match column.data_type() == field.data_type() {
                true => Arc::clone(column),
                false => typed_column(column, field.data_type()).expect("what the door has checked"),
            }
        };
        let columns = source.columns.stored.iter().zip(source.columns.schema.fields()).map(column).collect();
        RecordBatch::try_new(Arc::clone(&table.schema), columns).expect("the table's columns")
    };
    frames.iter().map(|(_, frame)| rows(&frame.rows)).collect()
}

#[test]
fn every_query_ends_where_the_batch_query_does() {
    let project = plan(&statements(), &[])
        .unwrap_or_else(|errors| panic!("{}", errors.iter().map(|error| format!("{error}\n")).collect::<String>()));
    let engine = Engine::start(project, &[], Run::default());
    let snapshot = engine.drain().unwrap_or_else(|error| panic!("{error}"));
    let context = batch_session();
    let events = events(&engine);
    assert_eq!(events.iter().map(RecordBatch::num_rows).sum::<usize>(), 10_000);
    register(&context, "nexmark", &engine.project.table("nexmark").expect("a table").schema, events);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut compared = Vec::new();
    for query in &engine.project.queries {
        let answer = runtime.block_on(async {
            let plan = batch_plan(&context, &query.sql).await?;
            context.execute_logical_plan(plan).await?.collect().await
        });
        let answer = answer.unwrap_or_else(|error| panic!("{}: the batch engine: {error}", query.name));
        if query.kind == QueryKind::MaterialisedView {
            let found = snapshot.views[&query.name].batches(10_000).expect("rows that decode");
            let (expected, found) = (lines(&answer, &query.schema), lines(&found, &query.schema));
            assert!(!expected.is_empty(), "{} has no rows", query.name);
            assert_eq!(found.len(), expected.len(), "rows of {}", query.name);
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found, expected, "{}", query.name);
            }
            compared.push(query.name.clone());
        }
        register(&context, &query.name, &query.schema, of_schema(&answer, &query.schema));
    }
    compared.sort_unstable();
    let mut expected: Vec<String> = (0..=22).map(|number| format!("q{number}")).collect();
    expected.sort_unstable();
    assert_eq!(compared, expected);
}
