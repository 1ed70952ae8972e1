//! The Lambda Runtime API, version 2018-06-01, for each process under its own name as the base path.
//!
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>. Left out: response streaming, `restore` and `init/error` (the Rust
//! runtime sends them for `SnapStart` only), extensions, telemetry.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;

use super::request::Request;
use super::{InvokeError, Lambda};

/// Largest answer of a synchronous invocation: 6 MB.
///
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>, "Invocation payload".
const ANSWER_BYTES_MAX: usize = 6 * 1024 * 1024;

pub(super) fn router(lambda: Lambda) -> Router {
    Router::new()
        .route("/{caller}/2018-06-01/runtime/invocation/next", get(next))
        .route("/{caller}/2018-06-01/runtime/invocation/{request_id}/response", post(response))
        .route("/{caller}/2018-06-01/runtime/invocation/{request_id}/error", post(error))
        .with_state(lambda)
}

/// Waits for an event, however long it takes.
async fn next(State(lambda): State<Lambda>, Path(caller): Path<String>) -> Response {
    let (delivery, delivered) = oneshot::channel();
    if !lambda.pool.send(&caller, Request::Next { delivery }) {
        return unknown_environment();
    }
    let Ok(delivery) = delivered.await else {
        return refusal(StatusCode::FORBIDDEN, "InvalidStateTransition", "the environment may not ask for an event now");
    };
    let headers = [
        ("lambda-runtime-aws-request-id", delivery.request_id),
        ("lambda-runtime-deadline-ms", delivery.deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", delivery.function_arn),
        ("lambda-runtime-trace-id", trace_id()),
        (header::CONTENT_TYPE.as_str(), "application/json".to_owned()),
    ];
    (headers, delivery.event).into_response()
}

async fn response(State(lambda): State<Lambda>, Path((caller, request_id)): Path<(String, String)>, body: Body) -> Response {
    match to_bytes(body, ANSWER_BYTES_MAX).await {
        Ok(answer) => end(&lambda, &caller, request_id, Ok(answer)).await,
        Err(_too_large) => {
            let (error_type, message) = ("Function.ResponseSizeTooLarge", format!("the answer exceeds {ANSWER_BYTES_MAX} bytes"));
            let outcome = Err(InvokeError::Handled { error_type: error_type.to_owned(), message: message.clone() });
            let ended = end(&lambda, &caller, request_id, outcome).await;
            if ended.status() == StatusCode::ACCEPTED { refusal(StatusCode::PAYLOAD_TOO_LARGE, error_type, &message) } else { ended }
        }
    }
}

/// A report of the function's own error.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ErrorReport {
    error_type: String,
    error_message: String,
}

async fn error(State(lambda): State<Lambda>, Path((caller, request_id)): Path<(String, String)>, body: Bytes) -> Response {
    let ErrorReport { error_type, error_message: message } = serde_json::from_slice(&body).unwrap_or_default();
    end(&lambda, &caller, request_id, Err(InvokeError::Handled { error_type, message })).await
}

async fn end(lambda: &Lambda, caller: &str, request_id: String, outcome: Result<Bytes, InvokeError>) -> Response {
    let (accepted_by, accepted_is) = oneshot::channel();
    if !lambda.pool.send(caller, Request::Answer { request_id, outcome, accepted: accepted_by }) {
        return unknown_environment();
    }
    match accepted_is.await {
        Ok(()) => accepted(),
        Err(_refused) => refusal(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID"),
    }
}

/// Trace header of an invocation, never sampled.
///
/// Shape: <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html>, "Tracing header".
fn trace_id() -> String {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("Root=1-{:08x}-{};Sampled=0", since_1970.as_secs(), &random[..24])
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, axum::Json(json!({ "status": "OK" }))).into_response()
}

fn unknown_environment() -> Response {
    refusal(StatusCode::FORBIDDEN, "Forbidden", "there is no such environment")
}

fn refusal(status: StatusCode, error_type: &str, message: &str) -> Response {
    (status, axum::Json(json!({ "errorType": error_type, "errorMessage": message }))).into_response()
}
