//! One connection, from its first byte to its last.
//!
//! ```text
//!             ┌───── N ◀── SSL, GSS request
//!             ▼
//!   startup ──┬─▶ ready ──▶ Query ─────────────────────────────▶ ready
//!             │     │
//!             │     └─▶ Parse, Bind, Describe, Execute, Close … ─▶ Sync ─▶ ready
//!             │                  └─ error: all is skipped until ──▶ Sync
//!             └─▶ cancel request: done
//! ```
//!
//! While a query runs the connection is watched: when the client goes away, or another connection cancels it, the query's
//! future is dropped, and with it all that it holds.

mod commands;
mod extended;
mod startup;

use super::answer::Told;
use super::cancel::{Cancel, Cancels};
use super::command::{self, Command, Rows};
use super::names::names;
use super::settings::Settings;
use super::types::Columns;
use super::wire::{Broken, Phase, Reader, Writer, split};
use crate::app::App;
use crate::error::QueryError;
use crate::metrics::Protocol;
use crate::queries::{Dialect, Prepared, QueryResult};
use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow_pg::encode_recordbatch;
use datafusion::common::ScalarValue;
use pgwire::api::Type;
use pgwire::api::results::FieldInfo;
use pgwire::messages::data::{FieldDescription, RowDescription};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::{PgWireBackendMessage as Message, PgWireFrontendMessage};
use startup::{Started, startup};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// A client must have said who it is within this time.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(10);
/// So many portals and cursors may be open at once.
const PORTALS_MAX: usize = 100;

/// What all connections share.
pub(super) struct Shared {
    pub(super) app: App,
    pub(super) cancels: Arc<Cancels>,
    /// One for each connection that asks.
    pub(super) seats: Arc<Semaphore>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Why a message is not answered as it was meant.
enum Failure {
    Told(Told),
    Broken(Broken),
}

impl From<Told> for Failure {
    fn from(told: Told) -> Self {
        Self::Told(told)
    }
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// A prepared statement.
struct Statement {
    text: String,
    command: Command,
    prepared: Option<Prepared>,
    hints: Vec<Option<Type>>,
    /// Its columns' names there, as far as they are others.
    names: Option<Vec<Option<String>>>,
}

/// A statement with values.
struct Portal {
    statement: Arc<Statement>,
    values: Vec<ScalarValue>,
    formats: Vec<i16>,
    answer: Option<Answer>,
}

/// Rows on their way to a client.
struct Answer {
    columns: Columns,
    batches: VecDeque<RecordBatch>,
    /// The word before the number of rows.
    tag: &'static str,
    /// Holds the memory of the rows.
    _result: QueryResult,
}

/// What a command comes to.
enum Outcome {
    Empty,
    Tag(String),
    Rows(Answer, Rows),
}

/// One connection.
struct Connection {
    shared: Arc<Shared>,
    reader: Reader,
    writer: Writer,
    cancel: Cancel,
    stop: watch::Receiver<bool>,
    settings: Settings,
    statements: HashMap<String, Arc<Statement>>,
    portals: HashMap<String, Portal>,
    cursors: HashMap<String, Answer>,
    transaction: TransactionStatus,
    /// After an error, until Sync.
    skipping: bool,
    _seat: OwnedSemaphorePermit,
}

/// Serves a client until it leaves, or until the server stops.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let Ok(address) = stream.peer_addr() else { return };
    let Ok((mut reader, mut writer)) = split(stream) else { return };
    let started = match tokio::time::timeout(STARTUP_TIMEOUT, startup(&mut reader, &mut writer)).await {
        Ok(Ok(Some(started))) => started,
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(Failure::Broken(broken))) => return say_goodbye(&mut writer, &broken).await,
        Ok(Err(Failure::Told(told))) => return refuse(&mut writer, told).await,
    };
    let request = match started {
        Started::Cancel(request) => return shared.cancels.cancel(&request),
        Started::Startup(request) => request,
    };
    let Ok(seat) = Arc::clone(&shared.seats).try_acquire_owned() else {
        shared.app.metrics.refused(Protocol::Postgres);
        let told = Told::fatal("53300", "too many connections").hint("close some, or use a pool of them");
        return refuse(&mut writer, told).await;
    };
    let _open = shared.app.metrics.connection(Protocol::Postgres);
    let mut connection = Connection {
        reader,
        writer,
        cancel: shared.cancels.register(address),
        stop: shared.stop.clone(),
        shared: Arc::clone(&shared),
        settings: Settings::default(),
        statements: HashMap::new(),
        portals: HashMap::new(),
        cursors: HashMap::new(),
        transaction: TransactionStatus::Idle,
        skipping: false,
        _seat: seat,
    };
    let ended = match connection.begin(&request).await {
        Ok(()) => connection.run().await,
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) | Err(Failure::Broken(Broken::Gone)) => {}
        Err(Failure::Broken(broken)) => say_goodbye(&mut connection.writer, &broken).await,
        Err(Failure::Told(told)) => refuse(&mut connection.writer, told).await,
    }
}

