//! Tables and what is appended to them: rows out of order, rows twice, NULLs, rows that go again; in commits of any size, with stops between.

use super::chance::Chance;
use crate::engine::{NOON, Run};
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chalk_event::{NANOS_PER_SECOND, format_rfc3339};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Columns that only the batch answer has: the watermark of its table before a row's commit; that of windows of the table which are joined with
/// those of another; the least watermark of the first two tables then; the number of its commit; how often a long time had passed before it.
pub(super) const BEFORE: &str = "_before";
pub(super) const BEFORE_JOIN: &str = "_before_join";
pub(super) const BOTH: &str = "_both";
pub(super) const COMMIT: &str = "_commit";
pub(super) const ERA: &str = "_era";

/// How long groups are kept where `SET updating_ttl` is said, in seconds; and how long a long time is.
const TTL_S: i64 = 600;
const LONG_S: i64 = 3 * TTL_S;

/// What only the batch answer knows of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) before: Option<i64>,
    pub(super) before_join: Option<i64>,
    pub(super) both: Option<i64>,
    pub(super) commit: i64,
    pub(super) era: i64,
}

/// Where a table's rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A topic of so many partitions.
    Topic(usize),
    /// A file, which ends.
    File,
    /// A file of changes.
    Changes,
    /// A file, for a table that is looked up.
    LookedUp,
}

/// A table; its columns are `id`, `at`, `k`, `n`, `x` and `b`.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) origin: Origin,
    /// How far the watermark is behind the latest event, in seconds.
    pub(super) delay: i64,
}

impl Table {
    pub(super) fn sql(&self) -> String {
        let (name, delay) = (&self.name, self.delay);
        let from = match self.origin {
            Origin::Topic(_) => format!("connector = 'log', topic = '{name}'"),
            _ => format!("connector = 'single_file', path = '{name}.json'"),
        };
        let (temporary, format) = match self.origin {
            Origin::Topic(_) | Origin::File => ("", "json"),
            Origin::Changes => ("", "debezium_json"),
            Origin::LookedUp => (" TEMPORARY", "json"),
        };
        let columns = "id BIGINT NOT NULL, at TIMESTAMP, k TEXT, n BIGINT, x DOUBLE, b BOOLEAN";
        let watermark = match self.origin {
            Origin::LookedUp => String::new(),
            _ => format!(",\n  WATERMARK FOR at AS (at - INTERVAL '{delay} seconds')"),
        };
        format!("CREATE{temporary} TABLE {name} ({columns}{watermark}) WITH ({from}, format = '{format}')")
    }

    /// The schema of its topic, if that is its own.
    pub(super) fn avsc(&self) -> Option<String> {
        let Origin::Topic(partitions) = self.origin else { return None };
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

    /// The row as a JSON object.
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
        out.push('}');
    }
}

/// What happens to a pipeline.
#[derive(Clone, Debug)]
pub(super) enum Happens {
    /// Rows are appended to a table, in one commit; of a table of changes others go, which are there. A long time has passed, or none.
    Append { table: usize, rows: Vec<Row>, gone: Vec<Row>, is_later: bool },
    /// Rows of the next commits are read in one epoch, as far as they come at once.
    Restart(Run),
}

/// Tables, and what happens.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) tables: Vec<Table>,
    pub(super) run: Run,
    /// Whether groups are forgotten after some time.
    pub(super) forgets: bool,
    pub(super) happens: Vec<Happens>,
}

