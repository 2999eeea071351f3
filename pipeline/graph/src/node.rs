//! Nodes of a graph.

use crate::options::{BadData, DirectoryOptions, FileOptions, FluvioOptions, Format, SourceOptions};
use crate::stage::Stage;
use arrow::datatypes::{DataType, Field, Fields, SchemaRef, TimeUnit};
use chalk_event::Provenance;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::window::WindowExpr;
use std::fmt;
use std::sync::Arc;

/// A node's place in [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// A whole pipeline: every query of a project, sharing sources and views.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Inputs come before the nodes that use them.
    pub nodes: Vec<Node>,
    /// Where it is cut; one that reads the results of another comes after it.
    pub stages: Vec<Stage>,
}

/// One operator of a graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// A name that stays the same as long as its query does: `query/operator/number`.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
    /// Where its rows come from.
    pub inputs: Vec<NodeId>,
    /// The columns that it gives.
    pub schema: SchemaRef,
    /// Whether it never retracts a row.
    pub append_only: bool,
}

/// What a node does.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// Rows of a topic.
    Source(Source),
    /// One expression per output column, over the input's columns.
    Project(Vec<Arc<dyn PhysicalExpr>>),
    /// Keeps the rows for which the expression is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// One row per element of list columns.
    Unnest(Unnest),
    /// Gives each row the session that it is in.
    Session(Session),
    /// Groups and aggregates.
    Aggregate(Aggregate),
    /// Joins its two inputs.
    Join(Join),
    /// Takes back rows that are old.
    Forget(Forget),
    /// Ranks the rows of each partition.
    Rank(Rank),
    /// Computes other functions over the ordered rows of each partition.
    Over(Over),
    /// All rows of all inputs.
    Union,
    /// Where rows leave the graph; it gives no rows.
    Sink(Sink),
}

/// Rows of a topic, as a table.
#[derive(Clone, Debug)]
pub struct Source {
    /// The table's name in SQL.
    pub table: String,
    /// The topic that is read.
    pub topic: String,
    /// How its rows come into the log; `None` when they are appended by producers.
    pub options: Option<SourceOptions>,
    /// What they look like on their way into the log.
    pub format: Format,
    /// What becomes of those that cannot be read.
    pub bad_data: BadData,
    /// What the expressions are over.
    pub columns: SourceColumns,
    /// One expression per column of the table.
    pub expressions: Vec<Arc<dyn PhysicalExpr>>,
    /// The table's column that is its event time.
    pub event_time: Option<usize>,
    /// The watermark that each row argues for, over the table's columns.
    pub watermark: Option<Arc<dyn PhysicalExpr>>,
    /// After so long without rows, in nanoseconds between commits, what waits for several tables does not wait for this one; `None`: it always does.
    pub idle_after: Option<i64>,
    /// When the rows are results of a stage, which says how far event time has come.
    pub recorded: Option<RecordedSource>,
}

/// Of rows that are the results of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedSource {
    /// Whether the stage's own source has a watermark.
    pub has_watermark: bool,
    /// Whether it ends.
    pub is_bounded: bool,
}

impl Source {
    /// Whether it says how far event time has come.
    #[must_use]
    pub fn has_watermark(&self) -> bool {
        self.recorded.map_or(self.watermark.is_some(), |recorded| recorded.has_watermark)
    }

    /// Whether it ends.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.recorded.map_or_else(
            || self.options.as_ref().is_some_and(SourceOptions::is_bounded),
            |recorded| recorded.is_bounded,
        )
    }
}

/// The columns that a source's expressions are over: stored ones by name, then where the row comes from.
#[derive(Clone, Debug)]
pub struct SourceColumns {
    /// Stored columns of the topic; those that the log keeps as JSON text are read as the schema's type.
    pub stored: Vec<String>,
    /// The stored column that is a row's weight, where rows can be deletes.
    pub weight: Option<String>,
    /// Hidden columns.
    pub provenance: Vec<Provenance>,
    /// Both, in this order.
    pub schema: SchemaRef,
}

