//! [`Queries`]: one statement in, one answer out, of one snapshot.

mod lookup;
mod memory;
mod session;

pub(crate) use lookup::is_indexed;

use crate::error::{Limit, QueryError};
use crate::pg::catalog::{self, Postgres};
use crate::statement;
use crate::tables::{self, QueryTables};
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use chalk_event::CommitSeq;
use chalk_log::EventLog;
use chalk_plan::Functions;
use chalk_view::{Snapshot, ViewRows};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::execution::session_state::SessionState;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;
use futures::{FutureExt, StreamExt};
use lookup::{Lookup, NoAnswer, template};
use memory::Share;
pub(crate) use session::{PARAMETERS_MAX, Session};
use session::{Planned, told};
use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// So many templates of lookups are kept.
const TEMPLATES_MAX: usize = 1_000;
/// Longer ones are planned each time.
const TEMPLATE_BYTES_MAX: usize = 2_000;

/// What one query may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Bytes of SQL.
    pub sql_bytes_max: usize,
    /// Levels of parentheses and inner queries.
    pub nesting_max: usize,
    /// Seconds, waiting for its turn included.
    pub seconds_max: u64,
    /// Bytes of memory, for its intermediate results and its answer together. What is larger is not put on disk.
    pub memory_bytes_max: usize,
    /// Bytes of memory for all queries together, answers included that clients have not taken yet.
    pub memory_total_bytes_max: usize,
    /// Rows in its answer.
    pub rows_max: usize,
    /// Queries at once; others wait for their turn.
    pub concurrent_max: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            sql_bytes_max: 64 << 10,
            nesting_max: 64,
            seconds_max: 30,
            memory_bytes_max: 512 << 20,
            memory_total_bytes_max: 2 << 30,
            rows_max: 1_000_000,
            concurrent_max: 32,
        }
    }
}

/// The answer to a query.
#[derive(Clone, Debug)]
pub struct QueryResult {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows, in order.
    pub batches: Vec<RecordBatch>,
    /// The memory that they take.
    _held: Option<Arc<MemoryReservation>>,
}

impl QueryResult {
    /// An answer that takes no memory to speak of.
    #[must_use]
    pub fn of(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self { schema, batches, _held: None }
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Whose SQL a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Ours.
    Plain,
    /// Of a client of PostgreSQL: as ours, and where that has no meaning, with PostgreSQL's catalogue and functions.
    Postgres,
}

/// A statement to be run with parameters, any number of times.
#[derive(Debug)]
pub(crate) struct Prepared {
    sql: String,
    dialect: Dialect,
    hints: Vec<Option<DataType>>,
    /// As it was planned, unless it was not.
    parsed: Option<Parsed>,
    /// What is done instead, and the values in the statement itself.
    lookup: Option<(Arc<Lookup>, Vec<ScalarValue>)>,
    /// `$1`, `$2`, …; none for a number that does not occur.
    pub(crate) parameters: Vec<Option<FieldRef>>,
    /// The columns of its answers.
    pub(crate) schema: SchemaRef,
}

/// A statement that could be planned, and the session in which.
#[derive(Clone, Debug)]
struct Parsed {
    statement: Statement,
    session: Dialect,
}

/// Read-only SQL over the views and topics of a node.
///
/// Each query sees one committed epoch of all views, and of the topics what was durable when it began. Dropping the future
/// of [`Queries::run`] ends the query and frees what it holds.
pub struct Queries {
    // configuration
    log: Arc<dyn EventLog>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The last commit of topics that is seen; `None` for all that is durable.
    upto: Option<CommitSeq>,
    base: SessionState,
    plain: Session,
    limits: QueryLimits,
    // state
    postgres: OnceLock<Result<Postgres, String>>,
    templates: Mutex<HashMap<String, Option<Arc<Lookup>>>>,
    memory: Arc<GreedyMemoryPool>,
    turns: Semaphore,
    // metrics
    running: AtomicUsize,
}

impl Queries {
    /// Queries over what `snapshots` publishes and the topics of `log`, with `functions` beside DataFusion's.
    ///
    /// Without a pipeline there are only topics: give the receiver of any channel that holds an empty snapshot. The last
    /// snapshot stays readable after its publisher is gone.
    #[must_use]
    pub fn new(
        log: Arc<dyn EventLog>,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        functions: &Functions,
        limits: QueryLimits,
    ) -> Self {
        let partitions = std::thread::available_parallelism().map_or(1, usize::from);
        let mut base = chalk_plan::session(functions, partitions).state();
        let options = base.config_mut().options_mut();
        options.catalog.create_default_catalog_and_schema = false;
        tables::CATALOG.clone_into(&mut options.catalog.default_catalog);
        tables::SCHEMA.clone_into(&mut options.catalog.default_schema);
        if let Ok(nesting) = limits.nesting_max.to_string().parse() {
            options.sql_parser.recursion_limit = nesting;
        }
        let plain = Session::new(base.clone(), None).expect("a runtime without disk opens nothing");
        let turns = Semaphore::new(limits.concurrent_max.clamp(1, Semaphore::MAX_PERMITS));
        let memory = Arc::new(GreedyMemoryPool::new(limits.memory_total_bytes_max));
        let (postgres, templates, running) = (OnceLock::new(), Mutex::default(), AtomicUsize::new(0));
        Self { log, snapshots, upto: None, base, plain, limits, postgres, templates, memory, turns, running }
    }

