use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{any, get};
use futures_util::{FutureExt as _, stream};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::embedded::{Dynamo, Held};
use crate::testing::{self, aws_json, send, serve_behind};

const NEXT: &str = "/hello-2/2018-06-01/runtime/invocation/next";

/// An endpoint that counts what took effect and answers the number.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

impl Counter {
    fn router(&self) -> Router {
        let count = async |State(Counter(count)): State<Counter>| json!({ "n": count.fetch_add(1, Ordering::SeqCst) + 1 }).to_string();
        Router::new().fallback(count).with_state(self.clone())
    }
}

/// The layer in front of a counter that plays one service.
struct Stage {
    endpoints: Endpoints,
    counter: Counter,
    address: SocketAddr,
}

impl Stage {
    async fn new(service: Service) -> Self {
        Self::at(service, Endpoints::new()).await
    }

    async fn at(service: Service, endpoints: Endpoints) -> Self {
        let counter = Counter::default();
        let address = testing::serve_behind(&endpoints, service, counter.router()).await;
        Self { endpoints, counter, address }
    }

    fn effects(&self) -> usize {
        self.counter.0.load(Ordering::SeqCst)
    }

    /// A put of `send-1`, whose answer the test waits for when it wants to.
    fn put(&self) -> JoinHandle<Option<Response<Bytes>>> {
        self.call("send-1", "PutItem", "log")
    }

    fn call(&self, caller: &str, operation: &str, table: &str) -> JoinHandle<Option<Response<Bytes>>> {
        let request = aws_json(caller, &format!("DynamoDB_20120810.{operation}"), &json!({ "TableName": table }));
        tokio::spawn(send(self.address, request))
    }
}

fn puts() -> Matching {
    Matching::service(Service::DynamoDb).operation("PutItem")
}

async fn answered(call: JoinHandle<Option<Response<Bytes>>>) -> Response<Bytes> {
    call.await.expect("no panic").expect("an answer")
}

/// What one request is recorded as.
async fn recorded(service: Service, request: Request<Bytes>) -> Call {
    let stage = Stage::new(service).await;
    let recording = stage.endpoints.record();
    send(stage.address, request).await.expect("an answer");
    recording.take().remove(0)
}

fn plain(method: Method, path: &str) -> Request<Bytes> {
    Request::builder().method(method).uri(path).body(Bytes::new()).expect("a valid request")
}

#[tokio::test]
async fn the_signature_says_who_calls_what_and_the_path_for_the_runtime_api() {
    let socket = |method| plain(method, "/dev/@connections/a");
    let runtime = |method, path: &str| plain(method, &format!("/hello-2/2018-06-01/runtime/{path}"));
    for (service, request, caller, operation) in [
        (Service::DynamoDb, aws_json("fan_out-12", "DynamoDB_20120810.Query", &json!({})), "fan_out-12", "Query"),
        (Service::Sqs, aws_json("tool", "AmazonSQS.SendMessage", &json!({})), "tool", "SendMessage"),
        (Service::Sqs, plain(Method::POST, "/"), "anonymous", "Unknown"),
        (Service::Connections, socket(Method::POST), "anonymous", "PostToConnection"),
        (Service::Connections, socket(Method::GET), "anonymous", "GetConnection"),
        (Service::Connections, socket(Method::DELETE), "anonymous", "DeleteConnection"),
        (Service::Connections, socket(Method::PUT), "anonymous", "Unknown"),
        (Service::Runtime, runtime(Method::GET, "invocation/next"), "hello-2", "Next"),
        (Service::Runtime, runtime(Method::POST, "invocation/8/response"), "hello-2", "Response"),
        (Service::Runtime, runtime(Method::POST, "invocation/8/error"), "hello-2", "Error"),
        (Service::Runtime, runtime(Method::GET, "other"), "hello-2", "Unknown"),
    ] {
        let call = recorded(service, request).await;
        assert_eq!((call.caller.0.as_str(), call.operation.as_str()), (caller, operation));
        assert_eq!(call.caller.function(), caller.trim_end_matches(|c: char| c == '-' || c.is_ascii_digit()));
    }
}

#[tokio::test]
async fn a_call_has_request_and_answer() {
    let call = recorded(Service::DynamoDb, aws_json("send-1", "X.PutItem", &json!({ "TableName": "log" }))).await;
    assert_eq!((call.request, call.answer), (json!({ "TableName": "log" }), json!({ "n": 1 })));
    assert_eq!((call.service, call.status, call.fate), (Service::DynamoDb, 200, Fate::Answered));
    let call = recorded(Service::DynamoDb, plain(Method::POST, "/").map(|_| Bytes::from("{"))).await;
    assert_eq!(call.request, Value::Null, "it is not JSON");
    let post = plain(Method::POST, "/dev/@connections/L0SM9cOFvHcCIhw%3D").map(|_| Bytes::from("{\"a\":1}"));
    let call = recorded(Service::Connections, post).await;
    assert_eq!(call.request, json!({ "ConnectionId": "L0SM9cOFvHcCIhw=", "Data": "{\"a\":1}" }));
}

