//! The oracle: whatever is asked of whatever data, a stream ends where the batch query does.
//!
//! A seed makes tables and a story: commits of rows out of order, twice and with NULLs, stops and starts with other numbers of shards. It makes
//! some queries from a grammar; they run over the story as views, or as windows that are given once. In the end each is compared with DataFusion's answer
//! to the same SQL over the same rows, those left out that came after their window had closed.
//!
//! ```text
//! CHALK_ORACLE_QUERIES   how many queries (600)
//! CHALK_SEED             the first seed (1)
//! ```
//!
//! A failure is made smaller, as long as it is one: its query, by choosing less where the grammar chose, and its story, by leaving out what can be. It is written to `tests/slt/found-SEED-QUERY.slt`, with the batch answer as what is expected: commit it with
//! what mends it.

mod aggregates;
mod chance;
mod data;
mod query;

use crate::engine::{Engine, batch_session, plan};
use crate::workspace::root;
use arrow::array::{AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{Int64Type, SchemaRef};
use chalk_catalog::SystemTopic;
use chalk_codec::write_json_row;
use chalk_event::{NANOS_PER_SECOND, Offset, PartitionId};
use chalk_log::EventLog;
use chalk_plan::{Project, batch_plan};
use chance::Chance;
use data::{Happens, Story, batch};
use datafusion::datasource::MemTable;
use query::{CONSTRUCTS, IDLE, LAST_ERA, MARK, Query, query};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What is refused by name and the optimiser can make of what the grammar does not have, and what the batch engine
/// plans wrongly or not at all.
const REFUSED: [&str; 3] = [
    "outer joins with more than equalities are not supported",
    "the batch engine: SanityCheckPlan",
    "the batch engine: aggregate_statistics",
];

/// Queries that share a story.
const QUERIES: usize = 4;

/// So many other queries are tried to find a smaller one that fails.
const ATTEMPTS: usize = 400;

/// What queries come to, and how they were run.
#[derive(Debug, Default)]
struct Ran {
    /// The rows of each query, as lines of JSON in order.
    rows: Vec<Vec<String>>,
    /// By query, the ids of the rows in its late table.
    late: Vec<Vec<i64>>,
    /// By query, how many rows its late table has.
    late_rows: Vec<usize>,
    /// Runs that began with a checkpoint.
    from_checkpoint: usize,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The pipeline of a story and its queries.
fn statements(story: &Story, queries: &[&Query]) -> String {
    let mut sql = story.statements();
    let views: BTreeSet<&String> = queries.iter().filter_map(|query| query.with.as_ref()).collect();
    for view in views {
        writeln!(sql, "{view};").expect("strings can be written to");
    }
    for (index, query) in queries.iter().enumerate() {
        match query.is_final {
            true => writeln!(
                sql,
                "CREATE TABLE s{index} WITH (connector = 'stdout', lateness = '{} seconds');\nINSERT INTO s{index} {};",
                query.lateness, query.streaming
            ),
            false => writeln!(sql, "CREATE MATERIALIZED VIEW v{index} AS {};", query.streaming),
        }
        .expect("strings can be written to");
    }
    sql
}

fn planned(story: &Story, queries: &[&Query]) -> Result<Project, String> {
    let sql = statements(story, queries);
    plan(&sql, &story.topics()).map_err(|errors| errors.iter().map(|error| format!("{error}\n")).collect())
}

/// The columns of a query's rows.
fn schema_of(project: &Project, query: &Query, index: usize) -> Result<SchemaRef, String> {
    let name = if query.is_final { format!("insert_into_s{index}") } else { format!("v{index}") };
    let found = project.queries.iter().find(|query| query.name == name);
    found.map(|query| Arc::clone(&query.schema)).ok_or_else(|| format!("no query {name}"))
}

/// Runs queries over a story.
fn stream(story: &Story, queries: &[&Query]) -> Result<Ran, String> {
    let project = planned(story, queries)?;
    let schemas: Vec<SchemaRef> =
        queries.iter().enumerate().map(|(index, query)| schema_of(&project, query, index)).collect::<Result<_, _>>()?;
    let mut ran = Ran::default();
    let mut engine = Engine::start(project, &story.topics(), story.run);
    for (number, happens) in story.happens.iter().enumerate() {
        match happens {
            Happens::Append { table, rows, gone, .. } => {
                if let Some(time) = Story::passes(happens) {
                    engine.pass(time);
                }
                let refused = engine.append(&story.tables[*table].name, &story.lines(*table, rows, gone));
                if let Some(refused) = refused.first() {
                    return Err(format!("a row was refused: {refused:?}"));
                }
                // Otherwise it shares an epoch with the next one, or does not.
                if number % 3 == 0 {
                    engine.caught_up()?;
                }
            }
            Happens::Restart(run) => {
                engine.caught_up()?;
                engine.restart(*run);
                ran.from_checkpoint += usize::from(engine.began_with_checkpoint());
            }
        }
    }
    let snapshot = engine.drain()?;
    let mut printed: BTreeMap<String, String> = engine.take_printed().into_iter().collect();
    for (index, query) in queries.iter().enumerate() {
        let mut rows = if query.is_final {
            let printed = printed.remove(&format!("insert_into_s{index}")).ok_or("no sink wrote")?;
            printed.lines().map(str::to_owned).collect()
        } else {
            let view = snapshot.views.get(&format!("v{index}")).ok_or("no view")?;
            let batches = view.batches(1000).map_err(|error| error.to_string())?;
            lines(&batches, &schemas[index])?
        };
        rows.sort_unstable();
        ran.rows.push(rows);
        let late = late(&*engine.log, &format!("insert_into_s{index}"))?;
        ran.late_rows.push(late.len());
        ran.late.push(if query.trusts_late_rows {
            late.into_iter().map(|id| id.ok_or("a late row without id")).collect::<Result<_, _>>()?
        } else {
            Vec::new()
        });
    }
    Ok(ran)
}

/// The ids of a query's late rows, where they have one.
fn late(log: &dyn EventLog, query: &str) -> Result<Vec<Option<i64>>, String> {
    let topic = SystemTopic::LateRows.id();
    let frames = log.read_partition(topic, PartitionId(0), Offset(0), 1 << 30).map_err(|error| error.to_string())?;
    let mut ids = Vec::new();
    for (_, frame) in frames {
        let text = |name: &str| Some(frame.rows.column_by_name(name)?.as_string::<i32>().clone());
        let (queries, rows) = text("query").zip(text("row")).ok_or("late_rows has no text")?;
        for (_, row) in queries.iter().zip(&rows).filter(|(of, _)| *of == Some(query)) {
            let row: serde_json::Value =
                serde_json::from_str(row.unwrap_or_default()).map_err(|error| error.to_string())?;
            ids.push(row["id"].as_i64());
        }
    }
    Ok(ids)
}

/// Rows as JSON, in the columns of a schema.
fn lines(batches: &[RecordBatch], schema: &SchemaRef) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter().zip(schema.fields());
        let columns = columns.map(|(column, field)| cast(column, field.data_type())).collect::<Result<Vec<_>, _>>();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch =
            columns.and_then(|columns| RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options));
        let batch = batch.map_err(|error| error.to_string())?;
        for row in 0..batch.num_rows() {
            let mut line = String::new();
            write_json_row(&mut line, &batch, row, &|_| false).map_err(|error| error.to_string())?;
            lines.push(line);
        }
    }
    Ok(lines)
}

