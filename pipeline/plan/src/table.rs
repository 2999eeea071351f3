//! Tables: columns checked against the topic's schema, and the expressions that make them.

use crate::error::{Mistake, sql_location};
use crate::relation::{Relation, commit_seq_field, event_time_field};
use crate::statement::{ColumnDef, ColumnSource, CreateTable};
use crate::types::{arrow_type, column_of, seen_as, sql_type};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chalk_catalog::{Column, ColumnType, TopicSchema};
use chalk_event::Provenance;
use chalk_graph::options::{self, BadData, Format, Role, SourceOptions, TableDefinition, TableOptions};
use chalk_graph::{Source, SourceColumns, did_you_mean};
use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column as ColumnExpr};
use sqlparser::ast::{self, ExprWithAlias, Ident};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The schemas of topics, by name.
pub type TopicSchemas = BTreeMap<String, Arc<TopicSchema>>;

/// A table of a project.
#[derive(Clone, Debug)]
pub struct PlannedTable {
    /// Its name in SQL.
    pub name: String,
    /// Where its rows come from or go to.
    pub options: TableOptions,
    /// What they look like there.
    pub format: Format,
    /// What becomes of those that cannot be read.
    pub bad_data: BadData,
    /// Its columns.
    pub schema: SchemaRef,
    /// The numbers of those whose text is JSON.
    pub json: Vec<usize>,
    /// The numbers of those that are its PRIMARY KEY.
    pub key: Vec<usize>,
    /// The topic that holds its rows, with the schema's text when it is not in `schemas/`.
    pub topic: Option<TableTopic>,
    /// How it is read.
    pub source: Option<Source>,
    /// Its watermark as SQL over its columns, for the batch answer.
    pub watermark_sql: Option<String>,
    /// How long after its end a window still accepts rows that an `INSERT INTO` it closes.
    pub lateness: Duration,
    /// After so long without rows, in nanoseconds, windows over several tables do not wait for it.
    pub(crate) idle_after: Option<i64>,
}

/// The topic behind a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableTopic {
    /// Its name.
    pub name: String,
    /// The `.avsc` made of the table's columns, when the topic is the table's own.
    pub own_avsc: Option<String>,
}

impl PlannedTable {
    pub(crate) fn plan(
        table: &CreateTable,
        topics: &TopicSchemas,
        generators: &[String],
        state: &SessionState,
    ) -> Result<Self, Mistake> {
        let name = table.name.value.clone();
        let location = sql_location(table.name.span);
        let definition = options::read(&name, &table.options, table.is_lookup, generators).map_err(|error| {
            let mistake = Mistake::new(format!("table '{name}': {error}")).at(location);
            match error.hint {
                Some(hint) => mistake.hint(hint),
                None => mistake,
            }
        })?;
        let TableDefinition {
            options,
            role,
            format,
            bad_data,
            event_time_field,
            watermark_field,
            lateness,
            idle_after,
        } = definition;
        let table = &made_up(table, &options, event_time_field, watermark_field)?;
        let columns: Vec<Column> = stored(table).map(|column| column_of(column, &format)).collect::<Result<_, _>>()?;
        check_format(table, &format, &columns)?;
        let own = |is_identified: bool| {
            let mut stored = columns.clone();
            if let Format::DebeziumJson(_) = format {
                let column_type = ColumnType::Long;
                stored.push(Column { name: WEIGHT.to_owned(), column_type, nullable: false });
            }
            Some(TableTopic {
                name: name.clone(),
                own_avsc: Some(TopicSchema::avsc_of_table(&name, &stored, is_identified)),
            })
        };
        let topic = match &options {
            TableOptions::Log(log) => {
                check_against(table, &log.topic, topics)?;
                Some(TableTopic { name: log.topic.clone(), own_avsc: None })
            }
            TableOptions::SingleFile(_) if role == Some(Role::Sink) => None,
            TableOptions::SingleFile(_)
            | TableOptions::Folder(_)
            | TableOptions::Impulse(_)
            | TableOptions::Nexmark(_)
            | TableOptions::Generator(_) => own(false),
            // What writes there gives rows again after a crash, with the ids that they had.
            TableOptions::Fluvio(_) if role == Some(Role::Sink) => None,
            TableOptions::Fluvio(_) => {
                let is_id = |column: &Column| column.name == "event_id" && column.column_type == ColumnType::Text;
                own(columns.iter().any(is_id))
            }
            TableOptions::Filesystem(_) | TableOptions::Stdout | TableOptions::Blackhole => None,
        };
        let number = |name: &Ident| {
            let mistake = || Mistake::new(format!("PRIMARY KEY: the table has no column '{}'", name.value));
            let place = table.columns.iter().position(|column| column.name.value == name.value);
            place.ok_or_else(|| mistake().at(sql_location(name.span)))
        };
        let key = table.key.iter().map(number).collect::<Result<_, _>>()?;
        let is_json = |(_, column): &(usize, &ColumnDef)| column.data_type == ast::DataType::JSON;
        let json = table.columns.iter().enumerate().filter(is_json).map(|(index, _)| index).collect();
        let schema = Arc::new(Schema::empty());
        let mut planned = Self {
            name,
            options,
            format,
            bad_data,
            schema,
            json,
            key,
            topic,
            source: None,
            watermark_sql: None,
            lateness,
            idle_after: idle_after.map(|idle| i64::try_from(idle.as_nanos()).unwrap_or(i64::MAX)),
        };
        planned.plan_columns(table, &columns, state)?;
        Ok(planned)
    }

