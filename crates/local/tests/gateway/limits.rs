//! What closes a socket: sizes, kinds, times (docs/FIDELITY.md, "Limits").

use std::time::{Duration, Instant};

use chatlane_local::gateway::{Limits, Settings};
use chatlane_tests_support::Socket;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::stack::{Scene, settings};

const KB: usize = 1024;

fn frame(payload: Vec<u8>, kind: Data, last: bool) -> Message {
    Message::Frame(Frame::message(payload, OpCode::Data(kind), last))
}

/// One message of `bytes` in frames of at most 32 KB.
async fn send_in_frames(client: &mut Socket, bytes: usize) {
    let mut kind = Data::Text;
    let mut left = bytes;
    while left > 0 {
        let size = left.min(32 * KB);
        left -= size;
        client.send(frame(vec![b'x'; size], kind, left == 0)).await;
        kind = Data::Continue;
    }
}

#[tokio::test]
async fn a_frame_of_32_kb_passes_and_a_larger_one_closes_1009() {
    let mut stack = Scene::new().start().await;
    let mut client = stack.connect().await;
    client.send("x".repeat(32 * KB)).await;
    assert_eq!(stack.event_of("fallback").await["body"].as_str().unwrap().len(), 32 * KB);
    client.send("x".repeat(32 * KB + 1)).await;
    assert_eq!(client.close_frame().await.code, 1009);
    assert_eq!(stack.closed().await.0, 1009);
    assert_eq!(stack.event_of("disconnect").await["requestContext"]["disconnectStatusCode"], 1009);
}

#[tokio::test]
async fn a_message_of_128_kb_passes_in_frames_and_a_larger_one_closes_1009() {
    let mut stack = Scene::new().start().await;
    let mut client = stack.connect().await;
    send_in_frames(&mut client, 128 * KB).await;
    assert_eq!(stack.event_of("fallback").await["body"].as_str().unwrap().len(), 128 * KB);
    send_in_frames(&mut client, 128 * KB + 1).await;
    assert_eq!(client.close_frame().await.code, 1009);
}

#[tokio::test]
async fn a_binary_frame_closes_1003_and_is_not_dispatched() {
    let mut stack = Scene::new().start().await;
    let mut client = stack.connect().await;
    client.send(vec![1_u8, 2, 3]).await;
    assert_eq!(client.close_frame().await.code, 1003);
    stack.event_of("connect").await;
    assert_eq!(stack.invoked().await.0, "disconnect");
}

#[tokio::test]
async fn text_that_is_not_utf_8_closes_1007() {
    let stack = Scene::new().start().await;
    let mut client = stack.connect().await;
    client.send(frame(vec![b'{', 0xff, b'}'], Data::Text, true)).await;
    assert_eq!(client.close_frame().await.code, 1007);
}

#[tokio::test]
async fn an_unmasked_frame_closes_1002() {
    let stack = Scene::new().start().await;
    let mut client = stack.connect().await;
    client.stream.get_mut().write_all(&[0x81, 0x01, b'x']).await.unwrap();
    assert_eq!(client.close_frame().await.code, 1002);
}

#[tokio::test]
async fn an_idle_connection_is_closed_1001() {
    let limits = Limits { idle: Duration::from_millis(30), ..Limits::default() };
    let mut stack = Scene::with(Settings { limits, ..settings() }).start().await;
    let mut client = stack.connect().await;
    assert_eq!(client.close_frame().await.code, 1001);
    assert_eq!(stack.event_of("disconnect").await["requestContext"]["disconnectStatusCode"], 1001);
}

#[tokio::test]
async fn a_connection_at_the_end_of_its_life_is_closed_1001() {
    let limits = Limits { life: Duration::from_millis(30), ..Limits::default() };
    let mut client = Scene::with(Settings { limits, ..settings() }).start().await.connect().await;
    assert_eq!(client.close_frame().await.code, 1001);
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload_and_is_no_activity() {
    let (stack, mut client, connection) = Scene::new().connected().await;
    // Some milliseconds, so that activity would move `lastActiveAt`, which the idle timer follows.
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(5) {
        client.send(Message::Ping(b"are you there".as_slice().into())).await;
        assert_eq!(client.message().await, Message::Pong(b"are you there".as_slice().into()));
    }
    let shown = stack.management("GET", &connection, "").await.body;
    assert_eq!(shown["lastActiveAt"], shown["connectedAt"]);
}
