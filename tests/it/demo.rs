//! The demo verifies what it shows; and the verification sees what is wrong.

use crate::program::Folder;
use crate::workspace::root;
use chalk_cli::demo::{Config, Fed, feed};
use chalk_cli::verify::verify;
use chalk_cli::{Node, ProjectFiles};
use chalk_event::ChangeBatch;
use chalk_homework::{Event, Expect, Record, School, SchoolConfig, Sent, Tally};
use chalk_view::Snapshot;
use std::collections::BTreeSet;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const EVENTS: u64 = 3000;

/// What the school itself says that it sent, and how often it has to be graded: every submission by every version of its key.
fn made(seed: u64) -> (Tally, usize) {
    let mut tally = Tally::default();
    let sent: Vec<_> = School::new(SchoolConfig { seed, events: EVENTS, ..SchoolConfig::default() }).collect();
    tally.extend(&sent);
    let accepted = |sent: &Sent| match &sent.expect {
        Expect::Accepted(event) => Some(event.clone()),
        _ => None,
    };
    let made: Vec<Event> = sent.iter().filter_map(accepted).collect();
    let keys = made.iter().filter(|event| event.topic() == "assignments");
    let submissions = |key: &Event| {
        let of_key = |event: &&Event| event.field("assignment_id") == key.field("assignment_id");
        made.iter().filter(|event| event.event_type() == "submission_received").filter(of_key).count()
    };
    (tally, keys.map(submissions).sum())
}

/// The words of the first line that begins with `name`, in the demo's summary.
fn line<'a>(summary: &'a str, name: &str) -> Vec<&'a str> {
    let line = summary.lines().find(|line| line.trim_start().starts_with(name));
    line.unwrap_or_else(|| panic!("no line '{name}' in:\n{summary}")).split_whitespace().collect()
}

fn check_demo(seed: u64) {
    let folder = Folder::of_homework();
    let (seed_text, events) = (seed.to_string(), EVENTS.to_string());
    let ran = folder.chalk(&["demo", "--events", &events, "--seed", &seed_text, "--exit", "--data", "data"]);
    let out = ran.done();
    let (tally, gradings) = made(seed);
    assert_eq!(line(&out, "accepted")[1], tally.accepted_total().to_string());
    assert_eq!(line(&out, "duplicate")[1], tally.duplicates.to_string());
    assert_eq!(line(&out, "refused")[1], tally.rejected_total().to_string());
    assert_eq!(line(&out, "graded")[1], gradings.to_string());
    assert!(out.contains("\nverified   every row equals the batch answer"), "{out}");
    assert!(out.contains("| class_id | week_of "), "a query is answered: {out}");
}

#[test]
fn it_verifies_seed_1() {
    check_demo(1);
}

#[test]
fn it_verifies_seed_2() {
    check_demo(2);
}

#[test]
fn a_directory_with_something_in_it_is_left_alone() {
    let folder = Folder::of_homework();
    folder.write("data/thesis.txt", "the only copy");
    let ran = folder.chalk(&["demo", "--exit", "--data", "data"]);
    let err = "error: data is not empty, and not of a demo with this --seed and these --events\n  hint: name another directory with --data\n";
    ran.check(2, "", err);
    assert_eq!(folder.read("data/thesis.txt"), "the only copy");
}

/// A view that is a file, and nothing else: it joins, aggregates, and has a table of its own.
const SUBJECTS: &str = "
CREATE TABLE subjects (
  tenant         TEXT NOT NULL,
  assignment_id  TEXT NOT NULL,
  subject        TEXT
) WITH (connector = 'log', topic = 'assignments', type = 'source', format = 'json');

CREATE MATERIALIZED VIEW points_by_subject AS
SELECT s.subject, b.class_id, count(*) AS attempts, sum(b.points) AS points, max(b.points) AS best
FROM counting_attempts b
JOIN subjects s ON b.tenant = s.tenant AND b.assignment_id = s.assignment_id
WHERE s.subject IS NOT NULL -- a revised key does not say it again
GROUP BY s.subject, b.class_id;
";

