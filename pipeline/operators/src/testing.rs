//! Text tables in, text tables out; and histories by chance that every stateful operator must survive.
//!
//! A schema is `name:type …` with the types int, float, text, bool, time, window, ints and uint. A row is a weight (`+`,
//! `-`, `+2`, …) and its cells; `NULL`, `0..10` (a window) and `[1,2]` (a list) are cells too. Steps are parted by `---`.
//! Rows of the second input begin with `right`. `watermark 10` is a step's watermark after it.

use crate::{
    GroupState, Leaving, Operator, SavedState, StateKind, Step, StepTime, exchange, key_columns, operator, state_kind,
};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{
    DataType, Field, Fields, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampNanosecondType, UInt64Type,
};
use chalk_event::{ChangeBatch, EventTime, Watermark, hash_key, shard_of};
use chalk_graph::{Node, NodeKind};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

const TIME: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

fn window_fields() -> Fields {
    Fields::from(vec![Field::new("start", TIME, true), Field::new("end", TIME, true)])
}

/// The type of a word.
pub(crate) fn data_type(word: &str) -> DataType {
    match word {
        "int" => DataType::Int64,
        "uint" => DataType::UInt64,
        "float" => DataType::Float64,
        "text" => DataType::Utf8,
        "bool" => DataType::Boolean,
        "time" => TIME,
        "window" => DataType::Struct(window_fields()),
        "ints" => DataType::new_list(DataType::Int64, true),
        other => panic!("no type {other}"),
    }
}

/// A schema from `name:type …`.
pub(crate) fn schema(text: &str) -> SchemaRef {
    let field = |word: &str| {
        let (name, data) = word.split_once(':').expect("name:type");
        Field::new(name, data_type(data), true)
    };
    Arc::new(Schema::new(text.split_whitespace().map(field).collect::<Vec<_>>()))
}

/// A node of this kind that gives this schema.
pub(crate) fn node(kind: NodeKind, output: &str) -> Node {
    Node { name: "test/node/0".into(), kind, inputs: Vec::new(), schema: schema(output), append_only: false }
}

fn column(data: &DataType, cells: &[&str]) -> ArrayRef {
    fn each<T>(cells: &[&str], parse: impl Fn(&str) -> T) -> Vec<Option<T>> {
        cells.iter().map(|&cell| (cell != "NULL").then(|| parse(cell))).collect()
    }
    let int = |cell: &str| cell.parse::<i64>().expect("an integer");
    match data {
        DataType::Int64 => Arc::new(Int64Array::from(each(cells, int))),
        DataType::UInt64 => Arc::new(UInt64Array::from(each(cells, |cell| cell.parse().expect("an integer")))),
        DataType::Float64 => Arc::new(Float64Array::from(each(cells, |cell| cell.parse().expect("a number")))),
        DataType::Boolean => Arc::new(BooleanArray::from(each(cells, |cell| cell == "true"))),
        DataType::Utf8 => Arc::new(StringArray::from(each(cells, str::to_owned))),
        DataType::Timestamp(..) => Arc::new(TimestampNanosecondArray::from(each(cells, int))),
        DataType::Struct(fields) => {
            let bounds = each(cells, |cell| {
                let (start, end) = cell.split_once("..").expect("start..end");
                (int(start), int(end))
            });
            let of = |pick: fn((i64, i64)) -> i64| -> ArrayRef {
                Arc::new(TimestampNanosecondArray::from_iter(bounds.iter().map(|bound| bound.map(pick))))
            };
            let nulls = bounds.iter().map(Option::is_some).collect::<Vec<_>>().into();
            Arc::new(StructArray::new(fields.clone(), vec![of(|b| b.0), of(|b| b.1)], Some(nulls)))
        }
        DataType::List(_) => Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(each(cells, |cell| {
            let inner = cell.trim_matches(['[', ']']);
            inner
                .split(',')
                .filter(|item| !item.is_empty())
                .map(|item| (item != "NULL").then(|| int(item)))
                .collect::<Vec<_>>()
        }))),
        other => panic!("no cells of {other}"),
    }
}

/// Rows of weights and cells.
pub(crate) fn batch(schema: &SchemaRef, rows: &[(String, i64)]) -> ChangeBatch {
    let cells: Vec<Vec<&str>> = rows.iter().map(|(row, _)| row.split_whitespace().collect()).collect();
    assert!(cells.iter().all(|row| row.len() == schema.fields().len()), "{rows:?} are not of {schema}");
    let columns = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| column(field.data_type(), &cells.iter().map(|row| row[index]).collect::<Vec<_>>()))
        .collect();
    let batch = RecordBatch::try_new(Arc::clone(schema), columns).expect("columns are of the schema");
    if rows.iter().all(|(_, weight)| *weight == 1) {
        ChangeBatch::inserts(batch)
    } else {
        ChangeBatch::weighted(batch, rows.iter().map(|(_, weight)| *weight).collect())
    }
}

