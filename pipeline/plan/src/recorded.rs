//! Async functions: a query is cut where one is called, into a stage that records results and a source that reads them.
//!
//! ```text
//! project id, upper(probe(uri)) as p            project id, upper(_result) as p
//!   filter kind = 'page'                 ──▶      results of stage q_probe: id, _result, _function
//!     scan files
//!                                               stage q_probe: probe(uri)
//!                                                 project id, uri
//!                                                   filter kind = 'page'
//!                                                     scan files
//! ```
//!
//! A stage's rows are known by their place in the log. So they come from one table, or from another stage, and are chosen and projected, and nothing
//! else happens to them before the call; what happens afterwards is any query's business.

use crate::error::Mistake;
use crate::functions::Functions;
use crate::translate::{Planned, Query, columns, place_of, with_marks};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chalk_event::Provenance;
use chalk_graph::options::{BadData, Format};
use chalk_graph::{Graph, Node, NodeId, NodeKind, RecordedSource, Source, SourceColumns, Stage};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column as ColumnName, DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, Projection, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TableScan,
    Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The places of a stage's rows, in the order of [`Stage::PLACE`].
const PLACE: [Provenance; 3] = [Provenance::Partition, Provenance::Offset, Provenance::CommitSeq];
/// `udf_version('name')`, where the answer is the row's.
const VERSION: &str = "udf_version";
const ROWS_VERSION: &str = "_recorded_version";

/// The functions whose results are recorded, by name.
#[derive(Debug, Default)]
pub(crate) struct RecordedFunctions(HashMap<String, Arc<ScalarUDF>>);

impl RecordedFunctions {
    pub(crate) fn of(functions: &Functions) -> Self {
        Self(functions.recorded.iter().map(|udf| (udf.name().to_owned(), Arc::clone(udf))).collect())
    }

    /// The calls in an expression.
    fn calls(&self, expr: &Expr, found: &mut Vec<ScalarFunction>) -> Result<()> {
        expr.apply(|part| {
            if let Expr::ScalarFunction(call) = part
                && self.0.contains_key(call.name())
                && !found.contains(call)
            {
                found.push(call.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map(drop)
    }

    fn calls_of(&self, plan: &LogicalPlan) -> Result<Vec<ScalarFunction>> {
        let mut found = Vec::new();
        if !self.0.is_empty() {
            plan.apply_expressions(|expr| self.calls(expr, &mut found).map(|()| TreeNodeRecursion::Continue))?;
        }
        Ok(found)
    }

    /// Refuses calls that stand elsewhere than in a select list.
    pub(crate) fn check_place(&self, plan: &LogicalPlan) -> Result<(), Mistake> {
        match self.calls_of(plan)?.first() {
            Some(call) if !matches!(plan, LogicalPlan::Projection(_)) => {
                let mistake = format!("async function '{}' can only be called in a select list", call.name());
                Err(Mistake::new(mistake)
                    .hint(
                        "call it in a subquery, as in SELECT … FROM (SELECT f(x) AS y FROM t), and use its result here",
                    )
                    .at(place_of(&Expr::ScalarFunction(call.clone()))))
            }
            _ => Ok(()),
        }
    }

    /// A plan in which `udf_version('f')` beside a call of an async `f` says who made that row's result.
    pub(crate) fn with_versions(&self, plan: LogicalPlan) -> Result<LogicalPlan, Mistake> {
        if self.0.is_empty() {
            return Ok(plan);
        }
        let changed = plan.transform_up_with_subqueries(|plan| {
            let called: BTreeSet<String> = self.calls_of(&plan)?.iter().map(|call| call.name().to_owned()).collect();
            let changed = plan.map_expressions(|expr| self.with_rows_version(expr, &called))?;
            if !changed.transformed {
                return Ok(changed);
            }
            Ok(Transformed::yes(changed.data.recompute_schema()?))
        })?;
        Ok(changed.data)
    }

    fn with_rows_version(&self, expr: Expr, called: &BTreeSet<String>) -> Result<Transformed<Expr>> {
        let top_name = expr.schema_name().to_string();
        let changed = expr.transform_up(|part| {
            let Expr::ScalarFunction(version) = &part else { return Ok(Transformed::no(part)) };
            let ([Expr::Literal(ScalarValue::Utf8(Some(of)), _)], VERSION) = (version.args.as_slice(), version.name())
            else {
                return Ok(Transformed::no(part));
            };
            if !self.0.contains_key(of) {
                return Ok(Transformed::no(part));
            }
            if !called.contains(of) {
                return plan_err!(
                    "udf_version('{of}') has to stand in the select list that calls {of}: each row says who made it"
                );
            }
            let func =
                Arc::new(ScalarUDF::from(RowsVersion(Signature::exact(vec![DataType::Utf8], Volatility::Volatile))));
            Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args: version.args.clone() })))
        })?;
        Ok(changed.update_data(
            |expr| {
                if expr.schema_name().to_string() == top_name { expr } else { expr.alias(top_name) }
            },
        ))
    }
}

