//! Tables and what is appended to them: rows out of order, rows twice, NULLs; in commits of any size, with stops between.

use super::chance::Chance;
use crate::engine::{NOON, Run};
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chalk_event::{NANOS_PER_SECOND, format_rfc3339};
use std::fmt::Write as _;
use std::sync::Arc;

/// Columns that only the batch answer has: the watermark of its table before a row's commit; the least watermark of the first two tables then;
/// the number of its commit.
pub(super) const BEFORE: &str = "_before";
pub(super) const BOTH: &str = "_both";
pub(super) const COMMIT: &str = "_commit";

/// What only the batch answer knows of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) before: Option<i64>,
    pub(super) both: Option<i64>,
    pub(super) commit: i64,
}

/// A table; its columns are `id`, `at`, `k`, `n`, `x` and `b`.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    /// A topic of so many partitions; otherwise a file, which ends.
    pub(super) partitions: Option<usize>,
    /// How far the watermark is behind the latest event, in seconds.
    pub(super) delay: i64,
}

impl Table {
    pub(super) fn sql(&self) -> String {
        let (name, delay) = (&self.name, self.delay);
        let from = match self.partitions {
            Some(_) => format!("connector = 'log', topic = '{name}'"),
            None => format!("connector = 'single_file', path = '{name}.json'"),
        };
        format!(
            "CREATE TABLE {name} (id BIGINT NOT NULL, at TIMESTAMP, k TEXT, n BIGINT, x DOUBLE, b BOOLEAN,\n\
             \x20 WATERMARK FOR at AS (at - INTERVAL '{delay} seconds')) WITH ({from}, format = 'json')"
        )
    }

    /// The schema of its topic, if that is its own.
    pub(super) fn avsc(&self) -> Option<String> {
        let partitions = self.partitions?;
        Some(format!(
            r#"{{"type":"record","event_type":"{}","partitions":{partitions},"key":["id"],"fields":[{{"name":"id","type":"long"}},{{"name":"at","type":["null",{{"type":"long","logicalType":"timestamp-micros"}}]}},{{"name":"k","type":["null","string"]}},{{"name":"n","type":["null","long"]}},{{"name":"x","type":["null","double"]}},{{"name":"b","type":["null","boolean"]}}]}}"#,
            self.name
        ))
    }
}

/// A row of any table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) id: i64,
    /// Nanoseconds.
    pub(super) at: Option<i64>,
    pub(super) k: Option<&'static str>,
    pub(super) n: Option<i64>,
    pub(super) x: Option<f64>,
    pub(super) b: Option<bool>,
}

impl Row {
    /// The row with an id; `number` rows of its table are before it.
    fn by_chance(chance: &mut Chance, id: usize, number: usize) -> Self {
        let some = |chance: &mut Chance| !chance.once_in(8);
        // Event time goes on by some seconds a row; rows are up to a minute late, few of them more.
        let jitter = if chance.once_in(10) { chance.below(240) } else { chance.below(45) } as i64;
        let second = (number * 5) as i64 - jitter;
        let fraction = if chance.once_in(3) { 500_000_000 } else { 0 };
        Self {
            id: id as i64,
            at: (!chance.once_in(20)).then(|| NOON + second * NANOS_PER_SECOND + fraction),
            k: some(chance).then(|| *chance.pick(&["a", "b", "B", "", "ab"])),
            n: some(chance).then(|| chance.below(9) as i64 - 3),
            x: some(chance).then(|| (chance.below(40) as f64 - 16.0) / 4.0),
            b: some(chance).then(|| chance.once_in(2)),
        }
    }

    fn json(&self, out: &mut String) {
        write!(out, "{{\"id\":{}", self.id).expect("strings can be written to");
        let mut field = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                write!(out, ",\"{name}\":{value}").expect("strings can be written to");
            }
        };
        field("at", self.at.map(|at| format!("\"{}\"", format_rfc3339(at))));
        field("k", self.k.map(|k| format!("\"{k}\"")));
        field("n", self.n.map(|n| n.to_string()));
        field("x", self.x.map(|x| x.to_string()));
        field("b", self.b.map(|b| b.to_string()));
        out.push_str("}\n");
    }
}

/// What happens to a pipeline.
#[derive(Clone, Debug)]
pub(super) enum Happens {
    /// Rows are appended to a table, in one commit.
    Append { table: usize, rows: Vec<Row> },
    /// Rows of the next commits are read in one epoch, as far as they come at once.
    Restart(Run),
}

/// Tables, and what happens.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) tables: Vec<Table>,
    pub(super) run: Run,
    pub(super) happens: Vec<Happens>,
}

