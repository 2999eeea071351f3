//! The stage thread: rows in, calls out, results into the log.

use super::Functions;
use super::bell::Bell;
use super::earlier::Earlier;
use super::generation::generations;
use super::layout::{Layout, Results, argument_field};
use super::place::{Place, RowId};
use super::queue::{Begins, Covered, Done, Outcome, Queue};
use super::recorder::Recorder;
use crate::dataflow::Dataflow;
use crate::engine::Stop;
use crate::error::RuntimeError;
use crate::pipeline::sources;
use crate::refused::{self, Refused};
use crate::source::SourceTable;
use crate::stats::{StageStatus, Stats};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{Field, Int64Type, Schema};
use arrow::row::{RowConverter, SortField};
use chalk_codec::write_json_row;
use chalk_event::{ChangeBatch, CommitSeq, IngestTime, Watermark, hash_key};
use chalk_graph::{Encoding, Graph, Node, NodeKind, Sink, SinkTarget, Stage};
use chalk_log::{Append, Commit, EventLog};
use chalk_udf_host::{Answer, AsyncFunction, Calls, CurrentFunction, Permits};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// So many bytes of frames are read at once.
const READ_BYTES: usize = 256 << 10;
/// Rows without a record of their result: beyond so many, or so many bytes of them, no more are read.
const ROWS_MAX: usize = 100_000;
const BYTES_MAX: usize = 64 << 20;
/// Rows that wait to be called are at least so many before no more are read.
const WAITING_MIN: usize = 256;

/// Without a permit for a call, one is asked for so often.
const PERMITS_EVERY: Duration = Duration::from_millis(5);

/// Up to where each stage has recorded everything.
pub(crate) type Progress = watch::Receiver<Vec<CommitSeq>>;

/// The stages of a graph, about to run.
pub(crate) struct Stages {
    pub(crate) running: Vec<Running>,
    /// Rings for all of them when the log has more, or when they are to stop.
    pub(crate) bells: Vec<Arc<Bell>>,
    pub(crate) progress: Progress,
}

/// Makes the stages of a graph ready.
pub(crate) fn start_stages(
    graph: &Graph,
    log: &Arc<dyn EventLog>,
    functions: &Functions,
    stop: &watch::Receiver<Stop>,
    stats: &Arc<Stats>,
) -> Result<Stages, RuntimeError> {
    let (told, progress) = watch::channel(vec![CommitSeq(0); graph.stages.len()]);
    let told = Arc::new(told);
    let (mut running, mut bells) = (Vec::new(), Vec::new());
    for (number, stage) in graph.stages.iter().enumerate() {
        let bell = Arc::new(Bell::default());
        bells.push(Arc::clone(&bell));
        let telling = Telling { number, told: Arc::clone(&told), stop: stop.clone(), stats: Arc::clone(stats) };
        running.push(Running::new(stage, log, functions, bell, telling)?);
    }
    Ok(Stages { running, bells, progress })
}

/// Rings when a stage may have something to do, until they are to stop.
pub(crate) fn ring(bells: &[Arc<Bell>], log: &Arc<dyn EventLog>, mut stop: watch::Receiver<Stop>) {
    let mut durable = log.durable();
    let mut goes_on = true;
    while goes_on {
        bells.iter().for_each(|bell| bell.ring());
        goes_on = *stop.borrow_and_update() != Stop::Now
            && futures::executor::block_on(async {
                tokio::select! {
                    changed = durable.changed() => changed.is_ok(),
                    changed = stop.changed() => changed.is_ok(),
                }
            });
    }
    bells.iter().for_each(|bell| bell.ring());
}

struct Telling {
    number: usize,
    told: Arc<watch::Sender<Vec<CommitSeq>>>,
    stop: watch::Receiver<Stop>,
    stats: Arc<Stats>,
}

/// A build that is called.
struct Called {
    function: Arc<AsyncFunction>,
    /// Who it is, as it stands on results.
    name: Arc<str>,
    calls: Calls,
}

