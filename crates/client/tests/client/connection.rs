//! Requests, answers, pushes and ends of one connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chatlane_client::connection::{Closed, Connection, OpenError, RequestError};
use chatlane_protocol::frames::{CursorOutcome, GoawayReason};
use chatlane_protocol::request::{Ping, PositionIn, SyncFrom};
use chatlane_protocol::{
    Body, ClientMessageId, ConversationId, ErrorCode, NewMessage, Outcome, Position, Request, RequestId, Seq, ServerFrame, Token, UserId,
};
use serde_json::json;
use tokio::net::TcpListener;

use crate::server::{Peer, Server, TOKEN, at, device, head, internal_server_error, row, soon, stored, welcome};

async fn connected() -> (Connection, Peer) {
    let server = Server::start().await;
    let (connection, peer) = tokio::join!(Connection::open(&server.url, device(), TOKEN), server.accept());
    (connection.unwrap(), peer)
}

/// Connects to a server that accepts with this subprotocol.
async fn opened_with(subprotocol: &str) -> Result<Connection, OpenError> {
    let server = Server::start().await;
    let (opened, _accepted) = tokio::join!(Connection::open(&server.url, device(), TOKEN), server.accept_choosing(subprotocol));
    opened
}

fn message(id: &str) -> NewMessage {
    let client_message_id = ClientMessageId::new(id).unwrap();
    NewMessage { client_message_id, anchor: Position::ZERO, body: Body::text("hi").unwrap() }
}

fn conversation() -> ConversationId {
    ConversationId::new("d1").unwrap()
}

#[tokio::test]
async fn the_handshake_names_device_protocol_and_token() {
    let (_connection, peer) = connected().await;
    assert_eq!(peer.path, format!("/dev?device={}", device()));
    assert_eq!(peer.offered, format!("chatlane.v1, token.{TOKEN}"));
}

#[tokio::test]
async fn a_query_of_the_url_is_kept() {
    let server = Server::start().await;
    let url = format!("{}?a=b", server.url);
    let (_connection, peer) = tokio::join!(Connection::open(&url, device(), TOKEN), server.accept());
    assert_eq!(peer.path, format!("/dev?a=b&device={}", device()));
}

#[tokio::test]
async fn each_request_has_its_answer() {
    let (connection, mut peer) = connected().await;
    let server = async {
        let hello = peer.request("hello").await;
        assert_eq!((&hello["v"], hello.get("after")), (&json!(1), None));
        peer.answer(&hello, welcome("alice", &json!([row("bob", 2)]))).await;
        let open = peer.request("open").await;
        assert_eq!((&open["with"], &open["client_message_id"]), (&json!("bob"), &json!("o1")));
        let mut answer = head("bob", 2);
        answer["type"] = "open".into();
        peer.answer(&open, answer).await;
        let send = peer.request("send").await;
        assert_eq!(send["messages"][0]["anchor"], json!({"epoch": 0, "seq": 0}));
        peer.settle(&send, stored("ok", 3)).await;
        let ping = peer.request("ping").await;
        peer.answer(&ping, json!({"type": "ping", "server_time_ms": 9})).await;
    };
    let client = async {
        let hello = connection.hello(None).await.unwrap();
        assert_eq!((hello.user.as_str(), hello.conversations.len()), ("alice", 1));
        let bob = UserId::new("bob").unwrap();
        let open = connection.open_with(bob, ClientMessageId::new("o1").unwrap()).await.unwrap();
        assert_eq!(open.conversation.conversation, conversation());
        let send = connection.send(conversation(), vec![message("m1")]).await.unwrap();
        assert!(matches!(send.results[0].outcome, Outcome::Ok(stored) if stored.position.seq.get() == 3));
        assert_eq!(connection.ping(vec![]).await.unwrap().server_time_ms.get(), 9);
    };
    soon(async { tokio::join!(server, client) }).await;
}

fn position(seq: u64) -> PositionIn {
    PositionIn { conversation: conversation(), position: Position::new(1, Seq::try_from(seq).unwrap()) }
}

