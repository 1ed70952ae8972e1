//! Frames in, invocations, answers (docs/FIDELITY.md, "Events" and "Messages").

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use chatlane_local::gateway::{Limits, Reorder, Settings};
use chatlane_tests_support::patiently;
use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio_tungstenite::tungstenite::Message;

use crate::stack::{Scene, Stack, allow, failed, settings, text, throttled};

fn send(n: usize) -> String {
    json!({"action": "send", "n": n}).to_string()
}

#[tokio::test]
async fn the_action_selects_the_function_and_its_body_is_the_answer() {
    let mut stack = Scene::new().start().await;
    let mut client = stack.connect().await;
    client.send(send(1)).await;
    assert_eq!(client.text().await, send(1));
    assert_eq!(stack.event_of("send").await["requestContext"]["routeKey"], "send");
}

#[tokio::test]
async fn what_matches_no_route_goes_to_default_and_so_do_the_predefined_names() {
    let mut stack = Scene::new().start().await;
    let mut client = stack.connect().await;
    stack.event_of("connect").await;
    for frame in ["not json", r#"{"action":"dance"}"#, "{}", r#"{"action":"$connect"}"#, r#"{"action":"$disconnect"}"#] {
        client.send(frame).await;
        let (function, event) = stack.invoked().await;
        assert_eq!((function.as_str(), text(&event["body"]).as_str()), ("fallback", frame));
        assert_eq!(event["requestContext"]["routeKey"], "$default");
    }
}