impl Called {
    fn new(function: Arc<AsyncFunction>, permits: &Permits, bell: &Arc<Bell>) -> Self {
        let bell = Arc::clone(bell);
        let calls = function.calls(permits, Arc::new(move || bell.ring()));
        Self { name: function.identity().to_string().into(), function, calls }
    }
}

/// A stage at work.
pub(crate) struct Running {
    // configuration
    stage: Stage,
    /// Which build is to be called.
    current: CurrentFunction,
    permits: Permits,
    log: Arc<dyn EventLog>,
    layout: Layout,
    bell: Arc<Bell>,
    telling: Telling,
    converter: RowConverter,
    // state
    dataflow: Dataflow,
    source: SourceTable,
    position: CommitSeq,
    /// When the last row was accepted.
    time: Option<IngestTime>,
    queue: Queue,
    called: Called,
    /// Earlier builds, whose answers are waited for.
    retiring: Vec<Called>,
    recorder: Recorder,
    /// The next offset of results.
    next: u64,
    /// Rows of commits after the last marker that were recorded by an earlier run.
    recorded: HashMap<RowId, u64>,
    earlier: Option<Earlier>,
    /// Rows that the input refused, with the commit whose marker they go with.
    refused: VecDeque<(CommitSeq, Vec<Refused>)>,
    // metrics
    /// Results that were recorded, and failures among them.
    recorded_total: u64,
    failed_total: u64,
}

impl Running {
    fn new(
        stage: &Stage,
        log: &Arc<dyn EventLog>,
        functions: &Functions,
        bell: Arc<Bell>,
        telling: Telling,
    ) -> Result<Self, RuntimeError> {
        let failed = |message: String| RuntimeError::Stage { stage: stage.name.clone(), message };
        let function = functions.by_name.get(&stage.function);
        let function = function.ok_or_else(|| failed(format!("there is no function '{}' to call", stage.function)))?;
        let generations = generations(&**log, &stage.name)?;
        let topics = log.topics();
        let topic = generations.last().and_then(|last| topics.by_name(&last.name));
        let topic = topic.ok_or_else(|| RuntimeError::NoTopic(Stage::topic(&stage.name)))?.clone();
        let place = Place::find(&**log, &topic)?;
        let source = sources(&stage.input, &**log)?.pop();
        let mut source = source.ok_or_else(|| failed("it reads no table".to_owned()))?;
        source.restore_watermark(place.watermark);
        let first = stage.kept.fields().len();
        let schema = &stage.input.node(stage.last()).schema;
        let arguments = schema.fields()[first..first + stage.arguments].iter();
        let converter = RowConverter::new(arguments.map(|field| SortField::new(field.data_type().clone())).collect())?;
        let running = Self {
            called: Called::new(function.get(), &functions.permits, &bell),
            retiring: Vec::new(),
            current: function.clone(),
            permits: functions.permits.clone(),
            recorder: Recorder::start(log, &bell)?,
            earlier: Earlier::open(log, stage, &generations)?,
            layout: Layout::new(topic, stage),
            dataflow: Dataflow::new(with_exit(stage), 1)?,
            log: Arc::clone(log),
            source,
            position: place.upto,
            time: None,
            queue: Queue::default(),
            next: place.next,
            recorded: place.recorded,
            refused: VecDeque::new(),
            recorded_total: 0,
            failed_total: 0,
            stage: stage.clone(),
            bell,
            telling,
            converter,
        };
        Ok(running)
    }

    /// Runs until it is told to stop. What is answered by then is recorded; what is not is called again by the next run.
    pub(crate) fn run(mut self) -> Result<(), RuntimeError> {
        loop {
            let stops = *self.telling.stop.borrow_and_update() == Stop::Now;
            self.follow_switch();
            self.take_answers()?;
            let mut is_busy = false;
            if !stops {
                // What was answered has made room: it is used before anything else is done.
                self.call()?;
                is_busy |= self.read()?;
                self.call()?;
            }
            let is_idle = self.recorder.is_idle()?;
            if is_idle {
                is_busy |= self.record()?;
                self.tell();
                if stops {
                    // Dropping the recorder waits for what it was given.
                    return Ok(());
                }
            }
            if !is_busy {
                self.telling.stats.stage(&self.stage.name, self.status());
                self.bell.wait(if stops { None } else { self.wake_at() });
            }
        }
    }

