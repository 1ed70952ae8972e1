//! The terminal chat, typed and read by the test.

use std::io;

use chatlane_client::connection::{OpenError, RequestError};
use chatlane_client::terminal::{ChatError, ChatOptions, chat};
use chatlane_protocol::UserId;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::server::{Peer, Server, TOKEN, device, head, internal_server_error, soon, stored, welcome};

/// A terminal's lower half: sends on each whole line.
struct Screen {
    lines: UnboundedSender<String>,
    rest: Vec<u8>,
}

impl io::Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8(line).map_err(io::Error::other)?;
            self.lines.send(line.trim_end_matches('\n').to_owned()).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// One person at a terminal, in front of a scripted server.
struct Scene {
    peer: Peer,
    keyboard: DuplexStream,
    lines: UnboundedReceiver<String>,
    chat: JoinHandle<Result<(), ChatError>>,
}

fn options(server: &Server, user: &str, peer: Option<&str>) -> ChatOptions {
    let [user, peer] = [Some(user), peer].map(|name| name.map(|name| UserId::new(name).unwrap()));
    ChatOptions { url: server.url.clone(), token: TOKEN.to_owned(), device: device(), user: user.unwrap(), peer }
}

impl Scene {
    /// Connected, nothing said.
    async fn connected(user: &str, peer: Option<&str>) -> Self {
        let server = Server::start().await;
        let (keyboard, input) = tokio::io::duplex(64 * 1024);
        let (sender, lines) = unbounded_channel();
        let screen = Screen { lines: sender, rest: vec![] };
        let chat = tokio::spawn(chat(options(&server, user, peer), BufReader::new(input), screen));
        let peer = server.accept().await;
        Self { peer, keyboard, lines, chat }
    }

    /// Greeted.
    async fn greeted(user: &str, peer: Option<&str>, conversations: &Value) -> Self {
        let mut scene = Self::connected(user, peer).await;
        scene.peer.greet(user, conversations).await;
        scene.sees(&format!("· you are {user}; /help lists what you can type")).await;
        scene
    }

    /// alice, talking to bob in a conversation that stands at `seq`.
    async fn alice_with_bob(seq: u64) -> Self {
        let mut scene = Self::greeted("alice", None, &json!([head("bob", seq)])).await;
        scene.sees(&format!("· bob: at #{seq}")).await;
        scene.sees("· talking to bob").await;
        scene
    }

