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

use super::answer::Told;
use super::cancel::{Cancel, Cancels};
use super::command::{self, Command, Rows};
use super::names::names;
use super::settings::{REPORTED, Settings};
use super::types::{self, Columns};
use super::wire::{Broken, Phase, Reader, Writer, split};
use crate::app::App;
use crate::error::QueryError;
use crate::metrics::Protocol;
use crate::queries::{Dialect, Prepared, QueryResult};
use crate::tables::CATALOG;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_pg::encode_recordbatch;
use datafusion::common::ScalarValue;
use pgwire::api::Type;
use pgwire::api::results::FieldInfo;
use pgwire::messages::data::{FieldDescription, NoData, ParameterDescription, RowDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended,
    TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, GssEncResponse, ReadyForQuery, SslResponse, TransactionStatus,
};
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, Startup};
use pgwire::messages::{PgWireBackendMessage as Message, PgWireFrontendMessage, SslNegotiationMetaMessage};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// A client must have said who it is within this time.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(10);
/// So many prepared statements may a connection have.
const STATEMENTS_MAX: usize = 1_000;
/// Bytes of their SQL together.
const STATEMENTS_BYTES_MAX: usize = 4 << 20;
/// So many portals and cursors may be open at once.
const PORTALS_MAX: usize = 100;
/// The protocol's newest version that is spoken: 3.0.
const PROTOCOL_VERSION: i32 = 3 << 16;

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

/// How a connection begins.
enum Started {
    Cancel(pgwire::messages::cancel::CancelRequest),
    Startup(Startup),
}

async fn startup(reader: &mut Reader, writer: &mut Writer) -> Result<Option<Started>, Failure> {
    // Each kind of encryption may be asked for once.
    for _ in 0..3 {
        match reader.next(Phase::Startup).await? {
            PgWireFrontendMessage::SslNegotiation(SslNegotiationMetaMessage::PostgresSsl(_)) => {
                writer.put(&Message::SslResponse(SslResponse::Refuse))?;
            }
            PgWireFrontendMessage::SslNegotiation(_) => {
                writer.put(&Message::GssEncResponse(GssEncResponse::Refuse))?;
            }
            PgWireFrontendMessage::CancelRequest(request) => return Ok(Some(Started::Cancel(request))),
            PgWireFrontendMessage::Startup(request) => return Ok(Some(Started::Startup(request))),
            _ => return Ok(None),
        }
        writer.flush().await?;
    }
    Ok(None)
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
    async fn begin(&mut self, request: &Startup) -> Result<(), Failure> {
        let given = |name: &str| request.parameters.get(name).map(String::as_str);
        let user = given("user").unwrap_or_default();
        let database = given("database").unwrap_or(user);
        if database != CATALOG {
            let told = Told::fatal("3D000", format!("database \"{database}\" does not exist"));
            return Err(told.hint(format!("the database is called {CATALOG}: psql -d {CATALOG}")).into());
        }
        if given("replication").is_some_and(|value| !["false", "off", "no", "0"].contains(&value)) {
            return Err(Told::fatal("0A000", "there is no replication").into());
        }
        let unknown: Vec<String> =
            request.parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
        if request.protocol_number_minor > 0 || !unknown.is_empty() {
            let newest = NegotiateProtocolVersion::new(PROTOCOL_VERSION, unknown);
            self.writer.put(&Message::NegotiateProtocolVersion(newest))?;
        }
        self.settings.start("session_authorization", user);
        for (name, value) in &request.parameters {
            match name.as_str() {
                "user" | "database" | "replication" => {}
                "options" => {
                    for (name, value) in options(value) {
                        self.settings.set(&name, &value).map_err(|error| Told::of_setting(&name, &error))?;
                    }
                }
                name if name.starts_with("_pq_.") => {}
                name => drop(self.settings.set(name, value).map_err(|error| Told::of_setting(name, &error))?),
            }
        }
        self.writer.put(&Message::Authentication(Authentication::Ok))?;
        for name in REPORTED {
            if let Some((name, value)) = self.settings.get(name) {
                let status = ParameterStatus::new(name.to_owned(), value.to_owned());
                self.writer.put(&Message::ParameterStatus(status))?;
            }
        }
        let key = BackendKeyData::new(self.cancel.pid, self.cancel.key.clone());
        self.writer.put(&Message::BackendKeyData(key))?;
        self.ready().await
    }

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
                    let answer = Answer::new(result, names_in(statement).as_deref(), &[], "SELECT")?;
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

    // Extended queries

    async fn extended(&mut self, message: PgWireFrontendMessage) -> Result<(), Failure> {
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
        let hints: Vec<Option<Type>> = parse.type_oids.into_iter().map(types::hint).collect();
        let (mut prepared, mut renamed) = (None, None);
        if command == Command::Query {
            self.check_transaction()?;
            let queries = Arc::clone(&self.shared.app.queries);
            let arrow_types: Vec<Option<DataType>> =
                hints.iter().map(|hint| hint.as_ref().and_then(types::arrow_type)).collect();
            let asked = self.ask(queries.prepare(&parse.query, Dialect::Postgres, &arrow_types)).await?;
            prepared = Some(asked.map_err(|error| Told::of_query(error, &parse.query, 0))?);
            renamed = names_in(&parse.query);
        }
        let statement = Statement { text: parse.query, command, prepared, hints, names: renamed };
        self.statements.insert(name, Arc::new(statement));
        Ok(self.writer.put(&Message::ParseComplete(ParseComplete::new()))?)
    }

    fn statement(&self, name: &str) -> Result<Arc<Statement>, Told> {
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

    // What is about the connection

    async fn command(&mut self, command: &Command, formats: &[i16]) -> Result<Outcome, Failure> {
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
                vec![found.ok_or_else(|| Told::of_setting(name, &super::settings::NotSet::Unknown))?]
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
        let answer = Answer::new(result.map_err(told)?, names_in(query).as_deref(), &[], "FETCH")?;
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

/// Other names than ours, where clients of PostgreSQL expect others.
fn names_in(sql: &str) -> Option<Vec<Option<String>>> {
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

fn shown_schema(name: Option<&str>) -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    match name {
        Some(name) => Schema::new(vec![text(name)]),
        None => Schema::new(vec![text("name"), text("setting"), text("description")]),
    }
}

fn row_description(fields: &[FieldInfo]) -> Message {
    Message::RowDescription(RowDescription::new(fields.iter().map(FieldDescription::from).collect()))
}

/// `-c name=value --name=value`: what `PGOPTIONS` sets.
fn options(text: &str) -> Vec<(String, String)> {
    let mut options = Vec::new();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let setting = match word {
            "-c" => words.next(),
            word => word.strip_prefix("-c").or_else(|| word.strip_prefix("--")),
        };
        if let Some((name, value)) = setting.and_then(|setting| setting.split_once('=')) {
            options.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::options;

    #[test]
    fn options_of_the_command_line_are_settings() {
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            options("-c statement_timeout=5s --search-path=public -cwork_mem=1"),
            [set("statement_timeout", "5s"), set("search_path", "public"), set("work_mem", "1")]
        );
        assert_eq!(options("-c"), []);
    }
}
