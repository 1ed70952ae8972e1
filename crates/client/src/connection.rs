//! One WebSocket to Chatlane: requests and their answers, pushes, raw frames, the end.
//!
//! Answers are matched to requests by `id`; any number may be in flight, and they may be answered in any order. Nothing is retried here:
//! a [`RequestError`] says whether the outcome is known, and a retry with the same client message ids is the caller's decision. One task
//! drives the socket; it ends with the socket or with the [`Connection`], whichever goes first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chatlane_protocol::frames::{
    CursorsAnswer, HelloAnswer, HistoryAnswer, OpenAnswer, PingAnswer, ProbeAnswer, RefreshAnswer, SendAnswer, SyncAnswer, encode,
};
use chatlane_protocol::limits::VERSION_MAX;
use chatlane_protocol::request::{Hello, History, Open, Ping, PositionIn, Positions, Probe, Refresh, SendMessages, Sync, SyncFrom};
use chatlane_protocol::{
    ClientMessageId, ConversationId, DeviceId, NewMessage, Position, Refusal, Request, RequestId, Seq, ServerFrame, Token, UserId,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

mod arrivals;
pub(crate) mod driver;
pub(crate) mod handshake;

use arrivals::Arrivals;
pub use handshake::OpenError;

/// How long an answer is waited for. API Gateway gives up on a function after 29 s ("Quotas for configuring and running a WebSocket
/// API": integration timeout) and then sends its own frame: later than this nothing comes.
pub const ANSWER_WAIT: Duration = Duration::from_secs(35);

/// How a socket ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The close code of RFC 6455 §7.4: 1005 for a close frame without a code, 1006 for none at all.
    pub code: u16,
    /// As the server gave it, or why there was no close frame. Not for a terminal as it is: it may hold anything.
    pub reason: String,
}

/// Why a request has no answer of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The server refused the request whole.
    #[error("refused: {}", .0.message)]
    Refused(Refusal),
    /// The gateway failed on some request of this socket and does not say on which, or no answer came in time.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The answer does not fit the request: a server of another version.
    #[error("the answer does not fit the request")]
    Unreadable,
    /// `hello` was answered by `goaway`: another connection took this one's place.
    #[error("another connection took this one's place")]
    Displaced,
    /// The socket was closed before the answer came.
    #[error("the connection is closed")]
    Closed(Closed),
}

impl RequestError {
    /// Whether the request may have had its effect. If so, only a retry with the same client message ids, or the log, answers that.
    pub const fn outcome_unknown(&self) -> bool {
        match self {
            Self::Refused(refusal) => matches!(refusal.code, chatlane_protocol::ErrorCode::Unavailable),
            Self::Unknown(_) | Self::Unreadable | Self::Closed(_) => true,
            Self::Displaced => false,
        }
    }
}

/// An open socket. Dropping it ends the socket at once, without a close frame, and everything that waits on it.
#[derive(Debug)]
pub struct Connection {
    arrivals: Arc<Arrivals>,
    outgoing: mpsc::UnboundedSender<Message>,
    requests: AtomicU64,
    answer_wait: Duration,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Connects to `url` (`wss://host/stage`, or `ws://` without TLS; the system's certificates are trusted) as the user whom `token` names, on this device. The socket gets no pushes before
    /// [`Connection::hello`] was answered.
    pub async fn open(url: &str, device: DeviceId, token: &str) -> Result<Self, OpenError> {
        let socket = handshake::shake_hands(url, device, token).await?;
        let arrivals = Arc::new(Arrivals::new(Instant::now()));
        // Unbounded, as are the receivers of pushes and frames: a bound that waits would keep answers from being read, and what is in here
        // is bounded by the callers' requests.
        let (outgoing, queue) = mpsc::unbounded_channel();
        let (arriving, ending) = (Arc::clone(&arrivals), Arc::clone(&arrivals));
        let arrived = move |text: &str| arriving.arrived(text, Instant::now());
        let driver = tokio::spawn(driver::drive(socket, queue, arrived, move |closed| ending.end(&closed)));
        Ok(Self { arrivals, outgoing, requests: AtomicU64::new(0), answer_wait: ANSWER_WAIT, driver })
    }

    /// The same, waiting for each answer this long instead of [`ANSWER_WAIT`].
    #[must_use]
    pub const fn with_answer_wait(mut self, wait: Duration) -> Self {
        self.answer_wait = wait;
        self
    }

    /// All frames without an answer's `id` from now on, in order of arrival: `entries`, `goaway`, errors without `id`,
    /// [`ServerFrame::Unknown`] for what this version does not know. Ends when the socket ends. Subscribe before `hello` to miss none.
    pub fn pushes(&self) -> mpsc::UnboundedReceiver<ServerFrame> {
        self.arrivals.pushes()
    }

    /// The text of all frames from now on, answers too, in order of arrival. Ends when the socket ends.
    pub fn frames(&self) -> mpsc::UnboundedReceiver<String> {
        self.arrivals.frames()
    }

    /// Makes one request and waits for the answer with its `id`; `build` gets an id that is new on this connection. Dropping the future
    /// gives up the answer, not the request.
    pub async fn request(&self, build: impl FnOnce(RequestId) -> Request) -> Result<ServerFrame, RequestError> {
        let request = build(self.next_id());
        let waiting = self.arrivals.expect(&request)?;
        self.send_text(encode(&request)).map_err(RequestError::Closed)?;
        match timeout(self.answer_wait, waiting.answer()).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(RequestError::Unknown(format!("no answer within {} ms", self.answer_wait.as_millis()))),
        }
    }

    fn next_id(&self) -> RequestId {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        RequestId::new(number.to_string()).expect("digits are a request id")
    }