impl Story {
    pub(super) fn by_chance(chance: &mut Chance) -> Self {
        let forgets = chance.once_in(8);
        let table = |number: usize, chance: &mut Chance| Table {
            name: format!("t{number}"),
            origin: match number {
                2 => Origin::Changes,
                3 => Origin::LookedUp,
                _ if chance.once_in(2) => Origin::Topic(1 + chance.below(3)),
                _ => Origin::File,
            },
            delay: *chance.pick(&[0, 10, 60]),
        };
        let tables: Vec<Table> = (0..4).map(|number| table(number, chance)).collect();
        let mut next = vec![0_usize; tables.len()];
        let run = |chance: &mut Chance| Run {
            shards: 1 + chance.below(4),
            epoch_bytes_max: *chance.pick(&[1, 2_000, 1 << 20]),
        };
        let first = run(chance);
        let mut happens = Vec::new();
        let (mut kept, mut there): (Vec<Row>, Vec<Row>) = (Vec::new(), Vec::new());
        for _ in 0..3 + chance.below(12) {
            if chance.once_in(6) {
                happens.push(Happens::Restart(run(chance)));
                continue;
            }
            // Time passes with commits to tables that are read.
            let table = if forgets { 0 } else { *chance.pick(&[0, 0, 1, 1, 2, 3]) };
            let (mut rows, mut gone) = (Vec::new(), Vec::new());
            for _ in 0..1 + chance.below(*chance.clone().pick(&[2, 8, 30])) {
                if table == 2 && !there.is_empty() && chance.once_in(3) {
                    let row: Row = there.swap_remove(chance.below(there.len()));
                    if chance.once_in(2) {
                        rows.push(Row { id: row.id, ..Row::by_chance(chance, 0, next[table]) });
                    }
                    gone.push(row);
                    continue;
                }
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
            if table == 2 {
                there.extend(rows.iter().cloned());
            }
            let is_later = chance.once_in(if forgets { 3 } else { 8 });
            happens.push(Happens::Append { table, rows, gone, is_later });
        }
        Self { tables, run: first, forgets, happens }
    }

    pub(super) fn topics(&self) -> Vec<(String, String)> {
        self.tables.iter().filter_map(|table| Some((table.name.clone(), table.avsc()?))).collect()
    }

    pub(super) fn statements(&self) -> String {
        let ttl = if self.forgets { format!("SET updating_ttl = '{TTL_S} seconds';\n") } else { String::new() };
        ttl + &self.tables.iter().map(|table| format!("{};\n", table.sql())).collect::<String>()
    }

    /// How long passes before something happens.
    pub(super) fn passes(happens: &Happens) -> Option<Duration> {
        let is_later = matches!(happens, Happens::Append { is_later: true, .. });
        is_later.then(|| Duration::from_secs(LONG_S.unsigned_abs()))
    }

    /// All rows of a table that are there in the end, with what is known of each; `None` when rows go that were never there.
    pub(super) fn rows(&self, table: usize) -> Option<Vec<(&Row, Known)>> {
        let mut marks = Marks::default();
        let (mut all, mut era): (Vec<(&Row, Known)>, i64) = (Vec::new(), 0);
        for (happens, commit) in self.happens.iter().zip(0..) {
            let Happens::Append { table: other, rows, gone, is_later } = happens else { continue };
            era += i64::from(*is_later);
            if *other == table {
                for row in gone {
                    all.swap_remove(all.iter().position(|(there, _)| *there == row)?);
                }
                let before = marks.own.get(table).copied().flatten();
                let before_join = marks.before_join.get(table).copied().flatten();
                let known = Known { before, before_join, both: marks.both, commit, era };
                all.extend(rows.iter().map(|row| (row, known)));
            }
            marks.read(*other, self.marks(*other, rows), era);
        }
        Some(all)
    }

    /// Whether what joins the first two tables does not wait for one of them in the end.
    pub(super) fn goes_past_idle(&self) -> bool {
        self.last_of_both() > (0..2).map(|table| self.last_watermark(table)).min().flatten()
    }

    /// The least watermark of the first two tables in the end.
    pub(super) fn last_of_both(&self) -> Option<i64> {
        let (mut marks, mut era) = (Marks::default(), 0);
        for happens in &self.happens {
            let Happens::Append { table, rows, is_later, .. } = happens else { continue };
            era += i64::from(*is_later);
            marks.read(*table, self.marks(*table, rows), era);
        }
        let ends = [0, 1].map(|table| !matches!(self.tables[table].origin, Origin::Topic(_)));
        marks.end(ends);
        marks.both
    }

    /// Whether all rows that go are there.
    pub(super) fn is_sound(&self) -> bool {
        (0..self.tables.len()).all(|table| self.rows(table).is_some())
    }

    /// How often a long time has passed in the end.
    pub(super) fn last_era(&self) -> usize {
        self.happens.iter().filter(|happens| Self::passes(happens).is_some()).count()
    }

    /// What is appended, as lines of the table's format.
    pub(super) fn lines(&self, table: usize, rows: &[Row], gone: &[Row]) -> String {
        let mut text = String::new();
        if self.tables[table].origin != Origin::Changes {
            for row in rows {
                row.json(&mut text);
                text.push('\n');
            }
            return text;
        }
        for number in 0..rows.len().max(gone.len()) {
            let (before, after) = (gone.get(number), rows.get(number));
            let op = match (before, after) {
                (Some(_), Some(_)) => "u",
                (Some(_), None) => "d",
                (None, _) => "c",
            };
            write!(text, "{{\"op\":\"{op}\"").expect("strings can be written to");
            for (name, row) in [("before", before), ("after", after)] {
                write!(text, ",\"{name}\":").expect("strings can be written to");
                match row {
                    Some(row) => row.json(&mut text),
                    None => text.push_str("null"),
                }
            }
            text.push_str("}\n");
        }
        text
    }

    /// The watermark that rows argue for.
    fn marks(&self, table: usize, rows: &[Row]) -> Option<i64> {
        let delay = self.tables[table].delay * NANOS_PER_SECOND;
        rows.iter().filter_map(|row| row.at).max().map(|at| at - delay)
    }

    /// The watermark of a table in the end.
    pub(super) fn last_watermark(&self, table: usize) -> Option<i64> {
        if !matches!(self.tables[table].origin, Origin::Topic(_)) {
            return Some(i64::MAX);
        }
        let all = self.happens.iter().filter_map(|happens| match happens {
            Happens::Append { table: other, rows, .. } if *other == table => self.marks(table, rows),
            _ => None,
        });
        all.max()
    }
}

/// Watermarks of the first two tables, as they go on with commits to these.
#[derive(Default)]
struct Marks {
    own: [Option<i64>; 2],
    /// Of windows of each, which are joined with those of the other.
    before_join: [Option<i64>; 2],
    /// Of what is joined: the least of those that are not idle.
    both: Option<i64>,
    /// How often a long time had passed before the first commit, before the last one, and before the last one of each.
    eras: Option<(i64, i64)>,
    rows_in: [Option<i64>; 2],
}

impl Marks {
    fn read(&mut self, table: usize, mark: Option<i64>, era: i64) {
        let Some(own) = self.own.get_mut(table) else { return };
        *own = (*own).max(mark);
        self.rows_in[table] = Some(era);
        self.eras = Some((self.eras.map_or(era, |(first, _)| first), era));
        self.join([false; 2]);
    }

