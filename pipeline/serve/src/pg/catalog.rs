//! What PostgreSQL's clients expect to find: `pg_catalog`, its functions, and SQL that DataFusion would not understand.
//!
//! The tables and the rewriting of SQL are those of `datafusion-pg-catalog`; what it lacks, or says of PostgreSQL and is not
//! so here, is added. Object ids stay the same for as long as the process runs: clients ask for an id first and then for what
//! it stands for.

use super::functions;
use super::settings::SETTINGS;
use super::types;
use crate::tables::{CATALOG, PG_CATALOG, QueryTables, SCHEMA};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use async_trait::async_trait;
use chalk_log::EventLog;
use chalk_view::Snapshot;
use datafusion::catalog::view::ViewTable as PlanTable;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, MemTable, SchemaProvider, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{LogicalPlanBuilder, TableType};
use datafusion::prelude::{Expr, SessionContext, col, ident, lit};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

use crate::queries::Session;

/// A session with PostgreSQL's catalogue, and the parser of its clients' SQL.
pub(crate) struct Postgres {
    pub(crate) session: Session,
    pub(crate) parser: PostgresCompatibilityParser,
}

impl Postgres {
    /// Makes one from a session without it. This takes some tens of milliseconds.
    pub(crate) fn new(
        base: &SessionState,
        log: &Arc<dyn EventLog>,
        snapshots: &watch::Receiver<Arc<Snapshot>>,
    ) -> Result<Self> {
        let now = Arc::new(Now { log: Arc::clone(log), snapshots: snapshots.clone(), postgres: Mutex::default() });
        let mut state = base.clone();
        state.register_catalog_list(Arc::new(OnlyNow(Arc::clone(&now))));
        let context = SessionContext::new_with_state(state);
        setup_pg_catalog(&context, CATALOG, EmptyContextProvider).map_err(|error| *error)?;
        functions::register(&context);
        let tables = now.postgres.lock().unwrap_or_else(PoisonError::into_inner).take();
        let tables = tables.ok_or_else(|| DataFusionError::Internal("no pg_catalog was registered".to_owned()))?;
        let tables = Arc::new(PgCatalog { tables, now: Arc::clone(&now) });
        let session = Session::new(context.state(), Some(tables))?;
        Ok(Self { session, parser: PostgresCompatibilityParser::new() })
    }
}

/// Words that only make sense with PostgreSQL's catalogue.
const WORDS: [&str; 12] = [
    "current_catalog",
    "current_database",
    "current_role",
    "current_schema",
    "current_schemas",
    "current_user",
    "regclass",
    "regnamespace",
    "regproc",
    "regrole",
    "regtype",
    "session_user",
];
/// Functions likewise.
const FUNCTIONS: [&str; 10] = [
    "array_lower",
    "array_upper",
    "col_description",
    "current_setting",
    "format_type",
    "obj_description",
    "quote_ident",
    "set_config",
    "shobj_description",
    "version",
];

/// Whether a statement asks for PostgreSQL's catalogue.
pub(crate) fn is_asked(tokens: &[TokenWithSpan]) -> bool {
    let mut significant = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).peekable();
    while let Some(TokenWithSpan { token, .. }) = significant.next() {
        let Token::Word(word) = token else { continue };
        let name = word.value.to_ascii_lowercase();
        let is_call = significant.peek().is_some_and(|next| next.token == Token::LParen);
        if name.starts_with("pg_")
            || WORDS.contains(&name.as_str())
            || is_call && (FUNCTIONS.contains(&name.as_str()) || name.starts_with("has_"))
        {
            return true;
        }
    }
    false
}

/// The catalogue as it is now, as `pg_catalog` reads it: `pg_catalog` itself is not in it.
struct Now {
    log: Arc<dyn EventLog>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Where `pg_catalog` is left when it is registered.
    postgres: Mutex<Option<Arc<dyn SchemaProvider>>>,
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the catalogue as it is now")
    }
}

impl Now {
    fn tables(&self) -> QueryTables {
        QueryTables::pinned(&self.log, Arc::clone(&self.snapshots.borrow()), None)
    }
}

impl CatalogProvider for Now {
    fn schema_names(&self) -> Vec<String> {
        [SCHEMA, PG_CATALOG, "information_schema"].map(str::to_owned).to_vec()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        (name == SCHEMA).then(|| Arc::new(AsSent(self.tables())) as Arc<dyn SchemaProvider>)
    }

    fn register_schema(&self, _: &str, schema: Arc<dyn SchemaProvider>) -> Result<Option<Arc<dyn SchemaProvider>>> {
        Ok(self.postgres.lock().unwrap_or_else(PoisonError::into_inner).replace(schema))
    }
}

/// Tables without rows, in the types that clients see.
#[derive(Debug)]
struct AsSent(QueryTables);

#[async_trait]
impl SchemaProvider for AsSent {
    fn table_names(&self) -> Vec<String> {
        self.0.names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = self.0.table(name).await?;
        let as_sent = |table: Arc<dyn TableProvider>| {
            let fields: Vec<FieldRef> = table.schema().fields().iter().map(types::sent).collect();
            Arc::new(EmptyTable::new(Arc::new(Schema::new(fields)))) as Arc<dyn TableProvider>
        };
        Ok(table.map(as_sent))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        self.0.table_type(name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.table_exist(name)
    }
}

/// The list of that one catalogue.
#[derive(Debug)]
struct OnlyNow(Arc<Now>);

impl CatalogProviderList for OnlyNow {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::clone(&self.0) as Arc<dyn CatalogProvider>)
    }
}

