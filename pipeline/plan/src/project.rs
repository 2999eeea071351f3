//! A project: all statements of all its files, planned into one graph.

use crate::distinct_on;
use crate::error::{Mistake, PlanError, location_of, sql_location};
use crate::event_time;
use crate::folders;
use crate::functions::{Functions, session};
use crate::lookups::{self, LookedUp, Versions};
use crate::placed::placed;
use crate::recorded::RecordedFunctions;
use crate::refused;
use crate::relation::Relation;
use crate::set_operations;
use crate::simplify::simplified;
use crate::statement::{Statement, StatementKind, parse};
use crate::table::{PlannedTable, TopicSchemas};
use crate::translate::{Closing, Translator, check_lookups};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use chalk_graph::options::{DirectoryOptions, FileOptions, FluvioOptions, Format, TableOptions};
use chalk_graph::{Encoding, Graph, Node, NodeId, NodeKind, Sink, SinkTarget, WindowKind, did_you_mean};
use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::resolve::resolve_table_references;
use futures::executor::block_on;
use sqlparser::ast::{Ident, Query, Statement as Ast};
use sqlparser::dialect::GenericDialect;
use sqlparser::tokenizer::{Token, Tokenizer};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// A `.sql` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlFile {
    /// Its name, for errors.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What a query is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryKind {
    /// `CREATE VIEW`: a name for a query.
    View,
    /// `CREATE MATERIALIZED VIEW`: kept and queryable.
    MaterialisedView,
    /// `INSERT INTO` this table.
    Insert(String),
    /// A bare `SELECT`: rows go to the terminal.
    Preview,
}

/// A query of a project.
#[derive(Clone, Debug)]
pub struct PlannedQuery {
    /// The view's name, or one made of the table's.
    pub name: String,
    /// What it is for.
    pub kind: QueryKind,
    /// Its SELECT.
    pub sql: String,
    /// The tables and views that it names.
    pub reads: Vec<String>,
    /// Its columns.
    pub schema: SchemaRef,
    /// The windows that it closes, if it emits each pane once.
    pub closing: Option<ClosingWindows>,
}

impl PlannedQuery {
    /// Whether its SELECT calls a function of this name.
    #[must_use]
    pub fn calls(&self, function: &str) -> bool {
        let tokens = Tokenizer::new(&GenericDialect {}, &self.sql).tokenize().unwrap_or_default();
        let mut tokens = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).peekable();
        while let Some(token) = tokens.next() {
            if let (Token::Word(word), Some(Token::LParen)) = (token, tokens.peek())
                && word.value.eq_ignore_ascii_case(function)
            {
                return true;
            }
        }
        false
    }
}

/// How a query decides which rows of which tables are late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosingWindows {
    /// The tables whose watermarks close them, the least of these.
    pub tables: Vec<String>,
    /// Which they are.
    pub kind: WindowKind,
    /// How long after its end a window still accepts rows, in nanoseconds.
    pub lateness: i64,
}

/// A planned project.
#[derive(Clone, Debug)]
pub struct Project {
    /// Everything that runs.
    pub graph: Graph,
    /// Its tables, in order of appearance.
    pub tables: Vec<PlannedTable>,
    /// Its queries: what a query reads comes before it.
    pub queries: Vec<PlannedQuery>,
}

impl Project {
    /// The table of a name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&PlannedTable> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// The topic that a query fills, if it fills one.
    #[must_use]
    pub fn topic_of(&self, query: &PlannedQuery) -> Option<&str> {
        let QueryKind::Insert(table) = &query.kind else { return None };
        match &self.table(table)?.options {
            TableOptions::Log(log) => Some(&log.topic),
            _ => None,
        }
    }
}

/// Names that queries can use without a project: views must not take them.
const RESERVED: [&str; 2] = ["dead_letters", "late_rows"];

