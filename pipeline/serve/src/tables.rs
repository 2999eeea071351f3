//! What a query can name: the views of one snapshot and the topics up to one commit, in one schema.

use crate::topic_table::TopicTable;
use crate::view_table::ViewTable;
use async_trait::async_trait;
use chalk_catalog::{SystemTopic, TopicDef, Topics};
use chalk_event::CommitSeq;
use chalk_log::EventLog;
use chalk_view::Snapshot;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::TableType;
use std::fmt;
use std::sync::Arc;

/// The one catalogue. Clients know it as the database.
pub(crate) const CATALOG: &str = "chalk";
/// The one schema.
pub(crate) const SCHEMA: &str = "public";

/// The schema of PostgreSQL's own tables. It is not listed among the others.
pub(crate) const PG_CATALOG: &str = "pg_catalog";

/// What `SHOW TABLES` stands for.
pub(crate) const SHOW_TABLES: &str = "SELECT table_name AS name, \
     CASE table_type WHEN 'VIEW' THEN 'view' ELSE 'topic' END AS kind \
     FROM information_schema.tables WHERE table_schema = 'public' ORDER BY name";

/// The tables of one query.
pub(crate) struct QueryTables {
    snapshot: Arc<Snapshot>,
    log: Arc<dyn EventLog>,
    topics: Arc<Topics>,
    /// Later commits are not seen, so that every scan of a topic in the query gives the same rows.
    upto: CommitSeq,
}

impl fmt::Debug for QueryTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tables of epoch {}, topics up to commit {}", self.snapshot.epoch, self.upto)
    }
}

impl QueryTables {
    /// The tables as they are now, for as long as the query runs.
    /// Of topics, what commits up to `upto` have; by default all that is durable.
    pub(crate) fn pinned(log: &Arc<dyn EventLog>, snapshot: Arc<Snapshot>, upto: Option<CommitSeq>) -> Self {
        let upto = upto.unwrap_or_else(|| *log.durable().borrow());
        Self { snapshot, log: Arc::clone(log), topics: log.topics(), upto }
    }

    /// Its views.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The names of all views and topics, in order. Changelogs can be asked, but would be as many again.
    pub(crate) fn names(&self) -> Vec<String> {
        let views = self.snapshot.views.keys().cloned();
        let is_listed = |topic: &&TopicDef| is_shown(topic) && !topic.is_own();
        let topics = self.topics.iter().filter(is_listed).map(|topic| topic.name().to_owned());
        let mut names: Vec<String> = views.chain(topics).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn topic(&self, name: &str) -> Option<&TopicDef> {
        self.topics.by_name(name).filter(|topic| is_shown(topic))
    }
}

/// The catalogue and the journal are told by other means.
fn is_shown(topic: &TopicDef) -> bool {
    ![SystemTopic::Catalog.id(), SystemTopic::Journal.id()].contains(&topic.id)
}

#[async_trait]
impl SchemaProvider for QueryTables {
    fn table_names(&self) -> Vec<String> {
        self.names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(rows) = self.snapshot.views.get(name) {
            return Ok(Some(Arc::new(ViewTable::new(rows.clone()))));
        }
        let table = |topic: &TopicDef| Arc::new(TopicTable::new(topic, &self.log, self.upto)) as Arc<dyn TableProvider>;
        Ok(self.topic(name).map(table))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(match self.snapshot.views.contains_key(name) {
            true => Some(TableType::View),
            false => self.topic(name).map(|_| TableType::Base),
        })
    }

    fn table_exist(&self, name: &str) -> bool {
        self.snapshot.views.contains_key(name) || self.topic(name).is_some()
    }
}

/// The one catalogue with the one schema, and for PostgreSQL's clients theirs.
#[derive(Clone, Debug)]
pub(crate) struct Catalogs {
    tables: Arc<QueryTables>,
    postgres: Option<Arc<dyn SchemaProvider>>,
}

impl Catalogs {
    pub(crate) fn of(tables: Arc<QueryTables>, postgres: Option<Arc<dyn SchemaProvider>>) -> Self {
        Self { tables, postgres }
    }
}

impl CatalogProviderList for Catalogs {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::new(self.clone()) as Arc<dyn CatalogProvider>)
    }
}

impl CatalogProvider for Catalogs {
    fn schema_names(&self) -> Vec<String> {
        vec![SCHEMA.to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        match name {
            SCHEMA => Some(Arc::clone(&self.tables) as Arc<dyn SchemaProvider>),
            PG_CATALOG => self.postgres.clone(),
            _ => None,
        }
    }
}