    /// A table without `WITH`: rows on their way from one query to others.
    pub(crate) fn in_memory(table: &CreateTable) -> Result<Self, Mistake> {
        let field = |column: &ColumnDef| match column.source {
            ColumnSource::Stored => Ok(Field::new(&column.name.value, arrow_type(column)?, !column.not_null)),
            _ => Err(Mistake::new("a table without WITH has plain columns: compute others in the query that fills it")
                .at(sql_location(column.name.span))),
        };
        if let Some((column, _)) = &table.watermark {
            return Err(Mistake::new("a table without WITH has the watermark of the rows that it gets")
                .at(sql_location(column.span)));
        }
        let fields: Vec<Field> = table.columns.iter().map(field).collect::<Result<_, _>>()?;
        Ok(Self {
            name: table.name.value.clone(),
            options: TableOptions::Blackhole,
            format: Format::default(),
            bad_data: BadData::default(),
            schema: Arc::new(Schema::new(fields)),
            json: Vec::new(),
            key: Vec::new(),
            topic: None,
            source: None,
            watermark_sql: None,
            lateness: Duration::ZERO,
            idle_after: None,
        })
    }

    fn plan_columns(&mut self, table: &CreateTable, stored: &[Column], state: &SessionState) -> Result<(), Mistake> {
        let (over, provenance) = source_columns(table, stored)?;
        let over_df = DFSchema::try_from(Arc::clone(&over))?;
        let mut fields = Vec::new();
        let mut expressions: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        for column in &table.columns {
            let name = column.name.value.as_str();
            match &column.source {
                ColumnSource::Stored | ColumnSource::Metadata(_) => {
                    let (index, field) = over.column_with_name(name).ok_or_else(|| Mistake::new("no such column"))?;
                    let stored: Arc<dyn PhysicalExpr> = Arc::new(ColumnExpr::new(name, index));
                    let is_commit = matches!(&column.source, ColumnSource::Metadata(key) if Provenance::from_metadata_key(key) == Some(Provenance::CommitSeq));
                    if column.data_type == ast::DataType::JSON {
                        // Operators hand rows on by the million: long texts stay where they are, and are pointed at.
                        fields.push(field.clone().with_data_type(DataType::Utf8View));
                        expressions.push(Arc::new(CastExpr::new(stored, DataType::Utf8View, None)));
                    } else {
                        fields.push(if is_commit { commit_seq_field(field) } else { field.clone() });
                        expressions.push(stored);
                    }
                }
                ColumnSource::Generated(expression) => {
                    let data_type = arrow_type(column)?;
                    let expression = physical(expression, Some(&data_type), &over_df, state)
                        .map_err(|mistake| mistake.at(sql_location(column.name.span)))?;
                    let nullable = expression.nullable(&over)? && !column.not_null;
                    fields.push(Field::new(name, data_type, nullable));
                    expressions.push(expression);
                }
            }
        }
        let event_time = self.event_time(table, &mut fields)?;
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let watermark = match &table.watermark {
            None => None,
            Some((column, None)) => {
                self.watermark_sql = Some(format!("\"{}\"", column.value));
                event_time.map(|index| Arc::new(ColumnExpr::new(&column.value, index)) as Arc<dyn PhysicalExpr>)
            }
            Some((column, Some(expression))) => {
                self.watermark_sql = Some(expression.to_string());
                let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
                let over = DFSchema::try_from(Arc::clone(&schema))?;
                let planned = physical(expression, Some(&nanos), &over, state);
                Some(planned.map_err(|mistake| mistake.at(sql_location(column.span)))?)
            }
        };
        self.schema = schema;
        if let Some(topic) = &self.topic {
            self.source = Some(Source {
                table: self.name.clone(),
                topic: topic.name.clone(),
                options: match &self.options {
                    TableOptions::SingleFile(file) => Some(SourceOptions::SingleFile(file.clone())),
                    TableOptions::Folder(folder) => Some(SourceOptions::Folder(folder.clone())),
                    TableOptions::Impulse(impulse) => Some(SourceOptions::Impulse(impulse.clone())),
                    TableOptions::Nexmark(nexmark) => Some(SourceOptions::Nexmark(nexmark.clone())),
                    TableOptions::Generator(generator) => Some(SourceOptions::Generator(generator.clone())),
                    TableOptions::Fluvio(fluvio) => Some(SourceOptions::Fluvio(fluvio.clone())),
                    _ => None,
                },
                format: self.format.clone(),
                bad_data: self.bad_data,
                columns: SourceColumns {
                    stored: stored.iter().map(|column| column.name.clone()).collect(),
                    weight: matches!(self.format, Format::DebeziumJson(_)).then(|| WEIGHT.to_owned()),
                    provenance,
                    schema: over,
                },
                expressions,
                event_time,
                // Without a watermark there is nothing to be left out.
                idle_after: watermark.is_some().then_some(self.idle_after).flatten(),
                watermark,
                recorded: None,
            });
        }
        Ok(())
    }