/// Plans a project. The order of files and statements does not matter.
///
/// # Errors
/// Every mistake that can be found at once: all statements that are not understood; or else those of all tables, and the first of each query
/// over what is as it should be.
pub fn plan(files: &[SqlFile], topics: &TopicSchemas, functions: &Functions) -> Result<Project, Vec<PlanError>> {
    let context = session(functions, 1);
    // A subquery that is a value is a join with its one row: there is nobody to ask it beforehand.
    let options = context.state_ref();
    options.write().config_mut().options_mut().optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    let mut planner = Planner {
        context,
        errors: Vec::new(),
        mistaken: HashSet::new(),
        lookups: HashSet::new(),
        generators: functions.generators.clone(),
        ttls: HashMap::new(),
        translator: Translator { recorded: RecordedFunctions::of(functions), ..Translator::default() },
        tables: Vec::new(),
        memory: Vec::new(),
        queries: Vec::new(),
    };
    let mut statements = Vec::new();
    for file in files {
        let (parsed, mistakes) = parse(&file.text);
        statements.extend(parsed.into_iter().map(|statement| (file.name.as_str(), statement)));
        planner.errors.extend(mistakes.into_iter().map(|mistake| mistake.in_file(&file.name)));
    }
    if planner.errors.is_empty() {
        planner.tables(&statements, topics);
        planner.queries(statements);
    }
    let Planner { errors, translator, tables, queries, .. } = planner;
    if !errors.is_empty() {
        return Err(errors);
    }
    let graph = simplified(translator.graph).map_err(|error| vec![Mistake::from(error).in_file("the project")])?;
    Ok(Project { graph, tables, queries })
}

/// Plans a SELECT in a session whose tables hold rows: the batch answer to what a pipeline computes.
///
/// # Errors
/// As DataFusion's planner.
pub async fn batch_plan(context: &SessionContext, sql: &str) -> DataFusionResult<LogicalPlan> {
    with_event_time(context.state().create_logical_plan(sql).await?)
}

/// The same for a plan that DataFusion has made: gives each window in it its column.
///
/// # Errors
/// When there is no such column, or more than one.
pub fn with_event_time(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    event_time::resolve(set_operations::counted(plan)?)
}

/// What leaves the graph has plain texts, whatever was convenient inside.
fn with_plain_texts(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    // JSON of any type is a union.
    let is_view = |field: &FieldRef| matches!(field.data_type(), DataType::Utf8View | DataType::Union(_, _));
    if !plan.schema().fields().iter().any(is_view) {
        return Ok(plan);
    }
    let columns = plan.schema().iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        if is_view(field) { cast(column, DataType::Utf8).alias(field.name()) } else { column }
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// Whether a format has words for all columns; the others have JSON's.
fn check_written(name: &str, format: &Format, schema: &Schema) -> Result<(), Mistake> {
    fn is_written(format: &Format, data_type: &DataType) -> bool {
        let is_parquet = *format == Format::Parquet;
        match data_type {
            DataType::Null | DataType::Time32(_) | DataType::Time64(_) | DataType::Interval(_) => !is_parquet,
            DataType::Duration(_) | DataType::Map(..) | DataType::Dictionary(..) | DataType::Float16 => false,
            DataType::List(inner) => is_written(format, inner.data_type()),
            DataType::Struct(fields) => fields.iter().all(|field| is_written(format, field.data_type())),
            _ => true,
        }
    }
    let (Format::Parquet | Format::Avro(_)) = format else { return Ok(()) };
    let kind = if *format == Format::Parquet { "Parquet" } else { "Avro" };
    match schema.fields().iter().find(|field| !is_written(format, field.data_type())) {
        None => Ok(()),
        Some(field) => {
            let (column, data_type) = (field.name(), field.data_type());
            let mistake = Mistake::new(format!("{name}: column '{column}' ({data_type}) cannot be written as {kind}"));
            Err(mistake.hint("cast it to TEXT"))
        }
    }
}

struct Planner {
    context: SessionContext,
    errors: Vec<PlanError>,
    /// Tables and views with mistakes: what reads them is not planned.
    mistaken: HashSet<String>,
    /// Temporary tables.
    lookups: HashSet<String>,
    /// Connectors that the program adds.
    generators: Vec<String>,
    /// `SET updating_ttl` by file, in nanoseconds.
    ttls: HashMap<String, i64>,
    translator: Translator,
    tables: Vec<PlannedTable>,
    /// Those without `WITH`, which are views of what is inserted into them.
    memory: Vec<PlannedTable>,
    queries: Vec<PlannedQuery>,
}

/// A query that waits for what it reads.
struct Waiting<'a> {
    file: &'a str,
    statement: Statement,
    name: String,
    reads: Vec<String>,
}

