//! Prepared statements and portals.

use super::commands::shown_schema;
use super::{Answer, Connection, Failure, Outcome, PORTALS_MAX, Portal, Statement, names_in, renamed, row_description};
use crate::pg::answer::Told;
use crate::pg::command::{self, Command, Rows};
use crate::pg::types::{self, Columns};
use crate::queries::{Dialect, PARAMETERS_MAX};
use arrow::datatypes::DataType;
use pgwire::api::Type;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended,
    TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::EmptyQueryResponse;
use pgwire::messages::{PgWireBackendMessage as Message, PgWireFrontendMessage};
use std::sync::Arc;

/// So many prepared statements may a connection have.
const STATEMENTS_MAX: usize = 1_000;
/// Bytes of their SQL together.
const STATEMENTS_BYTES_MAX: usize = 4 << 20;

impl Connection {
    pub(super) async fn extended(&mut self, message: PgWireFrontendMessage) -> Result<(), Failure> {
        match message {
            PgWireFrontendMessage::Parse(parse) => self.parse(parse).await,
            PgWireFrontendMessage::Bind(bind) => self.bind(&bind),
            PgWireFrontendMessage::Describe(describe) => self.describe(&describe),
            PgWireFrontendMessage::Execute(execute) => self.execute(&execute).await,
            PgWireFrontendMessage::Close(close) => self.close(&close),
            _ => Ok(()),
        }
    }

