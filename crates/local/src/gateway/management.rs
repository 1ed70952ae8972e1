//! `@connections`: how functions write to sockets (page "Use @connections commands in your backend service"; errors from the service model
//! of `apigatewaymanagementapi`, restJson1).

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::HeaderName;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;

use super::Gateway;
use super::clock::iso_time;
use super::closing::Closing;
use super::connection::{Connections, Refused};

pub(super) fn router(gateway: Gateway) -> Router {
    Router::new()
        // A parameter where `@connections` stands: clients may send its `@` percent-encoded.
        .route("/{stage}/{connections}/{id}", post(post_to_connection).get(get_connection).delete(delete_connection))
        .with_state(gateway)
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

/// Stage, `@connections`, id.
type At = Path<(String, String, String)>;

impl Gateway {
    fn connections_at(&self, stage: &str, connections: &str) -> Result<&Connections, Failure> {
        let found = stage == self.0.settings.stage && connections == "@connections";
        if found { Ok(&self.0.connections) } else { Err(Failure::Forbidden) }
    }
}

/// 200 means accepted for delivery, not delivered. While `$connect` is running the connection is not known yet: 410.
async fn post_to_connection(State(gateway): State<Gateway>, Path((stage, connections, id)): At, body: Body) -> Result<StatusCode, Failure> {
    let connections = gateway.connections_at(&stage, &connections)?;
    let data = axum::body::to_bytes(body, gateway.0.settings.limits.message_bytes_max).await.map_err(|_| Failure::PayloadTooLarge)?;
    let text = String::from_utf8(data.into()).map_err(|_| Failure::BadRequest)?;
    let connection = connections.find(&id).ok_or(Failure::Gone)?;
    connection.post(text).map_err(|refused| match refused {
        Refused::Gone => Failure::Gone,
        Refused::BufferFull => Failure::LimitExceeded,
    })?;
    Ok(StatusCode::OK)
}

async fn get_connection(State(gateway): State<Gateway>, Path((stage, connections, id)): At) -> Result<Response, Failure> {
    let connection = gateway.connections_at(&stage, &connections)?.find(&id).ok_or(Failure::Gone)?;
    Ok(Json(json!({
        "connectedAt": iso_time(connection.client.connected_at_ms),
        "identity": connection.client.identity(),
        "lastActiveAt": iso_time(connection.last_active_at_ms()),
    }))
    .into_response())
}

/// Closes after what was accepted before; the next request for this id gets 410 at once.
async fn delete_connection(State(gateway): State<Gateway>, Path((stage, connections, id)): At) -> Result<StatusCode, Failure> {
    let connection = gateway.connections_at(&stage, &connections)?.remove(&id).ok_or(Failure::Gone)?;
    if connection.close(Closing::deleted()) { Ok(StatusCode::NO_CONTENT) } else { Err(Failure::Gone) }
}

#[cfg(test)]
mod tests {
    use super::super::authorizer::Authorized;
    use super::super::event::Client;
    use super::super::settings::Settings;
    use super::*;
    use crate::lambda::Functions;

    #[tokio::test]
    async fn a_connection_that_ends_between_lookup_and_use_is_gone() {
        let functions = Functions::new(|_, event| std::future::ready(Ok(event)));
        let gateway = Gateway::new(Settings::new("dev", "authorize", []), functions);
        let client = Client {
            connection: "c=".to_owned(),
            stage: "dev".to_owned(),
            connected_at_ms: 0,
            source_ip: "127.0.0.1".to_owned(),
            user_agent: None,
        };
        let authorized = Authorized { principal: "u".to_owned(), context: std::collections::BTreeMap::new() };
        // Its session is over, it is still listed.
        drop(gateway.0.connections.admit(client, authorized, &gateway.0.settings.limits));
        let path = || Path(("dev".to_owned(), "@connections".to_owned(), "c=".to_owned()));
        let state = || State(gateway.clone());
        assert!(matches!(post_to_connection(state(), path(), Body::from("x")).await, Err(Failure::Gone)));
        assert!(matches!(delete_connection(state(), path()).await, Err(Failure::Gone)));
    }
}
