//! From the upgrade request to an open socket or a status (docs/FIDELITY.md, "Handshake" and "Events").

use aws_lambda_events::apigw::{ApiGatewayCustomAuthorizerRequestTypeRequest, ApiGatewayWebsocketProxyRequest};
use chatlane_local::gateway::{Limits, Settings};
use chatlane_tests_support::{Socket, patiently};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::{ProtocolError, SubProtocolError};

use crate::stack::{Scene, allow, failed, settings, text, throttled};

#[tokio::test]
async fn a_handshake_waits_for_connect_and_posts_to_it_get_410_until_then() {
    let (scene, release) = Scene::new().held("connect", json!({"statusCode": 200}));
    let mut stack = scene.start().await;
    let connecting = tokio::spawn(Socket::open(stack.request("/dev")));
    let connection = stack.connection_id().await;
    assert_eq!(stack.post(&connection, "early").await, 410);
    assert!(!connecting.is_finished());
    release.notify_one();
    let _client = patiently("the handshake is answered", connecting).await.unwrap().unwrap();
    assert_eq!(stack.post(&connection, "now").await, 200);
}

#[tokio::test]
async fn a_denied_handshake_is_403_and_connect_is_not_called() {
    let scene = Scene::new().on("authorize", async |_| {
        let mut answer = allow(&Value::Null);
        answer["policyDocument"]["Statement"][0]["Effect"] = json!("Deny");
        Ok(answer)
    });
    let mut stack = scene.start().await;
    assert_eq!(stack.refused("/dev").await, 403);
    assert_eq!(stack.invoked_so_far(), ["authorize"]);
}

#[tokio::test]
async fn an_authorizer_that_fails_or_is_throttled_is_500() {
    for error in [failed(), throttled()] {
        let answer = error.clone();
        let stack = Scene::new().on("authorize", move |_| std::future::ready(Err(answer.clone()))).start().await;
        assert_eq!(stack.refused("/dev").await, 500, "{error}");
    }
}

#[tokio::test]
async fn an_authorizer_result_that_is_over_8_kb_or_malformed_is_500() {
    let large = json!({"padding": "p".repeat(8 * 1024)});
    for answer in [allow(&large), allow(&json!({"nested": {}})), json!({"isAuthorized": true})] {
        let stack = Scene::new().on("authorize", move |_| std::future::ready(Ok(answer.clone()))).start().await;
        assert_eq!(stack.refused("/dev").await, 500);
    }
}

#[tokio::test]
async fn a_connect_status_of_300_or_more_is_the_status_of_the_handshake() {
    for status in [300, 401, 503] {
        let stack = Scene::new().on("connect", move |_| std::future::ready(Ok(json!({"statusCode": status})))).start().await;
        assert_eq!(stack.refused("/dev").await, status);
    }
}

#[tokio::test]
async fn a_connect_that_fails_or_answers_no_proxy_shape_is_502_and_a_throttled_one_429() {
    let unprintable = json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "\n"}});
    for answer in [Value::Null, json!({"body": "x"}), json!({"statusCode": "ok"}), json!({"statusCode": 1000}), unprintable] {
        let stack = Scene::new().on("connect", move |_| std::future::ready(Ok(answer.clone()))).start().await;
        assert_eq!(stack.refused("/dev").await, 502);
    }
    for (error, status) in [(failed(), 502), (throttled(), 429)] {
        let stack = Scene::new().on("connect", move |_| std::future::ready(Err(error.clone()))).start().await;
        assert_eq!(stack.refused("/dev").await, status);
    }
    let stack = Scene::new().on("connect", async |_| panic!("as a crash of a fake would")).start().await;
    assert_eq!(stack.refused("/dev").await, 502);
}

#[tokio::test]
async fn connect_is_optional() {
    let mut stack = Scene::with(Settings::new("dev", "authorize", [("$default", "fallback")])).start().await;
    let mut client = stack.connect().await;
    client.send("x").await;
    assert_eq!(stack.invoked().await.0, "authorize");
    assert_eq!(stack.invoked().await.0, "fallback");
}

#[tokio::test]
async fn a_url_over_4096_characters_is_414_without_a_call() {
    let mut stack = Scene::new().start().await;
    let longest = format!("/dev?q={}", "x".repeat(4096 - "/dev?q=".len()));
    assert_eq!(stack.refused(&format!("{longest}x")).await, 414);
    assert!(stack.invoked_so_far().is_empty());
    Socket::open(stack.request(&longest)).await.unwrap();
}

#[tokio::test]
async fn a_subprotocol_is_echoed_only_if_connect_returns_it() {
    let returned = json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "chatlane.v1"}});
    let stack = Scene::new().on("connect", move |_| std::future::ready(Ok(returned.clone()))).start().await;
    let offer = stack.request("/dev").with_sub_protocol("chatlane.v1").with_sub_protocol("token.x");
    let (_client, response) = Socket::open(offer).await.unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "chatlane.v1");

    let silent = Scene::new().start().await;
    let offer = silent.request("/dev").with_sub_protocol("chatlane.v1");
    // A client that offered one and gets none gives up, as browsers do.
    let refused = Socket::open(offer).await.err().unwrap();
    assert!(matches!(refused, Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(SubProtocolError::NoSubProtocol))));
}

