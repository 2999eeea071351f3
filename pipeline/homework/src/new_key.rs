//! Events that could have been sent but never are: with another idempotency key, about something that does not exist.

use crate::chance::Chance;
use crate::event::{
    AnswerKeyRevised, ClassEnrolmentChanged, ConsentGiven, ConsentWithdrawn, LateExcused, OverrideCleared,
    PhotoRejected, PhotoStored, Record, RegradeRequested, ReviewQueued, ReviewResolved, Revision, RubricRevised,
    StudentErased, SubmissionReceived, SubmissionWithdrawn, TeacherOverrode,
};
use crate::json::write_hex;
use std::sync::Arc;

/// Attempts that pupils really make are below this.
const ATTEMPT_NEVER_MADE: i64 = 3;
/// So are versions of keys below this.
const VERSION_NEVER_MADE: i64 = 100;

/// Gives a record an idempotency key that nothing else has, neither before nor after.
pub(crate) fn give_new_key(record: &mut Record, chance: &mut Chance) {
    match record {
        Record::SubmissionReceived(it) => {
            it.attempt = ATTEMPT_NEVER_MADE + chance.between(0, 6);
            it.submission_id = SubmissionReceived::id_of(&it.assignment_id, &it.student_id, it.attempt);
        }
        Record::AssignmentPublished(it) => it.key_version = VERSION_NEVER_MADE + chance.between(0, 1_000),
        Record::AnswerKeyRevised(AnswerKeyRevised { revision: Revision { key_version, .. } })
        | Record::RubricRevised(RubricRevised { revision: Revision { key_version, .. } }) => {
            *key_version = VERSION_NEVER_MADE + chance.between(0, 1_000);
        }
        Record::PhotoStored(PhotoStored { sha256, .. }) | Record::PhotoRejected(PhotoRejected { sha256, .. }) => {
            *sha256 = new_hash(chance);
        }
        Record::SheetRead(it) => it.sha256 = new_hash(chance),
        Record::ReviewQueued(ReviewQueued { reader, .. }) | Record::ReviewResolved(ReviewResolved { reader, .. }) => {
            *reader = format!("read_sheet@{:016x}", chance.bits());
        }
        Record::CopySuspected(it) => it.pair_id = new_pair(chance),
        Record::CopyDismissed(it) => it.pair_id = new_pair(chance),
        Record::SubmissionWithdrawn(SubmissionWithdrawn { command_id, .. })
        | Record::TeacherOverrode(TeacherOverrode { command_id, .. })
        | Record::OverrideCleared(OverrideCleared { command_id, .. })
        | Record::LateExcused(LateExcused { command_id, .. })
        | Record::RegradeRequested(RegradeRequested { command_id, .. })
        | Record::ClassEnrolmentChanged(ClassEnrolmentChanged { command_id, .. })
        | Record::ConsentGiven(ConsentGiven { command_id, .. })
        | Record::ConsentWithdrawn(ConsentWithdrawn { command_id, .. })
        | Record::StudentErased(StudentErased { command_id, .. }) => {
            *command_id = format!("cmd-{:016x}", chance.bits());
        }
    }
}

fn new_hash(chance: &mut Chance) -> String {
    let mut hash = String::with_capacity(64);
    (0..4).for_each(|_| write_hex(&mut hash, chance.bits()));
    hash
}

fn new_pair(chance: &mut Chance) -> String {
    format!("pair-{:016x}", chance.bits())
}

/// Makes a record that names an assignment name one that was never published: there is no ninth day in a week.
pub(crate) fn refer_to_nothing(record: &mut Record) {
    match record {
        Record::SubmissionReceived(it) => {
            it.assignment_id = ninth_day(&it.assignment_id);
            it.submission_id = SubmissionReceived::id_of(&it.assignment_id, &it.student_id, it.attempt);
        }
        Record::AnswerKeyRevised(AnswerKeyRevised { revision }) | Record::RubricRevised(RubricRevised { revision }) => {
            revision.assignment_id = ninth_day(&revision.assignment_id);
        }
        _ => {}
    }
}

fn ninth_day(assignment_id: &str) -> Arc<str> {
    let day = assignment_id.rfind('-').map_or(0, |dash| dash + 1);
    format!("{}9", &assignment_id[..day]).into()
}