impl Planner {
    fn state(&self) -> SessionState {
        self.context.state()
    }

    fn tables(&mut self, statements: &[(&str, Statement)], topics: &TopicSchemas) {
        for (file, statement) in statements {
            let StatementKind::Table(table) = &statement.kind else { continue };
            if table.options.is_empty() {
                let is_fed = |(_, statement): &(&str, Statement)| matches!(&statement.kind, StatementKind::Insert { into, .. } if into.value == table.name.value);
                let planned = self.check_name(&table.name).and_then(|()| PlannedTable::in_memory(table));
                match planned {
                    Ok(_) if !statements.iter().any(is_fed) => {
                        let message = format!("table '{}': nothing is inserted into it", table.name.value);
                        let mistake =
                            Mistake::new(message).hint("a table of rows from outside has WITH (connector = '…')");
                        self.errors.push(mistake.at(sql_location(table.name.span)).in_file(file));
                    }
                    Ok(planned) => self.memory.push(planned),
                    Err(mistake) => self.errors.push(mistake.at(statement.location).in_file(file)),
                }
                continue;
            }
            let planned = self
                .check_name(&table.name)
                .and_then(|()| PlannedTable::plan(table, topics, &self.generators, &self.state()))
                .and_then(|planned| self.add_table(planned));
            if table.is_lookup {
                self.lookups.insert(table.name.value.clone());
            }
            if let Err(mistake) = planned {
                self.mistaken.insert(table.name.value.clone());
                self.errors.push(mistake.at(statement.location).in_file(file));
            }
        }
    }

    fn check_name(&self, name: &Ident) -> Result<(), Mistake> {
        let taken = RESERVED.contains(&name.value.as_str())
            || self.tables.iter().chain(&self.memory).any(|table| table.name == name.value)
            || self.translator.relations.contains_key(&name.value);
        if taken {
            let mistake = Mistake::new(format!("there is another table or view '{}'", name.value));
            return Err(mistake.at(sql_location(name.span)));
        }
        Ok(())
    }

    fn add_table(&mut self, planned: PlannedTable) -> Result<(), Mistake> {
        self.context.register_table(planned.name.as_str(), Arc::new(planned.relation()))?;
        if let Some(source) = &planned.source {
            let node = Node {
                name: format!("{}/source", planned.name),
                kind: NodeKind::Source(source.clone()),
                inputs: Vec::new(),
                schema: Arc::clone(&planned.schema),
                append_only: source.columns.weight.is_none(),
            };
            // A table that only takes rows in needs no node; one is added when a query reads it.
            self.translator.sources.insert(planned.name.clone(), node);
        }
        self.tables.push(planned);
        Ok(())
    }

