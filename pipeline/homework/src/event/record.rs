//! All kinds of event.

use super::fact::Fact;
use super::{
    AnswerKeyRevised, AssignmentPublished, ClassEnrolmentChanged, ConsentGiven, ConsentWithdrawn, CopyDismissed,
    CopySuspected, LateExcused, OverrideCleared, PhotoRejected, PhotoStored, RegradeRequested, ReviewQueued,
    ReviewResolved, RubricRevised, SheetRead, StudentErased, SubmissionReceived, SubmissionWithdrawn, TeacherOverrode,
};

/// What one event says, by kind. The two longest are boxed: a school's events are many, and most are short.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is documented at the type of its name")]
pub enum Record {
    AssignmentPublished(AssignmentPublished),
    AnswerKeyRevised(AnswerKeyRevised),
    RubricRevised(RubricRevised),
    SubmissionReceived(SubmissionReceived),
    SubmissionWithdrawn(SubmissionWithdrawn),
    TeacherOverrode(TeacherOverrode),
    OverrideCleared(OverrideCleared),
    LateExcused(LateExcused),
    RegradeRequested(RegradeRequested),
    PhotoStored(PhotoStored),
    PhotoRejected(PhotoRejected),
    SheetRead(Box<SheetRead>),
    ReviewQueued(ReviewQueued),
    ReviewResolved(ReviewResolved),
    CopySuspected(Box<CopySuspected>),
    CopyDismissed(CopyDismissed),
    ClassEnrolmentChanged(ClassEnrolmentChanged),
    ConsentGiven(ConsentGiven),
    ConsentWithdrawn(ConsentWithdrawn),
    StudentErased(StudentErased),
}

impl Record {
    pub(crate) fn fact(&self) -> &dyn Fact {
        match self {
            Self::AssignmentPublished(it) => it,
            Self::AnswerKeyRevised(it) => it,
            Self::RubricRevised(it) => it,
            Self::SubmissionReceived(it) => it,
            Self::SubmissionWithdrawn(it) => it,
            Self::TeacherOverrode(it) => it,
            Self::OverrideCleared(it) => it,
            Self::LateExcused(it) => it,
            Self::RegradeRequested(it) => it,
            Self::PhotoStored(it) => it,
            Self::PhotoRejected(it) => it,
            Self::SheetRead(it) => &**it,
            Self::ReviewQueued(it) => it,
            Self::ReviewResolved(it) => it,
            Self::CopySuspected(it) => &**it,
            Self::CopyDismissed(it) => it,
            Self::ClassEnrolmentChanged(it) => it,
            Self::ConsentGiven(it) => it,
            Self::ConsentWithdrawn(it) => it,
            Self::StudentErased(it) => it,
        }
    }
}