fn cell(array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".into();
    }
    match array.data_type() {
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Timestamp(..) => array.as_primitive::<TimestampNanosecondType>().value(row).to_string(),
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Struct(_) => {
            let window = array.as_struct();
            format!("{}..{}", cell(window.column(0), row), cell(window.column(1), row))
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            format!("[{}]", (0..items.len()).map(|item| cell(&items, item)).collect::<Vec<_>>().join(","))
        }
        other => panic!("no cells of {other}"),
    }
}

/// Rows as text, with their weights.
pub(crate) fn rows(batch: &ChangeBatch) -> Vec<(String, i64)> {
    let text = |row| {
        let cells: Vec<String> = batch.rows().columns().iter().map(|column| cell(column, row)).collect();
        cells.join(" ")
    };
    (0..batch.len()).map(|row| (text(row), batch.weight(row))).collect()
}

fn shown(step: &Step) -> String {
    let mut text = String::new();
    for (row, weight) in rows(&step.changes) {
        let sign = match weight {
            1 => "+".into(),
            -1 => "-".into(),
            _ => format!("{weight:+}"),
        };
        writeln!(text, "{sign} {row}").expect("strings can be written to");
    }
    for late in &step.late {
        let (time, watermark, end) = (late.event_time.0, late.watermark.0, late.window_end.0);
        let side = if late.port == 1 { "right " } else { "" };
        writeln!(text, "late {side}row {} of {}: time {time}, watermark {watermark}, end {end}", late.row, late.query)
            .expect("strings can be written to");
    }
    text
}

fn weight(sign: &str) -> i64 {
    match sign {
        "+" => 1,
        "-" => -1,
        number => number.parse().expect("a weight"),
    }
}

/// Steps a fresh operator through a table of input and compares the table of output.
#[track_caller]
pub(crate) fn check(node: &Node, inputs: &[&str], input: &str, expected: &str) {
    check_run(node, inputs, input, expected, false);
    if state_kind(node) != StateKind::Stateless {
        check_run(node, inputs, input, expected, true);
    }
}

/// With `restarts`, every step but the first is done by a new operator that was given the state of the one before; without, all groups
/// that can leave memory do after each step.
fn check_run(node: &Node, inputs: &[&str], input: &str, expected: &str, restarts: bool) {
    let schemas: Vec<SchemaRef> = inputs.iter().map(|text| schema(text)).collect();
    let mut operators = vec![operator(node, &schemas).expect("the node can be run")];
    let mut saved = Saved::default();
    let mut time = StepTime::default();
    let mut outputs = Vec::new();
    for table in input.split("---") {
        let mut ports = vec![Vec::new(); schemas.len()];
        time.before = time.after;
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(mark) = line.strip_prefix("watermark ") {
                time.after = Watermark::at(EventTime(mark.parse().expect("a time")));
                continue;
            }
            let (port, line) = line.strip_prefix("right ").map_or((0, line), |line| (1, line));
            let (sign, row) = line.split_once(' ').unwrap_or((line, ""));
            ports[port].push((row.to_owned(), weight(sign)));
        }
        let batches: Vec<ChangeBatch> = schemas.iter().zip(&ports).map(|(schema, rows)| batch(schema, rows)).collect();
        if restarts && !outputs.is_empty() {
            saved.save(&mut operators);
            operators = saved.restore(node, &schemas, 1);
        }
        saved.bring_back(&mut *operators[0], &batches);
        let step = operators[0].step(&batches, time).expect("the step is sound");
        if !restarts {
            saved.take_out(&mut *operators[0], usize::MAX);
        }
        saved.inputs.push(batches);
        assert_eq!(step.changes.rows().schema(), node.schema);
        outputs.push(shown(&step));
    }
    let trimmed = |text: &str| {
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(trimmed(&outputs.join("---\n")), trimmed(expected));
}

/// A linear congruential generator (Knuth, MMIX): the same numbers on every run.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// One of some cells.
    pub(crate) fn pick<'a>(&mut self, cells: &[&'a str]) -> &'a str {
        cells[usize::try_from(self.below(cells.len() as u64)).expect("below a length")]
    }
}

/// A row's change at an input port.
type Change = (usize, String, i64);

/// Rows by their text, with net weights.
pub(crate) type Net = BTreeMap<String, i64>;

/// Inserts of rows by chance, and deletes of some of those that are there.
fn history(chance: &mut Chance, ports: &[fn(&mut Chance) -> String], length: u64) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    let mut live: Vec<(usize, String)> = Vec::new();
    for _ in 0..length {
        if !live.is_empty() && chance.below(5) < 2 {
            let victim = usize::try_from(chance.below(live.len() as u64)).expect("below a length");
            let (port, row) = live.swap_remove(victim);
            changes.push((port, row, -1));
        } else {
            let port = usize::try_from(chance.below(ports.len() as u64)).expect("below a length");
            let row = ports[port](chance);
            live.push((port, row.clone()));
            changes.push((port, row, 1));
        }
    }
    changes
}