    fn queries(&mut self, statements: Vec<(&str, Statement)>) {
        let mut waiting: Vec<Waiting<'_>> = Vec::new();
        let mut seen = BTreeMap::<String, usize>::new();
        for (file, statement) in statements {
            let (name, query) = match &statement.kind {
                StatementKind::Table(_) => continue,
                StatementKind::UpdatingTtl(kept) => {
                    if self.ttls.insert(file.to_owned(), *kept).is_some() {
                        let mistake = Mistake::new("SET updating_ttl holds for all of a file, and is there twice");
                        self.errors.push(mistake.at(statement.location).in_file(file));
                    }
                    continue;
                }
                StatementKind::View { name, query } | StatementKind::MaterialisedView { name, query } => {
                    if let Err(mistake) = self.check_name(name) {
                        self.errors.push(mistake.in_file(file));
                        continue;
                    }
                    (name.value.clone(), query)
                }
                StatementKind::Insert { into, query } if self.is_in_memory(into) => {
                    if seen.contains_key(&into.value) {
                        let message = format!("another INSERT INTO feeds table '{}' already", into.value);
                        let hint = "feed it with one INSERT INTO … SELECT … UNION ALL SELECT …";
                        self.errors.push(Mistake::new(message).hint(hint).at(statement.location).in_file(file));
                        continue;
                    }
                    (into.value.clone(), query)
                }
                StatementKind::Insert { into, query } => (format!("insert_into_{}", into.value), query),
                StatementKind::Select(query) => ("preview".to_owned(), query),
            };
            let count = seen.entry(name.clone()).or_default();
            *count += 1;
            let is_view = matches!(statement.kind, StatementKind::View { .. } | StatementKind::MaterialisedView { .. });
            if is_view && *count > 1 {
                let mistake = Mistake::new(format!("there is another table or view '{name}'"));
                self.errors.push(mistake.at(statement.location).in_file(file));
                continue;
            }
            let name = if *count > 1 { format!("{name}_{count}") } else { name };
            let reads = references(query);
            waiting.push(Waiting { file, statement, name, reads });
        }
        self.refuse_own_files(&mut waiting);
        self.plan_in_order(waiting);
    }

    /// A file that is written begins empty: what is read from it would be gone.
    fn refuse_own_files(&mut self, waiting: &mut Vec<Waiting<'_>>) {
        let normal = |path: &Path| path.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>();
        let path = |name: &str| match self.tables.iter().find(|table| table.name == name).map(|table| &table.options) {
            Some(TableOptions::SingleFile(file)) => Some(normal(&file.path)),
            _ => None,
        };
        let read: HashSet<PathBuf> =
            waiting.iter().flat_map(|query| &query.reads).filter_map(|name| path(name)).collect();
        let mut mistakes = Vec::new();
        waiting.retain(|query| {
            let StatementKind::Insert { into, .. } = &query.statement.kind else { return true };
            let Some(own) = path(&into.value).filter(|own| read.contains(own)) else { return true };
            let message =
                format!("INSERT INTO '{}': a query reads '{}', which writing would empty", into.value, own.display());
            let mistake = Mistake::new(message).hint("write to another file");
            mistakes.push(mistake.at(query.statement.location).in_file(query.file));
            false
        });
        self.errors.extend(mistakes);
    }

    fn is_in_memory(&self, table: &Ident) -> bool {
        self.memory.iter().any(|known| known.name == table.value)
    }

    /// Plans queries whose reads are planned, until none is left.
    fn plan_in_order(&mut self, mut waiting: Vec<Waiting<'_>>) {
        while !waiting.is_empty() {
            let names: Vec<String> = waiting.iter().map(|query| query.name.clone()).collect();
            let (ready, blocked): (Vec<_>, Vec<_>) = waiting
                .into_iter()
                .partition(|query| !query.reads.iter().any(|read| names.contains(read) && *read != query.name));
            if ready.is_empty() {
                for query in blocked {
                    let mistake =
                        Mistake::new(format!("'{}' reads itself through {}", query.name, query.reads.join(", ")));
                    self.errors.push(mistake.at(query.statement.location).in_file(query.file));
                }
                return;
            }
            for query in ready {
                let (file, location, name) = (query.file, query.statement.location, query.name.clone());
                let into = match &query.statement.kind {
                    StatementKind::Insert { into, .. } => Some(&into.value),
                    _ => None,
                };
                if query.reads.iter().chain(into).any(|name| self.mistaken.contains(name)) {
                    self.mistaken.insert(name);
                } else if let Err(mistake) = self.query(query) {
                    self.mistaken.insert(name);
                    self.errors.push(mistake.at(location).in_file(file));
                }
            }
            waiting = blocked;
        }
    }

