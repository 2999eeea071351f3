//! Recorded stages: where a function's results are events, and the graph is cut.
//!
//! ```text
//! topic ─▶ source ─▶ filter ─▶ project ─▶ calls ─▶ topic of results ─▶ source ─▶ …
//!         └────── the stage's input ─────┘                            └─ the graph ─
//! ```
//!
//! What a function that asks others says is not a function of its arguments. So the stage appends it, and the graph reads it from the log like
//! anything else: a replay, too, and without the stage.

use crate::node::{Graph, NodeId, NodeKind, Source};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A stage whose results are recorded.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its name: of the query that is cut, and of the function.
    pub name: String,
    /// The function that is called once for each row. Which build of it is not said here: each result says it.
    pub function: String,
    /// The rows: their source, and nodes that choose and project. The last node gives the kept columns, the arguments, and where the row of the
    /// source's topic stands: partition, offset and commit.
    pub input: Graph,
    /// The columns that are recorded with the result, as later nodes read them.
    pub kept: SchemaRef,
    /// How many arguments there are.
    pub arguments: usize,
    /// What the function gives.
    pub returns: DataType,
}

impl Stage {
    /// Columns behind those of a stage's input.
    pub const PLACE: [&'static str; 3] = ["_input_partition", "_input_offset", "_input_commit"];
    /// The column of results.
    pub const RESULT: &'static str = "_result";
    /// The column that says who the function was.
    pub const FUNCTION: &'static str = "_function";

    /// The columns that the graph reads: the kept ones, the result, and who the function was.
    #[must_use]
    pub fn columns(kept: &Schema, returns: &DataType) -> SchemaRef {
        let own = [Field::new(Self::RESULT, returns.clone(), true), Field::new(Self::FUNCTION, DataType::Utf8, true)];
        let fields: Vec<Arc<Field>> = kept.fields().iter().cloned().chain(own.map(Arc::new)).collect();
        Arc::new(Schema::new(fields))
    }

    /// The name of the topic of its results, before it is known which one there is.
    #[must_use]
    pub fn topic(name: &str) -> String {
        format!("_recorded_{name}")
    }

    /// Where its rows come from.
    ///
    /// # Panics
    /// When the stage was made without a source, which the planner never does.
    #[must_use]
    pub fn source(&self) -> &Source {
        let source = self.input.nodes.iter().find_map(|node| match &node.kind {
            NodeKind::Source(source) => Some(source),
            _ => None,
        });
        source.expect("a stage's input begins with a source")
    }

    /// The node that gives its rows.
    #[must_use]
    pub fn last(&self) -> NodeId {
        NodeId(self.input.nodes.len().saturating_sub(1))
    }
}

impl Graph {
    /// Every table that is read, once, by the graph or by its stages.
    #[must_use]
    pub fn tables(&self) -> Vec<&Source> {
        let nodes = self.nodes.iter().chain(self.stages.iter().flat_map(|stage| &stage.input.nodes));
        let mut tables = BTreeMap::new();
        for node in nodes {
            if let NodeKind::Source(source) = &node.kind
                && source.recorded.is_none()
            {
                tables.entry(source.table.as_str()).or_insert(source);
            }
        }
        tables.into_values().collect()
    }
}
