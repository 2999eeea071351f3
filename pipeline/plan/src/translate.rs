//! An optimised logical plan to nodes.

use crate::error::{Location, Mistake, location_of};
use crate::event_time::tumble_of;
use crate::project::{ClosingWindows, Relations};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chalk_graph::{
    self as graph, AggregateCall, AggregateFunction, CloseWindows, Graph, JoinKind, Node, NodeId, NodeKind,
    RankFunction, SortColumn,
};
use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::{AggregateFunction as AggregateExpr, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, Expr, Join, LogicalPlan, TableScan, Union, Unnest, Window, WindowFunctionDefinition,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::Column;
use std::collections::HashMap;
use std::sync::Arc;

/// How panes of the query at hand are closed, if it has windows.
#[derive(Clone, Debug)]
pub(crate) struct Closing {
    pub(crate) query: String,
    pub(crate) lateness: i64,
}

#[derive(Default)]
pub(crate) struct Translator {
    pub(crate) graph: Graph,
    /// The node of each table that is read and each view.
    pub(crate) relations: Relations,
    /// Source nodes of tables that no query has read yet.
    pub(crate) sources: HashMap<String, Node>,
    /// What closes the windows of each query that closes them.
    pub(crate) closed: HashMap<String, ClosingWindows>,
}

type Planned = Result<NodeId, Mistake>;

/// Expressions that give every column of `schema` as it is.
pub(crate) fn columns(schema: &Schema) -> Vec<Arc<dyn PhysicalExpr>> {
    let column = |(index, field): (usize, &Arc<Field>)| Arc::new(Column::new(field.name(), index)) as _;
    schema.fields().iter().enumerate().map(column).collect()
}

impl Translator {
    pub(crate) fn query(
        &mut self,
        name: &str,
        plan: &LogicalPlan,
        closing: Option<Closing>,
        state: &SessionState,
    ) -> Planned {
        Query { translator: self, name, closing, state, count: 0 }.plan(plan)
    }
}

struct Query<'a> {
    translator: &'a mut Translator,
    name: &'a str,
    closing: Option<Closing>,
    state: &'a SessionState,
    count: usize,
}

/// Columns of a node's input, of which expressions that are no plain columns are added behind the input's own.
struct Projected {
    node: NodeId,
    places: Vec<usize>,
}

