//! The sockets of a running device and the tokens that open them. Each socket is a task; what happens to it becomes an [`Input`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chatlane_protocol::{DeviceId, Token};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::random;
use super::tokens::{NoToken, Tokens, pause};
use crate::socket::{self, CLOSE_WAIT, OpenError, close_frame, drive};
use chatlane_session::{Input, OpenFailure, SocketId, Text};

/// How long a token may take, and a first token and an open socket together: longer than the gateway lets the authorizer and `$connect`
/// run, 29 s each ("Quotas for configuring and running a WebSocket API": integration timeout). The session may give up sooner.
const OPEN_WAIT: Duration = Duration::from_secs(70);

/// How long a socket may take to say goodbye: a peer that takes nothing must not keep it.
const FAREWELL_WAIT: Duration = CLOSE_WAIT.saturating_mul(2);

/// What comes of sockets and tokens.
pub(super) enum Event {
    /// For the session.
    Input(Input),
    /// The token of the first socket. The session has not asked for it.
    FirstToken(Token),
}

/// All sockets of one device. Dropping it ends them at once.
pub(super) struct Sockets<T> {
    url: Arc<str>,
    device: DeviceId,
    tokens: Arc<T>,
    newest: Option<Token>,
    renewing: bool,
    open: HashMap<SocketId, Wire>,
    tasks: JoinSet<()>,
    events: mpsc::UnboundedSender<Event>,
    happened: mpsc::UnboundedReceiver<Event>,
}

/// This side of one socket; dropping it lets the socket say goodbye.
struct Wire {
    outgoing: mpsc::UnboundedSender<Message>,
    _goodbye: oneshot::Sender<()>,
}

impl<T: Tokens> Sockets<T> {
    pub(super) fn new(url: String, device: DeviceId, tokens: T) -> Self {
        // Unbounded: whoever waited here would keep answers from being read, and what is in it is bounded by what the server pushes.
        let (events, happened) = mpsc::unbounded_channel();
        Self {
            url: url.into(),
            device,
            tokens: Arc::new(tokens),
            newest: None,
            renewing: false,
            open: HashMap::new(),
            tasks: JoinSet::new(),
            events,
            happened,
        }
    }

    /// The next thing that happens. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                event = self.happened.recv() => return self.note(event.expect("a sender is in `self`")),
                // Only so that the set does not keep what has ended.
                Some(ended) = self.tasks.join_next() => ended.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic())),
            }
        }
    }

    /// Forgets the socket that this event ends, and that a token was asked for if this is it.
    fn note(&mut self, event: Event) -> Event {
        match &event {
            Event::Input(Input::Closed { socket } | Input::OpenFailed { socket, .. }) => drop(self.open.remove(socket)),
            Event::Input(Input::NewToken(_)) => self.renewing = false,
            Event::Input(_) | Event::FirstToken(_) => {}
        }
        event
    }

    /// Uses this token from now on.
    pub(super) fn keep(&mut self, token: Token) {
        self.newest = Some(token);
    }

    /// Opens a socket with the newest token; without one, with a first one.
    pub(super) fn connect(&mut self, socket: SocketId) {
        let (outgoing, queue) = mpsc::unbounded_channel();
        let (goodbye, closed) = oneshot::channel();
        self.open.insert(socket, Wire { outgoing, _goodbye: goodbye });
        let (url, device, tokens) = (Arc::clone(&self.url), self.device, Arc::clone(&self.tokens));
        let (newest, events) = (self.newest.clone(), self.events.clone());
        self.tasks.spawn(async move {
            let opening = async {
                let token = match newest {
                    Some(token) => token,
                    None => first_token(&*tokens, &events).await?,
                };
                Ok(socket::open(&url, device, token.as_str()).await?)
            };
            tokio::select! {
                () = live(socket, opening, queue, &events) => {}
                () = farewell(closed) => {}
            }
        });
    }

    /// Queues one text frame; a socket that has ended swallows it.
    pub(super) fn send(&self, socket: SocketId, text: String) {
        if let Some(wire) = self.open.get(&socket) {
            let _ended = wire.outgoing.send(Message::text(text));
        }
    }

    /// Says goodbye behind what is queued, and forgets the socket.
    pub(super) fn close(&mut self, socket: SocketId) {
        if let Some(wire) = self.open.remove(&socket) {
            let _ended = wire.outgoing.send(close_frame());
        }
    }

    pub(super) fn close_all(&mut self) {
        for (_, wire) in self.open.drain() {
            let _ended = wire.outgoing.send(close_frame());
        }
    }

    /// Gets a new token, unless that is under way; asks again until there is one.
    pub(super) fn renew_token(&mut self) {
        if std::mem::replace(&mut self.renewing, true) {
            return;
        }
        let (tokens, events) = (Arc::clone(&self.tokens), self.events.clone());
        self.tasks.spawn(async move {
            let token = renewed_token(&*tokens, OPEN_WAIT).await;
            let _ended = events.send(Event::Input(Input::NewToken(token)));
        });
    }
}

/// Asks until there is a token. A source that takes longer than `wait` has failed too: a login whose answer was lost on the way would keep
/// the device without a token for good.
async fn renewed_token(tokens: &impl Tokens, wait: Duration) -> Token {
    let mut failures = 0;
    loop {
        if let Ok(Ok(token)) = timeout(wait, tokens.token()).await {
            return token;
        }
        failures += 1;
        sleep(pause(failures, random())).await;
    }
}

async fn first_token(tokens: &impl Tokens, events: &mpsc::UnboundedSender<Event>) -> Result<Token, NoToken> {
    let token = tokens.token().await?;
    let _ended = events.send(Event::FirstToken(token.clone()));
    Ok(token)
}

/// One socket's life, as events.
async fn live(
    socket: SocketId,
    opening: impl Future<Output = Result<socket::Socket, NoToken>>,
    queue: mpsc::UnboundedReceiver<Message>,
    events: &mpsc::UnboundedSender<Event>,
) {
    // A device that has ended hears nothing.
    let notify = |input| drop(events.send(Event::Input(input)));
    let opened = timeout(OPEN_WAIT, opening).await.unwrap_or_else(|elapsed| Err(elapsed.into()));
    match opened {
        Ok(stream) => {
            notify(Input::Opened(socket));
            let arrived = |text: &str| notify(Input::Received { socket, text: Text(text.to_owned()) });
            drive(stream, queue, arrived, || notify(Input::Closed { socket })).await;
        }
        Err(error) => notify(Input::OpenFailed { socket, failure: failure(error.downcast_ref()) }),
    }
}

/// 401 and 403 are about the token, all else is about the way to the server.
const fn failure(error: Option<&OpenError>) -> OpenFailure {
    match error {
        Some(OpenError::Refused { status: 401 | 403 } | OpenError::BadToken) => OpenFailure::Denied,
        _ => OpenFailure::Unreachable,
    }
}

/// Ends a while after the device has closed this socket.
async fn farewell(closed: oneshot::Receiver<()>) {
    let _dropped = closed.await;
    sleep(FAREWELL_WAIT).await;
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_source_of_tokens_that_never_answers_is_asked_again() {
        let asked = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&asked);
        let source = move || {
            let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
            async move { if first { pending().await } else { Ok(Token::new("second")?) } }
        };
        // A wait that is over at once: a source that has the token at hand still gives it.
        let token = renewed_token(&source, Duration::ZERO).await;
        assert_eq!((token.as_str(), asked.load(Ordering::Relaxed)), ("second", 2));
    }
}