/// Stands for the column of a row that says who made its result, until the query is cut.
#[derive(Debug, PartialEq, Eq, Hash)]
struct RowsVersion(Signature);

impl ScalarUDFImpl for RowsVersion {
    fn name(&self) -> &str {
        ROWS_VERSION
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        plan_err!("{VERSION} of an async function is a column of its results")
    }
}

/// The nodes of a stage's input so far.
struct Input {
    graph: Graph,
    last: NodeId,
}

impl Input {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.graph.node(self.last).schema)
    }

    fn add(mut self, name: String, kind: NodeKind, schema: SchemaRef) -> Self {
        let inputs = vec![self.last];
        self.last = self.graph.add(Node { name, kind, inputs, schema, append_only: true });
        self
    }

    /// A projection that keeps the place of each row.
    fn project(self, name: String, mut expressions: Vec<Arc<dyn PhysicalExpr>>, fields: Vec<Arc<Field>>) -> Self {
        let from = self.schema();
        let schema = with_marks(&expressions, &from, &Arc::new(Schema::new(fields)));
        let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
        for index in from.fields().len() - PLACE.len()..from.fields().len() {
            fields.push(Arc::clone(&from.fields()[index]));
            expressions.push(Arc::new(Column::new(from.field(index).name(), index)));
        }
        self.add(name, NodeKind::Project(expressions), Arc::new(Schema::new(fields)))
    }
}