    fn event_time(&self, table: &CreateTable, fields: &mut [Field]) -> Result<Option<usize>, Mistake> {
        let Some((column, _)) = &table.watermark else { return Ok(None) };
        let location = sql_location(column.span);
        let Some(index) = fields.iter().position(|field| *field.name() == column.value) else {
            let mistake = Mistake::new(format!("WATERMARK FOR '{}': the table has no such column", column.value));
            return Err(mistake.at(location));
        };
        if !matches!(fields[index].data_type(), DataType::Timestamp(_, _)) {
            let mistake = Mistake::new(format!("WATERMARK FOR '{}': it is not a TIMESTAMP", column.value));
            return Err(mistake.at(location));
        }
        fields[index] = event_time_field(&fields[index]);
        Ok(Some(index))
    }

    /// The table as queries see it.
    pub(crate) fn relation(&self) -> Relation {
        Relation::new(Arc::clone(&self.schema))
    }
}

fn stored(table: &CreateTable) -> impl Iterator<Item = &ColumnDef> {
    table.columns.iter().filter(|column| matches!(column.source, ColumnSource::Stored))
}

/// The schema that a source's expressions are over: metadata columns have their declared names.
fn source_columns(table: &CreateTable, stored: &[Column]) -> Result<(SchemaRef, Vec<Provenance>), Mistake> {
    let mut fields: Vec<Field> =
        stored.iter().map(|column| Field::new(&column.name, seen_as(&column.column_type), column.nullable)).collect();
    let mut provenance = Vec::new();
    for column in &table.columns {
        let ColumnSource::Metadata(key) = &column.source else { continue };
        let location = sql_location(column.name.span);
        let kind = Provenance::from_metadata_key(key).ok_or_else(|| {
            let known: Vec<&str> = Provenance::ALL.iter().map(|kind| kind.metadata_key()).collect();
            Mistake::new(format!("METADATA FROM '{key}': known keys are {}", known.join(", "))).at(location)
        })?;
        let field = kind.field();
        if arrow_type(column)? != *field.data_type() {
            let wanted = if *field.data_type() == DataType::Utf8 { "TEXT" } else { "BIGINT" };
            return Err(Mistake::new(format!("METADATA FROM '{key}' is {wanted}")).at(location));
        }
        fields.push(field.with_name(&column.name.value));
        provenance.push(kind);
    }
    Ok((Arc::new(Schema::new(fields)), provenance))
}

