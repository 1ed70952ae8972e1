//! The sample event beside each function (`functions/*/event.json`): it is what the handler's type reads, all of them tell of one user on
//! one connection, and what needs no table, queue or socket is run on it.

use std::sync::Arc;

use aws_lambda_events::apigw::{ApiGatewayCustomAuthorizerRequestTypeRequest, ApiGatewayWebsocketProxyRequest};
use aws_lambda_events::sqs::SqsEvent;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatlane_chat::caller::Caller;
use chatlane_chat::ports::Clock;
use chatlane_chat::task::Task;
use chatlane_functions::authorize::jwks::{JwksUrl, KeySet, KeySource};
use chatlane_functions::authorize::token::TokenPolicy;
use chatlane_functions::websocket::{ProxyAnswer, admit, caller};
use chatlane_functions::{Role, authorize, connect, fallback, ping};
use chatlane_protocol::{ConnectionId, DeviceId, ErrorCode, Position, Request, Seq, ServerFrame, UnixMillis, UserId};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const CONNECTED_AT_MS: u64 = 1_795_000_000_000;

/// A clock that stands.
struct At(UnixMillis);

impl Clock for At {
    fn now(&self) -> UnixMillis {
        self.0
    }
}

/// So long after the socket was accepted.
fn after_ms(ms: u64) -> At {
    At(time(CONNECTED_AT_MS + ms))
}

fn time(ms: u64) -> UnixMillis {
    UnixMillis::try_from(ms).unwrap()
}

fn text(role: Role) -> &'static str {
    match role {
        Role::Authorize => include_str!("../authorize/event.json"),
        Role::Connect => include_str!("../connect/event.json"),
        Role::Disconnect => include_str!("../disconnect/event.json"),
        Role::Hello => include_str!("../hello/event.json"),
        Role::Open => include_str!("../open/event.json"),
        Role::Send => include_str!("../send/event.json"),
        Role::Ping => include_str!("../ping/event.json"),
        Role::Fallback => include_str!("../fallback/event.json"),
        Role::FanOut => include_str!("../fan_out/event.json"),
    }
}

fn sample<T: DeserializeOwned>(role: Role) -> T {
    serde_json::from_str(text(role)).unwrap_or_else(|error| panic!("{}: {error}", role.name()))
}

fn socket_event(role: Role) -> ApiGatewayWebsocketProxyRequest {
    sample(role)
}

/// The event of `role` with another text from the client.
fn saying(role: Role, body: &str) -> ApiGatewayWebsocketProxyRequest {
    let mut event = socket_event(role);
    event.body = Some(body.to_owned());
    event
}

fn answered(answer: &ProxyAnswer) -> Value {
    assert_eq!(answer.status_code, 200);
    serde_json::from_str(&answer.body).unwrap()
}

fn alice() -> Caller {
    Caller {
        user: UserId::new("alice").unwrap(),
        device: DeviceId::new("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001").unwrap(),
        connection: ConnectionId::new("L0SM9cOFvHcCIhw=").unwrap(),
        connected_at: time(CONNECTED_AT_MS),
        expires: time(CONNECTED_AT_MS + 3_660_000),
    }
}

#[test]
fn every_event_of_a_socket_names_its_caller() {
    for role in [Role::Connect, Role::Disconnect, Role::Hello, Role::Open, Role::Send, Role::Ping, Role::Fallback] {
        assert_eq!(caller(&socket_event(role).request_context).unwrap(), alice(), "{}", role.name());
    }
}

#[test]
fn each_route_gets_the_request_of_its_name() {
    for role in [Role::Hello, Role::Open, Role::Send, Role::Ping] {
        let event = socket_event(role);
        assert_eq!(event.request_context.route_key.as_deref(), Some(role.name()));
        let (caller, request) = admit(&after_ms(0), &event).unwrap().unwrap();
        let action = match request {
            Request::Hello(_) => "hello",
            Request::Open(_) => "open",
            Request::Send(_) => "send",
            Request::Ping(_) => "ping",
        };
        assert_eq!((caller, action), (alice(), role.name()));
    }
}

#[test]
fn a_task_points_at_what_the_sender_stored() {
    let event: SqsEvent = sample(Role::FanOut);
    let [message] = &event.records[..] else { panic!("one message") };
    let task: Task = serde_json::from_str(message.body.as_deref().unwrap()).unwrap();
    let two = Seq::FIRST.next();
    assert_eq!((task.first, task.last, task.own), (two, Position::new(1, two), vec![two]));
    assert_eq!((task.origin, task.remainder), (Some(alice().connection), None));
    assert_eq!(message.attributes.get("ApproximateReceiveCount").map(String::as_str), Some("1"));
}

