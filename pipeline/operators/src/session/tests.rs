use crate::testing::{check, node, property};
use chalk_graph::{CloseSessions, Node, NodeKind, Session};
use std::collections::BTreeMap;

fn sessions(close: Option<CloseSessions>) -> Node {
    let session = Session { keys: vec![0], time: 1, gap: 10, close };
    node(NodeKind::Session(session), "key:text at:time value:int session:window")
}

fn once(lateness: i64) -> Node {
    sessions(Some(CloseSessions { lateness, query: "visits".into() }))
}

const INPUT: [&str; 1] = ["key:text at:time value:int"];

#[test]
fn rows_join_and_part_sessions() {
    check(
        &sessions(None),
        &INPUT,
        "+ a 0 1
         + a 15 2
         + b 8 3
         + a NULL 4
         ---
         + a 8 5
         ---
         - a 8 5
         ---
         + a 10 6
         ---
         - a 0 1
         - a NULL 4",
        "+ a NULL 4 NULL
         + a 0 1 0..10
         + a 15 2 15..25
         + b 8 3 8..18
         ---
         - a 0 1 0..10
         + a 0 1 0..25
         + a 8 5 0..25
         - a 15 2 15..25
         + a 15 2 0..25
         ---
         - a 0 1 0..25
         + a 0 1 0..10
         - a 8 5 0..25
         - a 15 2 0..25
         + a 15 2 15..25
         ---
         + a 10 6 10..25
         - a 15 2 15..25
         + a 15 2 10..25
         ---
         - a NULL 4 NULL
         - a 0 1 0..10",
    );
}

#[test]
fn rows_are_what_their_history_comes_to() {
    property(
        &sessions(None),
        &INPUT,
        &[|chance| {
            let (key, at) = (chance.pick(&["a", "b", "NULL"]), chance.below(120));
            if chance.below(15) == 0 { format!("{key} NULL 1") } else { format!("{key} {at} {}", chance.below(2)) }
        }],
        |ports| {
            let mut keys: BTreeMap<&str, Vec<(i64, &str)>> = BTreeMap::new();
            let mut rows = Vec::new();
            for row in &ports[0] {
                match row[1].parse() {
                    Ok(at) => keys.entry(row[0]).or_default().push((at, row[2])),
                    Err(_) => rows.push(format!("{} NULL {} NULL", row[0], row[2])),
                }
            }
            for (key, mut times) in keys {
                times.sort_unstable();
                for part in times.chunk_by(|a, b| b.0 - a.0 < 10) {
                    let (start, end) = (part[0].0, part[part.len() - 1].0 + 10);
                    rows.extend(part.iter().map(|(at, value)| format!("{key} {at} {value} {start}..{end}")));
                }
            }
            rows
        },
    );
}

#[test]
fn each_session_is_given_once() {
    check(
        &once(0),
        &INPUT,
        "+ a 0 1
         + a 5 2
         + b 3 3
         + a NULL 4
         watermark 12
         ---
         + a 14 5
         watermark 15
         ---
         + a 30 6
         watermark 24
         ---
         watermark 100",
        "---
         + b 3 3 3..13
         ---
         + a 0 1 0..24
         + a 5 2 0..24
         + a 14 5 0..24
         ---
         + a 30 6 30..40",
    );
}

#[test]
fn what_comes_too_late_is_told() {
    check(
        &once(0),
        &INPUT,
        "+ a 0 1
         watermark 12
         ---
         + a 8 2
         + a 1 3
         + b 1 4
         + b 8 5
         + a 10 6
         watermark 17
         ---
         + a 19 7
         watermark 40
         ---
         + a 35 8
         + a 25 9
         watermark 60",
        "+ a 0 1 0..10
         ---
         late row 0 of visits: time 8, watermark 12, end 10
         late row 1 of visits: time 1, watermark 12, end 11
         late row 2 of visits: time 1, watermark 12, end 11
         ---
         + b 8 5 8..18
         + a 10 6 10..29
         + a 19 7 10..29
         ---
         + a 35 8 35..45
         late row 1 of visits: time 25, watermark 40, end 35",
    );
    check(
        &once(5),
        &INPUT,
        "+ a 0 1
         watermark 12
         ---
         + a 3 2
         watermark 18
         ---
         + a 4 3",
        "---
         + a 0 1 0..13
         + a 3 2 0..13
         ---
         late row 0 of visits: time 4, watermark 18, end 13",
    );
}