/// What a checkpoint would hold: inputs by step, and groups; and what has left memory.
#[derive(Default)]
struct Saved {
    inputs: Vec<Vec<ChangeBatch>>,
    groups: BTreeMap<Box<[u8]>, Option<Vec<u8>>>,
    elsewhere: BTreeMap<Box<[u8]>, Vec<u8>>,
    /// What has left memory since the last save and was not saved.
    left_unsaved: Vec<GroupState>,
}

impl Saved {
    /// Lets groups of about so many bytes leave.
    fn take_out(&mut self, operator: &mut dyn Operator, bytes: usize) {
        let Some(operator) = operator.spill() else { return };
        let leaving = operator.coldest(bytes);
        let Leaving { saved, unsaved } = leaving.clone();
        for GroupState { key, state } in saved.iter().chain(&unsaved).cloned() {
            match state {
                Some(state) => self.elsewhere.insert(key, state),
                None => self.elsewhere.remove(&key),
            };
        }
        self.left_unsaved.extend(unsaved);
        operator.forget(&leaving);
        if bytes == usize::MAX {
            assert_eq!(operator.memory().bytes, 0);
        }
    }

    /// Gives back what a step needs.
    fn bring_back(&self, operator: &mut dyn Operator, inputs: &[ChangeBatch]) {
        let Some(operator) = operator.spill() else { return };
        let missing = operator.missing(inputs).expect("keys encode");
        let found =
            |key: Box<[u8]>| self.elsewhere.get(&key).map(|state| GroupState { state: Some(state.clone()), key });
        let groups: Vec<GroupState> = missing.into_iter().filter_map(found).collect();
        operator.bring_back(&groups).expect("groups that had left");
    }

    /// Takes what changed since it was last called.
    fn save(&mut self, operators: &mut [Box<dyn Operator>]) {
        self.begin(operators);
        self.take(operators, usize::MAX);
    }

    /// Begins a save; takes what has left memory with changes until now.
    fn begin(&mut self, operators: &mut [Box<dyn Operator>]) {
        for group in std::mem::take(&mut self.left_unsaved) {
            self.groups.insert(group.key, group.state);
        }
        operators.iter_mut().for_each(|operator| operator.begin_save());
    }

    /// Takes at least so many groups from each operator of a save that was begun, unless there are no more.
    fn take(&mut self, operators: &mut [Box<dyn Operator>], at_least: usize) {
        for group in operators.iter_mut().flat_map(|operator| operator.save(at_least)) {
            self.groups.insert(group.key, group.state);
        }
    }

    /// As many new operators, with the state of the earlier ones.
    fn restore(&mut self, node: &Node, schemas: &[SchemaRef], shards: usize) -> Vec<Box<dyn Operator>> {
        self.elsewhere.clear();
        let keys = key_columns(node).expect("a stateful node");
        let mut operators = fresh(node, schemas, shards);
        let shards = operators.len();
        for (shard, operator) in operators.iter_mut().enumerate() {
            match state_kind(node) {
                StateKind::Stateless => panic!("{} has state", node.name),
                StateKind::Inputs => {
                    for step in &self.inputs {
                        let split = |(batch, keys): (&ChangeBatch, &Vec<usize>)| {
                            exchange::split(batch, keys, shards).expect("keys encode").swap_remove(shard)
                        };
                        let inputs: Vec<ChangeBatch> = step.iter().zip(&keys).map(split).collect();
                        operator.restore(SavedState::Inputs(&inputs)).expect("changes that came in");
                    }
                }
                StateKind::Groups => {
                    let mine = |key: &[u8]| shards == 1 || shard_of(hash_key(key), shards) == shard;
                    let groups: Vec<GroupState> = self
                        .groups
                        .iter()
                        .filter(|(key, _)| mine(key))
                        .map(|(key, state)| GroupState { key: key.clone(), state: state.clone() })
                        .collect();
                    operator.restore(SavedState::Groups(&groups)).expect("groups that were saved");
                }
            }
        }
        operators
    }
}

fn fresh(node: &Node, schemas: &[SchemaRef], shards: usize) -> Vec<Box<dyn Operator>> {
    let keys = key_columns(node).expect("a stateful node");
    let shards = if keys.iter().all(Vec::is_empty) { 1 } else { shards };
    (0..shards).map(|_| operator(node, schemas).expect("the node can be run")).collect()
}

