//! An optimised logical plan to nodes.

mod bounds;
mod forget;
mod grouping;
mod joins;
mod lookup;
mod top;
mod unnest;
mod values;

use crate::error::{Location, Mistake, location_of};
use crate::project::{ClosingWindows, Relations};
use crate::recorded::RecordedFunctions;
use crate::relation::is_event_time;
use crate::windows::{SESSION_WINDOW, nanoseconds, window_field, window_of};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chalk_graph::{
    self as graph, AggregateCall, AggregateFunction, CloseJoin, CloseSessions, CloseWindows, Graph, JoinBound,
    JoinKind, JoinMode, Most, Node, NodeId, NodeKind, RankFunction, SortColumn, WindowKind,
};
use datafusion::common::{Column as ColumnName, DFSchema, JoinType, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::functions::core::expr_fn::r#struct;
use datafusion::logical_expr::builder::build_join_schema;
use datafusion::logical_expr::expr::{AggregateFunction as AggregateExpr, NullTreatment, WindowFunction};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, Join, LogicalPlan, SortExpr, TableScan, Union, Window};
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{Column, lit};
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_planner::create_window_expr;
use grouping::Keys;
use lookup::Lookups;
pub(crate) use lookup::check as check_lookups;
use std::collections::{HashMap, HashSet};
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
    /// What plain views are, with their columns.
    pub(crate) views: HashMap<String, (LogicalPlan, SchemaRef)>,
    /// Nodes that give all rows of a window in one step, the one that closes it.
    pub(crate) whole: HashSet<NodeId>,
    /// The functions whose results are recorded.
    pub(crate) recorded: RecordedFunctions,
    /// What was cut into stages, and the source of its results.
    pub(crate) cut: Vec<(LogicalPlan, NodeId)>,
    /// Tables that are looked up, of all queries.
    pub(crate) lookups: Lookups,
}

pub(crate) type Planned = Result<NodeId, Mistake>;

/// Expressions that give every column of `schema` as it is.
pub(crate) fn columns(schema: &Schema) -> Vec<Arc<dyn PhysicalExpr>> {
    let column = |(index, field): (usize, &Arc<Field>)| Arc::new(Column::new(field.name(), index)) as _;
    schema.fields().iter().enumerate().map(column).collect()
}

/// The schema of a projection whose columns keep the marks that they have where they come from.
pub(crate) fn with_marks(expressions: &[Arc<dyn PhysicalExpr>], from: &Schema, schema: &SchemaRef) -> SchemaRef {
    let marked = |(expression, field): (&Arc<dyn PhysicalExpr>, &Arc<Field>)| match expression.return_field(from) {
        Ok(given) if !given.metadata().is_empty() => {
            let mut metadata = field.metadata().clone();
            metadata.extend(given.metadata().iter().map(|(key, value)| (key.clone(), value.clone())));
            Arc::new(field.as_ref().clone().with_metadata(metadata))
        }
        _ => Arc::clone(field),
    };
    let fields: Vec<Arc<Field>> = expressions.iter().zip(schema.fields()).map(marked).collect();
    Arc::new(Schema::new(fields))
}

impl Translator {
    pub(crate) fn query(
        &mut self,
        name: &str,
        plan: &LogicalPlan,
        closing: Option<Closing>,
        ttl: Option<i64>,
        state: &SessionState,
    ) -> Planned {
        Query {
            translator: self,
            name,
            closing,
            ttl,
            state,
            count: 0,
            most: None,
            may_look_up: false,
            forgetting: HashMap::new(),
        }
        .plan(plan)
    }
}