    fn query(&mut self, waiting: Waiting<'_>) -> Result<(), Mistake> {
        let name = waiting.name;
        let ttl = self.ttls.get(waiting.file).copied();
        let (kind, mut query) = match waiting.statement.kind {
            StatementKind::View { query, .. } => (QueryKind::View, query),
            StatementKind::MaterialisedView { query, .. } => (QueryKind::MaterialisedView, query),
            StatementKind::Insert { into, query } if self.is_in_memory(&into) => (QueryKind::View, query),
            StatementKind::Insert { into, query } => (QueryKind::Insert(into.value), query),
            StatementKind::Select(query) => (QueryKind::Preview, query),
            StatementKind::Table(_) | StatementKind::UpdatingTtl(_) => return Ok(()),
        };
        let sink = self.sink(&kind, &name)?;
        let lateness = self.lateness(&kind);
        let closing = sink
            .as_ref()
            .filter(|sink| !matches!(sink, SinkTarget::View(_)))
            .map(|_| Closing { query: name.clone(), lateness });
        let lookups = self.looked_up(&mut query, &waiting.statement.versions)?;
        let (sql, reads) = (query.to_string(), references(&query));
        let plan = self.logical_plan(query, &lookups)?;
        let into = match &kind {
            QueryKind::Insert(into) => self.tables.iter().find(|table| table.name == *into),
            QueryKind::View => self.memory.iter().find(|table| table.name == name),
            _ => None,
        };
        let (plan, encoding) = match into {
            Some(table) => self.placed(table, plan)?,
            None => (plan, Encoding::default()),
        };
        let plan = if sink.is_some() { with_plain_texts(plan)? } else { plan };
        let schema: SchemaRef = Arc::clone(plan.schema().inner());
        let optimised = self.state().optimize(&plan)?;
        let node = self.translator.query(&name, &optimised, closing, ttl, &self.state())?;
        let node = self.renamed(&name, node, &schema);
        if let Some(target) = sink {
            self.check_sink(&target, &encoding.format, node, &name)?;
            let inputs = vec![node];
            let append_only = self.translator.graph.node(node).append_only;
            let kind = NodeKind::Sink(Sink { query: name.clone(), target, encoding });
            let schema = Arc::clone(&schema);
            self.translator.graph.add(Node { name: format!("{name}/sink"), kind, inputs, schema, append_only });
        }
        if kind == QueryKind::View {
            self.translator.views.insert(name.clone(), (optimised, Arc::clone(&schema)));
        }
        if matches!(kind, QueryKind::View | QueryKind::MaterialisedView) {
            self.context.register_table(name.as_str(), Arc::new(Relation::new(Arc::clone(&schema))))?;
            self.translator.relations.insert(name.clone(), node);
        }
        let closing = self.translator.closed.remove(&name);
        self.queries.push(PlannedQuery { name, kind, sql, reads, schema, closing });
        Ok(())
    }

    /// What goes into a table, with the folder that each row is for if the table has some, and what it looks like there.
    fn placed(&self, table: &PlannedTable, plan: LogicalPlan) -> Result<(LogicalPlan, Encoding), Mistake> {
        let Some(partitioning) = folders::partitioning(table) else {
            let plan = placed(table, plan, None)?;
            let encoding = encoding(table, &plan);
            return Ok((plan, encoding));
        };
        let encoding = encoding(table, &placed(table, plan.clone(), None)?);
        let (plan, folder) = folders::with_folder(table, partitioning, plan, &self.state())?;
        let column = folder.after;
        Ok((placed(table, plan, Some(folder))?, Encoding { folder: Some(column), ..encoding }))
    }

