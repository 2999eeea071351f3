//! [`Queries`]: one statement in, one answer out, of one snapshot.

use crate::error::{Limit, QueryError};
use crate::statement::{self, ReadOnly};
use crate::tables::{self, QueryTables};
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use chalk_log::EventLog;
use chalk_view::Snapshot;
use datafusion::common::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool};
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry, ObjectStoreUrl};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionContext;
use futures::{FutureExt, StreamExt};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

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
}

impl QueryResult {
    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Read-only SQL over the views and topics of a node.
///
/// Each query sees one committed epoch of all views, and of the topics what was durable when it began. Dropping the future
/// of [`Queries::run`] ends the query and frees what it holds.
pub struct Queries {
    // configuration
    log: Arc<dyn EventLog>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    base: SessionState,
    object_stores: Arc<dyn ObjectStoreRegistry>,
    limits: QueryLimits,
    // state
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
    #[expect(clippy::needless_pass_by_value, reason = "the list is this query engine's from here on")]
    pub fn new(
        log: Arc<dyn EventLog>,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        functions: Vec<Arc<ScalarUDF>>,
        limits: QueryLimits,
    ) -> Self {
        let partitions = std::thread::available_parallelism().map_or(1, usize::from);
        let mut base = chalk_plan::session(&functions, partitions).state();
        let options = base.config_mut().options_mut();
        options.catalog.create_default_catalog_and_schema = false;
        tables::CATALOG.clone_into(&mut options.catalog.default_catalog);
        tables::SCHEMA.clone_into(&mut options.catalog.default_schema);
        if let Ok(nesting) = limits.nesting_max.to_string().parse() {
            options.sql_parser.recursion_limit = nesting;
        }
        let turns = Semaphore::new(limits.concurrent_max.clamp(1, Semaphore::MAX_PERMITS));
        let object_stores = no_object_stores();
        Self { log, snapshots, base, object_stores, limits, turns, running: AtomicUsize::new(0) }
    }

    /// The snapshot that the next query would see.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
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

    /// Runs exactly one read-only statement.
    ///
    /// # Errors
    /// When the statement is wrong or not read-only, a limit is reached, or reading fails.
    pub async fn run(&self, sql: &str) -> Result<QueryResult, QueryError> {
        let sql = match statement::check(sql, &self.limits)? {
            ReadOnly::AsGiven => sql,
            ReadOnly::ShowTables => tables::SHOW_TABLES,
        };
        let _running = Running::begin(&self.running);
        let time = Duration::from_secs(self.limits.seconds_max);
        let answer = AssertUnwindSafe(self.answer(sql)).catch_unwind();
        match tokio::time::timeout(time, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(QueryError::internal("the query engine gave up on this statement (a panic)")),
            Err(_) => Err(QueryError::limit(Limit::Time, format!("the query took more than {} s", time.as_secs()))
                .hint("compare the first columns of a view with =, or keep the answer as a materialised view")),
        }
    }

    async fn answer(&self, sql: &str) -> Result<QueryResult, QueryError> {
        let _turn = self.turns.acquire().await.map_err(|_| QueryError::internal("queries have been closed"))?;
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(self.limits.memory_bytes_max));
        let tables = Arc::new(QueryTables::pinned(&self.log, self.snapshot(), &pool));
        let told = |error: DataFusionError| QueryError::of_datafusion(&error, &tables.names());
        let context = self.session(Arc::clone(&tables), &pool).map_err(told)?;
        let plan = chalk_plan::batch_plan(&context, sql).await.map_err(told)?;
        // The statement was checked already; this would find what the check had overlooked.
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        read_only.verify_plan(&plan).map_err(told)?;
        let state = context.state();
        let plan = state.create_physical_plan(&plan).await.map_err(told)?;
        let mut rows = execute_stream(plan, state.task_ctx()).map_err(told)?;
        let mut result = QueryResult { schema: rows.schema(), batches: Vec::new() };
        let held = MemoryConsumer::new("answer").register(&pool);
        let mut count = 0;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(told)?;
            count += batch.num_rows();
            if count > self.limits.rows_max {
                let message = format!("the answer has more than {} rows", self.limits.rows_max);
                return Err(QueryError::limit(Limit::Rows, message)
                    .hint("add ORDER BY … LIMIT, and go on after the last row with WHERE; or aggregate"));
            }
            held.try_grow(bytes_of(&batch)).map_err(told)?;
            if batch.num_rows() > 0 {
                result.batches.push(batch);
            }
        }
        Ok(result)
    }

    fn session(&self, tables: Arc<QueryTables>, pool: &Arc<dyn MemoryPool>) -> Result<SessionContext, DataFusionError> {
        let no_disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::clone(pool))
            .with_disk_manager_builder(no_disk)
            .with_object_store_registry(Arc::clone(&self.object_stores))
            .build_arc()?;
        let state = SessionStateBuilder::new_from_existing(self.base.clone())
            .with_catalog_list(Arc::new(tables::Catalogs::of(tables)))
            .with_runtime_env(runtime)
            .build();
        Ok(SessionContext::new_with_state(state))
    }
}

/// DataFusion serves local files unless it is told not to.
fn no_object_stores() -> Arc<dyn ObjectStoreRegistry> {
    let registry = DefaultObjectStoreRegistry::new();
    // It answers with the store that it had, or with an error when it had none: either way there is none now.
    let _ = registry.deregister_store(ObjectStoreUrl::local_filesystem().as_ref());
    Arc::new(registry)
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
