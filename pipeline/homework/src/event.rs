//! What happened, typed: the generator's own account of each event, against which a receiver can be held.

use crate::key::AnswerKey;
use serde_json::Value as Json;
use std::sync::Arc;
use uuid::Uuid;

/// One event, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What every event carries.
    pub envelope: Envelope,
    /// What this kind of event carries.
    pub record: Record,
}

/// The fields of every event, but for `event_type` ([`Event::event_type`]) and `event_id` ([`Event::event_id`]), which
/// follow from the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Whose event this is.
    pub tenant: Arc<str>,
    /// By the device's clock, in nanoseconds since 1970; whole milliseconds.
    pub occurred_at: i64,
    /// By the server's clock, in nanoseconds since 1970; whole milliseconds.
    pub received_at: i64,
    /// The JSON text of the ids that this event was derived from.
    pub causes: Option<String>,
    /// Always 1 so far.
    pub schema_version: i64,
}

/// The events of the two topics `assignments` and `submissions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An assignment was published to a class, with its answer key.
    AssignmentPublished(AssignmentPublished),
    /// A pupil handed in answers.
    SubmissionReceived(SubmissionReceived),
    /// A submission was taken back.
    SubmissionWithdrawn(SubmissionWithdrawn),
    /// A teacher set the mark of a submission.
    TeacherOverrode(TeacherOverrode),
    /// A teacher's mark was taken away again.
    OverrideCleared(OverrideCleared),
}

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
    /// How many pupils are expected to hand it in.
    pub pupils: i64,
    /// Always 1 so far.
    pub key_version: i64,
    /// Always 1 so far.
    pub rubric_version: i64,
    /// The key, typed.
    pub key: Arc<AnswerKey>,
    /// The key's compact JSON text as it stands in the line.
    pub key_json: Arc<str>,
}

/// Of topic `submissions`; told apart by student, assignment and attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionReceived {
    /// A pseudonym: `s` and eight hexadecimal digits.
    pub student_id: String,
    /// `<assignment>.<student>.<attempt>`.
    pub submission_id: String,
    /// `c0001`.
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

/// Of topic `submissions`; told apart by command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionWithdrawn {
    /// Whose submission it was.
    pub student_id: String,
    /// Which submission.
    pub submission_id: String,
    /// Unique.
    pub command_id: String,
}

/// Of topic `submissions`; told apart by command.
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

/// Of topic `submissions`; told apart by command.
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

/// What a pupil wrote for one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The item's name in the key.
    pub item: String,
    /// As written, stray spaces and full-width letters included; `None` if left blank.
    pub answer: Option<String>,
}

/// The value of one column of one event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Absent: a nullable field, or one that belongs to another record of the topic.
    Null,
    /// A number.
    Int(i64),
    /// A string; for `key`, `answers` and `causes` the compact JSON text.
    Text(String),
    /// Nanoseconds since 1970.
    Time(i64),
}

