//! Queries whose rows are given once: windows, sessions, joins that let go; and lookups.

use super::{APPENDED, Grammar, MARK, Query};
use crate::oracle::chance::Chance;

impl Grammar<'_> {
    /// How long after their end panes are open, in seconds.
    pub(super) fn lateness(&mut self) -> i64 {
        if self.chance.once_in(2) {
            return 0;
        }
        self.uses("lateness");
        *self.chance.pick(&[1, 10, 45])
    }

    /// A table with what another, or the newest rows of one, had at a row's commit.
    pub(super) fn looked_up(mut self) -> Query {
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
    pub(super) fn window_join(mut self) -> Query {
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
                 WHERE w['end'] IS NOT NULL AND (_before_join IS NULL OR w['end'] + INTERVAL '{lateness} seconds' > _before_join) GROUP BY w, key)",
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
    pub(super) fn interval_join(mut self) -> Query {
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
    pub(super) fn final_query(mut self) -> Query {
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
    pub(super) fn wider_window(&mut self) -> String {
        let windows = [
            "tumble(INTERVAL '90 seconds')",
            "tumble(INTERVAL '7 seconds')",
            "hop(INTERVAL '30 seconds', INTERVAL '50 seconds')",
        ];
        (*self.chance.pick(&windows)).to_owned()
    }

    /// A kind of window, and a call of it.
    pub(super) fn window(&mut self) -> (&'static str, String) {
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
}

/// The rows of windows that have closed in the end.
pub(super) fn closed(query: &str) -> String {
    format!("SELECT * FROM ({query}) AS closed WHERE CAST(we AS BIGINT) <= {MARK}")
}