    fn status(&self) -> StageStatus {
        let retiring = self.retiring.iter().map(|called| called.calls.in_flight()).sum::<usize>();
        StageStatus {
            function: self.called.name.to_string(),
            in_flight: self.called.calls.in_flight() + retiring,
            limit: self.called.calls.limit(),
            waiting: self.queue.waiting(),
            read: self.position,
            recorded: self.recorded_total,
            failed: self.failed_total,
        }
    }

    /// Calls another build for rows that are not called yet, if another counts since.
    fn follow_switch(&mut self) {
        let current = self.current.get();
        if !Arc::ptr_eq(&current, &self.called.function) {
            let called = Called::new(current, &self.permits, &self.bell);
            self.retiring.push(std::mem::replace(&mut self.called, called));
        }
    }

    /// When there may be something to do without a ring of the bell.
    fn wake_at(&self) -> Option<Instant> {
        // Other functions may have all permits: nobody tells when they give some back.
        let calls = &self.called.calls;
        let waits = self.queue.waiting() > 0 && calls.in_flight() < calls.limit();
        let again = waits.then(|| Instant::now() + PERMITS_EVERY);
        let retiring = self.retiring.iter().filter_map(|called| called.calls.wake_at());
        calls.wake_at().into_iter().chain(retiring).chain(again).min()
    }

    /// Reads on, if there is room; says whether it did.
    fn read(&mut self) -> Result<bool, RuntimeError> {
        let is_full = self.queue.len() >= ROWS_MAX
            || self.queue.bytes() >= BYTES_MAX
            || self.queue.waiting() >= WAITING_MIN.max(2 * self.called.calls.limit());
        if is_full || self.position >= *self.log.durable().borrow() {
            return Ok(false);
        }
        let (commits, upto) = self.log.read(self.position, &[self.source.topic], READ_BYTES)?;
        let is_more = upto > self.position;
        self.position = upto;
        if !commits.is_empty() {
            self.time = commits.last().map(|commit| commit.time);
            self.push(&commits)?;
        }
        Ok(is_more)
    }

    fn push(&mut self, commits: &[Commit]) -> Result<(), RuntimeError> {
        let table = self.source.read(commits)?;
        let marks: Vec<Watermark> = (0..commits.len()).map(|commit| table.time_after(commit).watermark).collect();
        let rows = BTreeMap::from([(self.source.node, ChangeBatch::inserts(table.rows))]);
        let output = self.dataflow.step(&rows, &BTreeMap::new(), None)?;
        let batches: Vec<ChangeBatch> = output.sinks.into_iter().map(|(_, changes)| changes).collect();
        let schema = self.stage.input.node(self.stage.last()).schema.clone();
        let rows = ChangeBatch::concat(&schema, &batches)?.rows().clone();
        let places = self.places(&rows);
        let commit_of = |row: usize| CommitSeq(places[2].value(row).cast_unsigned());
        let (mut ends, mut end) = (Vec::with_capacity(commits.len()), 0);
        for (commit, watermark) in commits.iter().zip(marks) {
            while end < rows.num_rows() && commit_of(end) <= commit.seq {
                end += 1;
            }
            ends.push((Covered { upto: commit.seq, watermark }, end));
        }
        let last = commits.last().map_or(self.position, |commit| commit.seq);
        if !output.refused.is_empty() {
            // They go with one marker, which is of all of these commits.
            ends.drain(..ends.len().saturating_sub(1));
            self.refused.push_back((last, output.refused));
        }
        let arguments = self.arguments(&rows)?;
        if let Some(earlier) = &mut self.earlier {
            earlier.read(last)?;
        }
        let (recorded, earlier) = (&mut self.recorded, &mut self.earlier);
        self.queue.push(rows.clone(), &ends, |row| {
            let id = (places[0].value(row), places[1].value(row));
            if let Some(offset) = recorded.remove(&id) {
                return Begins::Recorded(offset);
            }
            let known = earlier.as_mut().and_then(|earlier| earlier.take(id, arguments[row]));
            known.map_or(Begins::Waiting, Begins::Done)
        });
        if let Some(earlier) = &mut self.earlier {
            earlier.forget(last);
            if earlier.is_over() {
                self.earlier = None;
            }
        }
        Ok(())
    }