/// What the batch engine says.
struct Answer {
    /// The rows, as lines of JSON in order.
    rows: Vec<String>,
    /// How many came too late, where it can tell.
    late_rows: Option<usize>,
}

/// The batch engine's answer, over all rows but those of these ids, as many of each as there are.
fn answer(story: &Story, query: &Query, late: &[i64]) -> Result<Answer, String> {
    let text = |error: datafusion::error::DataFusionError| format!("the batch engine: {error}");
    let project = planned(story, &[query])?;
    let context = batch_session();
    for (number, table) in story.tables.iter().enumerate() {
        let schema = &project.table(&table.name).ok_or("no table")?.schema;
        let mut rows = story.rows(number).ok_or("a row goes that is not there")?;
        for id in late.iter().filter(|_| query.closed_by.contains(&number)) {
            // Rows of one id are equal.
            let place = rows.iter().position(|(row, _)| row.id == *id).ok_or("a late row that was not appended")?;
            rows.remove(place);
        }
        let rows = batch(&rows, schema);
        let rows = MemTable::try_new(rows.schema(), vec![vec![rows]]).map_err(text)?;
        context.register_table(table.name.as_str(), Arc::new(rows)).map_err(text)?;
    }
    let mark = match query.closed_by.as_slice() {
        [] => None,
        [table] => Some(story.last_watermark(*table).unwrap_or(i64::MIN)),
        _ => Some(story.last_of_both().unwrap_or(i64::MIN)),
    };
    let sql = match mark {
        None => query.batch.clone(),
        Some(mark) => query.batch.replace(MARK, &mark.saturating_sub(query.lateness * NANOS_PER_SECOND).to_string()),
    };
    let sql = sql.replace(LAST_ERA, &story.last_era().to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let ask = |sql: &str| {
        let batches = runtime.block_on(async {
            let plan = batch_plan(&context, sql).await?;
            context.execute_logical_plan(plan).await?.collect().await
        });
        batches.map_err(text)
    };
    let mut rows = lines(&ask(&sql)?, &schema_of(&project, query, 0)?)?;
    rows.sort_unstable();
    let late_rows = match &query.late {
        None => None,
        Some(sql) => {
            let counted = ask(sql)?;
            let count =
                counted.first().and_then(|batch| batch.column(0).as_primitive_opt::<Int64Type>()?.iter().next()?);
            count.and_then(|count| usize::try_from(count).ok())
        }
    };
    Ok(Answer { rows, late_rows })
}

/// Why a stream does not end where its batch query does, if so.
fn differs(answer: &Answer, ran: &Ran, query: usize) -> Option<String> {
    let (expected, found) = (&answer.rows, &ran.rows[query]);
    if expected == found {
        let late = answer.late_rows.filter(|late| *late != ran.late_rows[query])?;
        return Some(format!("{} rows in the late table, the batch answer {late}", ran.late_rows[query]));
    }
    let only = |of: &[String], other: &[String]| -> String {
        let mut other: Vec<&String> = other.iter().collect();
        let rest = of.iter().filter(|line| match other.iter().position(|known| known == line) {
            Some(place) => {
                other.swap_remove(place);
                false
            }
            None => true,
        });
        rest.take(5).map(|line| format!("    {line}\n")).collect()
    };
    Some(format!(
        "{} rows, the batch answer {}\n  only in the stream:\n{}  only in the batch answer:\n{}",
        found.len(),
        expected.len(),
        only(found, expected),
        only(expected, found)
    ))
}

/// A panic as an error.
fn quietly<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("it panicked".to_owned()))
}

