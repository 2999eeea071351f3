//! PostgreSQL's protocol: for psql, DBeaver, Grafana, JDBC, and the drivers of most languages. Loopback addresses only.
//!
//! | | |
//! |---|---|
//! | database | `chalk`; any user, no password |
//! | queries | simple and extended: parameters, text and binary values, portals with row limits, cursors, cancel requests |
//! | catalogue | `pg_catalog` and `information_schema`, as far as clients ask for it |
//! | `SET`, `BEGIN`, `DISCARD` … | taken as clients send them; all is read-only, and each statement sees one snapshot |
//!
//! Errors carry an SQLSTATE, the place in the statement and a hint.

mod answer;
mod cancel;
pub(crate) mod catalog;
mod command;
mod connection;
mod functions;
mod names;
pub(crate) mod rewrite;
mod settings;
mod types;
mod wire;

use crate::app::App;
use crate::listen::{ServeError, listen};
use cancel::Cancels;
use connection::{Shared, serve};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// So many clients may be connected at once.
const CONNECTIONS_MAX: usize = 200;
/// So many more may be about to connect, or to cancel.
const STARTING_MAX: usize = 100;
/// Queries at hand may go on this long after the shutdown begins.
const SHUTDOWN_MAX: Duration = Duration::from_secs(35);
/// Nothing can be accepted: perhaps somebody closes a file meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// A server that has its address and does not answer yet.
#[derive(Debug)]
pub struct PgServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl PgServer {
    /// Takes an address; port 0 is any that is free.
    ///
    /// # Errors
    /// When the address is not a loopback one, or cannot be had.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        let (listener, address) = listen(address).await?;
        Ok(Self { listener, address })
    }

    /// Where it listens, with the port that it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves and the queries at hand are answered.
    pub async fn run(self, app: App, shutdown: impl Future<Output = ()> + Send) {
        self.run_with(app, CONNECTIONS_MAX, shutdown).await;
    }

    async fn run_with(self, app: App, connections_max: usize, shutdown: impl Future<Output = ()> + Send) {
        let (stop, stopped) = watch::channel(false);
        let seats = Arc::new(Semaphore::new(connections_max));
        let shared = Arc::new(Shared { app, cancels: Arc::new(Cancels::default()), seats, stop: stopped });
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) if connections.len() < connections_max + STARTING_MAX => {
                        connections.spawn(serve(stream, Arc::clone(&shared)));
                    }
                    // Too many to be told so.
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(self.listener);
        stop.send_replace(true);
        let ended = async { while connections.join_next().await.is_some() {} };
        // Whoever is not done then is cut off when the set is dropped.
        let _ = tokio::time::timeout(SHUTDOWN_MAX, ended).await;
    }
}

#[cfg(test)]
mod tests;
