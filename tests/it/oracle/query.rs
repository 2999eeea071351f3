//! Queries by chance, from a grammar of what pipelines can be made of.
//!
//! A query is built from the inside out: a relation is a table, or a SELECT over one or two smaller relations, whose columns have names of their own.
//! What a query uses is counted, so that nothing is left out unseen.

mod aggregates;
mod expressions;
mod finals;
mod forgotten;
mod relations;

use super::chance::Chance;
use std::collections::BTreeSet;

/// What the story says of a query: it joins what closes, and goes on although one of the tables is idle.
pub(super) const IDLE: &str = "idle table of a final join";

/// Everything that the grammar can use; the oracle fails when a run of some length has not used one of them.
pub(super) const CONSTRUCTS: [&str; 130] = [
    IDLE,
    "CASE of mixed types",
    "JSON functions",
    "JSON operators",
    "UNION ALL of mixed types",
    "aggregate of aggregates",
    "aggregate without keys",
    "approx_distinct",
    "array_agg",
    "array_agg(… ORDER BY)",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "CASE",
    "CAST",
    "coalesce",
    "column comparison",
    "common table expression",
    "corr",
    "correlated subquery as a value",
    "count(*)",
    "count(column)",
    "count(DISTINCT)",
    "covar_samp",
    "cross join with one row",
    "CUBE",
    "date_trunc",
    "debezium source",
    "dense_rank",
    "DISTINCT",
    "EXCEPT ALL",
    "EXCEPT",
    "EXISTS",
    "FILTER",
    "final full interval join",
    "final full join of windows",
    "final hop",
    "final inner join of windows",
    "final interval join",
    "final left interval join",
    "final left join of windows",
    "final right interval join",
    "final right join of windows",
    "final session with lateness",
    "final session",
    "final tumble",
    "final windows of windows' times",
    "final windows over windows",
    "first_value() OVER",
    "first_value(… ORDER BY)",
    "full join",
    "GROUP BY expression",
    "GROUPING SETS",
    "grouping()",
    "HAVING",
    "hop",
    "IN (SELECT)",
    "IN",
    "inner join with more than equalities",
    "inner join",
    "INTERSECT ALL",
    "INTERSECT",
    "interval arithmetic",
    "IS DISTINCT FROM",
    "IS NULL",
    "lag() OVER",
    "last_value() OVER",
    "late rows counted",
    "lateness",
    "lead() OVER",
    "left join",
    "left lookup join",
    "LIKE",
    "lookup join",
    "lookup of a temporary table",
    "lookup of a versioned view",
    "max of boolean",
    "max of number",
    "max of text",
    "max of time",
    "median",
    "min of number",
    "min of text",
    "min of time",
    "NOT EXISTS",
    "NOT IN (SELECT)",
    "nth_value() OVER",
    "ntile() OVER",
    "nullif",
    "OFFSET",
    "OR IN (SELECT)",
    "ORDER BY LIMIT",
    "outer join with more than equalities",
    "percentile_cont",
    "rank",
    "retractions into a join",
    "retractions into a rank",
    "retractions into an aggregate",
    "right join",
    "ROLLUP",
    "row_number",
    "running sum",
    "self join",
    "session",
    "several unnests",
    "stddev",
    "string_agg(… ORDER BY)",
    "subquery as a value",
    "subquery",
    "sum of float",
    "sum of integer",
    "sum(DISTINCT)",
    "text functions",
    "top n",
    "tumble",
    "UNION ALL",
    "UNION",
    "unnest",
    "updating_ttl under a join",
    "updating_ttl of rows that are joined once",
    "updating_ttl of rows that are joined",
    "updating_ttl of rows that are ranked",
    "updating_ttl under an aggregate",
    "updating_ttl",
    "VALUES",
    "var_pop",
    "WHERE",
];

/// Stands in a batch query for the watermark in the end, less the lateness, in nanoseconds.
pub(super) const MARK: &str = "$MARK";

/// Stands in a batch query for how often a long time has passed.
pub(super) const LAST_ERA: &str = "$ERA";

/// So many tables have rows that are never taken back.
const APPENDED: usize = 2;

/// Added before rounding: what differs in its last bits only is not to lie on both sides of a half, and data by chance has halves.
const ASIDE: &str = "0.00000013";

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Int,
    Float,
    /// A float whose last bits depend on how it was computed: it is only handed on.
    Inexact,
    Text,
    Bool,
    Time,
    Ints,
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    name: String,
    data: Type,
}

/// Something that stands in FROM.
#[derive(Clone, Debug)]
struct Relation {
    /// A name, or a SELECT in parentheses.
    sql: String,
    columns: Vec<Column>,
    /// Whether `at` is event time in it.
    event_time: bool,
    /// Whether rows of it can be retracted.
    updating: bool,
}

/// A query, as the pipeline and as the batch engine get it.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    /// A plain view that it needs.
    pub(super) with: Option<String>,
    /// What the pipeline runs.
    pub(super) streaming: String,
    /// The same for the batch engine; rows that came too late are left out by what is known of them, and what is not given yet by [`MARK`].
    pub(super) batch: String,
    /// Whether each pane is given once; otherwise it is a view.
    pub(super) is_final: bool,
    /// The tables whose watermarks close its panes.
    pub(super) closed_by: Vec<usize>,
    /// How long after their end panes are open, in seconds.
    pub(super) lateness: i64,
    /// Whether the rows that came too late are those of the late table: which these are depends on others.
    pub(super) trusts_late_rows: bool,
    /// How many rows came too late, asked of the batch engine: a row counts for each window that it was too late for.
    pub(super) late: Option<String>,
    pub(super) used: BTreeSet<&'static str>,
}