pub(crate) struct Query<'a> {
    pub(crate) translator: &'a mut Translator,
    pub(crate) name: &'a str,
    closing: Option<Closing>,
    /// How long groups are kept after their last row, in nanoseconds.
    ttl: Option<i64>,
    pub(crate) state: &'a SessionState,
    count: usize,
    /// Of the window that is planned next: beyond which rank no row is read.
    most: Option<Most>,
    /// Whether what is planned is the right side of a join that looks it up.
    may_look_up: bool,
    /// Nodes whose rows are forgotten, with the node that does it.
    forgetting: HashMap<NodeId, NodeId>,
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
            NodeKind::Session(_) => "session",
            NodeKind::Aggregate(_) => "aggregate",
            NodeKind::Join(_) => "join",
            NodeKind::Forget(_) => "forget",
            NodeKind::Rank(_) => "rank",
            NodeKind::Over(_) => "over",
            NodeKind::Union => "union",
            NodeKind::Sink(_) => "sink",
        };
        let name = format!("{}/{operator}/{}", self.name, self.count);
        let schema = match (&kind, inputs.as_slice()) {
            (NodeKind::Project(expressions), [input]) => with_marks(expressions, &self.schema(*input), &schema),
            _ => schema,
        };
        let whole = |input: &NodeId| self.translator.whole.contains(input);
        let whole = match &kind {
            NodeKind::Aggregate(aggregate) => aggregate.close.is_some(),
            NodeKind::Join(graph::Join { mode: JoinMode::Closing(close), .. }) => {
                matches!(close.bound, JoinBound::Window { .. })
            }
            NodeKind::Join(graph::Join { mode: JoinMode::Lookup, .. }) => inputs.iter().take(1).all(whole),
            NodeKind::Project(expressions) => {
                inputs.iter().all(|input| whole(input) && !makes_windows(expressions, &self.schema(*input)))
            }
            NodeKind::Filter(_) | NodeKind::Unnest(_) => inputs.iter().all(whole),
            NodeKind::Rank(rank) => rank.whole,
            NodeKind::Over(over) => over.whole,
            _ => false,
        };
        let node = self.translator.graph.add(Node { name, kind, inputs, schema, append_only });
        if whole {
            self.translator.whole.insert(node);
        }
        node
    }

    fn append_only(&self, node: NodeId) -> bool {
        self.translator.graph.node(node).append_only
    }

    pub(crate) fn schema(&self, node: NodeId) -> SchemaRef {
        Arc::clone(&self.translator.graph.node(node).schema)
    }

    pub(crate) fn physical(&self, expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>, Mistake> {
        let planned = self.state.create_physical_expr(expr.clone(), schema);
        planned.map_err(|error| Mistake::from(error).at(place_of(expr)))
    }

    fn plan(&mut self, plan: &LogicalPlan) -> Planned {
        self.translator.recorded.check_place(plan)?;
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.plan(&alias.input),
            LogicalPlan::Projection(projection) => {
                if let Some(recorded) = self.recorded(plan, projection)? {
                    return Ok(recorded);
                }
                let input = self.plan(&projection.input)?;
                self.project(input, &projection.expr, projection.input.schema(), Arc::clone(projection.schema.inner()))
            }
            LogicalPlan::Filter(filter) => {
                self.most = top::most(&filter.predicate, &filter.input).map(|(_, most)| most);
                let input = self.plan(&filter.input)?;
                self.filter(input, &filter.predicate, filter.input.schema())
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            // What is left of a query that can have no rows.
            LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row => {
                Ok(self.add(NodeKind::Union, Vec::new(), Arc::clone(empty.schema.inner()), true))
            }
            LogicalPlan::EmptyRelation(_) => Ok(self.one_row()),
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Sort(sort) => self.sorted(sort),
            LogicalPlan::RecursiveQuery(_) => Err(Mistake::new("WITH RECURSIVE is not supported in a pipeline")
                .hint("join the table with itself as often as its rows are deep")),
            LogicalPlan::Subquery(_) => {
                Err(Mistake::new("a LATERAL subquery of this kind is not supported in a pipeline")
                    .hint("write it as a join on what both sides have in common"))
            }
            other => {
                let shown = other.display().to_string();
                let shown = shown.split([':', '(']).next().unwrap_or(&shown).trim().to_owned();
                Err(Mistake::new(format!("{shown} is not supported in a pipeline")))
            }
        }
    }

    fn scan(&mut self, scan: &TableScan) -> Planned {
        let mut name = scan.table_name.table();
        let looked_up = self.translator.lookups.get(name).cloned();
        if let Some(looked_up) = &looked_up {
            if !self.may_look_up {
                return Err(lookup::refuse(looked_up));
            }
            name = &looked_up.of;
        }
        if scan.fetch.is_some() {
            return Err(top::any_rows());
        }
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
        let node = self.closing_view(name, node);
        let Some(projection) = &scan.projection else { return Ok(node) };
        let from = self.schema(node);
        let expressions = projection.iter().map(|&index| Arc::new(Column::new(from.field(index).name(), index)) as _);
        let append_only = self.append_only(node);
        let kind = NodeKind::Project(expressions.collect());
        Ok(self.add(kind, vec![node], Arc::clone(scan.projected_schema.inner()), append_only))
    }

    /// A plain view whose windows are given once, if this query closes its windows; otherwise the view that all share.
    fn closing_view(&mut self, name: &str, shared: NodeId) -> NodeId {
        let Some((plan, schema)) = self.translator.views.get(name) else { return shared };
        if self.closing.is_none() || self.append_only(shared) {
            return shared;
        }
        let (plan, schema) = (plan.clone(), Arc::clone(schema));
        let closed = self.translator.closed.get(self.name).cloned();
        match self.plan(&plan) {
            Ok(node) if self.append_only(node) => {
                self.add(NodeKind::Project(columns(&schema)), vec![node], schema, true)
            }
            // It has none, or over rows that can be retracted: what was planned is read by nobody.
            _ => {
                match closed {
                    Some(closed) => drop(self.translator.closed.insert(self.name.to_owned(), closed)),
                    None => drop(self.translator.closed.remove(self.name)),
                }
                shared
            }
        }
    }

    pub(crate) fn project(
        &mut self,
        input: NodeId,
        expressions: &[Expr],
        over: &DFSchema,
        schema: SchemaRef,
    ) -> Planned {
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
            let field = expression.return_field(&from)?;
            // Late rows are shown with these names.
            let name = match column_name(wanted[index]) {
                Some(name) if !name.starts_with(['_']) && !name.starts_with(SESSION_WINDOW) => name.to_owned(),
                _ if window_of(&field).is_some() => "window".to_owned(),
                Some(name) => name.to_owned(),
                None => format!("_{index}"),
            };
            fields.push(field.as_ref().clone().with_name(name));
        }
        let append_only = self.append_only(input);
        Ok(self.add(NodeKind::Project(expressions), vec![input], Arc::new(Schema::new(fields)), append_only))
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Planned {
        let input = self.plan(&aggregate.input)?;
        let over = aggregate.input.schema();
        let Keys { all: mut wanted, sets } = Keys::of(&aggregate.group_expr)?;
        let groups = wanted.len();
        let mut calls = Vec::new();
        for expr in &aggregate.aggr_expr {
            calls.push(self.call(expr, &mut wanted, over)?);
        }
        let mut times = over.iter().filter(|(_, field)| is_event_time(field));
        let time = match (times.next(), times.next()) {
            (Some((qualifier, field)), None) => Some(Expr::Column(ColumnName::new(qualifier.cloned(), field.name()))),
            _ => None,
        };
        let event_time = time.as_ref().map(|time| {
            wanted.push(time);
            wanted.len() - 1
        });
        let columns = self.just_columns(input, &wanted, over)?;
        let from = self.schema(columns);
        let fields = aggregate.schema.inner().fields().iter().enumerate().map(|(index, field)| {
            match (index < groups).then(|| window_of(from.field(index))).flatten() {
                Some(kind) => Arc::new(window_field(field.as_ref().clone(), kind)),
                None => Arc::clone(field),
            }
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let Some(sets) = sets else {
            return self.aggregate_by((0..groups).collect(), calls, event_time, columns, schema);
        };
        self.grouping_sets(&sets, groups, Arc::clone(&schema), |query, set| {
            let results = schema.fields().iter().skip(groups + 1);
            let fields: Vec<_> = set.iter().map(|&key| &schema.fields()[key]).chain(results).cloned().collect();
            query.aggregate_by(set.to_vec(), calls.clone(), event_time, columns, Arc::new(Schema::new(fields)))
        })
    }

    /// An aggregate of a node's rows by some of its columns.
    fn aggregate_by(
        &mut self,
        keys: Vec<usize>,
        calls: Vec<AggregateCall>,
        event_time: Option<usize>,
        input: NodeId,
        schema: SchemaRef,
    ) -> Planned {
        let append_only_input = self.append_only(input);
        let is_empty = bounds::is_empty(&self.translator.graph, input);
        let from = self.schema(input);
        let window = keys.iter().find_map(|&key| Some((key, window_of(from.field(key))?)));
        let close = match (window, &self.closing) {
            // Over rows that can be retracted a window never closes: sinks that take new rows alone will say so.
            (Some((window, kind)), Some(closing)) if append_only_input && !is_empty => {
                let (query, lateness) = (closing.query.clone(), closing.lateness);
                self.check_time(input)?;
                self.closes(&query, self.tables_of(&[input]), kind, lateness);
                Some(CloseWindows { window, kind, event_time, lateness, query })
            }
            _ => None,
        };
        let append_only = close.is_some() || (is_empty && !keys.is_empty());
        // Where rows are retracted the groups that they are of are freed with them.
        let ttl = self.ttl.filter(|_| close.is_none() && append_only_input && !keys.is_empty());
        let kind = NodeKind::Aggregate(graph::Aggregate { keys, calls, close, append_only_input, ttl });
        Ok(self.add(kind, vec![input], schema, append_only))
    }

    /// Windows over `input` can be closed: its tables have a WATERMARK, and its rows come when these say so.
    fn check_time(&self, input: NodeId) -> Result<(), Mistake> {
        let graph = &self.translator.graph;
        if graph.sources_of(input).len() > 1 && bounds::keeps_for_later(graph, input) {
            return Err(Mistake::new(
                "a window that is emitted once cannot be over a join that keeps rows for later: they would be late",
            )
            .hint("join both sides by the same window, or make it a MATERIALIZED VIEW"));
        }
        if !bounds::has_time(graph, input) {
            return Err(Mistake::new("nothing closes these windows: the table has no WATERMARK FOR"));
        }
        Ok(())
    }

    fn call<'e>(&self, expr: &'e Expr, wanted: &mut Vec<&'e Expr>, over: &DFSchema) -> Result<AggregateCall, Mistake> {
        let Expr::AggregateFunction(AggregateExpr { func, params }) = unaliased(expr) else {
            return Err(Mistake::new(format!("{expr} is not an aggregate")));
        };
        let own = params.args.len();
        let mut args: Vec<&Expr> = params.args.iter().collect();
        let types: Vec<DataType> = args.iter().map(|arg| Ok(arg.get_type(over)?)).collect::<Result<_, Mistake>>()?;
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
                let sorts = params.order_by.iter();
                args.extend(sorts.clone().map(|sort| &sort.expr));
                let types = args.iter().map(|arg| Ok(arg.get_type(over)?)).collect::<Result<Vec<_>, Mistake>>()?;
                let fields: Vec<Field> = types
                    .into_iter()
                    .enumerate()
                    .map(|(index, data_type)| Field::new(format!("_{index}"), data_type, true))
                    .collect();
                let schema = Arc::new(Schema::new(fields));
                let mut given = columns(&schema);
                // With DISTINCT it is an argument that they are in order of, and the function finds it by its column.
                let same = |sort: &SortExpr| params.args.iter().position(|arg| params.distinct && *arg == sort.expr);
                let sorts = given.split_off(own).into_iter().zip(sorts);
                let order = sorts.map(|(column, sort)| PhysicalSortExpr {
                    expr: same(sort).map_or(column, |argument| Arc::clone(&given[argument])),
                    options: SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first },
                });
                let mut order: Vec<PhysicalSortExpr> = order.collect();
                if params.distinct && order.is_empty() {
                    // Otherwise it would be any order, and another one when it is computed again.
                    let options = SortOptions { descending: false, nulls_first: false };
                    order
                        .extend(given.first().map(|argument| PhysicalSortExpr { expr: Arc::clone(argument), options }));
                }
                // Some functions take their constants when they are planned, such as how large a part a percentile is.
                for (given, arg) in given.iter_mut().zip(&params.args) {
                    if let Expr::Literal(..) = unaliased(arg) {
                        *given = self.physical(arg, over)?;
                    }
                }
                let built = AggregateExprBuilder::new(Arc::clone(func), given)
                    .order_by(order)
                    .schema(schema)
                    .alias(expr.schema_name().to_string())
                    .with_distinct(params.distinct)
                    .with_ignore_nulls(params.null_treatment == Some(NullTreatment::IgnoreNulls))
                    .build()
                    .map_err(|error| Mistake::from(error).at(place_of(expr)))?;
                // Some find out what they cannot do only when they are to begin.
                built.create_accumulator().map_err(|error| Mistake::from(error).at(place_of(expr)))?;
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
        if let Some(looked_up) = self.lookup(join) {
            return looked_up;
        }
        let kind = match join.join_type {
            JoinType::Inner => JoinKind::Inner,
            JoinType::Left => JoinKind::Left,
            JoinType::Right => JoinKind::Right,
            JoinType::Full => JoinKind::Full,
            JoinType::LeftSemi => JoinKind::LeftSemi,
            JoinType::LeftAnti if join.null_aware => return self.not_in(join),
            JoinType::LeftAnti => JoinKind::LeftAnti,
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                let on = join.on.iter().map(|(left, right)| (right.clone(), left.clone())).collect();
                let (left, right) = (Arc::clone(&join.right), Arc::clone(&join.left));
                return self.join(&Join { left, right, on, join_type: join.join_type.swap(), ..join.clone() });
            }
            JoinType::LeftMark => return self.mark_join(join),
        };
        let left = self.plan(&join.left)?;
        let right = self.plan(&join.right)?;
        self.join_of(join, kind, left, right, Arc::clone(join.schema.inner()))
    }

    /// A join of nodes that its sides have become, of this kind.
    fn join_of(&mut self, join: &Join, kind: JoinKind, left: NodeId, right: NodeId, schema: SchemaRef) -> Planned {
        if join.on.is_empty() && !joins::is_bounded(join) {
            return Err(Mistake::new("a join needs an equality between its sides: cross joins never forget a row")
                .hint("… JOIN … ON a.key = b.key"));
        }
        let join = &joins::with_nulls_equal(join);
        if let Some((close, rest)) = self.closing_join(join, left, right)? {
            return self.join_once(join, kind, left, right, schema, (close, rest));
        }
        let (left, right, mode) = self.forgetting_join(kind, left, right);
        match &join.filter {
            Some(filter) if kind != JoinKind::Inner => self.join_with_more(join, kind, filter, left, right, schema),
            Some(filter) => {
                let pairs = self.equi_join(join, kind, left, right, schema, mode)?;
                self.filter(pairs, filter, &join.schema)
            }
            None => self.equi_join(join, kind, left, right, schema, mode),
        }
    }

    /// A join whose rows are given once and let go of, and what else it asks of its pairs.
    fn join_once(
        &mut self,
        join: &Join,
        kind: JoinKind,
        left: NodeId,
        right: NodeId,
        schema: SchemaRef,
        (close, rest): (CloseJoin, Option<Expr>),
    ) -> Planned {
        if rest.is_some() && kind != JoinKind::Inner {
            return Err(Mistake::new(
                "a join whose rows are given once, other than an inner one, has equalities and bounds of time alone",
            )
            .hint("choose rows in a subquery before the join, or make it a MATERIALIZED VIEW"));
        }
        let (tables, window) = match close.bound {
            JoinBound::Window { kind, .. } => (self.tables_of(&[left, right]), kind),
            JoinBound::Interval { .. } => (self.tables_of(&[left, right]), WindowKind::Session { gap: 0 }),
        };
        self.closes(&close.query, tables, window, close.lateness);
        let pairs = self.equi_join(join, kind, left, right, schema, JoinMode::Closing(close))?;
        match rest {
            Some(rest) => self.filter(pairs, &rest, &join.schema),
            None => Ok(pairs),
        }
    }

    /// The tables that nodes' rows come from; a join of a table with itself has it twice.
    fn tables_of(&self, nodes: &[NodeId]) -> Vec<String> {
        let graph = &self.translator.graph;
        let sources = nodes.iter().flat_map(|&node| graph.sources_of(node));
        let table = |source: NodeId| match &graph.node(source).kind {
            NodeKind::Source(source) => Some(source.table.clone()),
            _ => None,
        };
        sources.filter_map(table).collect()
    }

    /// Notes what closes the windows of a query. A later node of it has all tables of an earlier one.
    fn closes(&mut self, query: &str, tables: Vec<String>, kind: WindowKind, lateness: i64) {
        let closed = ClosingWindows { tables, kind, lateness };
        match self.translator.closed.get_mut(query) {
            Some(earlier) if earlier.tables.len() > closed.tables.len() => {}
            Some(earlier) => *earlier = closed,
            None => drop(self.translator.closed.insert(query.to_owned(), closed)),
        }
    }

    /// A join on equalities alone.
    fn equi_join(
        &mut self,
        join: &Join,
        kind: JoinKind,
        left: NodeId,
        right: NodeId,
        schema: SchemaRef,
        mode: JoinMode,
    ) -> Planned {
        let (left_keys, right_keys): (Vec<&Expr>, Vec<&Expr>) =
            join.on.iter().map(|(left, right)| (left, right)).unzip();
        let left_width = self.schema(left).fields().len();
        let right_width = self.schema(right).fields().len();
        let left = self.with_columns(left, &left_keys, join.left.schema())?;
        let right = self.with_columns(right, &right_keys, join.right.schema())?;
        let both_append_only = self.append_only(left.node) && self.append_only(right.node);
        let append_only = match mode {
            JoinMode::Live => both_append_only && matches!(kind, JoinKind::Inner | JoinKind::LeftSemi),
            JoinMode::Forgetting | JoinMode::Closing(_) | JoinMode::Lookup => true,
        };
        let one_sided = matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti);
        let (left_all, right_all) = (self.schema(left.node), self.schema(right.node));
        let mut fields: Vec<Field> = left_all.fields().iter().map(|field| optional(field, kind, true)).collect();
        let mut kept: Vec<usize> = (0..left_width).collect();
        if !one_sided {
            kept.extend((0..right_width).map(|index| fields.len() + index));
            fields.extend(right_all.fields().iter().map(|field| optional(field, kind, false)));
        }
        let full = Arc::new(Schema::new(fields));
        let joined = graph::Join { kind, left_keys: left.places, right_keys: right.places, mode };
        let node = self.add(NodeKind::Join(joined), vec![left.node, right.node], Arc::clone(&full), append_only);
        let expressions =
            kept.iter().map(|&index| Arc::new(Column::new(full.field(index).name(), index)) as _).collect();
        Ok(self.add(NodeKind::Project(expressions), vec![node], schema, append_only))
    }

    /// A join other than an inner one on equalities and more: the pairs of the inner join, and the rows that are in no pair.
    ///
    /// ```text
    /// left, right ─▶ inner join ─▶ filter ─┬──────────────────────────────────▶ union
    ///                                      └▶ left rows ─▶ left rows not in ────▲
    /// ```
    fn join_with_more(
        &mut self,
        join: &Join,
        kind: JoinKind,
        filter: &Expr,
        left: NodeId,
        right: NodeId,
        schema: SchemaRef,
    ) -> Planned {
        let both = build_join_schema(join.left.schema(), join.right.schema(), &JoinType::Inner)?;
        let pairs = self.equi_join(join, JoinKind::Inner, left, right, Arc::clone(both.inner()), JoinMode::Live)?;
        let pairs = self.filter(pairs, filter, &both)?;
        let (of_left, of_right) = (join.left.schema(), join.right.schema());
        match kind {
            JoinKind::LeftSemi | JoinKind::LeftAnti => return self.rows_by_pairs(kind, left, of_left, pairs, &both),
            JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full => {}
        }
        let mut parts =
            vec![self.add(NodeKind::Project(columns(both.inner())), vec![pairs], Arc::clone(&schema), false)];
        for (wanted, side, over, is_left) in [
            (matches!(kind, JoinKind::Left | JoinKind::Full), left, of_left, true),
            (matches!(kind, JoinKind::Right | JoinKind::Full), right, of_right, false),
        ] {
            if wanted {
                let alone = self.rows_by_pairs(JoinKind::LeftAnti, side, over, pairs, &both)?;
                let own = columns(&self.schema(alone));
                let other = if is_left { of_right } else { of_left };
                let absent = other.fields().iter().map(|field| Ok(lit(ScalarValue::try_from(field.data_type())?)));
                let absent = absent.collect::<Result<Vec<_>, Mistake>>()?;
                let all = if is_left { [own, absent].concat() } else { [absent, own].concat() };
                parts.push(self.add(NodeKind::Project(all), vec![alone], Arc::clone(&schema), false));
            }
        }
        Ok(self.add(NodeKind::Union, parts, schema, false))
    }

    /// The rows of a side that are in some pair, or in none: found by all their columns, as one key that is never NULL.
    fn rows_by_pairs(
        &mut self,
        kind: JoinKind,
        side: NodeId,
        over: &DFSchema,
        pairs: NodeId,
        both: &DFSchema,
    ) -> Planned {
        let row = over.iter().map(|(qualifier, field)| Expr::Column(ColumnName::new(qualifier.cloned(), field.name())));
        let row = r#struct(row.collect());
        let width = self.schema(side).fields().len();
        let keyed = self.with_columns(side, &[&row], over)?;
        let in_pairs = self.just_columns(pairs, &[&row], both)?;
        let append_only = self.append_only(keyed.node) && self.append_only(in_pairs) && kind == JoinKind::LeftSemi;
        let joined = graph::Join { kind, left_keys: keyed.places, right_keys: vec![0], mode: JoinMode::Live };
        let full = self.schema(keyed.node);
        let node = self.add(NodeKind::Join(joined), vec![keyed.node, in_pairs], Arc::clone(&full), append_only);
        let expressions = (0..width).map(|index| Arc::new(Column::new(full.field(index).name(), index)) as _).collect();
        let schema = self.schema(side);
        Ok(self.add(NodeKind::Project(expressions), vec![node], schema, append_only))
    }

    /// Gives rows the session that each is in.
    fn session(&mut self, window: &Window, function: &WindowFunction) -> Planned {
        let input = self.plan(&window.input)?;
        let over = window.input.schema();
        let width = self.schema(input).fields().len();
        let (time, gap) = match function.params.args.as_slice() {
            [time, Expr::Literal(gap, _)] => (time, nanoseconds(gap)),
            _ => return Err(Mistake::new("session(gap) takes a constant")),
        };
        let gap =
            gap.ok_or_else(|| Mistake::new("session: the gap is a constant, positive INTERVAL of days or less"))?;
        let wanted: Vec<&Expr> = function.params.partition_by.iter().chain([time]).collect();
        let projected = self.with_columns(input, &wanted, over)?;
        let Some((&time, keys)) = projected.places.split_last() else { return Ok(input) };
        let close = match &self.closing {
            Some(closing) if self.append_only(input) => {
                Some(CloseSessions { lateness: closing.lateness, query: closing.query.clone() })
            }
            _ => None,
        };
        let append_only = close.is_some();
        let from = self.schema(projected.node);
        let mut fields: Vec<Arc<Field>> = from.fields().iter().cloned().collect();
        let window_column = window.schema.field(width).as_ref().clone();
        fields.push(Arc::new(window_field(window_column, WindowKind::Session { gap })));
        let full = Arc::new(Schema::new(fields));
        let session = graph::Session { keys: keys.to_vec(), time, gap, close };
        let node = self.add(NodeKind::Session(session), vec![projected.node], Arc::clone(&full), append_only);
        if from.fields().len() == width {
            return Ok(node);
        }
        let kept = (0..width).chain([from.fields().len()]);
        let expressions = kept.map(|index| Arc::new(Column::new(full.field(index).name(), index)) as _).collect();
        Ok(self.add(NodeKind::Project(expressions), vec![node], Arc::clone(window.schema.inner()), append_only))
    }

    fn window(&mut self, window: &Window) -> Planned {
        if let [expr] = window.window_expr.as_slice()
            && let Expr::WindowFunction(function) = unaliased(expr)
            && function.fun.name() == SESSION_WINDOW
        {
            self.most = None;
            return self.session(window, function);
        }
        let most = self.most.take();
        let mut input = self.plan(&window.input)?;
        let most = most.filter(|_| self.append_only(input));
        let over = window.input.schema();
        let width = self.schema(input).fields().len();
        let mut functions = Some(Vec::new());
        let mut shared: Option<&WindowFunction> = None;
        for expr in &window.window_expr {
            let Expr::WindowFunction(function) = unaliased(expr) else {
                return Err(Mistake::new(format!("{expr} is not a window function")));
            };
            functions = functions.zip(rank_function(function)).map(|(all, rank)| [all, vec![rank]].concat());
            if shared.is_some_and(|shared| {
                shared.params.partition_by != function.params.partition_by
                    || shared.params.order_by != function.params.order_by
            }) {
                return Err(Mistake::new("functions over different partitions or orders stand in separate subqueries"));
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
            .collect::<Vec<_>>();
        let from = self.schema(input);
        let ranks = window.schema.inner().fields().iter().skip(width).cloned();
        let full: Vec<Arc<Field>> = from.fields().iter().cloned().chain(ranks).collect();
        let full = Arc::new(Schema::new(full));
        let by_window = partition.iter().any(|&column| window_of(from.field(column)).is_some());
        let whole = by_window && self.translator.whole.contains(&input);
        let partition = partition.to_vec();
        let input = if whole { input } else { self.forgetting(input) };
        let most = most.filter(|_| self.append_only(input));
        let kind = match functions {
            Some(functions) => NodeKind::Rank(graph::Rank { partition, order, functions, whole, most }),
            None => {
                let functions = window.window_expr.iter().map(|expr| self.window_function(expr, over));
                let functions = functions.collect::<Result<_, _>>()?;
                NodeKind::Over(graph::Over { partition, order, functions, whole })
            }
        };
        let node = self.add(kind, vec![input], Arc::clone(&full), whole);
        if from.fields().len() == width {
            return Ok(node);
        }
        let kept = (0..width).chain(from.fields().len()..full.fields().len());
        let expressions = kept.map(|index| Arc::new(Column::new(full.field(index).name(), index)) as _).collect();
        Ok(self.add(NodeKind::Project(expressions), vec![node], Arc::clone(window.schema.inner()), whole))
    }

    fn window_function(&self, expr: &Expr, over: &DFSchema) -> Result<Arc<dyn WindowExpr>, Mistake> {
        let (properties, context) = (self.state.execution_props(), PhysicalPlanningContext::default());
        create_window_expr(expr, over, properties, &context).map_err(|error| Mistake::from(error).at(place_of(expr)))
    }

    fn union(&mut self, union: &Union) -> Planned {
        let inputs: Vec<NodeId> = union.inputs.iter().map(|input| self.plan(input)).collect::<Result<_, _>>()?;
        let append_only = inputs.iter().all(|&input| self.append_only(input));
        Ok(self.add(NodeKind::Union, inputs, Arc::clone(union.schema.inner()), append_only))
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

/// A function that only needs to know how many rows come before.
fn rank_function(function: &WindowFunction) -> Option<RankFunction> {
    match function.fun.name() {
        "row_number" => Some(RankFunction::RowNumber),
        "rank" => Some(RankFunction::Rank),
        "dense_rank" => Some(RankFunction::DenseRank),
        _ => None,
    }
}

/// Whether some of these are windows that the rows were not in before: those come in more than one step.
fn makes_windows(expressions: &[Arc<dyn PhysicalExpr>], over: &Schema) -> bool {
    let is_new = |expression: &Arc<dyn PhysicalExpr>| !expression.is::<Column>();
    let has_windows = |expression: &Arc<dyn PhysicalExpr>| {
        expression.return_field(over).is_ok_and(|field| window_of(&field).is_some())
    };
    expressions.iter().any(|expression| is_new(expression) && has_windows(expression))
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

pub(crate) fn place_of(expr: &Expr) -> Option<Location> {
    expr.spans().and_then(datafusion::common::Spans::first).and_then(location_of)
}
