//! Serving a node until Ctrl-C.

use crate::archivist::Archivist;
use crate::error::CliError;
use crate::node::Node;
use chalk_serve::{Format, PgServer, ServeError, Server, write};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Where HTTP is served unless it is said otherwise. No service is registered for it, and systems do not give it to programs
/// that take any port.
const HTTP_PORT: u16 = 8532;
/// The same for PostgreSQL's protocol, whose own port is 5432.
const PG_PORT: u16 = 5532;

/// Where to listen.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Ports {
    /// Where to listen for HTTP on this machine: a port, or 0 for any that is free
    /// [default: 8532, or any that is free when that is taken].
    #[arg(long, value_name = "PORT")]
    http_port: Option<u16>,
    /// Where to listen for PostgreSQL's clients (psql, DBeaver, Grafana, JDBC …) on this machine: a port, or 0 for any that
    /// is free [default: 5532, or any that is free when that is taken].
    #[arg(long, value_name = "PORT")]
    pg_port: Option<u16>,
}

/// Takes the port that is asked for, or the usual one, or any.
async fn take<S, F>(asked: Option<u16>, usual: u16, option: &str, bind: impl Fn(SocketAddr) -> F) -> Result<S, CliError>
where
    F: Future<Output = Result<S, ServeError>>,
{
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let taken = match bind(local(asked.unwrap_or(usual))).await {
        Err(ServeError::Taken(_)) if asked.is_none() => bind(local(0)).await,
        taken => taken,
    };
    taken.map_err(|error| match error {
        ServeError::Taken(address) => CliError::other(format!(
            "{address} is taken\n  hint: choose another port with {option}, or 0 for any that is free"
        )),
        other => CliError::other(other.to_string()),
    })
}

/// The runtime of everything that waits.
///
/// # Errors
/// When its threads cannot be started.
pub(crate) fn tokio_runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::other(format!("cannot start threads: {error}")))
}

/// A server at work.
pub(crate) struct Serving {
    http: SocketAddr,
    pg: SocketAddr,
    interrupts: [Signal; 2],
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), CliError>>,
    /// At work as long as this is there.
    _archivist: Archivist,
}

impl Serving {
    /// Where it can be asked.
    pub(crate) fn addresses(&self) -> String {
        format!("http://{} and postgres://{}/chalk", self.http, self.pg)
    }

    /// Serves until Ctrl-C or SIGTERM, then lets requests at hand finish.
    pub(crate) async fn until_ctrl_c(mut self) -> Result<(), CliError> {
        let [interrupt, terminate] = &mut self.interrupts;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            ended = &mut self.task => return ended.map_err(|error| CliError::other(error.to_string()))?,
        }
        self.stop.send_replace(true);
        self.task.await.map_err(|error| CliError::other(error.to_string()))?
    }
}

/// Starts to serve, and says so in the data directory.
pub(crate) fn start(node: &mut Node, ports: Ports, runtime: &tokio::runtime::Runtime) -> Result<Serving, CliError> {
    let http = runtime.block_on(take(ports.http_port, HTTP_PORT, "--http-port", Server::bind))?;
    let pg = runtime.block_on(take(ports.pg_port, PG_PORT, "--pg-port", PgServer::bind))?;
    let (http_address, pg_address) = (http.address(), pg.address());
    // Before anybody is told that it can be stopped.
    let interrupts = {
        let _context = runtime.enter();
        let handler = |kind| signal(kind).map_err(|error| CliError::other(error.to_string()));
        [handler(SignalKind::interrupt())?, handler(SignalKind::terminate())?]
    };
    node.announce(http_address, pg_address)?;
    let app = node.app();
    let (stop, stopped) = watch::channel(false);
    let shutdown = || {
        let mut stopped = stopped.clone();
        async move {
            // The sender is gone only when nobody waits for the server any more.
            let _ = stopped.wait_for(|stop| *stop).await;
        }
    };
    let (http, pg) = (http.run(app.clone(), shutdown()), pg.run(app, shutdown()));
    let task = runtime.spawn(async move {
        let (served, ()) = tokio::join!(http, pg);
        served.map_err(|error| CliError::other(error.to_string()))
    });
    let _archivist = node.archivist()?;
    Ok(Serving { http: http_address, pg: pg_address, interrupts, stop, task, _archivist })
}

/// Serves until Ctrl-C or until the pipeline fails.
pub(crate) fn serve_until_ctrl_c(
    node: &mut Node,
    ports: Ports,
    runtime: &tokio::runtime::Runtime,
) -> Result<(), CliError> {
    let server = start(node, ports, runtime)?;
    eprintln!("serving on {}; stop with Ctrl-C", server.addresses());
    let mut snapshots = node.pipeline.subscribe();
    runtime.block_on(async {
        tokio::select! {
            served = server.until_ctrl_c() => served,
            () = async { while snapshots.changed().await.is_ok() {} } => Ok(()),
        }
    })?;
    node.pipeline.stop();
    Ok(())
}

/// Shows the newest refused rows.
pub(crate) async fn print_dead_letters(node: &Node) -> Result<(), CliError> {
    let sql = "SELECT source, line, position, reason, message FROM dead_letters ORDER BY _offset DESC LIMIT 20";
    let result = node.queries().run(sql).await.map_err(|error| CliError::other(error.to_string()))?;
    eprint!("{}", write(&result, Format::Table).map_err(|error| CliError::other(error.to_string()))?);
    Ok(())
}
