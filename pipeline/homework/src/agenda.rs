//! What is going to happen, in the order in which the server will hear of it.

use crate::calendar::SchoolDay;
use crate::event::Event;
use crate::line::Spelling;
use crate::paper::Paper;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// A queue by time of receipt.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    queue: BinaryHeap<Due>,
    things_planned: u64,
}

/// A place in the agenda: by time, and first come first served within a millisecond.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) received_ms: i64,
    number: u64,
    pub(crate) planned: Planned,
}

#[derive(Debug)]
pub(crate) enum Planned {
    Publish { class: u32, subject: &'static str, day: SchoolDay },
    Submit { assignment: Arc<Assignment>, pupil: u32, attempt: u8, occurred_ms: i64 },
    Command(Box<Command>),
    SendAgain(Box<Event>, Spelling),
    SendCorrupt,
}

/// What submissions need to know of their assignment once it is published.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) assignment_id: Arc<str>,
    pub(crate) class_id: Arc<str>,
    pub(crate) class: u32,
    pub(crate) subject: &'static str,
    pub(crate) week: u32,
    pub(crate) points_max: i64,
    pub(crate) paper: Paper,
}

/// Something that a teacher or pupil does to a submission.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) kind: CommandKind,
    pub(crate) student_id: String,
    pub(crate) submission_id: String,
    /// The id of the submission's event, where the sender names it.
    pub(crate) cause: Option<String>,
    pub(crate) teacher_id: String,
    pub(crate) points_max: i64,
    pub(crate) occurred_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandKind {
    Withdraw,
    Override,
    Clear,
}

impl Agenda {
    pub(crate) fn plan(&mut self, received_ms: i64, planned: Planned) {
        self.things_planned += 1;
        self.queue.push(Due { received_ms, number: self.things_planned, planned });
    }

    /// The next thing, if it is received before `end_ms`.
    pub(crate) fn next_before(&mut self, end_ms: i64) -> Option<Due> {
        if self.queue.peek()?.received_ms < end_ms { self.queue.pop() } else { None }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

impl Ord for Due {
    /// The greatest is the earliest, as the heap wants it.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.received_ms, other.number).cmp(&(self.received_ms, self.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}