/// What is wrong with one query over a story; panics count.
fn fault(story: &Story, query: &Query) -> Option<String> {
    let attempt = quietly(|| {
        let ran = stream(story, &[query])?;
        let expected = answer(story, query, &ran.late[0])?;
        Ok(differs(&expected, &ran, 0))
    });
    attempt.unwrap_or_else(Some)
}

/// Which of all things that can be wrong this is: places and rows aside.
fn kind(wrong: &str) -> &str {
    match wrong.contains("the batch answer") {
        true => "other rows",
        false => wrong.lines().next().and_then(|line| line.rsplit(": ").next()).unwrap_or_default(),
    }
}

/// The shortest query that fails in the same way, of those that less choices make than the ones that made `query`.
fn simpler(story: &Story, query: Query, choices: &[usize], wrong: &str) -> Query {
    let (mut query, mut choices, mut attempts) = (query, choices.to_vec(), 0);
    let mut attempt = |query: &mut Query, choices: &mut Vec<usize>, less: Vec<usize>| {
        attempts += 1;
        let mut chance = Chance::of(less);
        let Ok(other) = quietly(|| Ok(self::query(&mut chance, story.forgets))) else { return false };
        let is_shorter = other.streaming.len() < query.streaming.len() && attempts < ATTEMPTS;
        if !is_shorter || fault(story, &other).is_none_or(|other| kind(&other) != kind(wrong)) {
            return false;
        }
        (*query, *choices) = (other, chance.choices().to_vec());
        true
    };
    loop {
        let before = query.streaming.len();
        for size in [16, 8, 4, 2, 1] {
            let mut from = 0;
            while from < choices.len() {
                let to = (from + size).min(choices.len());
                let without = [&choices[..from], &choices[to..]].concat();
                if !attempt(&mut query, &mut choices, without) {
                    from += size;
                }
            }
        }
        for place in 0..choices.len() {
            for less in [0, choices.get(place).copied().unwrap_or(0) / 2] {
                let mut changed = choices.clone();
                if let Some(choice) = changed.get_mut(place).filter(|choice| **choice > less) {
                    *choice = less;
                    attempt(&mut query, &mut choices, changed);
                }
            }
        }
        if query.streaming.len() == before {
            return query;
        }
    }
}