#[test]
fn connect_echoes_the_subprotocol_and_never_the_token() {
    let answer = serde_json::to_value(connect::handle(&socket_event(Role::Connect)).unwrap()).unwrap();
    assert_eq!(answer, json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "chatlane.v1"}}));
}

#[test]
fn connect_echoes_the_subprotocol_from_any_of_several_headers() {
    let mut event = socket_event(Role::Connect);
    event.headers.insert("sec-websocket-protocol", "token.abc".parse().unwrap()); // the gateway's map has the last one only
    event.multi_value_headers.insert("sec-websocket-protocol", "chatlane.v1".parse().unwrap());
    event.multi_value_headers.append("sec-websocket-protocol", "token.abc".parse().unwrap());
    let answer = serde_json::to_value(connect::handle(&event).unwrap()).unwrap();
    assert_eq!(answer["headers"], json!({"Sec-WebSocket-Protocol": "chatlane.v1"}));
}

#[test]
fn connect_echoes_nothing_to_a_client_that_offers_nothing() {
    let mut event = socket_event(Role::Connect);
    event.headers.remove("sec-websocket-protocol");
    event.multi_value_headers.remove("sec-websocket-protocol");
    let answer = serde_json::to_value(connect::handle(&event).unwrap()).unwrap();
    assert_eq!(answer, json!({"statusCode": 200, "headers": {}}));
}

#[test]
fn ping_answers_the_servers_time() {
    let answer = ping::handle(&after_ms(7), &socket_event(Role::Ping)).unwrap();
    assert_eq!(answered(&answer), json!({"type": "ping", "id": "1", "server_time_ms": CONNECTED_AT_MS + 7}));
}