/// Unnests list columns side by side: a row gives as many rows as its longest list has elements, and NULL where another one has ended. Rows
/// whose lists are all NULL or empty give no row.
#[derive(Clone, Debug)]
pub struct Unnest {
    /// Which input column each output column is; a list's own position gives its elements.
    pub output: Vec<usize>,
    /// The input's list columns.
    pub lists: Vec<usize>,
}

/// Groups rows by key columns and aggregates them.
///
/// Without [`Aggregate::close`] it is updating: every change of a group retracts its earlier row. Without keys there is one
/// group, which has a row even when it has no input.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// Input columns to group by; they come first in the output.
    pub keys: Vec<usize>,
    /// What is computed of each group; one output column each, after the keys.
    pub calls: Vec<AggregateCall>,
    /// Whether panes are emitted once, when the watermark closes them.
    pub close: Option<CloseWindows>,
    /// Whether the input never retracts a row, so that what could only be needed then is not kept.
    pub append_only_input: bool,
    /// How long a group is kept after its last row, by the time of commits in nanoseconds; only over input that never retracts a row. Then
    /// its result is retracted, and a later row begins it anew.
    pub ttl: Option<i64>,
}

/// One aggregate of a group.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    /// Which aggregate.
    pub function: AggregateFunction,
    /// Input columns that are its arguments.
    pub args: Vec<usize>,
    /// An input column of booleans: only rows where it is true count.
    pub filter: Option<usize>,
    /// As it is shown.
    pub display: String,
}

/// An aggregate function.
#[derive(Clone, Debug)]
pub enum AggregateFunction {
    /// Rows for which no argument is NULL; all rows without arguments.
    Count,
    /// Distinct non-NULL values of the one argument.
    CountDistinct,
    /// Sum of a `BIGINT` argument; NULL without values.
    SumInteger,
    /// Exact, order-independent sum of a `DOUBLE` argument; NULL without values.
    SumFloat,
    /// Exact, order-independent mean of a `DOUBLE` argument; NULL without values.
    AvgFloat,
    /// Least value.
    Min,
    /// Greatest value.
    Max,
    /// Any other of DataFusion's, recomputed over the kept multiset of its arguments.
    Recompute(Arc<AggregateFunctionExpr>),
}

/// Gives the rows of an append-only input, and takes each back some time later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forget {
    /// How long a row is kept after it came, by the time of commits in nanoseconds.
    pub kept: i64,
}

/// Which windows there are. All are half-open, `[start, end)`; durations are in nanoseconds and positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowKind {
    /// One after the other, aligned to the Unix epoch.
    Tumble {
        /// From start to end.
        width: i64,
    },
    /// One begins with every slide, aligned to the Unix epoch; they overlap, or leave gaps.
    Hop {
        /// From start to start.
        slide: i64,
        /// From start to end.
        width: i64,
    },
    /// From an event to a gap after the last one that follows within less than a gap.
    Session {
        /// Without events, for so long, a session ends.
        gap: i64,
    },
}

/// Gives each row with the session that it is in, as a column behind the input's own: a struct of `start` and `end`.
#[derive(Clone, Debug)]
pub struct Session {
    /// Input columns: each of their values has sessions of its own.
    pub keys: Vec<usize>,
    /// The input column with the event time.
    pub time: usize,
    /// How long a session lasts after an event, in nanoseconds.
    pub gap: i64,
    /// Whether rows are given once, when their session has ended; otherwise at once, and again whenever it changes.
    pub close: Option<CloseSessions>,
}

/// Sessions are given once, when the watermark passes their end plus the lateness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseSessions {
    /// How long after its end a session still accepts rows, in nanoseconds.
    pub lateness: i64,
    /// The query's name, for the late table.
    pub query: String,
}

impl Session {
    /// The fields of a window.
    #[must_use]
    pub fn window_fields() -> Fields {
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        Fields::from(vec![Field::new("start", time.clone(), true), Field::new("end", time, true)])
    }
}

