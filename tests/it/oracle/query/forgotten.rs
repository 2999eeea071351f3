//! Queries whose groups and rows are forgotten after some time: those of which that can be foretold.

use super::{Grammar, LAST_ERA, Query};

impl Grammar<'_> {
    /// Groups that are forgotten when nothing has come for them: what is left is of the last era.
    pub(super) fn forgetful(mut self) -> Query {
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
    pub(super) fn forgetful_rows(&mut self, make: usize) -> Option<Query> {
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
}
