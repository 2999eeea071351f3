//! `POST /query`: one read-only statement.
//!
//! The body is the SQL, or with `Content-Type: application/json` an object `{"sql": "…", "format": "table|json|csv"}`. Plain
//! SQL may come with `?format=`. Without a format SQL is answered with a table and JSON with JSON lines.
//!
//! 400 the SQL is wrong or not read-only · 408 it took too long · 413 the statement, its answer or the memory that it needs is
//! too large · 500 reading failed.

use super::answer::Refusal;
use super::body::body_of;
use crate::app::App;
use crate::format::{Format, UnknownFormat, write};
use crate::metrics::Protocol;
use crate::queries::QueryResult;
use axum::extract::{Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

/// Answers of more rows are written on a thread of their own.
const HERE_ROWS_MAX: usize = 1_000;

/// A JSON body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    sql: String,
    format: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Parameters {
    format: Option<String>,
}

pub(super) async fn query(
    State(app): State<App>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body_of(request).await?;
    let (sql, format) = asked(&headers, parameters, &body)?;
    let asked = app.metrics.query(Protocol::Http);
    let result = asked.done(app.queries.run(&sql).await)?;
    written(result, format).await
}

/// An answer's text. Large ones take time to write.
pub(super) async fn written(result: QueryResult, format: Format) -> Result<Response, Refusal> {
    let text = if result.rows() > HERE_ROWS_MAX {
        let text = tokio::task::spawn_blocking(move || write(&result, format)).await;
        text.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?
    } else {
        write(&result, format)
    };
    Ok(([(CONTENT_TYPE, format.content_type())], text?).into_response())
}

fn asked(headers: &HeaderMap, parameters: Parameters, body: &[u8]) -> Result<(String, Format), Refusal> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_json =
        content_type.split(';').next().is_some_and(|mime| mime.trim().eq_ignore_ascii_case("application/json"));
    let (sql, format, default) = if is_json {
        let asked: Asked = serde_json::from_slice(body).map_err(|error| {
            Refusal::bad_request(format!("the body is not as expected: {error}"))
                .hint(r#"send {"sql": "SELECT 1", "format": "json"}, or SQL as text/plain"#)
        })?;
        (asked.sql, asked.format, Format::Json)
    } else {
        let sql =
            str::from_utf8(body).map_err(|error| Refusal::bad_request(format!("the SQL is not UTF-8: {error}")))?;
        (sql.to_owned(), None, Format::Table)
    };
    let format = format.or(parameters.format).map(|name| name.parse()).transpose();
    let format = format.map_err(|error: UnknownFormat| Refusal::bad_request(error.to_string()))?;
    Ok((sql, format.unwrap_or(default)))
}
