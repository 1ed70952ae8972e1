use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use futures_util::stream;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::embedded::Held;
use crate::embedded::wire::{self, Connection, aws_json, send, signature};

/// An endpoint that counts what took effect and answers the number.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

impl Counter {
    fn router(&self) -> Router {
        let count = async |State(Counter(count)): State<Counter>| json!({ "n": count.fetch_add(1, Ordering::SeqCst) + 1 }).to_string();
        Router::new().fallback(count).with_state(self.clone())
    }

    fn effects(&self) -> usize {
        self.0.load(Ordering::SeqCst)
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
        let (endpoints, counter) = (Endpoints::new(), Counter::default());
        let address = wire::serve(&endpoints, service, counter.router()).await;
        Self { endpoints, counter, address }
    }

    /// A put of `send-1`, whose answer the test waits for when it wants to.
    fn put(&self) -> JoinHandle<Option<Response<Bytes>>> {
        self.call("send-1", "PutItem", &json!({ "TableName": "log" }))
    }

    fn call(&self, caller: &str, operation: &str, body: &Value) -> JoinHandle<Option<Response<Bytes>>> {
        let request = aws_json(caller, &format!("DynamoDB_20120810.{operation}"), body);
        tokio::spawn(send(self.address, request))
    }
}

fn puts() -> Matching {
    Matching::service(Service::DynamoDb).operation("PutItem")
}

/// What one request is recorded as.
async fn recorded(service: Service, request: Request<Bytes>) -> Call {
    let stage = Stage::new(service).await;
    let recording = stage.endpoints.record();
    send(stage.address, request).await.expect("an answer");
    recording.take().remove(0)
}

fn plain(method: Method, path: &str) -> Request<Bytes> {
    Request::builder().method(method).uri(path).header("host", "localhost").body(Bytes::new()).expect("a valid request")
}

#[tokio::test]
async fn the_caller_is_the_access_key_id_of_the_signature() {
    let call = recorded(Service::DynamoDb, aws_json("fan_out-12", "DynamoDB_20120810.Query", &json!({}))).await;
    assert_eq!(call.caller, Caller("fan_out-12".to_owned()));
    assert_eq!(call.caller.function(), "fan_out");
    assert_eq!(call.caller.to_string(), "fan_out-12");
}

#[tokio::test]
async fn who_does_not_sign_is_anonymous() {
    let call = recorded(Service::Sqs, plain(Method::POST, "/")).await;
    assert_eq!((call.caller.function(), call.operation.as_str()), ("anonymous", "Unknown"));
}

#[tokio::test]
async fn the_runtime_api_is_told_its_caller_in_the_path() {
    let call = recorded(Service::Runtime, plain(Method::GET, "/hello-2/2018-06-01/runtime/invocation/next")).await;
    assert_eq!(call.caller, Caller("hello-2".to_owned()));
}

#[tokio::test]
async fn operations_have_the_names_of_their_service() {
    for (service, method, path, name) in [
        (Service::Connections, Method::POST, "/dev/@connections/a", "PostToConnection"),
        (Service::Connections, Method::GET, "/dev/@connections/a", "GetConnection"),
        (Service::Connections, Method::DELETE, "/dev/@connections/a", "DeleteConnection"),
        (Service::Connections, Method::PUT, "/dev/@connections/a", "Unknown"),
        (Service::Runtime, Method::GET, "/send-1/2018-06-01/runtime/invocation/next", "Next"),
        (Service::Runtime, Method::POST, "/send-1/2018-06-01/runtime/invocation/8/response", "Response"),
        (Service::Runtime, Method::POST, "/send-1/2018-06-01/runtime/invocation/8/error", "Error"),
        (Service::Runtime, Method::POST, "/send-1/2018-06-01/runtime/init/error", "InitError"),
        (Service::Runtime, Method::GET, "/send-1/other", "Unknown"),
    ] {
        assert_eq!(recorded(service, plain(method, path)).await.operation, name, "{path}");
    }
    assert_eq!(recorded(Service::Sqs, aws_json("a", "AmazonSQS.SendMessage", &json!({}))).await.operation, "SendMessage");
}

