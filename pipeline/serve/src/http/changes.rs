//! `GET /views/<name>/changes`: a view as it changes, as server-sent events.
//!
//! ```text
//! event: snapshot
//! data: {"epoch":7,"rows":[{"shop":"north","customer":"c1","total":10}]}
//!
//! event: change
//! data: {"epoch":9,"changes":[{"weight":-1,"row":{…"total":10}},{"weight":1,"row":{…"total":12}}]}
//! ```
//!
//! Parameters are columns and values as for `GET /views/<name>`. The rows of the snapshot and all changes since, added up by
//! their weights, are the view's rows as of the last event's epoch: nothing is lost and nothing comes twice. Epochs in which
//! the rows asked for did not change have no event. Whoever reads slowly gets the changes of several epochs in one event.
//! Comments keep the connection alive. The stream ends with an event `end` and its `reason`; whoever comes back begins with
//! a new snapshot.

use super::answer::Refusal;
use super::views::{Parameters, conditions, parameters_of, view_of};
use crate::app::App;
use crate::error::QueryError;
use crate::format::json_text_columns;
use crate::metrics::{Open, Protocol};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, Scalar};
use arrow::compute::kernels::cmp;
use arrow::compute::{and, filter_record_batch};
use arrow::error::ArrowError;
use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chalk_codec::write_json_row;
use chalk_event::ChangeBatch;
use chalk_view::{Snapshot, ViewRows};
use datafusion::common::ScalarValue;
use futures::stream::unfold;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// So many rows may the snapshot have, and an event's changes.
const ROWS_MAX: usize = 100_000;
/// So many clients may follow changes at once.
const STREAMS_MAX: i64 = 100;
/// A comment is sent when there was no event for so long.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Tells when the server stops.
#[derive(Clone)]
pub(super) struct Closing(pub(super) watch::Receiver<bool>);

