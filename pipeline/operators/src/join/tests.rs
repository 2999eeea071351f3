use crate::testing::{batch, check, node, property, schema};
use crate::{StepTime, operator};
use chalk_event::{ChangeBatch, Weights};
use chalk_graph::{Join, JoinKind, JoinMode, Node, NodeKind};

const LEFT: &str = "player:text mark:int";
const RIGHT: &str = "player:text name:text";

fn join(kind: JoinKind) -> Node {
    let output = match kind {
        JoinKind::LeftSemi | JoinKind::LeftAnti => "player:text mark:int",
        _ => "player:text mark:int player2:text name:text",
    };
    node(NodeKind::Join(Join { kind, left_keys: vec![0], right_keys: vec![0], mode: JoinMode::Live }), output)
}

#[track_caller]
fn check_join(kind: JoinKind, input: &str, expected: &str) {
    check(&join(kind), &[LEFT, RIGHT], input, expected);
}

#[test]
fn inner_pairs_come_and_go() {
    check_join(
        JoinKind::Inner,
        "+ a 1
         + NULL 2
         right + NULL x
         ---
         right + a Ann
         right + b Bob
         ---
         + a 3
         +2 b 4
         ---
         - a 1
         right - b Bob
         right + b Bea
         ---
         + a 9
         - a 9",
        "---
         + a 1 a Ann
         ---
         + a 3 a Ann
         +2 b 4 b Bob
         ---
         - a 1 a Ann
         -2 b 4 b Bob
         +2 b 4 b Bea
         ---",
    );
}

#[test]
fn left_rows_without_a_partner_are_padded() {
    check_join(
        JoinKind::Left,
        "+ a 1
         + NULL 2
         ---
         right + a Ann
         right + c Cy
         ---
         right + a Amy
         ---
         right - a Ann
         right - a Amy
         + a 3
         ---
         - a 1
         - NULL 2",
        "+ a 1 NULL NULL
         + NULL 2 NULL NULL
         ---
         + a 1 a Ann
         - a 1 NULL NULL
         ---
         + a 1 a Amy
         ---
         - a 1 a Ann
         - a 1 a Amy
         + a 3 NULL NULL
         + a 1 NULL NULL
         ---
         - a 1 NULL NULL
         - NULL 2 NULL NULL",
    );
}

#[test]
fn right_rows_without_a_partner_are_padded() {
    check_join(
        JoinKind::Right,
        "right + a Ann
         right + NULL Nul
         + b 5
         ---
         + a 1
         ---
         - a 1",
        "+ NULL NULL a Ann
         + NULL NULL NULL Nul
         ---
         + a 1 a Ann
         - NULL NULL a Ann
         ---
         - a 1 a Ann
         + NULL NULL a Ann",
    );
}

#[test]
fn full_joins_pad_both_sides() {
    check_join(
        JoinKind::Full,
        "+ a 1
         right + b Bob
         + NULL 7
         right + NULL Nul
         ---
         + b 2
         right + a Ann
         ---
         - b 2
         right - a Ann",
        "+ a 1 NULL NULL
         + NULL 7 NULL NULL
         + NULL NULL b Bob
         + NULL NULL NULL Nul
         ---
         + b 2 b Bob
         + a 1 a Ann
         - a 1 NULL NULL
         - NULL NULL b Bob
         ---
         - b 2 b Bob
         - a 1 a Ann
         + a 1 NULL NULL
         + NULL NULL b Bob",
    );
}

#[test]
fn semi_and_anti_joins_give_left_rows_only() {
    let input = "
         + a 1
         + b 2
         + NULL 3
         right + a Ann
         right + a Amy
         ---
         right - a Ann
         right + b Bob
         ---
         right - a Amy
         + a 4
         ---
         right + a Ann
         right - a Ann";
    check_join(
        JoinKind::LeftSemi,
        input,
        "+ a 1
         ---
         + b 2
         ---
         - a 1
         ---",
    );
    check_join(
        JoinKind::LeftAnti,
        input,
        "+ b 2
         + NULL 3
         ---
         - b 2
         ---
         + a 1
         + a 4
         ---",
    );
}

#[test]
fn inserts_joined_with_inserts_stay_append_only() {
    let node = join(JoinKind::Inner);
    let (left, right) = (schema(LEFT), schema(RIGHT));
    let mut operator = operator(&node, &[left.clone(), right.clone()]).expect("the node can be run");
    let twice = batch(&left, &[("a 1".into(), 1), ("a 1".into(), 1)]);
    let mut step =
        |inputs: [ChangeBatch; 2]| operator.step(&inputs, StepTime::default()).expect("the step is sound").changes;
    step([twice, batch(&right, &[])]);
    let out = step([batch(&left, &[]), batch(&right, &[("a Ann".into(), 1)])]);
    assert_eq!((out.len(), out.weights()), (2, &Weights::Inserts));
}

#[test]
fn a_join_without_keys_pairs_everything() {
    let kind =
        NodeKind::Join(Join { kind: JoinKind::Inner, left_keys: vec![], right_keys: vec![], mode: JoinMode::Live });
    check(
        &node(kind, "player:text mark:int player2:text name:text"),
        &[LEFT, RIGHT],
        "+ a 1
         + b 2
         ---
         right + c Cy",
        "---
         + b 2 c Cy
         + a 1 c Cy",
    );
}

#[test]
fn any_history_gives_what_a_join_of_the_rest_gives() {
    use JoinKind::{Full, Inner, Left, LeftAnti, LeftSemi, Right};
    for kind in [Inner, Left, Right, Full, LeftSemi, LeftAnti] {
        property(
            &join(kind),
            &[LEFT, RIGHT],
            &[
                |chance| format!("{} {}", chance.pick(&["a", "b", "c", "d", "NULL"]), chance.below(3)),
                |chance| format!("{} {}", chance.pick(&["a", "b", "c", "d", "NULL"]), chance.pick(&["x", "y"])),
            ],
            |left_over| {
                let (left, right) = (&left_over[0], &left_over[1]);
                let meet = |left: &[&str], right: &[&str]| left[0] != "NULL" && left[0] == right[0];
                let mut rows = Vec::new();
                for l in left {
                    let partners: Vec<_> = right.iter().filter(|r| meet(l, r)).collect();
                    if matches!(kind, Inner | Left | Right | Full) {
                        rows.extend(partners.iter().map(|r| format!("{} {}", l.join(" "), r.join(" "))));
                    }
                    match (kind, partners.is_empty()) {
                        (Left | Full, true) => rows.push(format!("{} NULL NULL", l.join(" "))),
                        (LeftAnti, true) | (LeftSemi, false) => rows.push(l.join(" ")),
                        _ => {}
                    }
                }
                if matches!(kind, Right | Full) {
                    let alone = right.iter().filter(|r| !left.iter().any(|l| meet(l, r)));
                    rows.extend(alone.map(|r| format!("NULL NULL {}", r.join(" "))));
                }
                rows
            },
        );
    }
}
