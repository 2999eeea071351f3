//! What is going to happen, in the order in which the server will hear of it.

use crate::calendar::SchoolDay;
use crate::chance::{Chance, mix};
use crate::event::Event;
use crate::key::AnswerKey;
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

/// What is planned. The agenda holds many of these, so that what is rare is boxed.
#[derive(Debug)]
pub(crate) enum Planned {
    Publish { class: u32, subject: &'static str, day: SchoolDay },
    Revise(Box<RevisionPlan>),
    Submit { handed: Handed, photos: Photos, done_ms: i64 },
    Photograph(Box<Shot>),
    Read(Box<Page>),
    QueueReview(Box<Review>),
    ResolveReview(Box<Review>),
    Command(Box<Command>),
    SuspectCopy(Box<Pair>),
    DismissCopy(Box<Pair>),
    Office(OfficeAct),
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
    pub(crate) due_ms: i64,
    pub(crate) points_max: i64,
    /// Its own chance, from which every sheet and photo follows.
    pub(crate) seed: u64,
    pub(crate) paper: Paper,
}

/// A submission that was sent or is going to be.
#[derive(Debug, Clone)]
pub(crate) struct Handed {
    pub(crate) assignment: Arc<Assignment>,
    /// Number in the school.
    pub(crate) pupil: u32,
    pub(crate) attempt: u8,
}

impl Handed {
    /// Told from every other submission by this.
    pub(crate) fn seed(&self) -> u64 {
        mix(self.assignment.seed ^ (u64::from(self.pupil) << 8 | u64::from(self.attempt)))
    }

    /// The chance by which this submission's answers are written, whoever asks.
    pub(crate) fn hand(&self) -> Chance {
        Chance::new(self.seed())
    }
}

/// The photos of a submission.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Photos {
    /// 0 when typed in.
    pub(crate) pages: u8,
    /// A bit for each page whose photo arrives before the submission; page 1 is bit 0.
    pub(crate) early: u8,
}

/// A page of a submission, and which photo of it this is.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) handed: Handed,
    /// From 1.
    pub(crate) page: u8,
    pub(crate) pages: u8,
    /// From 1.
    pub(crate) take: u8,
}

/// A photo on its way.
#[derive(Debug, Clone)]
pub(crate) struct Shot {
    pub(crate) page: Page,
    pub(crate) taken_ms: i64,
    /// Arrives before its submission.
    pub(crate) early: bool,
}

/// An item that a reader is not sure of.
#[derive(Debug, Clone)]
pub(crate) struct Review {
    pub(crate) handed: Handed,
    /// Counted from 0.
    pub(crate) item: usize,
    pub(crate) reader: &'static str,
    pub(crate) confidence: i64,
}

/// Two submissions of one assignment that look alike, the one that was received first being first.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) first: Handed,
    pub(crate) second: Handed,
}

/// A key that is going to be revised, as it is before.
#[derive(Debug, Clone)]
pub(crate) struct RevisionPlan {
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) key: AnswerKey,
    pub(crate) key_version: i64,
    pub(crate) rubric_version: i64,
    pub(crate) kind: RevisionKind,
    /// The other kind is going to be revised as well.
    pub(crate) both: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RevisionKind {
    Answers,
    Points,
}

/// Something that a teacher or pupil does to a submission.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) kind: CommandKind,
    pub(crate) handed: Handed,
    /// The id of the submission's event, where the sender names it.
    pub(crate) cause: Option<String>,
    pub(crate) occurred_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandKind {
    Withdraw,
    Override,
    Clear,
    Excuse,
    RequestRegrade,
}

/// Something that the school's office does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OfficeAct {
    ChangeClass,
    WithdrawConsent,
    GiveConsent { pupil: u32 },
    Erase,
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