pub(super) async fn changes(
    State(app): State<App>,
    Extension(Closing(closing)): Extension<Closing>,
    Path(name): Path<String>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Refusal> {
    let parameters = parameters_of(parameters)?;
    let mut snapshots = app.queries.snapshots();
    let snapshot = Arc::clone(&snapshots.borrow_and_update());
    let view = view_of(&snapshot, &name)?;
    for reserved in ["limit", "format"] {
        if parameters.iter().any(|(name, _)| name == reserved) {
            return Err(Refusal::bad_request(format!("changes take no {reserved}"))
                .hint("the stream has all rows of the columns' values, as JSON"));
        }
    }
    let equal = conditions(view, &parameters)?;
    let Some(open) = app.metrics.stream(STREAMS_MAX) else {
        let message = format!("{STREAMS_MAX} clients follow changes already");
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message).hint("end one of them, or ask for rows"));
    };
    let asked = app.metrics.query(Protocol::Http);
    let result = asked.done(app.queries.rows_of(&snapshot, view, equal.clone(), Some(ROWS_MAX + 1)).await)?;
    if result.rows() > ROWS_MAX {
        let message = format!("more than {ROWS_MAX} rows of '{name}' are meant");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message).hint("give values of its first columns"));
    }
    let first = snapshot_event(&snapshot, &result.batches).map_err(|error| QueryError::internal(error.to_string()))?;
    let follower = Follower { name, equal, seen: snapshot, snapshots, closing, _open: open };
    let events = unfold(Stream::First(first, follower), |state| async move {
        let (event, next) = match state {
            Stream::First(event, follower) => (event, Stream::Follows(follower)),
            Stream::Follows(follower) => follower.next().await,
            Stream::Ended => return None,
        };
        Some((Ok::<_, Infallible>(event), next))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// Where a stream is.
enum Stream {
    First(Event, Follower),
    Follows(Follower),
    Ended,
}

/// A client that has the rows of `seen`.
struct Follower {
    name: String,
    equal: Vec<(usize, ScalarValue)>,
    seen: Arc<Snapshot>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    closing: watch::Receiver<bool>,
    _open: Open,
}

impl Follower {
    /// Waits for the next event.
    async fn next(mut self) -> (Event, Stream) {
        loop {
            let changed = tokio::select! {
                changed = self.snapshots.changed() => changed.is_ok(),
                _ = self.closing.wait_for(|closing| *closing) => return end("the server is stopping"),
            };
            if !changed {
                return end("the pipeline has stopped");
            }
            let now = Arc::clone(&self.snapshots.borrow_and_update());
            let (Some(before), Some(after)) = (self.seen.views.get(&self.name), now.views.get(&self.name)) else {
                return end("the view is gone");
            };
            let changes = match changes_between(before, after, &self.equal) {
                Ok(Some(changes)) => changes,
                Ok(None) => return end("too many rows have changed at once: ask again, from a new snapshot"),
                Err(error) => return end(&error),
            };
            if changes.is_empty() {
                self.seen = now;
                continue;
            }
            return match change_event(&now, &changes) {
                Ok(event) => {
                    self.seen = now;
                    (event, Stream::Follows(self))
                }
                Err(error) => end(&error.to_string()),
            };
        }
    }
}

fn end(reason: &str) -> (Event, Stream) {
    (Event::default().event("end").data(json!({ "reason": reason }).to_string()), Stream::Ended)
}

/// The changes of the rows that are meant; `None` when they are too many.
fn changes_between(
    before: &ViewRows,
    after: &ViewRows,
    equal: &[(usize, ScalarValue)],
) -> Result<Option<ChangeBatch>, String> {
    let array = |value: &ScalarValue| value.to_array().map_err(|error| error.to_string());
    let mut prefix: Vec<ArrayRef> = Vec::new();
    let is_next = |(column, value): &&(usize, ScalarValue), next: usize| {
        *column == next && crate::queries::is_indexed(&value.data_type())
    };
    while let Some((_, value)) = equal.iter().find(|condition| is_next(condition, prefix.len())) {
        prefix.push(array(value)?);
    }
    let changes = after.changes_since(before, &prefix, ROWS_MAX).map_err(|error| error.to_string())?;
    let Some(changes) = changes else { return Ok(None) };
    let mut keep: Option<BooleanArray> = None;
    for (column, value) in equal.iter().filter(|(column, _)| *column >= prefix.len()) {
        let value = array(value)?;
        let same = cmp::eq(changes.rows().column(*column), &Scalar::new(&value)).map_err(|error| error.to_string())?;
        keep = Some(match keep {
            Some(keep) => and(&keep, &same).map_err(|error| error.to_string())?,
            None => same,
        });
    }
    let Some(keep) = keep else { return Ok(Some(changes)) };
    let rows = filter_record_batch(changes.rows(), &keep).map_err(|error| error.to_string())?;
    let weights = (0..changes.len()).filter(|row| keep.value(*row)).map(|row| changes.weight(row)).collect();
    Ok(Some(ChangeBatch::weighted(rows, weights)))
}

fn snapshot_event(snapshot: &Snapshot, batches: &[RecordBatch]) -> Result<Event, ArrowError> {
    let mut text = format!("{{\"epoch\":{},\"rows\":[", snapshot.epoch.0);
    for batch in batches {
        let json_text = json_text_columns(batch);
        for row in 0..batch.num_rows() {
            if !text.ends_with('[') {
                text.push(',');
            }
            write_json_row(&mut text, batch, row, &|name| json_text.contains(name))?;
        }
    }
    text.push_str("]}");
    Ok(Event::default().event("snapshot").id(snapshot.epoch.0.to_string()).data(text))
}

fn change_event(snapshot: &Snapshot, changes: &ChangeBatch) -> Result<Event, ArrowError> {
    let mut text = format!("{{\"epoch\":{},\"changes\":[", snapshot.epoch.0);
    let json_text = json_text_columns(changes.rows());
    for row in 0..changes.len() {
        if row > 0 {
            text.push(',');
        }
        text.push_str(&format!("{{\"weight\":{},\"row\":", changes.weight(row)));
        write_json_row(&mut text, changes.rows(), row, &|name| json_text.contains(name))?;
        text.push('}');
    }
    text.push_str("]}");
    Ok(Event::default().event("change").id(snapshot.epoch.0.to_string()).data(text))
}
