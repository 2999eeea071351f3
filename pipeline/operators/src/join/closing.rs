//! Joins of append-only inputs that let go of rows: everything is given once.
//!
//! Either rows meet within one window, which is among the keys, and all of it is given when the watermark closes it; or rows meet whose times
//! differ by so much, pairs at once, and rows without a partner when the watermark tells that none can come:
//!
//! ```text
//! 0 <= left - right <= 10        left    right    output of a left join
//!                                + 15    + 8      + 15 8
//!                                + 20
//!                       watermark 16              (8 + 10 is 18: a left row at 18 could come)
//!                       watermark 21              + 20 NULL, and nothing is kept
//! ```
//!
//! | a row | |
//! |---|---|
//! | in a window that was closed before the step, or behind the watermark before it (less the lateness) | late: reported, never given |
//! | in no window (NULL) | not given |
//! | without event time | meets nothing: given alone at once, if such rows are given |
//! | with a NULL among its keys | meets nothing, and is otherwise as any row |
//! | any other | kept, as long as another that is not late could meet it |

#[cfg(test)]
mod tests;

use super::Gives;
use super::side::Alone;
use crate::interner::Interner;
use crate::output::{Output, on_time};
use crate::row_codec::{EncodedRows, KeyCodec, RowCodec};
use crate::state::{NotSavedState, SavedState, StateReader, Unsaved, put_i64};
use crate::times::{ends, nanoseconds, windows};
use crate::{GroupState, LateRow, Operator, OperatorError, Step, StepTime};
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use chalk_event::{ChangeBatch, EventTime, Watermark, hash_key};
use chalk_graph::{CloseJoin, Join, JoinBound};
use std::collections::{BTreeMap, BTreeSet};

/// Joins two append-only inputs.
pub(crate) struct ClosingJoinOperator {
    // Configuration.
    output: Output,
    gives: Gives,
    close: CloseJoin,
    sides: [SideRows; 2],
    // State: by key id, what is kept of it; and when to look at which key.
    ids: Interner,
    kept: Vec<Kept>,
    due: BTreeSet<(i64, u32)>,
    unsaved: Unsaved,
    /// Of a save that was begun.
    saved: Vec<GroupState>,
}

/// How a side's rows are kept.
struct SideRows {
    key_columns: Vec<usize>,
    keys: KeyCodec,
    types: Vec<DataType>,
    rows: RowCodec,
    /// The column with windows, or with times.
    time: usize,
}

/// The rows of one key.
#[derive(Default)]
struct Kept {
    /// A part of the key is NULL.
    meets_nothing: bool,
    sides: [Rows; 2],
    /// What it stands under in `due`.
    due: Option<i64>,
}

/// Rows in order of their times, or of the ends of their windows.
type Rows = BTreeMap<(i64, Box<[u8]>), Entry>;

#[derive(Clone, Copy, Default)]
struct Entry {
    weight: i64,
    /// Whether it has met another.
    met: bool,
}

/// A side's batch, ready to be taken apart.
struct Incoming {
    keys: EncodedRows,
    null_keys: Option<NullBuffer>,
    rows: EncodedRows,
    times: Int64Array,
    /// What a late row is told to have for event time.
    shown: Int64Array,
}

/// Output rows, still encoded, each as often as it is there.
#[derive(Default)]
struct Given {
    pairs: [Vec<Box<[u8]>>; 2],
    alone: [Vec<Box<[u8]>>; 2],
}

fn copies(weight: i64) -> usize {
    usize::try_from(weight).unwrap_or(0)
}

impl Given {
    fn pair(&mut self, port: usize, row: &[u8], other: &[u8], weight: i64) {
        for _ in 0..copies(weight) {
            self.pairs[port].push(row.into());
            self.pairs[1 - port].push(other.into());
        }
    }

    fn alone(&mut self, port: usize, row: &[u8], weight: i64) {
        self.alone[port].extend((0..copies(weight)).map(|_| Box::<[u8]>::from(row)));
    }
}

impl SideRows {
    fn new(key_columns: &[usize], schema: &SchemaRef, time: usize) -> Result<Self, ArrowError> {
        let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        Ok(Self {
            key_columns: key_columns.to_vec(),
            keys: KeyCodec::new(key_columns, &types.iter().collect::<Vec<_>>())?,
            rows: RowCodec::new(types.iter())?,
            types,
            time,
        })
    }

