//! The life of one open socket: frames in, messages out, limits, the close handshake, `$disconnect`.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::{Sink, SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::closing::Closing;
use super::connection::{Admitted, Command, Connection, Outgoing, Presence};
use super::dispatch::{Frame, dispatch};
use super::observe::GatewayEvent;
use super::reorder::Window;
use super::settings::{DisconnectEvents, Limits};
use super::{Functions, Shared, event};

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How reading and writing on a socket ended, and so what is left to do with it.
#[derive(Debug)]
enum Ended {
    /// The client's close frame was read; the reply is in the write buffer.
    ByClient(Closing),
    /// The gateway closes. The socket is between two frames: the client's close frame can still be read.
    ByGateway(Closing),
    /// Reading failed, perhaps within a frame: nothing after it can be understood.
    Unreadable(Closing),
    /// The socket was half-open at the end: no peer can be reached.
    Frozen(Closing),
}

/// One connection from the upgrade to `$disconnect`.
#[derive(Debug)]
pub(super) struct Session<F> {
    shared: Arc<Shared<F>>,
    connection: Arc<Connection>,
    outgoing: mpsc::Receiver<Outgoing>,
    commands: mpsc::UnboundedReceiver<Command>,
    window: Option<Window<Frame>>,
    /// Held to the end: [`super::Gateway::stop`] waits for it.
    _presence: Presence,
}

impl<F: Functions> Session<F> {
    pub(super) fn new(shared: Arc<Shared<F>>, admitted: Admitted) -> Self {
        let Admitted { connection, outgoing, commands, presence } = admitted;
        let window = shared.settings.reorder.map(|reorder| Window::new(reorder, connection.ordinal));
        Self { shared, connection, outgoing, commands, window, _presence: presence }
    }

    pub(super) async fn run(mut self, upgrade: OnUpgrade) {
        let closing = match upgrade.await {
            Ok(upgraded) => self.hold(upgraded).await,
            // The client left while `$connect` was running.
            Err(_gone) => Closing::lost(),
        };
        self.shared.connections.remove(self.connection.id());
        self.outgoing.close();
        self.shared.observers.emit(|| GatewayEvent::Closed {
            connection: self.connection.id().to_owned(),
            user: self.connection.user().to_owned(),
            code: closing.code,
            reason: closing.reason.clone(),
        });
        let lagging = self.window.as_mut().is_some_and(Window::lags_behind_disconnect);
        if !lagging {
            self.dispatch_held();
        }
        self.disconnect(&closing).await;
        self.dispatch_held();
    }

    /// The socket from the upgrade to its end.
    async fn hold(&mut self, upgraded: Upgraded) -> Closing {
        let limits = &self.shared.settings.limits;
        let (config, close_wait) = (websocket_config(limits), limits.close_wait);
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        let ended = self.converse(&mut socket).await;
        // From here on posts get 410, before the client has seen its close frame.
        self.shared.connections.remove(self.connection.id());
        // The outcome does not matter: the socket is dropped even if its peer is gone or slow.
        let _outcome = tokio::time::timeout(close_wait, self.part(&mut socket, &ended)).await;
        if matches!(ended, Ended::Unreadable(_)) {
            tokio::spawn(tokio::time::timeout(close_wait, linger(socket)));
        }
        match ended {
            Ended::ByClient(closing) | Ended::ByGateway(closing) | Ended::Unreadable(closing) | Ended::Frozen(closing) => closing,
        }
    }

    /// Reads, writes and keeps the time until one side ends it.
    async fn converse(&mut self, socket: &mut Socket) -> Ended {
        let Self { shared, connection, outgoing, commands, window, .. } = self;
        let limits = &shared.settings.limits;
        let ended = {
            let (sink, mut frames) = socket.split();
            let mut writing = std::pin::pin!(write(outgoing, sink, shared, connection));
            loop {
                let quiet = window.as_ref().filter(|window| window.holds()).map(Window::quiet);
                tokio::select! {
                    command = commands.recv() => break obey(command),
                    read = frames.next() => if let Some(ended) = take(read, shared, connection, window) {
                        break Some(ended);
                    },
                    Err(error) = &mut writing => break Some(Ended::Unreadable(Closing::after(&error))),
                    () = tokio::time::sleep(quiet.unwrap_or_default()), if quiet.is_some() => dispatch_held(shared, connection, window),
                    () = tokio::time::sleep_until(connection.closes_at(limits)) => if is_over(connection, limits) {
                        break Some(Ended::ByGateway(Closing::going_away()));
                    },
                }
            }
        };
        if let Some(ended) = ended {
            return ended;
        }
        // Half-open: posts are accepted and lost, the timers run.
        loop {
            tokio::select! {
                Some(command) = commands.recv() => match command {
                    Command::Close(closing) => return Ended::Frozen(closing),
                    Command::Freeze => {}
                },
                _lost = outgoing.recv() => {}
                () = tokio::time::sleep_until(connection.closes_at(limits)) => return Ended::Frozen(Closing::going_away()),
            }
        }
    }

    /// The close handshake, as far as the peer takes part in it. May wait for the peer without limit; fails when the peer is gone.
    async fn part(&mut self, socket: &mut Socket, ended: &Ended) -> Result<(), Error> {
        match ended {
            Ended::ByClient(_) => {
                socket.flush().await?;
                socket.get_mut().shutdown().await?;
            }
            Ended::ByGateway(closing) => {
                // What was accepted before the close goes out before it.
                self.outgoing.close();
                while let Some(message) = self.outgoing.recv().await {
                    send(socket, message, &self.shared, &self.connection).await?;
                }
                socket.close(closing.frame()).await?;
                // Frames that were on their way are dropped; the stream ends after the client's close frame.
                while socket.next().await.transpose()?.is_some() {}
            }
            Ended::Unreadable(closing) if !closing.is_lost() => {
                socket.close(closing.frame()).await?;
                socket.get_mut().shutdown().await?;
            }
            Ended::Unreadable(_) | Ended::Frozen(_) => {}
        }
        Ok(())
    }