#[tokio::test]
async fn without_a_default_route_the_client_gets_forbidden() {
    let routes = [("$connect", "connect"), ("send", "send")];
    let (mut stack, mut client, connection) = Scene::with(Settings::new("dev", "authorize", routes)).connected().await;
    client.send(r#"{"action":"$connect"}"#).await;
    let frame = client.json().await;
    assert_eq!((&frame["message"], &frame["connectionId"]), (&json!("Forbidden"), &json!(connection)));
    assert!(frame["requestId"].is_string());
    assert!(stack.invoked_so_far().is_empty());
}

#[tokio::test]
async fn an_answer_without_a_body_sends_nothing() {
    let scene = Scene::new()
        .on("hello", async |_| Ok(json!({"statusCode": 200, "body": ""})))
        .on("ping", async |_| Ok(json!({"statusCode": 200, "headers": {}, "multiValueHeaders": {}, "isBase64Encoded": false})));
    let mut stack = scene.start().await;
    let mut client = stack.connect().await;
    for action in ["hello", "ping"] {
        client.send(json!({"action": action}).to_string()).await;
        stack.event_of(action).await;
    }
    // The single-threaded runtime has finished both invocations before it starts this one.
    client.send(send(1)).await;
    assert_eq!(client.text().await, send(1));
}

#[tokio::test]
async fn a_failed_throttled_or_shapeless_answer_is_a_frame_that_says_so() {
    let scene = Scene::new().on("send", async |event| {
        let request: Value = serde_json::from_str(&text(&event["body"])).unwrap();
        match request["n"].as_u64().unwrap() {
            0 => Err(failed()),
            1 => Ok(Value::Null),
            2 => Ok(json!({"body": "no status"})),
            3 => Ok(json!({"statusCode": 200, "body": {"not": "text"}})),
            4 => Ok(json!({"statusCode": 200, "body": "x".repeat(128 * 1024 + 1)})),
            5 => panic!("as a crash would"),
            _ => Err(throttled()),
        }
    });
    let mut stack = scene.start().await;
    let mut client = stack.connect().await;
    let connection = stack.connection_id().await;
    for n in 0..7 {
        client.send(send(n)).await;
        let frame = client.json().await;
        assert_eq!(frame["message"], if n == 6 { "Too Many Requests" } else { "Internal server error" }, "case {n}");
        assert_eq!(frame["connectionId"], connection);
        assert_eq!(frame["requestId"], stack.event_of("send").await["requestContext"]["requestId"]);
    }
}

#[tokio::test]
async fn after_the_integration_timeout_the_answer_is_an_error_and_the_invocation_goes_on() {
    let (done, mut ran_to_the_end) = tokio::sync::mpsc::unbounded_channel();
    let release = Arc::new(tokio::sync::Notify::new());
    let held = release.clone();
    let limits = Limits { integration_timeout: Duration::from_millis(20), ..Limits::default() };
    let scene = Scene::with(Settings { limits, ..settings() }).on("send", move |_| {
        let (held, done) = (held.clone(), done.clone());
        async move {
            held.notified().await;
            done.send(()).unwrap();
            Ok(json!({"statusCode": 200, "body": "too late"}))
        }
    });
    let mut client = scene.start().await.connect().await;
    client.send(send(1)).await;
    assert_eq!(client.json().await["message"], "Internal server error");
    release.notify_one();
    patiently("it runs to the end", ran_to_the_end.recv()).await.unwrap();
}

#[tokio::test]
async fn frames_of_one_connection_run_concurrently() {
    // Each invocation waits for the other: one after the other would never end.
    let both = Arc::new(Barrier::new(2));
    let scene = Scene::new().on("send", move |_| {
        let both = both.clone();
        async move {
            both.wait().await;
            Ok(json!({"statusCode": 200, "body": "met"}))
        }
    });
    let mut client = scene.start().await.connect().await;
    client.send(send(1)).await;
    client.send(send(2)).await;
    assert_eq!((client.text().await, client.text().await), ("met".to_owned(), "met".to_owned()));
}

fn reordering(seed: u64) -> Settings {
    // Nothing but a full window lets frames go: the order depends on no timer.
    Settings { reorder: Reorder { seed, window: 4, quiet: Duration::from_hours(1) }, ..settings() }
}

async fn order_of_sixteen(seed: u64) -> Vec<u64> {
    let mut stack = Scene::with(reordering(seed)).start().await;
    let mut client = stack.connect().await;
    for n in 0..16 {
        client.stream.feed(Message::text(send(n))).await.unwrap();
    }
    client.stream.flush().await.unwrap();
    let mut order = Vec::new();
    for _ in 0..16 {
        let body: Value = serde_json::from_str(&text(&stack.event_of("send").await["body"])).unwrap();
        order.push(body["n"].as_u64().unwrap());
    }
    order
}

#[tokio::test]
async fn under_a_seed_close_frames_are_dispatched_in_another_repeatable_order() {
    let order = order_of_sixteen(1).await;
    assert_eq!(order, order_of_sixteen(1).await);
    assert_ne!(order, (0..16).collect::<Vec<_>>());
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..16).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_held_frame_goes_when_no_other_follows() {
    let mut stack = Scene::with(Settings { reorder: Reorder::seeded(1), ..settings() }).start().await;
    let mut client = stack.connect().await;
    client.send(send(1)).await;
    assert_eq!(text(&stack.event_of("send").await["body"]), send(1));
    assert_eq!(client.text().await, send(1));
}

/// Sends one frame, closes, and answers the two functions in the order in which they were invoked.
async fn last_two_invocations(mut stack: Stack) -> [String; 2] {
    let mut client = stack.connect().await;
    stack.event_of("connect").await;
    client.send(send(1)).await;
    client.stream.close(None).await.unwrap();
    [stack.invoked().await.0, stack.invoked().await.0]
}

#[tokio::test]
async fn under_some_seeds_a_message_comes_after_disconnect() {
    let (mut before, mut after) = (0, 0);
    for seed in 0..16 {
        match last_two_invocations(Scene::with(reordering(seed)).start().await).await.each_ref().map(String::as_str) {
            ["send", "disconnect"] => before += 1,
            ["disconnect", "send"] => after += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(before > 0 && after > 0, "{before} before, {after} after");
}

#[tokio::test]
async fn a_message_event_has_a_message_id_and_no_headers() {
    let mut stack = Scene::new().start().await;
    let mut client = stack.connect().await;
    let connected_at = stack.event_of("connect").await["requestContext"]["connectedAt"].clone();
    client.send(send(1)).await;
    let event = stack.event_of("send").await;
    assert!(event.get("headers").is_none() && event.get("multiValueHeaders").is_none());
    assert!(event.get("queryStringParameters").is_none());
    assert_eq!(event["isBase64Encoded"], false);
    assert!(event["requestContext"]["requestTimeEpoch"].as_u64() >= connected_at.as_u64());
    let parsed: ApiGatewayWebsocketProxyRequest = serde_json::from_value(event).unwrap();
    assert_eq!(parsed.body.unwrap(), send(1));
    let context = parsed.request_context;
    assert_eq!((context.event_type.as_deref(), context.message_direction.as_deref()), (Some("MESSAGE"), Some("IN")));
    assert!(context.message_id.is_some_and(|id| id.ends_with('=')));
}

#[tokio::test]
async fn every_event_repeats_the_authorizers_context_as_strings_and_the_time_of_the_connect() {
    let context = json!({"device": "d1", "exp": 1_893_456_000, "admin": false});
    let scene = Scene::new().on("authorize", move |_| std::future::ready(Ok(allow(&context))));
    let mut stack = scene.start().await;
    let mut client = stack.connect().await;
    client.send(send(1)).await;
    client.text().await;
    client.stream.close(None).await.unwrap();
    let replayed = json!({"principalId": "alice", "device": "d1", "exp": "1893456000", "admin": "false"});
    let mut connected_at = None;
    for function in ["connect", "send", "disconnect"] {
        let event = stack.event_of(function).await;
        // This client's URL had none.
        assert!(event.get("queryStringParameters").is_none() && event.get("multiValueQueryStringParameters").is_none());
        let of_this = event["requestContext"]["connectedAt"].as_u64().expect("a time");
        assert_eq!(*connected_at.get_or_insert(of_this), of_this, "{function}");
        assert_eq!(event["requestContext"]["authorizer"], replayed, "{function}");
        let parsed: ApiGatewayWebsocketProxyRequest = serde_json::from_value(event).unwrap();
        assert_eq!(parsed.request_context.authorizer.fields["principalId"], "alice");
    }
}
