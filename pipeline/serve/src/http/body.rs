//! A request's body: bounded in size and in time.

use super::answer::Refusal;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use std::time::Duration;

/// A body may have this many bytes: as many as the door takes at once.
pub(super) const BODY_BYTES_MAX: usize = 32 << 20;
/// A client has this long to send a body.
const BODY_SECONDS_MAX: u64 = 60;

/// The whole body. What says that it is too large is refused before it is sent.
pub(super) async fn body_of(request: Request) -> Result<Bytes, Refusal> {
    let said = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if said.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let body = tokio::time::timeout(Duration::from_secs(BODY_SECONDS_MAX), Bytes::from_request(request, &())).await;
    let body = body.map_err(|_| {
        let message = format!("the body did not arrive within {BODY_SECONDS_MAX} s");
        Refusal::new(StatusCode::REQUEST_TIMEOUT, message).hint("send less at once")
    })?;
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        status => Refusal::new(status, rejection.body_text()),
    })
}

fn too_large() -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {BODY_BYTES_MAX} bytes"))
        .hint("send less at once")
}
