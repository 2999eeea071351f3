//! `GET /metrics`: numbers for Prometheus.

use super::answer::Refusal;
use crate::app::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

pub(super) async fn metrics(State(app): State<App>) -> Result<Response, Refusal> {
    let text = app.metrics.text(&app);
    let text = text.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}