fn physical(
    expression: &ast::Expr,
    data_type: Option<&DataType>,
    over: &DFSchema,
    state: &SessionState,
) -> Result<Arc<dyn PhysicalExpr>, Mistake> {
    let expression = ExprWithAlias { expr: expression.clone(), alias: None };
    let planned = state.create_logical_expr_from_sql_expr(expression, over)?;
    let planned = match data_type {
        Some(data_type) => datafusion::logical_expr::cast(planned, data_type.clone()),
        None => planned,
    };
    Ok(state.create_physical_expr(planned, over)?)
}

/// The column of a table's own topic that says what a row counts: 1 when it is one more, -1 when it is one less.
const WEIGHT: &str = "_weight";

/// The table with what its options say beside its columns.
fn made_up(
    table: &CreateTable,
    options: &TableOptions,
    event_time_field: Option<String>,
    watermark_field: Option<String>,
) -> Result<CreateTable, Mistake> {
    let mut table = table.clone();
    let known = match options {
        TableOptions::Impulse(_) => impulse_columns(),
        TableOptions::Nexmark(_) => nexmark_columns(),
        _ => Vec::new(),
    };
    if !known.is_empty() && table.columns.is_empty() {
        table.columns = known;
        table.watermark = Some((Ident::new(ROW_TIME), None));
    }
    match (event_time_field, watermark_field, &table.watermark) {
        (None, None, _) => {}
        (Some(time), mark, None) => {
            let column = |value| Ident { value, quote_style: None, span: table.name.span };
            table.watermark = Some((column(time), mark.map(|mark| ast::Expr::Identifier(column(mark)))));
        }
        (None, Some(_), None) => {
            return Err(Mistake::new("option watermark_field: it goes with event_time_field")
                .hint("say WATERMARK FOR column AS (expression)")
                .at(sql_location(table.name.span)));
        }
        (_, _, Some(_)) => {
            return Err(Mistake::new(
                "the table has WATERMARK FOR and event_time_field or watermark_field: one will do",
            )
            .at(sql_location(table.name.span)));
        }
    }
    Ok(table)
}

/// When a row that is made up happened.
const ROW_TIME: &str = "_timestamp";

/// The columns of an impulse that are not written out.
fn impulse_columns() -> Vec<ColumnDef> {
    vec![
        made_up_column("counter", ast::DataType::BigIntUnsigned(None), true),
        made_up_column("subtask_index", ast::DataType::BigIntUnsigned(None), true),
        made_up_column(ROW_TIME, ast::DataType::Timestamp(None, ast::TimezoneInfo::None), true),
    ]
}

/// The columns of Nexmark's events that are not written out: of person, auction and bid one is there.
fn nexmark_columns() -> Vec<ColumnDef> {
    let (long, text) = (ast::DataType::BigInt(None), ast::DataType::Text);
    let time = ast::DataType::Timestamp(Some(9), ast::TimezoneInfo::None);
    let of = |fields: &[(&str, &ast::DataType)]| {
        let field = |(name, data_type): &(&str, &ast::DataType)| ast::StructField {
            field_name: Some(Ident::new(*name)),
            field_type: (*data_type).clone(),
            options: None,
        };
        ast::DataType::Struct(fields.iter().map(field).collect(), ast::StructBracketKind::AngleBrackets)
    };
    let texts = ["name", "email_address", "credit_card", "city", "state"].map(|name| (name, &text));
    let person = [&[("id", &long)], texts.as_slice(), &[("datetime", &time), ("extra", &text)]].concat();
    let auction = [
        ("id", &long),
        ("description", &text),
        ("item_name", &text),
        ("initial_bid", &long),
        ("reserve", &long),
        ("datetime", &time),
        ("expires", &time),
        ("seller", &long),
        ("category", &long),
        ("extra", &text),
    ];
    let bid = [
        ("auction", &long),
        ("bidder", &long),
        ("price", &long),
        ("channel", &text),
        ("url", &text),
        ("datetime", &time),
        ("extra", &text),
    ];
    vec![
        made_up_column("person", of(&person), false),
        made_up_column("auction", of(&auction), false),
        made_up_column("bid", of(&bid), false),
        made_up_column(ROW_TIME, ast::DataType::Timestamp(None, ast::TimezoneInfo::None), true),
    ]
}

