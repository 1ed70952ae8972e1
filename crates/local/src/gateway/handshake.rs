//! From an upgrade request to an open socket or an HTTP status: URL length, connection rate, authorizer, `$connect`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use hyper::upgrade::OnUpgrade;
use serde_json::json;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::authorizer::{Verdict, judge};
use super::clock::now_ms;
use super::dispatch::ProxyAnswer;
use super::event::{self, Client, Upgrade};
use super::observe::{GatewayEvent, What};
use super::session::Session;
use super::settings::Limits;
use super::{Gateway, Shared};
use crate::lambda::InvokeError;

/// The rate of new connections, as a token bucket.
#[derive(Debug)]
pub(super) struct NewConnections {
    per_second: f64,
    burst: f64,
    tokens: f64,
    refilled: Option<Instant>,
}

impl NewConnections {
    pub(super) fn new(limits: &Limits) -> Self {
        let burst = f64::from(limits.new_connections_burst);
        Self { per_second: f64::from(limits.new_connections_per_second), burst, tokens: burst, refilled: None }
    }

    pub(super) fn admit(&mut self, now: Instant) -> bool {
        let elapsed = self.refilled.replace(now).map_or(0.0, |refilled| now.duration_since(refilled).as_secs_f64());
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.burst);
        let admitted = self.tokens >= 1.0;
        if admitted {
            self.tokens -= 1.0;
        }
        admitted
    }
}