    async fn parse(&mut self, parse: Parse) -> Result<(), Failure> {
        let name = parse.name.unwrap_or_default();
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(Told::error("42P05", format!("prepared statement \"{name}\" already exists")).into());
        }
        let bytes: usize = self.statements.values().map(|statement| statement.text.len()).sum();
        if self.statements.len() >= STATEMENTS_MAX || bytes + parse.query.len() > STATEMENTS_BYTES_MAX {
            let told = Told::error("54000", "this connection has too many prepared statements");
            return Err(told.hint("close them, or DEALLOCATE ALL").into());
        }
        let command = match command::statements(&parse.query).as_slice() {
            [] => Command::Empty,
            [(_, statement)] => Command::of(statement),
            _ => {
                let message = "cannot insert multiple commands into a prepared statement";
                return Err(Told::error("42601", message).hint("prepare them one by one").into());
            }
        };
        let mut hints: Vec<Option<Type>> = parse.type_oids.into_iter().map(types::hint).collect();
        for (index, id) in types::ids(&parse.query) {
            if index < PARAMETERS_MAX {
                hints.resize(hints.len().max(index + 1), None);
                hints[index].get_or_insert(id);
            }
        }
        let (mut prepared, mut renamed) = (None, None);
        if command == Command::Query {
            self.check_transaction()?;
            let queries = Arc::clone(&self.shared.app.queries);
            let arrow_types: Vec<Option<DataType>> =
                hints.iter().map(|hint| hint.as_ref().and_then(types::arrow_type)).collect();
            let asked = self.ask(queries.prepare(&parse.query, Dialect::Postgres, &arrow_types)).await?;
            let planned = asked.map_err(|error| Told::of_query(error, &parse.query, 0))?;
            renamed = names_in(&parse.query, &planned.schema);
            prepared = Some(planned);
        }
        let statement = Statement { text: parse.query, command, prepared, hints, names: renamed };
        self.statements.insert(name, Arc::new(statement));
        Ok(self.writer.put(&Message::ParseComplete(ParseComplete::new()))?)
    }

    pub(super) fn statement(&self, name: &str) -> Result<Arc<Statement>, Told> {
        let found = self.statements.get(name).map(Arc::clone);
        found.ok_or_else(|| Told::error("26000", format!("prepared statement \"{name}\" does not exist")))
    }

    fn bind(&mut self, bind: &Bind) -> Result<(), Failure> {
        let statement = self.statement(bind.statement_name.as_deref().unwrap_or_default())?;
        let name = bind.portal_name.clone().unwrap_or_default();
        if !name.is_empty() && self.portals.contains_key(&name) {
            return Err(Told::error("42P03", format!("portal \"{name}\" already exists")).into());
        }
        if self.portals.len() >= PORTALS_MAX {
            return Err(Told::error("54000", "this connection has too many open portals").hint("close them").into());
        }
        let parameters = statement.prepared.as_ref().map_or(&[][..], |prepared| &prepared.parameters);
        let values = types::values(bind, &statement.hints, parameters)?;
        let formats = bind.result_column_format_codes.clone();
        if let Some(prepared) = &statement.prepared {
            Columns::new(&prepared.schema, &formats)?;
        }
        self.portals.insert(name, Portal { statement, values, formats, answer: None });
        Ok(self.writer.put(&Message::BindComplete(BindComplete::new()))?)
    }

    fn describe(&mut self, describe: &Describe) -> Result<(), Failure> {
        let name = describe.name.as_deref().unwrap_or_default();
        let (statement, formats) = if describe.target_type == TARGET_TYPE_BYTE_STATEMENT {
            let statement = self.statement(name)?;
            let parameters = statement.prepared.as_ref().map_or(&[][..], |prepared| &prepared.parameters);
            let type_of = |(index, field): (usize, &Option<_>)| {
                types::parameter_type(Option::as_ref(field), statement.hints.get(index).and_then(Option::as_ref)).oid()
            };
            let oids = parameters.iter().enumerate().map(type_of).collect();
            self.writer.put(&Message::ParameterDescription(ParameterDescription::new(oids)))?;
            (statement, Vec::new())
        } else if let Some(cursor) = self.cursors.get(name) {
            // A cursor is a portal, too: psycopg describes it before it fetches.
            let message = row_description(&cursor.columns.fields);
            return Ok(self.writer.put(&message)?);
        } else {
            let portal = self.portal(name)?;
            (Arc::clone(&portal.statement), portal.formats.clone())
        };
        let columns = match (&statement.prepared, &statement.command) {
            (Some(prepared), _) => {
                Some(Columns::new(&renamed(&prepared.schema, statement.names.as_deref()), &formats)?)
            }
            (None, Command::Show(name)) => Some(Columns::new(&shown_schema(name.as_deref()), &formats)?),
            (None, Command::Fetch { name, shown: true, .. }) => {
                self.cursors.get(name).map(|cursor| cursor.columns.clone())
            }
            _ => None,
        };
        let message = match columns {
            Some(columns) => row_description(&columns.fields),
            None => Message::NoData(NoData::new()),
        };
        Ok(self.writer.put(&message)?)
    }

    fn portal(&self, name: &str) -> Result<&Portal, Told> {
        self.portals.get(name).ok_or_else(|| Told::error("34000", format!("portal \"{name}\" does not exist")))
    }

    async fn execute(&mut self, execute: &Execute) -> Result<(), Failure> {
        let name = execute.name.clone().unwrap_or_default();
        self.portal(&name)?;
        // An error leaves no portal behind.
        let Some(mut portal) = self.portals.remove(&name) else { return Ok(()) };
        let statement = Arc::clone(&portal.statement);
        let wanted = usize::try_from(execute.max_rows).ok().filter(|rows| *rows > 0).map_or(Rows::All, Rows::Count);
        let (mut answer, wanted) = match portal.answer.take() {
            Some(answer) => (answer, wanted),
            None => match (&statement.prepared, &statement.command) {
                (Some(prepared), _) => {
                    self.check_transaction()?;
                    let (queries, time) = (Arc::clone(&self.shared.app.queries), self.settings.statement_timeout());
                    let asked = self.ask(queries.execute(prepared, &portal.values, time)).await?;
                    let result = asked.map_err(|error| Told::of_query(error, &statement.text, 0))?;
                    (
                        Answer::new(result, statement.names.as_deref(), &portal.formats, "SELECT")?.described_as(
                            prepared,
                            &statement,
                            &portal.formats,
                        )?,
                        wanted,
                    )
                }
                (None, command) => match self.command(command, &portal.formats).await? {
                    Outcome::Rows(answer, rows) => (answer, rows),
                    Outcome::Empty => {
                        return Ok(self.writer.put(&Message::EmptyQueryResponse(EmptyQueryResponse::new()))?);
                    }
                    Outcome::Tag(tag) => return Ok(self.complete(tag)?),
                },
            },
        };
        let sent = self.send(&mut answer, wanted).await?;
        if matches!(statement.command, Command::Fetch { .. }) {
            self.complete(format!("{} {sent}", answer.tag))?;
            self.put_back(&statement.command, answer);
            return Ok(());
        }
        let more = matches!(wanted, Rows::Count(count) if sent == count);
        if more {
            self.writer.put(&Message::PortalSuspended(PortalSuspended::new()))?;
        } else {
            self.complete(format!("{} {sent}", answer.tag))?;
        }
        portal.answer = Some(answer);
        self.portals.insert(name, portal);
        Ok(())
    }

    fn close(&mut self, close: &Close) -> Result<(), Failure> {
        let name = close.name.as_deref().unwrap_or_default();
        if close.target_type == TARGET_TYPE_BYTE_STATEMENT {
            self.statements.remove(name);
        } else {
            self.portals.remove(name);
        }
        Ok(self.writer.put(&Message::CloseComplete(CloseComplete::new()))?)
    }
}