#[tokio::test]
async fn a_post_is_recorded_with_its_decoded_connection_and_its_text() {
    let mut request = plain(Method::POST, "/dev/@connections/L0SM9cOFvHcCIhw%3D").map(|_| Bytes::from("{\"a\":1}"));
    request.headers_mut().insert("authorization", signature("fan_out-1").parse().expect("a header"));
    let call = recorded(Service::Connections, request).await;
    assert_eq!(call.request, json!({ "ConnectionId": "L0SM9cOFvHcCIhw=", "Data": "{\"a\":1}" }));
}

#[tokio::test]
async fn a_call_has_request_and_answer_and_a_body_that_is_not_json_is_null() {
    let call = recorded(Service::DynamoDb, aws_json("send-1", "X.PutItem", &json!({ "TableName": "log" }))).await;
    assert_eq!((call.request, call.answer), (json!({ "TableName": "log" }), json!({ "n": 1 })));
    assert_eq!((call.service, call.status, call.fate), (Service::DynamoDb, 200, Fate::Answered));
    let call = recorded(Service::DynamoDb, plain(Method::POST, "/").map(|_| Bytes::from("{"))).await;
    assert_eq!(call.request, Value::Null);
}

#[tokio::test]
async fn a_recording_has_the_calls_that_finish_while_it_lives() {
    let stage = Stage::new(Service::DynamoDb).await;
    stage.put().await.expect("no panic");
    let recording = stage.endpoints.record();
    for _ in 0..2 {
        stage.put().await.expect("no panic");
    }
    assert_eq!(recording.calls().len(), 2);
    assert_eq!(recording.take().len(), 2);
    stage.put().await.expect("no panic");
    assert_eq!(recording.calls()[0].answer, json!({ "n": 4 }));
}

#[tokio::test]
async fn two_recordings_do_not_take_each_others_calls() {
    let stage = Stage::new(Service::DynamoDb).await;
    let (first, second) = (stage.endpoints.record(), stage.endpoints.record());
    stage.put().await.expect("no panic");
    assert_eq!((first.take().len(), second.take().len()), (1, 1));
}

#[tokio::test]
async fn a_recording_can_be_waited_for() {
    let stage = Stage::new(Service::DynamoDb).await;
    let recording = stage.endpoints.record();
    let third = recording.until(|calls| calls.get(2).map(|call| call.answer.clone()));
    let puts = async {
        for _ in 0..3 {
            stage.put().await.expect("no panic");
        }
    };
    assert_eq!(tokio::join!(third, puts).0, json!({ "n": 3 }));
}

#[tokio::test]
async fn nothing_is_kept_when_nobody_listens() {
    let stage = Stage::new(Service::DynamoDb).await;
    assert!(!stage.endpoints.listeners.any());
    let recording = stage.endpoints.record();
    assert!(stage.endpoints.listeners.any());
    drop(recording);
    assert!(!stage.endpoints.listeners.any());
}

#[tokio::test]
async fn an_observer_is_told_of_every_call() {
    let stage = Stage::new(Service::DynamoDb).await;
    let mut observer = stage.endpoints.observe();
    stage.put().await.expect("no panic");
    assert_eq!(observer.recv().await.expect("a call").operation, "PutItem");
}

#[tokio::test]
async fn the_units_of_an_answer_are_in_the_call() {
    let endpoints = Endpoints::new();
    let charged = async || (axum::Extension(Units { write: 2.0, read: 0.5 }), "{}");
    let address = wire::serve(&endpoints, Service::DynamoDb, Router::new().fallback(charged)).await;
    let recording = endpoints.record();
    send(address, aws_json("send-1", "X.PutItem", &json!({}))).await.expect("an answer");
    let call = recording.take().remove(0);
    assert_eq!(Units { write: call.write_units, read: call.read_units }, Units { write: 2.0, read: 0.5 });
}