fn made_up_column(name: &str, data_type: ast::DataType, not_null: bool) -> ColumnDef {
    ColumnDef { name: Ident::new(name), data_type, not_null, source: ColumnSource::Stored }
}

/// Formats that have one column need a table that has one.
fn check_format(table: &CreateTable, format: &Format, columns: &[Column]) -> Result<(), Mistake> {
    let (name, wanted, fits): (_, _, fn(&ast::DataType) -> bool) = match format {
        Format::RawString => ("format 'raw_string'", "TEXT", |sql| matches!(sql, ast::DataType::Text)),
        Format::RawBytes => ("format 'raw_bytes'", "BYTEA", |sql| matches!(sql, ast::DataType::Bytea)),
        Format::Json(json) if json.unstructured => {
            ("json.unstructured", "JSON", |sql| matches!(sql, ast::DataType::JSON))
        }
        _ => return Ok(()),
    };
    let stored: Vec<&ColumnDef> = stored(table).collect();
    match stored.as_slice() {
        [] if columns.is_empty() => Ok(()),
        [only] if fits(&only.data_type) => Ok(()),
        _ => {
            let message = format!("table '{}': {name} has one column of type {wanted}", table.name.value);
            Err(Mistake::new(message).hint(format!("declare it as (value {wanted})")).at(sql_location(table.name.span)))
        }
    }
}

/// Checks a table's stored columns against its topic's schema.
fn check_against(table: &CreateTable, topic: &str, topics: &TopicSchemas) -> Result<(), Mistake> {
    let Some(schema) = topics.get(topic) else {
        let known: Vec<&str> = topics.keys().map(String::as_str).collect();
        let mistake = Mistake::new(format!("table '{}': there is no topic '{topic}'", table.name.value));
        let hint = match did_you_mean(topic, known.iter().copied()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("topics come from schemas/*.avsc: {}", known.join(", ")),
        };
        return Err(mistake.hint(hint).at(sql_location(table.name.span)));
    };
    for column in stored(table) {
        let name = column.name.value.as_str();
        let location = sql_location(column.name.span);
        let Some(index) = schema.column_index(name) else {
            let mistake = Mistake::new(format!("column '{name}': topic '{topic}' has no such field")).at(location);
            let near = did_you_mean(name, schema.columns.iter().map(|column| column.name.as_str()));
            return Err(match near {
                Some(near) => mistake.hint(format!("did you mean '{near}'?")),
                None => mistake.hint(format!("its schema is schemas/{topic}.avsc")),
            });
        };
        let known = &schema.columns[index];
        let declared = arrow_type(column)?;
        let read = match &known.column_type {
            ColumnType::Json(avro) => avro.arrow(),
            _ => None,
        };
        if declared != known.column_type.arrow() && Some(declared) != read {
            let wanted = sql_type(&known.column_type);
            let mistake = Mistake::new(format!(
                "column '{name}' is {} here, but {wanted} in the schema of topic '{topic}'",
                column.data_type
            ));
            return Err(mistake.at(location));
        }
        if column.not_null && known.nullable {
            let mistake = Mistake::new(format!(
                "column '{name}' is NOT NULL here, but optional in the schema of topic '{topic}'"
            ));
            return Err(mistake.hint("not every event of the topic has it").at(location));
        }
    }
    Ok(())
}
