//! A running stack and devices that speak to it over real sockets: what the scenarios in `tests/` are written with.
//!
//! The devices here share no code with `chatlane-client`: they put frames on the wire as `docs/PROTOCOL.md` has them. Phones ([`phone`]) are
//! the real client. Waiting is for a condition, with one generous limit ([`PATIENCE`]) that only a hang reaches.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow, bail, ensure};
use chatlane_aws::{Store, Tables};
use chatlane_chat::ports::{MessageLog as _, ReadBound};
use chatlane_local::embedded::Recording;
use chatlane_local::lambda::LineSink;
use chatlane_local::stack::FAN_OUT_QUEUE;
use chatlane_local::{Settings, Stack};
use chatlane_protocol::frames::{ConversationHead, HelloAnswer, SendAnswer};
use chatlane_protocol::limits::TOKEN_LEEWAY_S;
use chatlane_protocol::request::NewMessage;
use chatlane_protocol::{Body, ClientMessageId, ConversationId, DeviceId, Entry, ErrorCode, Position, Seq, ServerFrame};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub mod floor;
pub mod line;
pub mod past;
pub mod phone;
mod returning;
pub mod sender;

/// How long anything may take before a scenario is given up as hung.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The executable that the functions run in. `tests/run` builds it before the tests.
///
/// # Panics
/// If it is not there.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    // target/debug/deps/<test> or target/debug/<bin>
    let mut folder = test.parent().expect("a file is in a folder");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("deps is in the profile's folder");
    }
    let program = folder.join("chatlane-local");
    assert!(program.exists(), "{} is missing: cargo build --workspace --bins", program.display());
    program
}

/// A stack with its data in a folder of its own, which goes when this does.
pub struct Running {
    stack: Option<Stack>,
    data: PathBuf,
    lines: Arc<Mutex<Vec<String>>>,
    /// One for all: each new one reads the machine's certificates.
    http: reqwest::Client,
}

impl Deref for Running {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        self.stack.as_ref().expect("a stack runs until `stop`")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Children die with the last clone of the Lambda; a folder that cannot be deleted is only litter.
        self.stack = None;
        std::fs::remove_dir_all(&self.data).ok();
    }
}

/// Starts a stack for tests: any port, a visibility timeout of 1 s, and what `adjust` changes.
///
/// # Panics
/// If it does not start.
pub async fn start(adjust: impl FnOnce(&mut Settings)) -> Running {
    let data = std::env::temp_dir().join(format!("chatlane-test-{}", uuid::Uuid::new_v4()));
    let mut settings = Settings::new(program(), &data);
    settings.port = 0;
    settings.visibility_timeout = Duration::from_secs(1);
    adjust(&mut settings);
    let lines = Arc::default();
    let stack = Stack::start(settings, sink(&lines)).await.expect("the stack starts");
    Running { stack: Some(stack), data, lines, http: reqwest::Client::new() }
}

fn sink(lines: &Arc<Mutex<Vec<String>>>) -> LineSink {
    let lines = lines.clone();
    Arc::new(move |process, line| lines.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{process}: {line}")))
}

impl Running {
    /// Every line that the functions' processes have written so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops the stack and starts another one on the same data.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn restart(&mut self, adjust: impl FnOnce(&mut Settings)) {
        if let Some(stack) = self.stack.take() {
            stack.stop().await;
        }
        let mut settings = Settings::new(program(), &self.data);
        settings.port = 0;
        settings.visibility_timeout = Duration::from_secs(1);
        adjust(&mut settings);
        self.stack = Some(Stack::start(settings, sink(&self.lines)).await.expect("the stack starts again"));
    }

    /// A device of `user` that has said hello.
    ///
    /// # Panics
    /// If it is not let in.
    pub async fn device(&self, user: &str) -> Device {
        let device = self.silent_device(user).await;
        device.hello().await.expect("hello is answered");
        device
    }

    /// A device of `user` that is connected and has said nothing yet.
    ///
    /// # Panics
    /// If it is not let in.
    pub async fn silent_device(&self, user: &str) -> Device {
        let token = self.token(user, Duration::from_hours(1));
        Device::connect(&self.url(), DeviceId::from(uuid::Uuid::new_v4()), &token).await.expect("the handshake is accepted")
    }

    /// A token of `user` with which a connection's time, leeway included, is over after `left` (whole seconds).
    ///
    /// # Panics
    /// Never: the clock is not within a minute of 1970.
    pub fn short_token(&self, user: &str, left: Duration) -> String {
        let leeway = Duration::from_secs(TOKEN_LEEWAY_S);
        self.issuer().token(user, left, SystemTime::now().checked_sub(leeway).expect("it is later than 1970"))
    }

    /// Waits until every delivery task is done.
    ///
    /// # Panics
    /// If that does not happen.
    pub async fn quiet(&self) {
        patiently("the queue is empty", self.queue().wait_until_empty(FAN_OUT_QUEUE)).await.expect("the queue can be read");
    }

    /// The tables, past the functions, as any tool reads them. Its calls are recorded under the caller `tool`.
    pub async fn store(&self) -> Store {
        let config = chatlane_aws::sdk_config_at(&self.endpoint_urls().dynamodb, "tool").await;
        let config = chatlane_aws::without_time_limits(&config); // a busy machine is no fault of what is tested
        let name = str::to_owned;
        let tables = Tables { log: name("log"), conversations: name("conversations"), inboxes: name("inboxes"), users: name("users") };
        Store::new(&config, tables)
    }

    /// Asks the embedded `DynamoDB` in its own words (`GetItem`, …), past every type of ours: to see or to remove single items.
    ///
    /// # Panics
    /// If it refuses.
    pub async fn dynamodb(&self, operation: &str, request: &Value) -> Value {
        const TOOL: &str = "tool/20260101/us-east-1/dynamodb/aws4_request"; // a signature is looked at for being there
        let asked = self
            .http
            .post(&self.endpoint_urls().dynamodb)
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-date", "20260101T000000Z")
            .header("authorization", format!("AWS4-HMAC-SHA256 Credential={TOOL}, SignedHeaders=host, Signature=none"))
            .body(request.to_string());
        let answer = asked.send().await.expect("DynamoDB answers");
        let (status, text) = (answer.status(), answer.text().await.expect("an answer has a body"));
        assert!(status.is_success(), "{operation}: {text}");
        serde_json::from_str(&text).expect("an answer is JSON")
    }

    /// Records every call to the embedded endpoints from now on.
    pub fn record(&self) -> Recording {
        self.endpoints().record()
    }
}

