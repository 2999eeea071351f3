//! Serving a node until Ctrl-C.

use crate::error::CliError;
use crate::node::Node;
use chalk_serve::{App, Format, Server, write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

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
    address: SocketAddr,
    interrupts: [Signal; 2],
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), CliError>>,
}

impl Serving {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
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
pub(crate) fn start(node: &mut Node, port: u16, runtime: &tokio::runtime::Runtime) -> Result<Serving, CliError> {
    let server = runtime
        .block_on(Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
        .map_err(|error| CliError::other(error.to_string()))?;
    let address = server.address();
    // Before anybody is told that it can be stopped.
    let interrupts = {
        let _context = runtime.enter();
        let handler = |kind| signal(kind).map_err(|error| CliError::other(error.to_string()));
        [handler(SignalKind::interrupt())?, handler(SignalKind::terminate())?]
    };
    node.announce(address)?;
    let app = App::new(node.queries(), Arc::clone(&node.door), Arc::clone(&node.pipeline));
    let (stop, mut stopped) = watch::channel(false);
    let shutdown = async move {
        // The sender is gone only when nobody waits for the server any more.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let task = runtime
        .spawn(async move { server.run(app, shutdown).await.map_err(|error| CliError::other(error.to_string())) });
    Ok(Serving { address, interrupts, stop, task })
}

/// Serves until Ctrl-C or until the pipeline fails.
pub(crate) fn serve_until_ctrl_c(
    node: &mut Node,
    port: u16,
    runtime: &tokio::runtime::Runtime,
) -> Result<(), CliError> {
    let server = start(node, port, runtime)?;
    eprintln!("serving on http://{}; stop with Ctrl-C", server.address());
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
