//! A device with one socket that is read all the time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use chatlane_protocol::frames::{ConversationHead, HelloAnswer, SendAnswer};
use chatlane_protocol::request::NewMessage;
use chatlane_protocol::{ConversationId, DeviceId, Entry, ErrorCode, Refusal, Seq, ServerFrame};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::{Closed, Socket, new_id, patiently};

/// Why a handshake or a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The handshake got this HTTP status.
    #[error("the handshake was refused with {0}")]
    Handshake(u16),
    /// The gateway's own error frame came: outcome unknown.
    #[error("the gateway answered with its own error frame: {0}")]
    GatewayError(Value),
    /// The connection ended first.
    #[error("the connection ended: {0:?}")]
    Closed(Closed),
    /// The answer is an error.
    #[error("the request was refused: {0:?}")]
    Refused(Refusal),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// What a device's requests and their answers came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests that were answered.
    pub requests: usize,
    /// Bytes of these requests.
    pub sent_bytes: usize,
    /// Bytes of their answers. Pushes are not in it: they come when they come.
    pub answered_bytes: usize,
}

impl Traffic {
    /// What has come since `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            sent_bytes: self.sent_bytes - earlier.sent_bytes,
            answered_bytes: self.answered_bytes - earlier.answered_bytes,
        }
    }
}

/// A device with one socket. Frames are kept in the order in which they came; nothing is dropped.
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    sink: tokio::sync::Mutex<SplitSink<WebSocketStream<TcpStream>, Message>>,
    seen: Arc<Seen>,
    next_id: AtomicU64,
    traffic: Mutex<Traffic>,
    reader: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    frames: Mutex<Vec<Value>>,
    grown: Notify,
    closed: watch::Sender<Option<Closed>>,
}

impl Drop for Device {
    fn drop(&mut self) {
        self.reader.abort(); // with both halves gone the TCP connection is gone: a device that lost power
    }
}

impl Device {
    /// Opens a socket with this token as a subprotocol.
    ///
    /// # Errors
    /// [`DeviceError::Handshake`] with the status, or what else went wrong.
    pub async fn connect(url: &str, id: DeviceId, token: &str) -> Result<Self, DeviceError> {
        Self::connect_with(&format!("{url}?device={id}"), id, &[("Sec-WebSocket-Protocol", &format!("chatlane.v1, token.{token}"))]).await
    }

    /// Opens a socket at exactly this URL with exactly these further headers.
    ///
    /// # Errors
    /// [`DeviceError::Handshake`] with the status, or what else went wrong.
    pub async fn connect_with(url: &str, id: DeviceId, headers: &[(&'static str, &str)]) -> Result<Self, DeviceError> {
        let mut request = url.into_client_request().context("the URL")?;
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_str(value).context("a header")?);
        }
        let socket = match Socket::open(request).await {
            Ok((socket, _)) => socket,
            Err(tungstenite::Error::Http(answer)) => return Err(DeviceError::Handshake(answer.status().as_u16())),
            Err(error) => return Err(DeviceError::Other(error.into())),
        };
        let (sink, stream) = socket.stream.split();
        let seen = Arc::new(Seen::default());
        let reader = tokio::spawn(read(stream, seen.clone()));
        Ok(Self { id, sink: tokio::sync::Mutex::new(sink), seen, next_id: AtomicU64::new(1), traffic: Mutex::default(), reader })
    }

    /// Sends one WebSocket message as it is.
    ///
    /// # Errors
    /// The socket is closed.
    pub async fn send_message(&self, message: Message) -> anyhow::Result<()> {
        Ok(self.sink.lock().await.send(message).await?)
    }

    /// Sends one text as it is.
    ///
    /// # Errors
    /// The socket is closed.
    pub async fn send_text(&self, text: impl Into<String>) -> anyhow::Result<()> {
        self.send_message(Message::text(text.into())).await
    }

    /// Closes the socket as a well-behaved client does, and waits until it is closed.
    pub async fn close(&self) {
        self.send_message(Message::Close(None)).await.ok();
        self.closed().await;
    }

    /// How the connection ended, once it has.
    pub async fn closed(&self) -> Closed {
        let mut closed = self.seen.closed.subscribe();
        let ended = patiently("the connection ends", closed.wait_for(Option::is_some)).await;
        ended.ok().and_then(|closed| closed.clone()).unwrap_or(Closed { code: 1006, reason: String::new() })
    }

