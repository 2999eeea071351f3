//! Windows that close: which rows are late, and which panes are due.
//!
//! | the row's window         | row   | what happens                                            |
//! |--------------------------|-------|---------------------------------------------------------|
//! | open before the step     | first | a pane is opened                                        |
//! | open before the step     | next  | its pane is updated, silently                           |
//! | closed before the step   | any   | the row is late: reported, never counted                |
//! | there is none (NULL)     | any   | not counted: without an event time there is no pane     |
//! | closed by the step       |       | its pane is emitted once, in order of end, and freed    |

use crate::LateRow;
use crate::interner::Interner;
use crate::output::Output;
use crate::times::{ends, nanoseconds, windows};
use arrow::array::{Int64Array, RecordBatch};
use arrow::error::ArrowError;
use chalk_event::{EventTime, Watermark};
use chalk_graph::CloseWindows;
use std::collections::BTreeMap;

/// The panes of an aggregate that are still open, and the judge of its rows.
#[derive(Debug)]
pub(crate) struct Panes {
    close: CloseWindows,
    /// Group ids by the end of their window.
    open: BTreeMap<i64, Vec<u32>>,
    /// The end of their window by group id.
    ends: Vec<i64>,
}

/// A batch's rows as their windows judge them.
pub(crate) struct Judged {
    /// Rows that count.
    pub(crate) counted: Vec<u32>,
    /// The end of each of their windows.
    pub(crate) ends: Vec<i64>,
    /// Rows that came too late.
    pub(crate) late: Vec<LateRow>,
}

impl Panes {
    /// No panes yet.
    pub(crate) fn new(close: CloseWindows) -> Self {
        Self { close, open: BTreeMap::new(), ends: Vec::new() }
    }

    /// Judges rows by the watermark as it stood before them.
    pub(crate) fn judge(
        &self,
        rows: &RecordBatch,
        before: Watermark,
        output: &Output,
    ) -> Result<Judged, crate::OperatorError> {
        let (ends, times) = self.times(rows).map_err(|error| output.arrow(error))?;
        let mut judged = Judged { counted: Vec::with_capacity(rows.num_rows()), ends: Vec::new(), late: Vec::new() };
        for (row, end) in ends.iter().enumerate() {
            let Some(end) = end else { continue };
            match before.time().filter(|&watermark| self.is_closed(end, watermark)) {
                None => {
                    judged.counted.push(u32::try_from(row).unwrap_or(u32::MAX));
                    judged.ends.push(end);
                }
                Some(watermark) => judged.late.push(LateRow {
                    query: self.close.query.clone(),
                    event_time: EventTime(times.value(row)),
                    watermark,
                    window_end: EventTime(end),
                    port: 0,
                    row,
                }),
            }
        }
        Ok(judged)
    }

    /// Opens the pane of a new group.
    pub(crate) fn open(&mut self, end: i64, group: u32) {
        self.open.entry(end).or_default().push(group);
        self.ends.resize(self.ends.len().max(group as usize + 1), 0);
        self.ends[group as usize] = end;
    }

    /// The end of the window of a group whose pane is open.
    pub(crate) fn end(&self, group: u32) -> i64 {
        self.ends[group as usize]
    }

    /// Takes out the panes that a watermark closes, in order of their ends; those of one end in the order of their keys'
    /// hashes, which is the same after a restart and for any number of shards.
    pub(crate) fn due(&mut self, after: Watermark, keys: &Interner) -> Vec<u32> {
        let mut due: Vec<u32> = Vec::new();
        let Some(watermark) = after.time() else { return due };
        while let Some(first) = self.open.first_entry()
            && is_closed(*first.key(), self.close.lateness, watermark)
        {
            let mut groups: Vec<(u64, u32)> =
                first.remove().into_iter().map(|group| (keys.hash(group), group)).collect();
            groups.sort_unstable_by(|one, other| {
                one.0.cmp(&other.0).then_with(|| keys.key(one.1).cmp(keys.key(other.1)))
            });
            due.extend(groups.into_iter().map(|(_, group)| group));
        }
        due
    }

    fn is_closed(&self, end: i64, watermark: EventTime) -> bool {
        is_closed(end, self.close.lateness, watermark)
    }

    /// The end of each row's window, and its event time; the window's start where that is not known. In nanoseconds.
    fn times(&self, rows: &RecordBatch) -> Result<(Int64Array, Int64Array), ArrowError> {
        let windows = windows(rows.column(self.close.window))?;
        let times = match self.close.event_time {
            Some(column) => rows.column(column),
            None => windows.column(0),
        };
        Ok((nanoseconds(&ends(windows)?)?, nanoseconds(times)?))
    }
}

fn is_closed(end: i64, lateness: i64, watermark: EventTime) -> bool {
    end.saturating_add(lateness) <= watermark.0
}