/// `pg_catalog`, with our settings, our views and no other database.
#[derive(Debug)]
struct PgCatalog {
    tables: Arc<dyn SchemaProvider>,
    now: Arc<Now>,
}

#[async_trait]
impl SchemaProvider for PgCatalog {
    fn table_names(&self) -> Vec<String> {
        self.tables.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match name {
            "pg_settings" => settings().map(Some),
            "pg_views" => self.views().map(Some),
            "pg_database" => {
                let Some(all) = self.tables.table(name).await? else { return Ok(None) };
                let ours = LogicalPlanBuilder::scan(name, provider_as_source(all), None)?
                    .filter(col("datname").eq(lit(CATALOG)))?
                    .build()?;
                Ok(Some(Arc::new(PlanTable::new(ours, None))))
            }
            "pg_class" => {
                self.with(name, &[("relacl", texts()), ("reloptions", texts()), ("tableoid", id(1259))]).await
            }
            "pg_namespace" => self.with(name, &[("tableoid", id(2615))]).await,
            "pg_type" => self.with(name, &[("tableoid", id(1247))]).await,
            "pg_proc" => self.with(name, &[("tableoid", id(1255))]).await,
            _ => self.tables.table(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.table_exist(name)
    }
}

impl PgCatalog {
    /// A table with more columns than it has.
    async fn with(&self, name: &str, more: &[(&str, Expr)]) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(table) = self.tables.table(name).await? else { return Ok(None) };
        let mut columns: Vec<Expr> = table.schema().fields().iter().map(|field| ident(field.name())).collect();
        let missing = more.iter().filter(|(name, _)| table.schema().column_with_name(name).is_none());
        columns.extend(missing.map(|(name, value)| value.clone().alias(*name)));
        let plan = LogicalPlanBuilder::scan(name, provider_as_source(table), None)?.project(columns)?.build()?;
        Ok(Some(Arc::new(PlanTable::new(plan, None))))
    }

    fn views(&self) -> Result<Arc<dyn TableProvider>> {
        let tables = self.now.tables();
        let names: Vec<&str> = tables.snapshot().views.keys().map(String::as_str).collect();
        let all = |value| Some(vec![value; names.len()]);
        text_table(
            &[
                ("schemaname", all(SCHEMA)),
                ("viewname", Some(names.clone())),
                ("viewowner", all(functions::OWNER)),
                ("definition", None),
            ],
            names.len(),
        )
    }
}

/// No texts.
fn texts() -> Expr {
    lit(ScalarValue::new_null_list(DataType::Utf8, true, 1))
}

/// The id of a table of PostgreSQL's.
fn id(oid: i32) -> Expr {
    lit(oid)
}

fn settings() -> Result<Arc<dyn TableProvider>> {
    let of = |part: fn(&(&'static str, &'static str)) -> &'static str| Some(SETTINGS.iter().map(part).collect());
    let all = |value| Some(vec![value; SETTINGS.len()]);
    text_table(
        &[
            ("name", of(|setting| setting.0)),
            ("setting", of(|setting| setting.1)),
            ("unit", None),
            ("category", all("")),
            ("short_desc", all("")),
            ("extra_desc", None),
            ("context", all("user")),
            ("vartype", all("string")),
            ("source", all("default")),
            ("min_val", None),
            ("max_val", None),
            ("enumvals", None),
            ("boot_val", of(|setting| setting.1)),
            ("reset_val", of(|setting| setting.1)),
            ("sourcefile", None),
            ("sourceline", None),
            ("pending_restart", all("f")),
        ],
        SETTINGS.len(),
    )
}

/// A table of text; a column without values is NULL.
fn text_table(columns: &[(&str, Option<Vec<&str>>)], rows: usize) -> Result<Arc<dyn TableProvider>> {
    let fields: Vec<Field> = columns.iter().map(|(name, _)| Field::new(*name, DataType::Utf8, true)).collect();
    let array = |(_, values): &(&str, Option<Vec<&str>>)| match values {
        Some(values) => Arc::new(StringArray::from(values.clone())) as ArrayRef,
        None => Arc::new(StringArray::new_null(rows)),
    };
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns.iter().map(array).collect())?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queries::QueryLimits;

    #[test]
    fn words_of_the_catalogue_are_found_where_they_mean_it() {
        let asked = |sql: &str| {
            is_asked(&crate::statement::tokens(sql, &QueryLimits::default()).expect("a statement of bounded size"))
        };
        for sql in [
            "SELECT version()",
            "SELECT c.relname FROM pg_catalog.pg_class c",
            "SELECT 'a'::regclass",
            "select current_schema()",
            "SELECT has_table_privilege('a', 'select')",
            "SELECT current_user",
        ] {
            assert!(asked(sql), "{sql}");
        }
        for sql in
            ["SELECT version FROM keys", "SELECT 'pg_class'", "SELECT has_photo FROM sheets", "SELECT 1 -- pg_class"]
        {
            assert!(!asked(sql), "{sql}");
        }
    }
}
