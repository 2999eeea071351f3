//! A term is what the crate's documentation says of it.

use chalk_homework::{Expect, History, Record, Reject, School, SchoolConfig, Sent, Tally};
use std::collections::{BTreeMap, BTreeSet};

const HOUR_NS: i64 = 3_600_000_000_000;
const DAY_NS: i64 = 24 * HOUR_NS;

fn school(seed: u64, events: u64) -> School {
    School::new(SchoolConfig { seed, events, ..SchoolConfig::default() })
}

#[test]
fn twenty_thousand_lines_have_every_kind_of_fault() {
    for seed in 0..20 {
        let mut tally = Tally::default();
        school(seed, 20_000).for_each(|sent| tally.add(&sent));
        assert!(Reject::ALL.iter().all(|reason| tally.rejected.contains_key(reason)), "{tally:?}");
        assert!(tally.rejected[&Reject::TooLarge] * 20 <= tally.rejected_total());
        // Two classes are too few for every kind of event to happen.
        assert!(tally.accepted.len() >= 15, "{tally:?}");
    }
}

#[test]
fn a_school_can_move_to_another_thread() {
    let lines = std::thread::spawn(|| school(1, 10).count()).join();
    assert_eq!(lines.ok(), Some(10));
}

#[test]
fn a_seed_decides_everything() {
    let lines: Vec<Sent> = school(7, 4_000).collect();
    assert!(school(7, 4_000).eq(lines.iter().cloned()));
    let others: Vec<Sent> = school(8, 4_000).collect();
    let same = lines.iter().zip(&others).filter(|(a, b)| a.line == b.line).count();
    assert_eq!(same, 0);
}

#[test]
fn a_benchmark_can_ask_for_submissions_of_a_kilobyte() {
    let config = SchoolConfig { events: 3_000, items: 40, ..SchoolConfig::default() };
    let lengths = School::new(config).filter_map(|sent| match sent.expect {
        Expect::Accepted(event) if event.event_type() == "submission_received" => Some(sent.line.len()),
        _ => None,
    });
    let lengths: Vec<usize> = lengths.collect();
    let mean = lengths.iter().sum::<usize>() / lengths.len();
    assert!((1_000..2_000).contains(&mean), "{mean} bytes");
}

/// Checks that `count` is between `low` and `high` permille of `total`.
#[track_caller]
fn check_share(what: &str, count: u64, total: u64, low: f64, high: f64) {
    let permille = count as f64 * 1_000.0 / total as f64;
    assert!((low..=high).contains(&permille), "{what}: {permille} ‰");
}

/// What a term's events are counted by, beyond their type.
#[derive(Default)]
struct Counts {
    tally: Tally,
    late: u64,
    wrong_clock: u64,
    given_id: u64,
    second: u64,
    blank: u64,
    overdue: u64,
    photographed: u64,
    early_photos: u64,
    doubted: u64,
    items_read: u64,
    history_moves: u64,
    attempts: BTreeMap<&'static str, u64>,
    pages: BTreeMap<i64, u64>,
    weeks: BTreeSet<String>,
    due_at: BTreeMap<String, i64>,
    submitted: BTreeSet<String>,
}

impl Counts {
    fn add(&mut self, sent: &Sent) {
        self.tally.add(sent);
        let Expect::Accepted(event) = &sent.expect else { return };
        self.given_id += u64::from(sent.line.contains("\"event_id\""));
        let lag = event.envelope.received_at - event.envelope.occurred_at;
        assert!((-12 * HOUR_NS..=7 * DAY_NS + 13 * HOUR_NS).contains(&lag));
        match &event.record {
            Record::AssignmentPublished(it) => {
                self.weeks.insert(it.assignment_id[6..9].to_owned());
                self.due_at.insert(it.assignment_id.to_string(), it.due_at);
                *self.attempts.entry(it.attempts.name()).or_default() += 1;
                assert!((6..=10).contains(&it.key.items.len()));
            }
            Record::AnswerKeyRevised(it) => self.check_revised(&it.revision.assignment_id, sent.received_at),
            Record::RubricRevised(it) => self.check_revised(&it.revision.assignment_id, sent.received_at),
            Record::SubmissionReceived(it) => {
                self.late += u64::from(lag > 13 * HOUR_NS);
                self.wrong_clock += u64::from(lag < 0);
                self.second += u64::from(it.attempt == 2);
                self.blank += u64::from(it.answers().iter().any(|answer| answer.answer.is_none()));
                self.overdue += u64::from(sent.received_at > self.due_at[&*it.assignment_id]);
                self.photographed += u64::from(it.pages > 0);
                *self.pages.entry(it.pages).or_default() += 1;
                self.submitted.insert(it.submission_id.clone());
            }
            Record::PhotoStored(it) => self.early_photos += u64::from(!self.submitted.contains(&it.submission_id)),
            Record::SheetRead(it) => {
                self.items_read += it.answers_json.matches("\"confidence\"").count() as u64;
                assert!((0..=1_000).contains(&it.completion));
                assert_eq!((it.sha256.len(), it.ink_hash.len()), (64, 64));
            }
            Record::ReviewQueued(_) => self.doubted += 1,
            Record::ClassEnrolmentChanged(it) => self.history_moves += u64::from(it.history == History::Moves),
            _ => {}
        }
    }

    /// One to three days after it was due; a day more for each further revision.
    fn check_revised(&self, assignment_id: &str, received_at: i64) {
        let after = received_at - self.due_at[assignment_id];
        assert!((DAY_NS..10 * DAY_NS).contains(&after), "{after} ns after {assignment_id} was due");
    }

    fn accepted(&self, event_type: &str) -> u64 {
        self.tally.accepted.get(event_type).copied().unwrap_or_default()
    }
}