async fn refuse(writer: &mut Writer, told: Told) {
    // The client may have gone: then nobody is left to be told.
    if writer.put(&Told { fatal: true, ..told }.message()).is_ok() {
        let _ = writer.flush().await;
    }
}

async fn say_goodbye(writer: &mut Writer, broken: &Broken) {
    match broken {
        Broken::Gone => {}
        Broken::Protocol(why) => refuse(writer, Told::fatal("08P01", why.clone())).await,
        Broken::TooLarge(bytes) => {
            let told = Told::fatal("54000", format!("a message of {bytes} bytes is larger than is taken"));
            refuse(writer, told.hint("send less at once")).await;
        }
    }
}

impl Connection {
    async fn ready(&mut self) -> Result<(), Failure> {
        self.writer.put(&Message::ReadyForQuery(ReadyForQuery::new(self.transaction)))?;
        Ok(self.writer.flush().await?)
    }

    async fn run(&mut self) -> Result<(), Failure> {
        loop {
            let message = tokio::select! {
                message = self.reader.next(Phase::Messages) => message?,
                _ = self.stop.wait_for(|stop| *stop) => {
                    return Err(Told::fatal("57P01", "the server is stopping").into());
                }
            };
            match message {
                PgWireFrontendMessage::Terminate(_) => return Ok(()),
                PgWireFrontendMessage::Query(query) => self.simple(&query.query).await?,
                PgWireFrontendMessage::Sync(_) => {
                    self.skipping = false;
                    if self.transaction == TransactionStatus::Idle {
                        self.portals.clear();
                    }
                    self.ready().await?;
                }
                PgWireFrontendMessage::Flush(_) => self.writer.flush().await?,
                message if message.is_extended_query() => {
                    if !self.skipping {
                        match self.extended(message).await {
                            Err(Failure::Told(told)) => {
                                self.failed(told)?;
                                self.skipping = true;
                            }
                            other => other?,
                        }
                    }
                }
                // What belongs to a COPY that is not going on is passed over.
                PgWireFrontendMessage::CopyData(_)
                | PgWireFrontendMessage::CopyDone(_)
                | PgWireFrontendMessage::CopyFail(_) => {}
                _ => return Err(Broken::Protocol("this message is not expected now".to_owned()).into()),
            }
        }
    }

    /// Tells an error; it fails a transaction.
    fn failed(&mut self, told: Told) -> Result<(), Failure> {
        if told.fatal {
            return Err(told.into());
        }
        self.transaction = self.transaction.to_error_state();
        Ok(self.writer.put(&told.message())?)
    }

    // Simple queries

    async fn simple(&mut self, text: &str) -> Result<(), Failure> {
        self.skipping = false;
        self.portals.remove("");
        if let Err(error) = self.all(text).await {
            match error {
                Failure::Told(told) => self.failed(told)?,
                broken => return Err(broken),
            }
        }
        self.ready().await
    }

    /// Each statement in turn, up to the first error.
    async fn all(&mut self, text: &str) -> Result<(), Failure> {
        let bytes_max = self.shared.app.queries.limits().sql_bytes_max;
        if text.len() > bytes_max {
            let message = format!("the statement has {} bytes, more than {bytes_max}", text.len());
            return Err(Told::error("54001", message).hint("split it").into());
        }
        let statements = command::statements(text);
        if statements.is_empty() {
            self.writer.put(&Message::EmptyQueryResponse(EmptyQueryResponse::new()))?;
        }
        for (from, statement) in statements {
            let command = Command::of(statement);
            let outcome = match &command {
                Command::Query => {
                    self.check_transaction()?;
                    let (queries, time) = (Arc::clone(&self.shared.app.queries), self.settings.statement_timeout());
                    let result = self.ask(queries.run_as(statement, Dialect::Postgres, time)).await?;
                    let result = result.map_err(|error| Told::of_query(error, text, from))?;
                    let names = names_in(statement, &result.schema);
                    let answer = Answer::new(result, names.as_deref(), &[], "SELECT")?;
                    Outcome::Rows(answer, Rows::All)
                }
                command => self.command(command, &[]).await?,
            };
            match outcome {
                Outcome::Empty => self.writer.put(&Message::EmptyQueryResponse(EmptyQueryResponse::new()))?,
                Outcome::Tag(tag) => self.complete(tag)?,
                Outcome::Rows(mut answer, rows) => {
                    self.writer.put(&row_description(&answer.columns.fields))?;
                    let sent = self.send(&mut answer, rows).await?;
                    self.complete(format!("{} {sent}", answer.tag))?;
                    self.put_back(&command, answer);
                }
            }
        }
        Ok(())
    }

