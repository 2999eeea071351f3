//! Aggregates and grouping sets.

use super::{ASIDE, Column, Grammar, Relation, Type, list, matching};

impl Grammar<'_> {
    pub(super) fn aggregated(&mut self, depth: usize) -> Relation {
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

    pub(super) fn aggregate_call(&mut self, columns: &[Column]) -> (String, Type) {
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

    pub(super) fn grouping_sets(&mut self, depth: usize) -> Relation {
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
}

/// Whether equal values are equal in both engines, to the last bit.
pub(super) fn groupable(data: Type) -> bool {
    !matches!(data, Type::Ints | Type::Inexact | Type::Float)
}
