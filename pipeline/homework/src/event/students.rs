//! Topic `students`: what the school's office says about pupils.

use super::fact::{Fact, Kind, See, text, word};
use std::sync::Arc;

pub(super) const OWN_COLUMNS: &[&str] =
    &["student_id", "class_id", "class_before", "history", "command_id", "guardian_id"];

const KEY: &[&str] = &["command_id"];

/// Of topic `students`; told apart by command. From now on the pupil hands in the new class's homework.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassEnrolmentChanged {
    /// Who moves.
    pub student_id: String,
    /// The new class.
    pub class_id: Arc<str>,
    /// The class before; never the same.
    pub class_before: Arc<str>,
    /// What becomes of what the pupil handed in so far.
    pub history: History,
    /// Unique.
    pub command_id: String,
}

/// The class rule: what becomes of a pupil's history in another class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum History {
    /// It moves to the new class's boards.
    Moves,
    /// It stays where it was made.
    Stays,
}

impl History {
    /// The name in the schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::Moves => "moves",
            Self::Stays => "stays",
        }
    }
}

/// Of topic `students`; told apart by command. Comes after a [`ConsentWithdrawn`]: before the first of those, consent was
/// given on paper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentGiven {
    /// Whose data it is about.
    pub student_id: String,
    /// Unique.
    pub command_id: String,
    /// `g` and eight hexadecimal digits.
    pub guardian_id: String,
}

/// Of topic `students`; told apart by command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentWithdrawn {
    /// Whose data it is about.
    pub student_id: String,
    /// Unique.
    pub command_id: String,
    /// `g` and eight hexadecimal digits.
    pub guardian_id: String,
}

/// Of topic `students`; told apart by command. No later line is about this pupil.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudentErased {
    /// Who is to be forgotten.
    pub student_id: String,
    /// Unique.
    pub command_id: String,
}

impl Fact for ClassEnrolmentChanged {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "students", event_type: "class_enrolment_changed", key: KEY }
    }

    fn show(&self, see: See<'_>) {
        see(text("student_id", &self.student_id));
        see(text("class_id", &self.class_id));
        see(text("class_before", &self.class_before));
        see(word("history", self.history.name()));
        see(text("command_id", &self.command_id));
    }
}

impl Fact for ConsentGiven {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "students", event_type: "consent_given", key: KEY }
    }

    fn show(&self, see: See<'_>) {
        see(text("student_id", &self.student_id));
        see(text("command_id", &self.command_id));
        see(text("guardian_id", &self.guardian_id));
    }
}

impl Fact for ConsentWithdrawn {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "students", event_type: "consent_withdrawn", key: KEY }
    }

    fn show(&self, see: See<'_>) {
        see(text("student_id", &self.student_id));
        see(text("command_id", &self.command_id));
        see(text("guardian_id", &self.guardian_id));
    }
}

impl Fact for StudentErased {
    fn kind(&self) -> &'static Kind {
        &Kind { topic: "students", event_type: "student_erased", key: KEY }
    }

    fn show(&self, see: See<'_>) {
        see(text("student_id", &self.student_id));
        see(text("command_id", &self.command_id));
    }
}
