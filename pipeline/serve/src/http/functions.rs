//! `POST /functions/<name>/promote`: the pipeline calls a function as its source is now, from the next epoch on.
//!
//! The answer comes when that is recorded: 200 with who was called and who is. 409 it cannot be promoted, and why · 404 nothing can be, here.

use super::answer::Refusal;
use crate::app::{App, Promoted};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn promote(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    let nothing = || Refusal::new(StatusCode::NOT_FOUND, "functions cannot be promoted here");
    let promote = Arc::clone(app.promote.as_ref().ok_or_else(nothing)?);
    // It waits for an epoch, and for the disk: not on a thread that runs async tasks.
    let promoted = tokio::task::spawn_blocking(move || promote(&name)).await;
    let promoted = promoted.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let Promoted { from, to, epoch, after } = promoted.map_err(|why| match why.split_once("\n  hint: ") {
        Some((message, hint)) => Refusal::new(StatusCode::CONFLICT, message).hint(hint),
        None => Refusal::new(StatusCode::CONFLICT, why),
    })?;
    Ok(Json(json!({ "from": from, "to": to, "epoch": epoch.0, "after": after.0 })))
}
