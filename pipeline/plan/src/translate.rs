//! An optimised logical plan to nodes.

mod aggregates;
mod bounds;
mod forget;
mod grouping;
mod joins;
mod lookup;
mod ordered;
mod special_joins;
mod top;
mod unnest;
mod values;

use crate::error::{Location, Mistake, location_of};
use crate::project::{ClosingWindows, Relations};
use crate::recorded::RecordedFunctions;
use crate::windows::{SESSION_WINDOW, window_of};
use arrow::datatypes::{Field, Schema, SchemaRef};
use chalk_graph::{self as graph, Graph, JoinBound, JoinMode, Most, Node, NodeId, NodeKind};
use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan, Union};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
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

    fn union(&mut self, union: &Union) -> Planned {
        let inputs: Vec<NodeId> = union.inputs.iter().map(|input| self.plan(input)).collect::<Result<_, _>>()?;
        let append_only = inputs.iter().all(|&input| self.append_only(input));
        Ok(self.add(NodeKind::Union, inputs, Arc::clone(union.schema.inner()), append_only))
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