#[tokio::test]
async fn what_was_missed_what_was_before_and_how_far_one_is_have_requests_of_their_own() {
    let (connection, mut peer) = connected().await;
    let in_d1 = |seq: u64| json!({"conversation": "d1", "position": at(seq)});
    let server = async {
        let sync = peer.request("sync").await;
        assert_eq!(sync["conversations"], json!([{"conversation": "d1", "after": at(4)}]));
        assert_eq!(sync["ack"], json!([in_d1(4)]));
        peer.bring(&sync, vec![]).await;
        let history = peer.request("history").await;
        assert_eq!((&history["conversation"], &history["before"], &history["limit"]), (&json!("d1"), &json!(9), &json!(2)));
        peer.answer(&history, json!({"type": "history", "conversation": "d1", "entries": [], "done": true})).await;
        let probe = peer.request("probe").await;
        assert_eq!((&probe["conversation"], &probe["anchor"], &probe["ids"]), (&json!("d1"), &at(4), &json!(["m1"])));
        peer.answer(&probe, json!({"type": "probe", "conversation": "d1", "found": [], "reached": at(7), "done": true})).await;
        for action in ["ack", "read"] {
            let cursors = peer.request(action).await;
            assert_eq!(cursors["positions"], json!([in_d1(5)]));
            let results = json!([{"conversation": "d1", "status": "ok"}]);
            peer.answer(&cursors, json!({"type": action, "results": results})).await;
        }
        let refresh = peer.request("refresh").await;
        assert_eq!(refresh["token"], TOKEN);
        peer.answer(&refresh, json!({"type": "refresh", "expires_ms": 77})).await;
        let ping = peer.request("ping").await;
        assert_eq!(ping["open"], json!(["d1"]));
        peer.answer(&ping, json!({"type": "ping", "server_time_ms": 1, "resync": true})).await;
    };
    let client = async {
        let after = SyncFrom { conversation: conversation(), after: position(4).position };
        assert!(connection.sync(vec![after], vec![position(4)]).await.unwrap().done);
        assert!(connection.history(conversation(), Some(Seq::try_from(9).unwrap()), Some(2)).await.unwrap().done);
        let ids = vec![ClientMessageId::new("m1").unwrap()];
        let probed = connection.probe(conversation(), position(4).position, ids).await.unwrap();
        assert_eq!(probed.reached, position(7).position);
        assert_eq!(connection.ack(vec![position(5)]).await.unwrap().results[0].outcome, CursorOutcome::Ok);
        assert_eq!(connection.read(vec![position(5)]).await.unwrap().results[0].outcome, CursorOutcome::Ok);
        assert_eq!(connection.refresh(Token::new(TOKEN).unwrap()).await.unwrap().expires_ms.get(), 77);
        assert!(connection.ping(vec![conversation()]).await.unwrap().resync);
    };
    soon(async { tokio::join!(server, client) }).await;
}

#[tokio::test]
async fn answers_are_matched_by_id_in_any_order() {
    let (connection, mut peer) = connected().await;
    let server = async {
        let mut pings = vec![];
        for _ in 0..3 {
            pings.push(peer.request("ping").await);
        }
        for (time, ping) in pings.iter().enumerate().rev() {
            peer.answer(ping, json!({"type": "ping", "server_time_ms": time})).await;
        }
    };
    let client = async {
        let (a, b, c) = tokio::join!(connection.ping(vec![]), connection.ping(vec![]), connection.ping(vec![]));
        [a, b, c].map(|answer| answer.unwrap().server_time_ms.get())
    };
    let ((), times) = soon(async { tokio::join!(server, client) }).await;
    assert_eq!(times, [0, 1, 2]);
}

