//! One socket: how it is opened, what is read of it, how it ends.

use chatlane_client::socket::{self, OpenError, close_frame, drive};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::Message;

use crate::server::{Peer, Server, TOKEN, device, soon};

/// A socket that is driven.
struct Driven {
    outgoing: UnboundedSender<Message>,
    /// The texts; ends with the socket.
    arrived: UnboundedReceiver<String>,
}

async fn driven() -> (Driven, Peer) {
    let server = Server::start().await;
    let (opened, peer) = tokio::join!(socket::open(&server.url, device(), TOKEN), server.accept());
    let (outgoing, queue) = unbounded_channel();
    let (arriving, arrived) = unbounded_channel();
    let ending = arriving.clone();
    tokio::spawn(drive(opened.unwrap(), queue, move |text| arriving.send(text.to_owned()).unwrap(), move || drop(ending)));
    (Driven { outgoing, arrived }, peer)
}

impl Driven {
    async fn has_ended(&mut self) -> bool {
        soon(self.arrived.recv()).await.is_none()
    }
}

#[tokio::test]
async fn the_handshake_names_device_protocol_and_token() {
    let (_driven, peer) = driven().await;
    assert_eq!(peer.path, format!("/dev?device={}", device()));
    assert_eq!(peer.offered, format!("chatlane.v1, token.{TOKEN}"));
}

#[tokio::test]
async fn a_query_of_the_url_is_kept() {
    let server = Server::start().await;
    let url = format!("{}?a=b", server.url);
    let (_connection, peer) = tokio::join!(socket::open(&url, device(), TOKEN), server.accept());
    assert_eq!(peer.path, format!("/dev?a=b&device={}", device()));
}

#[tokio::test]
async fn texts_come_and_go_in_their_order_and_other_frames_are_ignored() {
    let (mut driven, mut peer) = driven().await;
    driven.outgoing.send(Message::text("{not JSON")).unwrap();
    assert_eq!(peer.text().await.unwrap(), "{not JSON");
    for frame in [Message::text("one"), Message::binary(vec![1]), Message::Ping(vec![2].into()), Message::text("two")] {
        futures_util::SinkExt::send(&mut peer.socket, frame).await.unwrap();
    }
    assert_eq!((soon(driven.arrived.recv()).await.as_deref(), soon(driven.arrived.recv()).await.as_deref()), (Some("one"), Some("two")));
}

#[tokio::test]
async fn it_ends_with_a_close_frame_with_or_without_a_code_and_without_any() {
    let (mut driven, mut peer) = self::driven().await;
    peer.close(1001, "Going away").await;
    assert!(driven.has_ended().await);
    // The reply was sent.
    assert_eq!(peer.text().await, None);

    let (mut driven, mut peer) = self::driven().await;
    peer.socket.close(None).await.unwrap();
    assert!(driven.has_ended().await);

    let (mut driven, peer) = self::driven().await;
    drop(peer);
    assert!(driven.has_ended().await);
}

#[tokio::test]
async fn it_says_goodbye_and_waits_for_the_answer_not_for_ever() {
    let (mut driven, mut peer) = self::driven().await;
    driven.outgoing.send(close_frame()).unwrap();
    assert_eq!(peer.text().await, None);
    assert!(driven.has_ended().await);

    let (mut driven, _silent) = self::driven().await;
    driven.outgoing.send(close_frame()).unwrap();
    assert!(driven.has_ended().await);
}

#[tokio::test]
async fn a_frame_larger_than_the_gateway_can_send_ends_it() {
    let (mut driven, mut peer) = driven().await;
    peer.say(json!({"type": "x".repeat(129 * 1024)})).await;
    assert!(driven.has_ended().await);
}

#[tokio::test]
async fn a_refused_handshake_tells_its_status() {
    let server = Server::start().await;
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 23\r\n\r\n{\"message\":\"Forbidden\"}";
    let (opened, ()) = tokio::join!(socket::open(&server.url, device(), TOKEN), server.answer_raw(refusal));
    assert!(matches!(opened, Err(OpenError::Refused { status: 403 })), "{opened:?}");
}

#[tokio::test]
async fn a_server_that_does_not_choose_the_protocol_is_not_talked_to() {
    for subprotocol in ["", &format!("token.{TOKEN}"), "graphql-ws"] {
        let server = Server::start().await;
        let (opened, _accepted) = tokio::join!(socket::open(&server.url, device(), TOKEN), server.accept_choosing(subprotocol));
        assert!(matches!(opened, Err(OpenError::NoSubprotocol)), "{subprotocol}: {opened:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_distinguished() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let opened = socket::open(&format!("ws://{free}/dev"), device(), TOKEN).await;
    assert!(matches!(opened, Err(OpenError::Unreachable { .. })), "{opened:?}");

    let server = Server::start().await;
    let (opened, ()) = tokio::join!(socket::open(&server.url, device(), TOKEN), server.answer_raw("220 smtp ready\r\n"));
    assert!(matches!(opened, Err(OpenError::NoWebSocket(_))), "{opened:?}");
}

#[tokio::test]
async fn a_bad_url_or_token_is_refused_before_anything_is_sent() {
    for url in ["", "not a url", "http//x", "/dev", "http://127.0.0.1/dev"] {
        let opened = socket::open(url, device(), TOKEN).await;
        assert!(matches!(opened, Err(OpenError::BadUrl { .. })), "{url}: {opened:?}");
    }
    let opened = socket::open("ws://127.0.0.1:1/dev", device(), "a\nb").await;
    assert!(matches!(opened, Err(OpenError::BadToken)), "{opened:?}");
    assert!(!opened.unwrap_err().to_string().contains("a\nb"));
}
