use crate::testing::{check, node};
use chalk_graph::{CloseJoin, Join, JoinBound, JoinKind, JoinMode, Node, NodeKind, WindowKind};

const LEFT: &str = "k:text at:time a:int";
const RIGHT: &str = "k:text at:time b:int";

fn joined(kind: JoinKind, bound: JoinBound, lateness: i64, keys: Vec<usize>, output: &str) -> Node {
    let close = CloseJoin { bound, lateness, query: "q".into() };
    let join = Join { kind, left_keys: keys.clone(), right_keys: keys, mode: JoinMode::Closing(close) };
    let mut node = node(NodeKind::Join(join), output);
    node.append_only = true;
    node
}

/// `0 <= left - right <= 10`.
fn within(kind: JoinKind, lateness: i64) -> Node {
    let bound = JoinBound::Interval { left: 1, right: 1, least: 0, most: 10 };
    joined(kind, bound, lateness, vec![0], "k:text at:time a:int rk:text rat:time b:int")
}

#[test]
fn pairs_are_given_at_once_and_the_others_when_no_partner_can_come() {
    check(
        &within(JoinKind::Full, 0),
        &[LEFT, RIGHT],
        "+ x 15 1
         right + x 8 2
         right + x 16 3
         right + y 15 4
         + x 20 5
         watermark 16
         ---
         + x 18 6
         + NULL 30 7
         + x NULL 8
         right + NULL 30 9
         watermark 18
         ---
         watermark 19
         ---
         watermark 31
         ---
         right + x 30 10
         right + x 31 11
         watermark 31
         ---
         watermark 100",
        "+ x 15 1 x 8 2
         + x 20 5 x 16 3
         ---
         + x 18 6 x 8 2
         + x 18 6 x 16 3
         + x NULL 8 NULL NULL NULL
         ---
         ---
         + NULL 30 7 NULL NULL NULL
         + NULL NULL NULL y 15 4
         ---
         late right row 0 of q: time 30, watermark 31, end 30
         ---
         + NULL NULL NULL NULL 30 9
         + NULL NULL NULL x 31 11",
    );
}

#[test]
fn lateness_keeps_rows_for_longer() {
    check(
        &within(JoinKind::Inner, 5),
        &[LEFT, RIGHT],
        "right + x 0 1
         watermark 15
         ---
         + x 10 1
         + x 9 2
         watermark 16
         ---
         + x 11 3
         + x 10 4",
        "---
         + x 10 1 x 0 1
         late row 1 of q: time 9, watermark 15, end 9
         ---
         late row 1 of q: time 10, watermark 16, end 10",
    );
}

#[test]
fn rows_are_given_once_by_whether_they_have_met_another() {
    let semi = joined(
        JoinKind::LeftSemi,
        JoinBound::Interval { left: 1, right: 1, least: 0, most: 10 },
        0,
        vec![0],
        "k:text at:time a:int",
    );
    let mut anti = semi.clone();
    let NodeKind::Join(join) = &mut anti.kind else { panic!("it joins") };
    join.kind = JoinKind::LeftAnti;
    let input = "+ x 15 1
         right + x 8 2
         ---
         right + x 9 2
         + y 1 1
         + x 16 3
         ---
         watermark 50";
    check(&semi, &[LEFT, RIGHT], input, "+ x 15 1\n---\n+ x 16 3\n---");
    check(&anti, &[LEFT, RIGHT], input, "---\n---\n+ y 1 1");
}

fn in_window(kind: JoinKind) -> Node {
    let bound = JoinBound::Window { left: 0, right: 0, kind: WindowKind::Tumble { width: 10 } };
    joined(kind, bound, 0, vec![0, 1], "w:window k:text a:int rw:window rk:text b:int")
}

#[test]
fn a_window_is_given_once_when_it_closes() {
    check(
        &in_window(JoinKind::Full),
        &["w:window k:text a:int", "w:window k:text b:int"],
        "+ 0..10 x 1
         +2 0..10 x 2
         + 10..20 x 3
         right + 0..10 x 4
         right + 0..10 y 5
         + 0..10 NULL 6
         right + 0..10 NULL 7
         + NULL x 8
         watermark 9
         ---
         + 0..10 x 9
         watermark 10
         ---
         right + 0..10 x 10
         right + 10..20 z 11
         watermark 20",
        "---
         + 0..10 x 1 0..10 x 4
         + 0..10 x 2 0..10 x 4
         + 0..10 x 2 0..10 x 4
         + 0..10 x 9 0..10 x 4
         + 0..10 NULL 6 NULL NULL NULL
         + NULL NULL NULL 0..10 y 5
         + NULL NULL NULL 0..10 NULL 7
         ---
         + 10..20 x 3 NULL NULL NULL
         + NULL NULL NULL 10..20 z 11
         late right row 0 of q: time 0, watermark 10, end 10",
    );
}

#[test]
fn a_lookup_gives_what_there_is_at_a_rows_commit() {
    let join = Join { kind: JoinKind::Left, left_keys: vec![0], right_keys: vec![0], mode: JoinMode::Lookup };
    check(
        &node(NodeKind::Join(join), "k:text a:int rk:text b:int"),
        &["k:text a:int", "k:text b:int"],
        "+ x 1
         ---
         right + x 10
         right + y 20
         +2 x 2
         + NULL 3
         ---
         right - x 10
         right + x 11
         + x 4
         + y 5
         ---
         right - y 20
         + y 6",
        "+ x 1 NULL NULL
         ---
         + x 2 x 10
         + x 2 x 10
         + NULL 3 NULL NULL
         ---
         + x 4 x 11
         + y 5 y 20
         ---
         + y 6 NULL NULL",
    );
}