    async fn types(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn sees(&mut self, line: &str) {
        assert_eq!(soon(self.lines.recv()).await.expect("the chat goes on"), line);
    }

    /// The chat ends without another line.
    async fn ends(&mut self) -> Result<(), ChatError> {
        assert_eq!(soon(self.lines.recv()).await, None);
        soon(&mut self.chat).await.unwrap()
    }
}

#[tokio::test]
async fn a_typed_line_is_sent_and_acknowledged() {
    let mut scene = Scene::alice_with_bob(1).await;
    scene.types("hello bob").await;
    let send = scene.peer.request("send").await;
    assert_eq!((&send["conversation"], &send["messages"][0]["anchor"]), (&json!("d1"), &json!({"epoch": 1, "seq": 1})));
    assert_eq!(send["messages"][0]["body"], json!({"content_type": "text/plain", "text": "hello bob"}));
    scene.peer.settle(&send, stored("ok", 2)).await;
    scene.sees("  ✓ #2").await;
    scene.types("/quit").await;
    scene.ends().await.unwrap();
}

#[tokio::test]
async fn each_message_has_an_id_of_its_own() {
    let mut scene = Scene::alice_with_bob(1).await;
    let mut ids = vec![];
    for seq in [2, 3] {
        scene.types("same").await;
        let send = scene.peer.request("send").await;
        ids.push(send["messages"][0]["client_message_id"].clone());
        scene.peer.settle(&send, stored("ok", seq)).await;
        scene.sees(&format!("  ✓ #{seq}")).await;
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_received_entry_is_shown_with_its_sender_and_number() {
    let mut scene = Scene::alice_with_bob(1).await;
    scene.peer.push_text("bob", 2, "hello alice").await;
    scene.sees("bob: hello alice  #2").await;
}

#[tokio::test]
async fn entries_are_shown_once_and_in_order() {
    let mut scene = Scene::alice_with_bob(1).await;
    for seq in [3, 1, 3, 2, 2, 4] {
        scene.peer.push_text("bob", seq, &format!("text {seq}")).await;
    }
    for seq in [2, 3, 4] {
        scene.sees(&format!("bob: text {seq}  #{seq}")).await;
    }
    scene.types("/quit").await;
    scene.ends().await.unwrap();
}

#[tokio::test]
async fn a_gap_that_stays_open_is_named_once() {
    let mut scene = Scene::connected("alice", None).await;
    let hello = scene.peer.request("hello").await;
    let mut answer = welcome("alice", &json!([head("bob", 1)]));
    answer["limits"]["gap_wait_ms"] = 1.into();
    scene.peer.answer(&hello, answer).await;
    scene.peer.push_text("bob", 4, "four").await;
    for line in ["· you are alice; /help lists what you can type", "· bob: at #1", "· talking to bob"] {
        scene.sees(line).await;
    }
    scene.sees("· #2 to #3 did not come; going on without").await;
    scene.sees("bob: four  #4").await;
    scene.peer.push_text("bob", 2, "late").await;
    scene.peer.push_text("bob", 5, "five").await;
    scene.sees("bob: five  #5").await;
}

#[tokio::test]
async fn a_retry_keeps_id_and_anchor() {
    let mut scene = Scene::alice_with_bob(1).await;
    scene.types("hi").await;
    let first = scene.peer.request("send").await;
    scene.peer.push_text("bob", 2, "meanwhile").await;
    scene.sees("bob: meanwhile  #2").await;
    let refused = json!({"status": "refused", "code": "rate_limited", "retryable": true, "retry_after_ms": 1, "message": "slowly"});
    scene.peer.settle(&first, refused).await;
    scene.sees("  … trying again: slowly (rate_limited)").await;
    let second = scene.peer.request("send").await;
    let unavailable = json!({"type": "error", "code": "unavailable", "retryable": true, "retry_after_ms": 1});
    scene.peer.answer(&second, unavailable).await;
    let third = scene.peer.request("send").await;
    scene.peer.say(internal_server_error()).await;
    let fourth = scene.peer.request("send").await;
    for retry in [&second, &third, &fourth] {
        assert_eq!(retry["messages"], first["messages"]);
        assert_ne!(retry["id"], first["id"]);
    }
    scene.peer.settle(&fourth, stored("duplicate", 3)).await;
    scene.sees("  ✓ #3").await;
}

#[tokio::test]
async fn a_refusal_is_one_clear_line() {
    let mut scene = Scene::alice_with_bob(1).await;
    scene.types("hi").await;
    let send = scene.peer.request("send").await;
    let refused = json!({"status": "refused", "code": "not_found", "retryable": false, "message": "no such conversation"});
    scene.peer.settle(&send, refused).await;
    scene.sees("  ✗ not sent: no such conversation (not_found)").await;
    scene.peer.say(json!({"type": "error", "code": "bad_request", "retryable": false, "message": "not JSON"})).await;
    scene.sees("· the server refused something: not JSON (bad_request)").await;
}

#[tokio::test]
async fn received_text_cannot_command_the_terminal() {
    let mut scene = Scene::alice_with_bob(1).await;
    scene.peer.push_text("bob", 2, "\u{1b}[2Jgone\nmallory: hi").await;
    scene.sees(r"bob: \u{1b}[2Jgone\nmallory: hi  #2").await;
    let body = json!({"content_type": "image/png", "data": "AAAA"});
    scene.peer.push("bob", 3, json!({"kind": "message", "body": body})).await;
    scene.sees("bob: [image/png, 3 bytes]  #3").await;
}

#[tokio::test]
async fn an_entry_of_a_later_version_keeps_its_place() {
    let mut scene = Scene::alice_with_bob(1).await;
    scene.peer.push("bob", 2, json!({"kind": "poll", "question": "?"})).await;
    scene.peer.say(json!({"type": "weather"})).await;
    scene.peer.push_text("bob", 3, "x").await;
    scene.sees("· bob: something that this version cannot show  #2").await;
    scene.sees("bob: x  #3").await;
}

#[tokio::test]
async fn alice_opens_a_conversation_with_bob_by_default() {
    let mut scene = Scene::greeted("alice", None, &json!([])).await;
    let open = scene.peer.request("open").await;
    assert_eq!(open["with"], "bob");
    let busy = json!({"type": "error", "code": "busy", "retryable": true, "retry_after_ms": 1});
    scene.peer.answer(&open, busy).await;
    let again = scene.peer.request("open").await;
    assert_eq!(again["client_message_id"], open["client_message_id"]);
    let mut answer = head("bob", 1);
    answer["type"] = "open".into();
    scene.peer.answer(&again, answer).await;
    scene.sees("· talking to bob").await;
    scene.peer.push("alice", 1, json!({"kind": "created", "members": ["alice", "bob"]})).await;
    scene.sees("· alice opened the conversation  #1").await;
}

#[tokio::test]
async fn bob_talks_to_alice_by_default() {
    let mut scene = Scene::greeted("bob", None, &json!([])).await;
    assert_eq!(scene.peer.request("open").await["with"], "alice");
}

#[tokio::test]
async fn a_peer_that_is_named_goes_before_the_default() {
    let mut scene = Scene::greeted("alice", Some("carol"), &json!([head("bob", 1)])).await;
    scene.sees("· bob: at #1").await;
    assert_eq!(scene.peer.request("open").await["with"], "carol");
}

#[tokio::test]
async fn others_talk_to_whom_they_name_or_to_the_first_who_writes() {
    let mut scene = Scene::greeted("carol", None, &json!([])).await;
    scene.types("anybody?").await;
    scene.sees("· nobody to talk to yet: /with NAME").await;
    scene.peer.push("dave", 1, json!({"kind": "created", "members": ["carol", "dave"]})).await;
    scene.sees("· dave opened the conversation  #1").await;
    scene.peer.push_text("dave", 2, "me").await;
    scene.sees("dave: me  #2").await;
    scene.sees("· talking to dave").await;
    scene.types("/with erin").await;
    assert_eq!(scene.peer.request("open").await["with"], "erin");
}

#[tokio::test]
async fn help_and_mistakes_are_answered_here() {
    let mut scene = Scene::alice_with_bob(1).await;
    scene.types("/help").await;
    scene.sees("· a line of text: send it to the one you are talking to").await;
    scene.sees("· /with NAME: talk to NAME from now on").await;
    scene.sees("· /quit or Ctrl-D: end · /help: this").await;
    scene.types("").await;
    scene.types("/dance").await;
    scene.sees("· no such command; /help lists them").await;
}

#[tokio::test]
async fn all_pages_of_hello_are_asked_for_also_when_it_has_to_be_asked_again() {
    let mut scene = Scene::connected("carol", None).await;
    let hello = scene.peer.request("hello").await;
    scene.peer.answer(&hello, json!({"type": "error", "code": "unavailable", "retryable": true, "retry_after_ms": 1})).await;
    let hello = scene.peer.request("hello").await;
    let mut first = welcome("carol", &json!([head("alice", 4)]));
    first["next"] = "d1".into();
    scene.peer.answer(&hello, first).await;
    let hello = scene.peer.request("hello").await;
    assert_eq!(hello["after"], "d1");
    let second = json!([{"conversation": "d2", "with": "bob", "head": {"epoch": 1, "seq": 7}}]);
    scene.peer.answer(&hello, welcome("carol", &second)).await;
    for line in ["· you are carol; /help lists what you can type", "· alice: at #4", "· bob: at #7"] {
        scene.sees(line).await;
    }
}

#[tokio::test]
async fn the_end_of_the_input_ends_the_chat_after_the_last_line_is_acknowledged() {
    let mut scene = Scene::alice_with_bob(1).await;
    scene.keyboard.write_all(b"last words").await.unwrap();
    scene.keyboard.shutdown().await.unwrap();
    let send = scene.peer.request("send").await;
    scene.peer.settle(&send, stored("ok", 2)).await;
    scene.sees("  ✓ #2").await;
    assert_eq!(scene.peer.text().await, None);
    scene.ends().await.unwrap();
}

#[tokio::test]
async fn a_displaced_chat_says_so_and_ends() {
    let mut scene = Scene::alice_with_bob(1).await;
    scene.peer.say(json!({"type": "goaway", "reason": "displaced"})).await;
    scene.sees("· another connection of this device took this one's place").await;
    assert_eq!(scene.peer.text().await, None);
    scene.ends().await.unwrap();
}

#[tokio::test]
async fn a_closed_connection_is_named_and_so_is_the_line_that_it_left_unconfirmed() {
    let mut scene = Scene::alice_with_bob(1).await;
    scene.types("hi").await;
    scene.peer.request("send").await;
    scene.peer.close(1001, "Going away\u{7}").await;
    scene.sees("  ? not confirmed: no answer came; it may have been stored").await;
    scene.sees(r"· the connection is closed: 1001 Going away\u{7}").await;
    scene.ends().await.unwrap();
}

/// alice, whose server wants a ping after a millisecond of quiet; and the first ping.
async fn idle() -> (Scene, Value) {
    let mut scene = Scene::connected("alice", None).await;
    let hello = scene.peer.request("hello").await;
    let mut answer = welcome("alice", &json!([head("bob", 1)]));
    answer["limits"]["ping_after_idle_ms"] = 1.into();
    scene.peer.answer(&hello, answer).await;
    for line in ["· you are alice; /help lists what you can type", "· bob: at #1", "· talking to bob"] {
        scene.sees(line).await;
    }
    let ping = scene.peer.request("ping").await;
    (scene, ping)
}

#[tokio::test]
async fn a_quiet_connection_is_pinged_again_and_again() {
    let (mut scene, ping) = idle().await;
    scene.peer.answer(&ping, json!({"type": "ping", "server_time_ms": 1})).await;
    scene.peer.request("ping").await;
    scene.peer.close(1001, "").await;
    scene.sees("· the connection is closed: 1001").await;
    scene.ends().await.unwrap();
}

#[tokio::test]
async fn limits_beyond_all_time_are_no_limits() {
    let mut scene = Scene::connected("alice", None).await;
    let hello = scene.peer.request("hello").await;
    let mut answer = welcome("alice", &json!([head("bob", 1)]));
    answer["limits"]["ping_after_idle_ms"] = u64::MAX.into();
    answer["limits"]["gap_wait_ms"] = u64::MAX.into();
    scene.peer.answer(&hello, answer).await;
    scene.peer.push_text("bob", 3, "three").await;
    scene.peer.push_text("bob", 2, "two").await;
    for line in ["· you are alice; /help lists what you can type", "· bob: at #1", "· talking to bob", "bob: two  #2", "bob: three  #3"]
    {
        scene.sees(line).await;
    }
}

#[tokio::test]
async fn a_ping_that_fails_ends_the_chat() {
    let (mut scene, _ping) = idle().await;
    scene.peer.say(internal_server_error()).await;
    scene.sees("· the server does not answer a ping: the outcome is unknown: Internal server error").await;
    assert_eq!(scene.peer.text().await, None);
    scene.ends().await.unwrap();
}

#[tokio::test]
async fn a_chat_that_cannot_begin_says_why() {
    let mut scene = Scene::connected("alice", None).await;
    scene.peer.greet("bob", &json!([])).await;
    let error = scene.ends().await.unwrap_err();
    assert_eq!(error.to_string(), "the token is not alice's, it is bob's");

    let mut scene = Scene::connected("alice", None).await;
    scene.peer.request("hello").await;
    scene.peer.say(json!({"type": "goaway", "reason": "displaced"})).await;
    let error = scene.ends().await.unwrap_err();
    assert!(matches!(error, ChatError::Hello(RequestError::Displaced)), "{error}");

    let server = Server::start().await;
    let refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    let begun = chat(options(&server, "alice", None), tokio::io::empty(), io::sink());
    let (begun, ()) = tokio::join!(begun, server.answer_raw(refusal));
    assert!(matches!(begun, Err(ChatError::Open(OpenError::Refused { status: 401 }))), "{begun:?}");
}

#[tokio::test]
async fn a_terminal_that_is_gone_ends_the_chat() {
    let mut scene = Scene::alice_with_bob(1).await;
    drop(scene.lines);
    scene.peer.push_text("bob", 2, "x").await;
    assert!(matches!(soon(scene.chat).await.unwrap(), Err(ChatError::Output(_))));
}

/// A keyboard that is pulled out.
struct Broken;

impl tokio::io::AsyncRead for Broken {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Err(io::Error::other("pulled out")))
    }
}

#[tokio::test]
async fn an_input_that_cannot_be_read_ends_the_chat() {
    let server = Server::start().await;
    let greeting = async {
        let mut peer = server.accept().await;
        peer.greet("alice", &json!([head("bob", 1)])).await;
        peer
    };
    let (chatted, _peer) = tokio::join!(chat(options(&server, "alice", None), BufReader::new(Broken), io::sink()), greeting);
    assert!(matches!(chatted, Err(ChatError::Input(_))), "{chatted:?}");
}
