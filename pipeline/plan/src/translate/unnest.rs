//! `unnest`: a row for each element of a list, or of several lists side by side.

use super::{Planned, Query};
use crate::error::Mistake;
use crate::windows::{window_field, window_of};
use arrow::datatypes::{DataType, Field, Schema};
use chalk_graph::{self as graph, NodeId, NodeKind};
use datafusion::logical_expr::{ColumnUnnestList, Unnest};
use std::sync::Arc;

impl Query<'_> {
    pub(super) fn unnest(&mut self, unnest: &Unnest) -> Planned {
        let mut node = self.plan(&unnest.input)?;
        if !unnest.struct_type_columns.is_empty() {
            return Err(Mistake::new("UNNEST of a struct is not supported in a pipeline")
                .hint("a struct's fields are struct.field"));
        }
        let lists: Vec<usize> = unnest.list_type_columns.iter().map(|(list, _)| *list).collect();
        let is_twice = |list: &usize| unnest.dependency_indices.iter().filter(|from| *from == list).count() > 1;
        if lists.iter().any(is_twice) {
            return Err(Mistake::new("UNNEST of one list to more than one depth is not supported in a pipeline")
                .hint("unnest it in a subquery, and what comes out in an outer query"));
        }
        match unnest.list_type_columns.as_slice() {
            [(list, unnested)] => node = self.unnest_to_innermost(node, *list, unnested),
            several if several.iter().any(|(_, unnested)| unnested.depth > 1) => {
                return Err(Mistake::new(
                    "UNNEST of lists of lists beside another UNNEST is not supported in a pipeline",
                )
                .hint("unnest the lists of lists in a subquery, and what comes out in an outer query"));
            }
            _ => {}
        }
        let output = unnest.dependency_indices.clone();
        let from = self.schema(node);
        let fields = unnest.schema.inner().fields().iter().zip(&output).map(|(field, at)| {
            match window_of(from.field(*at)).filter(|_| lists.contains(at)) {
                Some(kind) => Arc::new(window_field(field.as_ref().clone(), kind)),
                None => Arc::clone(field),
            }
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let append_only = self.append_only(node);
        Ok(self.add(NodeKind::Unnest(graph::Unnest { output, lists }), vec![node], schema, append_only))
    }

    /// The rows of lists of lists, but for the innermost.
    fn unnest_to_innermost(&mut self, mut node: NodeId, list: usize, unnested: &ColumnUnnestList) -> NodeId {
        let append_only = self.append_only(node);
        for _ in 1..unnested.depth {
            let from = self.schema(node);
            let fields = from.fields().iter().enumerate().map(|(index, field)| match field.data_type() {
                DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
                    if index == list =>
                {
                    Arc::new(item.as_ref().clone().with_name(field.name()))
                }
                _ => Arc::clone(field),
            });
            let schema = Arc::new(Schema::new(fields.collect::<Vec<Arc<Field>>>()));
            let output = (0..from.fields().len()).collect();
            let kind = NodeKind::Unnest(graph::Unnest { output, lists: vec![list] });
            node = self.add(kind, vec![node], schema, append_only);
        }
        node
    }
}