impl Event {
    /// `assignments` or `submissions`.
    pub fn topic(&self) -> &'static str {
        match self.record {
            Record::AssignmentPublished(_) => "assignments",
            Record::SubmissionReceived(_)
            | Record::SubmissionWithdrawn(_)
            | Record::TeacherOverrode(_)
            | Record::OverrideCleared(_) => "submissions",
        }
    }

    /// `assignment_published`, `submission_received`, …
    pub fn event_type(&self) -> &'static str {
        match self.record {
            Record::AssignmentPublished(_) => "assignment_published",
            Record::SubmissionReceived(_) => "submission_received",
            Record::SubmissionWithdrawn(_) => "submission_withdrawn",
            Record::TeacherOverrode(_) => "teacher_overrode",
            Record::OverrideCleared(_) => "override_cleared",
        }
    }

    /// The values that tell this event from others of its type and tenant, joined by colons.
    pub fn idempotency_key(&self) -> String {
        match &self.record {
            Record::AssignmentPublished(it) => format!("{}:{}", it.assignment_id, it.key_version),
            Record::SubmissionReceived(it) => {
                format!("{}:{}:{}", it.student_id, it.assignment_id, it.attempt)
            }
            Record::SubmissionWithdrawn(it) => it.command_id.clone(),
            Record::TeacherOverrode(it) => it.command_id.clone(),
            Record::OverrideCleared(it) => it.command_id.clone(),
        }
    }

    /// UUIDv5 (URL namespace) of `chalkstream:<event type>:<tenant>:<idempotency key>`.
    pub fn event_id(&self) -> Uuid {
        let name = format!("chalkstream:{}:{}:{}", self.event_type(), self.envelope.tenant, self.idempotency_key());
        Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
    }

    /// The columns of a topic: the envelope's, then those of its records. Empty for a topic that this school does not
    /// write.
    pub fn columns(topic: &str) -> &'static [&'static str] {
        match topic {
            "assignments" => &[
                "event_id",
                "event_type",
                "tenant",
                "occurred_at",
                "received_at",
                "causes",
                "schema_version",
                "assignment_id",
                "class_id",
                "subject",
                "due_at",
                "pupils",
                "key_version",
                "rubric_version",
                "key",
            ],
            "submissions" => &[
                "event_id",
                "event_type",
                "tenant",
                "occurred_at",
                "received_at",
                "causes",
                "schema_version",
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
            ],
            _ => &[],
        }
    }

    /// What stands in column `name` of the event's topic, defaults filled in and `event_id` computed, whether or not
    /// the line spelt them out. [`Value::Null`] for a field of another record, and for a name that no record has.
    pub fn field(&self, name: &str) -> Value {
        let envelope = &self.envelope;
        match name {
            "event_id" => Value::Text(self.event_id().to_string()),
            "event_type" => text(self.event_type()),
            "tenant" => text(&envelope.tenant),
            "occurred_at" => Value::Time(envelope.occurred_at),
            "received_at" => Value::Time(envelope.received_at),
            "causes" => envelope.causes.as_deref().map_or(Value::Null, text),
            "schema_version" => Value::Int(envelope.schema_version),
            _ => self.record.field(name),
        }
    }
}

impl Record {
    fn field(&self, name: &str) -> Value {
        match self {
            Self::AssignmentPublished(it) => match name {
                "assignment_id" => text(&it.assignment_id),
                "class_id" => text(&it.class_id),
                "subject" => text(it.subject),
                "due_at" => Value::Time(it.due_at),
                "pupils" => Value::Int(it.pupils),
                "key_version" => Value::Int(it.key_version),
                "rubric_version" => Value::Int(it.rubric_version),
                "key" => text(&it.key_json),
                _ => Value::Null,
            },
            Self::SubmissionReceived(it) => match name {
                "student_id" => text(&it.student_id),
                "submission_id" => text(&it.submission_id),
                "class_id" => text(&it.class_id),
                "assignment_id" => text(&it.assignment_id),
                "attempt" => Value::Int(it.attempt),
                "answers" => text(&it.answers_json),
                "pages" => Value::Int(it.pages),
                _ => Value::Null,
            },
            Self::SubmissionWithdrawn(it) => match name {
                "student_id" => text(&it.student_id),
                "submission_id" => text(&it.submission_id),
                "command_id" => text(&it.command_id),
                _ => Value::Null,
            },
            Self::TeacherOverrode(it) => match name {
                "student_id" => text(&it.student_id),
                "submission_id" => text(&it.submission_id),
                "command_id" => text(&it.command_id),
                "points" => Value::Int(it.points),
                "teacher_id" => text(&it.teacher_id),
                _ => Value::Null,
            },
            Self::OverrideCleared(it) => match name {
                "student_id" => text(&it.student_id),
                "submission_id" => text(&it.submission_id),
                "command_id" => text(&it.command_id),
                "teacher_id" => text(&it.teacher_id),
                _ => Value::Null,
            },
        }
    }
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
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
