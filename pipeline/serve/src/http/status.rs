//! `GET /status` and `GET /healthz`.

use crate::app::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chalk_runtime::{Status, TableStatus};
use chalk_view::ViewRows;
use serde_json::{Map, Value, json};

pub(super) async fn status(State(app): State<App>) -> Json<Value> {
    let snapshot = app.queries.snapshot();
    let report = (app.report)();
    let size = app.door.log().size();
    let view = |rows: &ViewRows| json!({ "rows": rows.len(), "hash": rows.hash().to_string() });
    let rows: Map<String, Value> = snapshot.views.iter().map(|(name, rows)| (name.clone(), view(rows))).collect();
    Json(json!({
        "epoch": snapshot.epoch.0,
        "upto": snapshot.upto.0,
        "settled": snapshot.settled.0,
        "durable": app.door.log().durable().borrow().0,
        "stalled": app.door.log().stalled(),
        "held_back": size.held_back,
        "history_failed": size.history.and_then(|history| history.failed),
        "views": rows,
        "queries_running": app.queries.running(),
        "pipeline": report.as_ref().map(|report| pipeline(&report.status)),
        "failure": report.and_then(|report| report.failure),
    }))
}

fn pipeline(status: &Status) -> Value {
    let tables = |of: fn(&TableStatus) -> Value| {
        status.tables.iter().map(|(table, status)| (table.clone(), of(status))).collect::<Map<String, Value>>()
    };
    json!({
        "epochs": status.epochs,
        "rows_in": status.rows_in,
        "rows_out": status.rows_out,
        "late": status.late,
        "late_of": status.late_of,
        "refused": status.refused,
        "derived": status.derived,
        "derived_refused": status.derived_refused,
        "watermarks": tables(|table| json!(table.watermark.time().map(|_| table.watermark.to_string()))),
        "idle": status.tables.iter().filter(|(_, table)| table.is_idle).map(|(name, _)| name).collect::<Vec<_>>(),
        "ahead": tables(|table| json!(table.ahead)),
        "checkpoint": {
            "epoch": status.checkpoint.last.map(|(epoch, _)| epoch.0),
            "upto": status.checkpoint.last.map(|(_, upto)| upto.0),
            "started_after": status.checkpoint.started_after.0,
            "discarded": status.checkpoint.discarded,
            "waits": status.checkpoint.waits,
            "failed": status.checkpoint.failed,
            "copies": status.checkpoint.copies.as_ref().map(|copies| json!({
                "place": copies.place,
                "epoch": copies.last.map(|(epoch, _)| epoch.0),
                "upto": copies.last.map(|(_, upto)| upto.0),
                "started": copies.started,
                "failed": copies.failed,
            })),
        },
        "state": status.state.as_ref().map(|state| json!({
            "memory_bytes_max": state.memory_bytes_max,
            "groups_bytes": state.groups_bytes,
            "views_bytes": state.views_bytes,
            "waiting_bytes": state.waiting_bytes,
            "groups_disk_bytes": state.groups_disk_bytes,
            "views_disk_bytes": state.views_disk_bytes,
            "waits": state.waits,
        })),
        "sources": status.sources.iter().map(|(table, source)| (table.clone(), json!({
            "records": source.records,
            "gaps": source.gaps,
            "lost": source.lost,
            "reconnects": source.reconnects,
            "waits": source.waits,
        }))).collect::<Map<String, Value>>(),
        "stages": status.stages.iter().map(|(name, stage)| (name.clone(), json!({
            "function": stage.function,
            "in_flight": stage.in_flight,
            "limit": stage.limit,
            "waiting": stage.waiting,
            "read": stage.read.0,
            "recorded": stage.recorded,
            "failed": stage.failed,
        }))).collect::<Map<String, Value>>(),
        "sinks": status.sinks.iter().map(|(name, sink)| (name.clone(), json!({
            "upto": sink.upto.map(|upto| upto.0),
            "waits": sink.waits,
            "failed": sink.failed,
        }))).collect::<Map<String, Value>>(),
    })
}

pub(super) async fn healthz(State(app): State<App>) -> (StatusCode, String) {
    match (app.report)().and_then(|report| report.failure).or_else(|| app.door.log().stalled()) {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(failure) => (StatusCode::SERVICE_UNAVAILABLE, failure),
    }
}
