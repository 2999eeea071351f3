use crate::testing::{check, node, property};
use chalk_graph::{Node, NodeKind, Rank, RankFunction, SortColumn};
use std::collections::BTreeSet;

const INPUT: &str = "class:text player:text score:int";

fn by_score(functions: &[RankFunction], nulls_first: bool) -> Node {
    let output: String = functions.iter().enumerate().map(|(index, _)| format!(" r{index}:uint")).collect();
    let order = vec![SortColumn { column: 2, descending: true, nulls_first }];
    let kind = NodeKind::Rank(Rank { partition: vec![0], order, functions: functions.to_vec(), whole: false });
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
