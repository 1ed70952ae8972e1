//! A WebSocket server whose every frame is written by the test.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use chatlane_client::device::{DeviceOptions, Tokens};
use chatlane_client::store::{Store, StoreError};
use chatlane_protocol::{DeviceId, Token, UserId};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

pub const TOKEN: &str = "eyJ.e30.c2ln";

/// Ends a test that would hang; never decides one that goes on.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it happens within 30 s")
}

pub fn device() -> DeviceId {
    DeviceId::new("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001").unwrap()
}

/// Runs this test, of this path, in a process of its own; `true` if it passes there.
pub fn passes_again(test: &str, variable: &str, value: &Path) -> bool {
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new(program).args([test, "--exact"]).env(variable, value).output().unwrap();
    output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed")
}

/// A source that always has the same token.
pub fn tokens() -> impl Tokens {
    || async { Ok(Token::new(TOKEN)?) }
}

/// A device's options with the patience of a test.
pub fn impatient(url: &str, store: &Store) -> DeviceOptions {
    let mut options = DeviceOptions::new(url, store);
    (options.settings.back_off_min_ms, options.settings.back_off_max_ms) = (1, 2);
    options
}

/// A folder that is deleted with this.
pub struct Folder(pub std::path::PathBuf);

impl Folder {
    pub fn new() -> Self {
        Self(std::env::temp_dir().join(format!("chatlane-{}", uuid::Uuid::new_v4())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Some tests never make it.
        let _absent = std::fs::remove_dir_all(&self.0);
    }
}

/// The store of a device that was dropped or died: its task lets go of it in its own time.
pub async fn reopened(folder: &Path, user: &UserId) -> Store {
    soon(async {
        loop {
            match Store::open(&folder.join("device.sqlite"), user) {
                Err(StoreError::InUse { .. }) => tokio::task::yield_now().await,
                opened => return opened.unwrap(),
            }
        }
    })
    .await
}

/// One listening port.
pub struct Server {
    listener: TcpListener,
    pub url: String,
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/dev", listener.local_addr().unwrap());
        Self { listener, url }
    }

    /// Accepts one client, as API Gateway does with Chatlane's `$connect`. Answers its request line and what it offered, too.
    pub async fn accept(&self) -> Peer {
        self.accept_choosing("chatlane.v1").await.unwrap()
    }

    #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
    pub async fn accept_choosing(&self, subprotocol: &str) -> Result<Peer, Error> {
        let (stream, _) = soon(self.listener.accept()).await.unwrap();
        let (mut path, mut offered) = (String::new(), String::new());
        let answer = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            path = request.uri().to_string();
            request.headers()["sec-websocket-protocol"].to_str().unwrap().clone_into(&mut offered);
            if !subprotocol.is_empty() {
                response.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
            }
            Ok(response)
        };
        let socket = soon(tokio_tungstenite::accept_hdr_async(stream, answer)).await?;
        Ok(Peer { socket, path, offered })
    }

    /// Answers one client with this text and hangs up.
    pub async fn answer_raw(&self, text: &str) {
        let (mut stream, _) = soon(self.listener.accept()).await.unwrap();
        let mut request = [0; 4096];
        assert!(soon(stream.read(&mut request)).await.unwrap() > 0);
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    }
}

/// The server's end of one connection.
pub struct Peer {
    pub socket: WebSocketStream<TcpStream>,
    /// What the client asked for.
    pub path: String,
    /// Its subprotocols.
    pub offered: String,
}

