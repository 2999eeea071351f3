//! The HTTP server: loopback addresses only.
//!
//! | request | answer |
//! |---|---|
//! | `POST /query` | rows, see [`query`] |
//! | `POST /events` | what became of each event, see [`events`] |
//! | `GET /status` | how the node is doing |
//! | `GET /healthz` | `ok`, or 503 with the pipeline's failure |
//!
//! Errors are `{"error": {"message", "hint", "line", "column"}}`.

mod answer;
mod body;
mod events;
mod query;
mod status;

use crate::queries::Queries;
use answer::Refusal;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use body::BODY_BYTES_MAX;
use chalk_ingest::Door;
use chalk_runtime::{Handle, Status};
use std::future::Future;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Requests at hand may go on this long after the shutdown begins.
const SHUTDOWN_MAX: Duration = Duration::from_secs(35);

/// How a pipeline is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipelineReport {
    /// Its counters.
    pub status: Status,
    /// Why it stopped, if it failed.
    pub failure: Option<String>,
}

/// What the server serves.
#[derive(Clone)]
pub struct App {
    queries: Arc<Queries>,
    door: Arc<Door>,
    report: Arc<dyn Fn() -> Option<PipelineReport> + Send + Sync>,
}

impl App {
    /// A node with a running pipeline.
    #[must_use]
    pub fn new(queries: Queries, door: Arc<Door>, pipeline: Arc<Handle>) -> Self {
        let report = move || Some(PipelineReport { status: pipeline.status(), failure: pipeline.failure() });
        Self::with_report(queries, door, Arc::new(report))
    }

    /// A node whose pipeline is described by `report`: `None` when there is no pipeline.
    #[must_use]
    pub fn with_report(
        queries: Queries,
        door: Arc<Door>,
        report: Arc<dyn Fn() -> Option<PipelineReport> + Send + Sync>,
    ) -> Self {
        Self { queries: Arc::new(queries), door, report }
    }
}

/// The server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Others could reach the address.
    #[error(
        "{0} is not a loopback address: nobody has to say who they are here, so only this machine may ask\n  \
         hint: listen on 127.0.0.1, and let a proxy that checks users pass requests on"
    )]
    NotLoopback(IpAddr),
    /// Another process listens there.
    #[error("{0} is taken\n  hint: choose another port, or 0 for any that is free")]
    Taken(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A server that has its address and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Takes an address; port 0 is any that is free.
    ///
    /// # Errors
    /// When the address is not a loopback one, or cannot be had.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        if !address.ip().is_loopback() {
            return Err(ServeError::NotLoopback(address.ip()));
        }
        let failed = |source: std::io::Error| match source.kind() {
            ErrorKind::AddrInUse => ServeError::Taken(address),
            _ => ServeError::Listen { address, source },
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens, with the port that it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves and the requests at hand are answered.
    ///
    /// # Errors
    /// When listening fails.
    pub async fn run(self, app: App, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
        let (begin, mut begun) = watch::channel(false);
        let graceful = async move {
            shutdown.await;
            begin.send_replace(true);
        };
        let address = self.address;
        let serving = axum::serve(self.listener, router(app)).with_graceful_shutdown(graceful);
        let too_long = async {
            // Without its sender the server has ended by itself.
            if begun.wait_for(|begun| *begun).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(SHUTDOWN_MAX).await;
        };
        tokio::select! {
            served = async { serving.await } => served.map_err(|source| ServeError::Listen { address, source }),
            () = too_long => Ok(()),
        }
    }
}

fn router(app: App) -> Router {
    Router::new()
        .route("/query", post(query::query))
        .route("/events", post(events::events))
        .route("/status", get(status::status))
        .route("/healthz", get(status::healthz))
        .fallback(async || {
            Refusal::new(StatusCode::NOT_FOUND, "there is nothing here")
                .hint("there are POST /query, POST /events, GET /status and GET /healthz")
        })
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this takes another method")
                .hint("there are POST /query, POST /events, GET /status and GET /healthz")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(only_from_here))
        .with_state(app)
}

/// A web page from elsewhere can make this machine's browser send requests here: those are refused.
async fn only_from_here(request: Request, next: Next) -> Response {
    if is_from_here(request.headers()) {
        return next.run(request).await;
    }
    Refusal::new(StatusCode::FORBIDDEN, "requests of other sites are refused")
        .hint("ask for localhost or 127.0.0.1, and not from a page of another site")
        .into_response()
}

fn is_from_here(headers: &HeaderMap) -> bool {
    let here = |name, authority: fn(&str) -> &str| {
        headers.get_all(name).iter().all(|value| value.to_str().is_ok_and(|value| is_loopback(authority(value))))
    };
    here(HOST, |value| value) && here(ORIGIN, |value| value.split_once("://").map_or(value, |(_, rest)| rest))
}

/// Whether `host`, `host:port` or `[address]:port` is this machine.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