/// The smallest story that still fails, found by leaving out whatever can be left out.
fn smaller(story: &Story, query: &Query, wrong: &str) -> Story {
    let mut story = story.clone();
    let fails =
        |story: &Story| story.is_sound() && fault(story, query).is_some_and(|other| kind(&other) == kind(wrong));
    let mut number = 0;
    while number < story.happens.len() {
        let mut without = story.clone();
        without.happens.remove(number);
        if fails(&without) { story = without } else { number += 1 }
    }
    for number in 0..story.happens.len() {
        let mut size = match &story.happens[number] {
            Happens::Append { rows, .. } => rows.len() / 2,
            Happens::Restart(_) => 0,
        };
        while size > 0 {
            let mut from = 0;
            loop {
                let mut without = story.clone();
                let Happens::Append { rows, gone, .. } = &mut without.happens[number] else { break };
                if from >= rows.len() {
                    break;
                }
                rows.drain(from..(from + size).min(rows.len()));
                if rows.len() + gone.len() > 0 && fails(&without) { story = without } else { from += size }
            }
            size /= 2;
        }
    }
    story
}

/// A failure as a streaming test.
fn script(story: &Story, query: &Query, seed: u64) -> String {
    let mut script = format!("# Found by the oracle, seed {seed}.\n\n");
    for (name, avsc) in story.topics() {
        write!(script, "topic {name}\n{avsc}\n\n").expect("strings can be written to");
    }
    for statement in statements(story, &[query]).split_terminator(";\n") {
        write!(script, "statement\n{statement}\n\n").expect("strings can be written to");
    }
    for happens in &story.happens {
        match happens {
            Happens::Append { table, rows, gone, .. } => {
                if let Some(time) = Story::passes(happens) {
                    write!(script, "pass {} seconds\n\n", time.as_secs()).expect("strings can be written to");
                }
                write!(script, "events {}\n{}\n", story.tables[*table].name, story.lines(*table, rows, gone))
            }
            Happens::Restart(run) => write!(script, "restart {}\n\n", run.shards),
        }
        .expect("strings can be written to");
    }
    let show = if query.is_final { "printed\n----\n" } else { "rows v0\n----\n" };
    let late = stream(story, &[query]).map(|ran| ran.late).unwrap_or_default();
    let late = late.first().map_or(&[][..], Vec::as_slice);
    let expected = answer(story, query, late).map_or_else(|error| vec![error], |answer| answer.rows);
    let expected: String = expected.iter().map(|line| format!("{line}\n")).collect();
    write!(script, "drain\n\n{show}{expected}").expect("strings can be written to");
    script
}