#[test]
fn a_request_on_another_route_is_an_unknown_action() {
    for role in [Role::Hello, Role::Open, Role::Send] {
        let body = socket_event(role).body.unwrap();
        let answer = answered(&ping::handle(&after_ms(0), &saying(Role::Ping, &body)).unwrap());
        assert_eq!((&answer["type"], &answer["code"], &answer["id"]), (&json!("error"), &json!("unknown_action"), &json!("1")));
    }
    let lost = fallback::handle(&after_ms(0), &saying(Role::Fallback, r#"{"action":"ping","id":"1"}"#)).unwrap();
    assert_eq!(answered(&lost)["code"], "unknown_action");
}

#[test]
fn what_no_route_takes_gets_one_typed_error() {
    let deep = format!(r#"{{"action":"ping","id":"7","x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let cases = [
        (r#"{"action":"dance","id":"7"}"#, "unknown_action", json!("7")),
        (r#"{"action":"$connect","id":"7"}"#, "unknown_action", json!("7")),
        (r#"{"id":"7"}"#, "bad_request", json!("7")),
        (r#"{"action":null,"id":"7"}"#, "bad_request", json!("7")),
        (r#"{"action":"dance"}"#, "bad_request", Value::Null),
        ("", "bad_request", Value::Null),
        ("hello", "bad_request", Value::Null),
        (r#"{"action":"ping","id":"7""#, "bad_request", Value::Null),
        ("{\"action\":\"ping\",\"id\":\"7\",\"x\":\"\u{0}\"}", "bad_request", Value::Null),
        (r#"{"action":"ping","id":"7","x":"\ud800"}"#, "bad_request", Value::Null),
        (deep.as_str(), "bad_request", Value::Null),
    ];
    for (said, code, id) in cases {
        let answer = answered(&fallback::handle(&after_ms(0), &saying(Role::Fallback, said)).unwrap());
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{said}");
        assert_eq!((&answer["retryable"], answer.get("id").unwrap_or(&Value::Null)), (&json!(false), &id), "{said}");
    }
    let mut nothing = socket_event(Role::Fallback);
    nothing.body = None;
    assert_eq!(answered(&fallback::handle(&after_ms(0), &nothing).unwrap())["code"], "bad_request");
}

#[test]
fn when_the_tokens_time_is_over_requests_are_refused_and_bad_ones_are_still_bad() {
    let (just_before, over) = (after_ms(3_659_999), after_ms(3_660_000));
    assert_eq!(answered(&ping::handle(&just_before, &socket_event(Role::Ping)).unwrap())["type"], "ping");

    let refused = answered(&ping::handle(&over, &socket_event(Role::Ping)).unwrap());
    assert_eq!((&refused["code"], &refused["id"], &refused["retryable"]), (&json!("token_expired"), &json!("1"), &json!(false)));
    assert_eq!(answered(&ping::handle(&over, &saying(Role::Ping, "{")).unwrap())["code"], "bad_request");
}

#[test]
fn an_event_without_the_authorizers_context_is_foreign() {
    for field in ["user", "device", "expires"] {
        let mut event = socket_event(Role::Ping);
        event.request_context.authorizer.fields.remove(field);
        let error = ping::handle(&after_ms(0), &event).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
    let mut event = socket_event(Role::Connect);
    event.request_context.connection_id = None;
    assert!(connect::handle(&event).unwrap_err().to_string().contains("connectionId"));
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An issuer's key set with one new key, and the sample's token signed with that key.
fn signed_sample() -> (KeySet, String) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    // An uncompressed point: 4, then the two coordinates (SEC 1 §2.3.3).
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let key = json!({"kty": "EC", "crv": "P-256", "kid": "2026-11", "x": base64url(x), "y": base64url(y)});
    let keys = KeySet::from_json(json!({"keys": [key]}).to_string().as_bytes()).unwrap();

    let event: Value = sample(Role::Authorize);
    let offered = event["headers"]["Sec-WebSocket-Protocol"].as_str().unwrap();
    let unsigned = offered.strip_prefix("chatlane.v1, token.").unwrap().rsplit_once('.').unwrap().0;
    let signature = pair.sign(&SystemRandom::new(), unsigned.as_bytes()).unwrap();
    (keys, format!("{unsigned}.{}", base64url(signature)))
}

fn policy() -> TokenPolicy {
    TokenPolicy {
        issuer: "https://login.example.com/".to_owned(),
        audience: "chat".to_owned(),
        user_claim: TokenPolicy::DEFAULT_USER_CLAIM.to_owned(),
    }
}

async fn verdict(keys: KeySet, event: ApiGatewayCustomAuthorizerRequestTypeRequest) -> Value {
    let keys: KeySource<JwksUrl> = KeySource::Inline(Arc::new(keys));
    serde_json::to_value(authorize::handle(&keys, &policy(), &after_ms(0), event).await).unwrap()
}

#[tokio::test]
async fn the_authorizer_gives_the_context_that_the_other_samples_carry() {
    let (keys, token) = signed_sample();
    let mut event: ApiGatewayCustomAuthorizerRequestTypeRequest = sample(Role::Authorize);
    for headers in [&mut event.headers, &mut event.multi_value_headers] {
        headers.insert("sec-websocket-protocol", format!("chatlane.v1, token.{token}").parse().unwrap());
    }
    let verdict = verdict(keys, event).await;

    let statement = &verdict["policyDocument"]["Statement"][0];
    assert_eq!((&statement["Effect"], &statement["Action"]), (&json!("Allow"), &json!("execute-api:Invoke")));
    assert_eq!(statement["Resource"], sample::<Value>(Role::Authorize)["methodArn"]);

    let mut carried = verdict["context"].clone();
    carried["principalId"] = verdict["principalId"].clone();
    assert_eq!(carried, sample::<Value>(Role::Send)["requestContext"]["authorizer"]);
}

#[tokio::test]
async fn the_authorizer_denies_the_sample_as_it_stands_because_nobody_signed_it() {
    let verdict = verdict(signed_sample().0, sample(Role::Authorize)).await;
    assert_eq!(verdict["policyDocument"]["Statement"][0]["Effect"], "Deny");
    assert_eq!((&verdict["principalId"], &verdict["context"]), (&json!("nobody"), &json!({})));
}

#[tokio::test]
async fn the_authorizer_denies_a_handshake_without_exactly_one_device() {
    for devices in [&[][..], &["3f0c"], &["3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001", "3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf002"]] {
        let (keys, token) = signed_sample();
        let mut event: Value = sample(Role::Authorize);
        event["multiValueHeaders"]["Sec-WebSocket-Protocol"] = json!([format!("chatlane.v1, token.{token}")]);
        event["queryStringParameters"] = devices.last().map_or(json!({}), |device| json!({"device": device}));
        event["multiValueQueryStringParameters"] = if devices.is_empty() { json!({}) } else { json!({"device": devices}) };
        let verdict = verdict(keys, serde_json::from_value(event).unwrap()).await;
        assert_eq!(verdict["policyDocument"]["Statement"][0]["Effect"], "Deny", "{devices:?}");
    }
}

#[test]
fn every_answer_is_a_frame_of_the_protocol() {
    let answers = [ping::handle(&after_ms(0), &socket_event(Role::Ping)), fallback::handle(&after_ms(0), &socket_event(Role::Fallback))];
    let frames = answers.map(|answer| serde_json::from_str::<ServerFrame>(&answer.unwrap().body).unwrap());
    assert!(matches!(&frames[0], ServerFrame::Ping(_)));
    assert!(matches!(&frames[1], ServerFrame::Error(error) if error.refusal.code == ErrorCode::UnknownAction));
}