    /// All frames so far.
    pub fn frames(&self) -> Vec<Value> {
        self.seen.frames.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `find` finds something among the frames so far. `None` if the connection ends first.
    pub async fn until<T>(&self, what: &str, find: impl Fn(&[Value]) -> Option<T>) -> Option<T> {
        patiently(what, self.found(find)).await
    }

    /// [`Device::until`], however long it takes.
    pub async fn found<T>(&self, find: impl Fn(&[Value]) -> Option<T>) -> Option<T> {
        let mut closed = self.seen.closed.subscribe();
        loop {
            let grown = self.seen.grown.notified();
            let ended = closed.borrow_and_update().is_some();
            if let Some(found) = find(&self.seen.frames.lock().unwrap_or_else(PoisonError::into_inner)) {
                return Some(found);
            }
            if ended {
                return None;
            }
            tokio::select! {
                () = grown => {}
                _ = closed.changed() => {}
            }
        }
    }

    /// Sends one text as it is. Answers the next frame that comes, whatever it is about; `None` if the connection ends first.
    ///
    /// # Errors
    /// The socket is closed.
    pub async fn next_after(&self, text: impl Into<String>) -> anyhow::Result<Option<Value>> {
        let before = self.frames().len();
        self.send_text(text).await?;
        Ok(self.until("an answer", |frames| frames.get(before).cloned()).await)
    }

    /// Sends a request with a new `id` and waits for the frame that echoes it.
    ///
    /// # Errors
    /// [`DeviceError::GatewayError`] if the gateway's own error frame comes first, [`DeviceError::Closed`] if the connection ends.
    pub async fn request(&self, mut request: Value) -> Result<Value, DeviceError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed).to_string();
        request["id"] = json!(id);
        let text = request.to_string();
        let sent_bytes = text.len();
        let before = self.seen.frames.lock().unwrap_or_else(PoisonError::into_inner).len();
        if let Err(error) = self.send_text(text).await {
            return Err(if self.seen.closed.borrow().is_some() { DeviceError::Closed(self.closed().await) } else { error.into() });
        }
        let answer = self.until("a request is answered", |frames| {
            let new = &frames[before..];
            let mine = new.iter().find(|frame| frame["id"] == id);
            mine.or_else(|| new.iter().find(|frame| frame.get("type").is_none())).cloned()
        });
        match answer.await {
            Some(answer) if answer.get("type").is_some() => {
                let mut traffic = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
                traffic.requests += 1;
                traffic.sent_bytes += sent_bytes;
                // As long as the text that came: neither side writes white space, and the order of fields makes no difference.
                traffic.answered_bytes += answer.to_string().len();
                Ok(answer)
            }
            Some(gateway) => Err(DeviceError::GatewayError(gateway)),
            None => Err(DeviceError::Closed(self.closed().await)),
        }
    }

    /// What all requests so far and their answers came to.
    pub fn traffic(&self) -> Traffic {
        *self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// [`Device::request`], its answer as the frame that it is.
    ///
    /// # Errors
    /// As [`Device::request`], or the answer has not its documented form.
    pub async fn ask(&self, request: Value) -> Result<ServerFrame, DeviceError> {
        let answer = self.request(request).await?;
        Ok(serde_json::from_value(answer).context("a frame")?)
    }

    /// [`Device::ask`], where an error is not the answer that is wanted.
    ///
    /// # Errors
    /// As [`Device::ask`]; [`DeviceError::Refused`] if the answer is an error.
    pub(crate) async fn granted(&self, request: Value) -> Result<ServerFrame, DeviceError> {
        match self.ask(request).await? {
            ServerFrame::Error(error) => Err(DeviceError::Refused(error.refusal)),
            answer => Ok(answer),
        }
    }

    /// [`Device::granted`], repeated while the answer is `unavailable`: on a busy machine a function runs out of its time budget.
    pub(crate) async fn granted_in_the_end(&self, request: Value) -> Result<ServerFrame, DeviceError> {
        loop {
            match self.granted(request.clone()).await {
                Err(DeviceError::Refused(refusal)) if refusal.code == ErrorCode::Unavailable => {
                    tokio::time::sleep(Duration::from_millis(refusal.retry_after_ms.unwrap_or_default())).await;
                }
                answer => return answer,
            }
        }
    }

    /// Says hello.
    ///
    /// # Errors
    /// As [`Device::request`], or the answer is no welcome.
    pub async fn hello(&self) -> Result<HelloAnswer, DeviceError> {
        match self.granted(json!({ "action": "hello", "v": 1 })).await? {
            ServerFrame::Hello(answer) => Ok(*answer),
            other => Err(anyhow!("not a welcome: {other:?}").into()),
        }
    }

    /// Opens the conversation with `user`.
    ///
    /// # Errors
    /// As [`Device::request`], or the answer is an error.
    pub async fn open(&self, user: &str) -> Result<ConversationHead, DeviceError> {
        match self.granted(json!({ "action": "open", "with": user, "client_message_id": new_id() })).await? {
            ServerFrame::Open(answer) => Ok(answer.conversation),
            other => Err(anyhow!("not a conversation: {other:?}").into()),
        }
    }

    /// Sends messages.
    ///
    /// # Errors
    /// As [`Device::request`], or the answer is an error frame.
    pub async fn send(&self, conversation: &ConversationId, messages: &[NewMessage]) -> Result<SendAnswer, DeviceError> {
        match self.granted(json!({ "action": "send", "conversation": conversation, "messages": messages })).await? {
            ServerFrame::Send(answer) => Ok(answer),
            other => Err(anyhow!("not an answer to send: {other:?}").into()),
        }
    }

    /// The live entries of a conversation that have come so far, by seq. Two frames that disagree about one seq are an error (L1).
    ///
    /// # Errors
    /// See above.
    pub fn entries(&self, conversation: &ConversationId) -> anyhow::Result<BTreeMap<Seq, Entry>> {
        let mut entries: BTreeMap<Seq, Entry> = BTreeMap::new();
        for frame in self.frames() {
            if frame["type"] != "entries" || frame["conversation"] != conversation.as_str() {
                continue;
            }
            let live: chatlane_protocol::frames::Entries = serde_json::from_value(frame)?;
            ensure!(live.entries.is_sorted_by_key(|entry| entry.position.seq), "a live frame is ascending");
            for entry in live.entries {
                match entries.get(&entry.position.seq) {
                    // What a message says may have changed meanwhile; place, sender, id, time and count never do.
                    Some(known)
                        if (Entry { kind: known.kind.clone(), as_it_came: None, ..entry.clone() })
                            != (Entry { as_it_came: None, ..known.clone() }) =>
                    {
                        bail!("two different entries at {}", entry.position)
                    }
                    _ => entries.insert(entry.position.seq, entry),
                };
            }
        }
        Ok(entries)
    }

    /// Waits until the live entry `seq` has come.
    ///
    /// # Panics
    /// If the connection ends first.
    pub async fn entry(&self, conversation: &ConversationId, seq: u64) -> Entry {
        let what = format!("entry {seq} is delivered");
        let found = self.until(&what, |frames| {
            frames.iter().filter(|frame| frame["type"] == "entries" && frame["conversation"] == conversation.as_str()).find_map(|frame| {
                let entries = frame["entries"].as_array()?;
                entries.iter().find(|entry| entry["position"]["seq"] == seq).cloned()
            })
        });
        let found = found.await.expect("the connection stays open until the entry is there");
        serde_json::from_value(found).expect("an entry has its documented form")
    }
}

async fn read(mut stream: SplitStream<WebSocketStream<TcpStream>>, seen: Arc<Seen>) {
    let mut closed = Closed { code: 1006, reason: String::new() };
    while let Some(message) = stream.next().await {
        match message {
            Ok(Message::Text(text)) => {
                let frame = serde_json::from_str(&text).unwrap_or_else(|_| json!({ "not JSON": text.as_str() }));
                seen.frames.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
                seen.grown.notify_waiters();
            }
            Ok(Message::Close(Some(frame))) => closed = Closed { code: frame.code.into(), reason: frame.reason.to_string() },
            Ok(Message::Close(None)) => closed.code = 1005,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    seen.closed.send_replace(Some(closed));
    seen.grown.notify_waiters();
}