    /// Partition, offset and commit of rows.
    fn places<'r>(&self, rows: &'r RecordBatch) -> Vec<&'r Int64Array> {
        let first = self.stage.kept.fields().len() + self.stage.arguments;
        rows.columns()[first..].iter().map(|column| column.as_primitive::<Int64Type>()).collect()
    }

    fn arguments(&self, rows: &RecordBatch) -> Result<Vec<i64>, RuntimeError> {
        let first = self.stage.kept.fields().len();
        let encoded = self.converter.convert_columns(&rows.columns()[first..first + self.stage.arguments])?;
        Ok(encoded.iter().map(|row| hash_key(row.as_ref()).cast_signed()).collect())
    }

    fn call(&mut self) -> Result<(), RuntimeError> {
        let room = self.called.calls.reserve(self.queue.waiting());
        if room == 0 {
            return Ok(());
        }
        let tickets = self.queue.next(room);
        let first = self.stage.kept.fields().len();
        let columns = self.queue.columns(&tickets, first..first + self.stage.arguments)?;
        Ok(self.called.calls.send(&tickets, columns)?)
    }

    fn take_answers(&mut self) -> Result<(), RuntimeError> {
        let Self { called, retiring, queue, stage, .. } = self;
        for Called { name, calls, .. } in retiring.iter_mut().chain([called]) {
            let done = |outcome| Done { outcome, function: Arc::clone(name), is_new: true };
            let answers = calls.answers();
            for answer in answers.map_err(|message| RuntimeError::Stage { stage: stage.name.clone(), message })? {
                match answer {
                    Answer::Given(tickets, values) => {
                        for (row, ticket) in tickets.into_iter().enumerate() {
                            queue.done(ticket, done(Outcome::Value(Arc::clone(&values), row)));
                        }
                    }
                    Answer::Failed(ticket, why) => queue.done(ticket, done(Outcome::Failed(why))),
                }
            }
        }
        retiring.retain(|called| called.calls.in_flight() > 0);
        Ok(())
    }

    /// Gives the recorder what there is; says whether there was something.
    fn record(&mut self) -> Result<bool, RuntimeError> {
        let taken = self.queue.take(self.called.function.options().ordered);
        let mut frames = Vec::new();
        let mut dead = Vec::new();
        if !taken.is_empty() {
            let tickets: Vec<u64> = taken.iter().map(|(ticket, _)| *ticket).collect();
            let width = self.stage.kept.fields().len() + self.stage.arguments + Stage::PLACE.len();
            let columns = self.queue.columns(&tickets, 0..width)?;
            self.dead_letters(&taken, &columns, &mut dead)?;
            frames.push(self.layout.results(self.results(taken, columns)?)?);
            self.queue.recorded(tickets.iter().copied(), self.next);
            self.next += tickets.len() as u64;
            self.recorded_total += tickets.len() as u64;
            self.failed_total += dead.len() as u64;
        }
        if let Some((Covered { upto, watermark }, ahead)) = self.queue.covered() {
            frames.push(self.layout.marker(upto, watermark.time(), ahead.unwrap_or(self.next))?);
            while let Some((_, refused)) = self.refused.pop_front_if(|(commit, _)| *commit <= upto) {
                dead.extend(refused);
            }
        }
        self.telling.stats.refused.fetch_add(dead.len() as u64, Ordering::Relaxed);
        frames.extend(refused::frame(&dead, self.time)?);
        let is_something = !frames.is_empty();
        if is_something {
            self.recorder.append(Append { frames });
        }
        Ok(is_something)
    }

    fn results(&self, taken: Vec<(u64, Done)>, mut columns: Vec<ArrayRef>) -> Result<Results, RuntimeError> {
        let places = columns.split_off(self.stage.kept.fields().len() + self.stage.arguments);
        let arguments = columns.split_off(self.stage.kept.fields().len());
        let encoded = self.converter.convert_columns(&arguments)?;
        let nothing = new_null_array(&self.stage.returns, 1);
        // Results come in many small columns: each is named once.
        let (mut values, mut known): (Vec<ArrayRef>, HashMap<*const (), usize>) = (vec![nothing], HashMap::new());
        let (mut rows, mut functions, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
        for (_, Done { outcome, function, .. }) in taken {
            functions.push(function);
            let (row, verdict) = match outcome {
                Outcome::Value(column, row) => {
                    let number = *known.entry(Arc::as_ptr(&column).cast()).or_insert(values.len());
                    if number == values.len() {
                        values.push(column);
                    }
                    ((number, row), None)
                }
                Outcome::Failed(why) => ((0, 0), Some(why)),
            };
            rows.push(row);
            verdicts.push(verdict);
        }
        let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
        Ok(Results {
            kept: columns,
            values: interleave(&values, &rows)?,
            functions,
            verdicts,
            places,
            arguments: encoded.iter().map(|row| hash_key(row.as_ref()).cast_signed()).collect(),
        })
    }

    /// Rows that the function fails for, as dead letters: kept columns and arguments.
    fn dead_letters(
        &self,
        taken: &[(u64, Done)],
        columns: &[ArrayRef],
        dead: &mut Vec<Refused>,
    ) -> Result<(), RuntimeError> {
        let failed = taken.iter().enumerate().filter_map(|(row, (_, done))| match &done.outcome {
            Outcome::Failed(why) if done.is_new => Some((row, why, &done.function)),
            _ => None,
        });
        let failed: Vec<_> = failed.collect();
        if failed.is_empty() {
            return Ok(());
        }
        let kept = self.stage.kept.fields().len();
        let mut fields: Vec<Field> = self.stage.kept.fields().iter().map(|field| field.as_ref().clone()).collect();
        let arguments = columns[kept..kept + self.stage.arguments].iter().enumerate();
        fields.extend(arguments.map(|(number, column)| argument_field(number, column.data_type())));
        let shown = columns[..kept + self.stage.arguments].to_vec();
        let shown = RecordBatch::try_new(Arc::new(Schema::new(fields)), shown)?;
        for (row, why, function) in failed {
            let mut json = String::new();
            write_json_row(&mut json, &shown, row, &|_| false)?;
            let message = format!("function '{}' ({function}): {why}", self.stage.function);
            let node = self.stage.input.node(self.stage.last()).name.clone();
            dead.push(Refused { node, message, json });
        }
        Ok(())
    }

    /// Tells how far it is, once everything up to there is durable.
    fn tell(&self) {
        let is_idle = self.recorder.is_idle().unwrap_or(false);
        if is_idle && self.queue.len() == 0 && self.refused.is_empty() {
            let (number, position) = (self.telling.number, self.position);
            self.telling.told.send_if_modified(|told| {
                let changed = told[number] != position;
                told[number] = position;
                changed
            });
        }
    }
}

/// A stage's input, with a node that its rows leave by.
fn with_exit(stage: &Stage) -> Graph {
    let mut graph = stage.input.clone();
    let last = stage.last();
    let schema = Arc::clone(&graph.node(last).schema);
    let kind = NodeKind::Sink(Sink {
        query: stage.name.clone(),
        target: SinkTarget::Blackhole,
        encoding: Encoding::default(),
    });
    graph.add(Node { name: format!("{}/exit", stage.name), kind, inputs: vec![last], schema, append_only: true });
    graph
}