#[test]
fn a_view_added_as_a_file_is_run_verified_and_asked() {
    let folder = Folder::of_homework();
    folder.write("sql/boards/points_by_subject.sql", SUBJECTS);
    let out = folder.chalk(&["demo", "--events", "3000", "--exit", "--data", "data"]).done();
    assert!(out.contains("\nverified "), "{out}");
    let views = line(&out, "views:").join(" ");
    let sql = "SELECT count(*) AS rows, count(DISTINCT subject) AS subjects, sum(attempts) > 1000 AS many FROM points_by_subject";
    let answer = folder.chalk(&["query", "-f", "csv", "--data", "data", sql]).done();
    let (rows, rest) = answer.trim_end().split_once('\n').expect("names and a row").1.split_once(',').expect("columns");
    assert_eq!(rest, "3,true");
    assert!(views.contains(&format!("points_by_subject {rows},")), "{views}, but {rows} rows were found");
}

/// A school that was fed to a node, and is verified.
struct Term {
    node: Node,
    fed: Fed,
    runtime: Runtime,
    _directory: TempDir,
}

impl Term {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let project = root().join("sql");
        let files = ProjectFiles::read(&project).expect("the homework project");
        let node = Node::open(&files, directory.path(), "test").expect("a node");
        let runtime = Runtime::new().expect("threads");
        let fed = feed(&node, &Config { events: EVENTS, seed: 1, project, fluvio: None }, &runtime, |_| {})
            .expect("a fed node");
        Self { node, fed, runtime, _directory: directory }
    }

    /// Why `snapshot` is not what the school's events should have led to; `None` when it is.
    fn mismatch(&self, snapshot: &Snapshot) -> Option<String> {
        let Self { node, fed, runtime, .. } = self;
        let verified = runtime.block_on(verify(&node.project, &node.functions, &fed.made, &*node.log, snapshot));
        verified.err().map(|mismatch| mismatch.to_string())
    }

    fn check_mismatch(&self, snapshot: &Snapshot, beginning: &str) {
        match self.mismatch(snapshot) {
            Some(mismatch) => assert!(mismatch.starts_with(beginning), "{mismatch}"),
            None => panic!("verified, although it should say: {beginning}"),
        }
    }
}

/// A view's rows with the first of them once more, or once less.
fn tampered(snapshot: &Snapshot, name: &str, weight: i64) -> Snapshot {
    let mut snapshot = snapshot.clone();
    let view = snapshot.views.get_mut(name).expect("a view");
    let first = view.batches(1).expect("readable rows").remove(0);
    view.apply(&ChangeBatch::weighted(first, vec![weight])).expect("a change that can be");
    snapshot
}

#[test]
fn one_wrong_row_is_found() {
    let mut term = Term::new();
    let snapshot = term.node.pipeline.snapshot();
    assert_eq!(term.mismatch(&snapshot), None);

    let views: BTreeSet<&str> = snapshot.views.keys().map(String::as_str).collect();
    let boards = ["class_leaderboard", "completion", "improvement", "item_difficulty", "review_operations", "streaks"];
    assert_eq!(views, BTreeSet::from(boards));
    for view in views {
        let rows = snapshot.views[view].len();
        for weight in [1, -1] {
            let found = rows as i64 + weight;
            let beginning = format!("view '{view}' has {found} rows, the batch answer {rows}\n");
            term.check_mismatch(&tampered(&snapshot, view, weight), &beginning);
        }
    }

    let as_made = std::mem::take(&mut term.fed.made.0);
    term.fed.made.0 = as_made.clone();
    *standing_override(&mut term.fed.made.0) += 1_000_000;
    term.check_mismatch(&snapshot, "view 'class_leaderboard' has ");

    term.fed.made.0 = as_made;
    let submission = |event: &Event| matches!(event.record, Record::SubmissionReceived(_));
    let dropped = term.fed.made.0.iter().position(submission).expect("a submission");
    term.fed.made.0.remove(dropped);
    term.check_mismatch(&snapshot, "topic 'graded' has ");
}

/// The points of a teacher's mark that nothing later took back.
fn standing_override(events: &mut [Event]) -> &mut i64 {
    let mut settled = BTreeSet::new();
    for event in events.iter_mut().rev() {
        match &mut event.record {
            Record::TeacherOverrode(it) if settled.insert(it.submission_id.clone()) => return &mut it.points,
            Record::OverrideCleared(it) => drop(settled.insert(it.submission_id.clone())),
            Record::SubmissionWithdrawn(it) => drop(settled.insert(it.submission_id.clone())),
            _ => {}
        }
    }
    panic!("no teacher's mark stands")
}
