//! The close handshake, `$disconnect` and its best effort, stopping (docs/FIDELITY.md, "Closing").

use std::time::Duration;

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use chatlane_local::gateway::{Limits, LostDisconnects, Settings, What};
use chatlane_tests_support::{Closed, patiently};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::stack::{Scene, failed, settings};

#[tokio::test]
async fn a_clients_close_is_answered_and_disconnect_has_its_code_and_reason() {
    let (mut stack, mut client, connection) = Scene::new().connected().await;
    client.stream.close(Some(CloseFrame { code: CloseCode::Library(4001), reason: "bye".into() })).await.unwrap();
    assert_eq!(client.close_frame().await, Closed { code: 4001, reason: "bye".to_owned() });
    let event = stack.event_of("disconnect").await;
    assert_eq!(event["requestContext"]["connectionId"], connection);
    assert!(event.get("body").is_none());
    let parsed: ApiGatewayWebsocketProxyRequest = serde_json::from_value(event).unwrap();
    let context = parsed.request_context;
    assert_eq!((context.event_type.as_deref(), context.route_key.as_deref()), (Some("DISCONNECT"), Some("$disconnect")));
    assert_eq!((context.disconnect_status_code, context.disconnect_reason.as_deref()), (Some(4001), Some("bye")));
    assert_eq!(parsed.headers["x-api-key"], "");
    assert_eq!(stack.post(&connection, "late").await, 410);
}

#[tokio::test]
async fn a_close_without_a_code_is_reported_as_1005_and_a_lost_connection_as_1006() {
    for (closes, code, reason) in [(true, 1005, "Client-side close frame status not set"), (false, 1006, "Connection closed abnormally")] {
        let (mut stack, mut client, _connection) = Scene::new().connected().await;
        if closes {
            client.stream.close(None).await.unwrap();
        }
        drop(client);
        let context = stack.event_of("disconnect").await["requestContext"].clone();
        assert_eq!((&context["disconnectStatusCode"], &context["disconnectReason"]), (&json!(code), &json!(reason)));
    }
}

#[tokio::test]
async fn a_reset_connection_is_reported_as_1006() {
    let (mut stack, mut client, connection) = Scene::new().connected().await;
    // One message stays unread when the client drops its socket: TCP resets the connection.
    assert_eq!(stack.post(&connection, "unread").await, 200);
    client.readable().await;
    drop(client);
    assert_eq!(stack.closed().await.0, 1006);
}

#[tokio::test]
async fn an_answer_to_a_closed_connection_is_dropped() {
    let (scene, release) = Scene::new().held("hello", json!({"statusCode": 200, "body": "for nobody"}));
    let mut stack = scene.start().await;
    let mut client = stack.connect().await;
    client.send(r#"{"action":"hello"}"#).await;
    stack.event_of("hello").await;
    drop(client);
    stack.closed().await;
    release.notify_one();
    let mut next = stack.connect().await;
    next.send(r#"{"action":"send"}"#).await;
    next.text().await;
    let texts = std::iter::from_fn(|| stack.events.try_recv().ok()).filter_map(|event| match event.what {
        What::FrameOut { text, .. } => Some(text),
        _ => None,
    });
    assert_eq!(texts.collect::<Vec<_>>(), [r#"{"action":"send"}"#]);
}

#[tokio::test]
async fn a_client_that_does_not_answer_the_close_is_dropped() {
    let limits = Limits { life: Duration::from_millis(10), close_wait: Duration::from_millis(10), ..Limits::default() };
    let mut stack = Scene::with(Settings { limits, ..settings() }).start().await;
    // It never reads, so it never sees the close frame.
    let _client = stack.connect().await;
    assert_eq!(stack.closed().await.0, 1001);
}

#[tokio::test]
async fn a_failing_disconnect_is_nobodys_business() {
    let scene = Scene::new().on("disconnect", async |_| Err(failed()));
    let mut stack = scene.start().await;
    drop(stack.connect().await);
    stack.event_of("disconnect").await;
    let mut next = stack.connect().await;
    next.send("x").await;
    stack.event_of("fallback").await;
}

/// The ordinals of the connections, of ten closed one after the other, whose `$disconnect` was delivered.
async fn delivered(share: f64, seed: u64) -> Vec<usize> {
    let mut stack = Scene::with(Settings { lost_disconnects: Some(LostDisconnects { share, seed }), ..settings() }).start().await;
    for _ in 0..10 {
        drop(stack.connect().await);
        stack.closed().await;
    }
    // Returns when every session has ended, its `$disconnect` included.
    patiently("the gateway stops", stack.gateway.stop()).await;
    let connection = |event: &Value| event["requestContext"]["connectionId"].clone();
    let invocations = stack.invocations_so_far();
    let of =
        |function: &'static str| invocations.iter().filter(move |(invoked, _)| invoked == function).map(|(_, event)| connection(event));
    let disconnected: Vec<Value> = of("disconnect").collect();
    of("connect").enumerate().filter(|(_, opened)| disconnected.contains(opened)).map(|(ordinal, _)| ordinal).collect()
}

#[tokio::test]
async fn a_seeded_share_of_disconnects_is_lost() {
    assert_eq!(delivered(0.0, 1).await.len(), 10);
    assert_eq!(delivered(1.0, 1).await.len(), 0);
    let some = delivered(0.5, 1).await;
    assert!((1..10).contains(&some.len()), "{some:?}");
    assert_eq!(some, delivered(0.5, 1).await);
}

#[tokio::test]
async fn stop_closes_every_socket_with_1001_and_tries_each_disconnect() {
    let mut stack = Scene::new().start().await;
    let mut clients = [stack.connect().await, stack.connect().await];
    let reading = tokio::spawn(async move { (clients[0].close_frame().await.code, clients[1].close_frame().await.code) });
    patiently("the gateway stops", stack.gateway.stop()).await;
    assert_eq!(reading.await.unwrap(), (1001, 1001));
    let disconnects = stack.invoked_so_far().into_iter().filter(|function| function == "disconnect").count();
    assert_eq!(disconnects, 2);
    assert_eq!(stack.refused("/dev").await, 503);
}

#[tokio::test]
async fn frames_that_follow_the_gateways_close_are_dropped() {
    let (mut stack, mut client, connection) = Scene::new().connected().await;
    assert_eq!(stack.management("DELETE", &connection, "").await.status, 204);
    // The close frame has arrived and is not read yet.
    client.readable().await;
    client.send("too late").await;
    assert_eq!(client.close_frame().await.code, 1000);
    assert_eq!(stack.invoked().await.0, "disconnect");
    let mut events = std::iter::from_fn(|| stack.events.try_recv().ok());
    assert!(!events.any(|event| matches!(event.what, What::FrameIn { .. })));
}