    /// Renames the tables that a query looks up, and registers them under their new names.
    fn looked_up(&mut self, query: &mut Query, versions: &Versions) -> Result<Vec<(String, LookedUp)>, Mistake> {
        let found = lookups::rename(query, versions, &self.lookups, self.translator.lookups.len());
        for (name, looked_up) in &found {
            let provider = block_on(self.context.table_provider(looked_up.of.as_str()));
            let provider = provider.map_err(|_| {
                let mistake = Mistake::new(format!("table '{}' not found", looked_up.of));
                self.with_known_names(mistake).at(looked_up.location)
            })?;
            self.context.register_table(name.as_str(), Arc::new(Relation::new(provider.schema())))?;
            self.translator.lookups.insert(name.clone(), looked_up.clone());
        }
        Ok(found)
    }

    fn logical_plan(&self, query: Box<Query>, lookups: &[(String, LookedUp)]) -> Result<LogicalPlan, Mistake> {
        refused::check(&query)?;
        let statement = DataFusionStatement::Statement(Box::new(Ast::Query(query)));
        let plan = block_on(self.state().statement_to_plan(statement)).map_err(|error| {
            let mistake = Mistake::from(error);
            self.with_known_names(mistake)
        })?;
        check_scalar_subqueries(&plan)?;
        check_lookups(&plan, lookups)?;
        let plan = self.translator.recorded.with_versions(with_event_time(distinct_on::ranked(plan)?)?)?;
        // Branches of CASE and of UNION have the type that all of them have in common from here on; until then it is the first one's.
        let options = Arc::clone(self.state().config_options());
        Ok(self.state().analyzer().execute_and_check(plan, &options, |_, _| {})?)
    }

    /// Helps with a misspelt table.
    fn with_known_names(&self, mistake: Mistake) -> Mistake {
        let wanted = mistake.message.strip_prefix("table '").and_then(|rest| rest.split_once("' not found"));
        let Some((wanted, _)) = wanted else { return mistake };
        let wanted = wanted.rsplit('.').next().unwrap_or(wanted).to_owned();
        let views = self.translator.relations.keys().map(String::as_str);
        let known: Vec<&str> = self.tables.iter().map(|table| table.name.as_str()).chain(views).collect();
        let near = did_you_mean(&wanted, known.iter().copied());
        let hint =
            near.map_or_else(|| format!("known are {}", known.join(", ")), |near| format!("did you mean '{near}'?"));
        Mistake { message: format!("there is no table or view '{wanted}'"), hint: Some(hint), ..mistake }
    }

    /// The query's columns under the names that it gives them, where optimising changed the schema.
    fn renamed(&mut self, name: &str, node: NodeId, schema: &SchemaRef) -> NodeId {
        let given = self.translator.graph.node(node);
        if same_types(&given.schema, schema) && given.schema.fields() == schema.fields() {
            return node;
        }
        let expressions = crate::translate::columns(schema);
        let append_only = given.append_only;
        let schema = crate::translate::with_marks(&expressions, &given.schema, schema);
        let kind = NodeKind::Project(expressions);
        self.translator.graph.add(Node {
            name: format!("{name}/output"),
            kind,
            inputs: vec![node],
            schema,
            append_only,
        })
    }