    /// A cursor's rows that were not fetched wait for the next FETCH.
    fn put_back(&mut self, command: &Command, answer: Answer) {
        if let Command::Fetch { name, .. } = command {
            self.cursors.insert(name.clone(), answer);
        }
    }

    fn complete(&mut self, tag: String) -> Result<(), Broken> {
        self.writer.put(&Message::CommandComplete(CommandComplete::new(tag)))
    }

    fn check_transaction(&self) -> Result<(), Told> {
        if self.transaction == TransactionStatus::Error {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Told::error("25P02", message).hint("ROLLBACK"));
        }
        Ok(())
    }

    /// Runs a query, unless the client cancels it or goes away.
    async fn ask<T>(
        &mut self,
        query: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<Result<T, QueryError>, Failure> {
        let asked = self.shared.app.metrics.query(Protocol::Postgres);
        let cancelled = self.cancel.asked.notified();
        tokio::select! {
            biased;
            answer = query => Ok(asked.done(answer)),
            () = cancelled => Err(Told::error("57014", "canceling statement due to user request").into()),
            () = self.reader.gone() => Err(Broken::Gone.into()),
        }
    }

    /// Sends rows; gives how many.
    async fn send(&mut self, answer: &mut Answer, rows: Rows) -> Result<usize, Failure> {
        let mut sent = 0;
        while let Some(batch) = answer.batches.pop_front() {
            let wanted = match rows {
                Rows::All => batch.num_rows(),
                Rows::Count(count) => (count - sent).min(batch.num_rows()),
            };
            if wanted < batch.num_rows() {
                answer.batches.push_front(batch.slice(wanted, batch.num_rows() - wanted));
            }
            if wanted == 0 {
                break;
            }
            let unsendable = |error: String| Told::error("XX000", format!("a row cannot be sent: {error}"));
            let part = answer.columns.rows(&batch.slice(0, wanted)).map_err(|error| unsendable(error.to_string()))?;
            for row in encode_recordbatch(Arc::clone(&answer.columns.fields), part) {
                let row = row.map_err(|error| unsendable(error.to_string()))?;
                self.writer.put(&Message::DataRow(row))?;
                if self.writer.is_full() {
                    self.writer.flush().await?;
                }
            }
            sent += wanted;
        }
        Ok(sent)
    }
}

impl Answer {
    fn new(
        result: QueryResult,
        names: Option<&[Option<String>]>,
        formats: &[i16],
        tag: &'static str,
    ) -> Result<Self, Told> {
        let columns = Columns::new(&renamed(&result.schema, names), formats)?;
        Ok(Self { columns, batches: result.batches.iter().cloned().collect(), tag, _result: result })
    }

    /// In the types that the client was told before the statement ran.
    fn described_as(mut self, prepared: &Prepared, statement: &Statement, formats: &[i16]) -> Result<Self, Told> {
        let described = Columns::new(&renamed(&prepared.schema, statement.names.as_deref()), formats)?;
        if described.fields != self.columns.fields {
            self.columns = described;
        }
        Ok(self)
    }
}

/// Other names than ours, where clients of PostgreSQL expect others: those of expressions, which look like such.
fn names_in(sql: &str, schema: &Schema) -> Option<Vec<Option<String>>> {
    let is_plain = |name: &str| name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    if schema.fields().iter().all(|field| is_plain(field.name())) {
        return None;
    }
    names(sql).filter(|names| names.iter().any(Option::is_some))
}

fn renamed(schema: &Schema, names: Option<&[Option<String>]>) -> Schema {
    let Some(names) = names.filter(|names| names.len() == schema.fields().len()) else { return schema.clone() };
    let fields = schema.fields().iter().zip(names);
    let field = |(field, name): (&Arc<Field>, &Option<String>)| match name {
        Some(name) => Arc::new(field.as_ref().clone().with_name(name)),
        None => Arc::clone(field),
    };
    Schema::new(fields.map(field).collect::<Vec<_>>())
}

fn row_description(fields: &[FieldInfo]) -> Message {
    Message::RowDescription(RowDescription::new(fields.iter().map(FieldDescription::from).collect()))
}
