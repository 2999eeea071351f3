//! Tables: columns checked against the topic's schema, and the expressions that make them.

use crate::error::{Mistake, did_you_mean, sql_location};
use crate::relation::{Relation, event_time_field};
use crate::statement::{ColumnDef, ColumnSource, CreateTable};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chalk_catalog::{AvroType, Column, ColumnType, TopicSchema};
use chalk_event::Provenance;
use chalk_graph::options::{self, SourceOptions, TableOptions};
use chalk_graph::{Source, SourceColumns};
use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column as ColumnExpr};
use sqlparser::ast::{self, ExactNumberInfo, ExprWithAlias, TimezoneInfo};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The schemas of topics, by name.
pub type TopicSchemas = BTreeMap<String, Arc<TopicSchema>>;

/// A table of a project.
#[derive(Clone, Debug)]
pub struct PlannedTable {
    /// Its name in SQL.
    pub name: String,
    /// Where its rows come from or go to.
    pub options: TableOptions,
    /// Its columns.
    pub schema: SchemaRef,
    /// The topic that holds its rows, with the schema's text when it is not in `schemas/`.
    pub topic: Option<TableTopic>,
    /// How it is read.
    pub source: Option<Source>,
    /// Its watermark as SQL over its columns, for the batch answer.
    pub watermark_sql: Option<String>,
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
    pub(crate) fn plan(table: &CreateTable, topics: &TopicSchemas, state: &SessionState) -> Result<Self, Mistake> {
        let name = table.name.value.clone();
        let options = options::read(&name, &table.options)
            .map_err(|error| Mistake::new(format!("table '{name}': {error}")).at(sql_location(table.name.span)))?;
        let columns: Vec<Column> = stored(table).map(column_of).collect::<Result<_, _>>()?;
        let topic = match &options {
            TableOptions::Log(log) => {
                check_against(table, &log.topic, topics)?;
                Some(TableTopic { name: log.topic.clone(), own_avsc: None })
            }
            TableOptions::SingleFile(_) => {
                Some(TableTopic { name: name.clone(), own_avsc: Some(TopicSchema::avsc_of_table(&name, &columns)) })
            }
            TableOptions::Filesystem(_) | TableOptions::Stdout | TableOptions::Blackhole => None,
        };
        let mut planned =
            Self { name, options, schema: Arc::new(Schema::empty()), topic, source: None, watermark_sql: None };
        planned.plan_columns(table, &columns, state)?;
        Ok(planned)
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
                    if column.data_type == ast::DataType::JSON {
                        // Operators hand rows on by the million: long texts stay where they are, and are pointed at.
                        fields.push(field.clone().with_data_type(DataType::Utf8View));
                        expressions.push(Arc::new(CastExpr::new(stored, DataType::Utf8View, None)));
                    } else {
                        fields.push(field.clone());
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
                    _ => None,
                },
                columns: SourceColumns {
                    stored: stored.iter().map(|column| column.name.clone()).collect(),
                    provenance,
                    schema: over,
                },
                expressions,
                event_time,
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
        stored.iter().map(|column| Field::new(&column.name, column.column_type.arrow(), column.nullable)).collect();
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
        if arrow_type(column)? != known.column_type.arrow() {
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

fn sql_type(column_type: &ColumnType) -> &'static str {
    match column_type {
        ColumnType::Boolean => "BOOLEAN",
        ColumnType::Int => "INT",
        ColumnType::Long => "BIGINT",
        ColumnType::Float => "REAL",
        ColumnType::Double => "DOUBLE",
        ColumnType::Text | ColumnType::Uuid | ColumnType::Word(_) => "TEXT",
        ColumnType::Timestamp => "TIMESTAMP",
        ColumnType::Json(_) => "JSON",
    }
}

fn column_of(column: &ColumnDef) -> Result<Column, Mistake> {
    Ok(Column { name: column.name.value.clone(), column_type: column_type(column)?, nullable: !column.not_null })
}

fn arrow_type(column: &ColumnDef) -> Result<DataType, Mistake> {
    column_type(column).map(|column_type| column_type.arrow())
}

fn column_type(column: &ColumnDef) -> Result<ColumnType, Mistake> {
    use ast::DataType as Sql;
    Ok(match &column.data_type {
        Sql::Boolean | Sql::Bool => ColumnType::Boolean,
        Sql::Int(None) | Sql::Integer(None) => ColumnType::Int,
        Sql::BigInt(None) => ColumnType::Long,
        Sql::Real | Sql::Float(ExactNumberInfo::None) => ColumnType::Float,
        Sql::Double(ExactNumberInfo::None) | Sql::DoublePrecision => ColumnType::Double,
        Sql::Text | Sql::Varchar(None) | Sql::String(None) => ColumnType::Text,
        Sql::Timestamp(None | Some(9), TimezoneInfo::None) => ColumnType::Timestamp,
        Sql::JSON => ColumnType::Json(AvroType::Any),
        other => {
            let message = format!("column '{}': type {other} is not supported in this build", column.name);
            let known = "BOOLEAN, INT, BIGINT, REAL, DOUBLE, TEXT, TIMESTAMP and JSON are";
            return Err(Mistake::new(message).hint(known).at(sql_location(column.name.span)));
        }
    })
}
