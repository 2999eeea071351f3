//! The rows of a stage between their reading and the record of their results.
//!
//! ```text
//! commits     5        6           7     8
//! rows      r r r   r r w s s   s s s   w w       r recorded, s sent, w waiting: everything up to commit 5 is recorded
//!           └ gone ┘
//! ```
//!
//! It knows of no log and calls nothing.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::interleave;
use arrow::error::ArrowError;
use chalk_event::{CommitSeq, Watermark};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// What became of a row.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// A row of a column of results.
    Value(ArrayRef, usize),
    /// Why there is none.
    Failed(String),
}

/// A row's result, before it is recorded.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) outcome: Outcome,
    /// Who was called.
    pub(super) function: Arc<str>,
    /// Whether it was called now; otherwise it was recorded by an earlier query.
    pub(super) is_new: bool,
}

/// How a row begins.
#[derive(Clone, Debug)]
pub(super) enum Begins {
    /// It is to be called.
    Waiting,
    /// It is recorded, at this offset.
    Recorded(u64),
    /// Its result is known.
    Done(Done),
}

#[derive(Debug)]
enum State {
    Open,
    Done(Done),
    Recorded,
}

/// Rows that were read together.
#[derive(Debug)]
struct Chunk {
    first: u64,
    rows: RecordBatch,
    bytes: usize,
}

/// A commit whose rows are in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Covered {
    pub(super) upto: CommitSeq,
    /// The input's watermark after it.
    pub(super) watermark: Watermark,
}

/// Rows by ticket: their number, from the stage's start on.
#[derive(Debug, Default)]
pub(super) struct Queue {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    /// The ticket of the first entry.
    first: u64,
    entries: VecDeque<State>,
    waiting: VecDeque<u64>,
    /// Tickets of rows that are done, and can be recorded in any order.
    done: Vec<u64>,
    /// Commits of which not all rows are recorded, with the ticket after their last row.
    commits: VecDeque<(Covered, u64)>,
    /// The first ticket of these commits.
    open_from: u64,
    /// The offsets of results of their rows, by ticket from there on; `None` before they are recorded.
    offsets: VecDeque<Option<u64>>,
    /// These, smallest first.
    ahead: BTreeSet<u64>,
    /// The last commit of which all rows are recorded, until it is asked for.
    covered: Option<Covered>,
}

impl Queue {
    /// How many rows are in it.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many rows have not been called.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The memory that its rows take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds rows: of each commit, its number with the watermark after it, and how many of the rows are of it or of those before it.
    pub(super) fn push(
        &mut self,
        rows: RecordBatch,
        commits: &[(Covered, usize)],
        mut begins: impl FnMut(usize) -> Begins,
    ) {
        let first = self.first + self.entries.len() as u64;
        for row in 0..rows.num_rows() {
            let ticket = first + row as u64;
            self.offsets.push_back(None);
            let state = match begins(row) {
                Begins::Waiting => {
                    self.waiting.push_back(ticket);
                    State::Open
                }
                Begins::Recorded(offset) => {
                    self.stands_at(ticket, offset);
                    State::Recorded
                }
                Begins::Done(done) => {
                    self.done.push(ticket);
                    State::Done(done)
                }
            };
            self.entries.push_back(state);
        }
        self.commits.extend(commits.iter().map(|&(covered, end)| (covered, first + end as u64)));
        if rows.num_rows() > 0 {
            let bytes = rows.get_array_memory_size();
            self.bytes += bytes;
            self.chunks.push_back(Chunk { first, rows, bytes });
        }
        self.advance();
    }

    /// Takes the next rows to be called.
    pub(super) fn next(&mut self, count: usize) -> Vec<u64> {
        let count = count.min(self.waiting.len());
        self.waiting.drain(..count).collect()
    }

    /// A row is done. What is said of one that is done already does not count.
    pub(super) fn done(&mut self, ticket: u64, done: Done) {
        let place = ticket.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        if let Some(entry @ State::Open) = place.and_then(|place| self.entries.get_mut(place)) {
            *entry = State::Done(done);
            self.done.push(ticket);
        }
    }