impl Query<'_> {
    /// The node of a projection that calls an async function; `None` if it calls none.
    pub(crate) fn recorded(&mut self, plan: &LogicalPlan, projection: &Projection) -> Result<Option<NodeId>, Mistake> {
        let calls = self.translator.recorded.calls_of(plan)?;
        let call = match calls.as_slice() {
            [] => return Ok(None),
            [call] => call.clone(),
            [first, second, ..] => {
                let message = format!("'{}' and '{}': one async call at a time", first.name(), second.name());
                return Err(Mistake::new(message).hint("put one of them into a subquery in FROM"));
            }
        };
        let called = Expr::ScalarFunction(call.clone());
        let location = place_of(&called);
        if projection.expr.iter().any(|expr| stands_in_case(expr, &called)) {
            let message =
                format!("async function '{}' stands in a CASE, which would not keep it from being called", call.name());
            let hint = "give it NULL where it is not to be called: f(CASE WHEN … THEN x END)";
            return Err(Mistake::new(message).hint(hint).at(location));
        }
        let over = DFSchema::clone(projection.input.schema());
        let result = |name: &str| Expr::Column(ColumnName::new_unqualified(name));
        let is_version = |part: &Expr| matches!(part, Expr::ScalarFunction(version) if version.name() == ROWS_VERSION);
        let replaced: Vec<Expr> = projection
            .expr
            .iter()
            .map(|expr| {
                let replaced = expr.clone().transform_down(|part| {
                    Ok(if part == called {
                        Transformed::new(result(Stage::RESULT), true, TreeNodeRecursion::Jump)
                    } else if is_version(&part) {
                        Transformed::new(result(Stage::FUNCTION), true, TreeNodeRecursion::Jump)
                    } else {
                        Transformed::no(part)
                    })
                });
                replaced.map(|expr| expr.data)
            })
            .collect::<Result<_>>()?;
        let known = self.translator.cut.iter().find(|(cut, _)| cut == plan).map(|(_, node)| *node);
        let kept = kept_columns(&over, &replaced)?;
        let node = match known {
            Some(node) => node,
            None => {
                let node = self.cut(projection, &call, &kept).map_err(|mistake| mistake.at(location))?;
                self.translator.cut.push((plan.clone(), node));
                node
            }
        };
        let mut fields: Vec<_> = kept.iter().map(|(column, _)| column.relation.clone()).collect();
        fields.extend([None, None]);
        let schema = self.schema(node);
        let fields = fields.into_iter().zip(schema.fields().iter().cloned()).collect();
        let over = DFSchema::new_with_metadata(fields, HashMap::new())?;
        self.project(node, &replaced, &over, Arc::clone(projection.schema.inner())).map(Some)
    }

    /// Cuts a stage off; gives the source of its results.
    fn cut(&mut self, projection: &Projection, call: &ScalarFunction, kept: &[(ColumnName, usize)]) -> Planned {
        let input = self.input(&projection.input, call.name())?;
        let (from, over) = (input.schema(), projection.input.schema());
        let mut expressions: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        let mut fields: Vec<Arc<Field>> = Vec::new();
        let taken = [Stage::RESULT, Stage::FUNCTION].into_iter().chain(Stage::PLACE);
        let taken: Vec<&str> = taken.chain(["_verdict", "_arguments", "_watermark"]).collect();
        for (column, index) in kept {
            let name = column.name();
            if taken.contains(&name) || fields.iter().any(|field| field.name() == name) {
                let message = format!("column '{name}' cannot be recorded: there is another one of that name");
                return Err(Mistake::new(message).hint("give it another name with AS, in a subquery"));
            }
            expressions.push(Arc::new(Column::new(from.field(*index).name(), *index)));
            fields.push(Arc::new(from.field(*index).clone().with_name(name)));
        }
        let kept_schema = Arc::new(Schema::new(fields.clone()));
        for (number, argument) in call.args.iter().enumerate() {
            let argument = self.physical(argument, over)?;
            let field = argument.return_field(&from)?;
            fields.push(Arc::new(field.as_ref().clone().with_name(format!("_argument_{number}"))));
            expressions.push(argument);
        }
        let input = input.project(format!("{}/stage", self.name), expressions, fields);
        let types: Vec<DataType> = call.args.iter().map(|arg| arg_type(arg, over)).collect::<Result<_>>()?;
        let returns = call.func.return_type(&types)?;
        let name = self.stage_name(call.name());
        let stage = Stage {
            name: name.clone(),
            function: call.name().to_owned(),
            kept: Arc::clone(&kept_schema),
            arguments: call.args.len(),
            returns: returns.clone(),
            input: input.graph,
        };
        let source = stage.source();
        let recorded = RecordedSource { has_watermark: source.has_watermark(), is_bounded: source.is_bounded() };
        self.translator.graph.stages.push(stage);
        let schema = Stage::columns(&kept_schema, &returns);
        let source = Source {
            table: name.clone(),
            topic: Stage::topic(&name),
            options: None,
            format: Format::default(),
            bad_data: BadData::default(),
            columns: SourceColumns {
                stored: schema.fields().iter().map(|field| field.name().clone()).collect(),
                weight: None,
                provenance: Vec::new(),
                schema: Arc::clone(&schema),
            },
            expressions: columns(&schema),
            event_time: None,
            watermark: None,
            // A function that does not answer is no reason to go on without its results.
            idle_after: None,
            recorded: Some(recorded),
        };
        let node = Node {
            name: format!("{name}/source"),
            kind: NodeKind::Source(source),
            inputs: Vec::new(),
            schema,
            append_only: true,
        };
        Ok(self.translator.graph.add(node))
    }

    fn stage_name(&self, function: &str) -> String {
        let first = format!("{}_{function}", self.name);
        let stages = &self.translator.graph.stages;
        let is_free = |name: &String| !stages.iter().any(|stage| stage.name == *name);
        let more = (2..).map(|number| format!("{first}_{number}"));
        [first.clone()].into_iter().chain(more).find(is_free).unwrap_or(first)
    }

    /// The rows that a function is called for.
    fn input(&mut self, plan: &LogicalPlan, function: &str) -> Result<Input, Mistake> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => self.input(&alias.input, function),
            LogicalPlan::TableScan(scan) => self.scanned(scan, function),
            LogicalPlan::Projection(projection) => {
                if let Some(node) = self.recorded(plan, projection)? {
                    return self.results(node);
                }
                let input = self.input(&projection.input, function)?;
                let over = projection.input.schema();
                let expressions = projection.expr.iter().map(|expr| self.physical(expr, over));
                let expressions = expressions.collect::<Result<_, _>>()?;
                let fields = projection.schema.inner().fields().iter().cloned().collect();
                Ok(input.project(format!("{}/stage", self.name), expressions, fields))
            }
            LogicalPlan::Filter(filter) => {
                self.translator.recorded.check_place(plan)?;
                let input = self.input(&filter.input, function)?;
                let predicate = self.physical(&filter.predicate, filter.input.schema())?;
                let schema = input.schema();
                Ok(input.add(format!("{}/stage", self.name), NodeKind::Filter(predicate), schema))
            }
            other => {
                let shown = other.display().to_string();
                let shown = shown.split([':', '(']).next().unwrap_or(&shown).trim().to_owned();
                let message = format!(
                    "async function '{function}' is called over {shown}, but can only be called for rows of a table"
                );
                Err(Mistake::new(message)
                    .hint("call it in a subquery over the table, with WHERE as needed; join and aggregate its results"))
            }
        }
    }

    fn scanned(&mut self, scan: &TableScan, function: &str) -> Result<Input, Mistake> {
        let name = scan.table_name.table();
        let view = self.translator.views.get(name).cloned();
        let table = self.translator.sources.get(name).or_else(|| {
            let node = *self.translator.relations.get(name)?;
            let node = self.translator.graph.node(node);
            matches!(node.kind, NodeKind::Source(_)).then_some(node)
        });
        let input = match (table, view) {
            (Some(node), _) => Self::placed(node.clone()),
            (None, Some((plan, schema))) => {
                let input = self.input(&plan, function)?;
                let from = input.schema();
                let expressions = columns(&from).into_iter().take(schema.fields().len()).collect();
                input.project(format!("{}/stage", self.name), expressions, schema.fields().iter().cloned().collect())
            }
            (None, None) => {
                let message = format!(
                    "async function '{function}' is called over '{name}', but can only be called for rows of a table"
                );
                let hint = "a materialised view's rows can change; call it over the table that the view reads";
                return Err(Mistake::new(message).hint(hint));
            }
        };
        let Some(projection) = &scan.projection else { return Ok(input) };
        let from = input.schema();
        let expressions = projection.iter().map(|&index| Arc::new(Column::new(from.field(index).name(), index)) as _);
        let fields = scan.projected_schema.inner().fields().iter().cloned().collect();
        Ok(input.project(format!("{}/stage", self.name), expressions.collect(), fields))
    }

    /// The results of another stage: the projection over them was planned for the graph, and is taken from there.
    fn results(&self, node: NodeId) -> Result<Input, Mistake> {
        let graph = &self.translator.graph;
        let (mut way, mut at) = (Vec::new(), node);
        while let &[input] = graph.node(at).inputs.as_slice() {
            way.push(at);
            at = input;
        }
        let mut input = Self::placed(graph.node(at).clone());
        for id in way.into_iter().rev() {
            let node = graph.node(id).clone();
            let NodeKind::Project(expressions) = node.kind else {
                return Err(Mistake::new("an async function's results are read in a way that cannot be called over"));
            };
            input = input.project(node.name, expressions, node.schema.fields().iter().cloned().collect());
        }
        Ok(input)
    }

    /// A source, with the place of each row behind its columns.
    fn placed(mut node: Node) -> Input {
        if let NodeKind::Source(source) = &mut node.kind {
            let mut over: Vec<Arc<Field>> = source.columns.schema.fields().iter().cloned().collect();
            let mut fields: Vec<Arc<Field>> = node.schema.fields().iter().cloned().collect();
            for (provenance, name) in PLACE.into_iter().zip(Stage::PLACE) {
                let field = Arc::new(provenance.field().with_name(name));
                source.expressions.push(Arc::new(Column::new(name, over.len())));
                source.columns.provenance.push(provenance);
                over.push(Arc::clone(&field));
                fields.push(field);
            }
            source.columns.schema = Arc::new(Schema::new(over));
            node.schema = Arc::new(Schema::new(fields));
        }
        let mut graph = Graph::default();
        let last = graph.add(node);
        Input { graph, last }
    }
}

/// The columns of `over` that expressions read, with their places.
fn kept_columns(over: &DFSchema, expressions: &[Expr]) -> Result<Vec<(ColumnName, usize)>> {
    let mut kept = Vec::new();
    let read: Vec<&ColumnName> = expressions.iter().flat_map(Expr::column_refs).collect();
    for (index, (qualifier, field)) in over.iter().enumerate() {
        let column = ColumnName::new(qualifier.cloned(), field.name());
        if read.iter().any(|read| **read == column) {
            kept.push((column, index));
        }
    }
    Ok(kept)
}

fn arg_type(arg: &Expr, over: &DFSchema) -> Result<DataType> {
    datafusion::logical_expr::ExprSchemable::get_type(arg, over)
}

/// Whether a call would be made under a condition.
fn stands_in_case(expr: &Expr, call: &Expr) -> bool {
    expr.exists(|part| Ok(matches!(part, Expr::Case(_)) && part.exists(|inner| Ok(inner == call))?)).unwrap_or(false)
}