    fn incoming(&self, rows: &RecordBatch, in_windows: bool) -> Result<Incoming, ArrowError> {
        let column = rows.column(self.time);
        let (times, shown) = if in_windows {
            let windows = windows(column)?;
            (nanoseconds(&ends(windows)?)?, nanoseconds(windows.column(0))?)
        } else {
            let times = nanoseconds(column)?;
            (times.clone(), times)
        };
        let null_keys = self.key_columns.iter().fold(None, |nulls: Option<NullBuffer>, &column| {
            NullBuffer::union(nulls.as_ref(), rows.column(column).logical_nulls().as_ref())
        });
        Ok(Incoming { keys: self.keys.encode(rows)?, null_keys, rows: self.rows.encode(rows.columns())?, times, shown })
    }

    fn decode(&self, rows: &[Box<[u8]>]) -> Result<Vec<ArrayRef>, ArrowError> {
        self.rows.decode(rows.iter().map(|row| &**row))
    }

    fn nulls(&self, count: usize) -> Vec<ArrayRef> {
        self.types.iter().map(|data_type| new_null_array(data_type, count)).collect()
    }
}

impl ClosingJoinOperator {
    /// The operator of a node whose inputs have these schemas.
    pub(crate) fn new(
        join: &Join,
        close: &CloseJoin,
        left: &SchemaRef,
        right: &SchemaRef,
        output: Output,
    ) -> Result<Self, OperatorError> {
        let times = match close.bound {
            JoinBound::Window { left, right, .. } | JoinBound::Interval { left, right, .. } => [left, right],
        };
        let sides = SideRows::new(&join.left_keys, left, times[0])
            .and_then(|of_left| Ok([of_left, SideRows::new(&join.right_keys, right, times[1])?]));
        Ok(Self {
            sides: sides.map_err(|error| output.arrow(error))?,
            gives: Gives::of(join.kind),
            close: close.clone(),
            output,
            ids: Interner::default(),
            kept: Vec::new(),
            due: BTreeSet::new(),
            unsaved: Unsaved::default(),
            saved: Vec::new(),
        })
    }

    fn in_windows(&self) -> bool {
        matches!(self.close.bound, JoinBound::Window { .. })
    }

    fn given_alone(&self, port: usize) -> Alone {
        if port == 0 { self.gives.left } else { self.gives.right }
    }

    /// From which watermark on a row of a side is not needed.
    fn deadline(&self, port: usize, time: i64) -> i64 {
        let last = match self.close.bound {
            JoinBound::Window { .. } => time,
            JoinBound::Interval { least, .. } if port == 0 => time.saturating_sub(least).saturating_add(1),
            JoinBound::Interval { most, .. } => time.saturating_add(most).saturating_add(1),
        };
        last.saturating_add(self.close.lateness)
    }

    fn is_late(&self, time: i64, before: Watermark) -> Option<EventTime> {
        let watermark = before.time()?;
        let last = time.saturating_add(self.close.lateness);
        let late = if self.in_windows() { last <= watermark.0 } else { last < watermark.0 };
        late.then_some(watermark)
    }

    /// Takes the rows of a side in; gives the pairs that they make, if these are given at once.
    fn take_in(
        &mut self,
        port: usize,
        batch: &ChangeBatch,
        before: Watermark,
        given: &mut Given,
        late: &mut Vec<LateRow>,
    ) -> Result<(), OperatorError> {
        let incoming = self.sides[port].incoming(batch.rows(), self.in_windows());
        let incoming = incoming.map_err(|error| self.output.arrow(error))?;
        for row in 0..batch.len() {
            let (bytes, weight) = (incoming.rows.row(row), batch.weight(row));
            if weight < 0 {
                return Err(self.output.misuse("a join that lets go of rows cannot take them back".to_owned()));
            }
            if incoming.times.is_null(row) {
                if !self.in_windows() && self.given_alone(port) == Alone::WithoutPartner {
                    given.alone(port, bytes, weight);
                }
                continue;
            }
            let time = incoming.times.value(row);
            if let Some(watermark) = self.is_late(time, before) {
                let (query, event_time) = (self.close.query.clone(), EventTime(incoming.shown.value(row)));
                late.push(LateRow { query, event_time, watermark, window_end: EventTime(time), port, row });
                continue;
            }
            let id = self.intern(incoming.keys.row(row));
            self.unsaved.changed(id);
            self.kept[id as usize].meets_nothing = incoming.null_keys.as_ref().is_some_and(|nulls| nulls.is_null(row));
            let met = match self.close.bound {
                JoinBound::Window { .. } => false,
                JoinBound::Interval { least, most, .. } => {
                    let range = match port {
                        0 => (time.saturating_sub(most), time.saturating_sub(least)),
                        _ => (time.saturating_add(least), time.saturating_add(most)),
                    };
                    self.meet(id, port, range, bytes, weight, given)
                }
            };
            let entry = self.kept[id as usize].sides[port].entry((time, bytes.into())).or_default();
            entry.weight += weight;
            entry.met |= met;
            self.schedule(id, self.deadline(port, time));
        }
        Ok(())
    }

