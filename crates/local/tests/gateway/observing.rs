//! The story that observers of the gateway are told.

use chatlane_local::gateway::{FrameSource, GatewayEvent};
use chatlane_tests_support::Socket;
use serde_json::{Value, json};

use crate::stack::{Scene, allow};

#[tokio::test]
async fn one_connection_is_one_story() {
    let (mut stack, mut client, connection) = Scene::new().connected().await;
    let request = r#"{"action":"send","secret":1}"#;
    client.send(request).await;
    client.text().await;
    stack.post(&connection, "news").await;
    client.text().await;
    client.stream.close(None).await.unwrap();

    let (user, connection) = ("alice".to_owned(), connection.clone());
    let expected = [
        GatewayEvent::Opened { connection: connection.clone(), user: user.clone(), device: Some("d1".to_owned()) },
        GatewayEvent::FrameIn {
            connection: connection.clone(),
            user: user.clone(),
            route: Some("send".to_owned()),
            text_bytes: request.len(),
            text: request.to_owned(),
        },
        GatewayEvent::FrameOut {
            connection: connection.clone(),
            user: user.clone(),
            text: request.to_owned(),
            source: FrameSource::Answer,
        },
        GatewayEvent::FrameOut { connection: connection.clone(), user: user.clone(), text: "news".to_owned(), source: FrameSource::Post },
        GatewayEvent::Closed { connection, user, code: 1005, reason: "Client-side close frame status not set".to_owned() },
    ];
    for event in expected {
        assert_eq!(stack.event().await, event);
    }
}

#[tokio::test]
async fn the_device_is_the_query_parameter_if_the_context_has_none() {
    let scene = Scene::new().on("authorize", async |_| Ok(allow(&Value::Null)));
    let mut stack = scene.start().await;
    Socket::open(stack.request("/dev?device=d7")).await.unwrap();
    let GatewayEvent::Opened { device, .. } = stack.event().await else { panic!("opened first") };
    assert_eq!(device.as_deref(), Some("d7"));
    assert_eq!(stack.event_of("connect").await["requestContext"]["authorizer"], json!({"principalId": "alice"}));
}
