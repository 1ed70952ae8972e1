//! The Lambda events of a WebSocket API, in the shape of the captured ones that `aws_lambda_events` ships as fixtures.

use std::collections::BTreeMap;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Value, json};

use super::authorizer::Authorized;
use super::clock::{access_log_time, now_ms};
use super::closing::Closing;

/// The method ARN that the authorizer's policy has to allow: account, region and API id are made up, the form is AWS's.
pub(super) fn method_arn(stage: &str) -> String {
    format!("arn:aws:execute-api:us-east-1:000000000000:local/{stage}/$connect")
}

/// Eleven random bytes as base64: sixteen characters of which the last is `=`, like `L0SM9cOFvHcCIhw=`. Connection, request and message
/// ids all look like this.
pub(crate) fn new_id() -> String {
    URL_SAFE.encode(rand::random::<[u8; 11]>())
}

/// What every event of one connection repeats.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) connection: String,
    pub(super) stage: String,
    pub(super) connected_at_ms: u64,
    pub(super) source_ip: String,
    pub(super) user_agent: Option<String>,
}

impl Client {
    /// `identity` of events and of `GET @connections`.
    pub(super) fn identity(&self) -> Value {
        match &self.user_agent {
            Some(user_agent) => json!({"sourceIp": self.source_ip, "userAgent": user_agent}),
            None => json!({"sourceIp": self.source_ip}),
        }
    }

    fn request_context(&self, request_id: &str, event_type: &str, route_key: &str) -> Value {
        let now_ms = now_ms();
        json!({
            "routeKey": route_key,
            "eventType": event_type,
            "extendedRequestId": request_id,
            "requestTime": access_log_time(now_ms),
            "messageDirection": "IN",
            "stage": self.stage,
            "connectedAt": self.connected_at_ms,
            "requestTimeEpoch": now_ms,
            "identity": self.identity(),
            "requestId": request_id,
            // Deliberately not this machine's address: a function's environment says where `@connections` is. On AWS this name may be that
            // of a custom domain.
            "domainName": "local.execute-api.us-east-1.amazonaws.com",
            "connectionId": self.connection,
            "apiId": "local",
        })
    }
}

/// Headers and query of the upgrade request, in the order in which they came; names may repeat.
#[derive(Clone, Debug)]
pub(super) struct Upgrade {
    pub(super) headers: Vec<(String, String)>,
    pub(super) query: Vec<(String, String)>,
}

/// One value per name: the last one, as API Gateway documents for `headers` and `queryStringParameters`.
fn single(pairs: &[(String, String)]) -> Value {
    json!(pairs.iter().map(|(name, value)| (name, value)).collect::<BTreeMap<_, _>>())
}

fn multiple(pairs: &[(String, String)]) -> Value {
    let mut values: BTreeMap<&String, Vec<&String>> = BTreeMap::new();
    for (name, value) in pairs {
        values.entry(name).or_default().push(value);
    }
    json!(values)
}

fn bytes(event: &Value) -> Bytes {
    Bytes::from(event.to_string())
}

/// The authorizer's REQUEST event (fixture `example-apigw-v2-custom-authorizer-websocket-request.json`; empty maps are present there).
pub(super) fn authorize(client: &Client, upgrade: &Upgrade, request_id: &str) -> Bytes {
    bytes(&json!({
        "type": "REQUEST",
        "methodArn": method_arn(&client.stage),
        "headers": single(&upgrade.headers),
        "multiValueHeaders": multiple(&upgrade.headers),
        "queryStringParameters": single(&upgrade.query),
        "multiValueQueryStringParameters": multiple(&upgrade.query),
        "stageVariables": {},
        "requestContext": client.request_context(request_id, "CONNECT", "$connect"),
    }))
}

fn with_authorizer(mut context: Value, authorized: &Authorized) -> Value {
    context["authorizer"] = json!(authorized.context);
    context["authorizer"]["principalId"] = json!(authorized.principal);
    context
}

/// CONNECT: headers, and query maps unless empty; no body.
pub(super) fn connect(client: &Client, authorized: &Authorized, upgrade: &Upgrade, request_id: &str) -> Bytes {
    let context = with_authorizer(client.request_context(request_id, "CONNECT", "$connect"), authorized);
    let mut event = json!({
        "headers": single(&upgrade.headers),
        "multiValueHeaders": multiple(&upgrade.headers),
        "requestContext": context,
        "isBase64Encoded": false,
    });
    if !upgrade.query.is_empty() {
        event["queryStringParameters"] = single(&upgrade.query);
        event["multiValueQueryStringParameters"] = multiple(&upgrade.query);
    }
    bytes(&event)
}

/// MESSAGE: a message id and the body; no headers.
pub(super) fn message(client: &Client, authorized: &Authorized, route_key: &str, body: &str, request_id: &str) -> Bytes {
    let mut context = with_authorizer(client.request_context(request_id, "MESSAGE", route_key), authorized);
    context["messageId"] = json!(new_id());
    bytes(&json!({"requestContext": context, "body": body, "isBase64Encoded": false}))
}

/// DISCONNECT: the close code and reason, and the empty headers of fixture `example-apigw-websocket-request-disconnect-route.json`.
pub(super) fn disconnect(client: &Client, authorized: &Authorized, closing: &Closing, request_id: &str) -> Bytes {
    let mut context = with_authorizer(client.request_context(request_id, "DISCONNECT", "$disconnect"), authorized);
    context["disconnectStatusCode"] = json!(closing.code);
    context["disconnectReason"] = json!(closing.reason);
    let headers: Vec<(String, String)> =
        [("Host", "local.execute-api.us-east-1.amazonaws.com"), ("x-api-key", ""), ("X-Forwarded-For", ""), ("x-restapi", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    bytes(&json!({
        "headers": single(&headers),
        "multiValueHeaders": multiple(&headers),
        "requestContext": context,
        "isBase64Encoded": false,
    }))
}