/// `(name, columns)` of a table.
const TABLE: [(&str, Type); 6] =
    [("id", Type::Int), ("at", Type::Time), ("k", Type::Text), ("n", Type::Int), ("x", Type::Float), ("b", Type::Bool)];

struct Grammar<'a> {
    chance: &'a mut Chance,
    used: BTreeSet<&'static str>,
    names: usize,
    /// Joins that may still be used: rows multiply.
    joins: usize,
}

/// A query over tables: two that rows are appended to, one of changes, one that is looked up. When groups are forgotten it is one of which that can be
/// foretold.
pub(super) fn query(chance: &mut Chance, forgets: bool) -> Query {
    let grammar = Grammar { chance, used: BTreeSet::new(), names: 0, joins: 2 };
    if forgets {
        return grammar.forgetful();
    }
    match grammar.chance.below(30) {
        0..=5 => grammar.final_query(),
        6 | 7 => grammar.window_join(),
        8 | 9 => grammar.interval_join(),
        10 => grammar.looked_up(),
        _ => grammar.view(),
    }
}

fn list<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    items.iter().map(show).collect::<Vec<_>>().join(", ")
}

impl Grammar<'_> {
    fn uses(&mut self, construct: &'static str) {
        self.used.insert(construct);
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn view(mut self) -> Query {
        let depth = 1 + self.chance.below(3);
        let relation = self.relation(depth);
        let columns = list(&relation.columns, |column| column.name.clone());
        let sql = if self.chance.once_in(6) {
            self.uses("common table expression");
            format!("WITH cte AS (SELECT {columns} FROM {} AS inside) SELECT {columns} FROM cte", relation.sql)
        } else {
            format!("SELECT {columns} FROM {} AS outside", relation.sql)
        };
        Query { streaming: sql.clone(), batch: sql, used: self.used, ..Query::default() }
    }

    fn table(&mut self, number: usize) -> Relation {
        let columns = TABLE.iter().map(|(name, data)| Column { name: (*name).to_owned(), data: *data }).collect();
        let updating = number >= APPENDED;
        if updating {
            self.uses("debezium source");
        }
        Relation { sql: format!("t{number}"), columns, event_time: true, updating }
    }

    fn relation(&mut self, depth: usize) -> Relation {
        if depth == 0 {
            // Among them the one of changes.
            let number = self.chance.below(APPENDED + 1);
            return self.table(number);
        }
        match self.chance.below(20) {
            14 => self.grouping_sets(depth),
            15 => self.set_operation(depth),
            16 => self.chosen_by_subquery(depth),
            17 => self.with_value(depth),
            18 => self.first_rows(depth),
            19 if self.joins > 0 => self.with_values(depth),
            0 => self.filtered(depth),
            1 => self.projected(depth),
            2..=4 => self.aggregated(depth),
            5 => self.distinct(depth),
            6 => self.union(depth),
            7 | 8 if self.joins > 0 => self.joined(depth),
            7 | 8 => self.exists(depth),
            9 | 10 => self.ranked(depth),
            11 => self.over(depth),
            12 if self.joins > 0 => self.exists(depth),
            12 => self.filtered(depth),
            _ => self.unnested(depth),
        }
    }

    fn input(&mut self, depth: usize) -> Relation {
        let relation = self.relation(depth - 1);
        if depth > 1 {
            self.uses("subquery");
        }
        relation
    }

    /// Columns under new names.
    fn renamed(&mut self, from: &str, columns: &[Column]) -> (String, Vec<Column>) {
        let new: Vec<Column> =
            columns.iter().map(|column| Column { name: self.fresh("c"), data: column.data }).collect();
        let sql = columns.iter().zip(&new).map(|(old, new)| format!("{from}.{} AS {}", old.name, new.name));
        (sql.collect::<Vec<_>>().join(", "), new)
    }

    fn filtered(&mut self, depth: usize) -> Relation {
        let input = self.input(depth);
        self.uses("WHERE");
        let columns = list(&input.columns, |column| column.name.clone());
        let condition = self.bool(&input.columns, 2);
        let sql = format!("(SELECT {columns} FROM {} AS f WHERE {condition})", input.sql);
        Relation { sql, ..input }
    }

    fn projected(&mut self, depth: usize) -> Relation {
        let input = self.input(depth);
        let mut columns = Vec::new();
        let mut shown = Vec::new();
        for _ in 0..2 + self.chance.below(3) {
            let data = *self.chance.pick(&[Type::Int, Type::Float, Type::Text, Type::Bool, Type::Time]);
            let name = self.fresh("c");
            shown.push(format!("{} AS {name}", self.expression(&input.columns, data, 2)));
            columns.push(Column { name, data });
        }
        let sql = format!("(SELECT {} FROM {} AS p)", shown.join(", "), input.sql);
        Relation { sql, columns, event_time: false, updating: input.updating }
    }
}

/// Where the call that begins at `from` ends: behind its closing parenthesis.
fn matching(sql: &str, from: usize) -> usize {
    let mut depth = 0;
    for (index, letter) in sql.char_indices().skip_while(|(index, _)| *index < from) {
        match letter {
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return index + 1;
                }
            }
            _ => {}
        }
    }
    sql.len()
}