#[tokio::test]
async fn a_recording_has_the_calls_that_finish_while_it_lives() {
    let stage = Stage::new(Service::DynamoDb).await;
    answered(stage.put()).await;
    let (recording, other) = (stage.endpoints.record(), stage.endpoints.record());
    for _ in 0..2 {
        answered(stage.put()).await;
    }
    assert_eq!((recording.calls().len(), recording.take().len(), other.take().len()), (2, 2, 2));
    let fourth = recording.until(|calls| calls.first().map(|call| call.answer.clone()));
    let (answer, _) = tokio::join!(fourth, stage.put());
    assert_eq!(answer, json!({ "n": 4 }));
    assert_eq!(recording.calls().len(), 1, "it is kept until it is taken");
}

#[tokio::test]
async fn with_latency_a_request_takes_effect_and_longer() {
    let stage = Stage::at(Service::DynamoDb, Endpoints::with_latency(Latency::Aws { seed: 1 })).await;
    let recording = stage.endpoints.record();
    answered(stage.put()).await;
    let call = recording.take().remove(0);
    assert_eq!((call.fate, call.answer, stage.effects()), (Fate::Answered, json!({ "n": 1 }), 1));
    assert!(call.took >= Duration::from_millis(3), "the shortest time of a write: {:?}", call.took);
}

/// What a test may decide about a held request: whether it takes effect, what its caller gets, and what is recorded.
#[tokio::test]
async fn a_held_request_is_released_lost_or_answered_by_the_test() {
    /// Where, what the test decides, effects, the status that the caller sees, the fate.
    type Row = (At, fn(Held), usize, Option<u16>, Fate);
    let throttled = |caught: Held| caught.answer(Answer::error(StatusCode::BAD_REQUEST, "Throttled", "slow down"));
    let table: [Row; 7] = [
        (At::Request, Held::release, 1, Some(200), Fate::Answered),
        (At::Request, drop, 1, Some(200), Fate::Answered),
        (At::Request, Held::lose, 0, None, Fate::RequestLost),
        (At::Request, throttled, 0, Some(400), Fate::Refused),
        (At::Answer, Held::release, 1, Some(200), Fate::Answered),
        (At::Answer, Held::lose, 1, None, Fate::AnswerLost),
        (At::Answer, throttled, 1, Some(400), Fate::Replaced),
    ];
    for (at, decide, effects, status, fate) in table {
        let stage = Stage::new(Service::DynamoDb).await;
        let recording = stage.endpoints.record();
        let mut hold = stage.endpoints.hold(puts(), at, 1);
        let put = stage.put();
        let caught = hold.caught().await;
        let so_far = if at == At::Request { (0, Value::Null, 0) } else { (200, json!({ "n": 1 }), 1) };
        assert_eq!((caught.call.status, caught.call.answer.clone(), stage.effects()), so_far);
        assert!(!put.is_finished());
        decide(caught);

        let answer = put.await.expect("no panic");
        assert_eq!((stage.effects(), answer.as_ref().map(|answer| answer.status().as_u16())), (effects, status), "{fate:?}");
        let call = recording.take().remove(0);
        assert_eq!(call.fate, fate);
        if let Some(answer) = answer.filter(|answer| answer.status() == StatusCode::BAD_REQUEST) {
            assert_eq!(answer.headers()["x-amzn-errortype"], "Throttled");
            assert_eq!(call.answer, json!({ "__type": "Throttled", "message": "slow down" }));
        }
    }
}

#[tokio::test]
async fn a_hold_catches_as_many_as_it_was_told_and_of_two_the_oldest() {
    let stage = Stage::new(Service::DynamoDb).await;
    let mut oldest = stage.endpoints.hold(puts(), At::Request, 2);
    let mut newest = stage.endpoints.hold(puts(), At::Request, 1);
    let (first, second) = (stage.put(), stage.put());
    let caught = [oldest.caught().await, oldest.caught().await];
    let third = stage.put();
    newest.caught().await.release();
    answered(third).await;
    answered(stage.put()).await;
    caught.into_iter().for_each(Held::lose);
    assert!(first.await.expect("no panic").is_none() && second.await.expect("no panic").is_none());
    assert_eq!(stage.effects(), 2);
}

