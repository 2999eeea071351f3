//! `GROUPING SETS`, `ROLLUP` and `CUBE`: an aggregate for each set, over the same input, and all of their rows.
//!
//! ```text
//! sum(n) … GROUP BY ROLLUP (a, b)      aggregate by a, b ─▶ a,    b,    0, sum ─┐
//!                                      aggregate by a    ─▶ a,    NULL, 1, sum ─┼▶ union
//!                                      aggregate         ─▶ NULL, NULL, 3, sum ─┘
//! ```

use super::{Planned, Query};
use crate::error::Mistake;
use arrow::datatypes::{DataType, SchemaRef};
use chalk_graph::{NodeId, NodeKind};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, GroupingSet};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, lit};
use std::collections::HashMap;
use std::sync::Arc;

/// What rows are grouped by.
pub(super) struct Keys<'a> {
    /// All that is a key of some set.
    pub(super) all: Vec<&'a Expr>,
    /// Which of them are the keys of each set; `None` when there is just one set, of all of them.
    pub(super) sets: Option<Vec<Vec<usize>>>,
}

impl<'a> Keys<'a> {
    pub(super) fn of(group: &'a [Expr]) -> Result<Self, Mistake> {
        let [Expr::GroupingSet(set)] = group else {
            return match group.iter().find(|key| matches!(key, Expr::GroupingSet(_))) {
                None => Ok(Self { all: group.iter().collect(), sets: None }),
                Some(set) => Err(Mistake::new(format!("{set} is a grouping set within another"))),
            };
        };
        let all = set.distinct_expr();
        let place = |key: &Expr| all.iter().position(|known| *known == key);
        let sets = match set {
            GroupingSet::Rollup(keys) => (0..=keys.len()).map(|count| (0..count).collect()).collect(),
            GroupingSet::Cube(keys) => subsets(keys.len()),
            GroupingSet::GroupingSets(sets) => {
                sets.iter().map(|keys| keys.iter().filter_map(place).collect()).collect()
            }
        };
        Ok(Self { all, sets: Some(sets) })
    }
}

/// All subsets of so many keys; the planner before us has bounded them.
fn subsets(keys: usize) -> Vec<Vec<usize>> {
    (0..1_u64 << keys.min(63)).map(|set| (0..keys).filter(|key| set >> key & 1 == 1).collect()).collect()
}

/// Which keys a row has not: a bit for each, the last key's the lowest; above them, how many such sets came before.
fn grouping_ids(sets: &[Vec<usize>], keys: usize) -> Vec<u64> {
    let mut seen: HashMap<u64, u64> = HashMap::new();
    let id = |set: &Vec<usize>| {
        let absent = (0..keys).fold(0, |id, key| id << 1 | u64::from(!set.contains(&key)));
        let before = seen.entry(absent).or_default();
        *before += 1;
        absent | (*before - 1) << keys
    };
    sets.iter().map(id).collect()
}

fn unsigned(id: u64, data_type: &DataType) -> Result<ScalarValue, Mistake> {
    Ok(ScalarValue::UInt64(Some(id)).cast_to(data_type)?)
}

impl Query<'_> {
    /// All rows of the aggregates of some sets, as the schema has them: all keys, the grouping id, the results. `aggregate` adds the aggregate
    /// by some of the keys.
    pub(super) fn grouping_sets(
        &mut self,
        sets: &[Vec<usize>],
        keys: usize,
        schema: SchemaRef,
        mut aggregate: impl FnMut(&mut Self, &[usize]) -> Planned,
    ) -> Planned {
        let mut parts: Vec<NodeId> = Vec::new();
        for (set, id) in sets.iter().zip(grouping_ids(sets, keys)) {
            let node = aggregate(self, set)?;
            let given = self.schema(node);
            let mut columns: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
            for (key, field) in schema.fields().iter().enumerate().take(keys) {
                columns.push(match set.iter().position(|other| *other == key) {
                    Some(place) => Arc::new(Column::new(given.field(place).name(), place)),
                    None => lit(ScalarValue::try_from(field.data_type())?),
                });
            }
            columns.push(lit(unsigned(id, schema.field(keys).data_type())?));
            let results = (set.len()..given.fields().len()).map(|place| Column::new(given.field(place).name(), place));
            columns.extend(results.map(|column| Arc::new(column) as _));
            let append_only = self.append_only(node);
            parts.push(self.add(NodeKind::Project(columns), vec![node], Arc::clone(&schema), append_only));
        }
        let append_only = parts.iter().all(|&part| self.append_only(part));
        Ok(self.add(NodeKind::Union, parts, schema, append_only))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_that_are_there_twice_differ() {
        let sets = vec![vec![0, 1], vec![0], vec![0], vec![]];
        assert_eq!(grouping_ids(&sets, 2), [0b00, 0b01, 0b101, 0b11]);
        assert_eq!(subsets(2), [vec![], vec![0], vec![1], vec![0, 1]]);
    }
}