impl Query<'_> {
    fn add(&mut self, kind: NodeKind, inputs: Vec<NodeId>, schema: SchemaRef, append_only: bool) -> NodeId {
        self.count += 1;
        let operator = match &kind {
            NodeKind::Source(_) => "source",
            NodeKind::Project(_) => "project",
            NodeKind::Filter(_) => "filter",
            NodeKind::Unnest(_) => "unnest",
            NodeKind::Aggregate(_) => "aggregate",
            NodeKind::Join(_) => "join",
            NodeKind::Rank(_) => "rank",
            NodeKind::Union => "union",
            NodeKind::Sink(_) => "sink",
        };
        let name = format!("{}/{operator}/{}", self.name, self.count);
        self.translator.graph.add(Node { name, kind, inputs, schema, append_only })
    }

    fn append_only(&self, node: NodeId) -> bool {
        self.translator.graph.node(node).append_only
    }

    fn schema(&self, node: NodeId) -> SchemaRef {
        Arc::clone(&self.translator.graph.node(node).schema)
    }

    fn physical(&self, expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>, Mistake> {
        let planned = self.state.create_physical_expr(expr.clone(), schema);
        planned.map_err(|error| Mistake::from(error).at(place_of(expr)))
    }

    fn plan(&mut self, plan: &LogicalPlan) -> Planned {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.plan(&alias.input),
            LogicalPlan::Projection(projection) => {
                let input = self.plan(&projection.input)?;
                self.project(input, &projection.expr, projection.input.schema(), Arc::clone(projection.schema.inner()))
            }
            LogicalPlan::Filter(filter) => {
                let input = self.plan(&filter.input)?;
                self.filter(input, &filter.predicate, filter.input.schema())
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => Err(Mistake::new(
                "ORDER BY and LIMIT have no meaning in a pipeline: its rows never end",
            )
            .hint("put them into the query over the view; for the first n of a group use ROW_NUMBER() OVER (…)")),
            other => {
                let shown = other.display().to_string();
                let shown = shown.split([':', '(']).next().unwrap_or(&shown).trim().to_owned();
                Err(Mistake::new(format!("{shown} is not supported in a pipeline")))
            }
        }
    }

    fn scan(&mut self, scan: &TableScan) -> Planned {
        let name = scan.table_name.table();
        let node = match self.translator.relations.get(name) {
            Some(&node) => node,
            None => {
                let source = self.translator.sources.remove(name).ok_or_else(|| {
                    Mistake::new(format!("table '{name}' cannot be read: its connector only takes rows"))
                })?;
                let node = self.translator.graph.add(source);
                self.translator.relations.insert(name.to_owned(), node);
                node
            }
        };
        let Some(projection) = &scan.projection else { return Ok(node) };
        let from = self.schema(node);
        let expressions = projection.iter().map(|&index| Arc::new(Column::new(from.field(index).name(), index)) as _);
        let append_only = self.append_only(node);
        let kind = NodeKind::Project(expressions.collect());
        Ok(self.add(kind, vec![node], Arc::clone(scan.projected_schema.inner()), append_only))
    }

    fn project(&mut self, input: NodeId, expressions: &[Expr], over: &DFSchema, schema: SchemaRef) -> Planned {
        let expressions = expressions.iter().map(|expr| self.physical(expr, over)).collect::<Result<_, _>>()?;
        let append_only = self.append_only(input);
        Ok(self.add(NodeKind::Project(expressions), vec![input], schema, append_only))
    }

    fn filter(&mut self, input: NodeId, predicate: &Expr, over: &DFSchema) -> Planned {
        let predicate = self.physical(predicate, over)?;
        let (schema, append_only) = (self.schema(input), self.append_only(input));
        Ok(self.add(NodeKind::Filter(predicate), vec![input], schema, append_only))
    }

    /// Makes each expression a column: plain columns are where they are, others are added.
    fn with_columns(&mut self, input: NodeId, wanted: &[&Expr], over: &DFSchema) -> Result<Projected, Mistake> {
        let from = self.schema(input);
        let mut expressions = columns(&from);
        let mut fields: Vec<Arc<Field>> = from.fields().iter().cloned().collect();
        let mut places = Vec::new();
        for expr in wanted {
            let physical = self.physical(expr, over)?;
            if let Some(column) = physical.downcast_ref::<Column>() {
                places.push(column.index());
                continue;
            }
            places.push(expressions.len());
            let field = physical.return_field(&from)?;
            fields.push(Arc::new(field.as_ref().clone().with_name(format!("_{}", expressions.len()))));
            expressions.push(physical);
        }
        if expressions.len() == from.fields().len() {
            return Ok(Projected { node: input, places });
        }
        let append_only = self.append_only(input);
        let node = self.add(NodeKind::Project(expressions), vec![input], Arc::new(Schema::new(fields)), append_only);
        Ok(Projected { node, places })
    }

    /// Only the wanted expressions, in their order.
    fn just_columns(&mut self, input: NodeId, wanted: &[&Expr], over: &DFSchema) -> Planned {
        let from = self.schema(input);
        let expressions: Vec<_> = wanted.iter().map(|expr| self.physical(expr, over)).collect::<Result<_, _>>()?;
        let mut fields = Vec::new();
        for (index, expression) in expressions.iter().enumerate() {
            // Late rows are shown with these names.
            let name = match (column_name(wanted[index]), tumble_of(wanted[index])) {
                (Some(name), _) => name.to_owned(),
                (None, Some(_)) => "window".to_owned(),
                (None, None) => format!("_{index}"),
            };
            fields.push(expression.return_field(&from)?.as_ref().clone().with_name(name));
        }
        let append_only = self.append_only(input);
        Ok(self.add(NodeKind::Project(expressions), vec![input], Arc::new(Schema::new(fields)), append_only))
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Planned {
        let input = self.plan(&aggregate.input)?;
        let over = aggregate.input.schema();
        let mut wanted: Vec<&Expr> = Vec::new();
        for key in &aggregate.group_expr {
            if let Expr::GroupingSet(_) = key {
                return Err(Mistake::new("GROUPING SETS, ROLLUP and CUBE are not supported in a pipeline"));
            }
            wanted.push(key);
        }
        let keys = (0..wanted.len()).collect();
        let mut calls = Vec::new();
        for expr in &aggregate.aggr_expr {
            calls.push(self.call(expr, &mut wanted, over)?);
        }
        let window = aggregate.group_expr.iter().enumerate().find_map(|(key, expr)| Some((key, tumble_of(expr)?)));
        let close = match (window, &self.closing) {
            (Some((key, (width, time))), Some(closing)) => {
                if !self.append_only(input) {
                    let message =
                        "a window that is emitted once needs an append-only input, but this one retracts rows";
                    return Err(
                        Mistake::new(message).hint("make it a MATERIALIZED VIEW: its windows stay open to corrections")
                    );
                }
                wanted.push(time);
                let (query, lateness) = (closing.query.clone(), closing.lateness);
                let table = self.closing_table(input)?;
                self.translator.closed.insert(query.clone(), ClosingWindows { table, width, lateness });
                Some(CloseWindows { window: key, width, event_time: wanted.len() - 1, lateness, query })
            }
            _ => None,
        };
        let append_only = close.is_some();
        let input = self.just_columns(input, &wanted, over)?;
        let schema = Arc::clone(aggregate.schema.inner());
        let append_only_input = self.append_only(input);
        let kind = NodeKind::Aggregate(graph::Aggregate { keys, calls, close, append_only_input });
        Ok(self.add(kind, vec![input], schema, append_only))
    }

    /// The one table whose watermark closes the windows over `input`.
    fn closing_table(&self, input: NodeId) -> Result<String, Mistake> {
        let graph = &self.translator.graph;
        let sources = graph.sources_of(input);
        let [source] = sources.as_slice() else {
            return Err(Mistake::new("a window that is emitted once must be over one table, not over a join or union")
                .hint("make it a MATERIALIZED VIEW"));
        };
        match &graph.node(*source).kind {
            NodeKind::Source(source) if source.watermark.is_some() => Ok(source.table.clone()),
            _ => Err(Mistake::new("nothing closes these windows: the table has no WATERMARK FOR")),
        }
    }

    fn call<'e>(&self, expr: &'e Expr, wanted: &mut Vec<&'e Expr>, over: &DFSchema) -> Result<AggregateCall, Mistake> {
        let Expr::AggregateFunction(AggregateExpr { func, params }) = unaliased(expr) else {
            return Err(Mistake::new(format!("{expr} is not an aggregate")));
        };
        if !params.order_by.is_empty() {
            return Err(Mistake::new(format!("{}(… ORDER BY …) is not supported in this build", func.name()))
                .at(place_of(expr)));
        }
        let args: Vec<&Expr> = params.args.iter().collect();
        let types: Vec<DataType> = args
            .iter()
            .map(|arg| Ok(datafusion::logical_expr::ExprSchemable::get_type(*arg, over)?))
            .collect::<Result<_, Mistake>>()?;
        let literal = args.iter().all(|arg| matches!(unaliased(arg), Expr::Literal(value, _) if !value.is_null()));
        let (function, args) = match (func.name(), types.as_slice(), params.distinct) {
            ("count", _, false) if literal => (AggregateFunction::Count, Vec::new()),
            ("count", _, false) => (AggregateFunction::Count, args),
            ("count", [_], true) => (AggregateFunction::CountDistinct, args),
            ("sum", [DataType::Int64], false) => (AggregateFunction::SumInteger, args),
            ("sum", [DataType::Float64], false) => (AggregateFunction::SumFloat, args),
            ("avg", [DataType::Float64], false) => (AggregateFunction::AvgFloat, args),
            ("min", [_], _) => (AggregateFunction::Min, args),
            ("max", [_], _) => (AggregateFunction::Max, args),
            _ => {
                let fields: Vec<Field> = types
                    .iter()
                    .enumerate()
                    .map(|(index, data_type)| Field::new(format!("_{index}"), data_type.clone(), true))
                    .collect();
                let schema = Arc::new(Schema::new(fields));
                let built = AggregateExprBuilder::new(Arc::clone(func), columns(&schema))
                    .schema(schema)
                    .alias(expr.schema_name().to_string())
                    .with_distinct(params.distinct)
                    .build()
                    .map_err(|error| Mistake::from(error).at(place_of(expr)))?;
                (AggregateFunction::Recompute(Arc::new(built)), args)
            }
        };
        let first = wanted.len();
        wanted.extend(args);
        let args = (first..wanted.len()).collect();
        let filter = params.filter.as_ref().map(|filter| {
            wanted.push(filter);
            wanted.len() - 1
        });
        Ok(AggregateCall { function, args, filter, display: expr.schema_name().to_string() })
    }

    fn join(&mut self, join: &Join) -> Planned {
        let kind = match join.join_type {
            JoinType::Inner => JoinKind::Inner,
            JoinType::Left => JoinKind::Left,
            JoinType::Right => JoinKind::Right,
            JoinType::Full => JoinKind::Full,
            JoinType::LeftSemi => JoinKind::LeftSemi,
            JoinType::LeftAnti => JoinKind::LeftAnti,
            other => return Err(Mistake::new(format!("{other} joins are not supported in a pipeline"))),
        };
        if join.on.is_empty() {
            return Err(Mistake::new("a join needs an equality between its sides: cross joins never forget a row")
                .hint("… JOIN … ON a.key = b.key"));
        }
        if join.null_aware {
            return Err(Mistake::new("NOT IN (SELECT …) is not supported in a pipeline").hint("use NOT EXISTS"));
        }
        if join.null_equality == NullEquality::NullEqualsNull {
            return Err(Mistake::new("joins in which NULL equals NULL are not supported in a pipeline"));
        }
        if let (Some(filter), true) = (&join.filter, kind != JoinKind::Inner) {
            return Err(Mistake::new(format!(
                "outer joins with more than equalities are not supported in this build: {filter}"
            ))
            .hint("filter the inner side in a subquery before the join")
            .at(place_of(filter)));
        }
        let (left_keys, right_keys): (Vec<&Expr>, Vec<&Expr>) =
            join.on.iter().map(|(left, right)| (left, right)).unzip();
        let left_input = self.plan(&join.left)?;
        let right_input = self.plan(&join.right)?;
        let left_width = self.schema(left_input).fields().len();
        let right_width = self.schema(right_input).fields().len();
        let left = self.with_columns(left_input, &left_keys, join.left.schema())?;
        let right = self.with_columns(right_input, &right_keys, join.right.schema())?;
        let both_append_only = self.append_only(left.node) && self.append_only(right.node);
        let append_only = both_append_only && matches!(kind, JoinKind::Inner | JoinKind::LeftSemi);
        let one_sided = matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti);
        let (left_all, right_all) = (self.schema(left.node), self.schema(right.node));
        let mut fields: Vec<Field> = left_all.fields().iter().map(|field| optional(field, kind, true)).collect();
        let mut kept: Vec<usize> = (0..left_width).collect();
        if !one_sided {
            kept.extend((0..right_width).map(|index| fields.len() + index));
            fields.extend(right_all.fields().iter().map(|field| optional(field, kind, false)));
        }
        let full = Arc::new(Schema::new(fields));
        let joined = graph::Join { kind, left_keys: left.places, right_keys: right.places };
        let node = self.add(NodeKind::Join(joined), vec![left.node, right.node], Arc::clone(&full), append_only);
        let expressions =
            kept.iter().map(|&index| Arc::new(Column::new(full.field(index).name(), index)) as _).collect();
        let node = self.add(NodeKind::Project(expressions), vec![node], Arc::clone(join.schema.inner()), append_only);
        match &join.filter {
            Some(filter) => self.filter(node, filter, &join.schema),
            None => Ok(node),
        }
    }

    fn window(&mut self, window: &Window) -> Planned {
        let mut input = self.plan(&window.input)?;
        let over = window.input.schema();
        let width = self.schema(input).fields().len();
        let mut functions = Vec::new();
        let mut shared: Option<&WindowFunction> = None;
        for expr in &window.window_expr {
            let Expr::WindowFunction(function) = unaliased(expr) else {
                return Err(Mistake::new(format!("{expr} is not a window function")));
            };
            functions.push(rank_function(function).map_err(|mistake| mistake.at(place_of(expr)))?);
            if shared.is_some_and(|shared| {
                shared.params.partition_by != function.params.partition_by
                    || shared.params.order_by != function.params.order_by
            }) {
                return Err(Mistake::new("ranks over different partitions or orders stand in separate subqueries"));
            }
            shared = Some(function);
        }
        let Some(shared) = shared else { return Ok(input) };
        let order: Vec<&Expr> = shared.params.order_by.iter().map(|sort| &sort.expr).collect();
        let partition: Vec<&Expr> = shared.params.partition_by.iter().collect();
        let wanted: Vec<&Expr> = partition.iter().chain(&order).copied().collect();
        let projected = self.with_columns(input, &wanted, over)?;
        input = projected.node;
        let (partition, order) = projected.places.split_at(partition.len());
        let order = order
            .iter()
            .zip(&shared.params.order_by)
            .map(|(&column, sort)| SortColumn { column, descending: !sort.asc, nulls_first: sort.nulls_first })
            .collect();
        let from = self.schema(input);
        let ranks = window.schema.inner().fields().iter().skip(width).cloned();
        let full: Vec<Arc<Field>> = from.fields().iter().cloned().chain(ranks).collect();
        let full = Arc::new(Schema::new(full));
        let rank = graph::Rank { partition: partition.to_vec(), order, functions };
        let node = self.add(NodeKind::Rank(rank), vec![input], Arc::clone(&full), false);
        if from.fields().len() == width {
            return Ok(node);
        }
        let kept = (0..width).chain(from.fields().len()..full.fields().len());
        let expressions = kept.map(|index| Arc::new(Column::new(full.field(index).name(), index)) as _).collect();
        Ok(self.add(NodeKind::Project(expressions), vec![node], Arc::clone(window.schema.inner()), false))
    }

    fn union(&mut self, union: &Union) -> Planned {
        let inputs: Vec<NodeId> = union.inputs.iter().map(|input| self.plan(input)).collect::<Result<_, _>>()?;
        let append_only = inputs.iter().all(|&input| self.append_only(input));
        Ok(self.add(NodeKind::Union, inputs, Arc::clone(union.schema.inner()), append_only))
    }

    fn unnest(&mut self, unnest: &Unnest) -> Planned {
        let input = self.plan(&unnest.input)?;
        let ([(list, _)], []) = (unnest.list_type_columns.as_slice(), unnest.struct_type_columns.as_slice()) else {
            return Err(Mistake::new("UNNEST of one list at a time is supported")
                .hint("unnest a second one in an outer query; a struct's fields are struct.field"));
        };
        let output = unnest.dependency_indices.clone();
        let append_only = self.append_only(input);
        let kind = NodeKind::Unnest(graph::Unnest { output, list: *list });
        Ok(self.add(kind, vec![input], Arc::clone(unnest.schema.inner()), append_only))
    }
}

