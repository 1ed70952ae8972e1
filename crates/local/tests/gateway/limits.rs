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
async fn what_is_no_masked_text_closes_with_its_code_and_is_not_dispatched() {
    for (bytes, code) in [
        (&[0x82, 0x81, 0, 0, 0, 0, b'x'][..], 1003), // binary
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),     // text that is not UTF-8
        (&[0x81, 0x01, b'x'], 1002),                 // not masked
    ] {
        let (mut stack, mut client, _connection) = Scene::new().connected().await;
        client.stream.get_mut().write_all(bytes).await.unwrap();
        assert_eq!(client.close_frame().await.code, code);
        assert_eq!(stack.invoked().await.0, "disconnect");
    }
}

#[tokio::test]
async fn an_idle_connection_and_one_at_the_end_of_its_life_are_closed_1001() {
    let short = Duration::from_millis(30);
    for limits in [Limits { idle: short, ..Limits::default() }, Limits { life: short, ..Limits::default() }] {
        let mut stack = Scene::with(Settings { limits, ..settings() }).start().await;
        let mut client = stack.connect().await;
        assert_eq!(client.close_frame().await.code, 1001);
        assert_eq!(stack.event_of("disconnect").await["requestContext"]["disconnectStatusCode"], 1001);
    }
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
