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
use super::connection::{Admitted, Connection, Outgoing, Presence};
use super::dispatch::{Frame, dispatch};
use super::observe::What;
use super::reorder::Window;
use super::settings::Limits;
use super::{Shared, event};

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
}

/// One connection from the upgrade to `$disconnect`.
pub(super) struct Session {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    outgoing: mpsc::Receiver<Outgoing>,
    closings: mpsc::UnboundedReceiver<Closing>,
    window: Window<Frame>,
    /// Held to the end: [`super::Gateway::stop`] waits for it.
    _presence: Presence,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, admitted: Admitted) -> Self {
        let Admitted { connection, outgoing, closings, presence } = admitted;
        let window = Window::new(shared.settings.reorder, connection.ordinal);
        Self { shared, connection, outgoing, closings, window, _presence: presence }
    }

    pub(super) async fn run(mut self, upgrade: OnUpgrade) {
        let closing = match upgrade.await {
            Ok(upgraded) => self.hold(upgraded).await,
            // The client left while `$connect` was running.
            Err(_gone) => Closing::lost(),
        };
        self.shared.connections.remove(self.connection.id());
        self.outgoing.close();
        self.shared.notify(&self.connection, || What::Closed { code: closing.code, reason: closing.reason.clone() });
        if !self.window.lags_behind_disconnect() {
            dispatch_all(&self.shared, &self.connection, self.window.flush());
        }
        self.disconnect(&closing).await;
        dispatch_all(&self.shared, &self.connection, self.window.flush());
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
            Ended::ByClient(closing) | Ended::ByGateway(closing) | Ended::Unreadable(closing) => closing,
        }
    }

    /// Reads, writes and keeps the time until one side ends it.
    async fn converse(&mut self, socket: &mut Socket) -> Ended {
        let Self { shared, connection, outgoing, closings, window, .. } = self;
        let limits = &shared.settings.limits;
        let (sink, mut frames) = socket.split();
        let mut writing = std::pin::pin!(write(outgoing, sink, shared, connection));
        loop {
            tokio::select! {
                Some(closing) = closings.recv() => return Ended::ByGateway(closing),
                read = frames.next() => if let Some(ended) = take(read, shared, connection, window) {
                    return ended;
                },
                Err(error) = &mut writing => return Ended::Unreadable(Closing::after(&error)),
                () = tokio::time::sleep(window.quiet()), if window.holds() => dispatch_all(shared, connection, window.flush()),
                () = tokio::time::sleep_until(connection.closes_at(limits)) => if is_over(connection, limits) {
                    return Ended::ByGateway(Closing::going_away());
                },
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
            Ended::Unreadable(_) => {}
        }
        Ok(())
    }

    /// Invokes `$disconnect` with best effort: nobody needs its outcome.
    async fn disconnect(&self, closing: &Closing) {
        let settings = &self.shared.settings;
        let lost = settings.lost_disconnects.is_some_and(|lost| {
            let mut random = StdRng::seed_from_u64(lost.seed ^ self.connection.ordinal.rotate_left(32));
            random.random_bool(lost.share.clamp(0.0, 1.0))
        });
        if let Some(function) = settings.routes.get("$disconnect").filter(|_| !lost) {
            let event = event::disconnect(&self.connection.client, &self.connection.authorized, closing, &event::new_id());
            let _outcome = self.shared.invoke(function, event).await;
        }
    }
}

/// Takes what was read from the socket. Says how reading and writing ended, if they did.
fn take(
    read: Option<Result<Message, Error>>,
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    window: &mut Window<Frame>,
) -> Option<Ended> {
    match read {
        Some(Ok(Message::Text(text))) => {
            connection.touch();
            let frame = Frame::new(text.as_str().to_owned(), &shared.settings.routes);
            shared.notify(connection, || What::FrameIn {
                route: frame.route.as_ref().map(|route| route.key.clone()),
                text: frame.text.clone(),
            });
            dispatch_all(shared, connection, window.push(frame));
            None
        }
        Some(Ok(Message::Binary(_))) => Some(Ended::ByGateway(Closing::binary_frame())),
        // The pong is sent by the next read. AWS does not say whether a ping is activity; the stricter reading: it is not.
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => None,
        Some(Ok(Message::Close(frame))) => Some(Ended::ByClient(Closing::by_client(frame))),
        Some(Err(error)) => Some(Ended::Unreadable(Closing::after(&error))),
        None => Some(Ended::Unreadable(Closing::lost())),
    }
}

fn dispatch_all(shared: &Arc<Shared>, connection: &Arc<Connection>, frames: Vec<Frame>) {
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

/// Writes messages as they come until writing fails.
async fn write(
    outgoing: &mut mpsc::Receiver<Outgoing>,
    mut sink: impl Sink<Message, Error = Error> + Unpin,
    shared: &Shared,
    connection: &Connection,
) -> Result<Infallible, Error> {
    while let Some(message) = outgoing.recv().await {
        send(&mut sink, message, shared, connection).await?;
    }
    // The connection holds a sender, so the channel does not end before the session.
    std::future::pending().await
}

async fn send(
    sink: &mut (impl Sink<Message, Error = Error> + Unpin),
    Outgoing { text, source }: Outgoing,
    shared: &Shared,
    connection: &Connection,
) -> Result<(), Error> {
    sink.send(Message::text(text.clone())).await?;
    connection.touch();
    shared.notify(connection, || What::FrameOut { text, source });
    Ok(())
}