    fn sink(&self, kind: &QueryKind, name: &str) -> Result<Option<SinkTarget>, Mistake> {
        let into = match kind {
            QueryKind::View => return Ok(None),
            QueryKind::MaterialisedView => return Ok(Some(SinkTarget::View(name.to_owned()))),
            QueryKind::Preview => return Ok(Some(SinkTarget::Stdout)),
            QueryKind::Insert(into) => into,
        };
        let Some(table) = self.tables.iter().find(|table| table.name == *into) else {
            let known = self.tables.iter().map(|table| table.name.as_str());
            let mistake = Mistake::new(format!("INSERT INTO '{into}': there is no such table"));
            return Err(match did_you_mean(into, known) {
                Some(near) => mistake.hint(format!("did you mean '{near}'?")),
                None => mistake.hint("declare it with CREATE TABLE"),
            });
        };
        Ok(Some(match &table.options {
            TableOptions::Log(log) => SinkTarget::Topic(log.topic.clone()),
            TableOptions::SingleFile(file) => SinkTarget::File(file.clone()),
            TableOptions::Filesystem(directory) => SinkTarget::Directory(directory.clone()),
            TableOptions::Fluvio(fluvio) => SinkTarget::Fluvio(fluvio.clone()),
            TableOptions::Stdout => SinkTarget::Stdout,
            TableOptions::Blackhole => SinkTarget::Blackhole,
            TableOptions::Folder(_)
            | TableOptions::Impulse(_)
            | TableOptions::Nexmark(_)
            | TableOptions::Generator(_) => {
                return Err(Mistake::new(format!(
                    "INSERT INTO '{into}': the table is a source, which can only be read"
                ))
                .hint("a table that is written has type = 'sink'"));
            }
        }))
    }