/// Why there is no connection: the status and the message that say so.
type Refusal = (StatusCode, &'static str);

/// The same, and what the gateway knows beside that.
struct Refused(Refusal, String);

impl From<Refusal> for Refused {
    fn from((status, message): Refusal) -> Self {
        Self((status, message), message.to_owned())
    }
}

const INTERNAL: Refusal = (StatusCode::INTERNAL_SERVER_ERROR, "Internal server error");
const BAD_GATEWAY: Refusal = (StatusCode::BAD_GATEWAY, "Internal server error");
const FORBIDDEN: Refusal = (StatusCode::FORBIDDEN, "Forbidden");
const TOO_MANY_REQUESTS: Refusal = (StatusCode::TOO_MANY_REQUESTS, "Too Many Requests");

/// The handler of `/{stage}`.
pub(super) async fn upgrade(State(Gateway(shared)): State<Gateway>, Path(stage): Path<String>, mut request: Request) -> Response {
    let client = Client {
        connection: event::new_id(),
        stage,
        connected_at_ms: now_ms(),
        source_ip: source_ip(&request).to_string(),
        user_agent: request.headers().get(header::USER_AGENT).map(lossy),
    };
    let request_id = event::new_id();
    let connection = client.connection.clone();
    let outcome = match check(&shared, &client, &request) {
        Ok(mut switching) => {
            let query = Query::try_from_uri(request.uri()).map(|Query(pairs)| pairs).unwrap_or_default();
            let upgrade = Upgrade { headers: event_headers(&request, &client), query };
            let socket = hyper::upgrade::on(&mut request);
            // A task of its own: if the client goes away meanwhile, this future is dropped, but the invocations and `$disconnect` go on.
            let opening = tokio::spawn(open(shared.clone(), client, upgrade, request_id.clone(), socket));
            opening.await.unwrap_or_else(|_| Err(INTERNAL.into())).map(|subprotocol| {
                switching.headers_mut().extend(subprotocol.map(|name| (header::SEC_WEBSOCKET_PROTOCOL, name)));
                switching
            })
        }
        Err(refusal) => Err(refusal.into()),
    };
    outcome.unwrap_or_else(|Refused((status, message), why)| {
        let what = What::Refused { status: status.as_u16(), why };
        shared.observers.notify(|| GatewayEvent { connection: connection.clone(), user: String::new(), what });
        let body = Json(json!({"message": message, "connectionId": connection, "requestId": request_id}));
        let mut response = (status, body).into_response();
        if status == StatusCode::UPGRADE_REQUIRED {
            // RFC 9110 §15.5.22 and RFC 6455 §4.4: say what to upgrade to.
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    })
}

/// Refuses, before any function is invoked, a long URL, another stage, a request that is no WebSocket handshake, and too many new
/// connections. Returns the answer that switches protocols.
fn check(shared: &Shared, client: &Client, request: &Request) -> Result<Response, Refusal> {
    let url_chars = request.uri().path_and_query().map_or(0, |url| url.as_str().chars().count());
    if url_chars > shared.settings.limits.url_chars_max {
        return Err((StatusCode::URI_TOO_LONG, "URI Too Long"));
    }
    if client.stage != shared.settings.stage {
        return Err(FORBIDDEN);
    }
    let switching = create_response_with_body(request, Body::empty).map_err(|_| (StatusCode::UPGRADE_REQUIRED, "Upgrade Required"))?;
    if shared.may_open_now() { Ok(switching) } else { Err(TOO_MANY_REQUESTS) }
}

/// Asks the authorizer and `$connect`, then starts the session. Returns the subprotocol that `$connect` chose.
async fn open(
    shared: Arc<Shared>,
    client: Client,
    upgrade: Upgrade,
    request_id: String,
    socket: OnUpgrade,
) -> Result<Option<HeaderValue>, Refused> {
    let settings = &shared.settings;
    let event = event::authorize(&client, &upgrade, &request_id);
    // The authorizer's failure and its throttling look the same from outside: AUTHORIZER_FAILURE, 500.
    let because = |error: InvokeError, refusal| Refused(refusal, error.to_string());
    let result = shared.invoke(&settings.authorizer, event).await.map_err(|error| because(error, INTERNAL))?;
    let verdict = judge(&result, &event::method_arn(&client.stage), settings.limits.authorizer_result_bytes_max)
        .inspect_err(|error| tracing::warn!(%error, "a handshake was refused"))
        .map_err(|_| INTERNAL)?;
    let Verdict::Allow(authorized) = verdict else { return Err(Refused(FORBIDDEN, "the authorizer has said why".to_owned())) };

    let mut subprotocol = None;
    if let Some(function) = settings.routes.get("$connect") {
        let event = event::connect(&client, &authorized, &upgrade, &request_id);
        let answer = shared.invoke(function, event).await.map_err(|error| {
            let refusal = if matches!(error, InvokeError::Throttled { .. }) { TOO_MANY_REQUESTS } else { BAD_GATEWAY };
            because(error, refusal)
        })?;
        subprotocol = connect_answer(&answer)?;
    }

    let stopping = (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
    let admitted = shared.connections.admit(client, authorized, &settings.limits).ok_or(stopping)?;
    let context = &admitted.connection.authorized.context;
    shared.notify(&admitted.connection, || What::Opened { device: context.get("device").cloned() });
    tokio::spawn(Session::new(shared.clone(), admitted).run(socket));
    Ok(subprotocol)
}

/// The subprotocol to echo, or the handshake's status: a `statusCode` of 300 or more is it, a bad shape is 502. Both are
/// beliefs (docs/FIDELITY.md, "Handshake").
fn connect_answer(answer: &Bytes) -> Result<Option<HeaderValue>, Refusal> {
    let answer = ProxyAnswer::parse(answer).ok_or(BAD_GATEWAY)?;
    if answer.status_code >= 300 {
        let status = StatusCode::from_u16(answer.status_code).map_err(|_| BAD_GATEWAY)?;
        return Err((status, status.canonical_reason().unwrap_or("Connection refused")));
    }
    answer.header("Sec-WebSocket-Protocol").map(HeaderValue::try_from).transpose().map_err(|_| BAD_GATEWAY)
}

fn source_ip(request: &Request) -> IpAddr {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ConnectInfo(address)| address.ip())
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// The request's headers as events show them: capitalised, without the hop-by-hop ones, with the forwarding ones that API Gateway adds.
fn event_headers(request: &Request, client: &Client) -> Vec<(String, String)> {
    let own = request
        .headers()
        .iter()
        .filter(|(name, _)| **name != header::CONNECTION && **name != header::UPGRADE)
        .map(|(name, value)| (capitalised(name.as_str()), lossy(value)));
    // TLS ends at the gateway on AWS, always at 443.
    let added = [("X-Forwarded-For", client.source_ip.as_str()), ("X-Forwarded-Port", "443"), ("X-Forwarded-Proto", "https")];
    own.chain(added.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

/// `sec-websocket-key` as `Sec-WebSocket-Key`: hyper keeps no case, captured events show clients' usual one.
fn capitalised(name: &str) -> String {
    let words = name.split('-').map(|word| {
        if word == "websocket" {
            return "WebSocket".to_owned();
        }
        let (first, rest) = word.split_at(usize::from(!word.is_empty()));
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn connections_are_admitted_at_a_rate_after_a_burst() {
        let limits = Limits { new_connections_per_second: 2, new_connections_burst: 3, ..Limits::default() };
        let (mut bucket, start) = (NewConnections::new(&limits), Instant::now());
        assert_eq!([0, 0, 0, 0].map(|_| bucket.admit(start)), [true, true, true, false]);
        let later = start + Duration::from_millis(500);
        assert_eq!([0, 0].map(|_| bucket.admit(later)), [true, false]);
        let much_later = start + Duration::from_mins(1);
        assert_eq!([0, 0, 0, 0].map(|_| bucket.admit(much_later)), [true, true, true, false]);
    }
}
