//! `POST /events`: JSON, one event a line.
//!
//! The answer comes when the events are durable: 200 when none was refused, 207 when some were (they are in `dead_letters`).
//! 413 the body is too large · 503 the log does not take events.

use super::answer::Refusal;
use super::body::body_of;
use crate::app::App;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chalk_ingest::{DoorError, Receipt, Refused};
use chalk_log::LogError;
use serde_json::{Value, json};
use std::sync::Arc;

/// Refused events that are described in the answer. All of them are counted, and all are in `dead_letters`.
const REFUSED_MAX: usize = 10_000;

pub(super) async fn events(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let body = body_of(request).await?;
    let intake = Arc::clone(&app.intake);
    // Decoding takes time, and the log's queue may be full: not on a thread that runs async tasks.
    let submitted = tokio::task::spawn_blocking(move || intake.submit("http", &body)).await;
    let submitted = submitted.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let receipt = submitted.map_err(|error| refusal(&error))?.await.map_err(|error| refusal(&error))?;
    app.metrics.received(&receipt);
    let status = if receipt.refused.is_empty() { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    Ok((status, Json(told(&receipt))).into_response())
}

fn told(receipt: &Receipt) -> Value {
    json!({
        "accepted": receipt.accepted,
        "accepted_total": receipt.accepted_total(),
        "duplicates": receipt.duplicates,
        "refused": receipt.refused.iter().take(REFUSED_MAX).map(refused).collect::<Vec<_>>(),
        "refused_total": receipt.refused.len(),
        "commit": receipt.commit.0,
    })
}

fn refused(Refused { line, bad }: &Refused) -> Value {
    json!({
        "line": line,
        "reason": bad.reason.code(),
        "message": bad.message,
        "field": bad.field,
        "position": bad.position,
    })
}

pub(super) fn refusal(error: &DoorError) -> Refusal {
    let status = match error {
        DoorError::TooMuch { .. } | DoorError::Log(LogError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
        DoorError::Log(_)
        | DoorError::IdsUnreadable(_)
        | DoorError::IdsNotKept(_)
        | DoorError::Elsewhere(_)
        | DoorError::Closed => StatusCode::SERVICE_UNAVAILABLE,
        DoorError::BadRow { .. } => StatusCode::BAD_REQUEST,
        DoorError::Rows { .. } | DoorError::Retraction { .. } | DoorError::Shape { .. } => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    let text = error.to_string();
    match text.split_once("\n  hint: ") {
        Some((message, hint)) => Refusal::new(status, message).hint(hint),
        None => Refusal::new(status, text),
    }
}