/// Panes are emitted once, when the watermark passes the window's end plus the lateness.
#[derive(Clone, Debug)]
pub struct CloseWindows {
    /// The input column with the window: a struct of `start` and `end`. It is one of the keys.
    pub window: usize,
    /// Which windows these are.
    pub kind: WindowKind,
    /// The input column with the event time, if it is still there; late rows are else shown with their window's start.
    pub event_time: Option<usize>,
    /// How long after its end a window still accepts rows, in nanoseconds.
    pub lateness: i64,
    /// The query's name, for the late table.
    pub query: String,
}

/// Which rows a join gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs.
    Inner,
    /// Pairs, and left rows without a partner.
    Left,
    /// Pairs, and right rows without a partner.
    Right,
    /// Pairs, and rows of either side without a partner.
    Full,
    /// Left rows with a partner.
    LeftSemi,
    /// Left rows without a partner.
    LeftAnti,
}

/// An equi-join. NULL keys match nothing.
#[derive(Clone, Debug)]
pub struct Join {
    /// Which rows it gives.
    pub kind: JoinKind,
    /// Key columns of the left input.
    pub left_keys: Vec<usize>,
    /// Key columns of the right input, as many and of the same types.
    pub right_keys: Vec<usize>,
    /// When rows meet.
    pub mode: JoinMode,
}

/// When the rows of a join's sides meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinMode {
    /// Always: what either side gives or takes back changes what was given.
    Live,
    /// Both sides are append-only, and rows are let go of once the watermark tells that no other can meet them: each row is given once.
    Closing(CloseJoin),
    /// While neither is forgotten: what a side takes back has become old, and changes nothing that was given. Inner joins alone.
    Forgetting,
    /// A left row, which is never taken back, meets what the right side has at the row's commit, and is not changed by what comes later.
    Lookup,
}

/// How a join of append-only inputs knows that rows can meet no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseJoin {
    /// Which rows can meet.
    pub bound: JoinBound,
    /// How long after a window's end, or behind the watermark, a row still counts; in nanoseconds.
    pub lateness: i64,
    /// The query's name, for the late table.
    pub query: String,
}

/// Which rows of append-only inputs can meet, beside equal keys. Columns are those of the sides; durations are in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinBound {
    /// Those of one window, which is among the keys: all of its rows are given when it closes.
    Window {
        /// The left side's column with windows.
        left: usize,
        /// The right side's.
        right: usize,
        /// Which windows these are.
        kind: WindowKind,
    },
    /// Those whose times differ by so much: `least <= left - right <= most`. Pairs are given at once, rows without partner when none can come.
    Interval {
        /// The left side's column with event time.
        left: usize,
        /// The right side's.
        right: usize,
        /// The least difference.
        least: i64,
        /// The greatest.
        most: i64,
    },
}

/// A ranking function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankFunction {
    /// 1, 2, 3, …: equal rows are told apart by all their columns.
    RowNumber,
    /// Equal rows share a rank; the next is as much higher as there were.
    Rank,
    /// Equal rows share a rank; the next is one higher.
    DenseRank,
}

impl fmt::Display for RankFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RowNumber => "row_number()",
            Self::Rank => "rank()",
            Self::DenseRank => "dense_rank()",
        })
    }
}

/// A column to sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortColumn {
    /// The input's column.
    pub column: usize,
    /// Greatest first.
    pub descending: bool,
    /// NULLs before everything.
    pub nulls_first: bool,
}

/// Ranks the rows of each partition: the input's columns, then one `UInt64` column per function.
#[derive(Clone, Debug)]
pub struct Rank {
    /// Input columns whose values make a partition.
    pub partition: Vec<usize>,
    /// The order inside it.
    pub order: Vec<SortColumn>,
    /// What is computed.
    pub functions: Vec<RankFunction>,
    /// Whether all rows of a partition come in one step, and no other ever: then nothing is kept, and nothing retracted.
    pub whole: bool,
    /// Beyond what nobody reads, when the input never retracts a row: later rows of a partition are not kept.
    pub most: Option<Most>,
}

/// The greatest rank that somebody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Which of [`Rank::functions`] it is of.
    pub function: usize,
    /// The rank, from 1.
    pub rank: u64,
}

