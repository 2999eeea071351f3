//! Planning and running a statement over the tables of one snapshot.
//!
//! A session is made once: functions, rules and configuration. A query takes a copy of it (some tens of microseconds), and
//! gives the copy its tables and its memory.

use crate::error::QueryError;
use crate::tables::{Catalogs, QueryTables};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::catalog::SchemaProvider;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, ParamValues, Result, ScalarValue};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry, ObjectStoreUrl};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::physical_plan::execute_stream;
use datafusion::sql::parser::Statement;
use std::collections::HashMap;
use std::sync::Arc;

/// What every query of a kind has in common.
pub(crate) struct Session {
    base: SessionState,
    /// `pg_catalog`, for clients that speak PostgreSQL's SQL.
    postgres: Option<Arc<dyn SchemaProvider>>,
    runtime: Arc<RuntimeEnv>,
}

impl Session {
    /// Without files and without a disk.
    pub(crate) fn new(base: SessionState, postgres: Option<Arc<dyn SchemaProvider>>) -> Result<Self> {
        let no_disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        let runtime = RuntimeEnvBuilder::new()
            .with_disk_manager_builder(no_disk)
            .with_object_store_registry(no_object_stores())
            .build_arc()?;
        let base = SessionStateBuilder::new_from_existing(base).with_runtime_env(Arc::clone(&runtime)).build();
        Ok(Self { base, postgres, runtime })
    }

    /// Plans a statement; its parameters have the types that follow from where they stand, or else those of `hints`.
    pub(super) async fn plan(
        &self,
        statement: Statement,
        tables: &Arc<QueryTables>,
        hints: &[Option<DataType>],
    ) -> Result<Planned> {
        let mut state = self.base.clone();
        let catalogs = Catalogs::of(Arc::clone(tables), self.postgres.clone());
        state.register_catalog_list(Arc::new(catalogs));
        state.mark_start_execution();
        let plan = chalk_plan::with_event_time(state.statement_to_plan(statement).await?)?;
        // The statement was checked already; this would find what the check had overlooked.
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        read_only.verify_plan(&plan)?;
        let parameters = parameters(&plan)?;
        let plan = if parameters.iter().any(Option::is_none) { typed(plan, hints)? } else { plan };
        Ok(Planned { state, parameters: self::parameters(&plan)?, plan })
    }

    /// Starts to run a plan with these values for `$1`, `$2`, ….
    pub(super) async fn start(
        &self,
        planned: Planned,
        values: &[ScalarValue],
        pool: &Arc<dyn MemoryPool>,
    ) -> Result<SendableRecordBatchStream> {
        let Planned { state, plan, parameters } = planned;
        let plan = if parameters.is_empty() {
            plan
        } else {
            plan.replace_params_with_values(&ParamValues::from(values.to_vec()))?
        };
        let plan = state.create_physical_plan(&plan).await?;
        let runtime = RuntimeEnv { memory_pool: Arc::clone(pool), ..self.runtime.as_ref().clone() };
        // Plans hold the functions that they call: none is looked up by name any more.
        let context = TaskContext::new(
            None,
            state.session_id().to_owned(),
            state.config().clone(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            Arc::new(runtime),
        );
        execute_stream(plan, Arc::new(context))
    }
}

/// A statement's plan, of one snapshot.
pub(super) struct Planned {
    state: SessionState,
    pub(super) plan: LogicalPlan,
    /// `$1`, `$2`, …; none for a number that does not occur.
    pub(super) parameters: Vec<Option<FieldRef>>,
}

/// So many parameters may a statement have.
const PARAMETERS_MAX: usize = 1_000;

/// The number of `$7`.
fn number(id: &str) -> Result<usize> {
    let number = id.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
    match number {
        Some(number @ 1..=PARAMETERS_MAX) => Ok(number - 1),
        _ => Err(DataFusionError::Plan(format!(
            "parameters are numbered from $1 to ${PARAMETERS_MAX} here: there is no {id}"
        ))),
    }
}

fn parameters(plan: &LogicalPlan) -> Result<Vec<Option<FieldRef>>> {
    let mut parameters = Vec::new();
    for (id, field) in plan.get_parameter_fields()? {
        let number = number(&id)?;
        if parameters.len() <= number {
            parameters.resize(number + 1, None);
        }
        parameters[number] = field;
    }
    Ok(parameters)
}

/// Gives the parameters whose type does not follow from the SQL that of the client, or text.
fn typed(plan: LogicalPlan, hints: &[Option<DataType>]) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|plan| {
        let counts = matches!(plan, LogicalPlan::Limit(_));
        let input = plan.inputs().first().map(|input| Arc::clone(input.schema()));
        let changed = plan.map_expressions(|expr| {
            expr.transform_down(|expr| match expr {
                // `x = ANY($1)`
                Expr::ScalarFunction(ScalarFunction { func, mut args }) if func.name() == "array_has" => {
                    let item = match (args.as_slice(), &input) {
                        ([Expr::Placeholder(Placeholder { field: None, .. }), item], Some(input)) => {
                            item.get_type(input).ok()
                        }
                        _ => None,
                    };
                    let typed = item.is_some();
                    if let (Some(item), Some(Expr::Placeholder(Placeholder { id, field }))) = (item, args.first_mut()) {
                        let hint = hints.get(number(id)?).cloned().flatten();
                        let data_type = hint.unwrap_or_else(|| DataType::new_list(item, true));
                        *field = Some(Arc::new(Field::new("", data_type, true)));
                    }
                    Ok(Transformed::new_transformed(Expr::ScalarFunction(ScalarFunction { func, args }), typed))
                }
                // `$1::int`
                Expr::Cast(mut cast) if matches!(&*cast.expr, Expr::Placeholder(Placeholder { field: None, .. })) => {
                    if let Expr::Placeholder(Placeholder { id, field }) = cast.expr.as_mut() {
                        let hint = hints.get(number(id)?).cloned().flatten();
                        let data_type = hint.unwrap_or_else(|| cast.field.data_type().clone());
                        *field = Some(Arc::new(Field::new("", data_type, true)));
                    }
                    Ok(Transformed::yes(Expr::Cast(cast)))
                }
                Expr::Placeholder(Placeholder { id, field: None }) => {
                    let hint = hints.get(number(&id)?).cloned().flatten();
                    let data_type = hint.unwrap_or(if counts { DataType::Int64 } else { DataType::Utf8 });
                    let field = Some(Arc::new(Field::new("", data_type, true)));
                    Ok(Transformed::yes(Expr::Placeholder(Placeholder { id, field })))
                }
                other => Ok(Transformed::no(other)),
            })
        })?;
        if changed.transformed { Ok(Transformed::yes(changed.data.recompute_schema()?)) } else { Ok(changed) }
    })?;
    Ok(plan.data)
}

/// DataFusion serves local files unless it is told not to.
pub(super) fn no_object_stores() -> Arc<dyn ObjectStoreRegistry> {
    let registry = DefaultObjectStoreRegistry::new();
    // It answers with the store that it had, or with an error when it had none: either way there is none now.
    let _ = registry.deregister_store(ObjectStoreUrl::local_filesystem().as_ref());
    Arc::new(registry)
}

/// What DataFusion said, to the user of these tables.
pub(super) fn told(error: &DataFusionError, tables: &QueryTables) -> QueryError {
    QueryError::of_datafusion(error, &tables.names())
}