#[tokio::test]
async fn a_hold_catches_only_what_fits_all_its_parts_and_stops_nobody_else() {
    let stage = Stage::new(Service::DynamoDb).await;
    let to_log = |call: &Call| call.request["TableName"] == "log";
    let mut hold = stage.endpoints.hold(puts().function("send").when(to_log), At::Request, 1);
    let put = stage.call("send-2", "PutItem", "log");
    let caught = hold.caught().await;
    assert_eq!(caught.call.caller.0, "send-2");
    let _second = stage.endpoints.hold(puts().function("send").when(to_log), At::Request, 1);
    for (caller, operation, table) in [("fan_out-1", "PutItem", "log"), ("send-1", "Query", "log"), ("send-1", "PutItem", "users")] {
        answered(stage.call(caller, operation, table)).await;
    }
    let other = testing::serve_behind(&stage.endpoints, Service::Sqs, stage.counter.router()).await;
    send(other, aws_json("send-1", "AmazonSQS.PutItem", &json!({ "TableName": "log" }))).await.expect("an answer");
    assert_eq!(stage.effects(), 4);
    caught.release();
    answered(put).await;
}

#[tokio::test]
async fn a_dropped_hold_releases_what_it_caught_and_catches_nothing_more() {
    let stage = Stage::new(Service::DynamoDb).await;
    let mut hold = stage.endpoints.hold(puts(), At::Request, 9);
    let (first, second) = (stage.put(), stage.put());
    let caught = hold.caught().await;
    drop(hold);
    answered(stage.put()).await;
    caught.release();
    answered(first).await;
    answered(second).await;
}

#[tokio::test]
async fn a_request_takes_effect_also_if_its_caller_has_hung_up() {
    let stage = Stage::new(Service::DynamoDb).await;
    let recording = stage.endpoints.record();
    let mut hold = stage.endpoints.hold(puts(), At::Request, 1);
    let put = stage.put();
    let caught = hold.caught().await;
    put.abort();
    assert!(put.await.expect_err("aborted").is_cancelled());
    caught.release();
    recording.until(|calls| calls.first().map(|_| ())).await;
    assert_eq!(stage.effects(), 1);
}

/// Says when it is dropped.
struct Gone(Arc<Notify>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// A router that never answers; the first notice comes when it was asked, the second when nobody waits any more.
fn never() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (asked, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let state = (Arc::clone(&asked), Arc::clone(&gone));
    let wait = async |State((asked, gone)): State<(Arc<Notify>, Arc<Notify>)>| {
        let _poll = Gone(gone);
        asked.notify_one();
        std::future::pending::<()>().await;
    };
    (Router::new().route("/{caller}/2018-06-01/runtime/invocation/next", get(wait)).with_state(state), asked, gone)
}

#[tokio::test]
async fn a_waiting_next_ends_with_its_connection() {
    let (router, asked, gone) = never();
    let address = testing::serve_behind(&Endpoints::new(), Service::Runtime, router).await;
    let poll = tokio::spawn(send(address, plain(Method::GET, NEXT)));
    asked.notified().await;
    poll.abort();
    gone.notified().await;
}

#[tokio::test]
async fn at_shutdown_waiting_callers_are_cut_off_and_the_port_is_free() {
    let (router, asked, _gone) = never();
    let (listener, address) = testing::port().await;
    let caller = tokio::spawn(send(address, plain(Method::GET, NEXT)));
    Endpoints::new().serve(Service::Runtime, listener, router, async move { asked.notified().await }).await;
    assert!(caller.await.expect("no panic").is_none());
    TcpListener::bind(address).await.expect("the port is free again");
}

#[tokio::test]
async fn a_request_that_is_too_long_and_an_endpoint_that_breaks_off_or_panics_close_the_connection() {
    let broken = async || Body::from_stream(stream::iter([Ok("begun"), Err(io::Error::other("broken"))])).into_response();
    let panicking = async || -> String { panic!("on purpose") };
    let (router, asked, _gone) = never();
    let router = router.route("/broken", any(broken)).route("/panicking", any(panicking));
    let address = testing::serve_behind(&Endpoints::new(), Service::Sqs, router).await;
    for (path, bytes) in [("/broken", 0), ("/panicking", 0), (NEXT, REQUEST_BYTES_MAX + 1)] {
        assert!(send(address, plain(Method::GET, path).map(|_| vec![b' '; bytes].into())).await.is_none(), "{path}");
    }
    assert!(asked.notified().now_or_never().is_none(), "what is too long reaches nobody");
}

/// A page can send what the SDK sends, and its browser asks before (`OPTIONS`).
#[tokio::test]
async fn a_web_page_gets_no_answer() {
    let endpoints = Endpoints::new();
    let dynamo = Dynamo::open(None).await.unwrap();
    let address = serve_behind(&endpoints, Service::DynamoDb, dynamo.router()).await;
    let calls = endpoints.record();
    for (name, value) in [("origin", "https://example.com"), ("origin", "null"), ("host", "rebound.example.com")] {
        for method in [Method::OPTIONS, Method::POST, Method::GET] {
            let mut request = aws_json("page", "DynamoDB_20120810.ListTables", &json!({}));
            *request.method_mut() = method;
            request.headers_mut().insert(name, value.parse().unwrap());
            let answer = send(address, request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{name}: {value}");
            assert!(!answer.headers().contains_key("access-control-allow-origin"));
        }
    }
    assert!(calls.calls().is_empty());
}