    fn dispatch_held(&mut self) {
        dispatch_held(&self.shared, &self.connection, &mut self.window);
    }

    /// Invokes `$disconnect` with best effort: nobody needs its outcome.
    async fn disconnect(&self, closing: &Closing) {
        let settings = &self.shared.settings;
        match settings.disconnect_events {
            DisconnectEvents::Deliver => {}
            DisconnectEvents::Drop { share, seed } => {
                let mut random = StdRng::seed_from_u64(seed ^ self.connection.ordinal.rotate_left(32));
                if random.random_bool(share.clamp(0.0, 1.0)) {
                    return;
                }
            }
            DisconnectEvents::Delay(delay) => tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.shared.connections.stopping() => return,
            },
        }
        if let Some(function) = settings.routes.get("$disconnect") {
            let event = event::disconnect(&self.connection.client, &self.connection.authorized, closing, &event::new_id());
            let _outcome = self.shared.invoke(function, event).await;
        }
    }
}

/// How a command ends reading and writing; `None` for a freeze.
fn obey(command: Option<Command>) -> Option<Ended> {
    match command {
        Some(Command::Close(closing)) => Some(Ended::ByGateway(closing)),
        Some(Command::Freeze) => None,
        // Does not happen: the session holds the connection, which holds the sender.
        None => Some(Ended::ByGateway(Closing::going_away())),
    }
}

/// Takes what was read from the socket. Says how reading and writing ended, if they did.
fn take<F: Functions>(
    read: Option<Result<Message, Error>>,
    shared: &Arc<Shared<F>>,
    connection: &Arc<Connection>,
    window: &mut Option<Window<Frame>>,
) -> Option<Ended> {
    match read {
        Some(Ok(Message::Text(text))) => {
            connection.touch();
            let frame = Frame::new(text.as_str().to_owned(), &shared.settings.routes);
            emit_frame_in(shared, connection, &frame);
            let ready = match window {
                Some(window) => window.push(frame),
                None => vec![frame],
            };
            dispatch_all(shared, connection, ready);
            None
        }
        Some(Ok(Message::Binary(_))) => Some(Ended::ByGateway(Closing::binary_frame())),
        Some(Ok(Message::Ping(_))) if shared.settings.ping_resets_idle => {
            connection.touch();
            None
        }
        // The pong is sent by the next read.
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => None,
        Some(Ok(Message::Close(frame))) => Some(Ended::ByClient(Closing::by_client(frame))),
        Some(Err(error)) => Some(Ended::Unreadable(Closing::after(&error))),
        None => Some(Ended::Unreadable(Closing::lost())),
    }
}

/// Dispatches the frames that wait to be shuffled.
fn dispatch_held<F: Functions>(shared: &Arc<Shared<F>>, connection: &Arc<Connection>, window: &mut Option<Window<Frame>>) {
    dispatch_all(shared, connection, window.as_mut().map(Window::flush).unwrap_or_default());
}

fn dispatch_all<F: Functions>(shared: &Arc<Shared<F>>, connection: &Arc<Connection>, frames: Vec<Frame>) {
    for frame in frames {
        dispatch(shared, connection, frame);
    }
}

/// Whether the idle limit or the life limit is over now: a message may have moved the idle limit since the timer was set.
fn is_over(connection: &Connection, limits: &Limits) -> bool {
    connection.closes_at(limits) <= tokio::time::Instant::now()
}

/// Reads what the client still sends, to the end. Closing with unread bytes makes TCP reset the connection, and the client would lose the
/// close frame. `$disconnect` need not wait for this.
async fn linger(socket: Socket) {
    let _gone = tokio::io::copy(&mut socket.into_inner(), &mut tokio::io::sink()).await;
}

fn websocket_config(limits: &Limits) -> WebSocketConfig {
    let mut config = WebSocketConfig::default();
    // Allocated at once for every connection; the crate's default of 128 KB is for few, busy ones.
    config.read_buffer_size = 8 * 1024;
    config.max_frame_size = Some(limits.frame_bytes_max);
    config.max_message_size = Some(limits.message_bytes_max);
    config
}

fn emit_frame_in<F>(shared: &Shared<F>, connection: &Connection, frame: &Frame) {
    shared.observers.emit(|| GatewayEvent::FrameIn {
        connection: connection.id().to_owned(),
        user: connection.user().to_owned(),
        route: frame.route.as_ref().map(|route| route.key.clone()),
        text_bytes: frame.text.len(),
        text: frame.text.clone(),
    });
}

/// Writes messages as they come until writing fails.
async fn write<F>(
    outgoing: &mut mpsc::Receiver<Outgoing>,
    mut sink: impl Sink<Message, Error = Error> + Unpin,
    shared: &Shared<F>,
    connection: &Connection,
) -> Result<Infallible, Error> {
    while let Some(message) = outgoing.recv().await {
        send(&mut sink, message, shared, connection).await?;
    }
    // The connection holds a sender, so the channel does not end before the session.
    std::future::pending().await
}

async fn send<F>(
    sink: &mut (impl Sink<Message, Error = Error> + Unpin),
    message: Outgoing,
    shared: &Shared<F>,
    connection: &Connection,
) -> Result<(), Error> {
    let Outgoing { text, source } = message;
    sink.send(Message::text(text.clone())).await?;
    connection.touch();
    shared.observers.emit(|| GatewayEvent::FrameOut {
        connection: connection.id().to_owned(),
        user: connection.user().to_owned(),
        text,
        source,
    });
    Ok(())
}
