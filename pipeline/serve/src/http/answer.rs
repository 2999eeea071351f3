//! What a client is told when it gets no answer.

use crate::error::{Limit, QueryError, QueryErrorKind};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A request that is refused or has failed.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: Told,
}

#[derive(Clone, Debug, Serialize)]
struct Told {
    message: String,
    hint: Option<String>,
    line: Option<u64>,
    column: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, error: Told { message: message.into(), hint: None, line: None, column: None } }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.error.hint = Some(hint.into());
        self
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        let status = match error.kind {
            QueryErrorKind::Mistake => StatusCode::BAD_REQUEST,
            QueryErrorKind::Limit(Limit::Time) => StatusCode::REQUEST_TIMEOUT,
            QueryErrorKind::Limit(Limit::Statement | Limit::Memory | Limit::Rows) => StatusCode::PAYLOAD_TOO_LARGE,
            QueryErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let (line, column) = error.location.map(|location| (location.line, location.column)).unzip();
        Self { status, error: Told { message: error.message, hint: error.hint, line, column } }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(serde_json::json!({ "error": self.error }))).into_response()
    }
}
