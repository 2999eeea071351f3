//! Sessions: rows of a key that follow one another within a gap, each row with the session that it is in.
//!
//! A row at `t` is in a session with every row of its key less than the gap away, and so on from row to row. The session is
//! `[first, last + gap)`. A row can so join two sessions, and its retraction part one:
//!
//! ```text
//! gap 10   input     output of time, session
//! step 1   +  0      +  0  [0, 10)
//!          + 15      + 15  [15, 25)
//! step 2   +  8      -  0  [0, 10)     +  0  [0, 25)
//!                    - 15  [15, 25)    + 15  [0, 25)
//!                                      +  8  [0, 25)
//! step 3   -  8      the other way round
//! ```
//!
//! When sessions are given once ([`chalk_graph::CloseSessions`]) a row is given, with its session, when that has ended:
//!
//! | the row                                                | |
//! |--------------------------------------------------------|----------------------------------------------------|
//! | `[t, t + gap)` has ended before the step               | late: reported, never given                        |
//! | it is in a session that has been given                 | late                                               |
//! | any other                                              | kept until its session ends                        |
//! | has no time                                            | not given: without a time it is in no session      |

mod closing;
#[cfg(test)]
mod tests;
mod timeline;

use crate::interner::Interner;
use crate::output::{Output, on_time};
use crate::row_codec::{EncodedRows, KeyCodec, RowCodec};
use crate::state::SavedState;
use crate::{GroupState, Operator, OperatorError, Step, StepTime};
use arrow::array::{Array, ArrayRef, Int64Array, StructArray, TimestampNanosecondArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use chalk_event::{ChangeBatch, EventTime, Watermark};
use chalk_graph::Session;
use closing::Closing;
use hashbrown::HashMap;
use std::sync::Arc;
use timeline::{Place, Timeline};

/// A session, `[start, end)` in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// Gives each row with the session that it is in.
pub(crate) struct SessionOperator {
    // Configuration.
    output: Output,
    keys: KeyCodec,
    rows: RowCodec,
    time: usize,
    gap: i64,
    // State: by key id, its rows in order of time.
    ids: Interner,
    timelines: Vec<Timeline>,
    closing: Option<Closing>,
    /// Of a save that was begun.
    saved: Vec<GroupState>,
}

/// Rows to be given: encoded, with session and weight.
#[derive(Debug, Default)]
pub(crate) struct Given {
    rows: Vec<Box<[u8]>>,
    spans: Vec<Option<Span>>,
    weights: Vec<i64>,
}

impl Given {
    pub(crate) fn push(&mut self, row: &[u8], span: Option<Span>, weight: i64) {
        self.rows.push(row.into());
        self.spans.push(span);
        self.weights.push(weight);
    }
}

/// A batch, ready to be taken apart.
struct Incoming {
    keys: EncodedRows,
    rows: EncodedRows,
    times: Int64Array,
}

impl SessionOperator {
    /// The operator of a node whose input has this schema.
    pub(crate) fn new(session: &Session, input: &SchemaRef, output: Output) -> Result<Self, OperatorError> {
        let types: Vec<&DataType> = input.fields().iter().map(|field| field.data_type()).collect();
        let codecs = KeyCodec::new(&session.keys, &types).and_then(|keys| Ok((keys, RowCodec::new(types)?)));
        let (keys, rows) = codecs.map_err(|error| output.arrow(error))?;
        Ok(Self {
            output,
            keys,
            rows,
            time: session.time,
            gap: session.gap,
            ids: Interner::default(),
            timelines: Vec::new(),
            closing: session.close.clone().map(Closing::new),
            saved: Vec::new(),
        })
    }

    fn incoming(&self, input: &ChangeBatch) -> Result<Incoming, ArrowError> {
        let batch = input.rows();
        let times = cast(batch.column(self.time), &DataType::Timestamp(TimeUnit::Nanosecond, None))?;
        let times = cast(&times, &DataType::Int64)?;
        Ok(Incoming {
            keys: self.keys.encode(batch)?,
            rows: self.rows.encode(batch.columns())?,
            times: Int64Array::from(times.to_data()),
        })
    }

    /// The id of a key, with room for its rows.
    fn intern(&mut self, key: &[u8]) -> u32 {
        let id = self.ids.intern(key);
        if self.timelines.len() < self.ids.len() {
            self.timelines.resize_with(self.ids.len(), Timeline::default);
        }
        id
    }

    /// Takes changes in; gives what they change in the sessions of rows.
    fn update(&mut self, input: &ChangeBatch) -> Result<Given, ArrowError> {
        let incoming = self.incoming(input)?;
        let mut given = Given::default();
        let mut order: Vec<u32> = Vec::new();
        let mut changed: HashMap<u32, Timeline> = HashMap::new();
        for row in 0..input.len() {
            let (bytes, weight) = (incoming.rows.row(row), input.weight(row));
            if incoming.times.is_null(row) {
                given.push(bytes, None, weight);
                continue;
            }
            let key = self.intern(incoming.keys.row(row));
            let delta = changed.entry(key).or_insert_with(|| {
                order.push(key);
                Timeline::default()
            });
            delta.add(Place { time: incoming.times.value(row), row: bytes.into() }, weight);
        }
        for key in order {
            let timeline = &mut self.timelines[key as usize];
            timeline.change(&changed[&key], self.gap, &mut given);
            if timeline.is_empty() {
                self.ids.release(key);
            }
        }
        Ok(given)
    }

    /// Keeps rows that are not late, and gives the sessions that the step ends.
    fn close(&mut self, input: &ChangeBatch, time: StepTime, closing: &mut Closing) -> Result<Step, OperatorError> {
        let incoming = self.incoming(input).map_err(|error| self.output.arrow(error))?;
        let mut late = Vec::new();
        for row in (0..input.len()).filter(|&row| incoming.times.is_valid(row)) {
            let weight = input.weight(row);
            if weight < 0 {
                return Err(self.output.misuse("sessions that close cannot take rows back".to_owned()));
            }
            let (id, at) = (self.intern(incoming.keys.row(row)), incoming.times.value(row));
            closing.reserve(self.ids.len());
            match closing.judge(id, at, self.gap, time.before) {
                Err(end) => late.push(closing.late_row(row, EventTime(at), time.before, end)),
                Ok(()) => {
                    self.timelines[id as usize].add(Place { time: at, row: incoming.rows.row(row).into() }, weight);
                    closing.came(id, at, self.gap);
                }
            }
            closing.forget_unused(id, &self.timelines[id as usize], &mut self.ids);
        }
        let mut given = Given::default();
        closing.due(time.after, self.gap, &mut self.timelines, &mut self.ids, &mut given);
        Ok(Step { late, ..on_time(self.changes(given)?) })
    }

    fn changes(&self, given: Given) -> Result<ChangeBatch, OperatorError> {
        let rows = self.rows.decode(given.rows.iter().map(|row| &**row)).map_err(|error| self.output.arrow(error));
        let mut columns = rows?;
        columns.push(windows(&given.spans).map_err(|error| self.output.arrow(error))?);
        self.output.changes(columns, given.weights)
    }
}

/// Sessions as structs of `start` and `end`.
fn windows(spans: &[Option<Span>]) -> Result<ArrayRef, ArrowError> {
    let bound = |of: fn(&Span) -> i64| -> ArrayRef {
        Arc::new(spans.iter().map(|span| span.as_ref().map(of)).collect::<TimestampNanosecondArray>())
    };
    let columns = vec![bound(|span| span.start), bound(|span| span.end)];
    let nulls = NullBuffer::from_iter(spans.iter().map(Option::is_some));
    Ok(Arc::new(StructArray::try_new(Session::window_fields(), columns, Some(nulls))?))
}

impl Operator for SessionOperator {
    fn step(&mut self, inputs: &[ChangeBatch], time: StepTime) -> Result<Step, OperatorError> {
        let output = self.output.clone();
        let input = output.port(inputs, 0)?;
        if let Some(mut closing) = self.closing.take() {
            let step = self.close(input, time, &mut closing);
            self.closing = Some(closing);
            return step;
        }
        if input.is_empty() {
            return Ok(on_time(self.output.nothing()));
        }
        let given = self.update(input).map_err(|error| output.arrow(error))?;
        let changes = self.changes(given)?;
        Ok(on_time(self.output.consolidated(changes)?))
    }

    fn begin_save(&mut self) {
        if let Some(closing) = &mut self.closing {
            // Only open sessions are kept: few enough to be set aside at once.
            self.saved = closing.save(&self.timelines, &self.ids);
        }
    }

    fn save(&mut self, _at_least: usize) -> Vec<GroupState> {
        std::mem::take(&mut self.saved)
    }

    fn restore(&mut self, state: SavedState<'_>) -> Result<(), OperatorError> {
        let output = self.output.clone();
        match (state, self.closing.take()) {
            (SavedState::Inputs(inputs), None) => {
                let input = output.port(inputs, 0)?;
                let incoming = self.incoming(input).map_err(|error| output.arrow(error))?;
                for row in (0..input.len()).filter(|&row| incoming.times.is_valid(row)) {
                    let id = self.intern(incoming.keys.row(row));
                    let place = Place { time: incoming.times.value(row), row: incoming.rows.row(row).into() };
                    self.timelines[id as usize].add(place, input.weight(row));
                }
                Ok(())
            }
            (SavedState::Groups(groups), Some(mut closing)) => {
                for group in groups {
                    let Some(saved) = &group.state else { continue };
                    let id = self.intern(&group.key);
                    closing
                        .put_back(id, saved, &mut self.timelines[id as usize], self.gap)
                        .map_err(|_| output.misuse("saved state is not that of these sessions".to_owned()))?;
                }
                closing.saved(self.ids.len());
                self.closing = Some(closing);
                Ok(())
            }
            (state, closing) => {
                self.closing = closing;
                Err(state.misplaced(&output))
            }
        }
    }
}

/// Whether a watermark has passed a time.
pub(crate) fn has_passed(watermark: Watermark, time: i64) -> bool {
    watermark.time().is_some_and(|watermark| time <= watermark.0)
}