/// The log of a conversation as it is stored, ascending. A gap is left as it is.
///
/// # Panics
/// If it cannot be read.
pub async fn stored_log(store: &Store, conversation: &ConversationId) -> Vec<chatlane_chat::Entry> {
    let everything = ReadBound { entries_max: usize::MAX, bytes_max: usize::MAX };
    store.read(conversation, Seq::FIRST, everything).await.expect("the log can be read")
}

/// Waits for a condition; only a hang reaches the limit.
///
/// # Panics
/// Then.
pub async fn patiently<T>(what: &str, condition: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, condition).await.unwrap_or_else(|_elapsed| panic!("waited {PATIENCE:?} for: {what}"))
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The code of the close frame; 1005 without one in it, 1006 without a close frame.
    pub code: u16,
    /// Its reason.
    pub reason: String,
}

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
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

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
    sink: tokio::sync::Mutex<SplitSink<Socket, Message>>,
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
        // Larger than the gateway allows, so that tests can send too much.
        let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        let connected = Box::pin(tokio_tungstenite::connect_async_with_config(request, Some(config), true)); // a large future
        let socket = match patiently("the handshake is answered", connected).await {
            Ok((socket, _)) => socket,
            Err(tungstenite::Error::Http(answer)) => return Err(DeviceError::Handshake(answer.status().as_u16())),
            Err(error) => return Err(DeviceError::Other(error.into())),
        };
        let (sink, stream) = socket.split();
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
        let mut closed = self.seen.closed.subscribe();
        let waiting = async {
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
        };
        patiently(what, waiting).await
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

    /// [`Device::ask`], repeated while the answer is `unavailable`: on a busy machine a function runs out of its time budget.
    ///
    /// # Errors
    /// As [`Device::ask`].
    pub async fn ask_again(&self, request: Value) -> Result<ServerFrame, DeviceError> {
        loop {
            match self.ask(request.clone()).await? {
                ServerFrame::Error(error) if error.refusal.code == ErrorCode::Unavailable => {
                    tokio::time::sleep(Duration::from_millis(error.refusal.retry_after_ms.unwrap_or_default())).await;
                }
                answer => return Ok(answer),
            }
        }
    }

    /// Says hello.
    ///
    /// # Errors
    /// As [`Device::request`], or the answer is no welcome.
    pub async fn hello(&self) -> Result<HelloAnswer, DeviceError> {
        let answer = self.request(json!({ "action": "hello", "v": 1 })).await?;
        Ok(serde_json::from_value(answer).context("a welcome")?)
    }

    /// Opens the conversation with `user`.
    ///
    /// # Errors
    /// As [`Device::request`], or the answer is an error.
    pub async fn open(&self, user: &str) -> Result<ConversationHead, DeviceError> {
        let id = uuid::Uuid::new_v4().to_string();
        let answer = self.request(json!({ "action": "open", "with": user, "client_message_id": id })).await?;
        Ok(serde_json::from_value(answer).context("a conversation")?)
    }

    /// Sends messages.
    ///
    /// # Errors
    /// As [`Device::request`], or the answer is an error frame.
    pub async fn send(&self, conversation: &ConversationId, messages: &[NewMessage]) -> Result<SendAnswer, DeviceError> {
        match self.ask(json!({ "action": "send", "conversation": conversation, "messages": messages })).await? {
            ServerFrame::Send(answer) => Ok(answer),
            other => Err(anyhow!("not an answer to send: {other:?}").into()),
        }
    }

    /// The live entries of a conversation that have come so far, by seq. Two frames that disagree about one seq are an error (L1).
    ///
    /// # Errors
    /// See above.
    pub fn entries(&self, conversation: &ConversationId) -> anyhow::Result<BTreeMap<Seq, Entry>> {
        let mut entries = BTreeMap::new();
        for frame in self.frames() {
            if frame["type"] != "entries" || frame["conversation"] != conversation.as_str() {
                continue;
            }
            let live: chatlane_protocol::frames::Entries = serde_json::from_value(frame)?;
            ensure!(live.entries.is_sorted_by_key(|entry| entry.position.seq), "a live frame is ascending");
            for entry in live.entries {
                match entries.get(&entry.position.seq) {
                    Some(known) if *known != entry => bail!("two different entries at {}", entry.position),
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

async fn read(mut stream: SplitStream<Socket>, seen: Arc<Seen>) {
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

/// A new client message id.
///
/// # Panics
/// Never: a UUID is one.
pub fn new_id() -> ClientMessageId {
    ClientMessageId::new(uuid::Uuid::now_v7().to_string()).expect("a UUID is a client message id")
}

/// A text message with a new id.
///
/// # Panics
/// If the text is empty.
pub fn message(text: impl Into<String>, anchor: Position) -> NewMessage {
    NewMessage { client_message_id: new_id(), anchor, body: Body::text(text).expect("a test's text is not empty") }
}