    /// Takes rows that are to be recorded now, in the order of the rows; with `ordered` only those before which none is open.
    pub(super) fn take(&mut self, ordered: bool) -> Vec<(u64, Done)> {
        self.done.sort_unstable();
        let end = if ordered { self.first_open() } else { u64::MAX };
        let count = self.done.partition_point(|ticket| *ticket < end);
        let tickets: Vec<u64> = self.done.drain(..count).collect();
        let mut taken = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            let Ok(place) = usize::try_from(ticket - self.first) else { continue };
            if let Some(entry) = self.entries.get_mut(place)
                && let State::Done(done) = std::mem::replace(entry, State::Recorded)
            {
                taken.push((ticket, done));
            }
        }
        taken
    }

    fn first_open(&self) -> u64 {
        let open = self.entries.iter().position(|state| matches!(state, State::Open));
        open.map_or(u64::MAX, |place| self.first + place as u64)
    }

    /// Rows that were taken stand at these offsets, one after the other.
    pub(super) fn recorded(&mut self, tickets: impl Iterator<Item = u64>, first_offset: u64) {
        (first_offset..).zip(tickets).for_each(|(offset, ticket)| self.stands_at(ticket, offset));
        self.advance();
    }

    fn stands_at(&mut self, ticket: u64, offset: u64) {
        let place = ticket.checked_sub(self.open_from).and_then(|place| usize::try_from(place).ok());
        if let Some(place) = place.and_then(|place| self.offsets.get_mut(place)) {
            *place = Some(offset);
            self.ahead.insert(offset);
        }
    }

    /// Columns of rows.
    pub(super) fn columns(&self, tickets: &[u64], columns: Range<usize>) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut places = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            let after = self.chunks.partition_point(|chunk| chunk.first <= *ticket);
            let chunk = after.checked_sub(1).ok_or_else(|| gone(*ticket))?;
            let row = usize::try_from(ticket - self.chunks[chunk].first).map_err(|_| gone(*ticket))?;
            places.push((chunk, row));
        }
        let of = |column: usize| {
            let columns: Vec<&dyn Array> = self.chunks.iter().map(|chunk| chunk.rows.column(column).as_ref()).collect();
            interleave(&columns, &places)
        };
        columns.map(of).collect()
    }

    /// The last commit up to which all rows are recorded, if it is another one than before; and where what is recorded beyond it begins, if
    /// something is.
    pub(super) fn covered(&mut self) -> Option<(Covered, Option<u64>)> {
        Some((self.covered.take()?, self.ahead.first().copied()))
    }

    /// Lets go of rows at the front that are recorded.
    fn advance(&mut self) {
        while let Some(State::Recorded) = self.entries.front() {
            self.entries.pop_front();
            self.first += 1;
        }
        while let Some((covered, end)) = self.commits.pop_front_if(|(_, end)| *end <= self.first) {
            self.covered = Some(covered);
            for _ in self.open_from..end {
                if let Some(offset) = self.offsets.pop_front().flatten() {
                    self.ahead.remove(&offset);
                }
            }
            self.open_from = end;
        }
        while let Some(chunk) =
            self.chunks.pop_front_if(|chunk| chunk.first + chunk.rows.num_rows() as u64 <= self.first)
        {
            self.bytes -= chunk.bytes;
        }
    }
}