    /// Gives a row with all rows of the other side in a range of times; says whether there are any.
    fn meet(
        &mut self,
        id: u32,
        port: usize,
        (from, to): (i64, i64),
        row: &[u8],
        weight: i64,
        given: &mut Given,
    ) -> bool {
        let alone = [self.given_alone(0), self.given_alone(1)];
        let kept = &mut self.kept[id as usize];
        if kept.meets_nothing || from > to {
            return false;
        }
        let mut met = false;
        let end = (to.saturating_add(1), Box::default());
        for ((_, other), entry) in kept.sides[1 - port].range_mut((from, Box::default())..end) {
            met = true;
            if self.gives.pairs {
                given.pair(port, row, other, weight * entry.weight);
            }
            if !std::mem::replace(&mut entry.met, true) && alone[1 - port] == Alone::WithPartner {
                given.alone(1 - port, other, entry.weight);
            }
        }
        if met && alone[port] == Alone::WithPartner {
            given.alone(port, row, weight);
        }
        met
    }

    /// The id of a key, with room for its rows.
    fn intern(&mut self, key: &[u8]) -> u32 {
        let id = self.ids.intern(key);
        if self.kept.len() < self.ids.len() {
            self.kept.resize_with(self.ids.len(), Kept::default);
        }
        self.unsaved.reserve(self.ids.len());
        id
    }

    /// Looks at a key at this watermark, at the latest.
    fn schedule(&mut self, id: u32, at: i64) {
        let due = &mut self.kept[id as usize].due;
        if due.is_none_or(|due| at < due) {
            if let Some(due) = due.replace(at) {
                self.due.remove(&(due, id));
            }
            self.due.insert((at, id));
        }
    }

    /// Lets go of what a watermark tells that it is not needed: in order of time, and for one time in the order of the keys' hashes, which is
    /// the same for any number of shards.
    fn let_go(&mut self, after: Watermark, given: &mut Given) {
        let Some(watermark) = after.time() else { return };
        let mut due = Vec::new();
        while let Some(&(at, id)) = self.due.first()
            && at <= watermark.0
        {
            self.due.pop_first();
            due.push((at, hash_key(self.ids.key(id)), id));
        }
        due.sort_unstable();
        for (_, _, id) in due {
            self.unsaved.changed(id);
            self.kept[id as usize].due = None;
            match self.close.bound {
                JoinBound::Window { .. } => self.close_window(id, given),
                JoinBound::Interval { .. } => self.expire(id, watermark.0, given),
            }
            match self.next(id) {
                Some(next) => self.schedule(id, next),
                None => {
                    self.unsaved.gone(id, &self.ids, false);
                    self.ids.release(id);
                }
            }
        }
    }

    /// When to look at a key next.
    fn next(&self, id: u32) -> Option<i64> {
        let first = |port: usize| {
            let ((time, _), _) = self.kept[id as usize].sides[port].first_key_value()?;
            Some(self.deadline(port, *time))
        };
        [first(0), first(1)].into_iter().flatten().min()
    }

    /// Gives all that a key has in its window.
    fn close_window(&mut self, id: u32, given: &mut Given) {
        let kept = std::mem::take(&mut self.kept[id as usize]);
        let meets = !kept.meets_nothing && kept.sides.iter().all(|rows| !rows.is_empty());
        if meets && self.gives.pairs {
            for ((_, left), of_left) in &kept.sides[0] {
                for ((_, right), of_right) in &kept.sides[1] {
                    given.pair(0, left, right, of_left.weight * of_right.weight);
                }
            }
        }
        for (port, rows) in kept.sides.iter().enumerate() {
            if self.given_alone(port).gives(meets) {
                rows.iter().for_each(|((_, row), entry)| given.alone(port, row, entry.weight));
            }
        }
    }