/// Tries the stories of some seeds; gives how often each construct was used, and the failures.
struct Tried {
    used: BTreeMap<&'static str, usize>,
    queries: usize,
    rows: usize,
    empty: usize,
    late: usize,
    from_checkpoint: usize,
    refused: usize,
    failures: Vec<String>,
}

fn try_seed(seed: u64, tried: &mut Tried) {
    let mut chance = Chance::new(seed);
    let story = Story::by_chance(&mut chance);
    let chances = (0..QUERIES).map(|index| Chance::new(seed * 1_000_003 + index as u64));
    let made = chances.map(|mut chance| (query(&mut chance, story.forgets), chance.choices().to_vec()));
    let (queries, choices): (Vec<Query>, Vec<Vec<usize>>) = made.unzip();
    let together: Vec<&Query> = queries.iter().collect();
    let ran = quietly(|| stream(&story, &together));
    for (index, query) in queries.iter().enumerate() {
        tried.queries += 1;
        let idle = (query.closed_by.len() > 1 && story.goes_past_idle()).then_some(IDLE);
        query.used.iter().chain(&idle).for_each(|construct| *tried.used.entry(construct).or_default() += 1);
        let wrong = match &ran {
            // Whichever of them it was fails alone, too.
            Err(_) => fault(&story, query),
            Ok(ran) => match quietly(|| answer(&story, query, &ran.late[index])) {
                Ok(expected) => {
                    tried.rows += expected.rows.len();
                    tried.late += ran.late_rows[index];
                    tried.empty += usize::from(expected.rows.is_empty());
                    differs(&expected, ran, index)
                }
                Err(error) => Some(error),
            },
        };
        if wrong.as_ref().is_some_and(|wrong| REFUSED.iter().any(|refused| wrong.contains(refused))) {
            tried.refused += 1;
        } else if let Some(wrong) = wrong {
            let mut failure = format!("seed {seed}, query {index}: {wrong}\n{}\n", query.streaming);
            if let Some(alone) = fault(&story, query)
                && tried.failures.len() < 5
            {
                let query = simpler(&story, query.clone(), &choices[index], &alone);
                let small = smaller(&story, &query, &alone);
                let path = root().join(format!("tests/slt/found-{seed}-{index}.slt"));
                std::fs::write(&path, script(&small, &query, seed)).expect("a file");
                writeln!(failure, "{}\nsmaller, in {}", query.streaming, path.display())
                    .expect("strings can be written to");
            }
            tried.failures.push(failure);
        }
    }
    if let Ok(ran) = ran {
        tried.from_checkpoint += ran.from_checkpoint;
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "what was tried is read with --nocapture")]
fn streams_end_where_batch_queries_do() {
    let (first, queries) = (number("CHALK_SEED", 1), number("CHALK_ORACLE_QUERIES", 600));
    let (used, failures) = (BTreeMap::new(), Vec::new());
    let mut tried = Tried { used, queries: 0, rows: 0, empty: 0, late: 0, from_checkpoint: 0, refused: 0, failures };
    let mut seed = first;
    while (tried.queries as u64) < queries {
        try_seed(seed, &mut tried);
        seed += 1;
    }
    println!(
        "CHALK_SEED={first}: {} queries, {} rows, {} without rows, {} late, {} refused by name, {} runs from a checkpoint",
        tried.queries, tried.rows, tried.empty, tried.late, tried.refused, tried.from_checkpoint
    );
    tried.used.iter().for_each(|(construct, count)| println!("{count:>6}  {construct}"));
    assert!(tried.failures.is_empty(), "{} of {}:\n{}", tried.failures.len(), tried.queries, tried.failures.join("\n"));
    let enough = tried.from_checkpoint > 0 && tried.empty * 2 < tried.queries && tried.refused * 50 < tried.queries;
    assert!(enough, "the stories try too little");
    if queries >= 600 {
        let unused: Vec<&str> =
            CONSTRUCTS.into_iter().filter(|construct| !tried.used.contains_key(construct)).collect();
        assert!(unused.is_empty(), "no query used {unused:?}");
    }
}