/// A join's column: optional where its side can be without a partner; and no longer event time where it can be NULL.
fn optional(field: &Field, kind: JoinKind, left: bool) -> Field {
    let nullable = match kind {
        JoinKind::Left => !left,
        JoinKind::Right => left,
        JoinKind::Full => true,
        JoinKind::Inner | JoinKind::LeftSemi | JoinKind::LeftAnti => false,
    };
    let field = field.clone();
    if nullable { field.with_nullable(true) } else { field }
}

fn rank_function(function: &WindowFunction) -> Result<RankFunction, Mistake> {
    let name = match &function.fun {
        WindowFunctionDefinition::WindowUDF(udf) => udf.name().to_owned(),
        WindowFunctionDefinition::AggregateUDF(udf) => udf.name().to_owned(),
    };
    match name.as_str() {
        "row_number" => Ok(RankFunction::RowNumber),
        "rank" => Ok(RankFunction::Rank),
        "dense_rank" => Ok(RankFunction::DenseRank),
        _ => Err(Mistake::new(format!("{name}() OVER (…) is not supported in this build"))
            .hint("row_number(), rank() and dense_rank() are")),
    }
}

/// The name of a column, cast or not.
fn column_name(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(&column.name),
        Expr::Alias(alias) => column_name(&alias.expr),
        Expr::Cast(cast) => column_name(&cast.expr),
        _ => None,
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn place_of(expr: &Expr) -> Option<Location> {
    expr.spans().and_then(datafusion::common::Spans::first).and_then(location_of)
}
