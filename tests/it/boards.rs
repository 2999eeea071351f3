//! The rules of the boards, one small class at a time: what happened, and what the boards say.
//!
//! A scenario is a line per event: the day (0 is Monday, 1 September 2025), what happened, to whom, and what else matters. All
//! happens at 18:00 in Shanghai. Homework is due at 20:00 on the day after it was set, unless `due=` says otherwise, and has two
//! items of a point each, to be answered with B and C.
//!
//! ```text
//! 0 set a1 attempts=last      homework a1 is set for class c1
//! 0 hands_in ann a1 BC        ann's first attempt, all right
//! 1 hands_in ann a1.2 B-      her second: the second item left blank
//! 2 overrides ann a1 500      the teacher's mark for the first attempt
//! ```

use crate::program::Folder;
use serde_json::{Map, Value, json};

/// What counts, as a board of its own.
const COUNTING: &str = "
CREATE MATERIALIZED VIEW counting AS
SELECT student_id, submission_id, class_id, points FROM counting_attempts;
";

/// A board's answer: the query, and its rows as CSV without the names.
type Board<'a> = (&'a str, &'a str);

/// Sends a scenario's events, one at a time so that all that is known must be corrected by each, and asks the boards.
fn check(scenario: &str, boards: &[Board<'_>]) {
    let folder = Folder::of_homework();
    folder.write("sql/boards/counting.sql", COUNTING);
    let server = folder.serve(&["run", "--data", "data"]);
    for event in scenario.lines().filter(|line| !line.trim().is_empty()).enumerate().map(event) {
        let answer = server.client.append(&event.to_string()).expect("a living server");
        assert_eq!(answer["accepted_total"], 1, "{event}: {answer}");
    }
    server.client.caught_up();
    for (sql, rows) in boards {
        let rows: Vec<&str> = rows.lines().map(str::trim).collect();
        assert_eq!(server.client.query(sql), rows.join("\n"), "{sql} after {scenario}");
    }
    let refused = "SELECT reason, message FROM dead_letters";
    assert_eq!(server.client.query(refused), "", "derived events were refused");
}

const POINTS: &str = "SELECT submission_id, points FROM counting ORDER BY submission_id";

/// `a1.ann.2` for ann's second attempt `a1.2`.
fn submission(pupil: &str, attempt: &str) -> (String, String, u64) {
    let (assignment, number) = attempt.split_once('.').unwrap_or((attempt, "1"));
    let number = number.parse().expect("an attempt's number");
    (format!("{assignment}.{pupil}.{number}"), assignment.to_owned(), number)
}

/// The key with these right answers, and so many points for each item.
fn key(answers: &str, points: u64) -> Value {
    let item = |(number, answer): (usize, char)| json!({"item": (number + 1).to_string(), "kind": "single", "points": points, "answers": [answer.to_string()]});
    json!({"items": answers.chars().enumerate().map(item).collect::<Vec<_>>()})
}

fn answers(given: &str) -> Value {
    let answer = |(number, given): (usize, char)| json!({"item": (number + 1).to_string(), "answer": (given != '-').then(|| given.to_string())});
    given.chars().enumerate().map(answer).collect()
}

/// 18:00 in Shanghai, or `hour` UTC, on the `day`th day of the term.
fn at(day: u32, hour: u32) -> String {
    let (month, day) = if day < 30 { (9, day + 1) } else { (10, day - 29) };
    format!("2025-{month:02}-{day:02}T{hour:02}:00:00Z")
}

/// The event that a line of a scenario tells of.
fn event((number, line): (usize, &str)) -> Value {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (told, options): (Vec<&str>, Vec<&str>) = words.into_iter().partition(|word| !word.contains('='));
    let option = |name: &str| options.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
    let number_of = |name: &str, default: u64| option(name).map_or(default, |it| it.parse().expect("a number"));
    let day: u32 = told[0].parse().unwrap_or_else(|_| panic!("no day in: {line}"));
    let command = format!("command-{number}");
    let photo = |page: u64| json!({"page": page, "sha256": format!("{:064x}", number_of("photo", number as u64))});
    let (event_type, subject, fields) = match told[1..] {
        ["set", assignment] => (
            "assignment_published",
            None,
            json!({
                "assignment_id": assignment, "class_id": option("class").unwrap_or("c1"), "subject": "math", "pupils": 2,
                "due_at": at(option("due").map_or(day + 1, |due| due.parse().expect("a day")), 12),
                "attempts": option("attempts").unwrap_or("best"), "key": key("BC", 1000),
            }),
        ),
        [revises @ ("revises_key" | "revises_rubric"), assignment, answers] => (
            if revises == "revises_key" { "answer_key_revised" } else { "rubric_revised" },
            None,
            json!({
                "assignment_id": assignment, "class_id": option("class").unwrap_or("c1"), "teacher_id": "t1", "reason": "",
                "key_version": number_of("key", 1), "rubric_version": number_of("rubric", 1),
                "key": key(answers, number_of("points", 1000)),
            }),
        ),
        ["hands_in", pupil, attempt, given] => {
            let (submission, assignment, attempt) = submission(pupil, attempt);
            let fields = json!({
                "submission_id": submission, "assignment_id": assignment, "attempt": attempt,
                "class_id": option("class").unwrap_or("c1"), "answers": answers(given),
            });
            ("submission_received", Some(pupil), fields)
        }
        ["stores_photo", pupil, attempt] => {
            let fields = json!({"submission_id": submission(pupil, attempt).0, "uri": "file:1", "bytes": 9});
            ("photo_stored", Some(pupil), merged(fields, photo(1)))
        }
        ["rejects_photo", pupil, attempt] => {
            let fields = json!({"submission_id": submission(pupil, attempt).0, "reason": "corrupt"});
            ("photo_rejected", Some(pupil), merged(fields, photo(1)))
        }
        ["reads_sheet", pupil, attempt, confidence] => {
            let fields = json!({
                "submission_id": submission(pupil, attempt).0, "layout_version": 1, "reader": "r1", "answers": [],
                "confidence": confidence.parse::<u32>().expect("permille"), "completion": 1000, "ink_hash": "00",
            });
            ("sheet_read", Some(pupil), merged(fields, photo(1)))
        }
        ["queues", pupil, attempt, item] => {
            let fields = json!({
                "submission_id": submission(pupil, attempt).0, "item": item, "reader": option("reader").unwrap_or("r1"),
                "confidence": 500, "reason": "blurred",
            });
            ("review_queued", Some(pupil), fields)
        }
        ["resolves", pupil, attempt, item, points] => {
            let fields = json!({
                "submission_id": submission(pupil, attempt).0, "item": item, "reader": option("reader").unwrap_or("r1"),
                "points": points.parse::<i64>().expect("points"), "reviewer_id": "t1",
            });
            ("review_resolved", Some(pupil), fields)
        }
        ["overrides", pupil, attempt, points] => {
            let points: i64 = points.parse().expect("points");
            let fields = json!({"submission_id": submission(pupil, attempt).0, "points": points, "teacher_id": "t1"});
            ("teacher_overrode", Some(pupil), fields)
        }
        [says @ ("clears" | "excuses"), pupil, attempt] => {
            let event_type = if says == "clears" { "override_cleared" } else { "late_excused" };
            (event_type, Some(pupil), json!({"submission_id": submission(pupil, attempt).0, "teacher_id": "t1"}))
        }
        ["withdraws", pupil, attempt] => {
            ("submission_withdrawn", Some(pupil), json!({"submission_id": submission(pupil, attempt).0}))
        }
        ["asks_again", pupil, attempt] => {
            ("regrade_requested", Some(pupil), json!({"submission_id": submission(pupil, attempt).0, "reason": "why?"}))
        }
        ["changes_class", pupil, from, to, history] => {
            ("class_enrolment_changed", Some(pupil), json!({"class_before": from, "class_id": to, "history": history}))
        }
        ["consents", pupil] => ("consent_given", Some(pupil), json!({"guardian_id": "g1"})),
        ["forbids", pupil] => ("consent_withdrawn", Some(pupil), json!({"guardian_id": "g1"})),
        ["is_erased", pupil] => ("student_erased", Some(pupil), json!({})),
        ["suspects", pair] => (
            "copy_suspected",
            None,
            json!({
                "pair_id": pair, "assignment_id": "a1", "class_id": "c1", "submission_a": "a1.ann.1",
                "submission_b": "a1.bob.1", "student_a": "ann", "student_b": "bob", "hash_version": 1, "distance": 3,
            }),
        ),
        ["dismisses", pair] => {
            ("copy_dismissed", None, json!({"pair_id": pair, "hash_version": 1, "teacher_id": "t1"}))
        }
        _ => panic!("nothing that can happen: {line}"),
    };
    let time = at(day, 10);
    let envelope = json!({"event_type": event_type, "tenant": "s", "occurred_at": time, "received_at": time});
    let about = subject.map_or(json!({}), |pupil| json!({"student_id": pupil}));
    let commands = ["withdrawn", "overrode", "cleared", "excused", "requested", "changed", "consent", "erased"];
    let is_command = commands.iter().any(|word| event_type.contains(word));
    let named = if is_command { json!({"command_id": command}) } else { json!({}) };
    [about, named, fields].into_iter().fold(envelope, merged)
}

fn merged(mut into: Value, fields: Value) -> Value {
    let (Some(into_fields), Value::Object(fields)) = (into.as_object_mut(), fields) else { panic!("objects merge") };
    into_fields.extend(Map::from_iter(fields));
    into
}

// Marks

#[test]
fn a_revised_key_regrades_all_but_what_a_teacher_set() {
    let scenario = "
        0 set a1
        0 hands_in ann a1 BD
        0 hands_in bob a1 BC
        0 hands_in cyd a1 --
        1 overrides cyd a1 300
        2 revises_key a1 BD key=2
        2 hands_in dan a1 BC
    ";
    let points = "a1.ann.1,2000
        a1.bob.1,1000
        a1.cyd.1,300
        a1.dan.1,900"; // a day late
    let versions =
        "SELECT submission_id, key_version, points_earned FROM graded WHERE student_id = 'ann' ORDER BY key_version";
    check(scenario, &[(POINTS, points), (versions, "a1.ann.1,1,1000\na1.ann.1,2,2000")]);
    check(&format!("{scenario}\n3 clears cyd a1"), &[(POINTS, &points.replace("300", "0"))]);
}

#[test]
fn the_newest_revision_counts_whatever_comes_first() {
    let rubric = "1 revises_rubric a1 BD key=2 rubric=2 points=2000";
    let key = "1 revises_key a1 BD key=2";
    for [first, second] in [[rubric, key], [key, rubric]] {
        let scenario = format!("0 set a1\n0 hands_in ann a1 BD\n{first}\n{second}");
        let difficulty = "SELECT item, answers, points, points_max FROM item_difficulty ORDER BY item";
        check(&scenario, &[(POINTS, "a1.ann.1,4000"), (difficulty, "1,1,2000,2000\n2,1,2000,2000")]);
    }
}

#[test]
fn a_review_replaces_the_points_of_its_item() {
    let scenario = "
        0 set a1
        0 hands_in ann a1 BD
        0 hands_in bob a1 DD
        1 queues ann a1 2
        1 resolves ann a1 2 600
        1 resolves bob a1 1 100
        1 resolves bob a1 2 200
        1 resolves bob a1 3 999
    ";
    check(scenario, &[(POINTS, "a1.ann.1,1600\na1.bob.1,300")]);
    // The newest of several; less than the automatic mark; a key by which the item is right after all.
    check(&format!("{scenario}\n2 resolves ann a1 2 400 reader=r2"), &[(POINTS, "a1.ann.1,1400\na1.bob.1,300")]);
    check(&format!("{scenario}\n2 resolves ann a1 1 0"), &[(POINTS, "a1.ann.1,600\na1.bob.1,300")]);
    check(&format!("{scenario}\n2 revises_key a1 BD key=2"), &[(POINTS, "a1.ann.1,1600\na1.bob.1,300")]);
    check(&format!("{scenario}\n2 overrides ann a1 1"), &[(POINTS, "a1.ann.1,1\na1.bob.1,300")]);
}

#[test]
fn lateness_can_be_excused() {
    let scenario = "
        0 set a1
        2 hands_in ann a1 BC
        2 hands_in bob a1 B-
        2 resolves bob a1 2 500
    ";
    check(scenario, &[(POINTS, "a1.ann.1,1800\na1.bob.1,1350")]);
    let excused = format!("{scenario}\n3 excuses ann a1\n3 excuses bob a1");
    check(&excused, &[(POINTS, "a1.ann.1,2000\na1.bob.1,1500")]);
}

#[test]
fn the_assignments_policy_says_which_attempt_counts() {
    let scenario = "
        0 set a1 attempts=POLICY
        0 hands_in ann a1 B-
        0 hands_in ann a1.2 BC
        1 hands_in ann a1.3 --
        1 hands_in bob a1.2 B-
        1 hands_in bob a1 -C
    ";
    for (policy, points) in [
        ("best", "a1.ann.2,2000\na1.bob.1,1000"),
        ("last", "a1.ann.3,0\na1.bob.2,1000"),
        ("first", "a1.ann.1,1000\na1.bob.1,1000"),
    ] {
        check(&scenario.replace("POLICY", policy), &[(POINTS, points)]);
    }
    let withdrawn = scenario.replace("POLICY", "last") + "\n2 withdraws ann a1.3";
    check(&withdrawn, &[(POINTS, "a1.ann.2,2000\na1.bob.2,1000")]);
}

#[test]
fn asking_for_marks_again_changes_nothing_when_they_are_the_same() {
    let scenario = "
        0 set a1
        0 hands_in ann a1 B-
        0 hands_in bob a1 BC
        1 asks_again ann a1
        1 asks_again ann a1
        2 revises_key a1 BB key=2
        3 asks_again bob a1
    ";
    let graded = "SELECT count(*) AS graded FROM graded";
    check(scenario, &[(graded, "4"), (POINTS, "a1.ann.1,1000\na1.bob.1,1000")]);
}

// Pupils

/// Three assignments, handed in by ann and bob: enough for a leaderboard.
const THREE: &str = "
    0 set a1
    0 set a2
    0 set a3
    0 hands_in ann a1 BC
    0 hands_in ann a2 B-
    0 hands_in ann a3 B-
    0 hands_in bob a1 B-
    0 hands_in bob a2 B-
    0 hands_in bob a3 B-
";
const LEADERBOARD: &str =
    "SELECT class_id, week_of, rank, student_id, score FROM class_leaderboard ORDER BY class_id, rank";
const COMPLETION: &str = "SELECT class_id, expected, handed_in FROM completion ORDER BY class_id";
const ANSWERS: &str =
    "SELECT class_id, sum(answers) AS answers FROM item_difficulty GROUP BY class_id ORDER BY class_id";
const STREAKS: &str = "SELECT class_id, student_id, current, longest FROM streaks ORDER BY class_id, student_id";
const BOTH: &str = "c1,2025-09-01,1,ann,4000\nc1,2025-09-01,2,bob,3000";

#[test]
fn a_pupils_history_moves_to_another_class_or_stays() {
    let after = "
        1 set b1 class=c2
        1 hands_in ann b1 BC class=c2
    ";
    let completion = "c1,6,6\nc2,2,1";
    check(
        &format!("{THREE}\n1 changes_class ann c1 c2 moves\n{after}"),
        &[
            (LEADERBOARD, "c1,2025-09-01,1,bob,3000\nc2,2025-09-01,1,ann,6000"),
            (COMPLETION, completion),
            (ANSWERS, "c1,12\nc2,2"),
        ],
    );
    check(
        &format!("{THREE}\n1 changes_class ann c1 c2 stays\n{after}"),
        &[
            (LEADERBOARD, BOTH),
            (COMPLETION, completion),
            ("SELECT class_id FROM counting WHERE submission_id = 'b1.ann.1'", "c2"),
        ],
    );
    // The newest change says what becomes of everything before it.
    let twice = "1 changes_class ann c1 c2 moves\n2 changes_class ann c2 c3 stays";
    check(&format!("{THREE}\n{twice}"), &[(LEADERBOARD, BOTH)]);
    let twice = "1 changes_class ann c1 c2 stays\n2 changes_class ann c2 c3 moves";
    check(&format!("{THREE}\n{twice}"), &[(LEADERBOARD, "c1,2025-09-01,1,bob,3000\nc3,2025-09-01,1,ann,4000")]);
}

#[test]
fn no_board_names_a_pupil_without_consent() {
    let forbidden = format!("{THREE}\n1 forbids ann");
    let rest = [(COMPLETION, "c1,6,6"), (ANSWERS, "c1,12")];
    let just_bob = [(LEADERBOARD, "c1,2025-09-01,1,bob,3000"), (STREAKS, "c1,bob,1,1")];
    check(&forbidden, &[just_bob, rest].concat());
    let both = [(LEADERBOARD, BOTH), (STREAKS, "c1,ann,1,1\nc1,bob,1,1")];
    check(&format!("{forbidden}\n2 consents ann"), &[both, rest].concat());
    check(&format!("{THREE}\n0 consents ann\n1 forbids ann\n2 consents ann\n3 forbids ann"), &just_bob);
}

#[test]
fn an_erased_pupil_counts_nowhere() {
    let scenario = format!("{THREE}\n1 is_erased ann\n2 consents ann");
    check(
        &scenario,
        &[
            (LEADERBOARD, "c1,2025-09-01,1,bob,3000"),
            (STREAKS, "c1,bob,1,1"),
            (COMPLETION, "c1,6,3"),
            (ANSWERS, "c1,6"),
            (POINTS, "a1.bob.1,1000\na2.bob.1,1000\na3.bob.1,1000"),
        ],
    );
}

// Boards

#[test]
fn improvement_is_against_the_pupils_own_weeks() {
    let week = |week: u32, given: &str| {
        let day = week * 7;
        format!("{day} set a{week}\n{day} hands_in ann a{week} {given}\n{day} hands_in bob a{week} BC\n")
    };
    // Weeks of 500, 0, none, 500, 1000, 500 and 500 permille.
    let weeks = [(0, "B-"), (1, "--"), (3, "B-"), (4, "BC"), (5, "B-"), (6, "-C")];
    let scenario: String = weeks.iter().map(|&(number, given)| week(number, given)).collect();
    let sql = "SELECT week_of, band, share_permille, share_before_permille FROM improvement \
               WHERE class_id = 'c1' AND student_id = 'ann' ORDER BY week_of";
    let rows = "2025-09-08,well down,0,500
        2025-09-22,well up,500,250
        2025-09-29,well up,1000,333
        2025-10-06,steady,500,500
        2025-10-13,well down,500,666";
    let bob = "SELECT DISTINCT band FROM improvement WHERE student_id = 'bob'";
    check(&scenario, &[(sql, rows), (bob, "steady")]);
    // An override in the first week moves what later ones are compared with.
    let better = format!("{scenario}\n43 overrides ann a0 100");
    let rows = "2025-09-08,down,0,50\n2025-09-22,well up,500,25\n2025-09-29,well up,1000,183
        2025-10-06,steady,500,500
        2025-10-13,well down,500,666";
    check(&better, &[(sql, rows)]);
}

/// Homework for each day of a week, two of them on the third; ann hands in all but one on time.
const WEEK: &str = "
    0 set a0
    0 hands_in ann a0 BC
    0 hands_in bob a0 BC
    1 set a1
    1 hands_in ann a1 --
    2 set a2
    2 set b2
    2 hands_in ann a2 BC
    3 set a3
    4 hands_in ann b2 BC
    3 hands_in ann a3 BC
    4 set a4
    4 hands_in ann a4 BC
";

#[test]
fn a_streak_breaks_with_what_is_late_and_is_mended_by_an_excuse() {
    check(WEEK, &[(STREAKS, "c1,ann,2,2\nc1,bob,0,1")]);
    check(&format!("{WEEK}\n5 excuses ann b2"), &[(STREAKS, "c1,ann,5,5\nc1,bob,0,1")]);
    check(&format!("{WEEK}\n5 withdraws ann a4"), &[(STREAKS, "c1,ann,1,2\nc1,bob,0,1")]);
    check(&format!("{WEEK}\n5 withdraws ann a3"), &[(STREAKS, "c1,ann,1,2\nc1,bob,0,1")]);
    // It is not broken by what is not due yet, but once the next day's is set.
    check(&format!("{WEEK}\n4 set b4"), &[(STREAKS, "c1,ann,1,2\nc1,bob,0,1")]);
    check(&format!("{WEEK}\n4 set b4 due=6"), &[(STREAKS, "c1,ann,2,2\nc1,bob,0,1")]);
    check(&format!("{WEEK}\n4 set b4 due=6\n7 set a7"), &[(STREAKS, "c1,ann,0,2\nc1,bob,0,1")]);
}

#[test]
fn a_streak_goes_along_to_another_class() {
    let other = "
        0 set x0 class=c2
        1 set x1 class=c2
        2 set x2 class=c2
        2 changes_class bob c1 c2 moves
        2 hands_in bob x2 BC class=c2
    ";
    let bob = "SELECT class_id, current, longest FROM streaks WHERE student_id = 'bob'";
    check(&format!("{WEEK}\n{other}"), &[(bob, "c2,1,1")]);
    check(&format!("{WEEK}\n1 hands_in bob a1 BC\n{other}"), &[(bob, "c2,3,3")]);
}

#[test]
fn review_operations_count_what_came_in_and_what_is_open() {
    let scenario = "
        0 stores_photo ann a1
        0 set a1
        0 hands_in ann a1 BC
        0 hands_in bob a1 BC
        0 rejects_photo bob a1
        0 stores_photo bob a1
        0 stores_photo eve a1
        0 reads_sheet ann a1 950
        0 reads_sheet bob a1 420
        0 queues ann a1 1
        0 queues bob a1 1
        0 queues bob a1 1 reader=r2
        0 queues bob a1 2
        7 resolves bob a1 1 500
        7 asks_again bob a1
        0 suspects ann-bob
        7 suspects ann-cyd
        8 dismisses ann-bob
    ";
    let sql = "SELECT * FROM review_operations WHERE class_id = 'c1' ORDER BY week_of";
    let rows = "c1,2025-09-01,4,0,3,0,2,1,1,1,0,s\nc1,2025-09-08,0,1,0,1,0,0,0,1,1,s";
    check(scenario, &[(sql, rows)]);
}
