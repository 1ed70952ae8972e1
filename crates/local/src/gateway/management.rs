//! `@connections`: how functions write to sockets (page "Use @connections commands in your backend service"; errors from the service model
//! of `apigatewaymanagementapi`, restJson1).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::HeaderName;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;

use super::clock::iso_time;
use super::closing::Closing;
use super::connection::{Connection, Connections, Refused};
use super::settings::Settings;

#[derive(Clone, Debug)]
struct Management {
    stage: String,
    message_bytes_max: usize,
    delete_close_code: u16,
    connections: Arc<Connections>,
}

pub(super) fn router(settings: &Settings, connections: Arc<Connections>) -> Router {
    let management = Management {
        stage: settings.stage.clone(),
        message_bytes_max: settings.limits.message_bytes_max,
        delete_close_code: settings.delete_close_code,
        connections,
    };
    Router::new()
        // A parameter where `@connections` stands: clients may send its `@` percent-encoded.
        .route("/{stage}/{connections}/{id}", post(post_to_connection).get(get_connection).delete(delete_connection))
        .with_state(management)
}

/// An error of the service model.
#[derive(Debug, Clone, Copy)]
enum Failure {
    BadRequest,
    Forbidden,
    Gone,
    PayloadTooLarge,
    LimitExceeded,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, error_type, message) = match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "BadRequestException", "The message is not UTF-8"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "ForbiddenException", "Forbidden"),
            Self::Gone => (StatusCode::GONE, "GoneException", "The connection is gone"),
            Self::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLargeException", "Message too long"),
            Self::LimitExceeded => (StatusCode::TOO_MANY_REQUESTS, "LimitExceededException", "The client's buffer is full"),
        };
        let header = (HeaderName::from_static("x-amzn-errortype"), error_type);
        (status, [header], Json(json!({"message": message}))).into_response()
    }
}

impl Management {
    fn at(&self, stage: &str, connections: &str) -> Result<&Connections, Failure> {
        if stage == self.stage && connections == "@connections" { Ok(&self.connections) } else { Err(Failure::Forbidden) }
    }
}

/// 200 means accepted for delivery, not delivered. While `$connect` is running the connection is not known yet: 410.
async fn post_to_connection(
    State(management): State<Management>,
    Path((stage, connections, id)): Path<(String, String, String)>,
    body: Body,
) -> Result<StatusCode, Failure> {
    let connections = management.at(&stage, &connections)?;
    let data = axum::body::to_bytes(body, management.message_bytes_max).await.map_err(|_| Failure::PayloadTooLarge)?;
    let text = String::from_utf8(data.into()).map_err(|_| Failure::BadRequest)?;
    let connection = connections.find(&id).ok_or(Failure::Gone)?;
    connection.post(text).map_err(|refused| match refused {
        Refused::Gone => Failure::Gone,
        Refused::BufferFull => Failure::LimitExceeded,
    })?;
    Ok(StatusCode::OK)
}

async fn get_connection(
    State(management): State<Management>,
    Path((stage, connections, id)): Path<(String, String, String)>,
) -> Result<Response, Failure> {
    let connection: Arc<Connection> = management.at(&stage, &connections)?.find(&id).ok_or(Failure::Gone)?;
    Ok(Json(json!({
        "connectedAt": iso_time(connection.client.connected_at_ms),
        "identity": connection.client.identity(),
        "lastActiveAt": iso_time(connection.last_active_at_ms()),
    }))
    .into_response())
}

/// Closes after what was accepted before; the next request for this id gets 410 at once.
async fn delete_connection(
    State(management): State<Management>,
    Path((stage, connections, id)): Path<(String, String, String)>,
) -> Result<StatusCode, Failure> {
    let connection = management.at(&stage, &connections)?.remove(&id).ok_or(Failure::Gone)?;
    if connection.close(Closing::deleted(management.delete_close_code)) { Ok(StatusCode::NO_CONTENT) } else { Err(Failure::Gone) }
}

#[cfg(test)]
mod tests {
    use super::super::authorizer::Authorized;
    use super::super::event::Client;
    use super::*;

    #[tokio::test]
    async fn a_connection_that_ends_between_lookup_and_use_is_gone() {
        let settings = Settings::new("dev", "authorize", []);
        let management = Management {
            stage: settings.stage.clone(),
            message_bytes_max: settings.limits.message_bytes_max,
            delete_close_code: settings.delete_close_code,
            connections: Arc::default(),
        };
        let client = Client {
            connection: "c=".to_owned(),
            stage: "dev".to_owned(),
            connected_at_ms: 0,
            source_ip: "127.0.0.1".to_owned(),
            user_agent: None,
        };
        let authorized = Authorized { principal: "u".to_owned(), context: std::collections::BTreeMap::new() };
        // Its session is over, it is still listed.
        drop(management.connections.admit(client, authorized, &settings.limits));
        let path = || Path(("dev".to_owned(), "@connections".to_owned(), "c=".to_owned()));
        let state = || State(management.clone());
        assert!(matches!(post_to_connection(state(), path(), Body::from("x")).await, Err(Failure::Gone)));
        assert!(matches!(delete_connection(state(), path()).await, Err(Failure::Gone)));
    }
}
