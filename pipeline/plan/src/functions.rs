//! The planner's session, and the functions that are ours.

use crate::cast_names::CastNames;
use crate::{optimiser, scalar, windows};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use datafusion::prelude::{SessionConfig, SessionContext};
use std::sync::Arc;

/// What a program adds to SQL: functions beside DataFusion's, and connectors.
#[derive(Clone, Debug, Default)]
pub struct Functions {
    /// Those that give a value for each row.
    pub scalar: Vec<Arc<ScalarUDF>>,
    /// Those that give a value for each group.
    pub aggregate: Vec<Arc<AggregateUDF>>,
    /// Those that give a value for each row, which is recorded: they are volatile, and are never called by a plan.
    pub recorded: Vec<Arc<ScalarUDF>>,
    /// Connectors whose rows the program makes up, by name.
    pub generators: Vec<String>,
}

/// A session with our dialect's settings and functions: for planning, for queries, and for the batch answer.
///
/// `partitions` is how many threads a batch query may use.
///
/// # Panics
/// Never: registering a planner and DataFusion's own JSON functions cannot fail in a new session.
#[must_use]
pub fn session(functions: &Functions, partitions: usize) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(partitions).with_information_schema(true);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    // It fails where a field of a struct is read beside two columns of one name below it.
    options.optimizer.enable_leaf_expression_pushdown = false;
    let state = optimiser::trusted(SessionContext::new_with_config(config).state());
    let mut context = SessionContext::new_with_state(state);
    context.register_expr_planner(Arc::new(CastNames)).expect("a new session takes every planner");
    datafusion_functions_json::register_all(&mut context).expect("a new session takes every function");
    scalar::functions().into_iter().for_each(|function| context.register_udf(function));
    windows::functions().into_iter().for_each(|function| context.register_udf(function));
    for function in functions.scalar.iter().chain(&functions.recorded) {
        context.register_udf(ScalarUDF::clone(function));
    }
    for function in &functions.aggregate {
        context.register_udaf(AggregateUDF::clone(function));
    }
    context
}
