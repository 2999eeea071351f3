//! Relations over other relations: joins, ranks, sets, subqueries.

use super::aggregates::groupable;
use super::{Column, Grammar, Relation, Type, list};
use crate::oracle::chance::Chance;

impl Grammar<'_> {
    pub(super) fn distinct(&mut self, depth: usize) -> Relation {
        let input = self.input(depth);
        // The batch engine takes the keys of grouping sets for unique, and at times leaves DISTINCT out over them.
        if ["ROLLUP (", "CUBE (", "GROUPING SETS ("].iter().any(|sets| input.sql.contains(sets)) {
            return input;
        }
        self.uses("DISTINCT");
        let mut columns: Vec<Column> = input.columns.iter().filter(|_| self.chance.once_in(2)).cloned().collect();
        if columns.is_empty() {
            columns.push(input.columns[0].clone());
        }
        let shown = list(&columns, |column| column.name.clone());
        let sql = format!("(SELECT DISTINCT {shown} FROM {} AS d)", input.sql);
        Relation { sql, columns, event_time: false, updating: input.updating }
    }

    pub(super) fn union(&mut self, depth: usize) -> Relation {
        let (left, right) = (self.input(depth), self.input(depth));
        self.uses("UNION ALL");
        let types: Vec<Type> =
            left.columns.iter().map(|column| column.data).filter(|data| *data != Type::Inexact).collect();
        let types = if types.is_empty() { vec![Type::Int] } else { types };
        let columns: Vec<Column> = types.iter().map(|&data| Column { name: self.fresh("c"), data }).collect();
        // Whole numbers beside others become such.
        let whole = |column: &Column| Column {
            data: if column.data == Type::Float { Type::Int } else { column.data },
            ..column.clone()
        };
        let is_mixed = types.contains(&Type::Float) && self.chance.once_in(2);
        if is_mixed {
            self.uses("UNION ALL of mixed types");
        }
        let first: Vec<Column> = if is_mixed { columns.iter().map(whole).collect() } else { columns.clone() };
        let sides = [(&left, &first), (&right, &columns)].map(|(side, columns)| self.with_columns(columns, side, 1));
        let sql = format!("({} UNION ALL {})", sides[0], sides[1]);
        Relation { sql, columns, event_time: false, updating: left.updating || right.updating }
    }

    /// A query for columns of these types and names, made of a relation's.
    pub(super) fn with_columns(&mut self, columns: &[Column], of: &Relation, depth: usize) -> String {
        let mut shown = Vec::new();
        for column in columns {
            shown.push(format!("{} AS {}", self.expression(&of.columns, column.data, depth), column.name));
        }
        format!("SELECT {} FROM {} AS u", shown.join(", "), of.sql)
    }

    /// Columns of both sides that can be equal.
    pub(super) fn equality(&mut self, left: &Relation, right: &Relation) -> Option<String> {
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

    pub(super) fn joined(&mut self, depth: usize) -> Relation {
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

    pub(super) fn exists(&mut self, depth: usize) -> Relation {
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

    pub(super) fn ranked(&mut self, depth: usize) -> Relation {
        let input = self.input(depth);
        if input.updating {
            self.uses("retractions into a rank");
        }
        let sortable: Vec<Column> = input.columns.iter().filter(|column| column.data != Type::Ints).cloned().collect();
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
        // Without those that are not in the order: rows that differ in them alone are equals.
        let (shown, mut columns) = self.renamed("q", &sortable);
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

    /// Functions over ordered rows. Among equals the batch engine takes any order, so that all columns are in it, and others are not shown.
    pub(super) fn over(&mut self, depth: usize) -> Relation {
        let input = self.input(depth);
        let sortable: Vec<Column> = input.columns.iter().filter(|column| column.data != Type::Ints).cloned().collect();
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
        let (shown, mut columns) = self.renamed("q", &sortable);
        let mut calls = String::new();
        for _ in 0..1 + self.chance.below(2) {
            let n = self.expression(&sortable, Type::Int, 0);
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

    pub(super) fn set_operation(&mut self, depth: usize) -> Relation {
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
    pub(super) fn chosen_by_subquery(&mut self, depth: usize) -> Relation {
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
    pub(super) fn with_value(&mut self, depth: usize) -> Relation {
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
    pub(super) fn with_values(&mut self, depth: usize) -> Relation {
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
    pub(super) fn first_rows(&mut self, depth: usize) -> Relation {
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

    pub(super) fn unnested(&mut self, depth: usize) -> Relation {
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
}
