//! `GET /views` and `GET /views/<name>`: views without SQL.
//!
//! ```text
//! GET /views/totals?shop=north&limit=10&format=csv
//! ```
//!
//! Each parameter is a column and the value that it must have; values of the first columns are looked up, so that the rest of
//! the view is not read. `limit` is how many rows at most, `format` is json (a line each, the default), csv or table. Rows
//! come in the view's order, by its columns from left to right.
//!
//! 400 a column, value or parameter is not known · 404 there is no such view · 413 the answer is too large

use super::answer::Refusal;
use super::query::written;
use crate::app::App;
use crate::error::suggestion;
use crate::format::{Format, UnknownFormat};
use crate::metrics::Protocol;
use arrow::datatypes::{DataType, Field};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chalk_view::{Snapshot, ViewRows};
use datafusion::common::ScalarValue;
use serde_json::{Value, json};

/// Parameters of a request.
pub(super) type Parameters = Vec<(String, String)>;

/// Lists the views.
pub(super) async fn views(State(app): State<App>) -> Json<Value> {
    let snapshot = app.queries.snapshot();
    let column = |field: &std::sync::Arc<Field>| json!({ "name": field.name(), "type": type_name(field.data_type()), "nullable": field.is_nullable() });
    let view = |(name, view): (&String, &ViewRows)| {
        let columns: Vec<Value> = view.schema().fields().iter().map(column).collect();
        json!({ "name": name, "rows": view.len(), "columns": columns })
    };
    let views: Vec<Value> = snapshot.views.iter().map(view).collect();
    Json(json!({ "epoch": snapshot.epoch.0, "views": views }))
}

/// The rows of one.
pub(super) async fn rows(
    State(app): State<App>,
    Path(name): Path<String>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Refusal> {
    let mut parameters = parameters_of(parameters)?;
    let snapshot = app.queries.snapshot();
    let view = view_of(&snapshot, &name)?;
    let format = take(&mut parameters, "format")?.unwrap_or_else(|| "json".to_owned());
    let format: Format = format.parse().map_err(|error: UnknownFormat| Refusal::bad_request(error.to_string()))?;
    let limit = take(&mut parameters, "limit")?.map(|limit| {
        let wrong = || Refusal::bad_request(format!("limit is a number of rows, not '{limit}'"));
        limit.parse::<usize>().map_err(|_| wrong())
    });
    let (equal, limit) = (conditions(view, &parameters)?, limit.transpose()?);
    let asked = app.metrics.query(Protocol::Http);
    let result = asked.done(app.queries.rows_of(&snapshot, view, equal, limit).await)?;
    written(result, format).await
}

/// The parameters of a request, if they can be read.
pub(super) fn parameters_of(query: Result<Query<Parameters>, QueryRejection>) -> Result<Parameters, Refusal> {
    query.map(|Query(parameters)| parameters).map_err(|rejection| Refusal::bad_request(rejection.body_text()))
}

/// The view of a name.
pub(super) fn view_of<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a ViewRows, Refusal> {
    snapshot.views.get(name).ok_or_else(|| {
        let known: Vec<&str> = snapshot.views.keys().map(String::as_str).collect();
        let hint = suggestion(name, &known, "known are").unwrap_or_else(|| "there are no views yet".to_owned());
        Refusal::new(StatusCode::NOT_FOUND, format!("there is no view '{name}'")).hint(hint)
    })
}

/// A parameter that is no column.
fn take(parameters: &mut Parameters, name: &str) -> Result<Option<String>, Refusal> {
    let Some(at) = parameters.iter().position(|(known, _)| known == name) else { return Ok(None) };
    let (_, value) = parameters.swap_remove(at);
    if parameters.iter().any(|(known, _)| known == name) {
        return Err(Refusal::bad_request(format!("{name} is given twice")));
    }
    Ok(Some(value))
}

/// Columns and the values that they must have, in their types.
pub(super) fn conditions(view: &ViewRows, parameters: &Parameters) -> Result<Vec<(usize, ScalarValue)>, Refusal> {
    let mut equal: Vec<(usize, ScalarValue)> = Vec::with_capacity(parameters.len());
    for (name, text) in parameters {
        let Some((column, field)) = view.schema().column_with_name(name) else {
            let known: Vec<&str> = view.schema().fields().iter().map(|field| field.name().as_str()).collect();
            let wrong = Refusal::bad_request(format!("view '{}' has no column '{name}'", view.name()));
            return Err(wrong.hint(suggestion(name, &known, "columns here are").unwrap_or_default()));
        };
        if equal.iter().any(|(known, _)| *known == column) {
            return Err(Refusal::bad_request(format!("column '{name}' is given twice")).hint("ask once for each value"));
        }
        equal.push((column, value_of(text, field)?));
    }
    Ok(equal)
}

fn value_of(text: &str, field: &Field) -> Result<ScalarValue, Refusal> {
    let hint = match field.data_type() {
        DataType::Utf8 => "",
        DataType::Boolean => "it is true or false",
        DataType::Date32 => "a date is written like 2025-09-01",
        DataType::Timestamp(..) => "a time is written like 2025-09-01T08:00:00Z",
        DataType::Float32 | DataType::Float64 => "a number is written like 1.5",
        other if other.is_integer() => "it is an integer",
        _ => {
            let (name, type_name) = (field.name(), type_name(field.data_type()));
            return Err(Refusal::bad_request(format!("column '{name}' is {type_name}, which cannot be compared here"))
                .hint("ask with SQL: POST /query"));
        }
    };
    let value = match text {
        "true" | "false" => ScalarValue::try_from_string(text.to_owned(), field.data_type()).ok(),
        _ if *field.data_type() == DataType::Boolean => None,
        text => ScalarValue::try_from_string(text.to_owned(), field.data_type()).ok(),
    };
    value.filter(|value| !value.is_null()).ok_or_else(|| {
        let (name, type_name) = (field.name(), type_name(field.data_type()));
        Refusal::bad_request(format!("'{text}' is no value of column '{name}', which is {type_name}")).hint(hint)
    })
}

/// A type as SQL writes it.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt8 => "TINYINT UNSIGNED".to_owned(),
        DataType::UInt16 => "SMALLINT UNSIGNED".to_owned(),
        DataType::UInt32 => "INT UNSIGNED".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "TEXT".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTEA".to_owned(),
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::List(item) => format!("{}[]", type_name(item.data_type())),
        DataType::Struct(fields) => {
            let field = |field: &std::sync::Arc<Field>| format!("{} {}", field.name(), type_name(field.data_type()));
            format!("STRUCT<{}>", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
