//! The HTTP server: loopback addresses only.
//!
//! | request | answer |
//! |---|---|
//! | `POST /query` | rows, see [`query`] |
//! | `POST /events` | what became of each event, see [`events`] |
//! | `GET /views`, `GET /views/<name>` | the views, and the rows of one, see [`views`] |
//! | `GET /views/<name>/changes` | a view as it changes, see [`changes`] |
//! | `POST /functions/<name>/promote` | another build of a function, see [`functions`] |
//! | `GET /metrics` | numbers for Prometheus |
//! | `GET /status` | how the node is doing |
//! | `GET /healthz` | `ok`, or 503 with the pipeline's failure |
//!
//! Errors are `{"error": {"message", "hint", "line", "column"}}`.

mod answer;
mod body;
mod changes;
mod events;
mod functions;
mod metrics;
mod query;
mod seats;
mod status;
mod views;

use crate::app::App;
use crate::listen::{ServeError, listen};
use answer::Refusal;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use body::BODY_BYTES_MAX;
use changes::Closing;
use seats::Seats;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// So many connections may be open at once.
const CONNECTIONS_MAX: usize = 400;
/// What there is.
const KNOWN: &str = "there are POST /query, POST /events, POST /functions/<name>/promote, GET /views, GET /views/<name>, \
    GET /views/<name>/changes, GET /status, GET /metrics and GET /healthz";
/// Requests at hand may go on this long after the shutdown begins.
const SHUTDOWN_MAX: Duration = Duration::from_secs(35);

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
        let (listener, address) = listen(address).await?;
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
        self.run_with(app, CONNECTIONS_MAX, shutdown).await
    }

    async fn run_with(
        self,
        app: App,
        connections_max: usize,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let (begin, mut begun) = watch::channel(false);
        let graceful = async move {
            shutdown.await;
            begin.send_replace(true);
        };
        let address = self.address;
        let seats = Seats::new(self.listener, connections_max, Arc::clone(&app.metrics));
        let serving = axum::serve(seats, router(app, Closing(begun.clone()))).with_graceful_shutdown(graceful);
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

fn router(app: App, closing: Closing) -> Router {
    Router::new()
        .route("/query", post(query::query))
        .route("/events", post(events::events))
        .route("/functions/{name}/promote", post(functions::promote))
        .route("/views", get(views::views))
        .route("/views/{name}", get(views::rows))
        .route("/views/{name}/changes", get(changes::changes))
        .route("/metrics", get(metrics::metrics))
        .route("/status", get(status::status))
        .route("/healthz", get(status::healthz))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "there is nothing here").hint(KNOWN))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this takes another method").hint(KNOWN)
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(Extension(closing))
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