    /// As [`Queries::new`], over views and topics as they were at one epoch.
    #[must_use]
    pub fn of_past(log: Arc<dyn EventLog>, snapshot: Snapshot, functions: &Functions, limits: QueryLimits) -> Self {
        let upto = Some(snapshot.upto);
        let (_, snapshots) = watch::channel(Arc::new(snapshot));
        Self { upto, ..Self::new(log, snapshots, functions, limits) }
    }

    /// The snapshot that the next query would see.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// Sees each newer snapshot.
    pub(crate) fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// The limits of each query.
    #[must_use]
    pub fn limits(&self) -> &QueryLimits {
        &self.limits
    }

    /// How many queries are running or waiting for their turn.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Bytes that queries and their answers hold.
    pub(crate) fn memory_held(&self) -> usize {
        self.memory.reserved()
    }

    /// Runs exactly one read-only statement.
    ///
    /// # Errors
    /// When the statement is wrong or not read-only, a limit is reached, or reading fails.
    pub async fn run(&self, sql: &str) -> Result<QueryResult, QueryError> {
        self.run_as(sql, Dialect::Plain, None).await
    }

    /// The same in a dialect, and within a time that may be shorter than the limit.
    pub(crate) async fn run_as(
        &self,
        sql: &str,
        dialect: Dialect,
        time: Option<Duration>,
    ) -> Result<QueryResult, QueryError> {
        self.bounded(time, self.answer(sql, dialect)).await
    }

    /// Plans a statement. Parameters have the types that follow from where they stand, or else those of `hints`, or text.
    pub(crate) async fn prepare(
        &self,
        sql: &str,
        dialect: Dialect,
        hints: &[Option<DataType>],
    ) -> Result<Prepared, QueryError> {
        let prepared = async {
            let tokens = statement::tokens(sql, &self.limits)?;
            let lookup = match template(&tokens) {
                Some((text, values)) => self.lookup(&text).await.map(|lookup| (lookup, values)),
                None => None,
            };
            let (schema, parameters, parsed) = match &lookup {
                // Values in the statement are no parameters.
                Some((lookup, values)) if values.is_empty() => {
                    (Arc::clone(lookup.schema()), lookup.parameters().to_vec(), None)
                }
                Some((lookup, _)) => (Arc::clone(lookup.schema()), Vec::new(), None),
                None => {
                    let (planned, parsed) = self.plan(sql, tokens, dialect, &self.pinned(), hints).await?;
                    (Arc::new(planned.plan.schema().as_arrow().clone()), planned.parameters, Some(parsed))
                }
            };
            Ok(Prepared { sql: sql.to_owned(), dialect, hints: hints.to_vec(), parsed, lookup, parameters, schema })
        };
        self.bounded(None, prepared).await
    }

    /// Runs a prepared statement with a value for each parameter.
    pub(crate) async fn execute(
        &self,
        prepared: &Prepared,
        values: &[ScalarValue],
        time: Option<Duration>,
    ) -> Result<QueryResult, QueryError> {
        let answer = async {
            if let Some((lookup, own)) = &prepared.lookup {
                let values = if own.is_empty() { values } else { own };
                if let Some(result) = self.look_up(lookup, &self.snapshot(), values).await {
                    return result;
                }
            }
            let tables = self.pinned();
            let planned = match &prepared.parsed {
                Some(parsed) => self.plan_parsed(parsed.clone(), &tables, &prepared.hints).await?,
                None => {
                    let tokens = statement::tokens(&prepared.sql, &self.limits)?;
                    self.plan(&prepared.sql, tokens, prepared.dialect, &tables, &prepared.hints).await?
                }
            };
            self.collect(planned, &tables, values).await
        };
        self.bounded(time, answer).await
    }

