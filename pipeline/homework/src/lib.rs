//! The workload: a seeded school in virtual time.
//!
//! [`School`] sends a term of homework as a server would receive it, line by line, and says of each line what a
//! receiver must make of it. It stands for everything outside the engine, and knows nothing of it: events are typed
//! here a second time on purpose, so that what is checked against them shares no decoding, no deduplication and no
//! rule about lateness with what is checked.
//!
//! # The school
//!
//! 17 classes of 44 pupils, 12 weeks from Monday 2025-09-01 in Asia/Shanghai: some 200,000 events. On each of five
//! school days a class gets one assignment in each of three subjects, between 07:00 and 08:30, due the next evening at
//! 20:00. About 92 % are handed in: most the same evening, the rest the next day, a few overdue. Pupils differ in
//! ability and slowly change, and so do scores and ranks. For another number of events the school has more or fewer
//! classes, and smaller ones where that fits better.
//!
//! Among what is accepted (rates of the default configuration, [`Rates`]):
//!
//! * second attempts (6.5 %); if the first was sent by an offline device, the second may arrive before it. On most
//!   assignments the best attempt counts, on 20 % the last, on 10 % the first;
//! * photographed submissions (10 %; the others are typed in) of one to three pages: a photo of each is stored and then
//!   read, once the submission is there; 10 % of the photos arrive before their submission, 8 % are rejected and taken
//!   again. Items that were read in doubt (3 %) are queued for review, and most are resolved hours later;
//! * revised answer keys (2 % of assignments) and rubrics (1 %), one to three days after the assignment was due; some
//!   are revised again;
//! * submissions by offline devices (3 %), received one hour to seven days after they were made;
//! * device clocks that are wrong (1 %) by up to twelve hours, so that `occurred_at` may lie after `received_at`;
//! * teachers' overrides (1 % of submissions), some overridden again, cleared, or cleared and set again;
//! * withdrawals (0.5 %), also of submissions whose mark is overridden later; requests for a regrade (0.3 %); lateness
//!   excused (20 % of what is received after it was due); copies suspected (0.1 %), half of them dismissed;
//! * pupils who change classes (1 % in the term, nobody twice), half of them with their history. From then on they hand in the new
//!   class's homework; of the old one's only what was done before, and sent by a device that was offline;
//! * consent that is withdrawn (1 % of pupils), half of it given again; pupils who are erased (0.2 %, and at least one of
//!   more than 500);
//! * all spellings of the same: defaults given or left out (`causes`, `schema_version`, `pages`, `key_version`,
//!   `rubric_version`, `attempts`), `event_id` given in one line of eight, the envelope before or after the record's own
//!   fields.
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
//!   before its effects: an assignment before its submissions and revisions, a submission before what is done to it,
//!   a photo before its reading, that before its reviews. Only a photo may come before its submission; if the pupil
//!   changes classes or is erased in those minutes, the submission never comes.
//! * Each revision of an assignment raises one of its two versions by one. A page is stored once, and read once.
//! * After `student_erased`, no line of any kind is about that pupil.
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
//! let school = School::new(SchoolConfig { seed: 7, events: 9, items: 1, rates, ..SchoolConfig::default() });
//! assert_eq!((school.classes(), school.pupils_per_class()), (1, 1));
//! let sent: Vec<_> = school.collect();
//!
//! // On Monday morning three assignments are published, the first of them twice, the second with its envelope last.
//! assert_eq!(sent[1].expect, Expect::Duplicate);
//! assert!(sent[2].line.starts_with(r#"{"assignment_id":"c0001-w01-chinese-1","#));
//!
//! // In the evening the third is handed in, photographed.
//! assert_eq!(
//!     sent[4].line,
//!     concat!(
//!         r#"{"event_type":"submission_received","tenant":"demo-school","#,
//!         r#""occurred_at":"2025-09-01T11:23:15.157Z","received_at":"2025-09-01T11:23:16.570Z","#,
//!         r#""schema_version":1,"student_id":"s9d02310c","submission_id":"c0001-w01-math-1.s9d02310c.1","#,
//!         r#""class_id":"c0001","assignment_id":"c0001-w01-math-1","attempt":1,"#,
//!         r#""answers":[{"item":"1","answer":"ＤＡＢＣ"}],"pages":1}"#,
//!     )
//! );
//! let Expect::Accepted(event) = &sent[4].expect else { panic!("{:?}", sent[4].expect) };
//! assert_eq!(event.topic(), "submissions");
//! assert_eq!(event.field("attempt"), Value::Int(1));
//! assert_eq!(event.field("causes"), Value::Null); // left to its default
//! assert_eq!(event.field("points"), Value::Null); // another record's
//!
//! // Its photo arrives four seconds later, and is read once, although the reader says so twice.
//! let [photo, sheet] = [&sent[5], &sent[6]].map(|sent| match &sent.expect {
//!     Expect::Accepted(event) => event,
//!     other => panic!("{other:?}"),
//! });
//! assert_eq!((photo.event_type(), sheet.event_type()), ("photo_stored", "sheet_read"));
//! assert_eq!(sheet.field("sha256"), photo.field("sha256"));
//! let answers = r#"[{"item":"1","answer":"ＤＡＢＣ","confidence":828}]"#;
//! assert_eq!(sheet.field("answers"), Value::Text(answers.to_owned()));
//! assert_eq!(sent[7].expect, Expect::Duplicate);
//!
//! // Somebody sends a fourth attempt with a comma too many. There never was one.
//! assert_eq!(sent[8].expect, Expect::Rejected(Reject::MalformedJson));
//! assert!(sent[8].line.starts_with(r#"{,"event_type":"submission_received","#));
//!
//! let mut tally = Tally::default();
//! tally.extend(&sent);
//! assert_eq!(tally.accepted["assignment_published"], 3);
//! assert_eq!((tally.accepted_total(), tally.duplicates, tally.rejected_total()), (6, 2, 1));
//! ```

mod agenda;
mod calendar;
mod chance;
mod config;
mod event;
mod fault;
mod json;
mod key;
mod key_revision;
mod line;
mod new_key;
mod paper;
mod population;
mod rates;
mod roster;
mod school;
mod sent;
mod size;
mod tally;

pub use config::SchoolConfig;
pub use event::{
    Answer, AnswerKeyRevised, AssignmentPublished, Attempts, ClassEnrolmentChanged, ConsentGiven, ConsentWithdrawn,
    CopyDismissed, CopySuspected, Envelope, Event, History, LateExcused, OverrideCleared, PhotoFault, PhotoRejected,
    PhotoStored, Record, RegradeRequested, ReviewQueued, ReviewResolved, Revision, RubricRevised, SheetRead,
    StudentErased, SubmissionReceived, SubmissionWithdrawn, TOPICS, TeacherOverrode, Value,
};
pub use key::{AnswerKey, ItemKind, KeyItem};
pub use rates::Rates;
pub use school::School;
pub use sent::{Expect, Reject, Sent};
pub use tally::Tally;
