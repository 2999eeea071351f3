//! Scalar expressions.

use super::{Column, Grammar, Type};

impl Grammar<'_> {
    pub(super) fn column(&mut self, columns: &[Column], data: Type) -> Option<String> {
        let of_type: Vec<&Column> = columns.iter().filter(|column| column.data == data).collect();
        (!of_type.is_empty()).then(|| self.chance.pick(&of_type).name.clone())
    }

    /// A column of any type that has equality.
    pub(super) fn any(&mut self, columns: &[Column]) -> String {
        let simple: Vec<&Column> = columns.iter().filter(|column| column.data != Type::Ints).collect();
        if simple.is_empty() { "1".to_owned() } else { self.chance.pick(&simple).name.clone() }
    }

    pub(super) fn expression(&mut self, columns: &[Column], data: Type, depth: usize) -> String {
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
            Type::Int => match self.chance.below(7) {
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
                5 => {
                    self.uses("JSON functions");
                    format!("json_get_int({}, 'n')", self.json(columns, depth - 1))
                }
                _ => {
                    self.uses("text functions");
                    format!("CAST(length({}) AS BIGINT)", part(self, Type::Text))
                }
            },
            Type::Float | Type::Inexact => match self.chance.below(5) {
                0 => format!("({} + {})", part(self, Type::Float), part(self, Type::Float)),
                1 => format!("({} * 0.5)", part(self, Type::Float)),
                2 => {
                    self.uses("CAST");
                    format!("CAST({} AS DOUBLE)", part(self, Type::Int))
                }
                3 => {
                    self.uses("CASE of mixed types");
                    let (then, otherwise) = (part(self, Type::Int), part(self, Type::Float));
                    format!("CASE WHEN {} THEN {then} ELSE {otherwise} END", self.bool(columns, depth - 1))
                }
                _ => format!("coalesce({}, 1.5)", part(self, Type::Float)),
            },
            Type::Text => match self.chance.below(6) {
                0 => format!("({} || {})", part(self, Type::Text), part(self, Type::Text)),
                1 => {
                    self.uses("text functions");
                    format!("upper({})", part(self, Type::Text))
                }
                2 => format!("concat({}, '-')", part(self, Type::Text)),
                3 => format!("substr({}, 1, 1)", part(self, Type::Text)),
                4 => {
                    self.uses("JSON operators");
                    format!("(({} -> 's') ->> 0)", self.json(columns, depth - 1))
                }
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

    /// `{"n":1,"s":["a"]}` as text.
    fn json(&mut self, columns: &[Column], depth: usize) -> String {
        let (n, s) = (self.expression(columns, Type::Int, depth), self.expression(columns, Type::Text, depth));
        format!(r#"concat('{{"n":', coalesce(CAST({n} AS TEXT), 'null'), ',"s":["', coalesce({s}, ''), '"]}}')"#)
    }

    pub(super) fn constant(&mut self, data: Type) -> String {
        match data {
            Type::Int => self.chance.below(5).to_string(),
            Type::Float | Type::Inexact => self.chance.pick(&["0.5", "2.25"]).to_string(),
            Type::Text => self.chance.pick(&["'a'", "'b'", "''"]).to_string(),
            Type::Bool => self.chance.pick(&["true", "false"]).to_string(),
            Type::Time => "CAST('2025-09-01T12:00:30' AS TIMESTAMP)".to_owned(),
            Type::Ints => "[1, 2]".to_owned(),
        }
    }

    pub(super) fn bool(&mut self, columns: &[Column], depth: usize) -> String {
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