    /// Some tables have ended.
    fn end(&mut self, ends: [bool; 2]) {
        for (own, _) in self.own.iter_mut().zip(ends).filter(|(_, ends)| *ends) {
            *own = Some(i64::MAX);
        }
        self.join(ends);
    }

    fn join(&mut self, ended: [bool; 2]) {
        let idle = [0, 1].map(|table| {
            let since = |(first, last): (i64, i64)| last > self.rows_in[table].unwrap_or(first);
            !ended[table] && self.eras.is_some_and(since)
        });
        let least = (0..2).filter(|&table| !idle[table]).map(|table| self.own[table]).min().flatten();
        self.both = self.both.max(least);
        for ((before, own), is_idle) in self.before_join.iter_mut().zip(self.own).zip(idle) {
            *before = (*before).max(if is_idle { self.both } else { own });
        }
    }
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
            BEFORE_JOIN => {
                Arc::new(rows.iter().map(|(_, known)| known.before_join).collect::<TimestampNanosecondArray>())
            }
            BOTH => Arc::new(rows.iter().map(|(_, known)| known.both).collect::<TimestampNanosecondArray>()),
            ERA => Arc::new(rows.iter().map(|(_, known)| known.era).collect::<Int64Array>()),
            _ => Arc::new(rows.iter().map(|(_, known)| known.commit).collect::<Int64Array>()),
        }
    };
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    fields.extend([BEFORE, BEFORE_JOIN, BOTH].map(|name| Field::new(name, time.clone(), true)));
    fields.extend([COMMIT, ERA].map(|name| Field::new(name, DataType::Int64, false)));
    let columns = fields.iter().map(|field| column(field.name())).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of the schema")
}