    fn lateness(&self, kind: &QueryKind) -> i64 {
        let QueryKind::Insert(into) = kind else { return 0 };
        let table = self.tables.iter().find(|table| table.name == *into);
        table.map_or(0, |table| i64::try_from(table.lateness.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Only a view takes retractions; and what goes into a table must have its columns.
    fn check_sink(&self, target: &SinkTarget, format: &Format, node: NodeId, name: &str) -> Result<(), Mistake> {
        let node = self.translator.graph.node(node);
        match target {
            SinkTarget::View(_) | SinkTarget::Stdout | SinkTarget::Blackhole => Ok(()),
            SinkTarget::Topic(_) | SinkTarget::File(_) | SinkTarget::Directory(_) | SinkTarget::Fluvio(_)
                if !node.append_only && !matches!(format, Format::DebeziumJson(_)) =>
            {
                let mistake = Mistake::new(format!(
                    "{name}: the query retracts rows (it is updating), but its sink only takes new ones"
                ));
                Err(mistake.hint(match target {
                    SinkTarget::Topic(_) => {
                        "make it a MATERIALIZED VIEW, or aggregate over a window of an append-only table"
                    }
                    _ => {
                        "give the sink format = 'debezium_json', make it a MATERIALIZED VIEW, \
                         or aggregate over a window of an append-only table"
                    }
                }))
            }
            SinkTarget::File(FileOptions { path }) | SinkTarget::Directory(DirectoryOptions { path, .. })
                if self.translator.graph.nodes.iter().any(|node| writes_to(node, target)) =>
            {
                let mistake = Mistake::new(format!("{name}: another query writes to '{}' already", path.display()));
                Err(mistake.hint("write to it with one INSERT INTO … SELECT … UNION ALL SELECT …"))
            }
            SinkTarget::File(_) if *format == Format::Parquet => {
                Err(Mistake::new(format!("{name}: a Parquet file is written at once, and cannot grow"))
                    .hint("write a directory of them: connector = 'filesystem'"))
            }
            SinkTarget::Fluvio(FluvioOptions { key_field: Some(key), .. })
                if node.schema.column_with_name(key).is_none() =>
            {
                let mistake = Mistake::new(format!("{name}: sink.key_field = '{key}' is no column of the query"));
                Err(mistake.hint("its value becomes the key of each record"))
            }
            // Other tables' columns are matched by their order.
            SinkTarget::File(_) | SinkTarget::Directory(_) => check_written(name, format, &node.schema),
            SinkTarget::Topic(_) | SinkTarget::Fluvio(_) => self.check_columns(name, &node.schema),
        }
    }

    fn check_columns(&self, name: &str, given: &Schema) -> Result<(), Mistake> {
        let table =
            name.strip_prefix("insert_into_").and_then(|into| self.tables.iter().find(|table| table.name == into));
        let Some(table) = table.filter(|table| !table.schema.fields().is_empty()) else { return Ok(()) };
        for field in given.fields() {
            if table.schema.column_with_name(field.name()).is_none() {
                let known = table.schema.fields().iter().map(|field| field.name().as_str());
                let mistake = Mistake::new(format!("table '{}' has no column '{}'", table.name, field.name()));
                return Err(match did_you_mean(field.name(), known) {
                    Some(near) => mistake.hint(format!("did you mean '{near}'?")),
                    None => mistake.hint("columns are matched by name: give it one with AS"),
                });
            }
        }
        for field in table.schema.fields() {
            if !field.is_nullable() && given.column_with_name(field.name()).is_none() {
                let computed = ["event_id", "received_at", "event_type", "schema_version"];
                if !computed.contains(&field.name().as_str()) {
                    let message =
                        format!("column '{}' of table '{}' is NOT NULL, but not given", field.name(), table.name);
                    return Err(Mistake::new(message));
                }
            }
        }
        Ok(())
    }
}

/// What a query's rows look like in the table that they go to.
fn encoding(table: &PlannedTable, plan: &LogicalPlan) -> Encoding {
    let key = match table.key.as_slice() {
        [] => determining(plan),
        key => key.to_vec(),
    };
    Encoding { format: table.format.clone(), json: table.json.clone(), key, folder: None }
}

/// Columns of a plan that determine all others, if the plan knows some. What is alike in them can be taken for one row that changes.
fn determining(plan: &LogicalPlan) -> Vec<usize> {
    let schema = plan.schema();
    let all = schema.fields().len();
    let known = schema.functional_dependencies();
    let known = known.iter().find(|known| (0..all).all(|column| known.target_indices.contains(&column)));
    known.map(|known| known.source_indices.clone()).unwrap_or_default()
}

/// A subquery that is a value has one row, and is known to.
fn check_scalar_subqueries(plan: &LogicalPlan) -> Result<(), Mistake> {
    let mut several = None;
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::ScalarSubquery(subquery) = part
                    && subquery.outer_ref_columns.is_empty()
                    && !matches!(subquery.subquery.max_rows(), Some(0 | 1))
                {
                    several = Some(subquery.spans.first().and_then(location_of));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let mistake = || {
        Mistake::new("a subquery that is a value can have more than one row here")
            .hint("let it have one: an aggregate, or ORDER BY … LIMIT 1")
    };
    several.map_or(Ok(()), |location| Err(mistake().at(location)))
}

/// Whether a node is a sink whose files are where another's are to be.
fn writes_to(node: &Node, target: &SinkTarget) -> bool {
    let NodeKind::Sink(sink) = &node.kind else { return false };
    let (Some((path, all_below)), Some((other, all_below_other))) = (place(&sink.target), place(target)) else {
        return false;
    };
    path == other || all_below && other.starts_with(path) || all_below_other && path.starts_with(other)
}

/// Where the files of a sink are, and whether folders there are its own.
fn place(target: &SinkTarget) -> Option<(&Path, bool)> {
    match target {
        SinkTarget::File(FileOptions { path }) => Some((path, false)),
        SinkTarget::Directory(directory) => Some((&directory.path, !directory.partitioning.is_none())),
        _ => None,
    }
}

fn same_types(a: &Schema, b: &Schema) -> bool {
    a.fields().len() == b.fields().len()
        && a.fields().iter().zip(b.fields()).all(|(a, b)| a.data_type() == b.data_type())
}

/// The tables and views that a query names.
fn references(query: &Query) -> Vec<String> {
    let statement = DataFusionStatement::Statement(Box::new(Ast::Query(Box::new(query.clone()))));
    match resolve_table_references(&statement, true) {
        Ok((names, _)) => names.into_iter().map(|name| name.table().to_owned()).collect(),
        Err(_) => Vec::new(), // planning finds the same mistake, with its place
    }
}

/// Nodes by relation, shared by all queries.
pub(crate) type Relations = HashMap<String, NodeId>;
