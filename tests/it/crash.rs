//! What was acknowledged survives a SIGKILL at any moment, once; and what it led to is as if nothing had happened.
//!
//! `CHALK_KILLS` says how often the server is killed (5), `CHALK_SEED` when (1).

use crate::program::{Client, Folder};
use chalk_homework::{Event, Expect, Rates, School, SchoolConfig};
use std::sync::mpsc::channel;
use std::thread::scope;

/// What is sent at once.
const REQUEST_LINES: usize = 10;
/// The server is killed after as many acknowledged requests at most.
const REQUESTS_BEFORE_KILL_MAX: u64 = 30;

const RUN: [&str; 3] = ["run", "--data", "data"];

fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// Lines that are sent at once.
struct Request {
    text: String,
    lines: u64,
    /// What is new in it.
    events: Vec<Event>,
}

/// A school's lines, duplicates among them.
fn requests(events: u64) -> Vec<Request> {
    let rates = Rates { corrupt_per_10k: 0, duplicate_per_10k: 300, ..Rates::default() };
    let sent: Vec<_> = School::new(SchoolConfig { events, rates, ..SchoolConfig::default() }).collect();
    let request = |sent: &[chalk_homework::Sent]| {
        let event = |sent: &chalk_homework::Sent| match &sent.expect {
            Expect::Accepted(event) => Some(event.clone()),
            _ => None,
        };
        Request {
            text: sent.iter().flat_map(|sent| [sent.line.as_str(), "\n"]).collect(),
            lines: sent.len() as u64,
            events: sent.iter().filter_map(event).collect(),
        }
    };
    sent.chunks(REQUEST_LINES).map(request).collect()
}

fn accepted(requests: &[Request]) -> u64 {
    requests.iter().map(|request| request.events.len() as u64).sum()
}

/// Sends a request; gives how many of its events were new, or `None` when the server died.
fn send(client: &Client, request: &Request) -> Option<u64> {
    let answer = client.append(&request.text)?;
    let (new, known) = (answer["accepted_total"].as_u64(), answer["duplicates"].as_u64());
    assert_eq!(answer["refused_total"], 0, "{answer}");
    assert_eq!(new.zip(known).map(|(new, known)| new + known), Some(request.lines), "{answer}");
    new
}

/// Sends requests until all are sent or the server dies, and tells of each that is acknowledged.
fn feed(client: &Client, requests: &[Request], acknowledged: impl Fn()) -> usize {
    let mut count = 0;
    for request in requests {
        let Some(new) = send(client, request) else { break };
        assert_eq!(new, request.events.len() as u64, "in a request that was sent once");
        count += 1;
        acknowledged();
    }
    count
}

/// All topics that a school writes.
const STORED: &str = "SELECT event_id FROM assignments UNION ALL SELECT event_id FROM submissions \
    UNION ALL SELECT event_id FROM photos UNION ALL SELECT event_id FROM sheets UNION ALL SELECT event_id FROM reviews \
    UNION ALL SELECT event_id FROM copies UNION ALL SELECT event_id FROM students";

fn check_stored(client: &Client, requests: &[Request]) {
    let counts = client.query(&format!("SELECT count(*), count(DISTINCT event_id) FROM ({STORED})"));
    let expected = accepted(requests);
    assert_eq!(counts, format!("{expected},{expected}"), "stored events and their ids");
}

/// All that a school's events led to, in an order of its own.
fn outcome(client: &Client) -> Vec<(&'static str, Vec<String>)> {
    client.caught_up();
    assert_eq!(client.query("SELECT * FROM dead_letters"), "", "nothing was refused, derived events neither");
    // Which submissions came too late for a report depends on when the server was killed; how often it is sent does not.
    let reports = client.query("SELECT count(*) > 0, count(*) - count(DISTINCT class_id || week_of) FROM reports");
    assert_eq!(reports, "true,0", "reports, and those of them that were sent twice");
    let queries = [
        STORED,
        "SELECT event_id, submission_id, points, points_max, late_permille, marks FROM graded",
        "SELECT * FROM class_leaderboard",
        "SELECT * FROM completion",
        "SELECT * FROM item_difficulty",
    ];
    let sorted = |sql: &'static str| {
        let mut rows: Vec<String> = client.query(sql).lines().map(str::to_owned).collect();
        rows.sort();
        (sql, rows)
    };
    queries.into_iter().map(sorted).collect()
}