    /// Lets go of a key's rows that no other can meet any longer.
    fn expire(&mut self, id: u32, watermark: i64, given: &mut Given) {
        for port in 0..2 {
            let alone = self.given_alone(port) == Alone::WithoutPartner;
            while let Some(((time, _), _)) = self.kept[id as usize].sides[port].first_key_value()
                && self.deadline(port, *time) <= watermark
            {
                if let Some(((_, row), entry)) = self.kept[id as usize].sides[port].pop_first()
                    && alone
                    && !entry.met
                {
                    given.alone(port, &row, entry.weight);
                }
            }
        }
    }

    fn changes(&self, given: &Given) -> Result<ChangeBatch, OperatorError> {
        let arrow = |error| self.output.arrow(error);
        let mut chunks = Vec::new();
        let mut add = |columns: Vec<ArrayRef>, count: usize| -> Result<(), OperatorError> {
            if count > 0 {
                chunks.push(self.output.changes(columns, vec![1; count])?);
            }
            Ok(())
        };
        let [left, right] = &self.sides;
        let pairs = [left.decode(&given.pairs[0]).map_err(arrow)?, right.decode(&given.pairs[1]).map_err(arrow)?];
        add(pairs.concat(), given.pairs[0].len())?;
        let absent = |side: &SideRows, count| if self.gives.pairs { side.nulls(count) } else { Vec::new() };
        let count = given.alone[0].len();
        add([left.decode(&given.alone[0]).map_err(arrow)?, absent(right, count)].concat(), count)?;
        let count = given.alone[1].len();
        add([absent(left, count), right.decode(&given.alone[1]).map_err(arrow)?].concat(), count)?;
        if chunks.is_empty() { Ok(self.output.nothing()) } else { self.output.concat(&chunks) }
    }

    /// Whether the key meets nothing; then each side's rows: time, weight, whether it has met another, its bytes.
    fn state_of(&self, id: u32) -> GroupState {
        let kept = &self.kept[id as usize];
        let mut state = Vec::new();
        put_i64(&mut state, i64::from(kept.meets_nothing));
        for rows in &kept.sides {
            put_i64(&mut state, rows.len() as i64);
            for ((time, row), entry) in rows {
                put_i64(&mut state, *time);
                put_i64(&mut state, entry.weight);
                put_i64(&mut state, i64::from(entry.met));
                put_i64(&mut state, row.len() as i64);
                state.extend_from_slice(row);
            }
        }
        GroupState { key: self.ids.key(id).into(), state: Some(state) }
    }

    fn put_back(&mut self, id: u32, saved: &[u8]) -> Result<(), NotSavedState> {
        let mut saved = StateReader(saved);
        self.kept[id as usize].meets_nothing = saved.i64()? != 0;
        for port in 0..2 {
            for _ in 0..saved.len()? {
                let (time, weight, met, len) = (saved.i64()?, saved.i64()?, saved.i64()? != 0, saved.len()?);
                let row = (time, saved.bytes(len)?.into());
                self.kept[id as usize].sides[port].insert(row, Entry { weight, met });
            }
        }
        saved.end()?;
        if let Some(next) = self.next(id) {
            self.schedule(id, next);
        }
        Ok(())
    }
}

impl Operator for ClosingJoinOperator {
    fn step(&mut self, inputs: &[ChangeBatch], time: StepTime) -> Result<Step, OperatorError> {
        let output = self.output.clone();
        let (mut given, mut late) = (Given::default(), Vec::new());
        for port in 0..2 {
            self.take_in(port, output.port(inputs, port)?, time.before, &mut given, &mut late)?;
        }
        self.let_go(time.after, &mut given);
        Ok(Step { late, ..on_time(self.changes(&given)?) })
    }

    fn begin_save(&mut self) {
        // Only rows that can still meet others are kept: few enough to be set aside at once.
        self.saved = self.unsaved.take(&self.ids).groups(|id| self.state_of(id));
    }

    fn save(&mut self, _at_least: usize) -> Vec<GroupState> {
        std::mem::take(&mut self.saved)
    }

    fn restore(&mut self, state: SavedState<'_>) -> Result<(), OperatorError> {
        let SavedState::Groups(groups) = state else { return Err(state.misplaced(&self.output)) };
        for group in groups {
            let Some(saved) = &group.state else { continue };
            let id = self.intern(&group.key);
            self.put_back(id, saved)
                .map_err(|NotSavedState| self.output.misuse("saved state is not that of this join".to_owned()))?;
        }
        self.unsaved.begin(self.ids.len());
        Ok(())
    }
}