impl Peer {
    /// The next text of the client; `None` when it is gone.
    pub async fn text(&mut self) -> Option<String> {
        loop {
            match soon(self.socket.next()).await {
                Some(Ok(Message::Text(text))) => return Some(text.as_str().to_owned()),
                Some(Err(_)) | None => return None,
                // The reply to a close frame is sent by the next read.
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next request of the client, which must have this action.
    pub async fn request(&mut self, action: &str) -> Value {
        let request: Value = serde_json::from_str(&self.text().await.expect("the client is there")).unwrap();
        assert_eq!(request["action"], action, "{request}");
        request
    }

    pub async fn say(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Answers `request` with these fields and its id; a `hello` to the device that has connected.
    pub async fn answer(&mut self, request: &Value, mut frame: Value) {
        frame["id"] = request["id"].clone();
        if frame["type"] == "hello" {
            frame["device"] = self.path.rsplit_once("device=").unwrap().1.into();
        }
        self.say(frame).await;
    }

    /// Answers one `hello`: `conversations` as the wire has them. The request comes back.
    pub async fn greet(&mut self, user: &str, conversations: &Value) -> Value {
        let hello = self.request("hello").await;
        self.answer(&hello, welcome(user, conversations)).await;
        hello
    }

    /// The next request with this action; `ack`, `read` and `ping` before it are answered as if nothing was to be said.
    pub async fn quietly(&mut self, action: &str) -> Value {
        self.request_of(&[action]).await
    }

    /// The same for one of several actions.
    pub async fn request_of(&mut self, actions: &[&str]) -> Value {
        loop {
            let request: Value = serde_json::from_str(&self.text().await.expect("the client is there")).unwrap();
            match request["action"].as_str().unwrap() {
                found if actions.contains(&found) => return request,
                "ping" => self.answer(&request, json!({"type": "ping", "server_time_ms": 1})).await,
                cursors @ ("ack" | "read") => {
                    let done = |position: &Value| json!({"conversation": position["conversation"], "status": "ok"});
                    let results: Vec<Value> = request["positions"].as_array().unwrap().iter().map(done).collect();
                    self.answer(&request, json!({"type": cursors, "results": results})).await;
                }
                other => panic!("{other} instead of {actions:?}: {request}"),
            }
        }
    }

    /// The next read mark that is told; all is taken.
    pub async fn read_mark(&mut self) -> Value {
        loop {
            let ack = self.request_of(&["ack"]).await;
            self.answer(&ack, json!({"type": "ack", "results": [{"conversation": "d1", "status": "ok"}]})).await;
            if let Some(read) = ack["positions"][0].get("read") {
                return read.clone();
            }
        }
    }

    /// Answers one `sync` of conversation `d1` with these entries, which are all.
    pub async fn bring(&mut self, sync: &Value, entries: Vec<Value>) {
        let page = json!({"conversation": "d1", "status": "ok", "entries": entries, "done": true});
        self.answer(sync, json!({"type": "sync", "pages": [page], "done": true})).await;
    }

    /// Answers one `send` with one outcome; the fields of `outcome` are those of the wire.
    pub async fn settle(&mut self, send: &Value, mut outcome: Value) {
        outcome["client_message_id"] = send["messages"][0]["client_message_id"].clone();
        let answer = json!({"type": "send", "conversation": send["conversation"], "results": [outcome]});
        self.answer(send, answer).await;
    }

    /// Pushes one entry of conversation `d1`.
    pub async fn push(&mut self, sender: &str, seq: u64, kind: Value) {
        self.say(json!({"type": "entries", "conversation": "d1", "entries": [entry(sender, seq, kind)]})).await;
    }

    pub async fn push_text(&mut self, sender: &str, seq: u64, text: &str) {
        self.push(sender, seq, message(text)).await;
    }

    pub async fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        self.socket.close(Some(frame)).await.unwrap();
    }
}

/// The answer to `hello`, without `id`.
pub fn welcome(user: &str, conversations: &Value) -> Value {
    json!({
        "type": "hello", "versions": {"min": 1, "max": 1}, "user": user, "device": device().to_string(), "server_time_ms": 1,
        "epoch": 1, "reconnect_in_ms": 6_300_000, "expires_ms": 86_400_000, "conversations": conversations,
        "limits": {
            "entry_bytes_max": 30_720, "request_bytes_max": 32_768, "messages_per_send_max": 25, "anchor_entries_max": 200,
            "anchor_bytes_max": 131_072, "gap_wait_ms": 60_000, "ping_after_idle_ms": 240_000, "cursors_every_ms": 1,
        },
    })
}

/// The same of a server that wants no gap to be waited for.
pub fn hasty_welcome(user: &str, conversations: &Value) -> Value {
    let mut answer = welcome(user, conversations);
    answer["limits"]["gap_wait_ms"] = 1.into();
    answer
}

/// The direct conversation `d1` with this user, as `open` answers it: at this seq.
pub fn head(with: &str, seq: u64) -> Value {
    json!({"conversation": "d1", "with": with, "head": at(seq)})
}

/// The same as a row of `hello`: each entry counts, nothing is read.
pub fn row(with: &str, seq: u64) -> Value {
    let mut row = head(with, seq);
    for (name, value) in [("count", json!(seq)), ("time_ms", json!(1)), ("read", at_zero()), ("read_count", json!(0))] {
        row[name] = value;
    }
    row
}

fn at_zero() -> Value {
    json!({"epoch": 0, "seq": 0})
}

pub fn at(seq: u64) -> Value {
    json!({"epoch": 1, "seq": seq})
}

pub fn stored(status: &str, seq: u64) -> Value {
    json!({"status": status, "position": at(seq), "time_ms": 1, "count": seq})
}

/// What a text message says.
pub fn message(text: &str) -> Value {
    json!({"kind": "message", "body": {"content_type": "text/plain", "text": text}})
}

/// An entry of the wire; its client message id is `SENDER-SEQ`.
pub fn entry(sender: &str, seq: u64, kind: Value) -> Value {
    let mut entry = kind;
    entry["position"] = at(seq);
    entry["sender"] = sender.into();
    entry["client_message_id"] = format!("{sender}-{seq}").into();
    entry["time_ms"] = 1.into();
    entry["count"] = seq.into();
    entry
}

/// Chooses Chatlane's subprotocol.
#[expect(clippy::result_large_err, clippy::unnecessary_wraps, reason = "the signature is tungstenite's")]
pub fn answer_as_chatlane(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    response.headers_mut().insert("sec-websocket-protocol", "chatlane.v1".parse().unwrap());
    Ok(response)
}
