//! Topic `assignments`: homework is set, and what is right is set right.

use super::fact::{Cell, Fact, Kind, See, int, json, text, time, word};
use crate::key::AnswerKey;
use crate::line::Spelling;
use std::sync::Arc;

pub(super) const OWN_COLUMNS: &[&str] = &[
    "assignment_id",
    "class_id",
    "subject",
    "due_at",
    "pupils",
    "key_version",
    "rubric_version",
    "attempts",
    "key",
    "teacher_id",
    "reason",
];

/// Of topic `assignments`; told apart by assignment and key version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignmentPublished {
    /// `c0001-w01-math-1`: class, week, subject, weekday.
    pub assignment_id: Arc<str>,
    /// `c0001`.
    pub class_id: Arc<str>,
    /// `math`, `chinese` or `english`.
    pub subject: &'static str,
    /// In nanoseconds since 1970: the next evening at 20:00 in Shanghai.
    pub due_at: i64,
    /// How many pupils are expected to hand it in: all who are in the class at the time.
    pub pupils: i64,
    /// Always 1.
    pub key_version: i64,
    /// Always 1.
    pub rubric_version: i64,
    /// Which of a pupil's attempts counts.
    pub attempts: Attempts,
    /// The key, typed.
    pub key: Arc<AnswerKey>,
    /// The key's compact JSON text as it stands in the line.
    pub key_json: Arc<str>,
}

/// Which of a pupil's attempts counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attempts {
    /// The one with the most points; this where a line does not say.
    Best,
    /// The one with the highest number.
    Last,
    /// The one with the lowest number.
    First,
}

impl Attempts {
    /// The name in the schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::Best => "best",
            Self::Last => "last",
            Self::First => "first",
        }
    }
}

/// Of topic `assignments`; told apart by assignment and both versions. Other answers are right than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerKeyRevised {
    /// What was revised.
    pub revision: Revision,
}

/// Of topic `assignments`; told apart by assignment and both versions. The same answers are worth something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RubricRevised {
    /// What was revised.
    pub revision: Revision,
}

/// The fields of both kinds of revision. Versions of an assignment, in order: each revision increases one of them by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// An assignment that was published.
    pub assignment_id: Arc<str>,
    /// Its class.
    pub class_id: Arc<str>,
    /// One more than before if the answers were revised.
    pub key_version: i64,
    /// One more than before if the points were revised.
    pub rubric_version: i64,
    /// The whole key as it is now.
    pub key: Arc<AnswerKey>,
    /// The key's compact JSON text as it stands in the line.
    pub key_json: Arc<str>,
    /// `t0001-math`.
    pub teacher_id: String,
    /// What the class is told.
    pub reason: &'static str,
}

impl Fact for AssignmentPublished {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "assignments", event_type: "assignment_published", key: &["assignment_id", "key_version"] }
    }

    fn show(&self, see: See<'_>) {
        see(text("assignment_id", &self.assignment_id));
        see(text("class_id", &self.class_id));
        see(text("subject", self.subject));
        see(time("due_at", self.due_at));
        see(int("pupils", self.pupils));
        see(int("key_version", self.key_version).or(Cell::Int(1), Spelling::KEY_VERSION));
        see(int("rubric_version", self.rubric_version).or(Cell::Int(1), Spelling::RUBRIC_VERSION));
        see(word("attempts", self.attempts.name()).or(Cell::Word("best"), Spelling::ATTEMPTS));
        see(json("key", &self.key_json));
    }
}

impl Fact for AnswerKeyRevised {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "assignments", event_type: "answer_key_revised", key: Revision::KEY }
    }

    fn show(&self, see: See<'_>) {
        self.revision.show(see);
    }
}

impl Fact for RubricRevised {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "assignments", event_type: "rubric_revised", key: Revision::KEY }
    }

    fn show(&self, see: See<'_>) {
        self.revision.show(see);
    }
}

impl Revision {
    const KEY: &'static [&'static str] = &["assignment_id", "key_version", "rubric_version"];

    fn show(&self, see: See<'_>) {
        see(text("assignment_id", &self.assignment_id).referring());
        see(text("class_id", &self.class_id));
        see(int("key_version", self.key_version));
        see(int("rubric_version", self.rubric_version));
        see(json("key", &self.key_json));
        see(text("teacher_id", &self.teacher_id));
        see(text("reason", self.reason));
    }
}
