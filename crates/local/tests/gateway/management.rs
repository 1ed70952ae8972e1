//! `@connections` (docs/FIDELITY.md).

use chatlane_local::gateway::{Limits, Settings, What};
use chatlane_tests_support::{Closed, Socket};
use serde_json::json;

use crate::stack::{Scene, settings};

#[tokio::test]
async fn a_post_arrives_as_one_text_message_however_its_path_is_encoded() {
    let (stack, mut client, connection) = Scene::new().connected().await;
    let encoded = connection.replace('=', "%3D");
    for path in [format!("@connections/{connection}"), format!("@connections/{encoded}"), format!("%40connections/{encoded}")] {
        let answer = stack.management_at("POST", &format!("/dev/{path}"), "grüße").await;
        assert_eq!((answer.status, answer.error_type), (200, None), "{path}");
        assert_eq!(client.text().await, "grüße");
    }
}

#[tokio::test]
async fn an_unknown_or_closed_connection_is_gone_for_every_method() {
    let mut stack = Scene::new().start().await;
    drop(stack.connect().await);
    let closed = stack.connection_id().await;
    stack.closed().await;
    for connection in ["L0SM9cOFvHcCIhw=", closed.as_str()] {
        for method in ["POST", "GET", "DELETE"] {
            assert_eq!(stack.management(method, connection, "").await.error(), (410, "GoneException"), "{method}");
        }
    }
}

#[tokio::test]
async fn a_post_over_128_kb_is_413_and_one_of_128_kb_arrives() {
    let (stack, mut client, connection) = Scene::new().connected().await;
    let largest = "x".repeat(128 * 1024);
    let refused = stack.management("POST", &connection, format!("{largest}x")).await;
    assert_eq!(refused.error(), (413, "PayloadTooLargeException"));
    assert_eq!(stack.post(&connection, &largest).await, 200);
    assert_eq!(client.text().await, largest);
}

#[tokio::test]
async fn a_client_that_does_not_read_fills_its_buffer_and_posts_get_429() {
    let limits = Limits { outgoing_messages_max: 2, ..Limits::default() };
    let (stack, mut client, connection) = Scene::with(Settings { limits, ..settings() }).connected().await;
    let large = "x".repeat(128 * 1024);
    // TCP's own buffers on both sides take some megabytes first.
    let mut accepted = 0;
    let refused = loop {
        let answer = stack.management("POST", &connection, large.clone()).await;
        if answer.status != 200 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 1000, "the buffer has no bound");
    };
    assert_eq!(refused.error(), (429, "LimitExceededException"));
    for _ in 0..accepted {
        assert_eq!(client.text().await.len(), large.len());
    }
    assert_eq!(stack.post(&connection, "room again").await, 200);
    assert_eq!(client.text().await, "room again");
}

#[tokio::test]
async fn get_shows_the_connection_in_lower_camel_case() {
    let mut stack = Scene::new().start().await;
    let request = stack.request("/dev").with_header("User-Agent", "test/1");
    let (mut client, _) = Socket::open(request).await.unwrap();
    let connection = stack.connection_id().await;
    let shown = stack.management("GET", &connection, "").await;
    assert_eq!(shown.status, 200);
    assert_eq!(shown.body["identity"], json!({"sourceIp": "127.0.0.1", "userAgent": "test/1"}));
    let connected_at = shown.body["connectedAt"].as_str().unwrap().to_owned();
    assert_eq!(shown.body["lastActiveAt"].as_str().unwrap(), connected_at);
    assert!(connected_at.len() == "2022-02-22T19:07:37.902Z".len() && connected_at.ends_with('Z'), "{connected_at}");
    // Messages in either direction move `lastActiveAt`; ISO times of one form compare as text.
    loop {
        client.send(r#"{"action":"send"}"#).await;
        client.text().await;
        let later = stack.management("GET", &connection, "").await;
        assert_eq!(later.body["connectedAt"].as_str().unwrap(), connected_at);
        if later.body["lastActiveAt"].as_str().unwrap() > connected_at.as_str() {
            break;
        }
    }
}

#[tokio::test]
async fn delete_closes_normally_after_what_was_posted_before() {
    let (mut stack, mut client, connection) = Scene::new().connected().await;
    assert_eq!(stack.post(&connection, "goaway").await, 200);
    assert_eq!(stack.management("DELETE", &connection, "").await.status, 204);
    assert_eq!(stack.post(&connection, "late").await, 410);
    assert_eq!(client.text().await, "goaway");
    assert_eq!(client.close_frame().await, Closed { code: 1000, reason: "Connection Closed Normally".to_owned() });
    let context = stack.event_of("disconnect").await["requestContext"].clone();
    assert_eq!(context["disconnectStatusCode"], 1000);
    assert_eq!(context["disconnectReason"], "Connection Closed Normally");
}

#[tokio::test]
async fn another_stage_is_forbidden_and_text_has_to_be_utf_8() {
    let (stack, _client, connection) = Scene::new().connected().await;
    for method in ["POST", "GET", "DELETE"] {
        let refused = stack.management_at(method, &format!("/prod/@connections/{connection}"), "x").await;
        assert_eq!(refused.error(), (403, "ForbiddenException"), "{method}");
    }
    let refused = stack.management("POST", &connection, vec![0xff_u8]).await;
    assert_eq!(refused.error(), (400, "BadRequestException"));
}

#[tokio::test]
async fn posts_to_one_connection_keep_their_order() {
    let (mut stack, mut client, connection) = Scene::new().connected().await;
    for n in 0..20 {
        assert_eq!(stack.post(&connection, &n.to_string()).await, 200);
    }
    for n in 0..20 {
        assert_eq!(client.text().await, n.to_string());
    }
    let posted = std::iter::from_fn(|| stack.events.try_recv().ok()).filter(|event| matches!(event.what, What::FrameOut { .. }));
    assert_eq!(posted.count(), 20);
}
