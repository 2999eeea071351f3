//! Groups and their aggregates.

use super::grouping::Keys;
use super::{Planned, Query, bounds, columns, place_of, unaliased};
use crate::error::Mistake;
use crate::relation::is_event_time;
use crate::windows::{window_field, window_of};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chalk_graph::{self as graph, AggregateCall, AggregateFunction, CloseWindows, NodeId, NodeKind};
use datafusion::common::{Column as ColumnName, DFSchema};
use datafusion::logical_expr::expr::{AggregateFunction as AggregateExpr, NullTreatment};
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, SortExpr};
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use std::sync::Arc;

impl Query<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Planned {
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
    pub(super) fn aggregate_by(
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
    pub(super) fn check_time(&self, input: NodeId) -> Result<(), Mistake> {
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

    pub(super) fn call<'e>(
        &self,
        expr: &'e Expr,
        wanted: &mut Vec<&'e Expr>,
        over: &DFSchema,
    ) -> Result<AggregateCall, Mistake> {
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
}
