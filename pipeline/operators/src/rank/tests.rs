use super::RankOperator;
use crate::output::Output;
use crate::testing::{Chance, batch, check, node, property, rows, schema};
use crate::{Operator, SavedState, StepTime};
use chalk_graph::{Most, Node, NodeKind, Rank, RankFunction, SortColumn};
use std::collections::{BTreeMap, BTreeSet};

const INPUT: &str = "class:text player:text score:int";

fn by_score(functions: &[RankFunction], nulls_first: bool) -> Node {
    let output: String = functions.iter().enumerate().map(|(index, _)| format!(" r{index}:uint")).collect();
    let order = vec![SortColumn { column: 2, descending: true, nulls_first }];
    let kind =
        NodeKind::Rank(Rank { partition: vec![0], order, functions: functions.to_vec(), whole: false, most: None });
    node(kind, &format!("{INPUT}{output}"))
}

const ALL: [RankFunction; 3] = [RankFunction::RowNumber, RankFunction::Rank, RankFunction::DenseRank];

#[test]
fn ranks_are_given_and_corrected() {
    check(
        &by_score(&ALL, false),
        &[INPUT],
        "+ 3A ann 9
         + 3A bob 7
         + 3A cy 5
         + 3B dan 1
         ---
         - 3A bob 7
         + 3A bob 9
         ---
         - 3A ann 9
         ---
         + 3B eve NULL
         + 3B eve NULL
         ---
         - 3B dan 1",
        "+ 3A ann 9 1 1 1
         + 3A bob 7 2 2 2
         + 3A cy 5 3 3 3
         + 3B dan 1 1 1 1
         ---
         + 3A bob 9 2 1 1
         - 3A bob 7 2 2 2
         - 3A cy 5 3 3 3
         + 3A cy 5 3 3 2
         ---
         - 3A ann 9 1 1 1
         - 3A bob 9 2 1 1
         + 3A bob 9 1 1 1
         - 3A cy 5 3 3 2
         + 3A cy 5 2 2 2
         ---
         + 3B eve NULL 2 2 2
         + 3B eve NULL 3 2 2
         ---
         - 3B dan 1 1 1 1
         - 3B eve NULL 2 2 2
         - 3B eve NULL 3 2 2
         + 3B eve NULL 1 1 1
         + 3B eve NULL 2 1 1",
    );
}

#[test]
fn equal_rows_need_no_copies_without_row_numbers() {
    check(
        &by_score(&[RankFunction::Rank], true),
        &[INPUT],
        "+2 3A ann 9
         + 3A bob NULL
         ---
         - 3A ann 9
         ---
         + 3A dan 8
         - 3A dan 8",
        "+ 3A bob NULL 1
         +2 3A ann 9 2
         ---
         - 3A ann 9 2
         ---",
    );
}

#[test]
fn dense_ranks_of_others_do_not_change_with_an_equal_row() {
    check(
        &by_score(&[RankFunction::DenseRank], false),
        &[INPUT],
        "+ 3A ann 9
         + 3A cy 5
         ---
         + 3A bob 9",
        "+ 3A ann 9 1
         + 3A cy 5 2
         ---
         + 3A bob 9 1",
    );
}