    /// `hello`: makes this connection known to the server and answers one page of conversations; `after` is the `next` of the page before.
    /// Says nothing of what the device has: every row is answered. [`Connection::request`] takes a `hello` that does.
    pub async fn hello(&self, after: Option<ConversationId>) -> Result<HelloAnswer, RequestError> {
        match self.request(|id| Request::Hello(Hello { id, v: VERSION_MAX, after, known: vec![], known_to: None })).await? {
            ServerFrame::Hello(answer) => Ok(*answer),
            _ => Err(RequestError::Unreadable),
        }
    }

    /// `open`: the direct conversation with `user`, found or created. Idempotent.
    pub async fn open_with(&self, user: UserId, client_message_id: ClientMessageId) -> Result<OpenAnswer, RequestError> {
        match self.request(|id| Request::Open(Open { id, with: user, client_message_id })).await? {
            ServerFrame::Open(answer) => Ok(answer),
            _ => Err(RequestError::Unreadable),
        }
    }

    /// `send`: 1 to 25 messages of one conversation, kept in this order; one result each. The ids and anchors of a retry are those of the
    /// first attempt (L2).
    pub async fn send(&self, conversation: ConversationId, messages: Vec<NewMessage>) -> Result<SendAnswer, RequestError> {
        match self.request(|id| Request::Send(SendMessages { id, conversation, messages })).await? {
            ServerFrame::Send(answer) => Ok(answer),
            _ => Err(RequestError::Unreadable),
        }
    }

    /// `sync`: the next page of what was missed in 1 to 100 conversations, none twice, in their order. `ack`: what the pages before have
    /// brought and the device has stored. Idempotent.
    pub async fn sync(&self, conversations: Vec<SyncFrom>, ack: Vec<PositionIn>) -> Result<SyncAnswer, RequestError> {
        match self.request(|id| Request::Sync(Sync { id, conversations, ack })).await? {
            ServerFrame::Sync(answer) => Ok(answer),
            _ => Err(RequestError::Unreadable),
        }
    }

    /// `history`: the newest entries below `before` (without: at the end of the log), ascending; at most `limit`, 1 to 100 (without: as
    /// many as a page holds).
    pub async fn history(
        &self,
        conversation: ConversationId,
        before: Option<Seq>,
        limit: Option<u32>,
    ) -> Result<HistoryAnswer, RequestError> {
        match self.request(|id| Request::History(History { id, conversation, before, limit })).await? {
            ServerFrame::History(answer) => Ok(answer),
            _ => Err(RequestError::Unreadable),
        }
    }

    /// `probe`: which of 1 to 25 of the caller's messages are in the log after `anchor`, and how far it was looked through.
    pub async fn probe(
        &self,
        conversation: ConversationId,
        anchor: Position,
        ids: Vec<ClientMessageId>,
    ) -> Result<ProbeAnswer, RequestError> {
        match self.request(|id| Request::Probe(Probe { id, conversation, anchor, ids })).await? {
            ServerFrame::Probe(answer) => Ok(answer),
            _ => Err(RequestError::Unreadable),
        }
    }

    /// `ack`: the entries up to 1 to 100 positions, of as many conversations, are stored on this device; one result each. Idempotent.
    pub async fn ack(&self, positions: Vec<PositionIn>) -> Result<CursorsAnswer, RequestError> {
        match self.request(|id| Request::Ack(Positions { id, positions })).await? {
            ServerFrame::Ack(answer) => Ok(answer),
            _ => Err(RequestError::Unreadable),
        }
    }

    /// `read`: the user has read the entries up to 1 to 100 positions, of as many conversations; one result each. Read implies delivered.
    /// Idempotent.
    pub async fn read(&self, positions: Vec<PositionIn>) -> Result<CursorsAnswer, RequestError> {
        match self.request(|id| Request::Read(Positions { id, positions })).await? {
            ServerFrame::Read(answer) => Ok(answer),
            _ => Err(RequestError::Unreadable),
        }
    }

    /// `refresh`: this connection goes on with a new token of the same user and device.
    pub async fn refresh(&self, token: Token) -> Result<RefreshAnswer, RequestError> {
        match self.request(|id| Request::Refresh(Refresh { id, token })).await? {
            ServerFrame::Refresh(answer) => Ok(answer),
            _ => Err(RequestError::Unreadable),
        }
    }

    /// `ping`: whether the server answers, knows this connection, and the status of at most 20 conversations, none twice.
    pub async fn ping(&self, open: Vec<ConversationId>) -> Result<PingAnswer, RequestError> {
        match self.request(|id| Request::Ping(Ping { id, open })).await? {
            ServerFrame::Ping(answer) => Ok(answer),
            _ => Err(RequestError::Unreadable),
        }
    }

    /// Queues any text as one WebSocket frame; its answer, if any, comes by [`Connection::frames`]. For probing a server.
    pub fn send_text(&self, text: impl Into<String>) -> Result<(), Closed> {
        self.arrivals.check_open()?;
        self.arrivals.touch(Instant::now());
        // A driver that has just ended has said so, or is about to: whoever waits for an answer learns it.
        let _ended = self.outgoing.send(Message::text(text.into()));
        Ok(())
    }

    /// When the last frame was sent or received.
    pub fn quiet_since(&self) -> Instant {
        self.arrivals.quiet_since()
    }

    /// Waits until the socket has ended.
    pub async fn closed(&self) -> Closed {
        self.arrivals.closed().await
    }

    /// Sends a close frame (1000) behind what is queued and waits for the server's, 2 s at most. Requests in flight end
    /// with [`RequestError::Closed`].
    pub async fn close(&self) -> Closed {
        let _ended = self.outgoing.send(driver::close_frame());
        self.closed().await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