#[tokio::test]
async fn pushes_that_come_before_an_answer_are_kept_in_order() {
    let (connection, mut peer) = connected().await;
    let mut pushes = connection.pushes();
    let mut frames = connection.frames();
    let server = async {
        let ping = peer.request("ping").await;
        peer.push_text("bob", 1, "one").await;
        peer.say(json!({"type": "weather", "rain": true})).await;
        peer.say(json!({"type": "error", "code": "bad_request", "retryable": false})).await;
        peer.answer(&ping, json!({"type": "ping", "server_time_ms": 1})).await;
        peer.push_text("bob", 2, "two").await;
    };
    let ((), answer) = soon(async { tokio::join!(server, connection.ping(vec![])) }).await;
    assert!(answer.is_ok());
    assert!(matches!(soon(pushes.recv()).await, Some(ServerFrame::Entries(first)) if first.entries[0].position.seq.get() == 1));
    assert_eq!(soon(pushes.recv()).await, Some(ServerFrame::Unknown));
    assert!(matches!(soon(pushes.recv()).await, Some(ServerFrame::Error(error)) if error.refusal.code == ErrorCode::BadRequest));
    assert!(matches!(soon(pushes.recv()).await, Some(ServerFrame::Entries(second)) if second.entries[0].position.seq.get() == 2));
    let mut types = vec![];
    for _ in 0..5 {
        let frame: serde_json::Value = serde_json::from_str(&soon(frames.recv()).await.unwrap()).unwrap();
        types.push(frame["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(types, ["entries", "weather", "error", "ping", "entries"]);
}

#[tokio::test]
async fn raw_text_is_sent_as_it_is_and_its_answer_is_a_raw_frame() {
    let (connection, mut peer) = connected().await;
    let mut frames = connection.frames();
    connection.send_text("{not JSON").unwrap();
    assert_eq!(peer.text().await.unwrap(), "{not JSON");
    peer.say(json!({"type": "pong", "id": "nobody's"})).await;
    assert_eq!(soon(frames.recv()).await.unwrap(), r#"{"id":"nobody's","type":"pong"}"#);
}

#[tokio::test]
async fn an_error_frame_refuses_its_request() {
    let (connection, mut peer) = connected().await;
    let server = async {
        let ping = peer.request("ping").await;
        let refusal = json!({"type": "error", "code": "token_expired", "retryable": false, "message": "connect again"});
        peer.answer(&ping, refusal).await;
    };
    let ((), answer) = soon(async { tokio::join!(server, connection.ping(vec![])) }).await;
    let Err(RequestError::Refused(refusal)) = answer else { panic!("{answer:?}") };
    assert_eq!((refusal.code, refusal.message.as_str()), (ErrorCode::TokenExpired, "connect again"));
    assert!(!RequestError::Refused(refusal).outcome_unknown());
}

#[tokio::test]
async fn an_answer_of_another_kind_does_not_fit() {
    let (connection, mut peer) = connected().await;
    let server = async {
        for action in ["hello", "open", "send", "sync", "history", "probe", "ack", "read", "refresh"] {
            let request = peer.request(action).await;
            peer.answer(&request, json!({"type": "ping", "server_time_ms": 1})).await;
        }
        let ping = peer.request("ping").await;
        peer.settle(&ping, stored("ok", 1)).await;
    };
    let client = async {
        assert_eq!(connection.hello(None).await, Err(RequestError::Unreadable));
        let open = connection.open_with(UserId::new("bob").unwrap(), ClientMessageId::new("o").unwrap());
        assert_eq!(open.await, Err(RequestError::Unreadable));
        assert_eq!(connection.send(conversation(), vec![message("m")]).await, Err(RequestError::Unreadable));
        let after = SyncFrom { conversation: conversation(), after: Position::ZERO };
        assert_eq!(connection.sync(vec![after], vec![]).await, Err(RequestError::Unreadable));
        assert_eq!(connection.history(conversation(), None, None).await, Err(RequestError::Unreadable));
        let ids = vec![ClientMessageId::new("m").unwrap()];
        assert_eq!(connection.probe(conversation(), Position::ZERO, ids).await, Err(RequestError::Unreadable));
        assert_eq!(connection.ack(vec![position(1)]).await, Err(RequestError::Unreadable));
        assert_eq!(connection.read(vec![position(1)]).await, Err(RequestError::Unreadable));
        assert_eq!(connection.refresh(Token::new(TOKEN).unwrap()).await, Err(RequestError::Unreadable));
        assert!(connection.ping(vec![]).await.is_err_and(|error| error.outcome_unknown()));
    };
    soon(async { tokio::join!(server, client) }).await;
}

#[tokio::test]
async fn the_gateways_internal_server_error_leaves_everything_in_flight_unknown() {
    let (connection, mut peer) = connected().await;
    let server = async {
        peer.request("ping").await;
        peer.request("send").await;
        peer.say(internal_server_error()).await;
        let next = peer.request("ping").await;
        peer.answer(&next, json!({"type": "ping", "server_time_ms": 1})).await;
    };
    let client = async {
        let (ping, send) = tokio::join!(connection.ping(vec![]), connection.send(conversation(), vec![message("m")]));
        let unknown = RequestError::Unknown("Internal server error".to_owned());
        assert!(unknown.outcome_unknown());
        assert_eq!((ping, send), (Err(unknown.clone()), Err(unknown)));
        assert!(connection.ping(vec![]).await.is_ok());
    };
    soon(async { tokio::join!(server, client) }).await;
}

#[tokio::test]
async fn an_answer_that_never_comes_leaves_the_outcome_unknown() {
    let (connection, mut peer) = connected().await;
    let mut frames = connection.frames();
    let connection = connection.with_answer_wait(Duration::from_millis(1));
    let answer = soon(connection.ping(vec![])).await;
    assert_eq!(answer, Err(RequestError::Unknown("no answer within 1 ms".to_owned())));
    // Late, it is nobody's.
    let ping = peer.request("ping").await;
    peer.answer(&ping, json!({"type": "ping", "server_time_ms": 1})).await;
    assert!(soon(frames.recv()).await.is_some());
}

#[tokio::test]
async fn a_hello_that_is_answered_by_goaway_was_displaced() {
    let (connection, mut peer) = connected().await;
    let mut pushes = connection.pushes();
    let server = async {
        peer.request("hello").await;
        let ping = peer.request("ping").await;
        peer.say(json!({"type": "goaway", "reason": "displaced"})).await;
        peer.answer(&ping, json!({"type": "ping", "server_time_ms": 1})).await;
    };
    let client = async { tokio::join!(connection.hello(None), connection.ping(vec![])) };
    let ((), (hello, ping)) = soon(async { tokio::join!(server, client) }).await;
    let displaced = RequestError::Displaced;
    assert!(!displaced.outcome_unknown());
    assert_eq!(hello, Err(displaced));
    assert!(ping.is_ok());
    assert!(matches!(soon(pushes.recv()).await, Some(ServerFrame::Goaway(goaway)) if goaway.reason == GoawayReason::Displaced));
}

#[tokio::test]
async fn a_close_ends_what_is_in_flight_and_what_comes_later_with_code_and_reason() {
    let (connection, mut peer) = connected().await;
    let mut pushes = connection.pushes();
    let server = async {
        peer.request("ping").await;
        peer.close(1001, "Going away").await;
        assert_eq!(peer.text().await, None);
    };
    let ((), answer) = soon(async { tokio::join!(server, connection.ping(vec![])) }).await;
    let closed = Closed { code: 1001, reason: "Going away".to_owned() };
    let failure = RequestError::Closed(closed.clone());
    assert!(failure.outcome_unknown());
    assert_eq!(answer, Err(failure.clone()));
    assert_eq!(soon(connection.closed()).await, closed);
    assert_eq!(soon(connection.ping(vec![])).await, Err(failure));
    assert_eq!(connection.send_text("late"), Err(closed.clone()));
    assert_eq!(soon(pushes.recv()).await, None);
    assert_eq!(soon(connection.pushes().recv()).await, None);
    assert_eq!(soon(connection.frames().recv()).await, None);
    assert_eq!(soon(connection.close()).await, closed);
}

#[tokio::test]
async fn a_close_frame_may_have_no_code() {
    let (connection, mut peer) = connected().await;
    peer.socket.close(None).await.unwrap();
    assert_eq!(soon(connection.closed()).await, Closed { code: 1005, reason: String::new() });
}

#[tokio::test]
async fn a_socket_that_ends_without_a_close_frame_is_closed_with_1006() {
    let (connection, peer) = connected().await;
    drop(peer);
    assert_eq!(soon(connection.closed()).await.code, 1006);
}

#[tokio::test]
async fn closing_says_goodbye_and_dropping_just_leaves() {
    let (connection, mut peer) = connected().await;
    let (closed, last) = soon(async { tokio::join!(connection.close(), peer.text()) }).await;
    assert_eq!((closed.code, last), (1000, None));

    let (connection, mut peer) = connected().await;
    drop(connection);
    assert_eq!(peer.text().await, None);
}

#[tokio::test]
async fn a_server_that_never_answers_a_close_frame_is_not_waited_for() {
    let (connection, _silent) = connected().await;
    assert_eq!(soon(connection.close()).await.code, 1006);
}

#[tokio::test]
async fn requests_of_a_shared_connection_can_be_given_up() {
    let (connection, mut peer) = connected().await;
    let connection = Arc::new(connection);
    let task = tokio::spawn({
        let connection = Arc::clone(&connection);
        async move { connection.ping(vec![]).await }
    });
    let given_up = peer.request("ping").await;
    task.abort();
    assert!(soon(task).await.unwrap_err().is_cancelled());
    peer.answer(&given_up, json!({"type": "ping", "server_time_ms": 1})).await;
    let server = async {
        let ping = peer.request("ping").await;
        peer.answer(&ping, json!({"type": "ping", "server_time_ms": 2})).await;
    };
    let ((), answer) = soon(async { tokio::join!(server, connection.ping(vec![])) }).await;
    assert_eq!(answer.unwrap().server_time_ms.get(), 2);
}

#[tokio::test]
async fn of_two_requests_with_one_id_the_second_gets_the_answer() {
    let (connection, mut peer) = connected().await;
    let ping = || connection.request(|_| Request::Ping(Ping { id: RequestId::new("same").unwrap(), open: vec![] }));
    let server = async {
        peer.request("ping").await;
        let second = peer.request("ping").await;
        peer.answer(&second, json!({"type": "ping", "server_time_ms": 1})).await;
    };
    let client = async { tokio::join!(ping(), ping()) };
    let ((), (first, second)) = soon(async { tokio::join!(server, client) }).await;
    assert_eq!(first, Err(RequestError::Unknown("another request took its id".to_owned())));
    assert!(second.is_ok());
}

#[tokio::test]
async fn a_frame_in_either_direction_ends_the_quiet() {
    let (connection, mut peer) = connected().await;
    let mut frames = connection.frames();
    let before = Instant::now();
    connection.send_text("x").unwrap();
    let sent = connection.quiet_since();
    assert!(sent >= before);
    peer.push_text("bob", 1, "x").await;
    soon(frames.recv()).await.unwrap();
    assert!(connection.quiet_since() > sent);
}

#[tokio::test]
async fn a_frame_larger_than_the_gateway_can_send_ends_the_connection() {
    let (connection, mut peer) = connected().await;
    peer.say(json!({"type": "x".repeat(129 * 1024)})).await;
    let closed = soon(connection.closed()).await;
    assert!(closed.code == 1006 && closed.reason.contains("limit"), "{closed:?}");
}

#[tokio::test]
async fn a_refused_handshake_tells_its_status() {
    let server = Server::start().await;
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 23\r\n\r\n{\"message\":\"Forbidden\"}";
    let (opened, ()) = tokio::join!(Connection::open(&server.url, device(), TOKEN), server.answer_raw(refusal));
    assert!(matches!(opened, Err(OpenError::Refused { status: 403 })), "{opened:?}");
}

#[tokio::test]
async fn a_server_that_does_not_choose_the_protocol_is_not_talked_to() {
    for subprotocol in ["", &format!("token.{TOKEN}"), "graphql-ws"] {
        let opened = opened_with(subprotocol).await;
        assert!(matches!(opened, Err(OpenError::NoSubprotocol)), "{subprotocol}: {opened:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_distinguished() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let opened = Connection::open(&format!("ws://{free}/dev"), device(), TOKEN).await;
    assert!(matches!(opened, Err(OpenError::Unreachable { .. })), "{opened:?}");

    let server = Server::start().await;
    let (opened, ()) = tokio::join!(Connection::open(&server.url, device(), TOKEN), server.answer_raw("220 smtp ready\r\n"));
    assert!(matches!(opened, Err(OpenError::NoWebSocket(_))), "{opened:?}");
}

#[tokio::test]
async fn a_bad_url_or_token_is_refused_before_anything_is_sent() {
    for url in ["", "not a url", "http//x", "/dev", "http://127.0.0.1/dev"] {
        let opened = Connection::open(url, device(), TOKEN).await;
        assert!(matches!(opened, Err(OpenError::BadUrl { .. })), "{url}: {opened:?}");
    }
    let opened = Connection::open("ws://127.0.0.1:1/dev", device(), "a\nb").await;
    assert!(matches!(opened, Err(OpenError::BadToken)), "{opened:?}");
    assert!(!opened.unwrap_err().to_string().contains("a\nb"));
}