#[test]
fn any_history_gives_the_ranks_of_the_rest() {
    for functions in [&ALL[..], &ALL[1..], &ALL[..1], &ALL[2..]] {
        property(
            &by_score(functions, false),
            &[INPUT],
            &[|chance| {
                let class = chance.pick(&["3A", "3B", "NULL"]);
                let player = chance.pick(&["ann", "bob", "cy"]);
                format!("{class} {player} {}", chance.pick(&["1", "2", "3", "NULL"]))
            }],
            |left_over| {
                // Descending, NULLs last; then by all columns, of which only the player is not decided yet.
                let score = |row: &[&str]| row[2].parse::<i64>().map_or(i64::MAX, |score| -score);
                let mut rows = left_over[0].clone();
                rows.sort_by(|a, b| (score(a), a[1]).cmp(&(score(b), b[1])));
                let with_ranks = |(place, row): (usize, &Vec<&str>)| {
                    let class: Vec<&Vec<&str>> = rows.iter().filter(|other| other[0] == row[0]).collect();
                    let number = 1 + rows[..place].iter().filter(|other| other[0] == row[0]).count();
                    let better: Vec<i64> = class.iter().map(|other| score(other)).filter(|&s| s < score(row)).collect();
                    let dense = 1 + better.iter().collect::<BTreeSet<_>>().len();
                    let ranks = functions.iter().map(|function| match function {
                        RankFunction::RowNumber => number,
                        RankFunction::Rank => 1 + better.len(),
                        RankFunction::DenseRank => dense,
                    });
                    format!("{} {}", row.join(" "), ranks.map(|rank| rank.to_string()).collect::<Vec<_>>().join(" "))
                };
                rows.iter().enumerate().map(with_ranks).collect()
            },
        );
    }
}

#[test]
fn partitions_that_come_whole_are_not_kept() {
    let mut node = by_score(&[RankFunction::Rank], false);
    if let NodeKind::Rank(rank) = &mut node.kind {
        rank.whole = true;
    }
    check(
        &node,
        &[INPUT],
        "+ 3A ann 9
         + 3A bob 7
         ---
         + 3A cy 5",
        "+ 3A ann 9 1
         + 3A bob 7 2
         ---
         + 3A cy 5 1",
    );
}

/// Many rows come, few are kept, and what is given of the first ranks is what it is when all are kept.
#[test]
fn rows_beyond_what_is_read_are_not_kept() {
    for (function, kind) in ALL.into_iter().enumerate() {
        let all = by_score(&ALL, false);
        let mut few = all.clone();
        let NodeKind::Rank(rank) = &mut few.kind else { panic!("it ranks") };
        rank.most = Some(Most { function, rank: 3 });
        let operator = |node: &Node| {
            let NodeKind::Rank(rank) = &node.kind else { panic!("it ranks") };
            RankOperator::new(rank, &schema(INPUT), Output::of(node)).expect("the node can be run")
        };
        let (mut all, mut few, mut chance) = (operator(&all), operator(&few), Chance(7));
        let mut net: BTreeMap<String, i64> = BTreeMap::new();
        for step in 0..500 {
            let inserts: Vec<(String, i64)> =
                (0..20).map(|_| (format!("3A p{} {}", chance.below(5), chance.below(1000)), 1)).collect();
            let input = [batch(&schema(INPUT), &inserts)];
            for (operator, sign) in [(&mut all, 1), (&mut few, -1)] {
                let given = operator.step(&input, StepTime::default()).expect("a sound step").changes;
                for (row, weight) in rows(&given) {
                    let rank: u64 =
                        row.split(' ').nth(3 + function).and_then(|rank| rank.parse().ok()).expect("a rank");
                    if rank <= 3 {
                        *net.entry(row).or_default() += sign * weight;
                    }
                }
            }
            net.retain(|_, weight| *weight != 0);
            assert!(net.is_empty(), "{kind}, step {step}: {net:?}");
            // Of equal scores there are no more than players, ten thousand rows of which a hundred differ.
            assert!(few.partitions.len(0) <= 15, "{kind}: {} rows are kept", few.partitions.len(0));
            if step == 250 {
                let kept = few.partitions.len(0);
                few = operator(&by_score(&ALL, false));
                few.most = Some(Most { function, rank: 3 });
                few.restore(SavedState::Inputs(&input)).expect("what came in");
                assert!(few.partitions.len(0) <= kept.max(15));
                (all, net) = (operator(&by_score(&ALL, false)), BTreeMap::new());
                all.restore(SavedState::Inputs(&input)).expect("what came in");
            }
        }
        assert!(all.partitions.len(0) > 1000);
    }
}