fn gone(ticket: u64) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("row {ticket} is not in the queue any more"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    fn commit(upto: u64) -> Covered {
        Covered { upto: CommitSeq(upto), watermark: Watermark::default() }
    }

    /// Rows with their tickets as values; commits as their numbers and ends.
    fn push(queue: &mut Queue, rows: std::ops::Range<i64>, commits: &[(u64, usize)]) {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(rows));
        let rows = RecordBatch::try_from_iter([("x", column)]).expect("one column");
        let commits: Vec<_> = commits.iter().map(|&(seq, end)| (commit(seq), end)).collect();
        queue.push(rows, &commits, |_| Begins::Waiting);
    }

    fn done(queue: &mut Queue, tickets: &[u64]) {
        for &ticket in tickets {
            let outcome = Outcome::Failed(String::new());
            queue.done(ticket, Done { outcome, function: "f".into(), is_new: true });
        }
    }

    /// Records what can be, from an offset on; gives the tickets.
    fn record(queue: &mut Queue, ordered: bool, offset: u64) -> Vec<u64> {
        let tickets: Vec<u64> = queue.take(ordered).into_iter().map(|(ticket, _)| ticket).collect();
        queue.recorded(tickets.iter().copied(), offset);
        tickets
    }

    fn covered(queue: &mut Queue) -> Option<(u64, Option<u64>)> {
        queue.covered().map(|(covered, ahead)| (covered.upto.0, ahead))
    }

    #[test]
    fn results_are_recorded_as_they_come_and_markers_follow_whole_commits() {
        let mut queue = Queue::default();
        push(&mut queue, 0..5, &[(7, 2), (9, 5)]);
        assert_eq!(queue.next(10), [0, 1, 2, 3, 4]);
        done(&mut queue, &[4, 1]);
        assert_eq!(record(&mut queue, false, 100), [1, 4]);
        assert_eq!(covered(&mut queue), None);
        done(&mut queue, &[0, 2, 2, 1]);
        assert_eq!(record(&mut queue, false, 102), [0, 2], "each once");
        assert_eq!(covered(&mut queue), Some((7, Some(101))), "row 4 stands at 101, row 2 at 103");
        assert_eq!(covered(&mut queue), None, "it was asked for");
        done(&mut queue, &[3]);
        assert_eq!(record(&mut queue, false, 104), [3]);
        assert_eq!(covered(&mut queue), Some((9, None)));
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }

    #[test]
    fn a_commit_that_is_recorded_in_part_is_found_again() {
        let mut queue = Queue::default();
        push(&mut queue, 0..4, &[(1, 1), (2, 4)]);
        queue.next(4);
        done(&mut queue, &[0, 1, 2]);
        record(&mut queue, false, 50);
        assert_eq!(covered(&mut queue), Some((1, Some(51))), "rows 1 and 2 are of commit 2");
    }

    #[test]
    fn in_order_none_overtakes() {
        let mut queue = Queue::default();
        push(&mut queue, 0..3, &[(1, 3)]);
        queue.next(3);
        done(&mut queue, &[2, 1]);
        assert_eq!(record(&mut queue, true, 0), [0_u64; 0]);
        done(&mut queue, &[0]);
        assert_eq!(record(&mut queue, true, 0), [0, 1, 2]);
    }

    #[test]
    fn what_is_known_is_not_called() {
        let mut queue = Queue::default();
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..3));
        let rows = RecordBatch::try_from_iter([("x", column)]).expect("one column");
        let known = Done { outcome: Outcome::Failed(String::new()), function: "f".into(), is_new: false };
        queue.push(rows, &[(commit(5), 3)], |row| match row {
            0 => Begins::Recorded(40),
            1 => Begins::Done(known.clone()),
            _ => Begins::Waiting,
        });
        assert_eq!(queue.next(9), [2]);
        assert_eq!(record(&mut queue, false, 41), [1]);
        done(&mut queue, &[2]);
        record(&mut queue, false, 42);
        assert_eq!(covered(&mut queue), Some((5, None)));
    }

    #[test]
    fn rows_of_several_chunks_are_put_together() {
        let mut queue = Queue::default();
        push(&mut queue, 0..2, &[(1, 2)]);
        push(&mut queue, 2..2, &[(2, 0)]);
        push(&mut queue, 2..5, &[(3, 3)]);
        let columns = queue.columns(&[4, 0, 2], 0..1).expect("rows");
        assert_eq!(columns[0].as_primitive::<Int64Type>().values(), &[4, 0, 2]);
        queue.next(5);
        done(&mut queue, &[0, 1]);
        record(&mut queue, false, 0);
        assert_eq!(covered(&mut queue), Some((2, None)), "a commit without rows is recorded with the one before");
        assert!(queue.columns(&[0], 0..1).is_err(), "it is gone");
    }
}