/// The consolidated output of `shards` fresh operators over a history that is cut into steps of up to `most` changes. Now
/// and then what they have changed is saved, and any number of new ones goes on from there; groups leave memory and come back. Others
/// take the same steps and give the same saves, in parts between steps.
fn run(node: &Node, schemas: &[SchemaRef], history: &[Change], chance: &mut Chance, most: u64, shards: usize) -> Net {
    let keys = key_columns(node).expect("a stateful node");
    let mut operators = fresh(node, schemas, shards);
    let mut saved = Saved::default();
    let (mut slow, mut slow_saved) = (fresh(node, schemas, shards), Saved::default());
    let mut net = Net::new();
    let mut rest = history;
    loop {
        if chance.below(4) == 0 {
            slow_saved.take(&mut slow, usize::MAX);
            // One that came and went between two saves may be told of or not.
            for groups in [&mut slow_saved.groups, &mut saved.groups] {
                groups.retain(|_, state| state.is_some());
            }
            assert_eq!(slow_saved.groups, saved.groups, "{history:?}");
            saved.save(&mut operators);
            slow_saved.begin(&mut slow);
            if chance.below(2) == 0 {
                slow_saved.take(&mut slow, usize::MAX);
                let shards = usize::try_from(1 + chance.below(4)).expect("a small number");
                operators = saved.restore(node, schemas, shards);
                slow = saved.restore(node, schemas, shards);
                slow_saved.elsewhere.clear();
            }
        }
        let shards = operators.len();
        let length = usize::try_from(1 + chance.below(most)).expect("a length").min(rest.len());
        let (now, later) = rest.split_at(length);
        rest = later;
        let split: Vec<Vec<ChangeBatch>> = schemas
            .iter()
            .zip(&keys)
            .enumerate()
            .map(|(port, (schema, keys))| {
                let rows: Vec<(String, i64)> = now.iter().filter(|c| c.0 == port).map(|c| (c.1.clone(), c.2)).collect();
                exchange::split(&batch(schema, &rows), keys, shards).expect("keys encode")
            })
            .collect();
        saved.inputs.push(
            split
                .iter()
                .zip(schemas)
                .map(|(shards, schema)| ChangeBatch::concat(schema, shards).expect("batches of one schema"))
                .collect(),
        );
        for (shard, operator) in operators.iter_mut().enumerate() {
            let inputs: Vec<ChangeBatch> = split.iter().map(|port| port[shard].clone()).collect();
            saved.bring_back(&mut **operator, &inputs);
            let step = operator.step(&inputs, StepTime::default()).expect("the step is sound");
            if chance.below(2) == 0 {
                saved.take_out(&mut **operator, [1, 200, 400, usize::MAX][chance.below(4) as usize]);
            }
            for (row, weight) in rows(&step.changes) {
                *net.entry(row).or_default() += weight;
            }
            slow_saved.bring_back(&mut *slow[shard], &inputs);
            slow[shard].step(&inputs, StepTime::default()).expect("the step is sound");
            if chance.below(3) == 0 {
                slow_saved.take_out(&mut *slow[shard], [200, usize::MAX][chance.below(2) as usize]);
            }
        }
        slow_saved.take(&mut slow, usize::try_from(chance.below(3)).expect("a small number"));
        if rest.is_empty() {
            net.retain(|_, weight| *weight != 0);
            return net;
        }
    }
}

/// Whatever the history, its steps and the shards: the sum of the outputs is what `from_scratch` says of the rows that are
/// left, one list of rows (as cells) per input port.
pub(crate) fn property(
    node: &Node,
    inputs: &[&str],
    ports: &[fn(&mut Chance) -> String],
    from_scratch: impl Fn(&[Vec<Vec<&str>>]) -> Vec<String>,
) {
    let schemas: Vec<SchemaRef> = inputs.iter().map(|text| schema(text)).collect();
    for seed in 0..24 {
        let mut chance = Chance(seed);
        let length = 1 + chance.below(120);
        let history = history(&mut chance, ports, length);
        let mut net: Vec<Net> = vec![Net::new(); ports.len()];
        for (port, row, weight) in &history {
            *net[*port].entry(row.clone()).or_default() += weight;
        }
        let left: Vec<Vec<Vec<&str>>> = net
            .iter()
            .map(|net| {
                let copies =
                    |(row, &weight): (_, &i64)| std::iter::repeat_n(row, usize::try_from(weight).expect("a count"));
                net.iter().flat_map(copies).map(|row: &String| row.split_whitespace().collect()).collect()
            })
            .collect();
        let mut expected = Net::new();
        for row in from_scratch(&left) {
            *expected.entry(row).or_default() += 1;
        }
        for most in [1, 7, 1000] {
            for shards in [1, 2, 5] {
                let got = run(node, &schemas, &history, &mut chance, most, shards);
                assert_eq!(got, expected, "seed {seed}, steps of up to {most}, {shards} shards, {history:?}");
            }
        }
    }
}