#[tokio::test]
async fn with_latency_a_request_takes_effect_and_longer() {
    let (endpoints, counter) = (Endpoints::with_latency(Latency::Aws { seed: 1 }), Counter::default());
    let address = wire::serve(&endpoints, Service::DynamoDb, counter.router()).await;
    let recording = endpoints.record();
    send(address, aws_json("send-1", "X.PutItem", &json!({}))).await.expect("an answer");
    let call = recording.take().remove(0);
    assert_eq!((call.fate, call.answer, counter.effects()), (Fate::Answered, json!({ "n": 1 }), 1));
    assert!(call.took >= Duration::from_millis(3), "the shortest time of a write: {:?}", call.took);
}

#[tokio::test]
async fn a_request_held_at_the_request_takes_effect_when_it_is_released() {
    let stage = Stage::new(Service::DynamoDb).await;
    let recording = stage.endpoints.record();
    let mut hold = stage.endpoints.hold(puts(), At::Request, 1);
    let put = stage.put();
    let stopped = hold.caught().await;
    assert_eq!((stopped.call.caller.function(), stopped.call.status, stage.counter.effects()), ("send", 0, 0));
    stopped.release();
    assert_eq!(put.await.expect("no panic").expect("an answer").status(), 200);
    assert_eq!((stage.counter.effects(), recording.calls()[0].fate), (1, Fate::Answered));
}

#[tokio::test]
async fn a_request_held_at_the_answer_has_taken_effect_and_its_caller_waits() {
    let stage = Stage::new(Service::DynamoDb).await;
    let mut hold = stage.endpoints.hold(puts(), At::Answer, 1);
    let put = stage.put();
    let stopped = hold.caught().await;
    assert_eq!((stopped.call.status, stopped.call.answer.clone(), stage.counter.effects()), (200, json!({ "n": 1 }), 1));
    assert!(!put.is_finished());
    stopped.release();
    assert_eq!(put.await.expect("no panic").expect("an answer").body(), "{\"n\":1}");
}

#[tokio::test]
async fn a_lost_request_never_takes_effect_and_closes_the_connection() {
    let stage = Stage::new(Service::DynamoDb).await;
    let recording = stage.endpoints.record();
    let mut hold = stage.endpoints.hold(puts(), At::Request, 1);
    let put = stage.put();
    hold.caught().await.lose();
    assert!(put.await.expect("no panic").is_none());
    let call = recording.take().remove(0);
    assert_eq!((stage.counter.effects(), call.fate, call.status, call.answer), (0, Fate::RequestLost, 0, Value::Null));
}

#[tokio::test]
async fn a_lost_answer_took_effect_and_closes_the_connection() {
    let stage = Stage::new(Service::DynamoDb).await;
    let recording = stage.endpoints.record();
    let mut hold = stage.endpoints.hold(puts(), At::Answer, 1);
    let put = stage.put();
    hold.caught().await.lose();
    assert!(put.await.expect("no panic").is_none());
    let call = recording.take().remove(0);
    assert_eq!((stage.counter.effects(), call.fate, call.answer), (1, Fate::AnswerLost, json!({ "n": 1 })));
}

#[tokio::test]
async fn an_answer_at_the_request_refuses_it_without_effect() {
    let stage = Stage::new(Service::DynamoDb).await;
    let recording = stage.endpoints.record();
    let mut hold = stage.endpoints.hold(puts(), At::Request, 1);
    let put = stage.put();
    hold.caught().await.answer(Answer::error(StatusCode::BAD_REQUEST, "ThrottlingException", "slow down"));
    let answer = put.await.expect("no panic").expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.headers()["x-amzn-errortype"].as_bytes()), (400, &b"ThrottlingException"[..]));
    let call = recording.take().remove(0);
    assert_eq!(call.answer, json!({ "__type": "ThrottlingException", "message": "slow down" }));
    assert_eq!((stage.counter.effects(), call.fate, call.status), (0, Fate::Refused, 400));
}

