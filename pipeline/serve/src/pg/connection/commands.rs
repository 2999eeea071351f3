//! What is about the connection, and about cursors.

use super::{Answer, Connection, Failure, Outcome, PORTALS_MAX, names_in};
use crate::error::QueryError;
use crate::pg::answer::Told;
use crate::pg::command::{Command, Rows};
use crate::pg::settings::{NotSet, REPORTED};
use crate::queries::{Dialect, QueryResult};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::response::TransactionStatus;
use pgwire::messages::startup::ParameterStatus;
use std::sync::Arc;

impl Connection {
    pub(super) async fn command(&mut self, command: &Command, formats: &[i16]) -> Result<Outcome, Failure> {
        if !matches!(command, Command::Commit | Command::Rollback | Command::RollbackTo | Command::Empty) {
            self.check_transaction()?;
        }
        let tag = match command {
            Command::Empty => return Ok(Outcome::Empty),
            // Queries are asked elsewhere.
            Command::Query => return Err(Told::error("XX000", "a query is no command").into()),
            Command::Begin => {
                self.transaction = TransactionStatus::Transaction;
                "BEGIN"
            }
            Command::Commit | Command::Rollback => {
                let good = *command == Command::Commit && self.transaction != TransactionStatus::Error;
                self.transaction = TransactionStatus::Idle;
                self.cursors.clear();
                if good { "COMMIT" } else { "ROLLBACK" }
            }
            Command::RollbackTo => {
                if self.transaction == TransactionStatus::Error {
                    self.transaction = TransactionStatus::Transaction;
                }
                "ROLLBACK"
            }
            Command::Savepoint(tag) | Command::Listen(tag) => tag,
            Command::SetTransaction => "SET",
            Command::Set { name, value } => {
                self.set(name, value.as_deref())?;
                "SET"
            }
            Command::Reset(name) => {
                let named = name.as_deref().unwrap_or("ALL");
                self.settings.reset(name.as_deref()).map_err(|error| Told::of_setting(named, &error))?;
                "RESET"
            }
            Command::Show(name) => return self.show(name.as_deref(), formats),
            Command::Discard { all } => {
                if *all {
                    self.settings.reset(None).map_err(|error| Told::of_setting("ALL", &error))?;
                    self.statements.clear();
                    self.portals.clear();
                    self.cursors.clear();
                }
                if *all { "DISCARD ALL" } else { "DISCARD" }
            }
            Command::Deallocate(None) => {
                self.statements.clear();
                "DEALLOCATE ALL"
            }
            Command::Deallocate(Some(name)) => {
                self.statement(name)?;
                self.statements.remove(name);
                "DEALLOCATE"
            }
            Command::Declare { name, query } => {
                self.declare(name, query).await?;
                "DECLARE CURSOR"
            }
            Command::Fetch { name, rows, shown } => return self.fetch(name, *rows, *shown),
            Command::Close(None) => {
                self.cursors.clear();
                "CLOSE CURSOR ALL"
            }
            Command::Close(Some(name)) => {
                self.cursors.remove(name).ok_or_else(|| no_cursor(name))?;
                "CLOSE CURSOR"
            }
        };
        Ok(Outcome::Tag(tag.to_owned()))
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), Failure> {
        match value {
            Some(value) => self.settings.set(name, value).map(drop),
            None => self.settings.reset(Some(name)),
        }
        .map_err(|error| Told::of_setting(name, &error))?;
        if REPORTED.iter().any(|reported| reported.eq_ignore_ascii_case(name))
            && let Some((name, value)) = self.settings.get(name)
        {
            let status = ParameterStatus::new(name.to_owned(), value.to_owned());
            self.writer.put(&Message::ParameterStatus(status))?;
        }
        Ok(())
    }

    fn show(&self, name: Option<&str>, formats: &[i16]) -> Result<Outcome, Failure> {
        let rows: Vec<(&str, &str)> = match name {
            None => self.settings.all(),
            Some(name) => {
                let found = self.settings.get(name);
                vec![found.ok_or_else(|| Told::of_setting(name, &NotSet::Unknown))?]
            }
        };
        let column =
            |of: fn(&(&str, &str)) -> String| Arc::new(StringArray::from_iter_values(rows.iter().map(of))) as ArrayRef;
        let values = column(|row| row.1.to_owned());
        let columns = match name {
            Some(_) => vec![values],
            None => vec![column(|row| row.0.to_owned()), values, column(|_| String::new())],
        };
        let schema = Arc::new(shown_schema(name));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns);
        let batch = batch.map_err(|error| Told::error("XX000", error.to_string()))?;
        let result = QueryResult::of(schema, vec![batch]);
        Ok(Outcome::Rows(Answer::new(result, None, formats, "SHOW")?, Rows::All))
    }

    async fn declare(&mut self, name: &str, query: &str) -> Result<(), Failure> {
        if self.cursors.contains_key(name) {
            return Err(Told::error("42P03", format!("cursor \"{name}\" already exists")).into());
        }
        if self.cursors.len() >= PORTALS_MAX {
            return Err(Told::error("54000", "this connection has too many open cursors").hint("close them").into());
        }
        let (queries, time) = (Arc::clone(&self.shared.app.queries), self.settings.statement_timeout());
        let result = self.ask(queries.run_as(query, Dialect::Postgres, time)).await?;
        // Where the query begins in what was sent is not known here.
        let told = |error: QueryError| Told { position: None, ..Told::of_query(error, query, 0) };
        let result = result.map_err(told)?;
        let names = names_in(query, &result.schema);
        let answer = Answer::new(result, names.as_deref(), &[], "FETCH")?;
        self.cursors.insert(name.to_owned(), answer);
        Ok(())
    }

    fn fetch(&mut self, name: &str, rows: Rows, shown: bool) -> Result<Outcome, Failure> {
        let mut cursor = self.cursors.remove(name).ok_or_else(|| no_cursor(name))?;
        if shown {
            return Ok(Outcome::Rows(cursor, rows));
        }
        let mut left = match rows {
            Rows::All => usize::MAX,
            Rows::Count(count) => count,
        };
        let mut moved = 0;
        while left > 0
            && let Some(batch) = cursor.batches.pop_front()
        {
            let skipped = left.min(batch.num_rows());
            (left, moved) = (left - skipped, moved + skipped);
            if skipped < batch.num_rows() {
                cursor.batches.push_front(batch.slice(skipped, batch.num_rows() - skipped));
            }
        }
        self.cursors.insert(name.to_owned(), cursor);
        Ok(Outcome::Tag(format!("MOVE {moved}")))
    }
}

fn no_cursor(name: &str) -> Told {
    Told::error("34000", format!("cursor \"{name}\" does not exist"))
}

pub(super) fn shown_schema(name: Option<&str>) -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    match name {
        Some(name) => Schema::new(vec![text(name)]),
        None => Schema::new(vec![text("name"), text("setting"), text("description")]),
    }
}
