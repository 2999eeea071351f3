//! Queries by chance, from a grammar of what pipelines can be made of.
//!
//! A query is built from the inside out: a relation is a table, or a SELECT over one or two smaller relations, whose columns have names of their own.
//! What a query uses is counted, so that nothing is left out unseen.

use super::chance::Chance;
use std::collections::BTreeSet;

/// Everything that the grammar can use; the oracle fails when a run of some length has not used one of them.
pub(super) const CONSTRUCTS: [&str; 125] = [
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

    /// Groups that are forgotten when nothing has come for them: what is left is of the last era.
    fn forgetful(mut self) -> Query {
        self.uses("updating_ttl");
        let make = self.chance.below(7);
        if let Some(query) = self.forgetful_rows(make) {
            return Query { used: self.used, ..query };
        }
        let side = |grammar: &mut Self| {
            let table = grammar.table(0);
            let key = *grammar.chance.pick(&["k", "b", "n", "n % 2"]);
            let keys = format!("{key} AS key, {} AS other", grammar.chance.pick(&["k", "n", "b"]));
            let condition = if grammar.chance.once_in(2) { grammar.bool(&table.columns, 1) } else { "true".to_owned() };
            let calls = [0, 1].map(|_| grammar.aggregate_call(&table.columns).0);
            let query = |era: &str| {
                let calls = format!("count(*) AS c, {} AS a, {} AS d", calls[0], calls[1]);
                format!("(SELECT {keys}, {calls} FROM t0 AS g WHERE ({condition}){era} GROUP BY key, other)")
            };
            [query(""), query(&format!(" AND _era = {LAST_ERA}"))]
        };
        let shown = "CAST(key AS TEXT) AS key, other, c, a, d";
        let [left, right] = [side(&mut self), side(&mut self)];
        let of = |place: usize| match make {
            0 => format!(
                "SELECT l.other, l.c AS lc, r.c AS rc, l.a FROM {} l LEFT JOIN {} r ON CAST(l.other AS TEXT) = CAST(r.other AS TEXT)",
                left[place], right[place]
            ),
            1 => format!(
                "SELECT other, count(*) AS n, sum(c) AS c, min(c) AS least FROM {} AS h GROUP BY other",
                left[place]
            ),
            _ => format!("SELECT {shown} FROM {} AS h", left[place]),
        };
        match make {
            0 => self.uses("updating_ttl under a join"),
            1 => self.uses("updating_ttl under an aggregate"),
            _ => {}
        }
        Query { streaming: of(0), batch: of(1), used: self.used, ..Query::default() }
    }

    /// Rows that are forgotten: what is left of views is of the last era, and pairs that are written once are of rows of one.
    fn forgetful_rows(&mut self, make: usize) -> Option<Query> {
        // Where nothing comes from one side there is no join left, which would forget the rows of the other: no id is less than 0, but the planner
        // does not know that.
        let condition = |grammar: &mut Self, table: usize| {
            let table = grammar.table(table);
            format!("({}) OR id < 0", grammar.bool(&table.columns, 1))
        };
        let last = format!("_era = {LAST_ERA}");
        match make {
            4 => {
                self.uses("updating_ttl of rows that are ranked");
                let (partition, condition) = (*self.chance.pick(&["k", "b", "n % 2"]), condition(self, 0));
                let of = |and: &str| {
                    format!(
                        "SELECT id, k, n, row_number() OVER (PARTITION BY {partition} ORDER BY n DESC, id) AS place FROM t0 WHERE ({condition}){and}"
                    )
                };
                Some(Query { streaming: of(""), batch: of(&format!(" AND {last}")), ..Query::default() })
            }
            5 => {
                self.uses("updating_ttl of rows that are joined");
                let conditions = [condition(self, 0), condition(self, 1)];
                let kind = *self.chance.pick(&["JOIN", "LEFT JOIN", "FULL JOIN"]);
                let of = |and: &str| {
                    let side =
                        |table: usize| format!("(SELECT id, k, n FROM t{table} WHERE ({}){and})", conditions[table]);
                    format!("SELECT l.id, l.n, r.id AS other FROM {} l {kind} {} r ON l.k = r.k", side(0), side(1))
                };
                Some(Query { streaming: of(""), batch: of(&format!(" AND {last}")), ..Query::default() })
            }
            6 => {
                self.uses("updating_ttl of rows that are joined once");
                let conditions = [condition(self, 0), condition(self, 1)];
                let of = |era: &str, and: &str| {
                    let side =
                        |table: usize| format!("(SELECT id, k, n{era} FROM t{table} WHERE {})", conditions[table]);
                    format!("SELECT l.id, l.n, r.id AS other FROM {} l JOIN {} r ON l.k = r.k{and}", side(0), side(1))
                };
                let (streaming, batch) = (of("", ""), of(", _era", " AND l._era = r._era"));
                Some(Query { streaming, batch, is_final: true, ..Query::default() })
            }
            _ => None,
        }
    }

    /// How long after their end panes are open, in seconds.
    fn lateness(&mut self) -> i64 {
        if self.chance.once_in(2) {
            return 0;
        }
        self.uses("lateness");
        *self.chance.pick(&[1, 10, 45])
    }

    /// A table with what another, or the newest rows of one, had at a row's commit.
    fn looked_up(mut self) -> Query {
        let left = self.chance.below(APPENDED);
        if self.chance.once_in(3) {
            self.uses("lookup of a versioned view");
            let right = self.chance.below(APPENDED);
            let newest = format!(
                "CREATE VIEW newest{right} AS SELECT id, k, x FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id DESC) AS newest FROM t{right}) WHERE newest = 1"
            );
            let streaming = format!(
                "SELECT l.id AS lid, l.k AS lk, r.id AS rid FROM t{left} l LEFT JOIN newest{right} FOR SYSTEM_TIME AS OF PROCTIME() AS r ON l.k = r.k"
            );
            let batch = format!(
                "WITH asked AS (SELECT DISTINCT k, _commit FROM t{left}),
                 found AS (SELECT a.k, a._commit, max(r.id) AS rid FROM asked a JOIN t{right} r ON a.k = r.k AND r._commit <= a._commit GROUP BY a.k, a._commit)
                 SELECT l.id AS lid, l.k AS lk, f.rid FROM t{left} l LEFT JOIN found f ON l.k = f.k AND l._commit = f._commit"
            );
            return Query { with: Some(newest), streaming, batch, used: self.used, ..Query::default() };
        }
        let (construct, join) = *self.chance.pick(&[("lookup join", "JOIN"), ("left lookup join", "LEFT JOIN")]);
        self.uses(construct);
        let on = *self.chance.pick(&["l.k = r.k", "l.n = r.n", "l.k = r.k AND l.b = r.b"]);
        let columns = "l.id AS lid, l.k AS lk, r.id AS rid, r.x AS x";
        let (right, looked_up) = if self.chance.once_in(2) {
            self.uses("lookup of a temporary table");
            ("t3".to_owned(), "t3 AS r".to_owned())
        } else {
            let right = format!("t{}", self.chance.below(APPENDED));
            (right.clone(), format!("{right} FOR SYSTEM_TIME AS OF PROCTIME() AS r"))
        };
        let streaming = format!("SELECT {columns} FROM t{left} l {join} {looked_up} ON {on}");
        let batch = format!("SELECT {columns} FROM t{left} l {join} {right} r ON {on} AND r._commit <= l._commit");
        Query { streaming, batch, used: self.used, ..Query::default() }
    }

    /// Aggregates of the same windows of two tables, joined: each window once.
    fn window_join(mut self) -> Query {
        let (construct, join) = *self.chance.pick(&[
            ("final inner join of windows", "JOIN"),
            ("final left join of windows", "LEFT JOIN"),
            ("final right join of windows", "RIGHT JOIN"),
            ("final full join of windows", "FULL JOIN"),
        ]);
        self.uses(construct);
        let window = loop {
            let (construct, window) = self.window();
            if construct != "session" {
                break window;
            }
        };
        let lateness = self.lateness();
        let key = *self.chance.pick(&["k", "b", "n % 2"]);
        let calls = [0, 1].map(|number| {
            let table = self.table(number);
            self.aggregate_call(&table.columns).0
        });
        let columns = "coalesce(l.w['start'], r.w['start']) AS ws, coalesce(l.w['end'], r.w['end']) AS we, l.key AS lkey, r.key AS rkey, l.c AS lc, r.c AS rc, l.a AS la, r.a AS ra";
        let side = |number: usize| {
            format!(
                "(SELECT {window} AS w, {key} AS key, count(*) AS c, {} AS a FROM t{number} GROUP BY w, key)",
                calls[number]
            )
        };
        let batch_side = |number: usize| {
            format!(
                "(SELECT w, {key} AS key, count(*) AS c, {} AS a FROM (SELECT *, {window} AS w FROM t{number} AS t) AS i \
                 WHERE w['end'] IS NOT NULL AND (_before IS NULL OR w['end'] + INTERVAL '{lateness} seconds' > _before) GROUP BY w, key)",
                calls[number]
            )
        };
        let query = |left: String, right: String| {
            format!("SELECT {columns} FROM {left} l {join} {right} r ON l.w = r.w AND l.key = r.key")
        };
        let streaming = query(side(0), side(1));
        let batch = closed(&query(batch_side(0), batch_side(1)));
        let closed_by = vec![0, 1];
        Query { streaming, batch, is_final: true, closed_by, lateness, used: self.used, ..Query::default() }
    }

    /// Rows of two tables whose times differ by so much.
    fn interval_join(mut self) -> Query {
        let (construct, join) = *self.chance.pick(&[
            ("final interval join", "JOIN"),
            ("final left interval join", "LEFT JOIN"),
            ("final right interval join", "RIGHT JOIN"),
            ("final full interval join", "FULL JOIN"),
        ]);
        self.uses(construct);
        let lateness = self.lateness();
        let (before, after) = (self.chance.below(40) as i64 - 5, self.chance.below(60) as i64);
        let on = self.chance.pick(&["l.k = r.k", "l.n = r.n AND l.k = r.k"]);
        let on =
            format!("{on} AND l.at BETWEEN r.at - INTERVAL '{before} seconds' AND r.at + INTERVAL '{after} seconds'");
        let columns = "l.id AS lid, l.at AS lat, r.id AS rid, r.at AS rat, l.x AS x, r.k AS k";
        let query = |left: &str, right: &str| format!("SELECT {columns} FROM {left} l {join} {right} r ON {on}");
        let streaming = query("t0", "t1");
        // The batch engine's answer to a RIGHT JOIN with a condition like this one and a filter on it is not always the same.
        let batch_query = |left: &str, right: &str| match join {
            "RIGHT JOIN" => format!("SELECT {columns} FROM {right} r LEFT JOIN {left} l ON {on}"),
            _ => query(left, right),
        };
        let in_time = |table: &str| {
            format!(
                "(SELECT * FROM {table} AS i WHERE at IS NULL OR _both IS NULL OR at + INTERVAL '{lateness} seconds' >= _both)"
            )
        };
        // A row without partner is given when none can come any longer.
        let given = |id: &str, at: &str, reach: i64| {
            format!("({id} IS NOT NULL OR {at} IS NULL OR CAST({at} AS BIGINT) + {reach}000000000 < {MARK})")
        };
        let batch = format!(
            "SELECT * FROM ({}) AS j WHERE {} AND {}",
            batch_query(&in_time("t0"), &in_time("t1")),
            given("rid", "lat", before),
            given("lid", "rat", after)
        );
        let closed_by = vec![0, 1];
        Query { streaming, batch, is_final: true, closed_by, lateness, used: self.used, ..Query::default() }
    }

    /// An append-only aggregate over windows.
    fn final_query(mut self) -> Query {
        let number = self.chance.below(APPENDED);
        let table = self.table(number);
        let (construct, window) = self.window();
        let is_session = construct == "session";
        self.uses(match construct {
            "tumble" => "final tumble",
            "hop" => "final hop",
            _ => "final session",
        });
        let filter = if self.chance.once_in(2) { Some(self.bool(&table.columns, 1)) } else { None };
        let keys: Vec<String> =
            (0..self.chance.below(3)).map(|_| self.chance.pick(&["k", "b", "n % 2"]).to_string()).collect();
        let mut keys: Vec<(String, String)> = keys.into_iter().map(|key| (key, self.fresh("key"))).collect();
        keys.dedup_by(|a, b| a.0 == b.0);
        let mut calls: Vec<(String, String)> = (0..1 + self.chance.below(3))
            .map(|_| {
                let (call, _) = self.aggregate_call(&table.columns);
                (call, self.fresh("a"))
            })
            .collect();
        if is_session {
            // So that late rows can be told apart.
            calls.push(("sum(id)".to_owned(), self.fresh("a")));
        }
        let over_windows = self.chance.once_in(3);
        let other = if over_windows && self.chance.once_in(2) { Some(self.wider_window()) } else { None };
        let name = if other.is_some() { "big" } else { "w" };
        let mut columns = vec![format!("{name}['start'] AS ws"), format!("{name}['end'] AS we")];
        let mut again = String::new();
        if over_windows {
            self.uses(if other.is_some() { "final windows of windows' times" } else { "final windows over windows" });
            let call = if is_session { calls.len() - 1 } else { self.chance.below(calls.len()) };
            let call = &calls[call].1;
            let of = if is_session { "max" } else { "count" };
            columns.push(format!("count(*) AS panes, {of}({call}) AS of_panes"));
            again.push_str(&format!(" GROUP BY {name}"));
        } else {
            columns.extend(keys.iter().chain(&calls).map(|(_, name)| name.clone()));
        }
        let inner: String = keys.iter().chain(&calls).map(|(sql, name)| format!(", {sql} AS {name}")).collect();
        let group: String = keys.iter().map(|(_, name)| format!(", {name}")).collect();
        let having = if self.chance.once_in(4) {
            self.uses("HAVING");
            " HAVING count(*) > 1"
        } else {
            ""
        };
        let condition = filter.as_ref().map_or(String::new(), |filter| format!(" WHERE {filter}"));
        let columns = columns.join(", ");
        let lateness = self.lateness();
        let over = |inner: String| match &other {
            Some(other) => format!("SELECT {columns} FROM (SELECT *, {other} AS big FROM ({inner}) AS o) AS p{again}"),
            None => format!("SELECT {columns} FROM ({inner}) AS o{again}"),
        };
        let streaming =
            over(format!("SELECT {window} AS w{inner} FROM {} AS t{condition} GROUP BY w{group}{having}", table.sql));
        if is_session {
            if lateness > 0 {
                self.uses("final session with lateness");
            }
            let batch = closed(&format!("SELECT * FROM ({streaming}) AS s WHERE we IS NOT NULL"));
            return Query {
                streaming,
                batch,
                is_final: true,
                closed_by: vec![number],
                lateness,
                trusts_late_rows: true,
                used: self.used,
                ..Query::default()
            };
        }
        let batch = over(format!(
            "SELECT w{inner} FROM (SELECT *, {window} AS w FROM {} AS t{condition}) AS i \
             WHERE w['end'] IS NOT NULL AND (_before IS NULL OR w['end'] + INTERVAL '{lateness} seconds' > _before) GROUP BY w{group}{having}",
            table.sql
        ));
        self.uses("late rows counted");
        let late = format!(
            "SELECT count(*) AS late FROM (SELECT *, {window} AS w FROM {} AS t{condition}) AS i \
             WHERE w['end'] IS NOT NULL AND _before IS NOT NULL AND w['end'] + INTERVAL '{lateness} seconds' <= _before",
            table.sql
        );
        let (batch, closed_by, late) = (closed(&batch), vec![number], Some(late));
        Query { streaming, batch, is_final: true, closed_by, lateness, late, used: self.used, ..Query::default() }
    }

    /// A window over the times of other windows.
    fn wider_window(&mut self) -> String {
        let windows = [
            "tumble(INTERVAL '90 seconds')",
            "tumble(INTERVAL '7 seconds')",
            "hop(INTERVAL '30 seconds', INTERVAL '50 seconds')",
        ];
        (*self.chance.pick(&windows)).to_owned()
    }

    /// A kind of window, and a call of it.
    fn window(&mut self) -> (&'static str, String) {
        let seconds = |chance: &mut Chance, of: &[u32]| format!("INTERVAL '{} seconds'", chance.pick(of));
        match self.chance.below(3) {
            0 => ("tumble", format!("tumble({})", seconds(self.chance, &[1, 7, 20, 60, 90, 300]))),
            1 => {
                let (slide, width) = (seconds(self.chance, &[5, 20, 30]), seconds(self.chance, &[3, 20, 50, 90]));
                ("hop", format!("hop({slide}, {width})"))
            }
            _ => ("session", format!("session({})", seconds(self.chance, &[2, 8, 20, 60]))),
        }
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

    fn aggregated(&mut self, depth: usize) -> Relation {
        let input = self.input(depth);
        if input.updating {
            self.uses("retractions into an aggregate");
        }
        if input.sql.contains("GROUP BY") {
            self.uses("aggregate of aggregates");
        }
        let (mut columns, mut shown, mut group) = (Vec::new(), Vec::new(), Vec::new());
        if input.event_time && self.chance.once_in(2) {
            let (construct, window) = self.window();
            self.uses(construct);
            let (bound, name) = (self.fresh("c"), self.fresh("w"));
            shown.push(format!("{window} AS {name}"));
            group.push(name.clone());
            let which = self.chance.pick(&["start", "end"]);
            columns.push((format!("{name}['{which}'] AS {bound}"), Column { name: bound, data: Type::Time }));
        }
        for _ in 0..self.chance.below(3) {
            let data = *self.chance.pick(&[Type::Int, Type::Text, Type::Bool, Type::Time]);
            let name = self.fresh("c");
            let key = match self.column(&input.columns, data) {
                Some(key) if !self.chance.once_in(3) => key,
                _ => {
                    self.uses("GROUP BY expression");
                    self.expression(&input.columns, data, 1)
                }
            };
            // A constant is no key for the batch engine.
            if input.columns.iter().any(|column| key.contains(&column.name)) {
                shown.push(format!("{key} AS {name}"));
                group.push(name.clone());
                columns.push((name.clone(), Column { name, data }));
            }
        }
        if group.is_empty() {
            self.uses("aggregate without keys");
        }
        for _ in 0..1 + self.chance.below(3) {
            let (call, data) = self.aggregate_call(&input.columns);
            let name = self.fresh("c");
            shown.push(format!("{call} AS {name}"));
            columns.push((name.clone(), Column { name, data }));
        }
        let having = if !group.is_empty() && self.chance.once_in(4) {
            self.uses("HAVING");
            format!(" HAVING count(*) > {}", self.chance.below(3))
        } else {
            String::new()
        };
        let group = if group.is_empty() { String::new() } else { format!(" GROUP BY {}", group.join(", ")) };
        let sql = format!(
            "(SELECT {} FROM (SELECT {} FROM {} AS g{group}{having}) AS h)",
            list(&columns, |(sql, _)| sql.clone()),
            shown.join(", "),
            input.sql
        );
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        Relation { sql, columns, event_time: false, updating: true }
    }

    fn aggregate_call(&mut self, columns: &[Column]) -> (String, Type) {
        let filter = if self.chance.once_in(6) {
            self.uses("FILTER");
            format!(" FILTER (WHERE {})", self.bool(columns, 1))
        } else {
            String::new()
        };
        let (construct, call, data) = match self.chance.below(31) {
            24 => (
                "approx_distinct",
                format!("CAST(approx_distinct({}) AS BIGINT)", self.expression(columns, Type::Text, 0)),
                Type::Int,
            ),
            25..=28 => {
                let named = |grammar: &mut Self, data| grammar.column(columns, data);
                let (n, k, x) = (named(self, Type::Int), named(self, Type::Text), named(self, Type::Float));
                // A number in ORDER BY is a place.
                match (n, k, x, self.any(columns)) {
                    (Some(n), _, _, _) if self.chance.once_in(3) => {
                        ("array_agg(… ORDER BY)", format!("array_agg({n} ORDER BY {n} DESC)"), Type::Ints)
                    }
                    // The batch engine fails where one column is there twice.
                    (Some(n), _, _, by) if by != "1" && by != n && self.chance.once_in(2) => {
                        let call = format!("first_value({n} ORDER BY {by} DESC NULLS LAST, {n})");
                        ("first_value(… ORDER BY)", call, Type::Int)
                    }
                    (_, Some(k), _, _) if self.chance.once_in(2) => {
                        ("string_agg(… ORDER BY)", format!("string_agg({k}, '+' ORDER BY {k})"), Type::Text)
                    }
                    (_, _, Some(x), _) => {
                        let call = format!("percentile_cont(0.25) WITHIN GROUP (ORDER BY {x})");
                        ("percentile_cont", call, Type::Inexact)
                    }
                    _ => ("count(*)", "count(*)".to_owned(), Type::Int),
                }
            }
            0 | 1 => ("count(*)", "count(*)".to_owned(), Type::Int),
            2 => ("count(column)", format!("count({})", self.any(columns)), Type::Int),
            3 => ("count(DISTINCT)", format!("count(DISTINCT {})", self.any(columns)), Type::Int),
            4 | 5 => ("sum of integer", format!("sum({})", self.expression(columns, Type::Int, 1)), Type::Int),
            6 => ("sum of float", format!("sum({})", self.expression(columns, Type::Float, 1)), Type::Float),
            7 => ("avg", format!("avg({})", self.expression(columns, Type::Float, 1)), Type::Inexact),
            8 => ("min of number", format!("min({})", self.expression(columns, Type::Float, 1)), Type::Float),
            9 => ("max of number", format!("max({})", self.expression(columns, Type::Int, 1)), Type::Int),
            10 => ("min of text", format!("min({})", self.expression(columns, Type::Text, 1)), Type::Text),
            11 => ("max of text", format!("max({})", self.expression(columns, Type::Text, 1)), Type::Text),
            12 => ("min of time", format!("min({})", self.expression(columns, Type::Time, 1)), Type::Time),
            13 => ("max of time", format!("max({})", self.expression(columns, Type::Time, 1)), Type::Time),
            14 => ("max of boolean", format!("max({})", self.expression(columns, Type::Bool, 1)), Type::Bool),
            15 => ("median", format!("median({})", self.expression(columns, Type::Int, 1)), Type::Float),
            16 => ("bool_and", format!("bool_and({})", self.expression(columns, Type::Bool, 1)), Type::Bool),
            17 => ("bool_or", format!("bool_or({})", self.expression(columns, Type::Bool, 1)), Type::Bool),
            18 | 29 | 30 => match self.chance.below(3) {
                0 => ("bit_and", format!("bit_and({})", self.expression(columns, Type::Int, 1)), Type::Int),
                1 => ("bit_or", format!("bit_or({})", self.expression(columns, Type::Int, 1)), Type::Int),
                _ => ("bit_xor", format!("bit_xor({})", self.expression(columns, Type::Int, 1)), Type::Int),
            },
            19 => (
                "stddev",
                format!("round(stddev({}) + {ASIDE}, 6)", self.expression(columns, Type::Float, 1)),
                Type::Inexact,
            ),
            20 => (
                "var_pop",
                format!("round(var_pop({}) + {ASIDE}, 6)", self.expression(columns, Type::Float, 1)),
                Type::Inexact,
            ),
            21 => ("sum(DISTINCT)", format!("sum(DISTINCT {})", self.expression(columns, Type::Int, 0)), Type::Int),
            22 => {
                ("array_agg", format!("array_sort(array_agg({}))", self.expression(columns, Type::Int, 0)), Type::Ints)
            }
            _ => {
                let (a, b) = (self.expression(columns, Type::Float, 0), self.expression(columns, Type::Float, 0));
                match self.chance.once_in(2) {
                    true => ("covar_samp", format!("round(covar_samp({a}, {b}) + {ASIDE}, 6)"), Type::Inexact),
                    false => ("corr", format!("round(corr({a}, {b}) + {ASIDE}, 6)"), Type::Inexact),
                }
            }
        };
        self.uses(construct);
        // The filter belongs to the call, not to what is made of its result.
        let outer = ["round(", "array_sort(", "CAST("].into_iter().find_map(|outer| call.strip_prefix(outer));
        let call = match outer {
            Some(_) if filter.is_empty() => call,
            Some(_) => {
                let depth_one = call.find('(').unwrap_or(0) + 1;
                let end = call[depth_one..].rfind(')').map_or(call.len(), |_| matching(&call, depth_one));
                format!("{}{filter}{}", &call[..end], &call[end..])
            }
            None => format!("{call}{filter}"),
        };
        (call, data)
    }

    fn distinct(&mut self, depth: usize) -> Relation {
        let input = self.input(depth);
        self.uses("DISTINCT");
        let mut columns: Vec<Column> = input.columns.iter().filter(|_| self.chance.once_in(2)).cloned().collect();
        if columns.is_empty() {
            columns.push(input.columns[0].clone());
        }
        let shown = list(&columns, |column| column.name.clone());
        let sql = format!("(SELECT DISTINCT {shown} FROM {} AS d)", input.sql);
        Relation { sql, columns, event_time: false, updating: input.updating }
    }

    fn union(&mut self, depth: usize) -> Relation {
        let (left, right) = (self.input(depth), self.input(depth));
        self.uses("UNION ALL");
        let types: Vec<Type> =
            left.columns.iter().map(|column| column.data).filter(|data| *data != Type::Inexact).collect();
        let types = if types.is_empty() { vec![Type::Int] } else { types };
        let columns: Vec<Column> = types.iter().map(|&data| Column { name: self.fresh("c"), data }).collect();
        let sides = [&left, &right].map(|side| self.with_columns(&columns, side, 1));
        let sql = format!("({} UNION ALL {})", sides[0], sides[1]);
        Relation { sql, columns, event_time: false, updating: left.updating || right.updating }
    }

    /// A query for columns of these types and names, made of a relation's.
    fn with_columns(&mut self, columns: &[Column], of: &Relation, depth: usize) -> String {
        let mut shown = Vec::new();
        for column in columns {
            shown.push(format!("{} AS {}", self.expression(&of.columns, column.data, depth), column.name));
        }
        format!("SELECT {} FROM {} AS u", shown.join(", "), of.sql)
    }

    /// Columns of both sides that can be equal.
    fn equality(&mut self, left: &Relation, right: &Relation) -> Option<String> {
        let mut pairs = Vec::new();
        for l in &left.columns {
            for r in &right.columns {
                if l.data == r.data && matches!(l.data, Type::Int | Type::Text | Type::Bool | Type::Time) {
                    pairs.push(format!("l.{} = r.{}", l.name, r.name));
                }
            }
        }
        if pairs.is_empty() {
            return None;
        }
        let first = self.chance.pick(&pairs).clone();
        let second = self.chance.once_in(3).then(|| self.chance.pick(&pairs).clone());
        Some(match second {
            Some(second) if second != first => format!("{first} AND {second}"),
            _ => first,
        })
    }

    fn joined(&mut self, depth: usize) -> Relation {
        self.joins -= 1;
        let left = self.input(depth);
        let right = if self.chance.once_in(4) { left.clone() } else { self.input(depth) };
        let Some(on) = self.equality(&left, &right) else { return left };
        if left.sql == right.sql {
            self.uses("self join");
        }
        if left.updating || right.updating {
            self.uses("retractions into a join");
        }
        let (construct, join) = *self.chance.pick(&[
            ("inner join", "JOIN"),
            ("left join", "LEFT JOIN"),
            ("right join", "RIGHT JOIN"),
            ("full join", "FULL JOIN"),
        ]);
        self.uses(construct);
        let more = if self.chance.once_in(2) {
            let (a, b) = (self.column(&left.columns, Type::Int), self.column(&right.columns, Type::Int));
            match (a, b) {
                (Some(a), Some(b)) => {
                    self.uses(match construct {
                        "inner join" => "inner join with more than equalities",
                        _ => "outer join with more than equalities",
                    });
                    format!(" AND l.{a} <= r.{b}")
                }
                _ => String::new(),
            }
        } else {
            String::new()
        };
        let some = |columns: &[Column], chance: &mut Chance| -> Vec<Column> {
            let kept: Vec<Column> = columns.iter().filter(|_| !chance.once_in(3)).cloned().collect();
            if kept.is_empty() { columns[..1].to_vec() } else { kept }
        };
        let (of_left, of_right) = (some(&left.columns, self.chance), some(&right.columns, self.chance));
        let (left_sql, mut columns) = self.renamed("l", &of_left);
        let (right_sql, of_right) = self.renamed("r", &of_right);
        columns.extend(of_right);
        let sql =
            format!("(SELECT {left_sql}, {right_sql} FROM {} AS l {join} {} AS r ON {on}{more})", left.sql, right.sql);
        let updating = left.updating || right.updating || construct != "inner join";
        Relation { sql, columns, event_time: false, updating }
    }

    fn exists(&mut self, depth: usize) -> Relation {
        self.joins = self.joins.saturating_sub(1);
        let (left, right) = (self.input(depth), self.input(depth));
        let Some(on) = self.equality(&left, &right) else { return left };
        let (construct, not) = *self.chance.pick(&[("EXISTS", ""), ("NOT EXISTS", "NOT ")]);
        self.uses(construct);
        if left.updating || right.updating {
            self.uses("retractions into a join");
        }
        let (shown, columns) = self.renamed("l", &left.columns);
        let sql = format!(
            "(SELECT {shown} FROM {} AS l WHERE {not}EXISTS (SELECT 1 FROM {} AS r WHERE {on}))",
            left.sql, right.sql
        );
        Relation { sql, columns, event_time: false, updating: left.updating || right.updating || !not.is_empty() }
    }

    fn ranked(&mut self, depth: usize) -> Relation {
        let input = self.input(depth);
        if input.updating {
            self.uses("retractions into a rank");
        }
        let sortable: Vec<&Column> = input.columns.iter().filter(|column| column.data != Type::Ints).collect();
        if sortable.is_empty() {
            return input;
        }
        let (construct, function) =
            *self.chance.pick(&[("row_number", "row_number()"), ("rank", "rank()"), ("dense_rank", "dense_rank()")]);
        self.uses(construct);
        let mut order: Vec<&str> = vec![self.chance.pick(&sortable).name.as_str()];
        if construct == "row_number" {
            // Among equals the batch engine takes any.
            order.extend(sortable.iter().map(|column| column.name.as_str()));
        }
        let order = order.iter().map(|column| format!("{column}{}", self.chance.pick(&["", " DESC", " NULLS FIRST"])));
        let order = order.collect::<Vec<_>>().join(", ");
        let partition = match self.chance.once_in(3) {
            true => String::new(),
            false => format!("PARTITION BY {} ", self.chance.pick(&sortable).name),
        };
        let name = self.fresh("c");
        let (shown, mut columns) = self.renamed("q", &input.columns);
        let top = if self.chance.once_in(2) {
            self.uses("top n");
            format!(" WHERE {name} <= {}", 1 + self.chance.below(3))
        } else {
            String::new()
        };
        let outer = list(&columns, |column| column.name.clone());
        let ranks = if self.chance.once_in(2) || !top.is_empty() && self.chance.once_in(2) {
            String::new()
        } else {
            columns.push(Column { name: self.fresh("c"), data: Type::Int });
            format!(", CAST({name} AS BIGINT) AS {}", columns[columns.len() - 1].name)
        };
        let sql = format!(
            "(SELECT {outer}{ranks} FROM (SELECT {shown}, {function} OVER ({partition}ORDER BY {order}) AS {name} FROM {} AS q) AS o{top})",
            input.sql
        );
        Relation { sql, columns, event_time: false, updating: true }
    }

    /// Functions over ordered rows. Among equals the batch engine takes any order, so that all columns are in it.
    fn over(&mut self, depth: usize) -> Relation {
        let input = self.input(depth);
        let sortable: Vec<&Column> = input.columns.iter().filter(|column| column.data != Type::Ints).collect();
        if sortable.is_empty() {
            return input;
        }
        let order = list(&sortable, |column| {
            format!("{}{}", column.name, if column.data == Type::Time { " DESC" } else { "" })
        });
        let partition = match self.chance.once_in(3) {
            true => String::new(),
            false => format!("PARTITION BY {} ", self.chance.pick(&sortable).name),
        };
        let (shown, mut columns) = self.renamed("q", &input.columns);
        let mut calls = String::new();
        for _ in 0..1 + self.chance.below(2) {
            let n = self.expression(&input.columns, Type::Int, 0);
            let frame = "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING";
            let (construct, call, frame) = match self.chance.below(7) {
                0 => ("lag() OVER", format!("lag({n})"), ""),
                1 => ("lead() OVER", format!("lead({n}, 2, 0)"), ""),
                2 => ("first_value() OVER", format!("first_value({n})"), ""),
                3 => ("last_value() OVER", format!("last_value({n})"), frame),
                4 => ("nth_value() OVER", format!("nth_value({n}, 2)"), ""),
                5 => ("ntile() OVER", "ntile(3)".to_owned(), ""),
                _ => ("running sum", format!("sum({n})"), "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW"),
            };
            self.uses(construct);
            let name = self.fresh("c");
            calls.push_str(&format!(", CAST({call} OVER ({partition}ORDER BY {order} {frame}) AS BIGINT) AS {name}"));
            columns.push(Column { name, data: Type::Int });
        }
        let sql = format!("(SELECT {shown}{calls} FROM {} AS q)", input.sql);
        Relation { sql, columns, event_time: false, updating: true }
    }

    fn grouping_sets(&mut self, depth: usize) -> Relation {
        let input = self.input(depth);
        if input.updating {
            self.uses("retractions into an aggregate");
        }
        let keys: Vec<&Column> = input.columns.iter().filter(|column| groupable(column.data)).take(3).collect();
        if keys.is_empty() {
            return input;
        }
        let names = list(&keys, |column| format!("g.{}", column.name));
        let (construct, group) = match self.chance.below(3) {
            0 => ("ROLLUP", format!("ROLLUP ({names})")),
            1 => ("CUBE", format!("CUBE ({names})")),
            _ => {
                let sets = keys.iter().map(|column| format!("(g.{})", column.name)).collect::<Vec<_>>().join(", ");
                ("GROUPING SETS", format!("GROUPING SETS ({sets}, ({names}))"))
            }
        };
        self.uses(construct);
        let first = keys[0].name.clone();
        let keys: Vec<Column> = keys.into_iter().cloned().collect();
        let (shown, mut columns) = self.renamed("g", &keys);
        let mut shown = vec![shown];
        for _ in 0..1 + self.chance.below(2) {
            let (call, data) = self.aggregate_call(&input.columns);
            let name = self.fresh("c");
            shown.push(format!("{call} AS {name}"));
            columns.push(Column { name, data });
        }
        if self.chance.once_in(2) {
            self.uses("grouping()");
            let name = self.fresh("c");
            shown.push(format!("CAST(grouping(g.{first}) AS BIGINT) AS {name}"));
            columns.push(Column { name, data: Type::Int });
        }
        let sql = format!("(SELECT {} FROM {} AS g GROUP BY {group})", shown.join(", "), input.sql);
        Relation { sql, columns, event_time: false, updating: true }
    }

    fn set_operation(&mut self, depth: usize) -> Relation {
        let (left, right) = (self.input(depth), self.input(depth));
        let (construct, operation) = *self
            .chance
            .pick(&["INTERSECT", "EXCEPT", "UNION", "INTERSECT ALL", "EXCEPT ALL"].map(|word| (word, word)));
        self.uses(construct);
        let types: Vec<Type> =
            left.columns.iter().map(|column| column.data).filter(|data| groupable(*data)).take(2).collect();
        let types = if types.is_empty() { vec![Type::Int] } else { types };
        let columns: Vec<Column> = types.iter().map(|&data| Column { name: self.fresh("c"), data }).collect();
        let sides = [&left, &right].map(|side| self.with_columns(&columns, side, 0));
        let sql = format!("({} {operation} {})", sides[0], sides[1]);
        Relation { sql, columns, event_time: false, updating: true }
    }

    /// Rows by whether a value of theirs is in a subquery.
    fn chosen_by_subquery(&mut self, depth: usize) -> Relation {
        self.joins = self.joins.saturating_sub(1);
        let (left, right) = (self.input(depth), self.input(depth));
        let data = *self.chance.pick(&[Type::Int, Type::Text]);
        let (Some(a), Some(b)) = (self.column(&left.columns, data), self.column(&right.columns, data)) else {
            return left;
        };
        let inside = format!("(SELECT r.{b} FROM {} AS r WHERE {})", right.sql, self.bool(&right.columns, 0));
        let (construct, condition) = match self.chance.below(3) {
            0 => ("IN (SELECT)", format!("l.{a} IN {inside}")),
            1 => ("NOT IN (SELECT)", format!("l.{a} NOT IN {inside}")),
            _ => ("OR IN (SELECT)", format!("(l.{a} IS NULL OR l.{a} IN {inside})")),
        };
        self.uses(construct);
        let (shown, columns) = self.renamed("l", &left.columns);
        let sql = format!("(SELECT {shown} FROM {} AS l WHERE {condition})", left.sql);
        Relation { sql, columns, event_time: false, updating: true }
    }

    /// Rows with a value of a subquery, or compared with one.
    fn with_value(&mut self, depth: usize) -> Relation {
        self.joins = self.joins.saturating_sub(1);
        let (left, right) = (self.input(depth), self.input(depth));
        let Some(a) = self.column(&left.columns, Type::Int) else { return left };
        let Some(b) = self.column(&right.columns, Type::Int) else { return left };
        let (shown, mut columns) = self.renamed("l", &left.columns);
        let sql = match self.chance.below(4) {
            0 => {
                self.uses("subquery as a value");
                let name = self.fresh("c");
                columns.push(Column { name: name.clone(), data: Type::Int });
                format!(
                    "(SELECT {shown}, (SELECT max(r.{b}) FROM {} AS r) AS {name} FROM {} AS l)",
                    right.sql, left.sql
                )
            }
            1 => {
                self.uses("subquery as a value");
                format!(
                    "(SELECT {shown} FROM {} AS l WHERE l.{a} >= (SELECT min(r.{b}) FROM {} AS r))",
                    left.sql, right.sql
                )
            }
            2 => {
                self.uses("correlated subquery as a value");
                let name = self.fresh("c");
                columns.push(Column { name: name.clone(), data: Type::Int });
                format!(
                    "(SELECT {shown}, (SELECT count(*) FROM {} AS r WHERE r.{b} = l.{a}) AS {name} FROM {} AS l)",
                    right.sql, left.sql
                )
            }
            _ => {
                self.uses("cross join with one row");
                let name = self.fresh("c");
                columns.push(Column { name: name.clone(), data: Type::Int });
                format!(
                    "(SELECT {shown}, r.m AS {name} FROM {} AS l CROSS JOIN (SELECT sum({b}) AS m FROM {} AS s) AS r)",
                    left.sql, right.sql
                )
            }
        };
        Relation { sql, columns, event_time: false, updating: true }
    }

    /// Rows with those of a constant table.
    fn with_values(&mut self, depth: usize) -> Relation {
        self.joins -= 1;
        let left = self.input(depth);
        let Some(a) = self.column(&left.columns, Type::Int) else { return left };
        self.uses("VALUES");
        let (shown, mut columns) = self.renamed("l", &left.columns);
        let name = self.fresh("c");
        columns.push(Column { name: name.clone(), data: Type::Text });
        let join = self.chance.pick(&["JOIN", "LEFT JOIN"]);
        let on = self.chance.pick(&["=", "=", "<"]);
        let sql = format!(
            "(SELECT {shown}, v.word AS {name} FROM {} AS l {join} (VALUES (1, 'one'), (2, 'two'), (2, NULL), (NULL, 'x')) AS v(number, word) ON l.{a} {on} v.number)",
            left.sql
        );
        Relation { sql, columns, event_time: false, updating: true }
    }

    /// The first rows of an order that tells all apart.
    fn first_rows(&mut self, depth: usize) -> Relation {
        let input = self.input(depth);
        let sortable: Vec<&Column> = input.columns.iter().filter(|column| groupable(column.data)).collect();
        if sortable.is_empty() || sortable.len() < input.columns.len() {
            return input;
        }
        self.uses("ORDER BY LIMIT");
        let order = list(&sortable, |column| {
            format!("q.{}{}", column.name, if column.data == Type::Int { " DESC" } else { "" })
        });
        let offset = if self.chance.once_in(3) {
            self.uses("OFFSET");
            format!(" OFFSET {}", 1 + self.chance.below(2))
        } else {
            String::new()
        };
        let limit = 1 + self.chance.below(5);
        let (shown, columns) = self.renamed("q", &input.columns);
        let sql = format!("(SELECT {shown} FROM {} AS q ORDER BY {order} LIMIT {limit}{offset})", input.sql);
        Relation { sql, columns, event_time: false, updating: true }
    }

    fn unnested(&mut self, depth: usize) -> Relation {
        let input = self.input(depth);
        self.uses("unnest");
        let (shown, mut columns) = self.renamed("e", &input.columns);
        let element = self.fresh("c");
        let ints: Vec<&Column> = input.columns.iter().filter(|column| column.data == Type::Ints).collect();
        let values = match ints.first() {
            Some(column) => column.name.clone(),
            None => {
                let (a, b) =
                    (self.expression(&input.columns, Type::Int, 1), self.expression(&input.columns, Type::Int, 1));
                format!("[{a}, {b}, 1]")
            }
        };
        let mut unnested = format!("unnest({values}) AS {element}");
        columns.push(Column { name: element, data: Type::Int });
        if self.chance.once_in(3) {
            self.uses("several unnests");
            let (number, beside) = (self.expression(&input.columns, Type::Int, 1), self.fresh("c"));
            let condition = self.bool(&input.columns, 0);
            unnested.push_str(&format!(", unnest(CASE WHEN {condition} THEN [{number}, 2] END) AS {beside}"));
            columns.push(Column { name: beside, data: Type::Int });
        }
        let sql = format!("(SELECT {shown}, {unnested} FROM {} AS e)", input.sql);
        Relation { sql, columns, event_time: false, updating: input.updating }
    }

    fn column(&mut self, columns: &[Column], data: Type) -> Option<String> {
        let of_type: Vec<&Column> = columns.iter().filter(|column| column.data == data).collect();
        (!of_type.is_empty()).then(|| self.chance.pick(&of_type).name.clone())
    }

    /// A column of any type that has equality.
    fn any(&mut self, columns: &[Column]) -> String {
        let simple: Vec<&Column> = columns.iter().filter(|column| column.data != Type::Ints).collect();
        if simple.is_empty() { "1".to_owned() } else { self.chance.pick(&simple).name.clone() }
    }

    fn expression(&mut self, columns: &[Column], data: Type, depth: usize) -> String {
        let column = self.column(columns, data);
        if let Some(column) = &column
            && (depth == 0 || self.chance.once_in(2))
        {
            return column.clone();
        }
        if depth == 0 {
            return self.constant(data);
        }
        if self.chance.once_in(6) {
            self.uses("CASE");
            let (then, otherwise) =
                (self.expression(columns, data, depth - 1), self.expression(columns, data, depth - 1));
            return format!("CASE WHEN {} THEN {then} ELSE {otherwise} END", self.bool(columns, depth - 1));
        }
        let part = |grammar: &mut Self, data| grammar.expression(columns, data, depth - 1);
        match data {
            Type::Int => match self.chance.below(6) {
                0 => format!("({} + {})", part(self, Type::Int), part(self, Type::Int)),
                1 => format!("({} - {})", part(self, Type::Int), part(self, Type::Int)),
                2 => format!("abs({} % 7)", part(self, Type::Int)),
                3 => {
                    self.uses("nullif");
                    format!("nullif({}, 1)", part(self, Type::Int))
                }
                4 => {
                    self.uses("coalesce");
                    format!("coalesce({}, 0)", part(self, Type::Int))
                }
                _ => {
                    self.uses("text functions");
                    format!("CAST(length({}) AS BIGINT)", part(self, Type::Text))
                }
            },
            Type::Float | Type::Inexact => match self.chance.below(4) {
                0 => format!("({} + {})", part(self, Type::Float), part(self, Type::Float)),
                1 => format!("({} * 0.5)", part(self, Type::Float)),
                2 => {
                    self.uses("CAST");
                    format!("CAST({} AS DOUBLE)", part(self, Type::Int))
                }
                _ => format!("coalesce({}, 1.5)", part(self, Type::Float)),
            },
            Type::Text => match self.chance.below(5) {
                0 => format!("({} || {})", part(self, Type::Text), part(self, Type::Text)),
                1 => {
                    self.uses("text functions");
                    format!("upper({})", part(self, Type::Text))
                }
                2 => format!("concat({}, '-')", part(self, Type::Text)),
                3 => format!("substr({}, 1, 1)", part(self, Type::Text)),
                _ => {
                    self.uses("CAST");
                    format!("CAST({} AS TEXT)", part(self, Type::Int))
                }
            },
            Type::Bool => self.bool(columns, depth),
            Type::Time => match self.chance.below(2) {
                0 => {
                    self.uses("date_trunc");
                    format!("date_trunc('minute', {})", part(self, Type::Time))
                }
                _ => {
                    self.uses("interval arithmetic");
                    format!("({} + INTERVAL '10 seconds')", part(self, Type::Time))
                }
            },
            Type::Ints => self.constant(data),
        }
    }

    fn constant(&mut self, data: Type) -> String {
        match data {
            Type::Int => self.chance.below(5).to_string(),
            Type::Float | Type::Inexact => self.chance.pick(&["0.5", "2.25"]).to_string(),
            Type::Text => self.chance.pick(&["'a'", "'b'", "''"]).to_string(),
            Type::Bool => self.chance.pick(&["true", "false"]).to_string(),
            Type::Time => "CAST('2025-09-01T12:00:30' AS TIMESTAMP)".to_owned(),
            Type::Ints => "[1, 2]".to_owned(),
        }
    }

    fn bool(&mut self, columns: &[Column], depth: usize) -> String {
        if depth > 0 && self.chance.once_in(4) {
            let (a, b) = (self.bool(columns, depth - 1), self.bool(columns, depth - 1));
            return match self.chance.below(3) {
                0 => format!("({a} AND {b})"),
                1 => format!("({a} OR {b})"),
                _ => format!("(NOT {a})"),
            };
        }
        if let Some(column) = self.column(columns, Type::Bool)
            && self.chance.once_in(5)
        {
            return column;
        }
        match self.chance.below(6) {
            0 => {
                self.uses("IS NULL");
                format!("({} IS {}NULL)", self.any(columns), self.chance.pick(&["", "NOT "]))
            }
            1 => {
                self.uses("IN");
                format!("({} IN ('a', 'B'))", self.expression(columns, Type::Text, 0))
            }
            2 => {
                self.uses("LIKE");
                format!("({} LIKE '%b%')", self.expression(columns, Type::Text, 0))
            }
            3 => {
                self.uses("IS DISTINCT FROM");
                let (a, b) = (self.expression(columns, Type::Int, 0), self.expression(columns, Type::Int, 0));
                format!("({a} IS DISTINCT FROM {b})")
            }
            _ => {
                self.uses("column comparison");
                let data = *self.chance.pick(&[Type::Int, Type::Text, Type::Float, Type::Time]);
                let (a, b) = (self.expression(columns, data, 0), self.expression(columns, data, 0));
                format!("({a} {} {b})", self.chance.pick(&["=", "<", ">=", "<>"]))
            }
        }
    }
}

/// Whether equal values are equal in both engines, to the last bit.
fn groupable(data: Type) -> bool {
    !matches!(data, Type::Ints | Type::Inexact | Type::Float)
}

/// The rows of windows that have closed in the end.
fn closed(query: &str) -> String {
    format!("SELECT * FROM ({query}) AS closed WHERE CAST(we AS BIGINT) <= {MARK}")
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