impl Story {
    pub(super) fn by_chance(chance: &mut Chance) -> Self {
        let table = |number: usize, chance: &mut Chance| Table {
            name: format!("t{number}"),
            partitions: chance.once_in(2).then(|| 1 + chance.below(3)),
            delay: *chance.pick(&[0, 10, 60]),
        };
        let tables: Vec<Table> = (0..2).map(|number| table(number, chance)).collect();
        let mut next = vec![0_usize; tables.len()];
        let run = |chance: &mut Chance| Run {
            shards: 1 + chance.below(4),
            epoch_bytes_max: *chance.pick(&[1, 2_000, 1 << 20]),
        };
        let first = run(chance);
        let mut happens = Vec::new();
        let mut kept: Vec<Row> = Vec::new();
        for _ in 0..2 + chance.below(10) {
            if chance.once_in(6) {
                happens.push(Happens::Restart(run(chance)));
                continue;
            }
            let table = chance.below(tables.len());
            let mut rows = Vec::new();
            for _ in 0..1 + chance.below(*chance.clone().pick(&[2, 8, 30])) {
                match kept.len() {
                    // The same row again, whenever.
                    1.. if chance.once_in(12) => rows.push(chance.pick(&kept).clone()),
                    _ => {
                        rows.push(Row::by_chance(chance, next.iter().sum(), next[table]));
                        next[table] += 1;
                    }
                }
            }
            kept.extend(rows.iter().take(3).cloned());
            happens.push(Happens::Append { table, rows });
        }
        Self { tables, run: first, happens }
    }

    pub(super) fn topics(&self) -> Vec<(String, String)> {
        self.tables.iter().filter_map(|table| Some((table.name.clone(), table.avsc()?))).collect()
    }

    pub(super) fn statements(&self) -> String {
        self.tables.iter().map(|table| format!("{};\n", table.sql())).collect()
    }

    /// All rows of a table, with what is known of each.
    pub(super) fn rows(&self, table: usize) -> Vec<(&Row, Known)> {
        let mut marks: Vec<Option<i64>> = vec![None; self.tables.len()];
        let mut all = Vec::new();
        for (happens, commit) in self.happens.iter().zip(0..) {
            let Happens::Append { table: other, rows } = happens else { continue };
            if *other == table {
                let both = marks.iter().copied().min().flatten();
                let known = Known { before: marks[table], both, commit };
                all.extend(rows.iter().map(|row| (row, known)));
            }
            marks[*other] = marks[*other].max(self.marks(*other, rows));
        }
        all
    }

    /// The watermark that rows argue for.
    fn marks(&self, table: usize, rows: &[Row]) -> Option<i64> {
        let delay = self.tables[table].delay * NANOS_PER_SECOND;
        rows.iter().filter_map(|row| row.at).max().map(|at| at - delay)
    }

    /// The watermark of a table in the end.
    pub(super) fn last_watermark(&self, table: usize) -> Option<i64> {
        if self.tables[table].partitions.is_none() {
            return Some(i64::MAX);
        }
        let all = self.happens.iter().filter_map(|happens| match happens {
            Happens::Append { table: other, rows } if *other == table => self.marks(table, rows),
            _ => None,
        });
        all.max()
    }
}

/// Rows as lines of JSON.
pub(super) fn json(rows: &[Row]) -> String {
    let mut text = String::new();
    rows.iter().for_each(|row| row.json(&mut text));
    text
}

/// Rows as the batch engine reads them; `schema` is the table's, and gets what is known of each behind it.
pub(super) fn batch(rows: &[(&Row, Known)], schema: &SchemaRef) -> RecordBatch {
    let column = |name: &str| -> ArrayRef {
        match name {
            "id" => Arc::new(rows.iter().map(|(row, _)| row.id).collect::<Int64Array>()),
            "at" => Arc::new(rows.iter().map(|(row, _)| row.at).collect::<TimestampNanosecondArray>()),
            "k" => Arc::new(rows.iter().map(|(row, _)| row.k).collect::<StringArray>()),
            "n" => Arc::new(rows.iter().map(|(row, _)| row.n).collect::<Int64Array>()),
            "x" => Arc::new(rows.iter().map(|(row, _)| row.x).collect::<Float64Array>()),
            "b" => Arc::new(rows.iter().map(|(row, _)| row.b).collect::<BooleanArray>()),
            BEFORE => Arc::new(rows.iter().map(|(_, known)| known.before).collect::<TimestampNanosecondArray>()),
            BOTH => Arc::new(rows.iter().map(|(_, known)| known.both).collect::<TimestampNanosecondArray>()),
            _ => Arc::new(rows.iter().map(|(_, known)| known.commit).collect::<Int64Array>()),
        }
    };
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    fields.extend([BEFORE, BOTH].map(|name| Field::new(name, time.clone(), true)));
    fields.push(Field::new(COMMIT, DataType::Int64, false));
    let columns = fields.iter().map(|field| column(field.name())).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of the schema")
}