#[tokio::test]
async fn an_answer_at_the_answer_replaces_it_after_the_effect() {
    let stage = Stage::new(Service::DynamoDb).await;
    let recording = stage.endpoints.record();
    let mut hold = stage.endpoints.hold(puts(), At::Answer, 1);
    let put = stage.put();
    hold.caught().await.answer(Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", ""));
    assert_eq!(put.await.expect("no panic").expect("an answer").status(), 500);
    assert_eq!((stage.counter.effects(), recording.calls()[0].fate), (1, Fate::Replaced));
}

#[tokio::test]
async fn a_hold_catches_as_many_as_it_was_told() {
    let stage = Stage::new(Service::DynamoDb).await;
    let mut hold = stage.endpoints.hold(puts(), At::Request, 2);
    let (first, second) = (stage.put(), stage.put());
    let stopped = [hold.caught().await, hold.caught().await];
    assert_eq!(stage.put().await.expect("no panic").expect("an answer").status(), 200);
    stopped.into_iter().for_each(Held::lose);
    assert!(first.await.expect("no panic").is_none() && second.await.expect("no panic").is_none());
    assert_eq!(stage.counter.effects(), 1);
}

#[tokio::test]
async fn a_hold_catches_only_what_fits_all_its_parts() {
    let stage = Stage::new(Service::DynamoDb).await;
    let to_log = |call: &Call| call.request["TableName"] == "log";
    let mut hold = stage.endpoints.hold(puts().function("send").when(to_log), At::Request, 1);
    for (caller, operation, table) in [("fan_out-1", "PutItem", "log"), ("send-1", "Query", "log"), ("send-1", "PutItem", "users")] {
        stage.call(caller, operation, &json!({ "TableName": table })).await.expect("no panic").expect("an answer");
    }
    let other = wire::serve(&stage.endpoints, Service::Sqs, stage.counter.router()).await;
    send(other, aws_json("send-1", "AmazonSQS.PutItem", &json!({ "TableName": "log" }))).await.expect("an answer");
    let caught = stage.call("send-2", "PutItem", &json!({ "TableName": "log" }));
    let stopped = hold.caught().await;
    assert_eq!((stopped.call.caller.0.as_str(), stage.counter.effects()), ("send-2", 4));
    stopped.release();
    caught.await.expect("no panic").expect("an answer");
}

#[tokio::test]
async fn one_held_caller_does_not_stop_another() {
    let stage = Stage::new(Service::DynamoDb).await;
    let mut hold = stage.endpoints.hold(puts().function("send"), At::Answer, 1);
    let put = stage.put();
    let stopped = hold.caught().await;
    stage.call("fan_out-1", "PutItem", &json!({})).await.expect("no panic").expect("an answer");
    stopped.release();
    put.await.expect("no panic").expect("an answer");
}

#[tokio::test]
async fn of_two_holds_that_fit_the_oldest_catches() {
    let stage = Stage::new(Service::DynamoDb).await;
    let mut oldest = stage.endpoints.hold(puts(), At::Request, 1);
    let mut newest = stage.endpoints.hold(puts(), At::Request, 1);
    let first = stage.put();
    oldest.caught().await.release();
    first.await.expect("no panic").expect("an answer");
    let second = stage.put();
    newest.caught().await.release();
    second.await.expect("no panic").expect("an answer");
}

#[tokio::test]
async fn a_dropped_held_request_goes_on() {
    let stage = Stage::new(Service::DynamoDb).await;
    let mut hold = stage.endpoints.hold(puts(), At::Request, 1);
    let put = stage.put();
    drop(hold.caught().await);
    assert_eq!(put.await.expect("no panic").expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_dropped_hold_releases_what_it_caught_and_catches_nothing_more() {
    let stage = Stage::new(Service::DynamoDb).await;
    let mut hold = stage.endpoints.hold(puts(), At::Request, 9);
    let (first, second) = (stage.put(), stage.put());
    let stopped = hold.caught().await;
    drop(hold);
    stage.put().await.expect("no panic").expect("an answer");
    stopped.release();
    first.await.expect("no panic").expect("an answer");
    second.await.expect("no panic").expect("an answer");
}

#[tokio::test]
async fn a_request_takes_effect_also_if_its_caller_has_hung_up() {
    let stage = Stage::new(Service::DynamoDb).await;
    let recording = stage.endpoints.record();
    let mut hold = stage.endpoints.hold(puts(), At::Request, 1);
    let put = stage.put();
    let stopped = hold.caught().await;
    put.abort();
    assert!(put.await.expect_err("aborted").is_cancelled());
    stopped.release();
    recording.until(|calls| calls.first().map(|_| ())).await;
    assert_eq!(stage.counter.effects(), 1);
}

/// Says when it is dropped.
struct Gone(Arc<Notify>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn a_waiting_next_ends_with_its_connection() {
    let (waiting, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let next = {
        let (waiting, gone) = (Arc::clone(&waiting), Arc::clone(&gone));
        async move || {
            let _poll = Gone(gone);
            waiting.notify_one();
            std::future::pending::<()>().await;
        }
    };
    let router = Router::new().route("/{caller}/2018-06-01/runtime/invocation/next", get(next));
    let address = wire::serve(&Endpoints::new(), Service::Runtime, router).await;
    let poll = tokio::spawn(send(address, plain(Method::GET, "/send-1/2018-06-01/runtime/invocation/next")));
    waiting.notified().await;
    poll.abort();
    gone.notified().await;
}

#[tokio::test]
async fn a_request_that_is_too_long_closes_the_connection_and_reaches_nobody() {
    let stage = Stage::new(Service::DynamoDb).await;
    let body = Bytes::from(vec![b' '; REQUEST_BYTES_MAX + 1]);
    assert!(send(stage.address, plain(Method::POST, "/").map(|_| body)).await.is_none());
    assert_eq!(stage.counter.effects(), 0);
}

#[tokio::test]
async fn an_endpoint_that_breaks_off_or_panics_closes_the_connection() {
    let broken = async || Body::from_stream(stream::iter([Ok("begun"), Err(io::Error::other("broken"))])).into_response();
    let panicking = async || -> String { panic!("on purpose") };
    let router = Router::new().route("/broken", any(broken)).route("/panicking", post(panicking));
    let address = wire::serve(&Endpoints::new(), Service::Sqs, router).await;
    for path in ["/broken", "/panicking"] {
        assert!(send(address, plain(Method::POST, path)).await.is_none(), "{path}");
    }
}

#[tokio::test]
async fn a_connection_is_used_for_many_requests() {
    let stage = Stage::new(Service::DynamoDb).await;
    let mut connection = Connection::open(stage.address).await;
    for _ in 0..3 {
        connection.send(plain(Method::POST, "/")).await.expect("an answer");
    }
    assert_eq!(stage.counter.effects(), 3);
}

#[tokio::test]
async fn at_shutdown_waiting_callers_are_cut_off_and_the_port_is_free() {
    let endpoints = Endpoints::default();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (arrived, stop) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let wait = {
        let arrived = Arc::clone(&arrived);
        async move || {
            arrived.notify_one();
            std::future::pending::<()>().await;
        }
    };
    let caller = tokio::spawn(send(address, plain(Method::GET, "/send-1/2018-06-01/runtime/invocation/next")));
    let shutdown = {
        let (arrived, stop) = (Arc::clone(&arrived), Arc::clone(&stop));
        async move {
            arrived.notified().await;
            stop.notify_one();
        }
    };
    endpoints.serve(Service::Runtime, listener, Router::new().fallback(wait), shutdown).await;
    stop.notified().await;
    assert!(caller.await.expect("no panic").is_none());
    TcpListener::bind(address).await.expect("the port is free again");
}