fn check_same(found: &[(&str, Vec<String>)], expected: &[(&str, Vec<String>)]) {
    for ((sql, found), (_, expected)) in found.iter().zip(expected) {
        assert!(!expected.is_empty(), "nothing in {sql}");
        let differ: Vec<_> = found.iter().zip(expected).filter(|(found, expected)| found != expected).take(3).collect();
        assert!(
            found == expected,
            "{sql}: {} rows, undisturbed {}; the first that differ: {differ:#?}",
            found.len(),
            expected.len()
        );
    }
}

fn undisturbed(requests: &[Request]) -> Vec<(&'static str, Vec<String>)> {
    let folder = Folder::of_homework();
    let server = folder.serve(&RUN);
    assert_eq!(feed(&server.client, requests, || ()), requests.len());
    outcome(&server.client)
}

fn check_events(outcome: &[(&str, Vec<String>)], requests: &[Request]) {
    let events = || requests.iter().flat_map(|request| &request.events);
    let mut ids: Vec<String> = events().map(|event| event.event_id().to_string()).collect();
    ids.sort();
    assert!(outcome[0].1 == ids, "the stored events are not those that were sent");
    let submissions = |key: &Event| {
        let of_key = |event: &&Event| event.field("assignment_id") == key.field("assignment_id");
        events().filter(|event| event.event_type() == "submission_received").filter(of_key).count()
    };
    let gradings: usize = events().filter(|event| event.topic() == "assignments").map(submissions).sum();
    assert_eq!(outcome[1].1.len(), gradings, "each submission is graded once by each version of its key");
}

#[test]
#[expect(clippy::print_stderr, reason = "shown when the test fails: how to see the same again")]
fn what_was_acknowledged_survives_kills() {
    let (kills, seed) = (setting("CHALK_KILLS", 5), setting("CHALK_SEED", 1));
    eprintln!("CHALK_KILLS={kills} CHALK_SEED={seed}");
    let mut chance = Chance(seed);
    let requests = requests(kills * 250);
    let folder = Folder::of_homework();
    let mut done = 0;
    for kill in 1..=kills {
        let server = folder.serve(&RUN);
        let client = server.client.clone();
        if kill > 1 && done < requests.len() {
            // The request at hand when the server died: all of it was taken, or nothing.
            let new = send(&client, &requests[done]).expect("an acknowledgement");
            let events = requests[done].events.len() as u64;
            assert!(new == 0 || new == events, "{new} of {events} events were missing");
            done += 1;
        }
        check_stored(&client, &requests[..done]);
        let until = chance.below(REQUESTS_BEFORE_KILL_MAX);
        let (client, left) = (&client, &requests[done..]);
        let (acknowledged, acknowledgements) = channel();
        done += scope(|scope| {
            let feeder =
                scope.spawn(move || feed(client, left, || acknowledged.send(()).expect("somebody who counts them")));
            // Fewer than that may be left at the end.
            for _ in 0..until.min(left.len() as u64) {
                acknowledgements.recv().expect("another acknowledgement");
            }
            server.kill();
            feeder.join().expect("a feeder that saw only what it should")
        });
        eprintln!("kill {kill} after {until} acknowledgements; {done} of {} requests were", requests.len());
    }
    let server = folder.serve(&RUN);
    if let Some(request) = requests.get(done) {
        send(&server.client, request).expect("an acknowledgement");
        done += 1;
    }
    feed(&server.client, &requests[done..], || ());
    let found = outcome(&server.client);
    check_events(&found, &requests);
    let undisturbed = undisturbed(&requests);
    check_same(&found, &undisturbed);
    // And once more, out of the log alone.
    server.kill();
    let server = folder.serve(&RUN);
    check_same(&outcome(&server.client), &undisturbed);
}
