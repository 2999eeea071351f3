//! Topic `submissions`: what pupils hand in, and what is said about it.

use super::fact::{Cell, Fact, Kind, See, int, json, text};
use crate::line::Spelling;
use serde_json::Value as Json;
use std::sync::Arc;

pub(super) const OWN_COLUMNS: &[&str] = &[
    "student_id",
    "submission_id",
    "class_id",
    "assignment_id",
    "attempt",
    "answers",
    "pages",
    "command_id",
    "points",
    "teacher_id",
    "reason",
];

/// Of topic `submissions`; told apart by student, assignment and attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionReceived {
    /// A pseudonym: `s` and eight hexadecimal digits.
    pub student_id: String,
    /// `<assignment>.<student>.<attempt>`.
    pub submission_id: String,
    /// The class that it was set for.
    pub class_id: Arc<str>,
    /// What is handed in.
    pub assignment_id: Arc<str>,
    /// From 1.
    pub attempt: i64,
    /// The answers' compact JSON text as it stands in the line; [`SubmissionReceived::answers`] reads it.
    pub answers_json: String,
    /// Photographed pages; 0 when typed in.
    pub pages: i64,
}

/// What a pupil wrote for one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The item's name in the key.
    pub item: String,
    /// As written, stray spaces and full-width letters included; `None` if left blank.
    pub answer: Option<String>,
}

/// Of topic `submissions`; told apart by command. A submission is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionWithdrawn {
    /// Whose submission it was.
    pub student_id: String,
    /// Which submission.
    pub submission_id: String,
    /// Unique.
    pub command_id: String,
}

/// Of topic `submissions`; told apart by command. A teacher sets the mark of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeacherOverrode {
    /// Whose submission it is.
    pub student_id: String,
    /// Which submission.
    pub submission_id: String,
    /// Unique.
    pub command_id: String,
    /// The new mark for the whole submission, in thousandths.
    pub points: i64,
    /// `t0001-math`.
    pub teacher_id: String,
}

/// Of topic `submissions`; told apart by command. A teacher's mark is taken away again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideCleared {
    /// Whose submission it is.
    pub student_id: String,
    /// Which submission.
    pub submission_id: String,
    /// Unique.
    pub command_id: String,
    /// `t0001-math`.
    pub teacher_id: String,
}

/// Of topic `submissions`; told apart by command. An overdue submission counts as handed in on time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateExcused {
    /// Whose submission it is.
    pub student_id: String,
    /// Which submission.
    pub submission_id: String,
    /// Unique.
    pub command_id: String,
    /// `t0001-math`.
    pub teacher_id: String,
}

/// Of topic `submissions`; told apart by command. A pupil asks a teacher to look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegradeRequested {
    /// Whose submission it is.
    pub student_id: String,
    /// Which submission.
    pub submission_id: String,
    /// Unique.
    pub command_id: String,
    /// The pupil's words.
    pub reason: &'static str,
}

impl SubmissionReceived {
    /// The answers, typed, in the order of the line.
    pub fn answers(&self) -> Vec<Answer> {
        let Ok(Json::Array(answers)) = serde_json::from_str(&self.answers_json) else {
            return Vec::new();
        };
        answers
            .iter()
            .map(|answer| Answer {
                item: answer["item"].as_str().unwrap_or_default().to_owned(),
                answer: answer["answer"].as_str().map(str::to_owned),
            })
            .collect()
    }

    /// The id of the submission that this attempt makes.
    pub(crate) fn id_of(assignment_id: &str, student_id: &str, attempt: i64) -> String {
        format!("{assignment_id}.{student_id}.{attempt}")
    }
}

impl Fact for SubmissionReceived {
    fn kind(&self) -> &'static Kind {
        &Kind {
            topic: "submissions",
            event_type: "submission_received",
            key: &["student_id", "assignment_id", "attempt"],
        }
    }

    fn show(&self, see: See<'_>) {
        see(text("student_id", &self.student_id));
        see(text("submission_id", &self.submission_id));
        see(text("class_id", &self.class_id));
        see(text("assignment_id", &self.assignment_id).referring());
        see(int("attempt", self.attempt));
        see(json("answers", &self.answers_json));
        see(int("pages", self.pages).or(Cell::Int(0), Spelling::PAGES));
    }
}

impl Fact for SubmissionWithdrawn {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "submissions", event_type: "submission_withdrawn", key: &["command_id"] }
    }

    fn show(&self, see: See<'_>) {
        see(text("student_id", &self.student_id));
        see(text("submission_id", &self.submission_id));
        see(text("command_id", &self.command_id));
    }
}

impl Fact for TeacherOverrode {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "submissions", event_type: "teacher_overrode", key: &["command_id"] }
    }

    fn show(&self, see: See<'_>) {
        see(text("student_id", &self.student_id));
        see(text("submission_id", &self.submission_id));
        see(text("command_id", &self.command_id));
        see(int("points", self.points));
        see(text("teacher_id", &self.teacher_id));
    }
}

impl Fact for OverrideCleared {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "submissions", event_type: "override_cleared", key: &["command_id"] }
    }

    fn show(&self, see: See<'_>) {
        see(text("student_id", &self.student_id));
        see(text("submission_id", &self.submission_id));
        see(text("command_id", &self.command_id));
        see(text("teacher_id", &self.teacher_id));
    }
}

impl Fact for LateExcused {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "submissions", event_type: "late_excused", key: &["command_id"] }
    }

    fn show(&self, see: See<'_>) {
        see(text("student_id", &self.student_id));
        see(text("submission_id", &self.submission_id));
        see(text("command_id", &self.command_id));
        see(text("teacher_id", &self.teacher_id));
    }
}

impl Fact for RegradeRequested {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "submissions", event_type: "regrade_requested", key: &["command_id"] }
    }

    fn show(&self, see: See<'_>) {
        see(text("student_id", &self.student_id));
        see(text("submission_id", &self.submission_id));
        see(text("command_id", &self.command_id));
        see(text("reason", self.reason));
    }
}