    /// The rows of a view of `snapshot` whose columns have these values, in the columns' types; `limit` of them at most.
    pub(crate) async fn rows_of(
        &self,
        snapshot: &Snapshot,
        view: &ViewRows,
        equal: Vec<(usize, ScalarValue)>,
        limit: Option<usize>,
    ) -> Result<QueryResult, QueryError> {
        let lookup = Lookup::by_columns(view, equal, limit);
        let rows = async {
            let found = self.look_up(&lookup, snapshot, &[]).await;
            found.unwrap_or_else(|| Err(QueryError::internal("a value is not of its column's type")))
        };
        self.bounded(None, rows).await
    }

    /// Counts a query, and ends it in time.
    async fn bounded<T>(
        &self,
        time: Option<Duration>,
        query: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        let _running = Running::begin(&self.running);
        let limit = Duration::from_secs(self.limits.seconds_max);
        let time = time.map_or(limit, |time| time.min(limit));
        let in_turn = async {
            let _turn = self.turns.acquire().await.map_err(|_| QueryError::internal("queries have been closed"))?;
            query.await
        };
        match tokio::time::timeout(time, AssertUnwindSafe(in_turn).catch_unwind()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(QueryError::internal("the query engine gave up on this statement (a panic)")),
            Err(_) => Err(QueryError::limit(Limit::Time, format!("the query took more than {} s", time.as_secs_f64()))
                .hint("compare the first columns of a view with =, or keep the answer as a materialised view")),
        }
    }

    fn pinned(&self) -> Arc<QueryTables> {
        Arc::new(QueryTables::pinned(&self.log, self.snapshot(), self.upto))
    }

    async fn answer(&self, sql: &str, dialect: Dialect) -> Result<QueryResult, QueryError> {
        let tokens = statement::tokens(sql, &self.limits)?;
        if let Some((text, values)) = template(&tokens)
            && let Some(lookup) = self.lookup(&text).await
            && let Some(result) = self.look_up(&lookup, &self.snapshot(), &values).await
        {
            return result;
        }
        let tables = self.pinned();
        let planned = self.plan(sql, tokens, dialect, &tables, &[]).await?;
        if planned.0.parameters.is_empty() {
            return self.collect(planned, &tables, &[]).await;
        }
        Err(QueryError::mistake("the statement has parameters, and there are no values for them")
            .hint("write values instead of $1, or send them as PostgreSQL's clients do"))
    }