#[tokio::test]
async fn new_connections_over_the_rate_get_429_without_a_call() {
    let limits = Limits { new_connections_per_second: 0, new_connections_burst: 1, ..Limits::default() };
    let mut stack = Scene::with(Settings { limits, ..settings() }).start().await;
    let _client = stack.connect().await;
    assert_eq!(stack.refused("/dev").await, 429);
    assert_eq!(stack.invoked_so_far(), ["authorize", "connect"]);
}

#[tokio::test]
async fn another_stage_is_403_and_no_websocket_is_426() {
    let mut stack = Scene::new().start().await;
    assert_eq!(stack.refused("/prod").await, 403);
    let plain = stack.plain_get("/dev").await;
    assert_eq!((plain.status().as_u16(), plain.headers()["upgrade"].to_str().unwrap()), (426, "websocket"));
    assert!(stack.invoked_so_far().is_empty());
}

#[tokio::test]
async fn the_authorizer_event_has_the_captured_shape() {
    let mut stack = Scene::new().start().await;
    let request = stack.request("/dev?device=d%201&tag=a&tag=b").with_header("Authorization", "Bearer x");
    Socket::open(request).await.unwrap();
    let event = stack.event_of("authorize").await;
    assert_eq!(event["type"], "REQUEST");
    assert_eq!(event["requestContext"]["eventType"], "CONNECT");
    assert_eq!(event["requestContext"]["routeKey"], "$connect");
    assert!(event["requestContext"]["authorizer"].is_null());
    let parsed: ApiGatewayCustomAuthorizerRequestTypeRequest = serde_json::from_value(event).unwrap();
    assert_eq!(parsed.method_arn.unwrap(), "arn:aws:execute-api:us-east-1:000000000000:local/dev/$connect");
    assert_eq!(parsed.headers["authorization"], "Bearer x");
    assert_eq!(parsed.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(parsed.query_string_parameters.first("device"), Some("d 1"));
    assert_eq!(parsed.multi_value_query_string_parameters.all("tag"), Some(vec!["a", "b"]));
    assert_eq!(parsed.request_context.identity.unwrap().source_ip.unwrap(), "127.0.0.1");
}

#[tokio::test]
async fn a_connect_event_has_headers_and_queries_but_no_body() {
    let mut stack = Scene::new().start().await;
    let request = stack.request("/dev?device=d1&device=d2&plus=a+b&flag").with_header("User-Agent", "test/1").with_sub_protocol("a");
    // `connect` echoes no subprotocol, so this client gives up; the event is there all the same.
    let _refused = Socket::open(request).await;
    let event = stack.event_of("connect").await;
    assert_eq!((&event["headers"]["Sec-WebSocket-Protocol"], &event["headers"]["User-Agent"]), (&json!("a"), &json!("test/1")));
    assert_eq!(event["multiValueHeaders"]["Sec-WebSocket-Version"], json!(["13"]));
    assert!(event["headers"]["Connection"].is_null() && event["headers"]["Upgrade"].is_null());
    assert_eq!(event["queryStringParameters"], json!({"device": "d2", "plus": "a b", "flag": ""}));
    assert_eq!(event["multiValueQueryStringParameters"]["device"], json!(["d1", "d2"]));
    assert!(event["body"].is_null());
    let context = &event["requestContext"];
    assert_eq!(context["identity"], json!({"sourceIp": "127.0.0.1", "userAgent": "test/1"}));
    assert_eq!(context["authorizer"], json!({"principalId": "alice", "device": "d1"}));
    let connection = text(&context["connectionId"]);
    assert!(connection.len() == 16 && connection.ends_with('='), "{connection}");
    let parsed: ApiGatewayWebsocketProxyRequest = serde_json::from_value(event).unwrap();
    assert_eq!(parsed.request_context.event_type.as_deref(), Some("CONNECT"));
    assert_eq!(parsed.request_context.route_key.as_deref(), Some("$connect"));
    assert_eq!(parsed.request_context.stage.as_deref(), Some("dev"));
}

#[tokio::test]
async fn a_client_that_leaves_while_connect_runs_is_disconnected() {
    let (scene, release) = Scene::new().held("connect", json!({"statusCode": 200}));
    let mut stack = scene.start().await;
    let connecting = tokio::spawn(Socket::open(stack.request("/dev")));
    let connection = stack.connection_id().await;
    connecting.abort();
    assert!(connecting.await.unwrap_err().is_cancelled());
    release.notify_one();
    let event = stack.event_of("disconnect").await;
    assert_eq!(event["requestContext"]["connectionId"], connection);
    assert_eq!(event["requestContext"]["disconnectStatusCode"], 1006);
    assert_eq!(stack.closed().await.0, 1006);
    assert_eq!(stack.post(&connection, "late").await, 410);
}
