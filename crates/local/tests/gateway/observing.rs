//! The story that observers of the gateway are told.

use chatlane_local::gateway::{FrameSource, GatewayEvent, What};

use crate::stack::Scene;

#[tokio::test]
async fn one_connection_is_one_story() {
    let (mut stack, mut client, connection) = Scene::new().connected().await;
    let request = r#"{"action":"send","secret":1}"#;
    client.send(request).await;
    client.text().await;
    stack.post(&connection, "news").await;
    client.text().await;
    client.stream.close(None).await.unwrap();

    let expected = [
        What::Opened { device: Some("d1".to_owned()) },
        What::FrameIn { route: Some("send".to_owned()), text: request.to_owned() },
        What::FrameOut { text: request.to_owned(), source: FrameSource::Answer },
        What::FrameOut { text: "news".to_owned(), source: FrameSource::Post },
        What::Closed { code: 1005, reason: "Client-side close frame status not set".to_owned() },
    ];
    for what in expected {
        assert_eq!(stack.event().await, GatewayEvent { connection: connection.clone(), user: "alice".to_owned(), what });
    }
}
