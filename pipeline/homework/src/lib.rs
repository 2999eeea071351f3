//! The workload: a seeded school in virtual time.
//!
//! [`School`] sends a term of homework as a server would receive it, line by line, and says of each line what a
//! receiver must make of it. It stands for everything outside the engine, and knows nothing of it: events are typed
//! here a second time on purpose, so that what is checked against them shares no decoding, no deduplication and no
//! rule about lateness with what is checked.
//!
//! # The school
//!
//! 24 classes of 45 pupils, 12 weeks from Monday 2025-09-01 in Asia/Shanghai: some 200,000 events. On each of five
//! school days a class gets one assignment in each of three subjects, between 07:00 and 08:30, due the next evening at
//! 20:00. About 92 % are handed in: most the same evening, the rest the next day, a few overdue. Pupils differ in
//! ability and slowly change, and so do scores and ranks. For another number of events the school has more or fewer
//! classes, and smaller ones where that fits better.
//!
//! Among what is accepted (rates of the default configuration, [`Rates`]):
//!
//! * second attempts (6.5 %); if the first was sent by an offline device, the second may arrive before it;
//! * submissions by offline devices (3 %), received one hour to seven days after they were made;
//! * device clocks that are wrong (1 %) by up to twelve hours, so that `occurred_at` may lie after `received_at`;
//! * teachers' overrides (1 % of submissions), some overridden again, cleared, or cleared and set again;
//! * withdrawals (0.5 %), also of submissions whose mark is overridden later;
//! * all spellings of the same: defaults given or left out (`causes`, `schema_version`, `pages`, `key_version`,
//!   `rubric_version`), `event_id` given in one line of eight, the envelope before or after the record's own fields.
//!
//! And among what is not:
//!
//! * duplicates (0.5 %): the same bytes again, the same content received up to six days later, or the same content
//!   in another spelling;
//! * corrupt lines (0.2 %), each with just one fault: the kinds of [`Reject`] in turn, one in twenty oversized. These
//!   are extra lines: what they were made of has been, or will be, sent whole.
//!
//! # Promises
//!
//! * Exactly [`SchoolConfig::events`] lines, extra lines included.
//! * Lines come in order of `received_at`, which is in every line (of malformed ones, perhaps cut off). A cause comes
//!   before its effects: an assignment before its submissions, a submission before what is done to it.
//! * An accepted event's idempotency key is new; a duplicate has the content (all but `received_at` and `event_id`,
//!   defaults filled in) of an accepted event; a conflict has its key and other content; a rejected line's key has not
//!   been accepted, unless it is a conflict, and no later line refers to it.
//! * The same configuration gives the same lines, on every machine. No clock is read.
//! * Times are whole milliseconds; nested values (`key`, `answers`, `causes`) are compact JSON.
//!
//! # A worked case
//!
//! A very small school with a great deal going wrong:
//!
//! ```
//! use chalk_homework::{Expect, Rates, Reject, School, SchoolConfig, Tally, Value};
//!
//! let rates = Rates { duplicate_per_10k: 2_000, corrupt_per_10k: 1_500, ..Rates::default() };
//! let school = School::new(SchoolConfig { seed: 12, events: 8, items: 1, rates, ..SchoolConfig::default() });
//! assert_eq!((school.classes(), school.pupils_per_class()), (1, 1));
//! let sent: Vec<_> = school.collect();
//!
//! // On Monday morning three assignments are published, in the afternoon the first is handed in.
//! assert_eq!(
//!     sent[3].line,
//!     concat!(
//!         r#"{"event_type":"submission_received","tenant":"demo-school","#,
//!         r#""occurred_at":"2025-09-01T10:25:27.154Z","received_at":"2025-09-01T10:25:28.685Z","#,
//!         r#""student_id":"s481c8c82","submission_id":"c0001-w01-chinese-1.s481c8c82.1","#,
//!         r#""class_id":"c0001","assignment_id":"c0001-w01-chinese-1","attempt":1,"#,
//!         r#""answers":[{"item":"1","answer":"C"},{"item":"2","answer":"ABC"},{"item":"3","answer":"-4/2"}],"#,
//!         r#""pages":3}"#,
//!     )
//! );
//! let Expect::Accepted(event) = &sent[3].expect else { panic!("{:?}", sent[3].expect) };
//! assert_eq!(event.topic(), "submissions");
//! assert_eq!(event.field("attempt"), Value::Int(1));
//! assert_eq!(event.field("schema_version"), Value::Int(1)); // left to its default
//! assert_eq!(event.field("points"), Value::Null); // another record's
//!
//! // The second is handed in twice, 41 seconds apart; then comes the first once more, with a brace too many; and on
//! // Tuesday before dawn the second attempt at the second, its envelope last.
//! assert_eq!(sent[5].expect, Expect::Duplicate);
//! assert_eq!(sent[6].expect, Expect::Rejected(Reject::MalformedJson));
//! assert!(sent[6].line.ends_with(r#""pages":3}}"#));
//! assert!(sent[7].line.starts_with(r#"{"student_id":"s481c8c82","#));
//!
//! let mut tally = Tally::default();
//! tally.extend(&sent);
//! assert_eq!(tally.accepted["submission_received"], 3);
//! assert_eq!((tally.accepted_total(), tally.duplicates, tally.rejected_total()), (6, 1, 1));
//! ```

mod agenda;
mod calendar;
mod chance;
mod config;
mod event;
mod fault;
mod json;
mod key;
mod line;
mod paper;
mod population;
mod school;
mod sent;
mod tally;

pub use config::{Rates, SchoolConfig};
pub use event::{
    Answer, AssignmentPublished, Envelope, Event, OverrideCleared, Record, SubmissionReceived, SubmissionWithdrawn,
    TeacherOverrode, Value,
};
pub use key::{AnswerKey, ItemKind, KeyItem};
pub use school::School;
pub use sent::{Expect, Reject, Sent};
pub use tally::Tally;