/// Functions over the ordered rows of each partition: the input's columns, then one column per function.
#[derive(Clone, Debug)]
pub struct Over {
    /// Input columns whose values make a partition.
    pub partition: Vec<usize>,
    /// The order inside it; rows that are alike in it come in the order of all their columns.
    pub order: Vec<SortColumn>,
    /// What is computed, over the input's columns.
    pub functions: Vec<Arc<dyn WindowExpr>>,
    /// Whether all rows of a partition come in one step, and no other ever: then nothing is kept, and nothing retracted.
    pub whole: bool,
}

/// Where rows leave the graph.
#[derive(Clone, Debug)]
pub struct Sink {
    /// The query's name.
    pub query: String,
    /// Where to.
    pub target: SinkTarget,
    /// What rows look like there.
    pub encoding: Encoding,
}

/// What rows look like outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The format.
    pub format: Format,
    /// Columns whose text is JSON already.
    pub json: Vec<usize>,
    /// Columns that no two rows have alike at a time: a delete and an insert that are alike in them are one change of a row. Empty when
    /// that is not known.
    pub key: Vec<usize>,
    /// The column that says which folder a row goes to, which is the last and is not written.
    pub folder: Option<usize>,
}

/// A place for rows outside the graph.
#[derive(Clone, Debug)]
pub enum SinkTarget {
    /// A materialised view of this name.
    View(String),
    /// Events of a topic.
    Topic(String),
    /// Lines of a file.
    File(FileOptions),
    /// Lines of a directory's files.
    Directory(DirectoryOptions),
    /// Records of a Fluvio topic.
    Fluvio(FluvioOptions),
    /// Lines on the terminal, as JSON with the sink's columns that are JSON text already.
    Stdout,
    /// Nowhere.
    Blackhole,
}

impl NodeKind {
    /// Whether it gives some of its input's columns as they are, and does nothing else: that costs nothing.
    #[must_use]
    pub fn is_selection(&self) -> bool {
        match self {
            Self::Project(expressions) => expressions.iter().all(|expression| expression.is::<Column>()),
            _ => false,
        }
    }
}

impl Graph {
    /// A node.
    ///
    /// # Panics
    /// When the id is of another graph.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// Adds a node whose inputs were added before.
    pub fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    /// All nodes with their ids, inputs first.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId(index), node))
    }

    /// The sources by whose time a node's rows go, in order: all that they come from, but for what is looked up.
    #[must_use]
    pub fn sources_of(&self, id: NodeId) -> Vec<NodeId> {
        match &self.node(id).kind {
            NodeKind::Source(_) => vec![id],
            _ => self.sorted_sources(self.timely_inputs(id), Self::sources_of),
        }
    }

    /// The tables by whose time a node's rows go, in order.
    #[must_use]
    pub fn tables_of(&self, id: NodeId) -> Vec<&str> {
        let table = |source: NodeId| match &self.node(source).kind {
            NodeKind::Source(source) => Some(source.table.as_str()),
            _ => None,
        };
        self.sources_of(id).into_iter().filter_map(table).collect()
    }

    /// The inputs by whose time a node's rows go: all but what is looked up.
    #[must_use]
    pub fn timely_inputs(&self, id: NodeId) -> &[NodeId] {
        let inputs = &self.node(id).inputs[..];
        match &self.node(id).kind {
            NodeKind::Join(Join { mode: JoinMode::Lookup, .. }) => &inputs[..1],
            _ => inputs,
        }
    }

    /// All sources that a node's rows come from, in order.
    #[must_use]
    pub fn all_sources_of(&self, id: NodeId) -> Vec<NodeId> {
        match &self.node(id).kind {
            NodeKind::Source(_) => vec![id],
            _ => self.sorted_sources(&self.node(id).inputs, Self::all_sources_of),
        }
    }

    fn sorted_sources(&self, inputs: &[NodeId], of: fn(&Self, NodeId) -> Vec<NodeId>) -> Vec<NodeId> {
        let mut sources: Vec<NodeId> = inputs.iter().flat_map(|&input| of(self, input)).collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }
}