#[test]
fn a_term_is_what_it_was_said_to_be() {
    let term = School::new(SchoolConfig::default());
    let (classes, pupils) = (u64::from(term.classes()), u64::from(term.pupils_per_class()));
    assert_eq!((classes, pupils), (17, 44));
    let mut counts = Counts::default();
    term.for_each(|sent| counts.add(&sent));
    let tally = &counts.tally;

    assert_eq!(tally.lines(), 200_000);
    assert_eq!(tally.accepted.len(), 20, "{tally:?}");
    assert_eq!(counts.weeks.iter().next_back().map(String::as_str), Some("w12"));
    let assignments = counts.accepted("assignment_published");
    assert_eq!(assignments, classes * 15 * 12);
    check_share("last attempts count", counts.attempts["last"], assignments, 180.0, 220.0);
    check_share("first attempts count", counts.attempts["first"], assignments, 80.0, 120.0);
    check_share("keys revised", counts.accepted("answer_key_revised"), assignments, 15.0, 30.0);
    check_share("rubrics revised", counts.accepted("rubric_revised"), assignments, 7.0, 20.0);

    let submissions = counts.accepted("submission_received");
    // That of the last day is not handed in yet.
    check_share("handed in", submissions - counts.second, assignments * pupils, 900.0, 935.0);
    check_share("resubmitted", counts.second, submissions - counts.second, 58.0, 72.0);
    check_share("overridden", counts.accepted("teacher_overrode"), submissions, 8.0, 12.5);
    check_share("cleared", counts.accepted("override_cleared"), submissions, 1.5, 3.5);
    check_share("withdrawn", counts.accepted("submission_withdrawn"), submissions, 4.0, 6.0);
    check_share("excused", counts.accepted("late_excused"), counts.overdue, 180.0, 220.0);
    check_share("regrades asked for", counts.accepted("regrade_requested"), submissions, 2.5, 3.5);
    // About a quarter of the late ones are late by less than what a wrong clock could explain.
    check_share("late", counts.late, submissions, 17.0, 31.0);
    check_share("clock fast", counts.wrong_clock, submissions, 3.5, 6.5);
    check_share("with a blank", counts.blank, submissions, 100.0, 400.0);

    check_share("photographed", counts.photographed, submissions, 95.0, 105.0);
    let pages = counts.pages.iter().map(|(pages, submissions)| *pages as u64 * submissions).sum();
    assert_eq!(counts.pages.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
    // Those of the last hour are not all on their way.
    check_share("stored", counts.accepted("photo_stored"), pages, 995.0, 1_000.0);
    check_share("read", counts.accepted("sheet_read"), counts.accepted("photo_stored"), 995.0, 1_000.0);
    check_share("photos before their submission", counts.early_photos, pages, 90.0, 110.0);
    check_share("rejected", counts.accepted("photo_rejected"), pages, 68.0, 90.0);
    check_share("read in doubt", counts.doubted, counts.items_read, 27.0, 33.0);
    check_share("reviewed", counts.accepted("review_resolved"), counts.doubted, 870.0, 920.0);
    check_share("copies", counts.accepted("copy_suspected"), submissions, 0.6, 1.3);
    check_share("dismissed", counts.accepted("copy_dismissed"), counts.accepted("copy_suspected"), 350.0, 650.0);

    let all_pupils = classes * pupils;
    check_share("change classes", counts.accepted("class_enrolment_changed"), all_pupils, 8.0, 12.0);
    assert_eq!(counts.accepted("class_enrolment_changed").div_ceil(2), counts.history_moves);
    check_share("withdraw consent", counts.accepted("consent_withdrawn"), all_pupils, 8.0, 12.0);
    assert!((1..counts.accepted("consent_withdrawn")).contains(&counts.accepted("consent_given")));
    check_share("erased", counts.accepted("student_erased"), all_pupils, 1.0, 3.0);

    check_share("duplicates", tally.duplicates, 200_000, 4.0, 6.0);
    check_share("corrupt", tally.rejected_total(), 200_000, 1.8, 2.2);
    check_share("event_id given", counts.given_id, tally.accepted_total(), 115.0, 135.0);
}

#[test]
fn somebody_is_erased_in_every_large_school() {
    for seed in 0..5 {
        let config = SchoolConfig { seed, events: 150_000, ..SchoolConfig::default() };
        let term = School::new(config);
        assert!(term.classes() * term.pupils_per_class() > 500);
        let erased = |sent: &Sent| matches!(&sent.expect, Expect::Accepted(it) if it.event_type() == "student_erased");
        assert!(term.into_iter().any(|sent| erased(&sent)), "seed {seed}");
    }
}

/// How many pupils are expected to hand in follows who is in the class when an assignment is published.
#[test]
fn pupils_are_expected_where_they_are() {
    let rates = chalk_homework::Rates { class_changed_per_10k: 4_000, erased_per_10k: 0, ..Default::default() };
    let config = SchoolConfig { events: 20_000, weeks: 4, pupils_per_class: 20, rates, ..SchoolConfig::default() };
    let school = School::new(config);
    let mut size = BTreeMap::new();
    let pupils = i64::from(school.pupils_per_class());
    for sent in school {
        let Expect::Accepted(event) = sent.expect else { continue };
        match event.record {
            Record::AssignmentPublished(it) => {
                assert_eq!(it.pupils, pupils + size.get(&it.class_id).copied().unwrap_or(0_i64));
            }
            Record::ClassEnrolmentChanged(it) => {
                *size.entry(it.class_id).or_default() += 1;
                *size.entry(it.class_before).or_default() -= 1;
            }
            _ => {}
        }
    }
    assert!(size.values().any(|change| *change != 0));
}