    /// The lookup that a template is, if it is one.
    async fn lookup(&self, text: &str) -> Option<Arc<Lookup>> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return None;
        }
        let known = self.templates.lock().unwrap_or_else(PoisonError::into_inner).get(text).cloned();
        if let Some(known) = known {
            return known;
        }
        let tables = self.pinned();
        let tokens = statement::tokens(text, &self.limits).ok()?;
        let statement = statement::parse(text, tokens, &self.limits).ok()?;
        let planned = self.plain.plan(statement, &tables, &[]).await.ok()?;
        let lookup = Lookup::of(&planned, tables.snapshot()).map(Arc::new);
        let mut templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        if templates.len() >= TEMPLATES_MAX {
            templates.clear();
        }
        templates.insert(text.to_owned(), lookup.clone());
        lookup
    }

    async fn look_up(
        &self,
        lookup: &Lookup,
        snapshot: &Snapshot,
        values: &[ScalarValue],
    ) -> Option<Result<QueryResult, QueryError>> {
        let (rows_max, bytes_max) = (self.limits.rows_max, self.limits.memory_bytes_max);
        match lookup.answer(snapshot, values, rows_max, bytes_max).await {
            Ok(batches) => {
                let pool: Arc<dyn MemoryPool> = Arc::clone(&self.memory) as _;
                let held = MemoryConsumer::new("answer").register(&pool);
                let bytes = batches.iter().map(bytes_of).sum();
                Some(match held.try_grow(bytes) {
                    Ok(()) => {
                        let schema = Arc::clone(lookup.schema());
                        Ok(QueryResult { schema, batches, _held: Some(Arc::new(held)) })
                    }
                    Err(_) => Err(QueryError::memory()),
                })
            }
            Err(NoAnswer::Plan) => None,
            Err(NoAnswer::Error(error)) => Some(Err(error)),
        }
    }

    /// Plans a statement in the session that it is for.
    async fn plan(
        &self,
        sql: &str,
        tokens: Vec<TokenWithSpan>,
        dialect: Dialect,
        tables: &Arc<QueryTables>,
        hints: &[Option<DataType>],
    ) -> Result<(Planned, Parsed), QueryError> {
        let of_catalogue = dialect == Dialect::Postgres && catalog::is_asked(&tokens);
        let plain = if of_catalogue {
            None
        } else {
            let planned = match statement::parse(sql, tokens, &self.limits) {
                Ok(statement) => self.plan_parsed(Parsed { statement, session: Dialect::Plain }, tables, hints).await,
                Err(error) => Err(error),
            };
            match planned {
                Err(error) if dialect == Dialect::Postgres => Some(error),
                planned => return planned,
            }
        };
        let planned = match statement::parse_postgres(sql, &self.postgres()?.parser) {
            Ok(statement) => self.plan_parsed(Parsed { statement, session: Dialect::Postgres }, tables, hints).await,
            Err(error) => Err(error),
        };
        // What is wrong with it in our SQL has a place.
        planned.map_err(|error| plain.unwrap_or(error))
    }

    async fn plan_parsed(
        &self,
        parsed: Parsed,
        tables: &Arc<QueryTables>,
        hints: &[Option<DataType>],
    ) -> Result<(Planned, Parsed), QueryError> {
        let planned = self.session(parsed.session)?.plan(parsed.statement.clone(), tables, hints).await;
        planned.map(|planned| (planned, parsed)).map_err(|error| told(&error, tables))
    }

    fn session(&self, dialect: Dialect) -> Result<&Session, QueryError> {
        Ok(match dialect {
            Dialect::Plain => &self.plain,
            Dialect::Postgres => &self.postgres()?.session,
        })
    }

    /// What PostgreSQL's clients expect to find, made when the first of them asks.
    fn postgres(&self) -> Result<&Postgres, QueryError> {
        let made = self
            .postgres
            .get_or_init(|| Postgres::new(&self.base, &self.log, &self.snapshots).map_err(|error| error.to_string()));
        made.as_ref().map_err(|error| QueryError::internal(format!("PostgreSQL's catalogue: {error}")))
    }

    async fn collect(
        &self,
        (planned, parsed): (Planned, Parsed),
        tables: &QueryTables,
        values: &[ScalarValue],
    ) -> Result<QueryResult, QueryError> {
        let session = self.session(parsed.session)?;
        let told = |error: DataFusionError| told(&error, tables);
        let pool: Arc<dyn MemoryPool> = Arc::new(Share::new(self.limits.memory_bytes_max, &self.memory));
        let mut rows = session.start(planned, values, &pool).await.map_err(told)?;
        let (schema, mut batches) = (rows.schema(), Vec::new());
        let held = MemoryConsumer::new("answer").register(&pool);
        let mut count = 0;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(told)?;
            count += batch.num_rows();
            if count > self.limits.rows_max {
                return Err(rows_limit(self.limits.rows_max));
            }
            held.try_grow(bytes_of(&batch)).map_err(told)?;
            if batch.num_rows() > 0 {
                batches.push(batch);
            }
        }
        Ok(QueryResult { schema, batches, _held: Some(Arc::new(held)) })
    }
}

/// The answer has more rows than it may.
fn rows_limit(rows_max: usize) -> QueryError {
    QueryError::limit(Limit::Rows, format!("the answer has more than {rows_max} rows"))
        .hint("add ORDER BY … LIMIT, and go on after the last row with WHERE; or aggregate")
}

/// The bytes of a batch's own rows; buffers that it shares with other batches would be counted for each of them.
pub(crate) fn bytes_of(batch: &RecordBatch) -> usize {
    let bytes = |column: &Arc<dyn Array>| {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    };
    batch.columns().iter().map(bytes).sum()
}

/// Counts a query for as long as it lives.
struct Running<'a>(&'a AtomicUsize);

impl<'a> Running<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
